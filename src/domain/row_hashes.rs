//! Hashes of what rows hold, added up column by column: a sum does not depend on the order of its parts, nor on columns
//! that only other rows have.
//!
//! They are stored with predictions: another hash would make what was sent before and again after a change look like a
//! conflict.

use super::columns::{Column, Kind, Value};

/// Adds what each row has of a column; an absent value adds nothing.
pub fn add_column(hashes: &mut [u64], column: &Column) {
    let name = mix(2, hash_text(&column.name));
    let texts: Vec<u64> = column.texts().iter().map(|text| hash_text(text)).collect();
    let values = column.kinds().iter().zip(column.bits());
    for (row, (hash, (kind, bits))) in hashes.iter_mut().zip(values).enumerate() {
        let value = match kind {
            Kind::Absent => continue,
            Kind::Text => usize::try_from(*bits).map_or(0, |place| texts[place]),
            Kind::Vector => match column.get(row) {
                Value::Vector(vector) => hash_vector(&vector),
                _ => 0,
            },
            _ => *bits,
        };
        let (kind, value) = as_written(*kind, value);
        *hash = hash.wrapping_add(mix(name.wrapping_add(kind as u64), value));
    }
}

/// A hash of a value that is neither a text nor a vector, by its own bits.
#[must_use]
pub fn hash_bits(kind: Kind, bits: u64) -> u64 {
    let (kind, value) = as_written(kind, bits);
    mix(kind as u64, value)
}

/// What a value is, whether it was written as an integer or as a number.
fn as_written(kind: Kind, bits: u64) -> (Kind, u64) {
    match kind {
        Kind::Number => whole(bits).map_or((kind, bits), |whole| (Kind::Integer, whole)),
        _ => (kind, bits),
    }
}

/// The bits of the integer that a number is: encoders differ in whether they write 3 or 3.0. Beyond 2^53 there are other
/// integers that the same number stands for.
fn whole(bits: u64) -> Option<u64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let number = f64::from_bits(bits);
    let is_whole = number.trunc() == number && number.abs() < EXACT;
    #[expect(clippy::cast_possible_truncation, reason = "it is whole and exact")]
    is_whole.then(|| (number as i64).cast_unsigned())
}

/// A hash of the numbers of a vector.
#[must_use]
pub fn hash_vector(vector: &[f32]) -> u64 {
    let numbers = vector.iter().map(|number| u64::from(number.to_bits()));
    numbers.fold(mix(3, vector.len() as u64), mix)
}

/// A hash of a text.
#[must_use]
pub fn hash_text(text: &str) -> u64 {
    let (words, rest) = text.as_bytes().as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let hash = mix(text.len() as u64, u64::from_le_bytes(last));
    words
        .iter()
        .fold(hash, |hash, word| mix(hash, u64::from_le_bytes(*word)))
}

/// Both halves of the product of two numbers with odd constants between them: every bit of either input moves
/// about half of the output's.
#[expect(clippy::cast_possible_truncation, reason = "the halves of the product")]
#[must_use]
pub fn mix(a: u64, b: u64) -> u64 {
    let a = a ^ 0x9e37_79b9_7f4a_7c15;
    let b = b ^ 0xd1b5_4a32_d192_ed03;
    let product = u128::from(a) * u128::from(b);
    let folded = (product >> 64) as u64 ^ product as u64;
    // A factor of zero must not swallow the other.
    folded ^ a.rotate_left(32) ^ b
}

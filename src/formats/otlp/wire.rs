//! Protobuf as it lies in the body: fields by number, borrowed, nothing built. A message of two bytes can stand
//! for a struct of hundreds, so nothing is decoded before somebody wants it, and of what nobody wants nothing is.

use super::Damage;

/// The value of a field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    /// A text, a message or packed numbers.
    Bytes(&'a [u8]),
}

impl<'a> Wire<'a> {
    pub fn bytes(self) -> Result<&'a [u8], Damage> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(Damage("a number where a message or text belongs")),
        }
    }

    /// A 64-bit number that is written with a fixed width.
    pub fn fixed(self) -> Result<u64, Damage> {
        match self {
            Self::Fixed64(bits) => Ok(bits),
            _ => Err(Damage("a field of another width than its number has")),
        }
    }

    pub fn varint(self) -> Result<u64, Damage> {
        match self {
            Self::Varint(number) => Ok(number),
            _ => Err(Damage("a field of another kind than its number has")),
        }
    }

    pub fn double(self) -> Result<f64, Damage> {
        self.fixed().map(f64::from_bits)
    }
}

/// Walks over the fields of a message.
#[derive(Debug, Clone)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub fn of(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn field(&mut self) -> Result<(u32, Wire<'a>), Damage> {
        let key = varint(&mut self.rest)?;
        let number = u32::try_from(key >> 3).map_err(|_| Damage("a field number out of range"))?;
        let value = match key & 7 {
            0 => Wire::Varint(varint(&mut self.rest)?),
            1 => Wire::Fixed64(u64::from_le_bytes(take(&mut self.rest)?)),
            2 => {
                let length = usize::try_from(varint(&mut self.rest)?).unwrap_or(usize::MAX);
                if length > self.rest.len() {
                    return Err(Damage("a message or text ends before its length"));
                }
                let (bytes, rest) = self.rest.split_at(length);
                self.rest = rest;
                Wire::Bytes(bytes)
            }
            5 => Wire::Fixed32(u32::from_le_bytes(take(&mut self.rest)?)),
            _ => return Err(Damage("a kind of field that OTLP does not have")),
        };
        Ok((number, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Wire<'a>), Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Damage> {
    let (bytes, after) = rest
        .split_first_chunk::<N>()
        .ok_or(Damage("it ends in the middle of a number"))?;
    *rest = after;
    Ok(*bytes)
}

fn varint(rest: &mut &[u8]) -> Result<u64, Damage> {
    let mut number = 0_u64;
    for shift in (0..70).step_by(7) {
        let [byte] = take::<1>(rest)?;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            break;
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(Damage("a number longer than 64 bits"))
}

/// Doubles and 64-bit numbers of a repeated field: packed, or one of them.
pub(super) fn fixed64s(value: Wire<'_>, most: usize, into: &mut Vec<u64>) -> Result<(), Damage> {
    match value {
        Wire::Fixed64(bits) => into.push(bits),
        Wire::Bytes(packed) => {
            let (numbers, []) = packed.as_chunks::<8>() else {
                return Err(Damage("packed numbers that end in the middle of one"));
            };
            if numbers.len() > most {
                return Err(Damage("more buckets than any histogram has"));
            }
            into.extend(numbers.iter().map(|number| u64::from_le_bytes(*number)));
        }
        _ => return Err(Damage("a field of another kind than its number has")),
    }
    if into.len() > most {
        return Err(Damage("more buckets than any histogram has"));
    }
    Ok(())
}

/// As [`fixed64s`], of numbers of variable length.
pub(super) fn varints(value: Wire<'_>, most: usize, into: &mut Vec<u64>) -> Result<(), Damage> {
    match value {
        Wire::Varint(number) => into.push(number),
        Wire::Bytes(mut packed) => {
            while !packed.is_empty() {
                if into.len() == most {
                    return Err(Damage("more buckets than any histogram has"));
                }
                into.push(varint(&mut packed)?);
            }
        }
        _ => return Err(Damage("a field of another kind than its number has")),
    }
    if into.len() > most {
        return Err(Damage("more buckets than any histogram has"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_field_is_read() {
        let message = [
            &[0x08, 0x96, 0x01][..],
            &[0x11, 1, 0, 0, 0, 0, 0, 0, 0],
            &[0x1a, 2, b'o', b'k'],
            &[0x25, 7, 0, 0, 0],
        ]
        .concat();
        let fields: Result<Vec<_>, _> = Fields::of(&message).collect();
        let expected = vec![
            (1, Wire::Varint(150)),
            (2, Wire::Fixed64(1)),
            (3, Wire::Bytes(b"ok")),
            (4, Wire::Fixed32(7)),
        ];
        assert_eq!(fields, Ok(expected));
    }

    #[test]
    fn every_cut_and_every_unknown_kind_is_noticed() {
        for damaged in [
            &[0x08][..],
            &[0x08, 0x80],
            &[0x11, 1, 2],
            &[0x1a, 3, b'o', b'k'],
            &[0x0b],
            &[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2],
        ] {
            let fields: Result<Vec<_>, _> = Fields::of(damaged).collect();
            assert!(fields.is_err(), "{damaged:?}");
        }
    }

    #[test]
    fn a_list_of_buckets_is_bounded() {
        let mut numbers = Vec::new();
        varints(Wire::Bytes(&[1, 2, 3]), 3, &mut numbers).expect("three fit");
        varints(Wire::Varint(4), 3, &mut numbers).expect_err("a fourth does not");
        let mut numbers = Vec::new();
        fixed64s(Wire::Bytes(&[0; 24]), 3, &mut numbers).expect("three fit");
        fixed64s(Wire::Bytes(&[0; 9]), 3, &mut numbers).expect_err("half a number");
    }
}

//! Free quantiles of a profile.
//!
//! A histogram whose buckets are the leading bits of a number: all numbers that agree in sign, exponent and the first
//! bits of their mantissa share one. It begins with all 64 bits, so that each distinct number has a bucket of its own
//! and quantiles are exact. When there are more than [`MAX_BUCKETS`], bits are dropped until there are not, so buckets
//! are as narrow as their number allows wherever the numbers lie (the idea of a sketch that collapses uniformly is
//! Epicoco and others', 2020). How many bits are left follows from the numbers alone and from no order: more numbers
//! never need fewer buckets. That is why parts merge to exactly the whole, bit for bit, which no sketch by rank can do.

use std::collections::BTreeSet;
use std::hash::{BuildHasherDefault, Hasher};

use hashbrown::HashMap;

/// How many buckets there are at most.
pub(super) const MAX_BUCKETS: usize = 512;

/// How many of the distinct numbers are kept as they are, when there are more than buckets.
const SOME: usize = 64;

/// Number of bits of a key.
const KEY_BITS: u32 = u64::BITS;

#[derive(Debug, Clone)]
pub(super) enum Quantiles {
    Kept(Buckets),
    /// None are kept: whoever made the profile has no use for them.
    Left,
}

/// How many numbers there are by the leading bits of their keys.
#[derive(Debug, Clone, Default)]
pub(super) struct Buckets {
    /// How many low bits of the keys are dropped, from 0 to 63.
    dropped: u32,
    counts: HashMap<u64, u64, BuildHasherDefault<Multiplied>>,
    /// Where bits are dropped, the distinct numbers with the smallest hashes, as hash and key: some that nothing but
    /// the numbers themselves decides on.
    some: BTreeSet<(u64, u64)>,
}

impl Default for Quantiles {
    fn default() -> Self {
        Self::Kept(Buckets::default())
    }
}

impl Quantiles {
    /// Adds finite numbers.
    pub(super) fn observe(&mut self, numbers: &[f64]) {
        if let Self::Kept(buckets) = self {
            buckets.observe(numbers);
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        match (&mut *self, other) {
            (Self::Kept(mine), Self::Kept(theirs)) => mine.merge(theirs),
            // Those of a part are not those of the whole.
            _ => *self = Self::Left,
        }
    }

    /// The smallest number of rank at least `q`, or the best guess at it within its bucket. The extremes are those of
    /// all numbers.
    pub(super) fn quantile(&self, q: f64, extremes: (f64, f64)) -> Option<f64> {
        match self {
            Self::Kept(buckets) if (0.0..=1.0).contains(&q) => buckets.quantile(q, extremes),
            _ => None,
        }
    }
}

impl Quantiles {
    /// Numbers as they were: at evenly spaced ranks, `most` of them or all there are, while the distinct ones are no more
    /// than buckets; some of the distinct ones beyond that, in no order. Empty where no quantiles are kept.
    pub(super) fn sampled(&self, most: usize) -> Vec<f64> {
        match self {
            Self::Kept(buckets) => buckets.sampled(most),
            Self::Left => Vec::new(),
        }
    }
}

impl Buckets {
    /// The buckets that [`Self::sorted`] gave, of numbers with these extremes; `None` where no numbers have them.
    pub(super) fn restore(
        dropped: u32,
        sorted: &[(u64, u64)],
        some: &[u64],
        (minimum, maximum): (f64, f64),
    ) -> Option<Self> {
        let ends = (sorted.first()?.0, sorted.last()?.0);
        let in_order = sorted.is_sorted_by(|(a, _), (b, _)| a < b);
        let known = dropped < KEY_BITS
            && in_order
            && sorted.len() <= MAX_BUCKETS
            && ends == (key_of(minimum) >> dropped, key_of(maximum) >> dropped)
            && some.len() == if dropped > 0 { SOME } else { 0 };
        let counts: HashMap<u64, u64, _> = sorted.iter().copied().collect();
        let known = known
            && some
                .iter()
                .all(|key| counts.contains_key(&(key >> dropped)));
        known.then(|| Self {
            dropped,
            counts,
            some: some.iter().map(|key| (hashed(*key), *key)).collect(),
        })
    }

    pub(super) fn dropped(&self) -> u32 {
        self.dropped
    }

    /// The buckets with their counts, in the order of their numbers.
    pub(super) fn sorted(&self) -> Vec<(u64, u64)> {
        let mut sorted: Vec<(u64, u64)> = (self.counts.iter()).map(|(key, n)| (*key, *n)).collect();
        sorted.sort_unstable();
        sorted
    }

    /// Keys of some of the distinct numbers, where bits are dropped.
    pub(super) fn some(&self) -> impl Iterator<Item = u64> + '_ {
        self.some.iter().map(|(_, key)| *key)
    }

    fn sampled(&self, most: usize) -> Vec<f64> {
        if self.dropped > 0 {
            return self.some().map(value_of).collect();
        }
        let total = self.total().unwrap_or(0);
        let ranks = total.min(most as u64);
        let mut sampled = Vec::new();
        let mut before = 0;
        for (key, count) in self.sorted() {
            // How many of the ranks, each in the middle of one of as many equal parts, are among the first `end`.
            let upto = |end: u64| {
                let doubled = 2 * u128::from(end) * u128::from(ranks) + u128::from(total);
                (doubled / (2 * u128::from(total))) as usize
            };
            let times = upto(before + count) - upto(before);
            sampled.extend(std::iter::repeat_n(value_of(key), times));
            before += count;
        }
        sampled
    }

    pub(super) fn total(&self) -> Option<u64> {
        (self.counts.values()).try_fold(0_u64, |total, count| total.checked_add(*count))
    }

    fn observe(&mut self, numbers: &[f64]) {
        // So many at once that the buckets stay few between two looks at their number.
        for part in numbers.chunks(MAX_BUCKETS) {
            for number in part {
                let bucket = key_of(*number) >> self.dropped;
                *self.counts.entry(bucket).or_insert(0) += 1;
            }
            if self.dropped > 0 {
                part.iter().for_each(|number| self.keep(key_of(*number)));
            }
            self.fit();
        }
    }

    /// Keeps a number if its hash is among the smallest.
    fn keep(&mut self, key: u64) {
        let candidate = (hashed(key), key);
        if self.some.len() == SOME {
            if self.some.last().is_none_or(|last| candidate >= *last)
                || !self.some.insert(candidate)
            {
                return;
            }
            self.some.pop_last();
        } else {
            self.some.insert(candidate);
        }
    }

    fn merge(&mut self, other: &Self) {
        if other.dropped > self.dropped {
            self.drop_to(other.dropped);
        }
        let further = self.dropped - other.dropped;
        for (key, count) in &other.counts {
            *self.counts.entry(key >> further).or_insert(0) += count;
        }
        if other.dropped > 0 {
            other.some().for_each(|key| self.keep(key));
        } else if self.dropped > 0 {
            other.counts.keys().for_each(|key| self.keep(*key));
        }
        self.fit();
    }

    /// Drops as few bits as leave no more buckets than allowed.
    fn fit(&mut self) {
        if self.counts.len() <= MAX_BUCKETS {
            return;
        }
        let mut keys: Vec<u64> = self.counts.keys().copied().collect();
        keys.sort_unstable();
        // Two neighbours fall into one bucket as soon as the highest bit they differ in is dropped.
        let mut differ_in = [0_usize; KEY_BITS as usize];
        for pair in keys.windows(2) {
            differ_in[(pair[0] ^ pair[1]).ilog2() as usize] += 1;
        }
        let mut buckets = keys.len();
        let mut further = 0;
        while buckets > MAX_BUCKETS {
            buckets -= differ_in[further as usize];
            further += 1;
        }
        self.drop_to(self.dropped + further);
    }

    fn drop_to(&mut self, dropped: u32) {
        if self.dropped == 0 {
            let keys: Vec<u64> = self.counts.keys().copied().collect();
            keys.into_iter().for_each(|key| self.keep(key));
        }
        let further = dropped - self.dropped;
        let mut counts =
            HashMap::with_capacity_and_hasher(MAX_BUCKETS, BuildHasherDefault::default());
        for (key, count) in self.counts.drain() {
            *counts.entry(key >> further).or_insert(0) += count;
        }
        self.counts = counts;
        self.dropped = dropped;
    }

    fn quantile(&self, q: f64, (minimum, maximum): (f64, f64)) -> Option<f64> {
        let total = self.total().filter(|total| *total > 0)?;
        let rank = ((q * total as f64).ceil() as u64).clamp(1, total);
        let mut before = 0;
        for (key, count) in self.sorted() {
            if before + count >= rank {
                let low = value_of(key << self.dropped).max(minimum);
                let high =
                    value_of((key << self.dropped) | !(u64::MAX << self.dropped)).min(maximum);
                // As if the numbers of a bucket lay evenly in it.
                let part = (rank - before) as f64 - 0.5;
                let guess = low + (high - low) * (part / count as f64);
                return Some(match rank {
                    1 => minimum,
                    rank if rank == total => maximum,
                    _ => guess.clamp(low, high),
                });
            }
            before += count;
        }
        None
    }
}

/// An integer that orders like the number. Both zeros are one number.
fn key_of(number: f64) -> u64 {
    let bits = (number + 0.0).to_bits();
    let negative = (bits as i64 >> 63) as u64;
    bits ^ (negative | 1 << 63)
}

/// The number of a key.
fn value_of(key: u64) -> f64 {
    let positive = (key as i64 >> 63) as u64;
    f64::from_bits(key ^ (!positive | 1 << 63))
}

/// The fractional part of the golden ratio times the key; both halves of the product together depend on every bit.
fn hashed(key: u64) -> u64 {
    let product = u128::from(key) * 0x9e37_79b9_7f4a_7c15;
    (product >> 64) as u64 ^ product as u64
}

/// A hash of one multiplication: keys are few, spread out, and not chosen by an enemy of the table, whose size is
/// bounded anyway.
#[derive(Debug, Clone, Default)]
struct Multiplied(u64);

impl Hasher for Multiplied {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0 ^ u64::from(*byte));
        }
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = hashed(key);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_order_like_numbers_and_lead_back_to_them() {
        let numbers = [f64::MIN, -1.5, -5e-324, 0.0, 5e-324, 1.0, 1.5, f64::MAX];
        for pair in numbers.windows(2) {
            assert!(key_of(pair[0]) < key_of(pair[1]), "{pair:?}");
        }
        for number in numbers {
            assert_eq!(value_of(key_of(number)).to_bits(), number.to_bits());
        }
        assert_eq!(key_of(-0.0), key_of(0.0));
    }

    #[test]
    fn no_more_bits_are_dropped_than_needed() {
        let count = MAX_BUCKETS as u32;
        let mut buckets = Buckets::default();
        buckets.observe(&(0..count).map(f64::from).collect::<Vec<_>>());
        assert_eq!((buckets.dropped(), buckets.counts.len()), (0, MAX_BUCKETS));
        buckets.observe(&[f64::from(count)]);
        assert!(buckets.counts.len() <= MAX_BUCKETS);
        let finer = buckets.dropped() - 1;
        let distinct: std::collections::BTreeSet<u64> =
            (0..=count).map(|i| key_of(f64::from(i)) >> finer).collect();
        assert!(
            distinct.len() > MAX_BUCKETS,
            "one bit more would have fitted"
        );
    }
}

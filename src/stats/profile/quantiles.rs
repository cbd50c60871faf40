//! Free quantiles of a profile.
//!
//! A histogram whose buckets are the leading bits of a number: all numbers that agree in sign, exponent and the first
//! bits of their mantissa share one. It begins with all 64 bits, so that each distinct number has a bucket of its own
//! and quantiles are exact. When there are more than [`MAX_BUCKETS`], bits are dropped until there are not, so buckets
//! are as narrow as their number allows wherever the numbers lie (the idea of a sketch that collapses uniformly is
//! Epicoco and others', 2020). How many bits are left follows from the numbers alone and from no order: more numbers
//! never need fewer buckets. That is why parts merge to exactly the whole, bit for bit, which no sketch by rank can do.

use std::hash::{BuildHasherDefault, Hasher};

use hashbrown::HashMap;

/// How many buckets there are at most.
pub(super) const MAX_BUCKETS: usize = 512;

/// How many of the distinct numbers are kept as they are, when there are more than buckets.
const MOST_SAMPLED: usize = 64;

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
    /// What is left of the keys, and how many numbers have it, in the order of the numbers.
    counts: Vec<(u64, u64)>,
    /// Empty until bits are dropped.
    sampled: Sampled,
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
    /// The buckets with these counts, in the order of their numbers, of numbers with these extremes; `None` where no
    /// numbers have them.
    pub(super) fn restore(
        dropped: u32,
        counts: Vec<(u64, u64)>,
        some: &[u64],
        (minimum, maximum): (f64, f64),
    ) -> Option<Self> {
        let ends = (counts.first()?.0, counts.last()?.0);
        let in_order = counts.is_sorted_by(|(a, _), (b, _)| a < b);
        let sampled = Sampled::of(some);
        let known = dropped < KEY_BITS
            && in_order
            && counts.len() <= MAX_BUCKETS
            && ends == (key_of(minimum) >> dropped, key_of(maximum) >> dropped)
            && sampled.0.len() == if dropped > 0 { MOST_SAMPLED } else { 0 };
        let has = |key: u64| {
            let bucket = key >> dropped;
            counts
                .binary_search_by_key(&bucket, |(bucket, _)| *bucket)
                .is_ok()
        };
        (known && sampled.keys().all(has)).then_some(Self {
            dropped,
            counts,
            sampled,
        })
    }

    pub(super) fn dropped(&self) -> u32 {
        self.dropped
    }

    /// The buckets with their counts, in the order of their numbers.
    pub(super) fn counts(&self) -> &[(u64, u64)] {
        &self.counts
    }

    /// Keys of some of the distinct numbers, where bits are dropped.
    pub(super) fn some(&self) -> impl Iterator<Item = u64> + '_ {
        self.sampled.keys()
    }

    fn sampled(&self, most: usize) -> Vec<f64> {
        if self.dropped > 0 {
            return self.some().map(value_of).collect();
        }
        let total = self.total().unwrap_or(0);
        let ranks = total.min(most as u64);
        let mut sampled = Vec::new();
        let mut before = 0;
        for (key, count) in &self.counts {
            // How many of the ranks, each in the middle of one of as many equal parts, are among the first `end`.
            let upto = |end: u64| {
                let doubled = 2 * u128::from(end) * u128::from(ranks) + u128::from(total);
                (doubled / (2 * u128::from(total))) as usize
            };
            let times = upto(before + count) - upto(before);
            sampled.extend(std::iter::repeat_n(value_of(*key), times));
            before += count;
        }
        sampled
    }

    pub(super) fn total(&self) -> Option<u64> {
        (self.counts.iter()).try_fold(0_u64, |total, (_, count)| total.checked_add(*count))
    }

    fn observe(&mut self, numbers: &[f64]) {
        self.merge(&Counting::of(numbers, self.dropped).buckets());
    }

    fn merge(&mut self, other: &Self) {
        let dropped = self.dropped.max(other.dropped);
        self.drop_to(dropped);
        if other.dropped > 0 {
            self.sampled.merge(&other.sampled);
        } else if dropped > 0 {
            other
                .counts
                .iter()
                .for_each(|(key, _)| self.sampled.keep(*key));
        }
        let further = dropped - other.dropped;
        let theirs = other
            .counts
            .iter()
            .map(|(key, count)| (key >> further, *count));
        self.counts = merged(&self.counts, theirs);
        self.drop_to(dropped + surplus_bits(self.counts.iter().map(|(key, _)| *key)));
    }

    /// Drops bits until so many are dropped.
    fn drop_to(&mut self, dropped: u32) {
        if dropped == self.dropped {
            return;
        }
        if self.dropped == 0 {
            (self.counts.iter()).for_each(|(key, _)| self.sampled.keep(*key));
        }
        let further = dropped - self.dropped;
        self.counts.iter_mut().for_each(|(key, _)| *key >>= further);
        self.counts.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            if same {
                kept.1 += next.1;
            }
            same
        });
        self.dropped = dropped;
    }

    fn quantile(&self, q: f64, (minimum, maximum): (f64, f64)) -> Option<f64> {
        let total = self.total().filter(|total| *total > 0)?;
        let rank = ((q * total as f64).ceil() as u64).clamp(1, total);
        let mut before = 0;
        for (key, count) in self.counts.iter().copied() {
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

/// Two lists of buckets in their order as one. The second may name a bucket several times in a row.
fn merged(
    mine: &[(u64, u64)],
    theirs: impl ExactSizeIterator<Item = (u64, u64)>,
) -> Vec<(u64, u64)> {
    let mut both: Vec<(u64, u64)> = Vec::with_capacity(mine.len() + theirs.len());
    let mut rest = mine;
    for (key, count) in theirs {
        let before = rest.iter().take_while(|(mine, _)| *mine <= key).count();
        let (smaller, larger) = rest.split_at(before);
        both.extend_from_slice(smaller);
        rest = larger;
        match both.last_mut() {
            Some(last) if last.0 == key => last.1 += count,
            _ => both.push((key, count)),
        }
    }
    both.extend_from_slice(rest);
    both
}

/// How many bits of these keys, in their order and distinct, have to be dropped so that no more are left than buckets.
fn surplus_bits(keys: impl ExactSizeIterator<Item = u64> + Clone) -> u32 {
    let mut buckets = keys.len();
    if buckets <= MAX_BUCKETS {
        return 0;
    }
    // Two neighbours fall into one bucket as soon as the highest bit they differ in is dropped.
    let mut differ_in = [0_usize; KEY_BITS as usize];
    for (key, next) in keys.clone().zip(keys.skip(1)) {
        differ_in[(key ^ next).ilog2() as usize] += 1;
    }
    let mut bits = 0;
    while buckets > MAX_BUCKETS {
        buckets -= differ_in[bits as usize];
        bits += 1;
    }
    bits
}

/// Buckets while numbers are counted into them, which come in no order.
struct Counting {
    dropped: u32,
    counts: HashMap<u64, u64, BuildHasherDefault<Multiplied>>,
    sampled: Sampled,
}

impl Counting {
    /// Counts numbers, dropping so many bits of their keys, or more if need be.
    fn of(numbers: &[f64], dropped: u32) -> Self {
        let mut counting = Self {
            dropped,
            counts: HashMap::with_capacity_and_hasher(
                numbers.len().min(2 * MAX_BUCKETS),
                BuildHasherDefault::default(),
            ),
            sampled: Sampled::default(),
        };
        // So many at once that the buckets stay few between two looks at their number.
        for part in numbers.chunks(MAX_BUCKETS) {
            counting.count(part);
            if counting.counts.len() > MAX_BUCKETS {
                counting = Self::going_on(counting.buckets());
            }
        }
        counting
    }

    fn count(&mut self, numbers: &[f64]) {
        for number in numbers {
            let bucket = key_of(*number) >> self.dropped;
            *self.counts.entry(bucket).or_insert(0) += 1;
        }
        if self.dropped > 0 {
            (numbers.iter()).for_each(|number| self.sampled.keep(key_of(*number)));
        }
    }

    fn going_on(buckets: Buckets) -> Self {
        Self {
            dropped: buckets.dropped,
            counts: buckets.counts.into_iter().collect(),
            sampled: buckets.sampled,
        }
    }

    /// In order, and no more than there may be.
    fn buckets(self) -> Buckets {
        let mut counts: Vec<(u64, u64)> = self.counts.into_iter().collect();
        counts.sort_unstable();
        let mut buckets = Buckets {
            dropped: self.dropped,
            counts,
            sampled: self.sampled,
        };
        let surplus = surplus_bits(buckets.counts.iter().map(|(key, _)| *key));
        buckets.drop_to(buckets.dropped + surplus);
        buckets
    }
}

/// The distinct numbers with the smallest hashes, as hash and key, in the order of the hashes: some that nothing but the
/// numbers themselves decides on.
#[derive(Debug, Clone, Default)]
struct Sampled(Vec<(u64, u64)>);

impl Sampled {
    fn of(keys: &[u64]) -> Self {
        let mut sampled: Vec<(u64, u64)> = keys.iter().map(|key| (hashed(*key), *key)).collect();
        sampled.sort_unstable();
        sampled.dedup();
        Self(sampled)
    }

    fn keys(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().map(|(_, key)| *key)
    }

    /// Keeps a number if its hash is among the smallest.
    fn keep(&mut self, key: u64) {
        let candidate = (hashed(key), key);
        let is_full = self.0.len() == MOST_SAMPLED;
        if is_full && self.0.last().is_some_and(|last| candidate >= *last) {
            return;
        }
        if let Err(place) = self.0.binary_search(&candidate) {
            self.0.truncate(MOST_SAMPLED - 1);
            self.0.insert(place, candidate);
        }
    }

    fn merge(&mut self, other: &Self) {
        other.keys().for_each(|key| self.keep(key));
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
        assert_eq!(
            (buckets.dropped(), buckets.counts().len()),
            (0, MAX_BUCKETS)
        );
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

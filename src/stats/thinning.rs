//! A bounded sample of a stream of numbers, the same every time.
//!
//! Fitting a [`Grid`](super::Grid) sorts its values, which a file larger than memory does not allow. Up to a
//! limit every value is kept; beyond it, those whose position in the stream has a hash with enough trailing
//! zeros, so that the kept ones are spread over the whole stream, periodic or not. Nothing is drawn at random:
//! the same stream gives the same sample, however it is cut into parts. What is counted on the grid afterwards
//! is exact; only where its edges lie depends on the sample.

/// A sample of at most so many of the finite values seen.
#[derive(Debug, Clone)]
pub struct ThinnedSample {
    limit: usize,
    kept: Vec<f64>,
    /// The level of each value kept; while all are kept, a value's position is its index.
    levels: Vec<u8>,
    /// Positions below this level are not kept.
    lowest_level: u8,
    seen: u64,
}

impl ThinnedSample {
    /// An empty sample that keeps at most `limit` values, at least one.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit: limit.max(1),
            kept: Vec::new(),
            levels: Vec::new(),
            lowest_level: 0,
            seen: 0,
        }
    }

    /// Takes the next values of the stream. NaN and the infinities are passed over and have no position.
    pub fn observe(&mut self, values: &[f64]) {
        if self.lowest_level == 0 && self.kept.len() + values.len() <= self.limit {
            self.kept
                .extend(values.iter().filter(|value| value.is_finite()));
            self.seen = self.kept.len() as u64;
            return;
        }
        for &value in values.iter().filter(|value| value.is_finite()) {
            let level = level(self.seen);
            self.seen += 1;
            if level >= self.lowest_level {
                self.take(value, level);
            }
        }
    }

    fn take(&mut self, value: f64, level: u8) {
        if self.kept.len() == self.limit {
            self.thin();
        }
        if level >= self.lowest_level {
            self.kept.push(value);
            if self.lowest_level > 0 {
                self.levels.push(level);
            }
        }
    }

    /// Raises the level until there is room.
    fn thin(&mut self) {
        if self.lowest_level == 0 {
            self.levels = (0..self.kept.len() as u64).map(level).collect();
        }
        while self.kept.len() >= self.limit && self.lowest_level < u8::MAX {
            self.lowest_level += 1;
            let lowest = self.lowest_level;
            let mut levels = self.levels.iter();
            self.kept
                .retain(|_| levels.next().is_some_and(|level| *level >= lowest));
            self.levels.retain(|level| *level >= lowest);
        }
    }

    /// The values kept, in the order of the stream.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.kept
    }

    /// The number of finite values seen.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Whether every finite value seen has been kept.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.lowest_level == 0
    }
}

/// Half of all positions have level 0, a quarter level 1, and so on.
fn level(position: u64) -> u8 {
    mixed(position).trailing_zeros() as u8
}

/// A number of which every bit depends on every bit of the key: the finalizer of SplitMix64 (Steele, Lea and Flood
/// 2014), whose low bits are as good as its high ones. Different keys give different numbers.
#[must_use]
pub fn mixed(key: u64) -> u64 {
    let mut mixed = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(limit: usize, values: impl Iterator<Item = f64>) -> ThinnedSample {
        let mut sample = ThinnedSample::new(limit);
        for value in values {
            sample.observe(&[value]);
        }
        sample
    }

    #[test]
    fn up_to_the_limit_everything_is_kept_in_order() {
        let whole = sample(5, [3.0, f64::NAN, 1.0, f64::INFINITY, 2.0].into_iter());
        assert_eq!(whole.values(), [3.0, 1.0, 2.0]);
        assert_eq!((whole.seen(), whole.is_complete()), (3, true));
        assert!(sample(5, (0..5).map(f64::from)).is_complete());
        assert!(!sample(5, (0..6).map(f64::from)).is_complete());
    }

    #[test]
    fn empty_and_hostile_streams_give_an_empty_sample() {
        assert_eq!(ThinnedSample::new(0).values(), [0.0; 0]);
        let nothing = sample(4, [f64::NAN, f64::NEG_INFINITY].into_iter());
        assert_eq!((nothing.values().len(), nothing.seen()), (0, 0));
    }

    #[test]
    fn a_limit_of_one_still_ends() {
        assert!(sample(1, (0..10_000).map(f64::from)).values().len() <= 1);
    }

    #[test]
    fn the_sample_does_not_depend_on_how_the_stream_is_cut() {
        let values: Vec<f64> = (0..50_000).map(f64::from).collect();
        let one_by_one = sample(1_000, values.iter().copied());
        for size in [7, 1_000, 50_000] {
            let mut parts = ThinnedSample::new(1_000);
            values.chunks(size).for_each(|part| parts.observe(part));
            assert_eq!(parts.values(), one_by_one.values());
        }
    }

    #[test]
    fn the_sample_is_spread_over_a_periodic_stream() {
        let hours = (0..200_000).map(|i| f64::from(i % 24));
        let sample = sample(4_096, hours);
        assert!((1_500..=4_096).contains(&sample.values().len()));
        let mean = sample.values().iter().sum::<f64>() / sample.values().len() as f64;
        // The mean of the hours is 11.5; four standard errors of 2,000 values are 0.62.
        assert!((mean - 11.5).abs() < 0.62, "{mean}");
    }
}

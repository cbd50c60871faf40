//! Sums without rounding.
//!
//! The sum of floating-point numbers depends on their order, because every addition rounds. Here it does not: the
//! numbers are added as integers in one fixed-point register that is wide enough for every `f64` and for every square
//! of one (Kulisch's accumulator), and only what is read from it is rounded, once. So sums of parts add up to the sum
//! of the whole, to the last bit, in whatever order and split the parts came.

/// Number of bits of a limb of the register.
const LIMB_BITS: usize = 64;

/// Value of the lowest bit of a sum, as a power of two: that of the smallest positive number.
const SUM_UNIT: i32 = -1074;

/// Value of the lowest bit of a sum of squares, as a power of two.
const SQUARE_UNIT: i32 = 2 * SUM_UNIT;

/// Limbs that a sum of at most 2⁵³ numbers can reach: its highest bit is worth 2¹⁰²⁴ · 2⁵³.
pub(super) const SUM_LIMBS: usize = 34;

/// Limbs that a sum of at most 2⁵³ squares can reach.
pub(super) const SQUARE_LIMBS: usize = 68;

/// How many numbers are gathered at once, and over how many powers of two: 64 bits of a square, shifted by twice that,
/// leave room for so many.
const NEAR_COUNT: usize = 1 << 14;
const NEAR_BITS: usize = 24;

/// The exact sum of finite numbers, and of their squares.
#[derive(Debug, Clone, Default)]
pub(super) struct ExactSums {
    sum: Register,
    squares: Register,
}

/// A fixed-point number with room for 2⁶³ additions before any carry has to move on. Only the limbs between the
/// smallest and the largest number seen exist.
#[derive(Debug, Clone, Default)]
struct Register {
    /// The place of the first limb that exists.
    first: usize,
    limbs: Vec<i128>,
}

/// A register as there is only one of it for every value: sign and limbs, the lowest first, neither end zero.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Fixed {
    pub(super) negative: bool,
    /// The place of the first limb.
    pub(super) first: usize,
    pub(super) limbs: Vec<u64>,
}

impl ExactSums {
    /// Adds finite numbers and their squares. None is further from zero than `largest`.
    pub(super) fn add(&mut self, numbers: &[f64], largest: f64) {
        for part in numbers.chunks(NEAR_COUNT) {
            self.add_near(part, largest);
        }
    }

    /// Adds numbers of which most are within [`NEAR_BITS`] powers of two of the largest: these are gathered in registers
    /// of the processor first.
    fn add_near(&mut self, numbers: &[f64], largest: f64) {
        let low = place_of(largest.to_bits()).saturating_sub(NEAR_BITS);
        let (mut sum, mut squares_low, mut squares_high) = (0_i128, 0_u128, 0_u128);
        for number in numbers {
            let (mantissa, place, sign) = parts(*number);
            let square = u128::from(mantissa) * u128::from(mantissa);
            if place < low {
                self.sum.add_product(place, u128::from(mantissa), 1, sign);
                self.squares.add_product(2 * place, square, 1, 0);
                continue;
            }
            // The masks change nothing; they tell the compiler that no shift reaches 64.
            let shift = (place - low) & 31;
            let negated = (mantissa as i64 ^ sign) - sign;
            sum += i128::from(negated) << shift;
            squares_low += u128::from(square as u64) << (2 * shift);
            squares_high += u128::from((square >> LIMB_BITS) as u64) << (2 * shift);
        }
        let sign = (sum >> (i128::BITS - 1)) as i64;
        self.sum.add_product(low, sum.unsigned_abs(), 1, sign);
        self.squares.add_product(2 * low, squares_low, 1, 0);
        self.squares
            .add_product(2 * low + LIMB_BITS, squares_high, 1, 0);
    }

    /// Adds the sums of other numbers.
    pub(super) fn merge(&mut self, other: &Self) {
        self.sum.merge(&other.sum);
        self.squares.merge(&other.squares);
    }

    /// The sum, and the sum of the squares.
    pub(super) fn fixed(&self) -> (Fixed, Fixed) {
        (self.sum.fixed(), self.squares.fixed())
    }

    /// The sums that [`Self::fixed`] gave; `None` where no `count` numbers have these.
    pub(super) fn restore(sum: &Fixed, squares: &Fixed, count: u64) -> Option<Self> {
        let known = sum.is_unique_within(SUM_LIMBS) && squares.is_unique_within(SQUARE_LIMBS);
        if !known || squares.negative || spread(sum, squares, count).negative {
            return None;
        }
        Some(Self {
            sum: Register::of(sum),
            squares: Register::of(squares),
        })
    }

    /// Sums of `count` numbers with this mean and this sum of squared deviations from it; `None` unless both are finite
    /// and the latter is not negative.
    pub(super) fn of_moments(count: u64, mean: f64, deviations: f64) -> Option<Self> {
        if !mean.is_finite() || !deviations.is_finite() || deviations < 0.0 {
            return None;
        }
        let mut sums = Self::default();
        let (mantissa, place, sign) = parts(mean);
        sums.sum
            .add_product(place, u128::from(mantissa), count, sign);
        let square = u128::from(mantissa) * u128::from(mantissa);
        sums.squares.add_product(2 * place, square, count, 0);
        let (mantissa, place, _) = parts(deviations);
        let place = place.strict_add_signed((SUM_UNIT - SQUARE_UNIT) as isize);
        sums.squares.add_product(place, u128::from(mantissa), 1, 0);
        Some(sums)
    }

    /// The mean of the `count` numbers, rounded twice at most; `None` when there are none.
    pub(super) fn mean(&self, count: u64) -> Option<f64> {
        let (value, exponent) = self.sum.fixed().rounded(SUM_UNIT);
        (count > 0).then(|| scaled(value / count as f64, exponent))
    }

    /// The sample standard deviation of the `count` numbers (divided by n − 1); `None` with fewer than two. The
    /// difference it is the root of is exact, so nothing is lost where the numbers are large beside their spread.
    pub(super) fn standard_deviation(&self, count: u64) -> Option<f64> {
        let freedom = count.checked_sub(1).filter(|freedom| *freedom > 0)?;
        let (sum, squares) = self.fixed();
        let (value, exponent) = spread(&sum, &squares, count).rounded(SQUARE_UNIT);
        let (value, exponent) = if exponent % 2 == 0 {
            (value, exponent)
        } else {
            (value * 2.0, exponent - 1)
        };
        let variance = value / count as f64 / freedom as f64;
        Some(scaled(variance.sqrt(), exponent / 2))
    }
}

/// `n · Σx² − (Σx)²`, in units of [`SQUARE_UNIT`]: n (n − 1) times the sample variance, never negative for real sums.
fn spread(sum: &Fixed, squares: &Fixed, count: u64) -> Fixed {
    let mut register = Register::default();
    for (place, limb) in squares.places() {
        register.add_product(place * LIMB_BITS, u128::from(limb), count, 0);
    }
    for (a_place, a) in sum.places() {
        for (b_place, b) in sum.places() {
            let place = (a_place + b_place) * LIMB_BITS;
            register.add_product(place, u128::from(a), b, -1);
        }
    }
    register.fixed()
}

impl Register {
    fn of(fixed: &Fixed) -> Self {
        let sign = -i64::from(fixed.negative);
        Self {
            first: fixed.first,
            limbs: (fixed.limbs.iter())
                .map(|limb| signed(*limb, sign))
                .collect(),
        }
    }

    /// The limbs from place `from` to before place `to`, made where they do not exist.
    fn window(&mut self, from: usize, to: usize) -> &mut [i128] {
        if self.limbs.is_empty() {
            self.first = from;
        }
        if from < self.first {
            let missing = self.first - from;
            self.limbs.splice(0..0, std::iter::repeat_n(0, missing));
            self.first = from;
        }
        if to > self.first + self.limbs.len() {
            self.limbs.resize(to - self.first, 0);
        }
        &mut self.limbs[from - self.first..to - self.first]
    }

    /// Adds `a · b · 2^place`, negated where the sign is −1.
    fn add_product(&mut self, place: usize, a: u128, b: u64, sign: i64) {
        let (first, shift) = (place / LIMB_BITS, place % LIMB_BITS);
        let limbs = self.window(first, first + 4);
        for (at, part) in [(0, a as u64), (1, (a >> LIMB_BITS) as u64)] {
            let product = u128::from(part) * u128::from(b);
            for (at, half) in [
                (at, product as u64),
                (at + 1, (product >> LIMB_BITS) as u64),
            ] {
                let shifted = u128::from(half) << shift;
                limbs[at] += signed(shifted as u64, sign);
                limbs[at + 1] += signed((shifted >> LIMB_BITS) as u64, sign);
            }
        }
    }

    fn merge(&mut self, other: &Self) {
        let mine = self.window(other.first, other.first + other.limbs.len());
        for (mine, theirs) in mine.iter_mut().zip(&other.limbs) {
            *mine += theirs;
        }
    }

    fn fixed(&self) -> Fixed {
        let carried = |sign: i128| {
            let mut limbs = Vec::with_capacity(self.limbs.len() + 2);
            let mut carry = 0;
            for limb in &self.limbs {
                let whole = (limb ^ sign) - sign + carry;
                limbs.push(whole as u64);
                carry = whole >> LIMB_BITS;
            }
            limbs.push(carry as u64);
            (limbs, carry < 0)
        };
        let (limbs, negative) = carried(0);
        let limbs = if negative { carried(-1).0 } else { limbs };
        Fixed::new(negative, self.first, limbs)
    }
}

impl Fixed {
    fn new(negative: bool, first: usize, mut limbs: Vec<u64>) -> Self {
        while limbs.last() == Some(&0) {
            limbs.pop();
        }
        let zeros = limbs.iter().take_while(|limb| **limb == 0).count();
        limbs.drain(..zeros);
        if limbs.is_empty() {
            return Self::default();
        }
        Self {
            negative,
            first: first + zeros,
            limbs,
        }
    }

    /// Whether no other form has the same value, and no limb lies beyond the register.
    fn is_unique_within(&self, limbs: usize) -> bool {
        match (self.limbs.first(), self.limbs.last()) {
            (Some(low), Some(high)) => {
                *low != 0 && *high != 0 && self.first.saturating_add(self.limbs.len()) <= limbs
            }
            _ => *self == Self::default(),
        }
    }

    fn places(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        (self.first..).zip(self.limbs.iter().copied())
    }

    /// The value as a number of 53 bits times a power of two, when the lowest bit of the register is worth 2^`unit`.
    fn rounded(&self, unit: i32) -> (f64, i32) {
        let Some(high) = self.limbs.last() else {
            return (0.0, 0);
        };
        let below = |back: usize| match self.limbs.len().checked_sub(back) {
            Some(at) => self.limbs[at],
            None => 0,
        };
        let top = u128::from(*high) << LIMB_BITS | u128::from(below(2));
        // The leading bit goes to the top, so that more bits are there than are kept; the rest only says whether
        // something is left, which decides between the two neighbours of an exact half.
        let shift = high.leading_zeros() as usize;
        let mut bits = top << shift | (u128::from(below(3)) << shift) >> LIMB_BITS;
        if (self.limbs.iter().rev().skip(2)).any(|limb| *limb != 0) {
            bits |= 1;
        }
        let places = (self.first + self.limbs.len()) * LIMB_BITS;
        let exponent = places as i32 - u128::BITS as i32 - shift as i32 + unit;
        let value = bits as f64;
        (if self.negative { -value } else { value }, exponent)
    }
}

/// The place of the lowest bit of a finite number.
fn place_of(bits: u64) -> usize {
    (((bits >> 52) & 0x7ff) as usize).saturating_sub(1)
}

/// A finite number as mantissa, place of its lowest bit, and sign (0 or −1).
fn parts(number: f64) -> (u64, usize, i64) {
    let bits = number.to_bits();
    let fraction = bits & ((1 << 52) - 1);
    let normal = u64::from((bits >> 52) & 0x7ff != 0);
    let sign = bits as i64 >> 63;
    (fraction | normal << 52, place_of(bits), sign)
}

/// The limb, negated where the sign is −1.
fn signed(limb: u64, sign: i64) -> i128 {
    (i128::from(limb) ^ i128::from(sign)) - i128::from(sign)
}

/// `value · 2^exponent`, infinite beyond the range of numbers.
fn scaled(value: f64, exponent: i32) -> f64 {
    // In steps that are powers of two themselves; the first ones do not leave the range before the last does.
    let mut scaled = value;
    let mut left = exponent;
    while left != 0 {
        let step = left.clamp(-1000, 1000);
        scaled *= 2.0_f64.powi(step);
        left -= step;
    }
    scaled
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sums(numbers: &[f64]) -> ExactSums {
        let mut sums = ExactSums::default();
        sums.add(
            numbers,
            numbers.iter().fold(0.0, |largest, n| n.abs().max(largest)),
        );
        sums
    }

    #[test]
    fn sums_are_those_of_real_numbers() {
        let cancelling = sums(&[1e300, 1.0, -1e300, 1e-300]);
        assert_eq!(cancelling.mean(4), Some(0.25));
        let tenths = sums(&[0.1; 10]);
        assert_eq!(tenths.mean(10), Some(0.1), "ten times the same number");
        assert_eq!(tenths.standard_deviation(10), Some(0.0));
        assert_eq!(sums(&[]).mean(0), None);
        assert_eq!(sums(&[3.0]).standard_deviation(1), None);
    }

    #[test]
    fn the_whole_range_of_numbers_is_added() {
        let extremes = sums(&[f64::MAX, f64::MAX, f64::MIN_POSITIVE, 5e-324, -0.0]);
        assert_eq!(extremes.mean(5), Some(f64::MAX / 2.5));
        assert_eq!(sums(&[5e-324, 5e-324]).mean(2), Some(5e-324));
        let apart = sums(&[1e308, -1e308]).standard_deviation(2);
        assert!(apart.is_some_and(f64::is_finite), "its square would not be");
        let apart = sums(&[1e307, -1e307]).standard_deviation(2).expect("two");
        assert!((apart / 1e307 - 2.0_f64.sqrt()).abs() < 1e-15, "{apart}");
        let tiny = sums(&[1e-320, 3e-320]).standard_deviation(2).expect("two");
        assert!((tiny / 1e-320 - 2.0_f64.sqrt()).abs() < 1e-3, "{tiny}");
    }

    #[test]
    fn the_spread_of_large_numbers_is_not_lost() {
        // Seconds of the epoch, a second apart.
        let numbers: Vec<f64> = (0..1_001).map(|i| 1.4e9 + f64::from(i)).collect();
        let deviation = sums(&numbers).standard_deviation(1_001).expect("many");
        let expected = (1_001.0 * 1_002.0 / 12.0_f64).sqrt();
        assert!((deviation / expected - 1.0).abs() < 1e-15, "{deviation}");
    }

    #[test]
    fn sums_that_no_numbers_have_are_refused() {
        let (sum, squares) = sums(&[1.0, 2.0, -4.5]).fixed();
        assert!(ExactSums::restore(&sum, &squares, 3).is_some());
        assert!(ExactSums::restore(&sum, &Fixed::default(), 3).is_none());
        assert!(ExactSums::restore(&sum, &sum, 3).is_none(), "negative");
        let beyond = Fixed {
            first: SQUARE_LIMBS,
            ..squares.clone()
        };
        assert!(ExactSums::restore(&sum, &beyond, 3).is_none());
        let with_zero = Fixed {
            limbs: [squares.limbs.clone(), vec![0]].concat(),
            ..squares
        };
        assert!(ExactSums::restore(&sum, &with_zero, 3).is_none());
    }

    prop_compose! {
        fn finite()(bits in any::<u64>(), near in -3.0..3.0_f64, which in 0..3) -> f64 {
            let any = f64::from_bits(bits);
            match which {
                0 if any.is_finite() => any,
                1 => near * 1e9,
                _ => near,
            }
        }
    }

    proptest! {
        #[test]
        fn order_and_splitting_change_no_bit(
            numbers in prop::collection::vec(finite(), 1..60),
            cut in any::<prop::sample::Index>(),
        ) {
            let whole = sums(&numbers);
            let (left, right) = numbers.split_at(cut.index(numbers.len()));
            let mut merged = sums(right);
            merged.merge(&sums(left));
            let mut single = ExactSums::default();
            for number in numbers.iter().rev() {
                single.add(&[*number], f64::MAX);
            }
            prop_assert_eq!(merged.fixed(), whole.fixed());
            prop_assert_eq!(single.fixed(), whole.fixed());
            let (sum, squares) = whole.fixed();
            let read = ExactSums::restore(&sum, &squares, numbers.len() as u64).expect("real sums");
            prop_assert_eq!(read.fixed(), whole.fixed());
        }

        #[test]
        fn what_is_read_is_the_rounded_sum(integers in prop::collection::vec(-1_000_000_000i64..1_000_000_000, 2..50)) {
            let numbers: Vec<f64> = integers.iter().map(|i| *i as f64 / 1024.0).collect();
            let n = integers.len() as i128;
            let sum: i128 = integers.iter().map(|i| i128::from(*i)).sum();
            let squares: i128 = integers.iter().map(|i| i128::from(*i) * i128::from(*i)).sum();
            let read = sums(&numbers);
            prop_assert_eq!(read.mean(n as u64), Some(sum as f64 / n as f64 / 1024.0));
            let variance = (n * squares - sum * sum) as f64 / (n * (n - 1)) as f64;
            let deviation = read.standard_deviation(n as u64).expect("two or more");
            prop_assert!((deviation - variance.sqrt() / 1024.0).abs() <= deviation * 1e-15);
        }
    }
}

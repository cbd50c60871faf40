//! Tail probabilities as natural logarithms.
//!
//! A window of a million rows easily gives a p-value of 10⁻⁴⁰⁰, which as an `f64` is zero: two such features
//! could not be told apart, nor one such value from an error. So every test of this module's neighbours works
//! with the logarithm from the start, and [`PValue`] turns it into a number only for showing.

use std::f64::consts::{LN_2, LN_10, SQRT_2, TAU};

use statrs::function::erf::erfc_inv;
use statrs::function::gamma::ln_gamma;

/// A p-value, kept as its natural logarithm.
///
/// From 0 to 1; less is worse. Never NaN: what has no p-value is an absent one.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct PValue {
    ln: f64,
}

impl PValue {
    /// The p-value 1.
    pub const ONE: Self = Self { ln: 0.0 };

    /// From a logarithm; a little above 0, which rounding can give, is 0. `None` for NaN.
    #[must_use]
    pub fn from_ln(ln: f64) -> Option<Self> {
        (!ln.is_nan()).then(|| Self { ln: ln.min(0.0) })
    }

    /// From a probability. `None` for NaN and for what is below 0.
    #[must_use]
    pub fn from_probability(p: f64) -> Option<Self> {
        (p >= 0.0).then(|| Self {
            ln: p.min(1.0).ln(),
        })
    }

    /// The p-value of the more surprising of two tests of the same rows: twice the lesser, at most 1 (Bonferroni).
    #[must_use]
    pub fn lesser_of_two(self, other: Self) -> Self {
        let ln = self.ln.min(other.ln) + std::f64::consts::LN_2;
        Self { ln: ln.min(0.0) }
    }

    /// The natural logarithm: 0 or less, and finite unless the p-value is exactly zero.
    #[must_use]
    pub fn ln(self) -> f64 {
        self.ln
    }

    /// The logarithm to base 10, for people.
    #[must_use]
    pub fn log10(self) -> f64 {
        self.ln / LN_10
    }

    /// The probability itself. Below the least number of full precision, 2.2·10⁻³⁰⁸, it is that number: what could
    /// happen is never said to be impossible. 0 only for what is.
    #[must_use]
    pub fn value(self) -> f64 {
        if self.ln == f64::NEG_INFINITY {
            0.0
        } else {
            self.ln.exp().max(f64::MIN_POSITIVE)
        }
    }
}

/// `ln Q(a, x)`, the logarithm of the regularised upper incomplete gamma function.
///
/// A power series of the lower function for `x < a + 1`, Legendre's continued fraction otherwise (Gautschi
/// 1979), both with the prefactor `xᵃ e⁻ˣ / Γ(a)` in Loader's form, which loses no digits for large `a`. NaN
/// unless `a > 0` and `x ≥ 0`.
#[must_use]
pub fn ln_upper_gamma(a: f64, x: f64) -> f64 {
    if !(a > 0.0 && x >= 0.0) || a.is_infinite() {
        return f64::NAN;
    }
    if x == 0.0 {
        return 0.0;
    }
    if x == f64::INFINITY {
        return f64::NEG_INFINITY;
    }
    // ln(xᵃ e⁻ˣ / Γ(a + 1))
    let prefactor = -deviance(a, x) - stirling_error(a) - 0.5 * (TAU * a).ln();
    if x < a + 1.0 {
        let (mut term, mut sum, mut denominator) = (1.0, 1.0, a);
        while term > sum * 1e-17 {
            denominator += 1.0;
            term *= x / denominator;
            sum += term;
        }
        let lower = (prefactor + sum.ln()).exp();
        return (-lower.min(1.0)).ln_1p();
    }
    prefactor + a.ln() + continued_fraction(a, x).ln()
}

/// `Γ(a, x) / (xᵃ e⁻ˣ)` by the modified method of Lentz.
fn continued_fraction(a: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let mut b = x + 1.0 - a;
    let mut c = 1.0 / TINY;
    let mut d = 1.0 / if b == 0.0 { TINY } else { b };
    let mut value = d;
    for i in 1..100_000 {
        let i = f64::from(i);
        let numerator = -i * (i - a);
        b += 2.0;
        d = numerator * d + b;
        d = 1.0 / if d.abs() < TINY { TINY } else { d };
        c = b + numerator / c;
        c = if c.abs() < TINY { TINY } else { c };
        let factor = c * d;
        value *= factor;
        if (factor - 1.0).abs() < 1e-16 {
            break;
        }
    }
    value
}

/// The tail of the chi-square distribution. `None` without degrees of freedom, and for a statistic that is
/// NaN or negative.
#[must_use]
pub fn chi_square_tail(statistic: f64, degrees_of_freedom: f64) -> Option<PValue> {
    PValue::from_ln(ln_upper_gamma(degrees_of_freedom / 2.0, statistic / 2.0))
}

/// Both tails of the standard normal distribution beyond `|z|`. `None` for NaN.
#[must_use]
pub fn normal_two_sided(z: f64) -> Option<PValue> {
    PValue::from_ln(ln_upper_gamma(0.5, z * z / 2.0))
}

/// The tail of the standard normal distribution above `z`. `None` for NaN.
#[must_use]
pub fn normal_upper(z: f64) -> Option<PValue> {
    let both = normal_two_sided(z)?.ln();
    PValue::from_ln(if z >= 0.0 {
        both - LN_2
    } else {
        (-0.5 * both.exp()).ln_1p()
    })
}

/// `ln Γ(n + 1) − ((n + ½) ln n − n + ½ ln 2π)`: what Stirling's formula leaves out (Loader 2000).
#[must_use]
pub(super) fn stirling_error(n: f64) -> f64 {
    if n < 16.0 {
        return ln_gamma(n + 1.0) - (n + 0.5) * n.ln() + n - 0.5 * TAU.ln();
    }
    let square = n * n;
    (1.0 / 12.0
        - (1.0 / 360.0
            - (1.0 / 1260.0 - (1.0 / 1680.0 - (1.0 / 1188.0) / square) / square) / square)
            / square)
        / n
}

/// `x ln(x / m) + m − x`, exact also when `x` is close to `m` (Loader 2000).
#[must_use]
pub(super) fn deviance(x: f64, m: f64) -> f64 {
    let difference = x - m;
    if difference.abs() >= 0.1 * (x + m) {
        return if x == 0.0 {
            m
        } else {
            x * (x / m).ln() - difference
        };
    }
    // With v = (x − m)/(x + m): (x − m) v + 2 x Σ v^(2j+1) / (2j+1), j ≥ 1.
    let v = difference / (x + m);
    let mut sum = difference * v;
    let mut power = 2.0 * x * v;
    for j in 1..1_000 {
        power *= v * v;
        let next = sum + power / f64::from(2 * j + 1);
        if next == sum {
            break;
        }
        sum = next;
    }
    sum
}

/// `ln` of the binomial probability of `k` of `n` at `p` for `0 < k < n` and `0 < p < 1` (Loader 2000).
#[must_use]
pub(super) fn ln_binomial(k: f64, n: f64, p: f64) -> f64 {
    stirling_error(n)
        - stirling_error(k)
        - stirling_error(n - k)
        - deviance(k, n * p)
        - deviance(n - k, n * (1.0 - p))
        + 0.5 * (n / (TAU * k * (n - k))).ln()
}

/// The standard normal quantile: where the distribution function is `p`. Infinite at 0 and 1, NaN outside.
#[must_use]
pub fn normal_quantile(p: f64) -> f64 {
    if !(0.0..=1.0).contains(&p) {
        return f64::NAN;
    }
    -SQRT_2 * erfc_inv(2.0 * p)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_probability_is_none() {
        assert_eq!(PValue::from_ln(f64::NAN), None);
        assert_eq!(PValue::from_probability(-0.1), None);
        assert_eq!(PValue::from_probability(f64::NAN), None);
        assert_eq!(chi_square_tail(f64::NAN, 3.0), None);
        assert_eq!(chi_square_tail(-1.0, 3.0), None);
        assert_eq!(chi_square_tail(1.0, 0.0), None);
        assert_eq!(normal_two_sided(f64::NAN), None);
    }

    #[test]
    fn ends_of_the_tails() {
        assert_eq!(chi_square_tail(0.0, 3.0), Some(PValue::ONE));
        assert_eq!(
            chi_square_tail(f64::INFINITY, 3.0).map(PValue::value),
            Some(0.0)
        );
        assert_eq!(normal_two_sided(0.0), Some(PValue::ONE));
        let half = normal_upper(0.0).expect("defined").value();
        assert!((half - 0.5).abs() < 1e-15, "{half}");
    }

    #[test]
    fn upper_gamma_with_two_degrees_is_the_exponential() {
        for x in [1e-9, 0.3, 1.9, 2.1, 50.0, 690.0, 1e6] {
            let ln = ln_upper_gamma(1.0, x);
            assert!((ln + x).abs() <= 1e-13 * x, "{x}: {ln}");
        }
    }

    #[test]
    fn deviance_meets_itself_where_its_formula_changes() {
        for m in [1e-3, 1.0, 1e7] {
            let at = m * (1.1 / 0.9);
            let (below, above) = (
                deviance(at * (1.0 - 1e-12), m),
                deviance(at * (1.0 + 1e-12), m),
            );
            assert!((below / above - 1.0).abs() < 1e-9, "{m}: {below} {above}");
        }
        assert_eq!(deviance(0.0, 3.0), 3.0);
        assert_eq!(deviance(3.0, 3.0), 0.0);
    }
}

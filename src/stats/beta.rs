//! Tails that are incomplete beta functions, as natural logarithms: Student's t, the binomial and the negative
//! binomial distribution.
//!
//! All are one continued fraction with a prefactor in Loader's form, which loses no digits for large arguments and
//! does not underflow; see [`super::tails`] for why logarithms.

use std::f64::consts::{LN_2, TAU};

use super::tails::{PValue, deviance, stirling_error};

/// `ln I_x(a, b)`, the logarithm of the regularised incomplete beta function, with `y = 1 − x` given beside `x` so
/// that either may be tiny.
///
/// The continued fraction of Didonato and Morris (1992) by the modified method of Lentz, on the side where it
/// converges fast. NaN unless `a` and `b` are positive and finite and `x` and `y` are in 0 to 1.
#[must_use]
pub fn ln_incomplete_beta(a: f64, b: f64, x: f64, y: f64) -> f64 {
    let defined = a > 0.0 && b > 0.0 && a.is_finite() && b.is_finite();
    if !defined || !(0.0..=1.0).contains(&x) || !(0.0..=1.0).contains(&y) {
        return f64::NAN;
    }
    if x == 0.0 {
        return f64::NEG_INFINITY;
    }
    if y == 0.0 {
        return 0.0;
    }
    if x <= (a + 1.0) / (a + b + 2.0) {
        return ln_lower(a, b, x, y).min(0.0);
    }
    (-ln_lower(b, a, y, x).exp().min(1.0)).ln_1p()
}

/// The same where `x` is on the near side of the mean.
fn ln_lower(a: f64, b: f64, x: f64, y: f64) -> f64 {
    let n = a + b;
    let ln_prefactor = stirling_error(n)
        - stirling_error(a)
        - stirling_error(b)
        - deviance(a, n * x)
        - deviance(b, n * y)
        + 0.5 * (n / (TAU * a * b)).ln()
        + (b / n).ln();
    ln_prefactor - fraction(a, b, x).ln()
}

/// The continued fraction `1 + d₁/(1 + d₂/(1 + …))` of the incomplete beta function.
fn fraction(a: f64, b: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let away_from_zero = |v: f64| if v.abs() < TINY { TINY } else { v };
    let (mut c, mut d, mut value) = (1.0, 0.0, 1.0);
    for step in 1..200_000_u32 {
        let m = f64::from(step / 2);
        let numerator = if step % 2 == 0 {
            m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m))
        } else {
            -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0))
        };
        d = 1.0 / away_from_zero(1.0 + numerator * d);
        c = away_from_zero(1.0 + numerator / c);
        let factor = c * d;
        value *= factor;
        if (factor - 1.0).abs() < 1e-16 {
            break;
        }
    }
    value
}

/// Both tails of Student's t distribution beyond `|t|`. `None` for NaN and without degrees of freedom.
#[must_use]
pub fn student_two_sided(t: f64, freedom: f64) -> Option<PValue> {
    let square = t * t / freedom;
    let (x, y) = if square > 1.0 {
        let x = 1.0 / (1.0 + square);
        (x, 1.0 - x)
    } else {
        let y = square / (1.0 + square);
        (1.0 - y, y)
    };
    PValue::from_ln(ln_incomplete_beta(freedom / 2.0, 0.5, x, y))
}

/// The tail of Student's t distribution above `t`. `None` for NaN and without degrees of freedom.
#[must_use]
pub fn student_upper(t: f64, freedom: f64) -> Option<PValue> {
    let half = student_two_sided(t, freedom)?.ln() - LN_2;
    PValue::from_ln(if t >= 0.0 {
        half
    } else {
        (-half.exp()).ln_1p()
    })
}

/// The `|t|` that both tails beyond have this probability, given as its logarithm: the inverse of
/// [`student_two_sided`]. `None` unless the logarithm is finite and below 0 and there are degrees of freedom, and where
/// it would be beyond 10¹⁰⁰.
#[must_use]
pub fn student_critical(ln_p: f64, freedom: f64) -> Option<f64> {
    if !(ln_p < 0.0 && ln_p.is_finite() && freedom > 0.0 && freedom.is_finite()) {
        return None;
    }
    let excess = |t: f64| student_two_sided(t, freedom).map_or(f64::NAN, PValue::ln) - ln_p;
    let (mut low, mut high) = (0.0, 2.0);
    while excess(high) > 0.0 {
        (low, high) = (high, high * 2.0);
        if high > 1e100 {
            return None;
        }
    }
    let (mut at_low, mut at_high) = (excess(low), excess(high));
    // Regula falsi with Illinois' halving where the same end stays twice; the root is kept between the ends.
    let mut kept_low = None;
    for _ in 0..200 {
        let middle = (low * at_high - high * at_low) / (at_high - at_low);
        let at_middle = excess(middle);
        if at_middle.abs() < 1e-12 || (high - low) < 1e-13 * high {
            return Some(middle);
        }
        if (at_middle > 0.0) == (at_high > 0.0) {
            (high, at_high) = (middle, at_middle);
            if kept_low == Some(true) {
                at_low *= 0.5;
            }
            kept_low = Some(true);
        } else {
            (low, at_low) = (middle, at_middle);
            if kept_low == Some(false) {
                at_high *= 0.5;
            }
            kept_low = Some(false);
        }
    }
    Some(high)
}

/// The probability of at least `k` of `n` at a chance of `p` each. `None` unless `p` is in 0 to 1.
#[must_use]
pub fn binomial_upper(k: u64, n: u64, p: f64) -> Option<PValue> {
    if !(0.0..=1.0).contains(&p) {
        return None;
    }
    if k == 0 {
        return Some(PValue::ONE);
    }
    if k > n {
        return PValue::from_probability(0.0);
    }
    let (k, n) = (k as f64, n as f64);
    PValue::from_ln(ln_incomplete_beta(k, n - k + 1.0, p, 1.0 - p))
}

/// The probability of at least `k` of a count with this mean and a variance of `dispersion` times the mean, above 1:
/// a negative binomial, which is a Poisson count whose rate varies by a gamma distribution. `None` unless the mean is
/// positive and the dispersion above 1.
#[must_use]
pub fn negative_binomial_upper(k: u64, mean: f64, dispersion: f64) -> Option<PValue> {
    let defined = mean > 0.0 && mean.is_finite() && dispersion > 1.0 && dispersion.is_finite();
    if !defined {
        return None;
    }
    if k == 0 {
        return Some(PValue::ONE);
    }
    let size = mean / (dispersion - 1.0);
    let stay = 1.0 / dispersion;
    PValue::from_ln(ln_incomplete_beta(k as f64, size, 1.0 - stay, stay))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(ours: Option<PValue>, ln: f64) {
        let ours = ours.expect("defined").ln();
        assert!(
            (ours - ln).abs() <= 1e-11 * ln.abs().max(1.0),
            "{ours} {ln}"
        );
    }

    #[test]
    fn with_one_degree_of_freedom_it_is_cauchys_distribution() {
        for t in [1e-6_f64, 0.4, 1.0, 3.0, 1e4, 1e80] {
            let exact = (2.0 * (1.0 / t).atan() / std::f64::consts::PI).ln();
            close(student_two_sided(t, 1.0), exact);
        }
    }

    #[test]
    fn with_two_degrees_of_freedom_it_is_algebraic() {
        for t in [0.1_f64, 1.0, 5.0, 1e3] {
            let exact = (2.0 / ((t * t + 2.0).sqrt() * (t + (t * t + 2.0).sqrt()))).ln();
            close(student_two_sided(t, 2.0), exact);
            close(student_upper(t, 2.0), exact - LN_2);
        }
    }

    #[test]
    fn counts_by_hand() {
        close(binomial_upper(2, 3, 0.5), 0.5_f64.ln());
        close(binomial_upper(3, 3, 1e-120), 3.0 * 1e-120_f64.ln());
        assert_eq!(binomial_upper(0, 3, 0.2), Some(PValue::ONE));
        assert_eq!(binomial_upper(4, 3, 0.2).map(PValue::value), Some(0.0));
        // Size 1 is the geometric distribution.
        close(negative_binomial_upper(5, 3.0, 4.0), 5.0 * 0.75_f64.ln());
    }

    #[test]
    fn what_is_no_tail_is_none() {
        assert_eq!(student_two_sided(f64::NAN, 3.0), None);
        assert_eq!(student_two_sided(1.0, 0.0), None);
        assert_eq!(student_critical(0.0, 3.0), None);
        assert_eq!(binomial_upper(1, 2, f64::NAN), None);
        assert_eq!(negative_binomial_upper(1, 0.0, 2.0), None);
        assert_eq!(negative_binomial_upper(1, 1.0, 1.0), None);
    }

    #[test]
    fn critical_value_is_the_inverse() {
        for freedom in [1.0, 6.5, 27.0, 300.0, 1e4] {
            for ln_p in [-0.01, -1.0, -12.0, -40.0, -900.0] {
                let Some(t) = student_critical(ln_p, freedom) else {
                    assert!(freedom == 1.0 && ln_p == -900.0, "{freedom} {ln_p}");
                    continue;
                };
                let back = student_two_sided(t, freedom).expect("defined").ln();
                assert!((back - ln_p).abs() < 1e-9, "{freedom} {ln_p} {back}");
            }
        }
    }
}

//! Many detectors at once.

use crate::stats::tails::PValue;

/// The e-values that stay significant when all are looked at together, as places in the list, the largest first: e-BH of Wang
/// and Ramdas (2022). At most a share `alpha` of them is false on average, whatever the dependence between
/// them, so models may share their days.
///
/// Takes logarithms, as e-values grow beyond numbers; NaN counts as no evidence.
#[must_use]
pub fn e_benjamini_hochberg(ln_e: &[f64], alpha: f64) -> Vec<usize> {
    let of = |place: &usize| {
        let ln = ln_e[*place];
        if ln.is_nan() { f64::NEG_INFINITY } else { ln }
    };
    let mut order: Vec<usize> = (0..ln_e.len()).collect();
    order.sort_by(|a, b| of(b).total_cmp(&of(a)).then(a.cmp(b)));
    let all = ln_e.len() as f64;
    let kept = (1..=order.len())
        .rev()
        .find(|k| of(&order[k - 1]) >= (all / (*k as f64 * alpha)).ln());
    order.truncate(kept.unwrap_or(0));
    order
}

/// The logarithm of the e-value that a p-value is worth: `(1 − p + p ln p) / (p ln² p)`, the mixture over all
/// calibrators `κ p^(κ−1)` (Vovk and Wang 2021). From ln ½ for p = 1 without an upper limit; more is more evidence.
#[must_use]
pub fn calibrated_ln_e(p: PValue) -> f64 {
    let u = -p.ln();
    if u == f64::INFINITY {
        return u;
    }
    if u < 1e-3 {
        // 1 − (1 + u)e⁻ᵘ = u²/2 − u³/3 + u⁴/8 − …, which the plain form loses to rounding.
        return (0.5 - u / 3.0 + u * u / 8.0).ln() + u;
    }
    (-(1.0 + u) * (-u).exp()).ln_1p() + u - 2.0 * u.ln()
}

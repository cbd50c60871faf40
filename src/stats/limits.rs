//! What a fixed limit of a distance means: how often chance alone goes beyond it, and which change brings a window there.
//!
//! Both are about one window of one feature whose rows are independent. Rows of real days are not, so that the chance is the
//! least there is; a detector over days knows how much they differ, a fixed limit does not.

use super::distance::inverse_sizes;
use super::kolmogorov;
use super::reading::DriftMeasure;
use super::tails::{PValue, chi_square_tail, normal_quantile};

/// How likely a window is beyond `limit` when nothing has changed, with `bins` bins and so many values on either side.
///
/// The stability index is `s χ²` with `bins − 1` degrees of freedom and `s = 1/n + 1/m`, squares of Jensen–Shannon's
/// and Hellinger's distances are `s χ² / (8 ln 2)` and `s χ² / 8`, all to first order in `s`; Kolmogorov's distribution is
/// asymptotic. `None` for measures whose distribution depends on more than this, for fewer than two bins, and without values.
#[must_use]
pub fn chance_beyond(
    measure: DriftMeasure,
    limit: f64,
    bins: usize,
    reference: u64,
    current: u64,
) -> Option<PValue> {
    if limit.is_nan() || limit <= 0.0 || reference == 0 || current == 0 {
        return None;
    }
    let scale = inverse_sizes(reference, current);
    let freedom = bins.checked_sub(1).filter(|freedom| *freedom > 0)? as f64;
    match measure {
        DriftMeasure::Psi => chi_square_tail(limit / scale, freedom),
        DriftMeasure::JensenShannon => {
            let eight_ln_2 = 8.0 * std::f64::consts::LN_2;
            chi_square_tail(eight_ln_2 * limit * limit / scale, freedom)
        }
        DriftMeasure::Hellinger => chi_square_tail(8.0 * limit * limit / scale, freedom),
        DriftMeasure::KolmogorovSmirnov => kolmogorov::asymptotic(limit, reference, current),
        DriftMeasure::Chi2 | DriftMeasure::GTest => chi_square_tail(limit, freedom),
        _ => None,
    }
}

/// By how many standard deviations a normal feature has to move for the measure to be at `limit`, chance and the coarseness
/// of bins left out; `None` for measures that do not say.
#[must_use]
pub fn normal_shift_at(measure: DriftMeasure, limit: f64) -> Option<f64> {
    if limit.is_nan() || limit <= 0.0 {
        return None;
    }
    match measure {
        // Jeffreys' divergence of two normal distributions.
        DriftMeasure::Psi => Some(limit.sqrt()),
        DriftMeasure::Hellinger if limit < 1.0 => Some((-8.0 * (-limit * limit).ln_1p()).sqrt()),
        DriftMeasure::KolmogorovSmirnov | DriftMeasure::TotalVariation if limit < 1.0 => {
            Some(2.0 * normal_quantile(f64::midpoint(1.0, limit)))
        }
        DriftMeasure::WassersteinNormalised => Some(limit),
        DriftMeasure::JensenShannon if limit < 1.0 => Some(shift_of_jensen_shannon(limit)),
        _ => None,
    }
}

/// The distance of two normal distributions by numbers, which has no closed form, turned around by halving.
fn shift_of_jensen_shannon(limit: f64) -> f64 {
    const STEPS: usize = 400;
    let distance = |shift: f64| {
        let (from, to) = (-8.0, 8.0 + shift);
        let step = (to - from) / STEPS as f64;
        let density = |x: f64| (-x * x / 2.0).exp() / std::f64::consts::TAU.sqrt();
        let (p, q): (Vec<f64>, Vec<f64>) = (0..=STEPS)
            .map(|place| from + step * place as f64)
            .map(|x| (density(x), density(x - shift)))
            .unzip();
        super::distance::jensen_shannon(&p, &q).unwrap_or(0.0)
    };
    let (mut low, mut high) = (0.0, 16.0);
    for _ in 0..40 {
        let middle = f64::midpoint(low, high);
        if distance(middle) < limit {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

/// How likely at least one run of so many successes is within some independent trials of the same chance.
#[must_use]
pub fn chance_of_run(chance: f64, run: usize, trials: usize) -> f64 {
    // How likely the last trials were a run of so many, without a whole one yet.
    let mut running = vec![0.0; run.max(1)];
    running[0] = 1.0;
    let mut done = 0.0;
    for _ in 0..trials {
        let failed: f64 = running.iter().sum::<f64>() * (1.0 - chance);
        done += running[running.len() - 1] * chance;
        for place in (1..running.len()).rev() {
            running[place] = running[place - 1] * chance;
        }
        running[0] = failed;
    }
    done
}

/// The chance that a single trial needs for a run of so many within some trials to have the chance `wanted`; `None` if there are
/// too few trials.
#[must_use]
pub fn chance_needed(wanted: f64, run: usize, trials: usize) -> Option<f64> {
    if run == 0 || trials < run {
        return None;
    }
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..50 {
        let middle = f64::midpoint(low, high);
        if chance_of_run(middle, run, trials) < wanted {
            low = middle;
        } else {
            high = middle;
        }
    }
    Some(f64::midpoint(low, high))
}

/// How likely at least `least` of some independent events happen, each with its own chance.
#[must_use]
pub fn chance_of_several(chances: &[f64], least: usize) -> f64 {
    // How likely so many have happened, all from `least` on together.
    let mut happened = vec![0.0; least + 1];
    happened[0] = 1.0;
    for chance in chances {
        for count in (0..=least).rev() {
            let stays = if count == least { 1.0 } else { 1.0 - chance };
            let comes = if count > 0 {
                happened[count - 1] * chance
            } else {
                0.0
            };
            happened[count] = happened[count] * stays + comes;
        }
    }
    happened[least]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::distance;

    fn of(measure: DriftMeasure, limit: f64) -> f64 {
        chance_beyond(measure, limit, 10, 28_000, 1_000).map_or(f64::NAN, PValue::value)
    }

    /// Drawn rows go beyond a limit as often as is said. Ten equal bins, a thousand rows against many.
    #[test]
    fn chance_goes_beyond_a_limit_as_often_as_is_said() {
        use rand::{RngExt, SeedableRng};
        let mut random = rand::rngs::StdRng::seed_from_u64(11);
        let (trials, rows) = (4_000, 1_000_u64);
        let reference = [0.1; 10];
        let limits = [
            (DriftMeasure::Psi, 0.016),
            (DriftMeasure::JensenShannon, 0.054),
            (DriftMeasure::Hellinger, 0.045),
        ];
        let mut beyond = [0_usize; 3];
        for _ in 0..trials {
            let mut counts = [0.0; 10];
            for _ in 0..rows {
                counts[random.random_range(0..10_usize)] += 1.0 / rows as f64;
            }
            let values = [
                distance::psi(&reference, &counts),
                distance::jensen_shannon(&reference, &counts),
                distance::hellinger(&reference, &counts),
            ];
            for (count, (value, (_, limit))) in beyond.iter_mut().zip(values.iter().zip(&limits)) {
                *count += usize::from(value.expect("shares") > *limit);
            }
        }
        for (count, (measure, limit)) in beyond.iter().zip(limits) {
            let said = chance_beyond(measure, limit, 10, u64::MAX / 2, rows).expect("it is known");
            let found = *count as f64 / f64::from(trials);
            let error = 4.0 * (said.value() * (1.0 - said.value()) / f64::from(trials)).sqrt();
            assert!(
                (found - said.value()).abs() < error + 0.005,
                "{measure:?}: {found} beside {said:?}"
            );
            assert!(said.value() > 0.02, "{measure:?} says something: {said:?}");
        }
    }

    #[test]
    fn larger_limits_and_more_rows_are_exceeded_less() {
        for measure in [
            DriftMeasure::Psi,
            DriftMeasure::JensenShannon,
            DriftMeasure::Hellinger,
            DriftMeasure::KolmogorovSmirnov,
        ] {
            assert!(of(measure, 0.01) > of(measure, 0.2), "{measure:?}");
        }
        assert!(of(DriftMeasure::Psi, 0.2) < 1e-30);
        assert_eq!(chance_beyond(DriftMeasure::Psi, 0.1, 1, 10, 10), None);
        assert_eq!(chance_beyond(DriftMeasure::Psi, 0.1, 10, 0, 10), None);
        assert_eq!(
            chance_beyond(DriftMeasure::Wasserstein, 0.1, 10, 10, 10),
            None
        );
    }

    #[test]
    fn a_shift_gives_the_limit_back() {
        let near = |measure: DriftMeasure, limit: f64, shift: f64| {
            let found = normal_shift_at(measure, limit).expect("it says");
            assert!((found - shift).abs() < 0.005, "{measure:?}: {found}");
        };
        near(DriftMeasure::Psi, 0.2, 0.447);
        // Φ(½) − Φ(−½) and √(1 − e^(−1/8)) of a shift by one.
        near(DriftMeasure::KolmogorovSmirnov, 0.382_925, 1.0);
        near(DriftMeasure::Hellinger, 0.342_786, 1.0);
        near(DriftMeasure::WassersteinNormalised, 0.1, 0.1);
        // For small shifts the square is δ²/(8 ln 2).
        near(DriftMeasure::JensenShannon, 0.1, 0.236);
        assert_eq!(normal_shift_at(DriftMeasure::Psi, 0.0), None);
        assert_eq!(normal_shift_at(DriftMeasure::Hellinger, 1.5), None);
    }

    #[test]
    fn runs_and_several_at_once_are_counted() {
        let near = |found: f64, right: f64| assert!((found - right).abs() < 1e-12, "{found}");
        near(chance_of_run(0.5, 1, 3), 0.875);
        // Two heads in a row in three throws: hht, thh, hhh.
        near(chance_of_run(0.5, 2, 3), 0.375);
        near(chance_of_run(0.3, 4, 3), 0.0);
        near(chance_of_several(&[0.5, 0.5, 0.5], 2), 0.5);
        near(chance_of_several(&[0.2, 0.3], 1), 0.44);
        near(chance_of_several(&[0.2], 0), 1.0);
        let needed = chance_needed(0.9, 1, 7).expect("enough trials");
        near(1.0 - (1.0 - needed).powi(7), 0.9);
        assert_eq!(chance_needed(0.9, 2, 1), None);
    }
}

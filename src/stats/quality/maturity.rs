//! Label coverage, maturity, and what a value will be when the labels are in.
//!
//! Labels come late, and the early ones are not like the rest: a fraud that is noticed at once is not like one
//! that takes a month. So a young window is compared with what the reference knew when it was as young, and not
//! with what it came to know. All times are lags: seconds from a prediction to its label.

use super::{Estimate, Undefined};

/// The share of a reference's predictions whose label had arrived, by lag.
///
/// The reference has to be old enough that what has not arrived by now will not.
#[derive(Debug, Clone, PartialEq)]
pub struct CompletenessCurve {
    /// Sorted, in seconds, none below zero.
    lags: Vec<f64>,
    answered: u64,
}

/// Predictions of a window that are about equally old.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AgeSlice {
    /// Seconds since the last and since the first prediction of the slice; in between they are taken to be
    /// spread evenly.
    pub youngest: f64,
    pub oldest: f64,
    /// Predictions that can have a label.
    pub answered: u64,
    /// How many have one.
    pub labelled: u64,
}

/// Ages for the labels of a reference, as its predictions would have them if they were as old as those of a window: a label that
/// took longer than its age would not be there yet.
#[derive(Debug, Clone, PartialEq)]
pub struct AgeSpread {
    slices: Vec<AgeSlice>,
    answered: f64,
}

impl AgeSpread {
    /// Of a window's predictions.
    ///
    /// # Errors
    /// Without predictions.
    pub fn new(slices: &[AgeSlice]) -> Result<Self, Undefined> {
        let slices: Vec<AgeSlice> = slices.iter().copied().filter(|s| s.answered > 0).collect();
        let answered: u64 = slices.iter().map(|slice| slice.answered).sum();
        if answered == 0 {
            return Err(Undefined::NoOutcomes);
        }
        Ok(Self {
            slices,
            answered: answered as f64,
        })
    }

    /// The age of the reference's label with that number, in seconds. Numbers one after the other have ages that are spread over
    /// all of them (multiples of the golden ratio, Weyl 1916), whatever the order of the labels.
    #[must_use]
    pub fn of(&self, number: u64) -> f64 {
        const GOLDEN: f64 = 0.618_033_988_749_894_9;
        let mut rank = ((number as f64 + 0.5) * GOLDEN).fract() * self.answered;
        for slice in &self.slices {
            let answered = slice.answered as f64;
            if rank < answered {
                return slice.youngest + (slice.oldest - slice.youngest) * rank / answered;
            }
            rank -= answered;
        }
        self.slices.last().map_or(0.0, |slice| slice.oldest)
    }
}

/// How far a window's labels have come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Maturity {
    /// Share of the predictions whose label is known.
    pub coverage: f64,
    /// The share the reference had when it was as old.
    pub expected: f64,
    /// The share it came to have in the end.
    pub at_maturity: f64,
    /// Of the labels that will ever come, by the reference, the share that should be there by now: 1 is mature.
    pub completeness: f64,
    /// Seconds until as good as all that will come have come; 0 for a mature window.
    pub matures_in: f64,
}

/// From this share of the labels that will ever come on, a window counts as mature.
const MATURE: f64 = 0.99;

impl CompletenessCurve {
    /// From the lags of the labels that came, in seconds, and the number of predictions that could have one.
    /// Labels that claim to be older than their prediction count as there at once; lags that are NaN count as
    /// never come.
    ///
    /// # Errors
    /// Without labels, or if there are more of them than predictions.
    pub fn new(lags: impl IntoIterator<Item = f64>, answered: u64) -> Result<Self, Undefined> {
        let mut lags: Vec<f64> = (lags.into_iter())
            .filter(|lag| !lag.is_nan())
            .map(|lag| lag.max(0.0))
            .collect();
        lags.sort_unstable_by(f64::total_cmp);
        if lags.is_empty() {
            return Err(Undefined::NoOutcomes);
        }
        if lags.len() as u64 > answered {
            return Err(Undefined::BadParameter);
        }
        Ok(Self { lags, answered })
    }

    /// The share of predictions whose label had arrived by that lag.
    #[must_use]
    pub fn share_by(&self, lag: f64) -> f64 {
        self.lags.partition_point(|known| *known <= lag) as f64 / self.answered as f64
    }

    /// The share that had a label in the end.
    #[must_use]
    pub fn at_maturity(&self) -> f64 {
        self.lags.len() as f64 / self.answered as f64
    }

    /// The lag by which so much of the labels that ever came had come; from 0 to 1.
    #[must_use]
    pub fn lag_of(&self, completeness: f64) -> f64 {
        let rank = (completeness.clamp(0.0, 1.0) * self.lags.len() as f64).ceil() as usize;
        self.lags[rank.clamp(1, self.lags.len()) - 1]
    }

    /// The mean share over lags spread evenly between two.
    fn mean_share(&self, from: f64, to: f64) -> f64 {
        if to <= from {
            return self.share_by(from);
        }
        // Each label that comes at `lag` is there for the part of the span after it.
        let there = self
            .lags
            .iter()
            .map(|lag| ((to - lag) / (to - from)).clamp(0.0, 1.0));
        super::intervals::sum(there) / self.answered as f64
    }

    /// How far the labels of a window have come.
    ///
    /// # Errors
    /// Without predictions, with more labels than predictions, or with ages that are no span of time.
    pub fn maturity(&self, slices: &[AgeSlice]) -> Result<Maturity, Undefined> {
        let answered: u64 = slices.iter().map(|slice| slice.answered).sum();
        if answered == 0 {
            return Err(Undefined::NoOutcomes);
        }
        let sound = |slice: &AgeSlice| {
            slice.youngest <= slice.oldest
                && slice.youngest.is_finite()
                && slice.oldest.is_finite()
                && slice.labelled <= slice.answered
        };
        if !slices.iter().all(sound) {
            return Err(Undefined::BadParameter);
        }
        let labelled: u64 = slices.iter().map(|slice| slice.labelled).sum();
        let expected = slices
            .iter()
            .map(|slice| slice.answered as f64 * self.mean_share(slice.youngest, slice.oldest));
        let expected = super::intervals::sum(expected) / answered as f64;
        let youngest = (slices.iter().filter(|slice| slice.answered > 0))
            .map(|slice| slice.youngest)
            .fold(f64::INFINITY, f64::min);
        Ok(Maturity {
            coverage: labelled as f64 / answered as f64,
            expected,
            at_maturity: self.at_maturity(),
            completeness: expected / self.at_maturity(),
            matures_in: (self.lag_of(MATURE) - youngest).max(0.0),
        })
    }
}

impl Maturity {
    /// Whether as good as all labels that will come should be there.
    #[must_use]
    pub fn is_mature(&self) -> bool {
        self.completeness >= MATURE
    }
}

/// What a value is expected to be once the labels are in. It is a projection and no measurement: whoever shows it
/// says so.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Projection {
    pub value: f64,
    /// 95 % interval of the value that will then be measured; `None` where one of its parts has none.
    pub interval: Option<(f64, f64)>,
    /// What was added to the present value: the reference's final value less its value at the same age.
    pub correction: f64,
}

/// One measure of the reference, by when its labels came.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReferenceValues {
    /// Over the labels it had when it was as old as the window is now.
    pub early: Estimate,
    /// Over those that came later; `None` where the measure is not defined for them.
    pub late: Option<Estimate>,
    /// Over all.
    pub full: Estimate,
}

/// Projects a value of a window to full maturity.
///
/// The late labels are taken to differ from the early ones as they did in the reference. What the reference cannot
/// know, that late labels differ in another way now, the projection cannot know either. The interval is that of the
/// value that will be measured: the present labels will be part of it, so it closes as all labels come in. With the
/// completeness `c` its half-width is `(1 − c)·√(h² + e² + l² + l²·m/k)`, from the half-widths `h` of the present
/// value, `e` of `early` and `l` of `late`, with `m` labels behind the last and `k` that are still to come.
///
/// `bounds` are the least and the greatest the measure can be.
///
/// # Errors
/// If the completeness is not above 0 and at most 1, or when the value leaves the range of numbers.
pub fn project(
    present: Estimate,
    completeness: f64,
    reference: ReferenceValues,
    bounds: (f64, f64),
) -> Result<Projection, Undefined> {
    if !(completeness > 0.0 && completeness <= 1.0) {
        return Err(Undefined::BadParameter);
    }
    let correction = reference.full.value - reference.early.value;
    let value = (present.value + correction).clamp(bounds.0, bounds.1);
    if !value.is_finite() {
        return Err(Undefined::Overflow);
    }
    let missing = 1.0 - completeness;
    let half = |of: Estimate| of.interval.map(|(low, high)| (high - low) / 2.0);
    let spread = if missing == 0.0 {
        Some(0.0)
    } else {
        let halves = half(present).zip(half(reference.early));
        halves
            .zip(reference.late)
            .and_then(|((present_half, early), late)| {
                let (of_late, known) = (half(late)?, late.size as f64);
                let to_come = present.size as f64 * missing / completeness;
                let late_squares = of_late * of_late * (1.0 + known / to_come);
                Some(missing * (present_half * present_half + early * early + late_squares).sqrt())
            })
    };
    let interval = spread.filter(|spread| spread.is_finite()).map(|spread| {
        (
            (value - spread).max(bounds.0),
            (value + spread).min(bounds.1),
        )
    });
    Ok(Projection {
        value,
        interval,
        correction,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(youngest: f64, oldest: f64, answered: u64, labelled: u64) -> AgeSlice {
        AgeSlice {
            youngest,
            oldest,
            answered,
            labelled,
        }
    }

    fn estimate(value: f64, half: f64) -> Estimate {
        Estimate {
            value,
            interval: Some((value - half, value + half)),
            size: 100,
        }
    }

    #[test]
    fn ages_are_spread_like_those_of_the_window() {
        let spread = AgeSpread::new(&[
            slice(0.0, 10.0, 300, 0),
            slice(50.0, 50.0, 0, 0),
            slice(100.0, 200.0, 100, 0),
        ])
        .expect("predictions");
        let ages: Vec<f64> = (0..4_000).map(|number| spread.of(number)).collect();
        let share = |from: f64, to: f64| {
            let within = ages.iter().filter(|age| (from..to).contains(*age));
            within.count() as f64 / 4_000.0
        };
        for (from, to, expected) in [
            (0.0, 10.0, 0.75),
            (0.0, 5.0, 0.375),
            (10.0, 100.0, 0.0),
            (100.0, 200.0, 0.25),
            (150.0, 200.0, 0.125),
        ] {
            assert!((share(from, to) - expected).abs() < 0.002, "{from} to {to}");
        }
        assert_eq!(AgeSpread::new(&[]), Err(Undefined::NoOutcomes));
    }

    #[test]
    fn a_curve_is_the_share_of_labels_by_lag() {
        // Eight of ten predictions got a label, after 10, 20, … 80 seconds.
        let curve =
            CompletenessCurve::new((1..=8).map(|i| f64::from(i) * 10.0), 10).expect("labels");
        assert_eq!(curve.share_by(9.9), 0.0);
        assert_eq!(curve.share_by(30.0), 0.3);
        assert_eq!(
            (curve.at_maturity(), curve.lag_of(0.5), curve.lag_of(1.0)),
            (0.8, 40.0, 80.0)
        );
        // Ages from 0 to 80 seconds: labels are there for 7/8, 6/8, … 0 of the span.
        assert!((curve.mean_share(0.0, 80.0) - 0.35).abs() < 1e-12);
        assert_eq!(curve.mean_share(30.0, 30.0), 0.3);
    }

    #[test]
    fn a_window_is_held_against_the_curve_at_its_own_age() {
        let curve = CompletenessCurve::new((1..=100).map(f64::from), 125).expect("labels");
        let of = curve
            .maturity(&[slice(50.0, 50.0, 10, 5)])
            .expect("predictions");
        assert_eq!((of.coverage, of.expected, of.at_maturity), (0.5, 0.4, 0.8));
        assert_eq!(
            (of.completeness, of.matures_in, of.is_mature()),
            (0.5, 49.0, false)
        );
        let of = curve
            .maturity(&[slice(200.0, 300.0, 90, 70), slice(120.0, 200.0, 10, 8)])
            .expect("predictions");
        assert!(of.is_mature() && of.matures_in == 0.0 && (of.coverage - 0.78).abs() < 1e-12);
    }

    #[test]
    fn what_is_no_reference_or_no_window_is_named() {
        assert_eq!(CompletenessCurve::new([], 10), Err(Undefined::NoOutcomes));
        assert_eq!(
            CompletenessCurve::new([f64::NAN], 10),
            Err(Undefined::NoOutcomes)
        );
        assert_eq!(
            CompletenessCurve::new([1.0, 2.0], 1),
            Err(Undefined::BadParameter)
        );
        let at_once = CompletenessCurve::new([-5.0, f64::NEG_INFINITY], 2).expect("labels");
        assert_eq!(at_once.share_by(0.0), 1.0);
        assert_eq!(at_once.maturity(&[]), Err(Undefined::NoOutcomes));
        for bad in [
            slice(10.0, 5.0, 1, 0),
            slice(f64::NAN, 5.0, 1, 0),
            slice(0.0, f64::INFINITY, 1, 0),
            slice(0.0, 1.0, 1, 2),
        ] {
            assert_eq!(
                at_once.maturity(&[bad]),
                Err(Undefined::BadParameter),
                "{bad:?}"
            );
        }
        let future = at_once
            .maturity(&[slice(-10.0, -5.0, 3, 0)])
            .expect("predictions");
        assert_eq!((future.expected, future.matures_in), (0.0, 10.0));
    }

    #[test]
    fn a_projection_moves_by_what_the_reference_moved_and_is_sure_when_all_is_in() {
        let reference = ReferenceValues {
            early: estimate(0.70, 0.04),
            late: Some(estimate(0.90, 0.06)),
            full: estimate(0.80, 0.02),
        };
        let of = project(estimate(0.60, 0.05), 0.5, reference, (0.0, 1.0)).expect("a share");
        assert!((of.value - 0.70).abs() < 1e-12 && (of.correction - 0.10).abs() < 1e-12);
        // As many are to come as there are, and as the reference's late ones.
        let half = 0.5 * (0.05_f64.powi(2) + 0.04_f64.powi(2) + 2.0 * 0.06_f64.powi(2)).sqrt();
        let (low, high) = of.interval.expect("all have one");
        assert!((high - 0.70 - half).abs() < 1e-12 && (0.70 - low - half).abs() < 1e-12);

        let same = ReferenceValues {
            early: reference.full,
            late: None,
            full: reference.full,
        };
        let done = project(estimate(0.6, 0.05), 1.0, same, (0.0, 1.0)).expect("a share");
        assert_eq!((done.value, done.interval), (0.6, Some((0.6, 0.6))));
        let unknown = project(estimate(0.6, 0.05), 0.9, same, (0.0, 1.0)).expect("a share");
        assert_eq!(unknown.interval, None);
        let capped = project(estimate(0.95, 0.01), 0.9, reference, (0.0, 1.0)).expect("a share");
        assert_eq!(capped.value, 1.0);
        for completeness in [0.0, -1.0, 1.1, f64::NAN] {
            let of = project(estimate(0.6, 0.1), completeness, reference, (0.0, 1.0));
            assert_eq!(of, Err(Undefined::BadParameter));
        }
    }

    /// Simulated: rows whose late labels are worse, in reference and present alike. The value measured when all
    /// labels are in lies in the projected interval about 95 times in 100.
    #[test]
    fn the_projected_interval_holds_what_is_measured_later() {
        let mut state = 7_u64;
        let mut random = move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        // Of 400 rows each comes early with 0.6; early ones are right with 0.9, late ones with 0.7, drifted by −0.1.
        let mut sample = |drift: f64| {
            let mut counts = [(0_u64, 0_u64); 2];
            for _ in 0..400 {
                let late = usize::from(random() >= 0.6);
                let right = random() < [0.9, 0.7][late] - drift;
                counts[late].0 += u64::from(right);
                counts[late].1 += 1;
            }
            counts
        };
        let share = |(right, all): (u64, u64)| {
            super::super::intervals::share(right, all, Undefined::NoOutcomes).expect("rows")
        };
        let whole = |c: [(u64, u64); 2]| share((c[0].0 + c[1].0, c[0].1 + c[1].1));
        let runs = 2000;
        let held = (0..runs).filter(|_| {
            let (reference, present) = (sample(0.0), sample(0.1));
            let completeness = reference[0].1 as f64 / 400.0;
            let values = ReferenceValues {
                early: share(reference[0]),
                late: Some(share(reference[1])),
                full: whole(reference),
            };
            let of = project(share(present[0]), completeness, values, (0.0, 1.0)).expect("a share");
            let (low, high) = of.interval.expect("all have one");
            (low..=high).contains(&whole(present).value)
        });
        let held = held.count() as f64 / f64::from(runs);
        assert!((0.92..=0.98).contains(&held), "{held}");
    }
}

//! Which labels may be compared with which.
//!
//! A cohort is the predictions of some span of time, by when they were made. Its early labels are not like its later
//! ones: a fraud that is noticed at once is not like one that takes a month. So a young cohort is held against what the
//! reference knew at the same age, an old one against all it came to know, and one whose labels come otherwise than they did
//! in the reference against nothing.

use crate::stats::quality::{AgeSlice, CompletenessCurve, Undefined, wilson_interval};

/// Predictions of a span of time. Times are seconds on one clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cohort {
    pub from: f64,
    pub to: f64,
    /// Predictions that can have a label.
    pub answered: u64,
    /// How many have one.
    pub labelled: u64,
}

/// What a cohort may be compared with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Standing {
    /// With all labels of the reference: as good as all that will come have come.
    Mature,
    /// With the labels that the reference had within this lag, in seconds.
    AtLag(f64),
    /// With nothing yet: too few labels are to be expected at its age. It can be compared in so many seconds.
    TooYoung { ready_in: f64 },
    /// With nothing: fewer labels have come than had in the reference, so those that have are not like them.
    Behind { coverage: f64, expected: f64 },
    /// It has no predictions that can have a label.
    Empty,
}

/// What there is to compare.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparable {
    /// One for each cohort, in their order.
    pub standings: Vec<Standing>,
    /// Up to here every cohort is mature; `None` if the first is not.
    pub matured_until: Option<f64>,
}

/// With this share of what the reference came to have, or had at the same age, a cohort's labels count as the same kind.
pub const ENOUGH: f64 = 0.9;

/// Below this share of the labels that will ever come, what has come says too little of the rest.
const LEAST: f64 = 0.2;

/// Says of each cohort, given in the order of time, what it may be compared with at `now`.
///
/// A cohort is behind only if chance does not explain it: the upper end of Wilson's interval of its coverage is below nine
/// tenths of the expected one.
///
/// # Errors
/// For a cohort that ends before it begins or after `now`, or has more labels than predictions.
pub fn comparable(
    reference: &CompletenessCurve,
    cohorts: &[Cohort],
    now: f64,
) -> Result<Comparable, Undefined> {
    let standings: Vec<Standing> = (cohorts.iter())
        .map(|cohort| standing(reference, *cohort, now))
        .collect::<Result<_, _>>()?;
    let matured = standings.iter().zip(cohorts).take_while(|(standing, _)| {
        // A span without predictions holds nothing back.
        matches!(standing, Standing::Mature | Standing::Empty)
    });
    let matured_until = matured.map(|(_, cohort)| cohort.to).last();
    Ok(Comparable {
        standings,
        matured_until,
    })
}

fn standing(
    reference: &CompletenessCurve,
    cohort: Cohort,
    now: f64,
) -> Result<Standing, Undefined> {
    if cohort.to > now {
        return Err(Undefined::BadParameter);
    }
    let slice = AgeSlice {
        youngest: now - cohort.to,
        oldest: now - cohort.from,
        answered: cohort.answered,
        labelled: cohort.labelled,
    };
    let maturity = match reference.maturity(&[slice]) {
        Err(Undefined::NoOutcomes) => return Ok(Standing::Empty),
        other => other?,
    };
    if maturity.coverage >= ENOUGH * maturity.at_maturity && maturity.completeness >= ENOUGH {
        return Ok(Standing::Mature);
    }
    if maturity.completeness < LEAST {
        return Ok(Standing::TooYoung {
            ready_in: (reference.lag_of(LEAST) - slice.youngest).max(0.0),
        });
    }
    let highest = wilson_interval(cohort.labelled, cohort.answered).map_or(0.0, |(_, high)| high);
    Ok(if highest < ENOUGH * maturity.expected {
        Standing::Behind {
            coverage: maturity.coverage,
            expected: maturity.expected,
        }
    } else if maturity.completeness >= ENOUGH {
        Standing::Mature
    } else {
        Standing::AtLag(slice.youngest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: f64 = 86_400.0;

    /// Four of five predictions get a label, spread evenly over ten days.
    fn curve() -> CompletenessCurve {
        CompletenessCurve::new((1..=800).map(|i| f64::from(i) * DAY / 80.0), 1000).expect("labels")
    }

    fn cohort(age: f64, answered: u64, labelled: u64) -> Cohort {
        Cohort {
            from: 100.0 * DAY - (age + 1.0) * DAY,
            to: 100.0 * DAY - age * DAY,
            answered,
            labelled,
        }
    }

    #[test]
    fn cohorts_are_held_against_the_reference_at_their_own_age() {
        let cohorts = [
            cohort(20.0, 1000, 790),
            cohort(12.0, 1000, 810),
            cohort(10.5, 0, 0),
            cohort(5.0, 1000, 430),
            cohort(4.0, 1000, 200),
            cohort(0.5, 1000, 30),
        ];
        let of = comparable(&curve(), &cohorts, 100.0 * DAY).expect("cohorts");
        assert_eq!(
            of.standings[..3],
            [Standing::Mature, Standing::Mature, Standing::Empty]
        );
        assert_eq!(of.standings[3], Standing::AtLag(5.0 * DAY));
        assert!(
            matches!(of.standings[4], Standing::Behind { coverage, expected }
                if coverage == 0.2 && (expected - 0.36).abs() < 1e-3),
            "{:?}",
            of.standings[4]
        );
        assert!(matches!(of.standings[5], Standing::TooYoung { ready_in }
                if (ready_in - 1.5 * DAY).abs() < 1.0));
        assert_eq!(of.matured_until, Some(cohorts[2].to));
    }

    #[test]
    fn an_old_cohort_whose_labels_stay_away_is_never_mature() {
        let of = comparable(&curve(), &[cohort(50.0, 1000, 600)], 100.0 * DAY).expect("a cohort");
        assert!(matches!(of.standings[0], Standing::Behind { .. }));
        assert_eq!(of.matured_until, None);
        // Seven of ten may be chance: the reference had eight.
        let few = comparable(&curve(), &[cohort(50.0, 10, 7)], 100.0 * DAY).expect("a cohort");
        assert_eq!(few.standings, [Standing::Mature]);
    }

    #[test]
    fn what_is_no_cohort_is_refused() {
        for bad in [
            cohort(-2.0, 10, 1),
            cohort(5.0, 10, 11),
            Cohort {
                from: 10.0,
                to: 5.0,
                answered: 1,
                labelled: 0,
            },
        ] {
            let of = comparable(&curve(), &[bad], 100.0 * DAY);
            assert_eq!(of, Err(Undefined::BadParameter), "{bad:?}");
        }
        let none = comparable(&curve(), &[], 0.0).expect("nothing");
        assert_eq!((none.standings, none.matured_until), (vec![], None));
    }
}

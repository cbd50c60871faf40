//! What the detector says of hours that are made by hand.

use super::tests::{day, number_bins, observed};
use super::*;

const ROWS: f64 = 400.0;
/// A Monday.
const FIRST: i64 = 4 * 24;

/// Hours in a row, each of which is as its day and its hour of the day have it.
fn hours(numbers: std::ops::Range<i64>, shift: impl Fn(i64, i64) -> f64) -> Vec<(i64, Tally)> {
    numbers
        .map(|number| {
            let shift = shift(number.div_euclid(24), number.rem_euclid(24));
            (number, day(number, ROWS, shift))
        })
        .collect()
}

fn days_of_hours(from: i64, count: i64, shift: impl Fn(i64, i64) -> f64) -> Vec<(i64, Tally)> {
    hours(FIRST + from * 24..FIRST + (from + count) * 24, shift)
}

fn fit(hours: &[(i64, Tally)]) -> Reference {
    let feature = FeatureDays {
        name: "age".to_owned(),
        role: Role::Input,
        bins: number_bins(),
        days: observed(hours),
    };
    Reference::fit(Grain::Hour, &[feature], &[], Settings::default()).expect("a reference")
}

fn judged(reference: &Reference, hours: &[(i64, Tally)]) -> Verdict {
    reference.evaluate(0, &observed(hours)).expect("a verdict")
}

fn alike(_: i64, _: i64) -> f64 {
    0.0
}

/// A day that leans to one side, as much as days of this kind do.
fn leaning(day: i64, _: i64) -> f64 {
    ((day * 7).rem_euclid(13) - 6) as f64 * 0.02
}

#[test]
fn the_hours_of_an_odd_day_do_not_pass_for_two_dozen_odd_hours() {
    let calm = fit(&days_of_hours(0, 28, alike));
    let moving = fit(&days_of_hours(0, 28, leaning));
    let odd = days_of_hours(40, 1, |_, _| 0.17);
    assert_eq!(judged(&calm, &odd).status, Status::Candidate);
    let verdict = judged(&moving, &odd);
    assert_eq!(verdict.status, Status::Quiet, "{verdict:?}");
    // What is a change is one still.
    let changed = judged(&moving, &days_of_hours(40, 1, |_, _| 1.2));
    assert_eq!(changed.status, Status::Candidate, "{changed:?}");
}

#[test]
fn a_pattern_of_the_day_and_the_weekend_is_no_change() {
    let pattern = |day: i64, hour: i64| {
        let weekend = if (day + 3).rem_euclid(7) >= 5 {
            0.3
        } else {
            0.0
        };
        weekend + 0.4 * (hour as f64 / 24.0 * std::f64::consts::TAU).sin()
    };
    let reference = fit(&days_of_hours(0, 28, pattern));
    assert_eq!(reference.features()[0].season(), Season::Daily);
    let week = days_of_hours(28, 7, pattern);
    for until in 1..=week.len() {
        let verdict = judged(&reference, &week[..until]);
        assert_eq!(verdict.status, Status::Quiet, "hour {until}: {verdict:?}");
    }
    // The evening's values in the morning.
    let mut moved = week[..24].to_vec();
    let morning = FIRST + 29 * 24;
    moved.extend(hours(morning..morning + 6, |day, hour| {
        pattern(day, hour + 12)
    }));
    let verdict = judged(&reference, &moved);
    assert_eq!(verdict.status, Status::Candidate, "{verdict:?}");
    // The first hour of the morning is as the first of the evening.
    let since = verdict.since.expect("a start");
    assert!((morning..morning + 3).contains(&since), "{verdict:?}");
}

#[test]
fn windows_of_a_day_and_more_are_looked_at_once_a_day() {
    let reference = fit(&days_of_hours(0, 28, alike));
    let small = days_of_hours(40, 2, |_, _| 0.115);
    let window = |until: usize| {
        let verdict = judged(&reference, &small[..until]);
        (
            verdict.status,
            verdict.nearest.expect("was looked at").window,
        )
    };
    for until in 1..=23 {
        let (status, window) = window(until);
        assert!(status == Status::Quiet && window < 24, "{until}: {window}");
    }
    assert_eq!(window(24), (Status::Candidate, 24));
    assert!(window(25).1 < 24);
    // The last hour of a day that is not there is made up for by the first that is.
    let without_last: Vec<_> = small[..23].iter().chain(&small[30..31]).cloned().collect();
    let verdict = judged(&reference, &without_last);
    assert!(verdict.nearest.expect("was looked at").window >= 24);
    let and_another: Vec<_> = without_last.iter().chain(&small[31..32]).cloned().collect();
    let verdict = judged(&reference, &and_another);
    assert!(verdict.nearest.expect("was looked at").window < 24);
}

#[test]
fn a_day_may_take_no_more_by_the_hour_than_at_once() {
    let reference = fit(&days_of_hours(0, 28, alike));
    let feature = &reference.features[0];
    assert!((feature.ln_alpha.exp() - 1e-3).abs() < 1e-12);
    let lengths = Grain::Hour.windows();
    let taken: f64 = (feature.scores.iter())
        .map(|score| {
            let looks = lengths.map(|length| if length < 24 { 24.0 } else { 1.0 });
            let parts = score.weights.iter().zip(looks);
            parts.map(|(weight, looks)| weight * looks).sum::<f64>()
        })
        .sum();
    assert!((taken - 1.0).abs() < 1e-9, "{taken}");
}

#[test]
fn a_stored_reference_of_hours_says_the_same() {
    let reference = fit(&days_of_hours(0, 28, leaning));
    let feature = &reference.features()[0];
    assert_eq!((feature.buckets(), feature.whole_days()), (28 * 24, 28));
    let read = Reference::decode(&reference.encode()).expect("bytes of its own");
    assert_eq!(read, reference);
    assert!(
        read.features[0]
            .scores
            .iter()
            .all(|score| score.of_day.is_some())
    );
}

#[test]
fn thirteen_days_of_hours_know_nothing_of_days() {
    let footing = |days| fit(&days_of_hours(0, days, alike)).features()[0].footing();
    assert_eq!(
        (footing(13), footing(14)),
        (Footing::RowsOnly, Footing::Days)
    );
}

#[test]
fn the_smallest_change_is_told_of_an_hour_a_day_and_a_week() {
    let of = |shift: fn(i64, i64) -> f64| -> Vec<(f64, f64)> {
        let changes = fit(&days_of_hours(0, 28, shift)).smallest_changes(0);
        let centre = changes
            .iter()
            .filter(|change| change.score == ScoreKind::Centre);
        centre.map(|change| (change.days, change.effect)).collect()
    };
    let (calm, moving) = (of(alike), of(leaning));
    let days: Vec<f64> = calm.iter().map(|(days, _)| *days).collect();
    assert_eq!(days, [1.0 / 24.0, 1.0, 7.0]);
    assert!(
        calm.windows(2).all(|pair| pair[0].1 >= pair[1].1),
        "{calm:?}"
    );
    // Where days differ, a whole one sees much less than its rows would have it see.
    assert!(moving[1].1 > 2.0 * calm[1].1, "{moving:?}, {calm:?}");
}

//! What the detector says of days that are made by hand.

use super::*;
use proptest::prelude::*;

/// Five equal bins and two ends, as a grid would give them.
pub(super) fn number_bins() -> Bins {
    let bins = serde_json::json!({
        "Numbers": {"fingerprint": 0, "cells": 7, "cuts": [0, 1, 2, 3, 4, 5], "points": []}
    });
    serde_json::from_value(bins).expect("bins")
}

/// A day of about so many rows, whose upper bins gain `shift` of a bin, with chance made of a number.
pub(super) fn day(number: i64, rows: f64, shift: f64) -> Tally {
    let noise = |bin: i64| {
        let mut mixed = ((number * 7 + bin + 1) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64 - 0.5
    };
    let shares = [0.004, 0.2, 0.2, 0.192, 0.2, 0.2, 0.004];
    let counts = shares.iter().enumerate().map(|(bin, share)| {
        let tilt = 1.0 + shift * (bin as f64 - 3.0) / 3.0;
        (rows * share * tilt + 1.5 * (rows * share).sqrt() * noise(bin as i64)).max(0.0) as u64
    });
    let counts: Vec<u64> = counts.collect();
    Tally {
        rows: counts.iter().sum(),
        counts,
        ..Tally::default()
    }
}

fn days(numbers: std::ops::Range<i64>, rows: f64, shift: f64) -> Vec<(i64, Tally)> {
    numbers
        .map(|number| (number, day(number, rows, shift)))
        .collect()
}

pub(super) fn observed(days: &[(i64, Tally)]) -> Vec<Observation<'_>> {
    days.iter()
        .map(|(bucket, tally)| Observation {
            bucket: *bucket,
            holiday: false,
            tally,
        })
        .collect()
}

fn fit(days: &[(i64, Tally)]) -> Reference {
    fit_with(observed(days), number_bins())
}

fn fit_with(days: Vec<Observation<'_>>, bins: Bins) -> Reference {
    let feature = FeatureDays {
        name: "age".to_owned(),
        role: Role::Input,
        bins,
        days,
    };
    Reference::fit(Grain::Day, &[feature], &[], Settings::default()).expect("a reference")
}

fn judged(reference: &Reference, days: &[(i64, Tally)]) -> Verdict {
    reference.evaluate(0, &observed(days)).expect("a verdict")
}

#[test]
fn a_day_like_the_others_is_quiet_and_a_shift_is_told_in_words() {
    let reference = fit(&days(0..28, 1_000.0, 0.0));
    assert_eq!(
        judged(&reference, &days(40..41, 1_000.0, 0.0)).status,
        Status::Quiet
    );
    let verdict = judged(&reference, &days(40..41, 1_000.0, 0.4));
    assert_eq!(verdict.status, Status::Candidate);
    assert!(verdict.evidence().is_some_and(|evidence| evidence < 0.0));
    let cause = verdict.deciding.expect("a cause");
    assert_eq!((cause.score.clone(), cause.window), (ScoreKind::Centre, 1));
    assert!(
        cause.interval.0 > 0.1 && cause.interval.1 < 0.6,
        "{cause:?}"
    );
    assert!(
        cause.words().starts_with("centre up by 0."),
        "{}",
        cause.words()
    );
    assert_eq!(verdict.direction[0].score, ScoreKind::Centre);
}

/// Days that differ by about 0.05 standard deviations, and on which so many rows are far above the range.
fn days_with_far(numbers: std::ops::Range<i64>, far: u64) -> Vec<(i64, Tally)> {
    let differing = |number: i64| {
        let mut tally = day(number, 1_000.0, 0.06 * (number % 5 - 2) as f64);
        let share = 1.0 - far as f64 / 1_000.0;
        let kept = tally
            .counts
            .iter()
            .map(|count| (*count as f64 * share) as u64);
        tally.counts = [0].into_iter().chain(kept).chain([far]).collect();
        tally.rows = tally.counts.iter().sum();
        (number, tally)
    };
    numbers.map(differing).collect()
}

#[test]
fn a_few_values_far_outside_are_seen_at_once_where_days_differ() {
    let bins = serde_json::json!({
        "Numbers": {"fingerprint": 0, "cells": 9, "cuts": [0, 1, 2, 3, 4, 5, 6, 7], "points": []}
    });
    let before = days_with_far(0..28, 0);
    let reference = fit_with(
        observed(&before),
        serde_json::from_value(bins).expect("bins"),
    );
    let quiet = judged(&reference, &days_with_far(40..41, 1));
    assert_eq!(quiet.status, Status::Quiet, "{:?}", quiet.deciding);
    let verdict = judged(&reference, &days_with_far(40..41, 10));
    assert_eq!(verdict.status, Status::Candidate, "{verdict:?}");
    let cause = verdict.deciding.expect("a cause");
    assert_eq!((cause.score.clone(), cause.window), (ScoreKind::Far, 1));
    assert!(
        cause.words().starts_with("far outside of the usual range"),
        "{}",
        cause.words()
    );
}

#[test]
fn a_small_change_takes_more_days_and_its_start_is_found() {
    let reference = fit(&days(0..28, 1_000.0, 0.0));
    let mut course = days(40..50, 1_000.0, 0.0);
    course.extend(days(50..57, 1_000.0, 0.17));
    let first = (11..=course.len())
        .find(|length| judged(&reference, &course[..*length]).status == Status::Candidate);
    let first = first.expect("seen in a week");
    assert!((12..=17).contains(&first), "{first}");
    let since = judged(&reference, &course).since.expect("a start");
    assert!((49..=51).contains(&since), "{since}");
}

#[test]
fn a_change_too_small_to_matter_is_quiet_on_any_number_of_rows() {
    let reference = fit(&days(0..28, 1e7, 0.0));
    let verdict = judged(&reference, &days(40..60, 1e7, 0.06));
    assert_eq!(verdict.status, Status::Quiet);
    assert_eq!(verdict.deciding, None);
}

#[test]
fn too_few_rows_are_insufficient_and_never_quiet() {
    let reference = fit(&days(0..28, 1_000.0, 0.0));
    let few = [(40, day(40, 40.0, 0.9))];
    let verdict = judged(&reference, &few);
    assert_eq!((verdict.status, verdict.p), (Status::Insufficient, None));
    let none = [(
        40,
        Tally {
            counts: vec![0; 7],
            ..Tally::default()
        },
    )];
    assert_eq!(judged(&reference, &none).status, Status::Insufficient);
    // A week of them is enough.
    let week = judged(&reference, &days(40..47, 40.0, 0.0));
    assert_eq!(week.status, Status::Quiet);
}

#[test]
fn a_day_with_hardly_any_rows_is_not_judged_by_those_before_it() {
    let reference = fit(&days(0..28, 1_000.0, 0.0));
    for shift in [0.0, 0.4] {
        let mut lived = days(40..43, 1_000.0, shift);
        let three = Tally {
            rows: 3,
            counts: vec![0, 1, 1, 0, 1, 0, 0],
            ..Tally::default()
        };
        lived.push((43, three));
        let verdict = judged(&reference, &lived);
        assert_eq!(
            (verdict.status, verdict.shortage, verdict.evidence()),
            (Status::Insufficient, Some(Shortage::OfItsOwn), None),
            "{shift}"
        );
    }
    // Where all days have few, those of a week are judged together, and a seventh of them is today's.
    let few = judged(&reference, &days(40..47, 20.0, 0.0));
    assert_eq!((few.status, few.shortage), (Status::Quiet, None));
}

/// The same day with so many rows more that have no value.
fn with_missing(days: Vec<(i64, Tally)>, missing: u64) -> Vec<(i64, Tally)> {
    let more = |(number, tally): (i64, Tally)| {
        let rows = tally.rows + missing;
        let tally = Tally {
            rows,
            missing,
            ..tally
        };
        (number, tally)
    };
    days.into_iter().map(more).collect()
}

#[test]
fn a_feature_without_values_enough_is_not_quiet_because_as_much_is_missing_as_ever() {
    let reference = fit(&with_missing(days(0..28, 12.0, 0.0), 988));
    let verdict = judged(&reference, &with_missing(days(40..43, 12.0, 0.0), 988));
    assert!(verdict.p.is_some(), "what is missing was tested");
    assert_eq!(
        (verdict.status, verdict.shortage, verdict.evidence()),
        (Status::Insufficient, Some(Shortage::Values), None)
    );
}

#[test]
fn what_is_missing_for_a_day_is_an_outage_and_for_three_days_a_candidate() {
    let reference = fit(&days(0..28, 1_000.0, 0.0));
    let mut lost = days(38..40, 1_000.0, 0.0);
    let nothing = Tally {
        rows: 1_000,
        missing: 1_000,
        counts: vec![0; 7],
        ..Tally::default()
    };
    lost.push((40, nothing.clone()));
    // It has no values that could be quiet.
    let first = judged(&reference, &lost);
    assert_eq!(
        (first.status, first.shortage, first.evidence()),
        (Status::Insufficient, Some(Shortage::OfItsOwn), None)
    );
    lost.push((41, nothing.clone()));
    lost.push((42, nothing));
    let verdict = judged(&reference, &lost);
    assert_eq!(verdict.status, Status::Candidate);
    assert_eq!(verdict.since, Some(40));
    assert_eq!(
        verdict.deciding.expect("a cause").words(),
        "missing from 0 % to 100.0 % of rows"
    );
    let broken = [40, 41, 42].map(|number| {
        let tally = Tally {
            rows: 1_000,
            mismatched: 60,
            ..day(number, 940.0, 0.0)
        };
        (number, tally)
    });
    let verdict = judged(&reference, &broken);
    assert_eq!(
        verdict.deciding.expect("a cause").score,
        ScoreKind::WrongType
    );
}

#[test]
fn one_bad_day_is_not_many_and_one_like_it_is_no_news() {
    let reference = fit(&days(0..28, 1_000.0, 0.0));
    let mut lived = days(30..40, 1_000.0, 0.0);
    lived.push((40, day(40, 1_000.0, 0.4)));
    assert_eq!(judged(&reference, &lived).status, Status::Candidate);
    for number in 41..50 {
        lived.push((number, day(number, 1_000.0, 0.0)));
        assert_eq!(judged(&reference, &lived).status, Status::Quiet, "{number}");
    }
    let mut again = lived.clone();
    again.push((50, day(50, 1_000.0, 0.4)));
    assert_eq!(judged(&reference, &again).status, Status::Quiet);
    again.extend([51, 52].map(|number| (number, day(number, 1_000.0, 0.4))));
    let stays = judged(&reference, &again);
    assert_eq!((stays.status, stays.since), (Status::Candidate, Some(50)));
}

#[test]
fn a_value_of_whole_days_is_worth_as_many_rows_as_days() {
    // Every day is of one of three kinds; the third was met on one day of 28.
    let of_kind = |number: i64, kind: usize| {
        let mut counts = vec![0, 0, 0, 0];
        counts[kind] = 600;
        let tally = Tally {
            rows: 600,
            counts,
            unseen: Some(0),
            ..Tally::default()
        };
        (number, tally)
    };
    let kind = |number: i64| {
        if number == 13 {
            2
        } else {
            usize::from(number % 2 == 0)
        }
    };
    let before: Vec<(i64, Tally)> = (0..28)
        .map(|number| of_kind(number, kind(number)))
        .collect();
    let names = [("a", 8_400), ("b", 7_800), ("c", 600)];
    let reference = fit_with(observed(&before), Bins::of_categories([names; 28], true));
    assert_ne!(
        judged(&reference, &[of_kind(40, 2)]).status,
        Status::Candidate
    );
    // What would have to change to be seen on a day cannot: nothing is promised.
    let promised = reference.smallest_changes(0);
    assert!(
        promised
            .iter()
            .all(|change| change.days > 1.0 || !matches!(change.score, ScoreKind::Category(_))),
        "{promised:?}"
    );
}

#[test]
fn values_beyond_the_range_are_seen_at_its_end() {
    let reference = fit(&days(0..28, 1_000.0, 0.0));
    let mut beyond = day(40, 1_000.0, 0.0);
    beyond.counts[6] += 30;
    beyond.rows += 30;
    let verdict = judged(&reference, &[(40, beyond)]);
    assert_eq!(verdict.status, Status::Candidate);
    assert_eq!(verdict.deciding.expect("a cause").score, ScoreKind::HighEnd);
}

#[test]
fn without_two_weeks_of_days_it_says_so_and_asks_for_more() {
    let file = [(0, day(3, 28_000.0, 0.0))];
    let reference = fit(&file);
    assert_eq!(reference.features()[0].footing(), Footing::RowsOnly);
    let verdict = judged(&reference, &days(40..41, 20_000.0, 0.12));
    assert_eq!(
        (verdict.status, verdict.footing),
        (Status::Quiet, Footing::RowsOnly)
    );
    assert_eq!(
        judged(&reference, &days(40..41, 20_000.0, 0.4)).status,
        Status::Candidate
    );
    assert_eq!(
        fit(&days(0..13, 900.0, 0.0)).features()[0].footing(),
        Footing::RowsOnly
    );
    assert_eq!(
        fit(&days(0..14, 900.0, 0.0)).features()[0].footing(),
        Footing::Days
    );
}

#[test]
fn a_constant_feature_is_watched_for_other_values_and_for_missing_ones() {
    let constant = |number: i64| {
        (
            number,
            Tally {
                rows: 500,
                counts: vec![0, 500, 0],
                ..Tally::default()
            },
        )
    };
    let bins = serde_json::json!({"Numbers": {"fingerprint": 0, "cells": 3, "cuts": [0, 1], "points": [[1, 3.0]]}});
    let bins: Bins = serde_json::from_value(bins).expect("bins");
    let before: Vec<(i64, Tally)> = (0..28).map(constant).collect();
    let reference = fit_with(observed(&before), bins);
    assert_eq!(judged(&reference, &[constant(40)]).status, Status::Quiet);
    let other = [(
        40,
        Tally {
            rows: 500,
            counts: vec![0, 480, 20],
            ..Tally::default()
        },
    )];
    assert_eq!(judged(&reference, &other).status, Status::Candidate);
}

#[test]
fn a_day_like_no_other_is_left_out_and_holidays_never_count() {
    let mut before = days(0..28, 1_000.0, 0.0);
    before[11].1 = day(11, 1_000.0, 0.9);
    let reference = fit(&before);
    assert_eq!(reference.features()[0].left_out(), [11]);
    assert_eq!(reference.features()[0].buckets(), 27);
    let mut holidays = observed(&before);
    holidays[11].holiday = true;
    assert_eq!(
        fit_with(holidays, number_bins()).features()[0].left_out(),
        [0_i64; 0]
    );

    let changed = days(40..41, 1_000.0, 0.6);
    let mut today = observed(&changed);
    today[0].holiday = true;
    let verdict = reference.evaluate(0, &today).expect("a verdict");
    assert_eq!(verdict.status, Status::Holiday);
    let calm = days(41..42, 1_000.0, 0.0);
    today.extend(observed(&calm));
    assert_eq!(
        reference.evaluate(0, &today).expect("a verdict").status,
        Status::Quiet
    );
}

#[test]
fn a_reference_that_changed_half_way_is_unstable() {
    let mut before = days(0..14, 5_000.0, 0.0);
    before.extend(days(14..28, 5_000.0, 0.3));
    assert!(!fit(&before).features()[0].unstable().is_empty());
    assert!(
        fit(&days(0..28, 5_000.0, 0.0)).features()[0]
            .unstable()
            .is_empty()
    );
}

#[test]
fn quiet_weekends_are_a_pattern_and_not_a_change() {
    let weekly = |range: std::ops::Range<i64>| -> Vec<(i64, Tally)> {
        let shift = |number: i64| {
            if Grain::Day.phase(number).weekday >= 5 {
                0.4
            } else {
                0.0
            }
        };
        range
            .map(|number| (number, day(number, 1_000.0, shift(number))))
            .collect()
    };
    let reference = fit(&weekly(0..56));
    assert_eq!(reference.features()[0].season(), Season::Weekday);
    let after = weekly(60..90);
    for length in 1..=after.len() {
        assert_eq!(judged(&reference, &after[..length]).status, Status::Quiet);
    }
    // A weekend's values on a Wednesday are a change.
    let wednesday = (60..70)
        .find(|n| Grain::Day.phase(*n).weekday == 2)
        .expect("in ten days");
    assert_eq!(
        judged(&reference, &[(wednesday, day(9, 1_000.0, 0.4))]).status,
        Status::Candidate
    );
}

#[test]
fn gaps_are_gaps_and_not_quiet_days() {
    let reference = fit(&days(0..28, 1_000.0, 0.0));
    let gappy: Vec<(i64, Tally)> = [40, 52, 53].map(|n| (n, day(n, 1_000.0, 0.17))).to_vec();
    let cause = judged(&reference, &gappy).deciding.expect("a cause");
    assert!(cause.buckets <= 3);
    let alone = judged(&reference, &gappy[2..]);
    // A window that adds no day is not tested again.
    assert_eq!(alone.deciding.map(|cause| cause.window), Some(1));
}

#[test]
fn what_cannot_be_evaluated_is_an_error() {
    let reference = fit(&days(0..28, 1_000.0, 0.0));
    assert_eq!(
        reference.evaluate(0, &[]).err(),
        Some(CannotEvaluate::NoDay)
    );
    assert_eq!(
        reference.evaluate(7, &[]).err(),
        Some(CannotEvaluate::NoSuchFeature(7))
    );
    let other = Tally {
        counts: vec![1; 3],
        ..Tally::default()
    };
    let day = |bucket, tally| Observation {
        bucket,
        holiday: false,
        tally,
    };
    assert_eq!(
        reference.evaluate(0, &[day(40, &other)]).err(),
        Some(CannotEvaluate::OtherBins)
    );
    let same = self::day(40, 1_000.0, 0.0);
    let twice = [day(40, &same), day(40, &same)];
    assert_eq!(
        reference.evaluate(0, &twice).err(),
        Some(CannotEvaluate::NotInOrder)
    );
    let none = Reference::fit(Grain::Day, &[], &[], Settings::default());
    assert_eq!(none.err(), Some(CannotFit::NoFeatures));
    // A reference whose stored numbers were damaged: negative variances have no root.
    let mut stored = serde_json::to_value(&reference).expect("JSON");
    stored["features"][0]["scores"][0]["test"]["Mean"]["day_variance"] = serde_json::json!(-1.0);
    let damaged: Reference = serde_json::from_value(stored).expect("numbers");
    assert_eq!(
        damaged.evaluate(0, &[day(40, &same)]).err(),
        Some(CannotEvaluate::NotANumber)
    );
}

#[test]
fn a_stored_reference_says_the_same() {
    let reference = fit(&days(0..28, 1_000.0, 0.0));
    let text = serde_json::to_string(&reference).expect("JSON");
    let stored: Reference = serde_json::from_str(&text).expect("a reference");
    let changed = days(40..44, 1_000.0, 0.3);
    assert_eq!(judged(&stored, &changed), judged(&reference, &changed));
}

#[test]
fn the_output_has_a_part_of_its_own() {
    let before = days(0..28, 1_000.0, 0.0);
    let feature = |role: Role| FeatureDays {
        name: format!("{role:?}"),
        role,
        bins: number_bins(),
        days: observed(&before),
    };
    let features = [
        feature(Role::Output),
        feature(Role::Input),
        feature(Role::Input),
    ];
    let reference =
        Reference::fit(Grain::Day, &features, &[], Settings::default()).expect("a reference");
    let parts: Vec<f64> = reference
        .features()
        .iter()
        .map(|f| f.ln_alpha().exp())
        .collect();
    let expected = [2e-4, 4e-4, 4e-4];
    assert!(
        parts
            .iter()
            .zip(expected)
            .all(|(part, expected)| (part / expected - 1.0).abs() < 1e-12)
    );
}

#[test]
fn the_smallest_change_shrinks_with_the_window_down_to_the_gate() {
    let reference = fit(&days(0..28, 1_000.0, 0.0));
    let changes = reference.smallest_changes(0);
    let centre: Vec<(f64, f64)> = changes
        .iter()
        .filter(|change| change.score == ScoreKind::Centre)
        .map(|change| (change.days, change.effect))
        .collect();
    assert_eq!(
        centre.iter().map(|(days, _)| *days).collect::<Vec<_>>(),
        [1.0, 7.0, 28.0]
    );
    assert!(centre[0].1 > 0.15 && centre[0].1 < 0.25, "{centre:?}");
    assert!(
        centre[1].1 < centre[0].1 / 2.0 && centre[2].1 >= 0.05,
        "{centre:?}"
    );
    let missing = changes
        .iter()
        .find(|change| change.score == ScoreKind::Missing)
        .expect("watched");
    let (before, now) = missing.shares.expect("shares");
    assert!(before == 0.0 && (0.0005..0.02).contains(&now), "{now}");
    assert!(
        (missing.days - 7.0).abs() < 1e-9,
        "a single day is an outage"
    );
    assert!(reference.smallest_changes(3).is_empty());
}

#[test]
fn the_smallest_change_is_that_of_values_and_of_windows_that_are_judged() {
    let centre = |before: &[(i64, Tally)]| -> Vec<(f64, f64)> {
        let changes = fit(before).smallest_changes(0);
        let centre = changes.iter().filter(|c| c.score == ScoreKind::Centre);
        centre.map(|change| (change.days, change.effect)).collect()
    };
    let hundred = centre(&days(0..28, 100.0, 0.0));
    let of_thousand = centre(&with_missing(days(0..28, 100.0, 0.0), 900));
    assert_eq!(hundred, of_thousand);
    assert!(hundred[0].1 > 0.5, "{hundred:?}");
    // Of 20 rows nothing is said, and of those of a week something is.
    let few = centre(&days(0..28, 20.0, 0.0));
    assert_eq!(
        few.iter().map(|(days, _)| *days).collect::<Vec<_>>(),
        [7.0, 28.0]
    );
}

#[test]
fn volume_is_watched_in_both_directions_and_knows_weekends() {
    let rows = |bucket: i64| {
        let weekend = Grain::Day.phase(bucket).weekday >= 5;
        (if weekend { 400 } else { 1_000 }) + (bucket * 7_919 % 41) as u64
    };
    let volume = |bucket: i64, times: f64| VolumeDay {
        bucket,
        holiday: false,
        rows: (rows(bucket) as f64 * times) as u64,
    };
    let before = days(0..28, 1_000.0, 0.0);
    let features = [FeatureDays {
        name: "age".to_owned(),
        role: Role::Input,
        bins: number_bins(),
        days: observed(&before),
    }];
    let volumes: Vec<VolumeDay> = (0..28).map(|bucket| volume(bucket, 1.0)).collect();
    let reference =
        Reference::fit(Grain::Day, &features, &volumes, Settings::default()).expect("a reference");
    let status = |bucket: i64, times: f64| {
        let verdict = reference
            .evaluate_volume(&[volume(bucket, times)])
            .expect("a verdict");
        verdict.expect("a volume").status
    };
    for bucket in 30..44 {
        assert_eq!(status(bucket, 1.0), Status::Quiet, "{bucket}");
        assert_eq!(status(bucket, 0.4), Status::Candidate, "{bucket}");
        assert_eq!(status(bucket, 3.0), Status::Candidate, "{bucket}");
        assert_eq!(status(bucket, 0.0), Status::Candidate, "{bucket}");
    }
    let verdict = reference
        .evaluate_volume(&[volume(30, 3.0)])
        .expect("a verdict")
        .expect("a volume");
    let words = verdict.deciding.expect("a cause").words();
    assert!(words.ends_with("% more rows than usual"), "{words}");
}

#[test]
fn what_would_underflow_keeps_its_meaning() {
    let reference = fit(&days(0..28, 1e6, 0.0));
    let ln = |shift: f64| {
        judged(&reference, &days(40..41, 1e6, shift))
            .p
            .expect("tested")
            .ln()
    };
    let (much, more) = (ln(0.6), ln(0.9));
    assert!(
        more < much && much < -100.0 && more.is_finite(),
        "{much} {more}"
    );
}

proptest! {
    #[test]
    fn whatever_was_counted_gives_a_p_value_or_insufficient(
        before in proptest::collection::vec(proptest::collection::vec(0u64..3_000, 7), 1..40),
        after in proptest::collection::vec(proptest::collection::vec(0u64..3_000, 7), 1..30),
        missing in 0u64..500,
    ) {
        let tallies = |counts: &[Vec<u64>], from: i64| -> Vec<(i64, Tally)> {
            (from..).zip(counts).map(|(bucket, counts)| {
                let rows = counts.iter().sum::<u64>() + missing;
                (bucket, Tally { rows, missing, counts: counts.clone(), ..Tally::default() })
            }).collect()
        };
        let (before, after) = (tallies(&before, 0), tallies(&after, 100));
        let verdict = judged(&fit(&before), &after);
        match verdict.p {
            Some(p) => prop_assert!(p.ln() <= 0.0),
            None => prop_assert_eq!(verdict.status, Status::Insufficient),
        }
        let candidate = verdict.evidence().is_some_and(|evidence| evidence < 0.0);
        prop_assert_eq!(candidate, verdict.status == Status::Candidate);
    }
}

//! What the detector says of categories of which a day has few, in made-up worlds with fixed seeds.

use super::tests::observed;
use super::*;
use crate::stats::profile::FeatureProfile;
use crate::stats::random::uniform;

const EIGHT: [f64; 8] = [0.125; 8];

/// Buckets of so many rows of categories with these shares.
fn profiles(
    numbers: std::ops::Range<i64>,
    rows: usize,
    shares: &[f64],
    seed: u64,
) -> Vec<(i64, FeatureProfile)> {
    let mut uniform = uniform(seed);
    let total: f64 = shares.iter().sum();
    let mut bucket = || {
        let mut counts = vec![0; shares.len()];
        for _ in 0..rows {
            let mut left = uniform() * total;
            let found = shares.iter().position(|share| {
                left -= share;
                left < 0.0
            });
            counts[found.unwrap_or(0)] += 1;
        }
        let mut profile = FeatureProfile::categorical();
        for (place, count) in counts.into_iter().enumerate() {
            let name = format!("c{place}");
            profile.observe_category(&name, count).expect("categories");
        }
        profile
    };
    numbers.map(|number| (number, bucket())).collect()
}

struct Watched {
    bins: Bins,
    reference: Reference,
}

impl Watched {
    fn of(grain: Grain, before: &[(i64, FeatureProfile)]) -> Self {
        let all: Vec<&FeatureProfile> = before.iter().map(|(_, profile)| profile).collect();
        let bins = Bins::of_profiles(&all, None).expect("categories");
        let counted: Vec<(i64, Tally)> = (before.iter())
            .map(|(number, profile)| (*number, bins.tally_of_reference(profile).expect("a tally")))
            .collect();
        let feature = FeatureDays {
            name: "origin".to_owned(),
            role: Role::Input,
            bins: bins.clone(),
            days: observed(&counted),
        };
        let reference = Reference::fit(grain, &[feature], &[], Settings::default());
        Self {
            bins,
            reference: reference.expect("a reference"),
        }
    }

    fn judged(&self, lived: &[(i64, FeatureProfile)]) -> Verdict {
        let counted: Vec<(i64, Tally)> = (lived.iter())
            .map(|(number, profile)| (*number, self.bins.tally(profile).expect("a tally")))
            .collect();
        let verdict = self.reference.evaluate(0, &observed(&counted));
        verdict.expect("a verdict")
    }

    fn names(&self) -> usize {
        let Bins::Categories(categories) = &self.bins else {
            panic!("categories")
        };
        categories.names.len()
    }
}

/// How many days pass until a change that came after ten days is seen.
fn seen_after(watched: &Watched, rows: usize, before: &[f64], after: &[f64]) -> Option<usize> {
    let mut lived = profiles(40..50, rows, before, 11);
    lived.extend(profiles(50..78, rows, after, 12));
    let found = |days: &usize| watched.judged(&lived[..10 + days]).status == Status::Candidate;
    (1..=28).find(found)
}

#[test]
fn categories_of_a_hundred_rows_a_day_are_watched_by_name() {
    let watched = Watched::of(Grain::Day, &profiles(0..28, 100, &EIGHT, 1));
    assert_eq!(watched.names(), 8);
    let mut after = [0.2 / 7.0; 8];
    after[0] = 0.8;
    let days = seen_after(&watched, 100, &EIGHT, &after);
    assert!(days.is_some_and(|days| days <= 3), "{days:?}");
    // One that vanishes is seen as well.
    after = [1.0; 8];
    after[3] = 0.0;
    let days = seen_after(&watched, 100, &EIGHT, &after);
    assert!(days.is_some_and(|days| days <= 7), "{days:?}");
}

#[test]
fn a_flag_of_thirty_rows_a_day_is_watched_to_both_sides() {
    for rows in [24, 30] {
        let watched = Watched::of(Grain::Day, &profiles(0..28, rows, &[0.5, 0.5], 2));
        for after in [[0.15, 0.85], [0.85, 0.15]] {
            let days = seen_after(&watched, rows, &[0.5, 0.5], &after);
            assert!(days.is_some_and(|days| days <= 7), "{rows} {days:?}");
        }
    }
    // A rare one that is gone is seen by what is there instead.
    let watched = Watched::of(Grain::Day, &profiles(0..28, 60, &[0.9, 0.1], 3));
    let days = seen_after(&watched, 60, &[0.9, 0.1], &[1.0, 0.0]);
    assert!(days.is_some_and(|days| days <= 14), "{days:?}");
    let watched = Watched::of(Grain::Day, &profiles(0..28, 60, &[0.97, 0.03], 3));
    let days = seen_after(&watched, 60, &[0.97, 0.03], &[1.0, 0.0]);
    assert!(days.is_some(), "{days:?}");
}

#[test]
fn few_rows_of_categories_are_quiet_when_nothing_happens() {
    for (rows, shares) in [
        (100, &EIGHT[..]),
        (30, &[0.5, 0.5]),
        (60, &[0.9, 0.07, 0.03]),
    ] {
        let mut found = 0;
        for seed in 20..26 {
            let watched = Watched::of(Grain::Day, &profiles(0..28, rows, shares, seed));
            let feature = &watched.reference.features()[0];
            assert!(feature.unstable().is_empty(), "{rows} {seed}");
            let lived = profiles(28..70, rows, shares, seed + 100);
            for days in 1..=lived.len() {
                let status = watched.judged(&lived[..days]).status;
                found += usize::from(status == Status::Candidate);
            }
        }
        // One in a thousand days is promised of one feature alone.
        assert!(found <= 1, "{found} of 252 days of {rows} rows");
    }
}

#[test]
fn a_day_whose_shares_take_longer_windows_than_there_are_is_insufficient() {
    let watched = Watched::of(Grain::Day, &profiles(0..28, 100, &EIGHT, 1));
    let lived = profiles(40..43, 100, &EIGHT, 4);
    let first = watched.judged(&lived[..1]);
    assert_eq!(
        (first.status, first.shortage),
        (Status::Insufficient, Some(Shortage::Days))
    );
    assert_eq!(watched.judged(&lived).status, Status::Quiet);
    let changes = watched.reference.smallest_changes(0);
    let of_names = changes
        .iter()
        .filter(|c| matches!(c.score, ScoreKind::Category(_)));
    let days: Vec<f64> = of_names.map(|change| change.days).collect();
    assert!(days.len() == 16 && !days.contains(&1.0), "{days:?}");
}

#[test]
fn an_unseen_value_does_not_make_quiet_a_day_whose_shares_take_longer_windows() {
    let watched = Watched::of(Grain::Day, &profiles(0..28, 100, &EIGHT, 1));
    let mut lived = profiles(40..43, 100, &EIGHT, 4);
    for (_, profile) in &mut lived {
        profile.observe_category("new", 1).expect("categories");
    }
    let first = watched.judged(&lived[..1]);
    assert!(first.nearest.is_some(), "what is new was looked for");
    assert_eq!(
        (first.status, first.shortage, first.evidence()),
        (Status::Insufficient, Some(Shortage::Days), None)
    );
    assert_eq!(watched.judged(&lived).status, Status::Quiet);
}

#[test]
fn hours_whose_shares_are_judged_once_a_day_say_so_and_the_last_of_the_day_is_judged() {
    let rare = [0.055, 0.945];
    let watched = Watched::of(Grain::Hour, &profiles(0..28 * 24, 40, &rare, 9));
    let lived = profiles(960..1008, 40, &rare, 10);
    let told = |hours: std::ops::Range<usize>| {
        let verdict = watched.judged(&lived[hours]);
        (verdict.status, verdict.shortage)
    };
    let insufficient = |shortage| (Status::Insufficient, Some(shortage));
    assert_eq!(told(0..1), insufficient(Shortage::Values));
    for hours in (2..48).filter(|hours| hours % 24 != 0) {
        assert_eq!(told(0..hours), insufficient(Shortage::UntilTheDayEnds));
    }
    for hours in [24, 48] {
        assert_eq!(told(0..hours), (Status::Quiet, None), "{hours}");
    }
    // The last of a day that has no hours yet but itself and the one before.
    assert_eq!(told(22..24), insufficient(Shortage::Days));
}

#[test]
fn categories_of_two_hundred_rows_an_hour_are_watched_by_name() {
    let twenty = [0.05; 20];
    let watched = Watched::of(Grain::Hour, &profiles(0..14 * 24, 200, &twenty, 5));
    assert_eq!(watched.names(), 20);
    let mut after = [0.6 / 19.0; 20];
    after[7] = 0.4;
    let mut lived = profiles(960..966, 200, &twenty, 6);
    assert_eq!(watched.judged(&lived).status, Status::Quiet);
    lived.extend(profiles(966..972, 200, &after, 6));
    assert_eq!(watched.judged(&lived).status, Status::Candidate);
}

#[test]
fn no_more_than_thirty_are_watched_by_name() {
    let forty = [0.025; 40];
    let watched = Watched::of(Grain::Day, &profiles(0..28, 400, &forty, 7));
    assert_eq!(watched.names(), 30);
}

#[test]
fn values_that_vary_and_that_nothing_watches_are_insufficient_and_a_constant_is_quiet() {
    let many = |numbers: std::ops::Range<i64>| -> Vec<(i64, FeatureProfile)> {
        let mut profile = FeatureProfile::categorical();
        for place in 0..1_500 {
            let name = format!("c{place}");
            profile.observe_category(&name, 4).expect("categories");
        }
        numbers.map(|number| (number, profile.clone())).collect()
    };
    let watched = Watched::of(Grain::Day, &many(0..28));
    let lived = many(40..43);
    let verdict = watched.judged(&lived);
    assert_eq!(
        (verdict.status, verdict.shortage, verdict.evidence()),
        (Status::Insufficient, Some(Shortage::NothingWatched), None)
    );
    let constant = Watched::of(Grain::Day, &profiles(0..28, 200, &[1.0], 8));
    let lived = profiles(40..41, 200, &[1.0], 8);
    assert_eq!(constant.judged(&lived).status, Status::Quiet);
}

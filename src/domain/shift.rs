//! What the default drift detector says of a day in the service: how its verdict becomes a measurement, and how the
//! days of a model version become one episode.
//!
//! The detector itself is `stats::detector`; here is what of it is stored and told. A day that was judged before can be
//! judged again, so the state after a day is a value that is made of the state before it and nothing else.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::drift::Judged;
use super::measurement::{Measure, Recipe, Status};
use super::promise::Promise;
use crate::stats::PValue;
use crate::stats::detector::{
    self, Episode, Evidence, FeatureReference, Footing, Reference, SmallestChange, Verdict,
};

/// The detector's name and version as recipes give them.
const DETECTOR: &str = "days/1";
const SECONDS_OF_DAY: i64 = 24 * 60 * 60;
/// How many days before a day are judged with it.
pub const EARLIER_DAYS: i64 = 27;

/// The number of a day from the epoch, as the detector counts buckets.
#[must_use]
pub fn day_number(at: DateTime<Utc>) -> i64 {
    at.timestamp().div_euclid(SECONDS_OF_DAY)
}

/// The beginning of a day.
#[must_use]
pub fn start_of(day: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(day)
}

/// The date of a day.
#[must_use]
pub fn date_of(day: i64) -> NaiveDate {
    start_of(day).date_naive()
}

/// What is going on with a model version after a day.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct State {
    pub episode: Episode,
    /// The features that have been beyond chance and size since it opened.
    pub features: BTreeSet<String>,
}

/// What the features of a model version say of a day together.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Day {
    /// The least `ln(p / α)` of the features; `None` if none could be judged.
    pub evidence: Option<f64>,
    /// The start that the feature with the least names.
    pub since: Option<i64>,
    pub candidates: BTreeSet<String>,
}

impl Day {
    /// Takes in what is said of a feature.
    pub fn add(&mut self, feature: &str, verdict: &Verdict) {
        if let Some(evidence) = verdict.evidence()
            && self.evidence.is_none_or(|least| evidence < least)
        {
            self.evidence = Some(evidence);
            self.since = verdict.since;
        }
        if verdict.status == detector::Status::Candidate {
            self.candidates.insert(feature.to_owned());
        }
    }
}

impl State {
    /// The state after a day, from that before it.
    #[must_use]
    pub fn step(&self, number: i64, day: &Day) -> Self {
        let (episode, _) = self.episode.step(number, 1.0, day.evidence, day.since);
        let before = match self.episode {
            Episode::Closed => BTreeSet::new(),
            Episode::Open { .. } => self.features.clone(),
        };
        Self {
            features: match episode {
                Episode::Closed => BTreeSet::new(),
                Episode::Open { .. } => before.union(&day.candidates).cloned().collect(),
            },
            episode,
        }
    }

    /// When the open episode that a feature is in was opened, and since when things have probably changed.
    fn open_for(&self, feature: &str) -> Option<(i64, i64)> {
        match self.episode {
            Episode::Open { opened, since, .. } if self.features.contains(feature) => {
                Some((opened, since))
            }
            _ => None,
        }
    }
}

/// What the detector went by, stored beside the value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShiftRecipe {
    /// Name and version.
    pub detector: String,
    /// The length of the window that decided, in days, and how many of these had rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_days: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub days_with_rows: Option<usize>,
    /// Rows of that window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// What kind of change decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<detector::ScoreKind>,
    /// Everything that takes part in the change, in words; what decided first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub direction: Vec<String>,
    /// What the p-value is held against.
    pub alpha: f64,
    /// A change of less is not reported, in standard deviations of a row.
    pub least_effect: f64,
    /// How the variation of days is known: `days`, or `rows` where the reference has too few.
    pub footing: String,
    /// Days of the reference; those left out for being unlike all others; those that say it is of two minds.
    pub reference_days: usize,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<NaiveDate>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unstable: Vec<NaiveDate>,
    /// The day since which things have probably changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<NaiveDate>,
    /// The day that opened the episode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub episode_opened: Option<NaiveDate>,
    /// The smallest changes of this kind that would be seen, with a chance of 90 %.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub smallest: Vec<Smallest>,
}

/// The smallest change that would be seen within so many days, in standard deviations of a row.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Smallest {
    pub days: f64,
    pub effect: f64,
}

/// The word for a footing in recipes, SQL and JSON.
#[must_use]
pub fn footing_word(footing: Footing) -> &'static str {
    match footing {
        Footing::Days => "days",
        Footing::RowsOnly => "rows",
    }
}

/// What is said of a day of a feature, given by its place in the reference. `state` is that after the day. `dated`
/// says that the reference has days at all, and is not a file of rows without times.
#[must_use]
pub fn judged(
    reference: &Reference,
    place: usize,
    verdict: &Verdict,
    state: &State,
    dated: bool,
) -> Judged {
    let feature = &reference.features()[place];
    let episode = state.open_for(feature.name());
    let status = match verdict.status {
        detector::Status::Insufficient => Status::Insufficient,
        detector::Status::Candidate => Status::Drift,
        detector::Status::Quiet | detector::Status::Holiday if episode.is_some() => Status::Drift,
        detector::Status::Quiet | detector::Status::Holiday => Status::Ok,
    };
    let evidence = verdict.deciding.as_ref().or(verdict.nearest.as_ref());
    let settings = reference.settings();
    let least_effect = match feature.footing() {
        Footing::Days => settings.least_effect,
        Footing::RowsOnly => settings.least_effect_without_days,
    };
    let smallest = if dated {
        smallest_of(&reference.smallest_changes(place), evidence)
    } else {
        Vec::new()
    };
    let since = match verdict.status {
        detector::Status::Candidate => verdict.since,
        _ => episode.map(|(_, since)| since),
    };
    let too_few = status == Status::Insufficient;
    let recipe = ShiftRecipe {
        detector: DETECTOR.to_owned(),
        window_days: evidence.map(|e| e.window),
        days_with_rows: evidence.map(|e| e.buckets),
        rows: evidence.map(|e| e.rows),
        score: evidence.map(|e| e.score.clone()),
        direction: verdict.direction.iter().map(Evidence::words).collect(),
        alpha: verdict.alpha.value(),
        least_effect,
        footing: footing_word(feature.footing()).to_owned(),
        reference_days: if dated { feature.buckets() } else { 0 },
        left_out: feature.left_out().iter().copied().map(date_of).collect(),
        unstable: feature.unstable().iter().copied().map(date_of).collect(),
        since: since.map(date_of),
        episode_opened: episode.map(|(opened, _)| date_of(opened)),
        smallest,
    };
    let promise = promise(&recipe, feature, settings);
    Judged {
        measure: Measure::Shift,
        // Rare things are judged by their absence, too, and then nothing has changed.
        value: (!too_few).then(|| evidence.map_or(0.0, |e| e.effect)),
        interval: evidence.filter(|_| !too_few).map(|e| e.interval),
        p_value: verdict.p.filter(|_| !too_few).map(PValue::value),
        status,
        recipe: Recipe {
            method: "means of days in frozen bins, over windows of 1, 3, 7, 14 and 28 days"
                .to_owned(),
            bins: Some(feature.bins().len()),
            threshold: Some(least_effect),
            cause: too_few
                .then(|| format!("fewer than {} values in every window", settings.least_rows)),
            detail: (!too_few).then(|| words(&recipe, &promise, verdict)),
            promise: Some(promise),
            shift: Some(recipe),
            ..Recipe::default()
        },
    }
}

/// The smallest changes of the kind that decided, or of the first kind the feature is watched by.
fn smallest_of(all: &[SmallestChange], evidence: Option<&Evidence>) -> Vec<Smallest> {
    let kind = evidence
        .map(|evidence| &evidence.score)
        .or(all.first().map(|first| &first.score));
    all.iter()
        .filter(|change| Some(&change.score) == kind)
        .map(|change| Smallest {
            days: change.days,
            effect: change.effect,
        })
        .collect()
}

/// The finding as somebody reads it who was not there: what, since when, seen over how long, how often that is wrong,
/// and what would not have been seen.
fn words(recipe: &ShiftRecipe, promise: &Promise, verdict: &Verdict) -> String {
    let since = recipe
        .since
        .map_or_else(String::new, |day| format!(" since {}", date(day)));
    let over = match recipe.window_days {
        Some(1) => "1 day".to_owned(),
        days => format!("{} days", days.unwrap_or(0)),
    };
    let change = match (&verdict.deciding, verdict.status) {
        (Some(deciding), detector::Status::Candidate) => {
            format!("{}{since}, seen over {over}", deciding.words())
        }
        _ if recipe.episode_opened.is_some() => {
            format!(
                "changed{since}; nothing beyond chance and size on this day, but not for a week yet"
            )
        }
        _ => "nothing beyond chance and size".to_owned(),
    };
    let mut parts = vec![change, promise.errs.clone()];
    if !recipe.smallest.is_empty() {
        parts.push(promise.sees.clone());
    }
    if !recipe.unstable.is_empty() {
        parts.push("the reference itself is not of one kind".to_owned());
    }
    parts.join("; ")
}

fn promise(
    recipe: &ShiftRecipe,
    feature: &FeatureReference,
    settings: &detector::Settings,
) -> Promise {
    let errs = match feature.footing() {
        Footing::Days => Verdict::by_chance(settings),
        Footing::RowsOnly => {
            "the reference has too few days to know how days differ: expect false findings"
                .to_owned()
        }
    };
    let sees = if recipe.smallest.is_empty() {
        "the smallest change seen is not known without days of reference".to_owned()
    } else {
        smallest_words(&recipe.smallest)
    };
    Promise { errs, sees }
}

fn smallest_words(smallest: &[Smallest]) -> String {
    let list = |of: &dyn Fn(&Smallest) -> String| {
        let texts: Vec<String> = smallest.iter().map(of).collect();
        texts.join("/")
    };
    format!(
        "smallest change seen in {} days: {} standard deviations",
        list(&|s| format!("{:.0}", s.days)),
        list(&|s| format!("{:.2}", s.effect))
    )
}

fn date(day: NaiveDate) -> String {
    day.format("%-d %B %Y").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::detector::{Bins, FeatureDays, Grain, Observation, Role, Settings, Tally};

    const NAMES: [(&str, u64); 2] = [("a", 6_000), ("b", 4_000)];

    /// A day of a thousand rows, of which so many are of the first category.
    fn tally(first: u64) -> Tally {
        Tally {
            rows: 1_000,
            counts: vec![first, 1_000 - first, 0],
            unseen: Some(0),
            ..Tally::default()
        }
    }

    fn reference(days: i64) -> Reference {
        let tallies: Vec<Tally> = (0..days)
            .map(|day| tally(600 + (day as u64 * 7) % 13))
            .collect();
        let observed = (0..).zip(&tallies).map(|(bucket, tally)| Observation {
            bucket,
            holiday: false,
            tally,
        });
        let feature = FeatureDays {
            name: "origin".to_owned(),
            role: Role::Input,
            bins: Bins::of_categories([NAMES; 28], true),
            days: observed.collect(),
        };
        Reference::fit(Grain::Day, &[feature], &[], Settings::default()).expect("a reference")
    }

    fn verdict(reference: &Reference, number: i64, tally: &Tally) -> Verdict {
        let day = Observation {
            bucket: number,
            holiday: false,
            tally,
        };
        reference.evaluate(0, &[day]).expect("a verdict")
    }

    fn after(state: &State, number: i64, verdict: &Verdict) -> State {
        let mut day = Day::default();
        day.add("origin", verdict);
        state.step(number, &day)
    }

    #[test]
    fn days_are_counted_from_the_epoch_and_back() {
        let at: DateTime<Utc> = "2026-05-03T23:59:59Z".parse().expect("an instant");
        assert_eq!(date_of(day_number(at)).to_string(), "2026-05-03");
        let before: DateTime<Utc> = "1969-12-31T12:00:00Z".parse().expect("an instant");
        assert_eq!(
            (day_number(before), date_of(-1).to_string().as_str()),
            (-1, "1969-12-31")
        );
    }

    #[test]
    fn a_candidate_is_drift_with_its_change_in_words_and_stays_so_until_the_episode_ends() {
        let reference = reference(28);
        let moved = verdict(&reference, 40, &tally(750));
        let open = after(&State::default(), 40, &moved);
        let told = judged(&reference, 0, &moved, &open, true);
        assert_eq!(told.status, Status::Drift);
        let (low, high) = told.interval.expect("an interval");
        let value = told.value.expect("a value");
        assert!(low < value && value < high && value.abs() > 0.2, "{told:?}");
        assert!(told.p_value.expect("a p-value") < 1e-6);
        let words = told.recipe.detail.expect("words");
        assert!(
            words.contains("of rows since 10 February 1970, seen over 1 day; "),
            "{words}"
        );
        assert!(
            words.contains("about one false ticket per model and year"),
            "{words}"
        );
        assert!(
            words.contains("smallest change seen in 1/7/28 days: 0."),
            "{words}"
        );
        let recipe = told.recipe.shift.expect("a recipe");
        assert_eq!(
            (recipe.footing.as_str(), recipe.reference_days),
            ("days", 28)
        );
        assert_eq!(recipe.episode_opened, Some(date_of(40)));

        let quiet = verdict(&reference, 41, &tally(605));
        let (mut state, mut statuses) = (open, Vec::new());
        for number in 41..50 {
            state = after(&state, number, &quiet);
            statuses.push(judged(&reference, 0, &quiet, &state, true).status);
        }
        let still = statuses.iter().take_while(|s| **s == Status::Drift).count();
        assert_eq!((still, statuses[still]), (6, Status::Ok));
        assert_eq!(state, State::default());
    }

    #[test]
    fn a_quiet_day_has_the_value_that_comes_nearest_and_its_interval() {
        let reference = reference(28);
        let told = judged(
            &reference,
            0,
            &verdict(&reference, 40, &tally(608)),
            &State::default(),
            true,
        );
        assert_eq!(told.status, Status::Ok);
        assert!(told.value.expect("a value").abs() < 0.05, "{told:?}");
        assert!(told.interval.is_some());
        assert!(
            told.recipe
                .detail
                .expect("words")
                .starts_with("nothing beyond chance")
        );
    }

    #[test]
    fn too_few_rows_have_no_value_and_change_no_state() {
        let reference = reference(28);
        let few = Tally {
            rows: 10,
            counts: vec![9, 1, 0],
            unseen: Some(0),
            ..Tally::default()
        };
        let nothing = verdict(&reference, 40, &few);
        let open = after(&State::default(), 39, &verdict(&reference, 39, &tally(750)));
        assert_eq!(after(&open, 40, &nothing), open);
        let told = judged(&reference, 0, &nothing, &open, true);
        assert_eq!((told.status, told.value), (Status::Insufficient, None));
        assert_eq!(
            told.recipe.cause.as_deref(),
            Some("fewer than 50 values in every window")
        );
    }

    #[test]
    fn a_reference_of_few_days_says_so() {
        let reference = reference(3);
        let told = judged(
            &reference,
            0,
            &verdict(&reference, 40, &tally(608)),
            &State::default(),
            true,
        );
        let words = told.recipe.detail.expect("words");
        assert!(
            words.contains("too few days to know how days differ"),
            "{words}"
        );
        let recipe = told.recipe.shift.expect("a recipe");
        assert_eq!(
            (recipe.footing.as_str(), recipe.least_effect),
            ("rows", 0.1)
        );
    }

    #[test]
    fn features_join_an_open_episode_and_leave_with_it() {
        let reference = reference(28);
        let (moved, quiet) = (
            verdict(&reference, 40, &tally(750)),
            verdict(&reference, 41, &tally(605)),
        );
        let mut first = Day::default();
        first.add("a", &moved);
        first.add("b", &quiet);
        let mut second = Day::default();
        second.add("a", &quiet);
        second.add("b", &moved);
        let state = State::default().step(40, &first).step(41, &second);
        assert_eq!(
            state.features,
            BTreeSet::from(["a".to_owned(), "b".to_owned()])
        );
        assert_eq!(state.open_for("a").map(|(opened, _)| opened), Some(40));
        assert_eq!(state.open_for("c"), None);
    }
}

//! What the default drift detector says of a day or an hour in the service: how its verdict becomes a measurement, and how
//! the days or hours of a model version become one episode.
//!
//! The detector itself is `stats::detector`; here is what of it is stored and told. What was judged before can be
//! judged again, so the state after it is a value that is made of the state before it and nothing else. Days and hours go
//! the same way; [`Unit`] holds all that differs.

mod unit;

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

pub use unit::{Beginning, Unit};

use super::drift::Judged;
use super::measurement::{Measure, Recipe, Status};
use super::promise::Promise;
use crate::stats::PValue;
use crate::stats::detector::{
    self, Episode, Evidence, FeatureReference, Footing, Reference, Shortage, Verdict,
};

/// A usual hour of fewer rows says nothing by itself that a day would not say as well.
const ROWS_OF_AN_HOUR: f64 = 200.0;

/// The number of a day from the epoch, as the detector counts buckets.
#[must_use]
pub fn day_number(at: DateTime<Utc>) -> i64 {
    Unit::Day.number(at)
}

/// The beginning of a day.
#[must_use]
pub fn start_of(day: i64) -> DateTime<Utc> {
    Unit::Day.start_of(day)
}

/// The date of a day.
#[must_use]
pub fn date_of(day: i64) -> NaiveDate {
    start_of(day).date_naive()
}

/// What is going on with a model version after a day or an hour.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct State {
    pub episode: Episode,
    /// The features that have been beyond chance and size since it opened.
    pub features: BTreeSet<String>,
}

/// What the features of a model version say of a day or an hour together.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Day {
    /// The least `ln(p / α)` of the features; `None` if none could be judged, and on a holiday, which neither opens, prolongs nor
    /// ends an episode.
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
        self.step_by(Unit::Day, number, day)
    }

    /// The state after a unit, from that before it.
    #[must_use]
    pub fn step_by(&self, unit: Unit, number: i64, day: &Day) -> Self {
        let per_day = unit.buckets().per_day();
        let (episode, _) = self.episode.step(number, per_day, day.evidence, day.since);
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
    #[must_use]
    pub fn open_for(&self, feature: &str) -> Option<(i64, i64)> {
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
    /// What is judged as one; a day unless it says otherwise.
    #[serde(default, skip_serializing_if = "is_day")]
    pub unit: Unit,
    /// The length of the window that decided, in days, and how many of these had rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_days: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days_with_rows: Option<usize>,
    /// The same in hours, where these are judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_hours: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hours_with_rows: Option<usize>,
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
    /// Days of the reference, and its hours where these are judged.
    pub reference_days: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference_hours: Option<usize>,
    /// Days or hours left out for being unlike all others, and the days that say that it is of two minds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<Beginning>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unstable: Vec<Beginning>,
    /// The day or hour since which things have probably changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Beginning>,
    /// The day or hour that opened the episode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub episode_opened: Option<Beginning>,
    /// The smallest changes of this kind that would be seen, with a chance of 90 %.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub smallest: Vec<Smallest>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands a reference to it"
)]
fn is_day(unit: &Unit) -> bool {
    *unit == Unit::Day
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

/// What is said of a day or an hour of a feature, given by its place in the reference, whose grain says which. `state` is
/// that after it. `dated` says that the reference has days at all, and is not a file of rows without times.
#[must_use]
pub fn judged(
    reference: &Reference,
    place: usize,
    verdict: &Verdict,
    state: &State,
    dated: bool,
) -> Judged {
    let feature = &reference.features()[place];
    let unit = unit_of(reference);
    let by_hour = unit == Unit::Hour;
    let episode = state.open_for(feature.name());
    let status = match verdict.status {
        detector::Status::Insufficient => Status::Insufficient,
        detector::Status::Candidate => Status::Drift,
        detector::Status::Quiet if episode.is_some() => Status::Drift,
        detector::Status::Quiet | detector::Status::Holiday => Status::Ok,
    };
    let evidence = verdict.deciding.as_ref().or(verdict.nearest.as_ref());
    let settings = reference.settings();
    let least_effect = match feature.footing() {
        Footing::Days => settings.least_effect,
        Footing::RowsOnly => settings.least_effect_without_days,
    };
    let smallest = if dated {
        smallest_of(reference, place, evidence)
    } else {
        Vec::new()
    };
    let since = match verdict.status {
        detector::Status::Candidate => verdict.since,
        _ => episode.map(|(_, since)| since),
    };
    let too_few = status == Status::Insufficient;
    let recipe = ShiftRecipe {
        detector: unit.detector().to_owned(),
        unit,
        window_days: evidence.filter(|_| !by_hour).map(|e| e.window),
        days_with_rows: evidence.filter(|_| !by_hour).map(|e| e.buckets),
        window_hours: evidence.filter(|_| by_hour).map(|e| e.window),
        hours_with_rows: evidence.filter(|_| by_hour).map(|e| e.buckets),
        rows: evidence.map(|e| e.rows),
        score: evidence.map(|e| e.score.clone()),
        direction: verdict.direction.iter().map(Evidence::words).collect(),
        alpha: verdict.alpha.value(),
        least_effect,
        footing: footing_word(feature.footing()).to_owned(),
        reference_days: if dated { feature.whole_days() } else { 0 },
        reference_hours: (dated && by_hour).then(|| feature.buckets()),
        left_out: beginnings(unit, feature.left_out()),
        unstable: beginnings(Unit::Day, &days_of(unit, feature.unstable())),
        since: since.map(|number| unit.beginning(number)),
        episode_opened: episode.map(|(opened, _)| unit.beginning(opened)),
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
            method: unit.method().to_owned(),
            bins: Some(feature.bins().len()),
            threshold: Some(least_effect),
            cause: verdict
                .shortage
                .map(|of| shortage_words(of, unit, settings)),
            detail: (!too_few).then(|| words(&recipe, &promise, feature, verdict)),
            promise: Some(promise),
            shift: Some(recipe),
            ..Recipe::default()
        },
    }
}

/// What a fitted reference judges as one.
#[must_use]
pub fn unit_of(reference: &Reference) -> Unit {
    let by_hour = reference.grain() == detector::Grain::Hour;
    if by_hour { Unit::Hour } else { Unit::Day }
}

/// When units of these numbers begin.
#[must_use]
pub fn beginnings(unit: Unit, numbers: &[i64]) -> Vec<Beginning> {
    let beginnings = numbers.iter().map(|number| unit.beginning(*number));
    beginnings.collect()
}

/// The numbers of the days of some units in order.
#[must_use]
pub fn days_of(unit: Unit, numbers: &[i64]) -> Vec<i64> {
    let mut days: Vec<i64> = numbers.iter().map(|number| unit.day_of(*number)).collect();
    days.dedup();
    days
}

fn shortage_words(shortage: Shortage, unit: Unit, settings: &detector::Settings) -> String {
    let (least, word, units) = (settings.least_rows, unit.word(), unit.plural());
    match shortage {
        Shortage::Values if unit == Unit::Hour => format!(
            "fewer than {least} values in the last hour and in the last six; with so few rows judge days: `window: day`"
        ),
        Shortage::Values => format!("fewer than {least} values in every window"),
        Shortage::OfItsOwn => format!(
            "the {word} has fewer than {least} values, and too few beside those of the {units} before it to say anything of it"
        ),
        Shortage::Days => format!(
            "so few values that its shares are judged over longer windows than there are {units} yet"
        ),
        Shortage::UntilTheDayEnds => format!(
            "so few values in the {units} that its shares are judged once a day, with the last {word} of it, over windows of a day and more"
        ),
        Shortage::NothingWatched => {
            "too many categories to know them all, and none frequent enough to be watched by name: nothing is known of its values"
                .to_owned()
        }
    }
}

/// What is said in place of a finding on a holiday, or in an hour of one.
#[must_use]
pub fn holiday_words(unit: &str) -> String {
    format!("a holiday: whatever this {unit} shows is not called drift")
}

/// What is to be done where the usual hour of the reference has few rows; nothing of days.
#[must_use]
pub fn few_rows_words(unit: Unit, usual_rows: f64) -> Option<String> {
    (unit == Unit::Hour && usual_rows < ROWS_OF_AN_HOUR).then(|| {
        format!(
            "an hour has {usual_rows:.0} rows in the median; with fewer than {ROWS_OF_AN_HOUR:.0}, `window: day` sees as much"
        )
    })
}

/// The smallest changes of the kind that decided, or of the first kind the feature is watched by.
fn smallest_of(reference: &Reference, place: usize, evidence: Option<&Evidence>) -> Vec<Smallest> {
    let changes = match evidence {
        Some(evidence) => reference.smallest_changes_of(place, &evidence.score),
        None => {
            let mut all = reference.smallest_changes(place);
            let first = all.first().map(|change| change.score.clone());
            all.retain(|change| Some(&change.score) == first.as_ref());
            all
        }
    };
    let told = changes.into_iter().map(|change| Smallest {
        days: change.days,
        effect: change.effect,
    });
    told.collect()
}

/// The finding as somebody reads it who was not there: what, since when, seen over how long, how often that is wrong,
/// and what would not have been seen.
fn words(
    recipe: &ShiftRecipe,
    promise: &Promise,
    feature: &FeatureReference,
    verdict: &Verdict,
) -> String {
    let since = recipe
        .since
        .map_or_else(String::new, |moment| format!(" since {}", moment.words()));
    let unit = recipe.unit;
    let window = recipe.window_days.or(recipe.window_hours);
    let over = unit.count(window.unwrap_or(0));
    let change = match (&verdict.deciding, verdict.status) {
        (Some(deciding), detector::Status::Candidate) => {
            format!("{}{since}, seen over {over}", deciding.words())
        }
        (_, detector::Status::Holiday) => holiday_words(unit.word()),
        _ if recipe.episode_opened.is_some() => {
            format!(
                "changed{since}; nothing beyond chance and size {} this {}, but not for a week yet",
                if unit == Unit::Hour { "in" } else { "on" },
                unit.word()
            )
        }
        _ => "nothing beyond chance and size".to_owned(),
    };
    let mut parts = vec![change, promise.errs.clone()];
    parts.extend(few_rows_words(unit, feature.usual_rows()));
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
    let sees = if recipe.smallest.is_empty() && recipe.reference_days > 0 {
        "no change would be seen for sure: the usual day has too few rows of it".to_owned()
    } else if recipe.smallest.is_empty() {
        "the smallest change seen is not known without days of reference".to_owned()
    } else {
        smallest_words(recipe.unit, &recipe.smallest)
    };
    Promise { errs, sees }
}

fn smallest_words(unit: Unit, smallest: &[Smallest]) -> String {
    let list = |of: &dyn Fn(&Smallest) -> String| {
        let texts: Vec<String> = smallest.iter().map(of).collect();
        texts.join("/")
    };
    let lengths = match unit {
        Unit::Hour => list(&|s| unit.count((s.days * 24.0).round() as usize)),
        Unit::Day => format!("{} days", list(&|s| format!("{:.0}", s.days))),
    };
    format!(
        "smallest change seen in {lengths}: {} standard deviations",
        list(&|s| format!("{:.2}", s.effect))
    )
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
        fitted(Grain::Day, &tallies)
    }

    fn fitted(grain: Grain, tallies: &[Tally]) -> Reference {
        let observed = (0..).zip(tallies).map(|(bucket, tally)| Observation {
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
        Reference::fit(grain, &[feature], &[], Settings::default()).expect("a reference")
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
        assert_eq!(recipe.episode_opened, Some(Unit::Day.beginning(40)));

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

    /// Three weeks of hours.
    fn reference_of_hours(rows: u64) -> Reference {
        let of = |hour: u64| Tally {
            rows,
            counts: vec![
                rows * 6 / 10 + hour * 7 % 5,
                rows * 4 / 10 - hour * 7 % 5,
                0,
            ],
            unseen: Some(0),
            ..Tally::default()
        };
        let tallies: Vec<Tally> = (0..21 * 24).map(of).collect();
        fitted(Grain::Hour, &tallies)
    }

    #[test]
    fn an_hour_is_told_by_the_hour_and_its_episode_ends_after_as_many_as_a_week_has() {
        let reference = reference_of_hours(1_000);
        assert_eq!(unit_of(&reference), Unit::Hour);
        let step = |state: &State, number: i64, verdict: &Verdict| {
            let mut hour = Day::default();
            hour.add("origin", verdict);
            state.step_by(Unit::Hour, number, &hour)
        };
        let number = 30 * 24 + 7;
        let moved = verdict(&reference, number, &tally(750));
        let open = step(&State::default(), number, &moved);
        let told = judged(&reference, 0, &moved, &open, true);
        assert_eq!(told.status, Status::Drift);
        assert!(told.recipe.method.starts_with("means of hours"));
        let words = told.recipe.detail.expect("words");
        for part in [
            "of rows since 31 January 1970, 07:00 UTC, seen over 1 hour; ",
            "about one false ticket per model and year",
            "smallest change seen in 1 hour/24 hours/7 days: 0.",
        ] {
            assert!(words.contains(part), "{part}: {words}");
        }
        assert!(!words.contains("`window: day`"), "{words}");
        let recipe = told.recipe.shift.expect("a recipe");
        assert_eq!(
            (recipe.window_hours, recipe.window_days, recipe.unit),
            (Some(1), None, Unit::Hour)
        );
        assert_eq!(
            (recipe.reference_days, recipe.reference_hours),
            (21, Some(21 * 24))
        );
        assert_eq!(recipe.episode_opened, Some(Unit::Hour.beginning(number)));

        let quiet = verdict(&reference, number + 1, &tally(603));
        let (mut state, mut last) = (open, None);
        for hour in number + 1..=number + 168 {
            last = Some(judged(&reference, 0, &quiet, &state, true));
            state = step(&state, hour, &quiet);
        }
        let last = last.expect("was judged");
        assert_eq!((last.status, state), (Status::Drift, State::default()));
        let words = last.recipe.detail.expect("words");
        assert!(
            words.contains("in this hour, but not for a week yet"),
            "{words}"
        );
    }

    #[test]
    fn hours_of_few_rows_are_told_that_days_would_do() {
        let reference = reference_of_hours(60);
        let few = |rows: u64| Tally {
            rows,
            counts: vec![rows * 6 / 10, rows - rows * 6 / 10, 0],
            unseen: Some(0),
            ..Tally::default()
        };
        let told = |rows: u64| {
            let verdict = verdict(&reference, 600, &few(rows));
            judged(&reference, 0, &verdict, &State::default(), true)
        };
        let words = told(60).recipe.detail.expect("words");
        assert!(
            words.contains(
                "an hour has 60 rows in the median; with fewer than 200, `window: day` sees as much"
            ),
            "{words}"
        );
        let insufficient = told(20);
        assert_eq!(
            (insufficient.status, insufficient.value),
            (Status::Insufficient, None)
        );
        let cause = insufficient.recipe.cause.expect("a cause");
        assert!(cause.ends_with("judge days: `window: day`"), "{cause}");
    }

    #[test]
    fn hours_whose_shares_wait_for_the_day_are_told_so_and_not_that_hours_are_missing() {
        let settings = Settings::default();
        let words = shortage_words(Shortage::UntilTheDayEnds, Unit::Hour, &settings);
        assert_eq!(
            words,
            "so few values in the hours that its shares are judged once a day, with the last hour of it, over windows of a day and more"
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
    fn a_holiday_neither_opens_nor_prolongs_nor_ends_an_episode_and_is_never_drift() {
        let reference = reference(28);
        let holiday = |number: i64, first: u64| {
            let tally = tally(first);
            let day = Observation {
                bucket: number,
                holiday: true,
                tally: &tally,
            };
            reference.evaluate(0, &[day]).expect("a verdict")
        };
        let closed = after(&State::default(), 40, &holiday(40, 750));
        assert_eq!(closed, State::default());

        let open = after(&State::default(), 40, &verdict(&reference, 40, &tally(750)));
        for first in [605, 750] {
            let verdict = holiday(41, first);
            assert_eq!(after(&open, 41, &verdict), open, "{first}");
            let told = judged(&reference, 0, &verdict, &open, true);
            assert_eq!(told.status, Status::Ok, "{first}");
            let words = told.recipe.detail.expect("words");
            assert!(words.starts_with("a holiday: "), "{words}");
        }
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

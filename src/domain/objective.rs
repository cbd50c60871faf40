//! Objectives of quality: the share of labelled predictions that should be right, the budget of errors that leaves, and
//! how fast it is being used up.
//!
//! Labels count by when they were observed, so "the last hour" is that of what has become known, however old the
//! predictions are. A window of a monitor is judged at every instant within it, not at its end alone: with windows of a
//! day, a bad hour at noon is told in the evening.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::measurement::{Measure, Recipe, Status};
use super::promise::Promise;
use super::sequential::{date, length};
use super::window::Window;
use crate::stats::beta::binomial_upper;
use crate::stats::detector::{Damaged, Form, decode, encode};
use crate::stats::quality::wilson_interval;
use crate::stats::sequential::{
    BurnAlert, BurnPolicy, BurnRule, BurnSeverity, CHANCE, EXPECTED_ERRORS, LabelledCounts,
};

/// What an objective monitor holds labels against.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObjectiveChoice {
    /// The share of labelled predictions that should be right, between 0 and 1.
    pub share: f64,
    /// A number counts as right within this distance of its label.
    pub right_within: Option<f64>,
}

impl ObjectiveChoice {
    /// What a right prediction is: counts of another kind are of no use.
    #[must_use]
    pub fn course(&self) -> String {
        match self.right_within {
            Some(within) => format!("within {within:e}"),
            None => "the class".to_owned(),
        }
    }
}

/// Labels are told apart by this time.
pub const BUCKET_SECONDS: i64 = 300;

/// A window that ended longer ago is not said anew, whatever labels come.
pub const SAID_ANEW_FOR: TimeDelta = TimeDelta::days(7);

const COUNTS: Form = Form {
    family: 18,
    version: 1,
};

/// Labels by when they were observed, in steps of five minutes, with how many said that the prediction was wrong.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ObservedCounts(BTreeMap<i64, LabelledCounts>);

impl ObservedCounts {
    /// Counts a label.
    pub fn push(&mut self, observed_at: DateTime<Utc>, wrong: bool) {
        let counts = self
            .0
            .entry(observed_at.timestamp().div_euclid(BUCKET_SECONDS))
            .or_default();
        counts.labelled += 1;
        counts.bad += u64::from(wrong);
    }

    /// Adds those of other predictions.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, more) in &other.0 {
            let counts = self.0.entry(*bucket).or_default();
            counts.labelled += more.labelled;
            counts.bad += more.bad;
        }
    }

    /// The beginning of the first step that has other labels in `other`.
    #[must_use]
    pub fn first_difference(&self, other: &Self) -> Option<DateTime<Utc>> {
        let buckets = self.0.keys().chain(other.0.keys());
        let first = buckets
            .filter(|bucket| self.0.get(bucket) != other.0.get(bucket))
            .min()?;
        DateTime::from_timestamp(first * BUCKET_SECONDS, 0)
    }

    /// The end of the last step with a label.
    #[must_use]
    pub fn last_observed_at(&self) -> Option<DateTime<Utc>> {
        let (last, _) = self.0.last_key_value()?;
        DateTime::from_timestamp((last + 1) * BUCKET_SECONDS, 0)
    }

    /// As bytes with family, version and checksum.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(COUNTS, self)
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are something else, of another version, or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        decode(COUNTS, bytes)
    }
}

/// Sums over any span, after one pass.
struct Sums {
    buckets: Vec<i64>,
    /// Before each bucket, and after the last.
    before: Vec<LabelledCounts>,
}

impl Sums {
    fn of(counts: &ObservedCounts) -> Self {
        let mut before = vec![LabelledCounts::default()];
        let mut sum = LabelledCounts::default();
        for counts in counts.0.values() {
            sum.labelled += counts.labelled;
            sum.bad += counts.bad;
            before.push(sum);
        }
        Self {
            buckets: counts.0.keys().copied().collect(),
            before,
        }
    }

    /// The labels of so many seconds up to an instant, in whole steps.
    fn last(&self, seconds: f64, until: i64) -> LabelledCounts {
        let end = until.div_euclid(BUCKET_SECONDS);
        let steps = (seconds / BUCKET_SECONDS as f64).round().max(1.0) as i64;
        let place = |bucket: i64| self.buckets.partition_point(|known| *known < bucket);
        let (from, to) = (self.before[place(end - steps)], self.before[place(end)]);
        LabelledCounts {
            labelled: to.labelled - from.labelled,
            bad: to.bad - from.bad,
        }
    }
}

/// What an objective went by, stored beside the value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObjectiveRecipe {
    pub objective: f64,
    /// Labels a day over the last four weeks, and how many times longer than usual the windows are for it.
    pub labels_a_day: f64,
    pub stretched: f64,
    /// The rule that speaks, or comes nearest: how fast, over which windows, and what was found there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<BurnRule>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub long: Option<LabelledCounts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub short: Option<LabelledCounts>,
    /// The time the budget is for.
    pub budget_seconds: f64,
}

/// What is said of a window by one measure.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    pub measure: Measure,
    pub value: Option<f64>,
    pub interval: Option<(f64, f64)>,
    pub p_value: Option<f64>,
    pub status: Status,
    pub labels: u64,
    pub recipe: Recipe,
}

/// Days over which the rate of labels is taken.
const RATE_DAYS: f64 = 28.0;
const DAY: f64 = 86_400.0;
const METHOD: &str = "labels by when they were observed, against the objective's budget of errors";

/// The longest time before a window whose labels are looked at, in seconds: that of the budget, for so many labels a
/// second.
#[must_use]
pub fn look_back(choice: &ObjectiveChoice, labels_per_second: f64) -> f64 {
    BurnPolicy::new(choice.share, labels_per_second)
        .map_or(RATE_DAYS * DAY, |policy| {
            policy.budget_seconds().max(RATE_DAYS * DAY)
        })
        .min(LONGEST_BACK)
}

/// No label that was observed longer ago counts.
const LONGEST_BACK: f64 = 400.0 * DAY;

/// Labels a second over the four weeks before `until`, or since the first label if that is later; 0 without any.
#[must_use]
pub fn labels_per_second(counts: &ObservedCounts, until: DateTime<Utc>) -> f64 {
    let labelled = Sums::of(counts)
        .last(RATE_DAYS * DAY, until.timestamp())
        .labelled;
    let Some((first, _)) = counts.0.first_key_value() else {
        return 0.0;
    };
    let known = (until.timestamp() - first * BUCKET_SECONDS) as f64;
    labelled as f64 / known.clamp(BUCKET_SECONDS as f64, RATE_DAYS * DAY)
}

/// What the labels that were observed up to the end of a window say of it: whether errors burn fast, whether they burn slowly,
/// and what is left of the budget.
#[must_use]
pub fn judged(choice: &ObjectiveChoice, counts: &ObservedCounts, window: Window) -> Vec<Told> {
    let rate = labels_per_second(counts, window.end);
    let Ok(policy) = BurnPolicy::new(choice.share, rate) else {
        return [
            Measure::FastBurn,
            Measure::SlowBurn,
            Measure::ErrorBudgetLeft,
        ]
        .map(|measure| {
            unsaid(
                measure,
                "no label was observed in the four weeks up to the end of the window",
            )
        })
        .to_vec();
    };
    let sums = Sums::of(counts);
    let scene = Scene {
        choice,
        policy: &policy,
        sums: &sums,
        window,
        rate,
    };
    let told = [
        scene.burn(Measure::FastBurn, BurnSeverity::Page),
        scene.burn(Measure::SlowBurn, BurnSeverity::Ticket),
        scene.budget(),
    ];
    let Some(cause) = scene.too_few() else {
        return told.to_vec();
    };
    let known = |told: Told| match told.p_value {
        Some(_) => told,
        None => Told {
            status: Status::Insufficient,
            recipe: Recipe {
                cause: Some(told.recipe.cause.unwrap_or_else(|| cause.clone())),
                ..told.recipe
            },
            ..told
        },
    };
    told.map(known).to_vec()
}

/// Whether a window that was said is said anew: its status is another, or it has a quarter more or fewer labels than it was
/// said by. So labels that trickle in for days do not leave a row each.
#[must_use]
pub fn is_news((status, labels): (Status, u64), told: &Told) -> bool {
    status != told.status || 4 * labels.abs_diff(told.labels) >= labels.max(1)
}

fn unsaid(measure: Measure, cause: &str) -> Told {
    Told {
        measure,
        value: None,
        interval: None,
        p_value: None,
        status: Status::Insufficient,
        labels: 0,
        recipe: Recipe {
            method: METHOD.to_owned(),
            cause: Some(cause.to_owned()),
            ..Recipe::default()
        },
    }
}

struct Scene<'a> {
    choice: &'a ObjectiveChoice,
    policy: &'a BurnPolicy,
    sums: &'a Sums,
    window: Window,
    rate: f64,
}

/// A rule at an instant.
#[derive(Clone, Copy)]
struct Sight {
    rule: BurnRule,
    at: i64,
    long: LabelledCounts,
    short: LabelledCounts,
    burn: f64,
    /// How near to speaking up: 1 is there.
    nearness: f64,
    alert: Option<BurnAlert>,
}

impl Scene<'_> {
    fn recipe(&self) -> ObjectiveRecipe {
        ObjectiveRecipe {
            objective: self.choice.share,
            labels_a_day: self.rate * DAY,
            stretched: self.policy.budget_seconds() / (30.0 * DAY),
            rule: None,
            at: None,
            long: None,
            short: None,
            budget_seconds: self.policy.budget_seconds(),
        }
    }

    /// Why nothing but an error rate beyond chance can be told: all labels there are do not fill the shortest of the longer windows.
    fn too_few(&self) -> Option<String> {
        let until = self.window.end.timestamp();
        let labels = self.sums.last(LONGEST_BACK, until).labelled;
        let needed = (EXPECTED_ERRORS / (1.0 - self.choice.share) - 1e-9).ceil() as u64;
        (labels < needed).then(|| {
            format!(
                "there are {labels} labels; an objective of {} is judged from {needed} on, among which it allows \
                 {EXPECTED_ERRORS:.0} errors",
                percent(self.choice.share)
            )
        })
    }

    /// The rules of a severity at an instant.
    fn sights(&self, severity: BurnSeverity, at: i64) -> impl Iterator<Item = Sight> {
        let rules = self.policy.rules();
        let windows: Vec<(LabelledCounts, LabelledCounts)> = rules
            .iter()
            .map(|rule| {
                (
                    self.sums.last(rule.long_seconds, at),
                    self.sums.last(rule.short_seconds, at),
                )
            })
            .collect();
        let policy = self.policy;
        rules.iter().enumerate().filter_map(move |(place, rule)| {
            let (long, short) = windows[place];
            if rule.severity != severity {
                return None;
            }
            // Without labels in the short one nobody knows whether it burns still.
            let (of_long, of_short) = (policy.burn(long)?, policy.burn(short)?);
            let mut only =
                vec![(LabelledCounts::default(), LabelledCounts::default()); rules.len()];
            only[place] = (long, short);
            Some(Sight {
                rule: *rule,
                at,
                long,
                short,
                burn: of_long,
                nearness: of_long.min(of_short) / rule.burn,
                alert: policy.judge(&only),
            })
        })
    }

    fn burn(&self, measure: Measure, severity: BurnSeverity) -> Told {
        let (start, end) = (self.window.start.timestamp(), self.window.end.timestamp());
        let instants =
            (1..=(end - start) / BUCKET_SECONDS).map(|step| start + step * BUCKET_SECONDS);
        let mut worst: Option<Sight> = None;
        for sight in instants.flat_map(|at| self.sights(severity, at)) {
            let rank = |sight: &Sight| (sight.alert.is_some(), sight.nearness);
            if worst
                .as_ref()
                .is_none_or(|known| rank(&sight) > rank(known))
            {
                worst = Some(sight);
            }
        }
        let Some(worst) = worst else {
            let cause = "no label was observed in the short windows that are looked at, which say whether errors burn at present";
            return unsaid(measure, cause);
        };
        let at = DateTime::from_timestamp(worst.at, 0);
        let recipe = ObjectiveRecipe {
            rule: Some(worst.rule),
            at,
            long: Some(worst.long),
            short: Some(worst.short),
            ..self.recipe()
        };
        let allowed = 1.0 - self.choice.share;
        let interval = wilson_interval(worst.long.bad, worst.long.labelled);
        let promise = Promise {
            errs: format!(
                "by chance less than once in {:.0} looks while the objective is just met",
                1.0 / CHANCE
            ),
            sees: self.smallest_words(severity),
        };
        Told {
            measure,
            value: Some(worst.burn),
            interval: interval.map(|(low, high)| (low / allowed, high / allowed)),
            p_value: worst.alert.map(|alert| alert.p_value.value()),
            status: if worst.alert.is_some() {
                Status::Drift
            } else {
                Status::Ok
            },
            labels: worst.long.labelled,
            recipe: Recipe {
                method: METHOD.to_owned(),
                threshold: Some(worst.rule.burn),
                detail: Some(self.words(&worst, at, &promise)),
                promise: Some(promise),
                objective: Some(recipe),
                ..Recipe::default()
            },
        }
    }

    fn words(&self, sight: &Sight, at: Option<DateTime<Utc>>, promise: &Promise) -> String {
        let when = at.map_or_else(String::new, |at| {
            format!(", at {}", at.format("%-d %B %Y, %H:%M"))
        });
        let found = format!(
            "{} of the {} labels of {} say wrong, {:.1} times as many as {} allows; over the last {} of that {} of {}{when}",
            sight.long.bad,
            sight.long.labelled,
            length(sight.rule.long_seconds),
            sight.burn,
            percent(self.choice.share),
            length(sight.rule.short_seconds),
            sight.short.bad,
            sight.short.labelled,
        );
        let mut parts = Vec::new();
        match sight.alert {
            Some(_) => {
                parts.push(found);
                let pace = self.policy.budget_seconds() / sight.burn;
                parts.push(format!(
                    "at this pace the whole budget lasts {}",
                    length(pace)
                ));
            }
            None => parts.push(format!(
                "not faster than chance and the rules allow: {found}"
            )),
        }
        parts.push(promise.errs.clone());
        parts.push(promise.sees.clone());
        parts.join("; ")
    }

    /// The smallest share of wrong labels that would be told within 1, 7 and 28 days if it lasted, with a chance of 90 %.
    fn smallest_words(&self, severity: BurnSeverity) -> String {
        let rules = || {
            self.policy
                .rules()
                .iter()
                .filter(|rule| rule.severity == severity)
        };
        let within = |days: f64| {
            let fitting = rules().filter(|rule| rule.long_seconds <= days * DAY);
            fitting
                .filter_map(|rule| self.smallest_of(rule))
                .reduce(f64::min)
        };
        let (days, shares): (Vec<String>, Vec<String>) = [1.0, 7.0, 28.0]
            .into_iter()
            .filter_map(|days| within(days).map(|share| (format!("{days:.0}"), percent(share))))
            .collect();
        if days.is_empty() {
            let shortest = rules()
                .map(|rule| rule.long_seconds)
                .fold(f64::INFINITY, f64::min);
            return format!(
                "at this traffic nothing is told in less than {}",
                length(shortest)
            );
        }
        format!(
            "smallest share of wrong labels told in {} days with a chance of 90 % at this traffic ({:.0} labels a day): {}",
            days.join("/"),
            self.rate * DAY,
            shares.join("/")
        )
    }

    fn smallest_of(&self, rule: &BurnRule) -> Option<f64> {
        let allowed = 1.0 - self.choice.share;
        let labels = (self.rate * rule.long_seconds).floor().max(1.0) as u64;
        let telling =
            |bad: u64| binomial_upper(bad, labels, allowed).is_some_and(|p| p.ln() < CHANCE.ln());
        if !telling(labels) {
            return None;
        }
        let (mut below, mut above) = (0, labels);
        while above - below > 1 {
            let middle = below.midpoint(above);
            if telling(middle) {
                above = middle;
            } else {
                below = middle;
            }
        }
        let burning = (rule.burn * allowed * labels as f64).ceil() as u64;
        share_reaching(above.max(burning), labels)
    }

    fn budget(&self) -> Told {
        let seconds = self.policy.budget_seconds();
        let counts = self
            .sums
            .last(seconds.min(LONGEST_BACK), self.window.end.timestamp());
        let allowed = 1.0 - self.choice.share;
        let left = |share: f64| 1.0 - share / allowed;
        let Some(burn) = self.policy.burn(counts) else {
            return unsaid(
                Measure::ErrorBudgetLeft,
                "no label was observed in the time the budget is for",
            );
        };
        let value = 1.0 - burn;
        let interval = wilson_interval(counts.bad, counts.labelled);
        let known = if seconds > LONGEST_BACK {
            LONGEST_BACK
        } else {
            seconds
        };
        let spent = if value > 0.0 {
            format!("{:.0} % of the budget of errors is left", 100.0 * value)
        } else {
            format!("the budget of errors is spent {burn:.1} times over")
        };
        Told {
            measure: Measure::ErrorBudgetLeft,
            value: Some(value),
            interval: interval.map(|(low, high)| (left(high), left(low))),
            p_value: None,
            status: if value > 0.0 {
                Status::Ok
            } else {
                Status::Drift
            },
            labels: counts.labelled,
            recipe: Recipe {
                method: METHOD.to_owned(),
                threshold: Some(0.0),
                detail: Some(format!(
                    "{spent}: {} of the {} labels of {} up to {} say wrong, and {} may",
                    counts.bad,
                    counts.labelled,
                    length(known),
                    date(self.window.end),
                    percent(allowed),
                )),
                promise: Some(Promise {
                    errs: "every other month where the objective is only just met: it counts errors, and leaves chance aside"
                        .to_owned(),
                    sees: "a budget that is used up, on whatever day that is".to_owned(),
                }),
                objective: Some(self.recipe()),
                ..Recipe::default()
            },
        }
    }
}

/// The chance with which the smallest share that is told of is to be seen.
const POWER: f64 = 0.9;

/// The share of wrong labels with which so many of them are wrong, or more, with a chance of [`POWER`]; `None` where there are not
/// so many.
fn share_reaching(wrong: u64, labels: u64) -> Option<f64> {
    if wrong > labels {
        return None;
    }
    let (mut below, mut above) = (wrong as f64 / labels as f64, 1.0);
    for _ in 0..50 {
        let middle = f64::midpoint(below, above);
        if binomial_upper(wrong, labels, middle)?.value() < POWER {
            below = middle;
        } else {
            above = middle;
        }
    }
    Some(above)
}

fn percent(share: f64) -> String {
    let value = 100.0 * share;
    if (value - value.round()).abs() < 1e-9 {
        format!("{value:.0} %")
    } else {
        format!("{value:.2} %")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::window::Grain;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("an instant")
    }

    impl ObservedCounts {
        /// Those that were observed before an instant.
        fn until(&self, end: DateTime<Utc>) -> Self {
            let buckets = self.0.range(..end.timestamp().div_euclid(BUCKET_SECONDS));
            Self(buckets.map(|(bucket, counts)| (*bucket, *counts)).collect())
        }
    }

    fn choice() -> ObjectiveChoice {
        ObjectiveChoice {
            share: 0.95,
            right_within: None,
        }
    }

    /// A label a minute in March, one of 40 wrong; from `bad_from` on for four hours all of them.
    fn counts(bad_from: Option<DateTime<Utc>>) -> ObservedCounts {
        let first = at("2026-03-01T00:00:00Z");
        let mut counts = ObservedCounts::default();
        for minute in 0..30 * 24 * 60 {
            let when = first + TimeDelta::minutes(minute);
            let bad =
                bad_from.is_some_and(|from| (from..from + TimeDelta::hours(4)).contains(&when));
            counts.push(when, bad || minute % 40 == 0);
        }
        counts
    }

    fn told(counts: &ObservedCounts, day: &str) -> [Told; 3] {
        let window = Grain::Day.window_at(at(day));
        judged(&choice(), counts, window)
            .try_into()
            .expect("three measures")
    }

    #[test]
    fn a_month_within_the_objective_is_quiet_with_half_of_the_budget_left() {
        let counts = counts(None);
        for day in 1..30 {
            let [fast, slow, left] = told(&counts, &format!("2026-03-{day:02}T00:00:00Z"));
            assert_eq!(
                (fast.status, slow.status, left.status),
                (Status::Ok, Status::Ok, Status::Ok),
                "{day}"
            );
        }
        let [fast, _, left] = told(&counts, "2026-03-29T00:00:00Z");
        assert!(
            (left.value.expect("a value") - 0.5).abs() < 0.01,
            "{left:?}"
        );
        let words = fast.recipe.detail.expect("words");
        assert!(words.starts_with("not faster than chance"), "{words}");
        assert!(words.contains("less than once in 10000 looks"), "{words}");
        assert!(words.contains("(1440 labels a day): "), "{words}");
    }

    #[test]
    fn an_outage_at_noon_is_told_for_its_day_and_not_for_others() {
        let counts = counts(Some(at("2026-03-20T12:00:00Z")));
        let [fast, ..] = told(&counts, "2026-03-20T00:00:00Z");
        assert_eq!(fast.status, Status::Drift, "{fast:?}");
        let recipe = fast.recipe.objective.expect("a recipe");
        let seen = recipe.at.expect("an instant");
        assert!(
            (at("2026-03-20T14:20:00Z")..=at("2026-03-20T16:20:00Z")).contains(&seen),
            "{seen}"
        );
        // 1,440 labels a day are fewer than ten errors in an hour allow for: windows are 3.3 times longer.
        assert!(
            (recipe.stretched - 200.0 / 60.0).abs() < 0.1,
            "{}",
            recipe.stretched
        );
        assert!(fast.p_value.expect("a p-value") < 1e-4);
        let words = fast.recipe.detail.expect("words");
        assert!(words.contains("times as many as 95 % allows"), "{words}");
        let [before, ..] = told(&counts, "2026-03-18T00:00:00Z");
        let [after, ..] = told(&counts, "2026-03-23T00:00:00Z");
        assert_eq!((before.status, after.status), (Status::Ok, Status::Ok));
    }

    #[test]
    fn without_labels_at_present_nothing_is_said_of_burning_and_the_budget_is() {
        // The feed dies within the outage: the long windows have its errors, and the short ones soon nothing.
        let mut counts = counts(Some(at("2026-03-20T12:00:00Z")));
        counts.0 = counts.until(at("2026-03-20T15:00:00Z")).0;
        let hour = |hour: &str| -> [Told; 3] {
            let window = Grain::Hour.window_at(at(hour));
            let told = judged(&choice(), &counts, window);
            told.try_into().expect("three measures")
        };
        let [fast, ..] = hour("2026-03-20T14:00:00Z");
        assert_eq!(fast.status, Status::Drift, "{fast:?}");
        let [fast, slow, left] = hour("2026-03-20T18:00:00Z");
        assert_eq!((fast.status, fast.value), (Status::Insufficient, None));
        let cause = fast.recipe.cause.expect("a cause");
        assert!(
            cause.starts_with("no label was observed in the short windows"),
            "{cause}"
        );
        assert!(
            slow.value.is_some() && left.value.is_some(),
            "they look further back"
        );
    }

    #[test]
    fn labels_that_came_are_found_by_when_they_were_observed_and_a_few_more_are_no_news() {
        let whole = counts(None);
        assert_eq!(whole.first_difference(&whole), None);
        let early = whole.until(at("2026-03-20T12:00:00Z"));
        let first = Some(at("2026-03-20T12:00:00Z"));
        assert_eq!(whole.first_difference(&early), first);
        assert_eq!(early.first_difference(&whole), first);

        let [fast, ..] = told(&whole, "2026-03-20T00:00:00Z");
        let (status, labels) = (fast.status, fast.labels);
        assert!(!is_news((status, labels), &fast));
        assert!(!is_news((status, labels - labels / 10), &fast));
        assert!(is_news((status, labels / 2), &fast));
        assert!(is_news((Status::Drift, labels), &fast));
        assert!(is_news((Status::Insufficient, 0), &fast));
    }

    #[test]
    fn few_labels_with_one_error_are_insufficient_and_errors_alone_tell() {
        let of = |labels: i64, wrong: fn(i64) -> bool| {
            let mut few = ObservedCounts::default();
            for hour in 0..labels {
                few.push(
                    at("2026-03-02T00:00:00Z") + TimeDelta::minutes(15 * hour),
                    wrong(hour),
                );
            }
            told(&few, "2026-03-02T00:00:00Z")
        };
        for told in of(5, |hour| hour == 3) {
            assert_eq!(told.status, Status::Insufficient, "{told:?}");
            assert!(told.value.is_some());
            let cause = told.recipe.cause.expect("a cause");
            assert_eq!(
                cause,
                "there are 5 labels; an objective of 95 % is judged from 200 on, among which it allows 10 errors"
            );
        }
        let [fast, _, left] = of(20, |_| true);
        assert_eq!(fast.status, Status::Drift, "{fast:?}");
        assert_eq!(left.status, Status::Insufficient, "{left:?}");
        for nothing in told(&ObservedCounts::default(), "2026-03-02T00:00:00Z") {
            assert_eq!(
                (nothing.status, nothing.value),
                (Status::Insufficient, None)
            );
        }
    }

    #[test]
    fn counts_add_up_and_survive_being_stored() {
        let mut whole = counts(None);
        let read = ObservedCounts::decode(&whole.encode()).expect("reads");
        assert_eq!(read, whole);
        whole.merge(&read);
        let [.., left] = told(&whole, "2026-03-29T00:00:00Z");
        assert_eq!(left.labels, 2 * 29 * 1_440);
        assert_eq!(whole.last_observed_at(), Some(at("2026-03-31T00:00:00Z")));
        assert!(ObservedCounts::decode(&whole.encode()[1..]).is_err());
    }
}

//! What a rule promises: how often it errs where nothing is wrong, and the smallest change that it would see in 1, 7 and
//! 28 days.
//!
//! A detector says both of itself, in the recipe of what it measures. Of a fixed limit both are worked out here, from how many
//! rows the newest window had: it looks at each window alone, so that it gains by more of them only as dice do.

use serde::{Deserialize, Serialize};

use super::drift::chance_of_a_feature;
use super::measurement::{Better, Measure, Recipe, Segment};
use super::rule::{Condition, MeasuredCondition, Rule, Threshold};
use super::sequential::{length, once_in};
use super::window::Grain;
use crate::stats::beta::binomial_upper;
use crate::stats::limits::{chance_beyond, chance_needed, chance_of_several, normal_shift_at};
use crate::stats::tails::{PValue, normal_quantile, normal_upper};

/// How often something errs, and what it would not miss, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Promise {
    /// How often a finding is to be expected where nothing is wrong.
    pub errs: String,
    /// The smallest change that would be found.
    pub sees: String,
}

/// What a rule promises of some of the measures it looks at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromiseOf {
    /// By name; empty for a rule that looks at none.
    pub measures: Vec<Measure>,
    /// `None` before a window has been measured that says enough.
    pub promise: Option<Promise>,
}

/// The newest value of a measure that a rule looks at.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    pub measure: Measure,
    pub feature: String,
    pub segment: Segment,
    pub value: f64,
    /// 95 % interval.
    pub interval: Option<(f64, f64)>,
    pub reference: Option<f64>,
    pub current_rows: u64,
    pub reference_rows: u64,
    pub recipe: Recipe,
}

/// Days for which the smallest change is told.
const DAYS: [f64; 3] = [1.0, 7.0, 28.0];
/// The chance with which it is to be seen.
const POWER: f64 = 0.9;
/// What is rarer than once in so many days is not worth a number.
const PRACTICALLY_NEVER: f64 = 1_000.0 * 365.25;

/// What a rule promises, one entry for all measures of which the same is true. `unit` is that of the model's prediction.
#[must_use]
pub fn of_rule(rule: &Rule, known: &[Known], unit: &str) -> Vec<PromiseOf> {
    let condition = match &rule.condition {
        Condition::Silence { after_seconds } => {
            let after = length(*after_seconds as f64);
            return vec![PromiseOf {
                measures: Vec::new(),
                promise: Some(Promise {
                    errs: format!(
                        "never by chance; where traffic rests for {after} by itself, every time it does"
                    ),
                    sees: format!("an outage, {after} after the last prediction"),
                }),
            }];
        }
        Condition::Measured(condition) => condition,
    };
    let mut told: Vec<PromiseOf> = Vec::new();
    for &measure in &condition.measures {
        let of_measure: Vec<&Known> = known
            .iter()
            .filter(|value| value.measure == measure && is_looked_at(condition, value))
            .collect();
        let promise = of_measure_in(condition, measure, &of_measure, unit);
        match told.iter_mut().find(|of| of.promise == promise) {
            Some(of) => of.measures.push(measure),
            None => told.push(PromiseOf {
                measures: vec![measure],
                promise,
            }),
        }
    }
    told
}

fn is_looked_at(condition: &MeasuredCondition, value: &Known) -> bool {
    let feature = condition.feature.as_ref();
    (condition.segments || value.segment.is_overall())
        && feature.is_none_or(|feature| *feature == value.feature)
}

fn of_measure_in(
    condition: &MeasuredCondition,
    measure: Measure,
    known: &[&Known],
    unit: &str,
) -> Option<Promise> {
    let judges_itself = matches!(condition.threshold, Threshold::OwnStatus);
    if judges_itself && let Some(promise) = of_detector(condition, known) {
        return Some(promise);
    }
    if is_counted(measure) {
        let of_rows = is_share_of_rows(measure);
        let of_share = of_rows
            .then(|| of_share(condition, measure, known))
            .flatten();
        return Some(of_share.unwrap_or_else(|| of_count(condition, measure)));
    }
    match measure.drift() {
        Some(_) => of_distance(condition, measure, known),
        None => of_estimate(condition, measure, known, unit),
    }
}

/// Whether a value is a fact about the rows it was counted over, rather than an estimate of something behind them.
fn is_counted(measure: Measure) -> bool {
    measure.is_schema()
        || matches!(
            measure,
            Measure::LabelCoverage
                | Measure::Traffic
                | Measure::ErrorRate
                | Measure::LatencyP50
                | Measure::LatencyP95
                | Measure::LatencyP99
        )
}

/// Whether it is a share of rows each of which is so or not by itself: of few rows it is beyond a limit by chance, too.
fn is_share_of_rows(measure: Measure) -> bool {
    Measure::SHARES_OF_SCHEMA.contains(&measure)
        || matches!(
            measure,
            Measure::NanShare | Measure::InfiniteShare | Measure::EmptyShare | Measure::ErrorRate
        )
}

/// What detectors say of themselves: what most of them say, and beside it whoever sees least.
fn of_detector(condition: &MeasuredCondition, known: &[&Known]) -> Option<Promise> {
    let told: Vec<(&Known, &Promise)> = known
        .iter()
        .filter_map(|value| Some((*value, value.recipe.promise.as_ref()?)))
        .collect();
    let (_, first) = told.first()?;
    let errs = told
        .iter()
        .map(|(_, promise)| &promise.errs)
        .max_by_key(|errs| {
            told.iter()
                .filter(|(_, other)| other.errs == **errs)
                .count()
        })?;
    let alike = told.iter().all(|(_, promise)| promise.sees == first.sees);
    let sees = if alike {
        first.sees.clone()
    } else {
        in_most_features(&told)
    };
    Some(Promise {
        errs: in_patience(condition, errs),
        sees,
    })
}

/// The smallest changes of the median feature, and of the one in which least is seen.
fn in_most_features(told: &[(&Known, &Promise)]) -> String {
    let mut by_size: Vec<(f64, &Known, &Promise)> = told
        .iter()
        .filter_map(|(value, promise)| {
            let smallest = &value.recipe.shift.as_ref()?.smallest;
            // Where nothing would be seen for sure, least is seen.
            let effect = smallest.last().map_or(f64::INFINITY, |seen| seen.effect);
            Some((effect, *value, *promise))
        })
        .collect();
    by_size.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (Some((_, _, middle)), Some((_, last, least))) =
        (by_size.get(by_size.len() / 2), by_size.last())
    else {
        return told[0].1.sees.clone();
    };
    format!(
        "in half of the features: {}; least in {}: {}",
        middle.sees, last.feature, least.sees
    )
}

fn of_count(condition: &MeasuredCondition, measure: Measure) -> Promise {
    let errs = if is_share_of_rows(measure) {
        "not known before a window of enough rows"
    } else if measure.is_schema() {
        "never by chance, as it counts rows; where the schema does not say what the model needs"
    } else {
        "never by chance, as it counts what was"
    };
    Promise {
        errs: errs.to_owned(),
        sees: sees_beyond(condition),
    }
}

/// Of a limit on shares of rows: a window of as many rows as the newest is beyond it by chance, while the usual share is the newest
/// window's. `None` without one, or where one has no limit.
fn of_share(condition: &MeasuredCondition, measure: Measure, known: &[&Known]) -> Option<Promise> {
    let mut chances = Vec::new();
    for value in known {
        let limit = limit(condition, value)?;
        let (share, rows) = (value.value.clamp(0.0, 1.0), value.current_rows);
        // The chance of so many rows that their share is this, or more.
        let of_first = |is_there: &dyn Fn(f64) -> bool| {
            let before = (limit.clamp(0.0, 1.0) * rows as f64) as u64;
            let mut counts = before.saturating_sub(1)..;
            let first =
                counts.find(|count| *count > rows || is_there(*count as f64 / rows as f64))?;
            binomial_upper(first, rows, share).map(PValue::value)
        };
        chances.push(match condition.threshold {
            Threshold::Below(_) | Threshold::BelowTimesBaseline(_) => {
                1.0 - of_first(&|share| share >= limit)?
            }
            _ => of_first(&|share| share > limit)?,
        });
    }
    let rows = known.iter().map(|value| value.current_rows).min()?;
    let shares = match known {
        [one] => format!("{:.3} of {rows} rows", one.value),
        _ => format!("those {} of {rows} rows or more", known.len()),
    };
    let chance = chance_of_several(&chances, condition.at_least);
    let often = if chance > 0.0 {
        often(condition, chance)
    } else {
        "never".to_owned()
    };
    let wrong = if measure.is_schema() {
        "; and where the schema does not say what the model needs"
    } else {
        ""
    };
    Some(Promise {
        errs: format!(
            "{often} by chance among rows while the share is that of the newest window, {shares}{wrong}"
        ),
        sees: sees_beyond(condition),
    })
}

fn sees_beyond(condition: &MeasuredCondition) -> String {
    let after = match condition.windows {
        1 => format!("one {}", condition.grain.as_str()),
        windows => format!("{windows} {}s in a row", condition.grain.as_str()),
    };
    let limit = match condition.threshold {
        Threshold::Above(limit) => format!("more than {limit}"),
        Threshold::Below(limit) => format!("less than {limit}"),
        Threshold::AboveTimesBaseline(factor) => format!("more than {factor} times the baseline's"),
        Threshold::BelowTimesBaseline(factor) => format!("less than {factor} times the baseline's"),
        Threshold::OwnStatus => "whatever is beyond the monitor's tolerance".to_owned(),
    };
    format!("{limit}, after {after}")
}

/// Of a limit on a distance. Rows are taken as independent, which is said.
fn of_distance(
    condition: &MeasuredCondition,
    measure: Measure,
    known: &[&Known],
) -> Option<Promise> {
    let drift = measure.drift()?;
    let limits: Vec<(f64, &Known)> = known
        .iter()
        .filter_map(|value| Some((limit(condition, value)?, *value)))
        .collect();
    let (first, _) = *limits.first()?;
    // Whoever judges by the monitor's status has its gate as well.
    let gate = matches!(condition.threshold, Threshold::OwnStatus)
        .then(|| chance_of_a_feature(limits.len()));
    let chances: Vec<f64> = limits
        .iter()
        .filter_map(|(limit, value)| {
            // Kolmogorov's distribution asks for none.
            let bins = value.recipe.bins.unwrap_or(2);
            let rows = (value.reference_rows, value.current_rows);
            let beyond = chance_beyond(drift, *limit, bins, rows.0, rows.1).map(PValue::value);
            beyond.into_iter().chain(gate).reduce(f64::min)
        })
        .collect();
    let errs = if chances.len() == limits.len() {
        let features = match chances.len() {
            1 => String::new(),
            many => format!(", all {many} together"),
        };
        let often = often(condition, chance_of_several(&chances, condition.at_least));
        format!(
            "{often} by chance among rows{features}; more often where days differ by more than that"
        )
    } else {
        let floors = limits
            .iter()
            .filter_map(|(_, value)| value.recipe.noise_floor);
        let floor = floors.fold(f64::NAN, f64::max);
        if floor.is_nan() {
            "not known: nothing tells what chance alone would give".to_owned()
        } else {
            format!("not known; chance alone gives about {floor:.3}, and more where days differ")
        }
    };
    let change = match normal_shift_at(drift, first) {
        Some(shift) => {
            format!("a change like that of a normal feature by {shift:.2} standard deviations")
        }
        None => format!("a change of {first}"),
    };
    let alone = match condition.windows {
        1 => format!(
            "in 1, 7 and 28 days alike, as it looks at each {} alone",
            condition.grain.as_str()
        ),
        windows => format!(
            "after {windows} {}s in a row, each looked at alone",
            condition.grain.as_str()
        ),
    };
    Some(Promise {
        errs,
        // At the limit itself chance decides.
        sees: format!("{change}, in about half of the cases, {alone}"),
    })
}

/// Of a limit on a value that has an interval: labels of one window say more or less than what is behind them.
fn of_estimate(
    condition: &MeasuredCondition,
    measure: Measure,
    known: &[&Known],
    unit: &str,
) -> Option<Promise> {
    let mut sights: Vec<Sight> = known
        .iter()
        .filter_map(|value| Sight::of(condition, measure, value))
        .collect();
    let chances: Vec<f64> = sights.iter().map(Sight::chance).collect();
    let chance = chance_of_several(&chances, condition.at_least);
    sights.sort_by(|a, b| a.error.total_cmp(&b.error));
    let middle = sights.get(sights.len() / 2)?;
    let said = |value: f64| format!("{}{}", number(measure, value), unit_of(measure, unit));
    let errs = if middle.excess() >= 0.0 {
        format!(
            "always: {} is beyond the limit of {} already where nothing has changed",
            said(middle.usual),
            said(middle.limit)
        )
    } else {
        format!(
            "{} by chance among labels while it is {}; more often where {}s differ by more than that",
            often(condition, chance),
            said(middle.usual),
            condition.grain.as_str()
        )
    };
    let (days, values): (Vec<String>, Vec<String>) = DAYS
        .into_iter()
        .filter_map(|days| {
            let windows = (days / days_of(condition.grain)) as usize;
            let needed = chance_needed(POWER, condition.windows, windows)?;
            let value = number(measure, middle.value_beyond(needed));
            Some((format!("{days:.0}"), value))
        })
        .unzip();
    let sees = if days.is_empty() {
        format!(
            "nothing within 28 days: it waits for {} {}s",
            condition.windows,
            condition.grain.as_str()
        )
    } else {
        let of = match sights.len() {
            1 => String::new(),
            many => format!(", in half of {many} places"),
        };
        format!(
            "a value of {}{} in {} days, with a chance of 90 %{of}",
            values.join("/"),
            unit_of(measure, unit),
            days.join("/")
        )
    };
    Some(Promise { errs, sees })
}

/// A value that varies by chance, beside its limit.
struct Sight {
    /// What it is where nothing has changed.
    usual: f64,
    limit: f64,
    /// Standard error of one window.
    error: f64,
    /// 1 where more is worse, −1 where less is.
    worse: f64,
}

impl Sight {
    fn of(condition: &MeasuredCondition, measure: Measure, value: &Known) -> Option<Self> {
        let (low, high) = value.interval?;
        let error = (high - low) / (2.0 * normal_quantile(0.975));
        let worse = match condition.threshold {
            Threshold::Above(_) | Threshold::AboveTimesBaseline(_) => 1.0,
            Threshold::Below(_) | Threshold::BelowTimesBaseline(_) => -1.0,
            Threshold::OwnStatus if measure.better() == Better::Higher => -1.0,
            Threshold::OwnStatus => 1.0,
        };
        Some(Self {
            usual: value.reference.unwrap_or(value.value),
            limit: limit(condition, value)?,
            error: error.is_finite().then_some(error)?,
            worse,
        })
    }

    fn excess(&self) -> f64 {
        self.worse * (self.usual - self.limit)
    }

    /// How likely one window is beyond the limit where nothing has changed.
    fn chance(&self) -> f64 {
        if self.error > 0.0 {
            normal_upper(-self.excess() / self.error).map_or(1.0, PValue::value)
        } else {
            f64::from(u8::from(self.excess() > 0.0))
        }
    }

    /// What the value must be for one window to be beyond the limit with this chance.
    fn value_beyond(&self, chance: f64) -> f64 {
        self.limit + self.worse * normal_quantile(chance) * self.error
    }
}

fn limit(condition: &MeasuredCondition, value: &Known) -> Option<f64> {
    match condition.threshold {
        Threshold::Above(limit) | Threshold::Below(limit) => Some(limit),
        Threshold::AboveTimesBaseline(factor) | Threshold::BelowTimesBaseline(factor) => {
            Some(factor * value.reference?)
        }
        Threshold::OwnStatus => value.recipe.threshold,
    }
}

/// How often as many windows in a row as it takes are beyond the limit, each with this chance.
fn often(condition: &MeasuredCondition, chance: f64) -> String {
    let run = chance.powi(i32::try_from(condition.windows).unwrap_or(i32::MAX));
    let days = days_of(condition.grain) / run;
    if days > PRACTICALLY_NEVER {
        "less than once in 1,000 years".to_owned()
    } else {
        once_in(days)
    }
}

/// A detector's words, where the rule waits for more than it.
fn in_patience(condition: &MeasuredCondition, errs: &str) -> String {
    let mut more = Vec::new();
    if condition.windows > 1 {
        more.push(format!(
            "{} {}s in a row",
            condition.windows,
            condition.grain.as_str()
        ));
    }
    if condition.at_least > 1 {
        more.push(format!("{} features at once", condition.at_least));
    }
    if more.is_empty() {
        errs.to_owned()
    } else {
        format!("{errs}; less often, as it takes {}", more.join(" and "))
    }
}

fn days_of(grain: Grain) -> f64 {
    match grain {
        Grain::Hour => 1.0 / 24.0,
        Grain::Day => 1.0,
        Grain::Week => 7.0,
        Grain::Month => 30.0,
    }
}

fn number(measure: Measure, value: f64) -> String {
    let decimals = if measure.has_unit() { 2 } else { 3 };
    format!("{value:.decimals$}")
}

fn unit_of(measure: Measure, unit: &str) -> String {
    if measure.has_unit() && !unit.is_empty() {
        format!(" {unit}")
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests;

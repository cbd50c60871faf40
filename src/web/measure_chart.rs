//! A measure over time: which monitor's values to show, and the chart made of them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::domain::ids::VersionId;
use crate::domain::measurement::Measure;
use crate::domain::rule::{Condition, MeasuredCondition, Rule, Threshold};
use crate::storage::pages::{DeploymentRow, Measured, ModelEvent, SeriesValue, VersionRow};

use super::chart::{Chart, ChartView, Line, LineKind, Mark, Span};
use super::wording;

/// Grains from the one a person is best served with to the one they rarely need.
const GRAINS: [&str; 4] = ["week", "day", "month", "hour"];

/// Which values a panel shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    pub monitor: String,
    pub grain: String,
    pub measure: String,
    /// All measures of the panel that could be shown instead, this one included.
    pub alternatives: Vec<String>,
}

/// Chooses among what has been measured: the wanted measure and grain where they exist, else the first of
/// the panel's measures and the coarsest sensible grain.
#[must_use]
pub fn choose(
    measured: &[Measured],
    measures: &[Measure],
    wanted_measure: Option<&str>,
    wanted_grain: Option<&str>,
) -> Option<Choice> {
    let alternatives: Vec<String> = measures
        .iter()
        .map(|m| m.as_str().to_owned())
        .filter(|name| measured.iter().any(|m| m.measure == *name))
        .collect();
    let measure = alternatives
        .iter()
        .find(|name| Some(name.as_str()) == wanted_measure)
        .or(alternatives.first())?
        .clone();
    let found = wanted_grain.into_iter().chain(GRAINS).find_map(|grain| {
        measured
            .iter()
            .find(|m| m.measure == measure && m.grain == grain)
    })?;
    Some(Choice {
        monitor: found.monitor.clone(),
        grain: found.grain.clone(),
        measure,
        alternatives,
    })
}

impl Choice {
    /// Whether the measure is of samples of rows, some of which look at all features together.
    #[must_use]
    pub fn is_of_rows(&self) -> bool {
        self.measure.parse().is_ok_and(Measure::is_of_rows)
    }
}

/// What a model's charts are made from, besides the values.
#[derive(Debug, Clone)]
pub struct History {
    pub versions: Vec<VersionRow>,
    pub deployments: Vec<DeploymentRow>,
    pub rules: Vec<Rule>,
    pub events: Vec<ModelEvent>,
    pub unit: String,
}

impl History {
    /// Whether `version` was the champion when `window` ended. The first champion counts from the beginning
    /// of time: data may have been imported from before it was registered.
    fn served(&self, version: &str, window: Span) -> bool {
        let stays = || self.deployments.iter().filter(|d| d.role == "champion");
        let first = stays().map(|d| d.started_at).min();
        stays().any(|d| {
            d.version == version
                && (Some(d.started_at) == first || d.started_at < window.end)
                && d.ended_at.is_none_or(|ended| ended >= window.end)
        })
    }

    fn colour(&self, version: VersionId) -> usize {
        let newer = self.versions.iter().position(|v| v.version_id == version);
        // Versions are listed newest first; colours are given in order of age, so that they stay.
        newer.map_or(0, |position| (self.versions.len() - 1 - position) % 6)
    }

    /// The chart of one measure. Quality is drawn for every version, so that a candidate can be seen beside
    /// the champion; everything else for the champion of the time.
    #[must_use]
    pub fn chart(&self, id: &str, choice: &Choice, values: &[SeriesValue]) -> Option<ChartView> {
        let windows: Vec<Span> = values
            .iter()
            .map(span)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        let by_version = by_version(values);
        let mut lines = if is_quality(&choice.measure) {
            self.version_lines(&windows, &by_version)
        } else {
            vec![self.served_line(&windows, &by_version)]
        };
        let reference = self.reference(&windows, &by_version);
        lines.extend(self.threshold_lines(choice, &reference));
        if is_quality(&choice.measure) {
            lines.push(Line {
                name: "reference".to_owned(),
                kind: LineKind::Reference,
                colour: 0,
                values: reference,
                served: Vec::new(),
            });
        }
        Chart {
            id: id.to_owned(),
            title: wording::measure_title(&choice.measure).to_owned(),
            measure: choice.measure.clone(),
            unit: wording::unit(&choice.measure, &self.unit),
            marks: self.marks(&windows),
            windows,
            lines,
        }
        .view()
    }

    /// The chart of a class or of the groups of a field: the champion's values and both ends of their intervals.
    #[must_use]
    pub fn part_chart(
        &self,
        id: &str,
        part: &str,
        choice: &Choice,
        values: &[SeriesValue],
    ) -> Option<ChartView> {
        let windows: BTreeSet<Span> = values.iter().map(span).collect();
        let windows: Vec<Span> = windows.into_iter().collect();
        let by_version = by_version(values);
        let end = |name: &str, end: fn(&SeriesValue) -> Option<f64>| Line {
            name: name.to_owned(),
            kind: LineKind::Reference,
            colour: 0,
            values: windows
                .iter()
                .map(|w| self.served_value(*w, &by_version).and_then(end))
                .collect(),
            served: Vec::new(),
        };
        let lines = vec![
            self.served_line(&windows, &by_version),
            end("95 % from", |value| value.low),
            end("to", |value| value.high),
        ];
        Chart {
            id: id.to_owned(),
            title: part.to_owned(),
            measure: choice.measure.clone(),
            unit: wording::unit(&choice.measure, &self.unit),
            marks: self.marks(&windows),
            windows,
            lines,
        }
        .view()
    }

    fn version_lines(&self, windows: &[Span], values: &ByVersion<'_>) -> Vec<Line> {
        let line = |version: &VersionRow| {
            let of_version = values.get(&version.version_id)?;
            Some(Line {
                name: match version.role.as_deref() {
                    Some(role) => format!("{} ({role})", version.name),
                    None => version.name.clone(),
                },
                kind: LineKind::Version,
                colour: self.colour(version.version_id),
                values: windows
                    .iter()
                    .map(|w| of_version.get(w).and_then(|v| v.value))
                    .collect(),
                served: windows
                    .iter()
                    .map(|w| self.served(&version.name, *w))
                    .collect(),
            })
        };
        self.versions.iter().rev().filter_map(line).collect()
    }

    fn served_value<'a>(&self, window: Span, values: &ByVersion<'a>) -> Option<&'a SeriesValue> {
        self.versions
            .iter()
            .filter(|version| self.served(&version.name, window))
            .find_map(|version| values.get(&version.version_id)?.get(&window).copied())
    }

    fn served_line(&self, windows: &[Span], values: &ByVersion<'_>) -> Line {
        Line {
            name: "champion".to_owned(),
            kind: LineKind::Total,
            colour: 0,
            values: windows
                .iter()
                .map(|w| self.served_value(*w, values).and_then(|v| v.value))
                .collect(),
            served: Vec::new(),
        }
    }

    fn reference(&self, windows: &[Span], values: &ByVersion<'_>) -> Vec<Option<f64>> {
        windows
            .iter()
            .map(|w| self.served_value(*w, values).and_then(|v| v.reference))
            .collect()
    }

    fn threshold_lines(&self, choice: &Choice, reference: &[Option<f64>]) -> Vec<Line> {
        let line = |rule: &Rule| {
            let condition = applies(rule, choice)?;
            let constant = |t: f64| vec![Some(t); reference.len()];
            let times = |factor: f64| reference.iter().map(|r| r.map(|r| r * factor)).collect();
            let (values, words) = match condition.threshold {
                Threshold::Above(t) => (constant(t), "above"),
                Threshold::Below(t) => (constant(t), "below"),
                Threshold::AboveTimesBaseline(f) => (times(f), "above"),
                Threshold::BelowTimesBaseline(f) => (times(f), "below"),
                Threshold::OwnStatus => return None,
            };
            let newest = values.iter().rev().find_map(|v: &Option<f64>| *v)?;
            Some(Line {
                name: format!(
                    "{} {words} {}",
                    rule.severity.as_str(),
                    wording::value(&choice.measure, newest)
                ),
                kind: LineKind::Threshold,
                colour: 0,
                values,
                served: Vec::new(),
            })
        };
        self.rules.iter().filter_map(line).collect()
    }

    fn marks(&self, windows: &[Span]) -> Vec<Mark> {
        let (Some(first), Some(last)) = (windows.first(), windows.last()) else {
            return Vec::new();
        };
        self.events
            .iter()
            .filter(|e| first.start <= e.at && e.at <= last.end)
            .map(|event| Mark {
                at: event.at.timestamp(),
                kind: event.kind.clone(),
                text: event.text.clone(),
                when: wording::date_time(event.at),
            })
            .collect()
    }
}

type ByVersion<'a> = BTreeMap<VersionId, BTreeMap<Span, &'a SeriesValue>>;

fn by_version(values: &[SeriesValue]) -> ByVersion<'_> {
    let mut out = ByVersion::new();
    for value in values {
        out.entry(value.version_id)
            .or_default()
            .insert(span(value), value);
    }
    out
}

fn span(value: &SeriesValue) -> Span {
    Span {
        start: value.window_start,
        end: value.window_end,
    }
}

/// The condition of a rule, where it judges overall values of the chosen measure at the chosen grain.
fn applies<'a>(rule: &'a Rule, choice: &Choice) -> Option<&'a MeasuredCondition> {
    match &rule.condition {
        Condition::Measured(condition)
            if condition.feature.is_none()
                && condition.grain.as_str() == choice.grain
                && condition
                    .measures
                    .iter()
                    .any(|m| m.as_str() == choice.measure) =>
        {
            Some(condition)
        }
        _ => None,
    }
}

/// Whether a measure says how good predictions are, so that versions can be compared by it.
#[must_use]
pub fn is_quality(measure: &str) -> bool {
    measure
        .parse::<Measure>()
        .is_ok_and(Measure::is_of_whole_model)
}

/// The start of the time a page looks at.
#[must_use]
pub fn range_start(whole: bool, now: DateTime<Utc>) -> DateTime<Utc> {
    if whole {
        DateTime::UNIX_EPOCH
    } else {
        now - chrono::TimeDelta::weeks(8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(rows: &[(&str, &str, &str)]) -> Vec<Measured> {
        rows.iter()
            .map(|(monitor, grain, measure)| Measured {
                monitor: (*monitor).to_owned(),
                grain: (*grain).to_owned(),
                measure: (*measure).to_owned(),
            })
            .collect()
    }

    #[test]
    fn the_wanted_measure_and_grain_are_shown_where_they_exist() {
        let all = measured(&[
            ("quality", "week", "mae"),
            ("quality", "week", "rmse"),
            ("daily", "day", "mae"),
        ]);
        let panel = [Measure::Mae, Measure::Rmse, Measure::RocAuc];
        for (measure, grain, expected) in [
            (None, None, ("quality", "week", "mae")),
            (Some("rmse"), None, ("quality", "week", "rmse")),
            (None, Some("day"), ("daily", "day", "mae")),
            (Some("rmse"), Some("day"), ("quality", "week", "rmse")),
            (Some("psi"), Some("century"), ("quality", "week", "mae")),
        ] {
            let choice = choose(&all, &panel, measure, grain).expect("something is measured");
            assert_eq!(
                (
                    choice.monitor.as_str(),
                    choice.grain.as_str(),
                    choice.measure.as_str()
                ),
                expected
            );
            assert_eq!(choice.alternatives, ["mae", "rmse"]);
        }
        assert_eq!(choose(&all, &[Measure::Psi], None, None), None);
    }
}

//! The drift heat map: features down, windows across, the newest at the right. A cell's shade says how near
//! the value is to its own threshold, so that measures with different ranges read alike; beyond the
//! threshold the cell also carries a mark, because colour alone must not say it.

use std::collections::{BTreeMap, BTreeSet};

use super::chart::Span;
use super::wording;
use crate::domain::measurement::{Better, Measure};
use crate::storage::pages::HeatValue;

/// More columns than this no eye follows; the newest are kept.
const MOST_WINDOWS: usize = 120;

/// A heat map, ready for its template.
#[derive(Debug, Clone)]
pub struct HeatmapView {
    pub windows: Vec<HeatWindow>,
    pub rows: Vec<HeatRow>,
    pub beyond_now: usize,
    pub features: usize,
    pub cut: bool,
}

/// One column.
#[derive(Debug, Clone)]
pub struct HeatWindow {
    pub short: String,
    pub full: String,
    /// Only some columns show their date, or they would overlap.
    pub shown: bool,
}

/// One feature.
#[derive(Debug, Clone)]
pub struct HeatRow {
    pub feature: String,
    pub is_prediction: bool,
    pub cells: Vec<HeatCell>,
}

/// One feature in one window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeatCell {
    pub class: &'static str,
    pub text: String,
}

/// Builds the map. Features that were beyond their threshold most lately come first, then most often, then
/// by name; the prediction itself stands above all.
#[must_use]
pub fn heatmap(measure: &str, values: &[HeatValue]) -> Option<HeatmapView> {
    let all: BTreeSet<Span> = values.iter().map(span).collect();
    let cut = all.len() > MOST_WINDOWS;
    let spans: Vec<Span> = all.iter().rev().take(MOST_WINDOWS).rev().copied().collect();
    let mut by_feature: BTreeMap<&str, BTreeMap<Span, &HeatValue>> = BTreeMap::new();
    for value in values.iter().filter(|v| v.feature != "latency()") {
        by_feature
            .entry(&value.feature)
            .or_default()
            .insert(span(value), value);
    }
    if spans.is_empty() || by_feature.is_empty() {
        return None;
    }
    let mut features: Vec<(&str, BTreeMap<Span, &HeatValue>)> = by_feature.into_iter().collect();
    features.sort_by_key(|(name, cells)| {
        let beyond: Vec<Span> = cells
            .iter()
            .filter(|(_, v)| v.status == "drift")
            .map(|(span, _)| *span)
            .collect();
        (
            is_feature(name),
            std::cmp::Reverse(beyond.last().copied()),
            std::cmp::Reverse(beyond.len()),
            *name,
        )
    });
    let newest = spans.last().copied();
    let beyond_now = features
        .iter()
        .filter(|(name, cells)| {
            is_feature(name)
                && newest.is_some_and(|n| cells.get(&n).is_some_and(|v| v.status == "drift"))
        })
        .count();
    let label_every = spans.len().div_ceil(12).max(1);
    Some(HeatmapView {
        windows: spans
            .iter()
            .enumerate()
            .map(|(position, span)| HeatWindow {
                short: wording::window_short(span.start, span.end),
                full: wording::window(span.start, span.end),
                shown: (spans.len() - 1 - position).is_multiple_of(label_every),
            })
            .collect(),
        features: features.iter().filter(|(n, _)| is_feature(n)).count(),
        rows: features
            .iter()
            .map(|(name, cells)| HeatRow {
                feature: wording::feature(name).to_owned(),
                is_prediction: !is_feature(name),
                cells: spans
                    .iter()
                    .map(|span| cell(measure, cells.get(span).copied()))
                    .collect(),
            })
            .collect(),
        beyond_now,
        cut,
    })
}

/// Not the prediction itself, and not all features together.
fn is_feature(name: &str) -> bool {
    name != "prediction()" && !name.is_empty()
}

fn span(value: &HeatValue) -> Span {
    Span {
        start: value.window_start,
        end: value.window_end,
    }
}

fn cell(measure: &str, value: Option<&HeatValue>) -> HeatCell {
    let Some(row) = value else {
        return HeatCell {
            class: "none",
            text: "not measured".to_owned(),
        };
    };
    match (row.status.as_str(), row.value) {
        ("drift", Some(v)) => HeatCell {
            class: shade_beyond(share(measure, v, threshold(row))),
            text: beyond(row, &wording::value(measure, v)),
        },
        // The size of a change is only one of the gates of what is judged over days: near it is not near drift.
        ("ok", Some(v)) if measure.parse().is_ok_and(Measure::is_over_days) => HeatCell {
            class: "h0",
            text: wording::value(measure, v),
        },
        ("ok", Some(v)) => HeatCell {
            class: shade_within(share(measure, v, threshold(row))),
            text: wording::value(measure, v),
        },
        ("error", _) => HeatCell {
            class: "error",
            text: format!("error: {}", cause(row, "could not be computed")),
        },
        _ => HeatCell {
            class: "few",
            text: format!(
                "too few rows: {}",
                cause(row, &wording::count(row.current_rows))
            ),
        },
    }
}

/// A value beyond what is tolerated, and what was found in words where there are some.
fn beyond(row: &HeatValue, value: &str) -> String {
    match row.recipe.get("detail").and_then(serde_json::Value::as_str) {
        Some(detail) => format!("{value} beyond: {detail}"),
        None => format!("{value} beyond"),
    }
}

fn threshold(row: &HeatValue) -> Option<f64> {
    row.recipe
        .get("threshold")
        .and_then(serde_json::Value::as_f64)
        .filter(|t| *t > 0.0)
}

fn cause(row: &HeatValue, otherwise: &str) -> String {
    row.recipe
        .get("cause")
        .and_then(serde_json::Value::as_str)
        .unwrap_or(otherwise)
        .to_owned()
}

/// How much of the way to the threshold a value has gone, from where nothing has changed: 1 is at it.
fn share(measure: &str, value: f64, threshold: Option<f64>) -> Option<f64> {
    let threshold = threshold?;
    let measure = measure.parse::<Measure>().ok();
    let unchanged = match measure {
        // A classifier that tells nothing is right half of the time.
        Some(Measure::DomainClassifierAuc) => 0.5,
        Some(measure) if measure.better() == Better::Higher => 1.0,
        _ => 0.0,
    };
    let way = threshold - unchanged;
    let gone = match measure.map(Measure::better) {
        Some(Better::Zero) => value.abs(),
        _ => value - unchanged,
    };
    (way != 0.0).then(|| gone / way)
}

fn shade_within(share: Option<f64>) -> &'static str {
    match share {
        Some(share) if share >= 0.75 => "h2",
        Some(share) if share >= 0.4 => "h1",
        _ => "h0",
    }
}

fn shade_beyond(share: Option<f64>) -> &'static str {
    match share {
        Some(share) if share >= 4.0 => "h5",
        Some(share) if share >= 2.0 => "h4",
        _ => "h3",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, TimeDelta, Utc};
    use serde_json::json;

    fn value(feature: &str, week: i64, value: Option<f64>, status: &str) -> HeatValue {
        let start: DateTime<Utc> = "2013-05-06T00:00:00Z".parse().expect("a valid instant");
        HeatValue {
            feature: feature.to_owned(),
            window_start: start + TimeDelta::weeks(week),
            window_end: start + TimeDelta::weeks(week + 1),
            value,
            status: status.to_owned(),
            current_rows: 100,
            recipe: json!({"threshold": 0.1}),
        }
    }

    #[test]
    fn shades_of_measures_of_rows_begin_where_nothing_has_changed() {
        let shade = |measure: &str, v: f64, threshold: f64, status: &str| {
            let mut row = value("", 0, Some(v), status);
            row.recipe = json!({"threshold": threshold});
            cell(measure, Some(&row)).class
        };
        assert_eq!(shade("domain_classifier_auc", 0.51, 0.55, "ok"), "h0");
        assert_eq!(shade("domain_classifier_auc", 0.54, 0.55, "ok"), "h2");
        assert_eq!(shade("domain_classifier_auc", 0.9, 0.55, "drift"), "h5");
        assert_eq!(shade("attribution_ndcg", 0.99, 0.9, "ok"), "h0");
        assert_eq!(shade("attribution_ndcg", 0.75, 0.9, "drift"), "h4");
        assert_eq!(shade("correlation_change", -0.3, 0.1, "drift"), "h4");
        let together = heatmap("domain_classifier_auc", &[value("", 0, Some(0.6), "drift")]);
        let together = together.expect("a row");
        assert_eq!((together.features, together.beyond_now), (0, 0));
        assert_eq!(together.rows[0].feature, "all features together");
    }

    #[test]
    fn shades_follow_the_threshold_and_missing_windows_stay_visible() {
        let map = heatmap(
            "jensen_shannon",
            &[
                value("a", 0, Some(0.02), "ok"),
                value("a", 1, Some(0.09), "ok"),
                value("b", 1, Some(0.45), "drift"),
                value("c", 0, None, "error"),
                value("c", 1, None, "insufficient"),
            ],
        )
        .expect("a map");
        let read: Vec<(&str, Vec<&str>)> = map
            .rows
            .iter()
            .map(|row| {
                (
                    row.feature.as_str(),
                    row.cells.iter().map(|c| c.class).collect(),
                )
            })
            .collect();
        assert_eq!(
            read,
            [
                ("b", vec!["none", "h5"]),
                ("a", vec!["h0", "h2"]),
                ("c", vec!["error", "few"]),
            ]
        );
        assert_eq!((map.beyond_now, map.features), (1, 3));
        assert_eq!(map.rows[0].cells[1].text, "0.450 beyond");
    }

    #[test]
    fn only_the_newest_windows_of_a_long_history_are_kept() {
        let values: Vec<HeatValue> = (0..200)
            .map(|week| value("a", week, Some(0.01), "ok"))
            .collect();
        let map = heatmap("psi", &values).expect("a map");
        assert_eq!(map.windows.len(), MOST_WINDOWS);
        assert!(map.cut);
        assert!(heatmap("psi", &[]).is_none());
    }
}

//! A comparison as JSON, for programs. The names of measures, statuses and recipes are those of the API.

use std::collections::BTreeMap;
use std::path::Path;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::domain::measurement::{Recipe, Segment, Status};
use crate::domain::window::{Grain, Window};
use crate::services::comparison::{Comparison, Measurement, QualityMeasurement, SchemaFinding};
use crate::stats::drift::{Bin, BinName};

#[derive(Serialize)]
struct Document<'a> {
    reference: Side,
    current: Side,
    measurements: Vec<MeasurementView<'a>>,
    schema: Vec<FindingView<'a>>,
    /// Where the cells meet that numbers are counted in, by feature: what measures of distribution functions are computed over, and the
    /// bins of the others are made of.
    cells: BTreeMap<&'a str, &'a [f64]>,
    /// Columns that are no features, and why; absent where all are.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    left_out: &'a [String],
    /// What the drift detector says; absent where the files have no days, or too few.
    #[serde(skip_serializing_if = "Option::is_none")]
    over_days: Option<OverDaysView<'a>>,
    /// Why the drift detector says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    without_days: Option<&'a str>,
}

#[derive(Serialize)]
struct OverDaysView<'a> {
    reference_days: usize,
    current_days: usize,
    /// One of each feature, on the day that speaks most clearly; the clearest first.
    verdicts: Vec<MeasurementView<'a>>,
}

#[derive(Serialize)]
pub(super) struct Side {
    file: String,
    rows: u64,
}

impl Side {
    pub(super) fn of(file: &Path, rows: u64) -> Self {
        Self {
            file: file.display().to_string(),
            rows,
        }
    }
}

#[derive(Serialize)]
pub(super) struct WindowView {
    grain: Grain,
    start: DateTime<Utc>,
    end: DateTime<Utc>,
}

#[derive(Serialize)]
struct MeasurementView<'a> {
    /// Null when rows are not split by time.
    window: Option<WindowView>,
    /// `name=value`; null for all rows.
    segment: Option<String>,
    feature: &'a str,
    measure: &'static str,
    value: Option<f64>,
    interval: Option<(f64, f64)>,
    p_value: Option<f64>,
    /// The reference's value of the same measure, for quality.
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference_interval: Option<(f64, f64)>,
    status: Status,
    reference_rows: u64,
    current_rows: u64,
    recipe: RecipeView<'a>,
}

/// How a value was computed, with the bins that were compared.
#[derive(Serialize)]
struct RecipeView<'a> {
    #[serde(flatten)]
    recipe: &'a Recipe,
    /// Where the bins of numbers meet, in increasing order: a bin holds what is above the edge before and at most its own, the last
    /// all that is above.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    edges: Vec<f64>,
    /// The categories, in the order of the alphabet; where there are too many to be counted one by one the others are one more bin.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    categories: Vec<&'a str>,
}

impl<'a> RecipeView<'a> {
    fn of(recipe: &'a Recipe) -> Self {
        let bins = recipe.compared.as_deref().unwrap_or_default();
        let edge = |bin: &Bin| match bin.name {
            BinName::Between(_, upper) => Some(upper).filter(|upper| upper.is_finite()),
            BinName::Category(_) | BinName::Rest => None,
        };
        let category = |bin: &'a Bin| match &bin.name {
            BinName::Category(name) => Some(name.as_str()),
            BinName::Between(..) | BinName::Rest => None,
        };
        Self {
            recipe,
            edges: bins.iter().filter_map(edge).collect(),
            categories: bins.iter().filter_map(category).collect(),
        }
    }
}

#[derive(Serialize)]
pub(super) struct FindingView<'a> {
    /// Null for findings about the whole file.
    window: Option<WindowView>,
    feature: &'a str,
    finding: &'static str,
    value: Option<f64>,
    threshold: Option<f64>,
    status: Status,
    detail: &'a str,
}

/// The document, with a line break at its end.
pub(super) fn text(comparison: &Comparison) -> anyhow::Result<String> {
    let document = Document {
        reference: Side::of(&comparison.reference, comparison.reference_rows),
        current: Side::of(&comparison.current, comparison.current_rows),
        measurements: (comparison.measurements.iter().map(measurement))
            .chain(comparison.quality.iter().map(of_quality))
            .collect(),
        schema: comparison.schema.iter().map(finding).collect(),
        cells: (comparison.features.iter())
            .filter(|feature| !feature.cell_edges.is_empty())
            .map(|feature| (feature.feature.as_str(), feature.cell_edges.as_slice()))
            .collect(),
        left_out: &comparison.left_out,
        over_days: comparison.over_days.as_ref().map(|of| OverDaysView {
            reference_days: of.reference_days,
            current_days: of.current_days,
            verdicts: of.verdicts.iter().map(measurement).collect(),
        }),
        without_days: comparison.without_days.as_deref(),
    };
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

pub(super) fn window(window: Window) -> WindowView {
    WindowView {
        grain: window.grain,
        start: window.start,
        end: window.end,
    }
}

fn measurement(of: &Measurement) -> MeasurementView<'_> {
    MeasurementView {
        window: of.window.map(window),
        segment: segment(&of.segment),
        feature: &of.feature,
        measure: of.measure.as_str(),
        value: of.value,
        interval: of.interval,
        p_value: of.p_value,
        reference: None,
        reference_interval: None,
        status: of.status,
        reference_rows: of.reference_rows,
        current_rows: of.current_rows,
        recipe: RecipeView::of(&of.recipe),
    }
}

fn of_quality(of: &QualityMeasurement) -> MeasurementView<'_> {
    MeasurementView {
        window: of.window.map(window),
        segment: segment(&of.segment),
        feature: &of.feature,
        measure: of.measure.as_str(),
        value: of.value,
        interval: of.interval,
        p_value: None,
        reference: of.reference,
        reference_interval: of.reference_interval,
        status: of.status,
        reference_rows: of.reference_labels,
        current_rows: of.current_labels,
        recipe: RecipeView::of(&of.recipe),
    }
}

pub(super) fn finding(of: &SchemaFinding) -> FindingView<'_> {
    FindingView {
        window: of.window.map(window),
        feature: &of.finding.feature,
        finding: of.finding.kind.as_str(),
        value: of.finding.value,
        threshold: of.finding.threshold,
        status: of.finding.status,
        detail: &of.finding.detail,
    }
}

pub(super) fn segment(segment: &Segment) -> Option<String> {
    (!segment.is_overall()).then(|| format!("{}={}", segment.name, segment.value))
}

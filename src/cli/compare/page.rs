//! A comparison as a page for colleagues: one file, without scripts and without anything from elsewhere, that can
//! be sent by mail and read in ten years. Everything the template shows is made here.

use askama::Template;

use super::ranking::{
    Ranked, explanation, found_over_days, named, of_quality, of_rows, place, rank, stretches,
    stretches_heading, together, young,
};
use super::table::{
    PROJECTED, days_heading, figure, probability, projected, said_over_days, short, summary,
    thousands, window_or_all,
};
use super::window_name;
use crate::domain::measurement::{Measure, Segment, Status};
use crate::domain::schema::FeatureType;
use crate::services::comparison::{
    CategoryShare, Comparison, Measurement, OverDays, SchemaFinding, Shape, SideSummary,
};

/// So many features are drawn; the others are in the table.
const MOST_DRAWN: usize = 120;
/// Windows in the overview, the last ones.
pub(super) const MOST_WINDOWS: usize = 60;
/// Findings of the schema that are listed.
pub(super) const MOST_FINDINGS: usize = 200;
/// Findings of columns together over days that are listed.
const MOST_STRETCHES: usize = 30;
/// Values whose labels are not all in that are listed, of the newest windows.
const MOST_YOUNG: usize = 60;
/// The drawing area of a histogram.
const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 104.0;

#[derive(Template)]
#[template(path = "reports/compare.html")]
struct Page {
    reference: FileView,
    current: FileView,
    tone: &'static str,
    verdict: String,
    summary: String,
    span: Option<String>,
    counts: Vec<CountView>,
    findings: Vec<FindingView>,
    more_findings: usize,
    left_out: Vec<String>,
    windows: Vec<String>,
    overview: Vec<OverviewRow>,
    more_rows: usize,
    days_heading: String,
    days: Vec<DayView>,
    without_days: Option<String>,
    stretches_heading: Option<String>,
    stretches: Vec<StretchView>,
    more_stretches: usize,
    samples: Vec<SampleView>,
    quality: Vec<QualityView>,
    projected_note: &'static str,
    young: Vec<YoungView>,
    more_young: usize,
    features: Vec<FeatureView>,
    more_features: usize,
    table: Vec<TableRow>,
    measures: Vec<&'static str>,
    methods: Vec<MethodView>,
}

pub(super) struct FileView {
    pub(super) name: String,
    pub(super) path: String,
    pub(super) rows: String,
}

pub(super) struct CountView {
    pub(super) count: usize,
    pub(super) word: &'static str,
    pub(super) tone: &'static str,
}

pub(super) struct FindingView {
    pub(super) kind: String,
    pub(super) feature: String,
    pub(super) window: String,
    pub(super) detail: String,
    pub(super) tone: &'static str,
    pub(super) unsure: bool,
}

/// What the drift detector says of a feature.
struct DayView {
    feature: String,
    status: &'static str,
    tone: &'static str,
    day: String,
    said: String,
    smallest: String,
}

/// What is said of columns together over some days.
struct StretchView {
    measure: String,
    status: &'static str,
    tone: &'static str,
    when: String,
    p_value: String,
    said: Vec<String>,
    smallest: String,
}

struct SampleView {
    feature: String,
    /// The place of the feature's card; nothing for features together.
    anchor: Option<usize>,
    measure: String,
    tone: &'static str,
    status: &'static str,
    place: String,
    value: String,
    note: String,
    /// What it comes from, or why there is no value.
    told: String,
}

struct QualityView {
    measure: String,
    of: String,
    tone: &'static str,
    status: &'static str,
    place: String,
    reference: String,
    current: String,
    interval: String,
    labels: String,
    /// How it was measured, or why it says too little.
    told: String,
}

/// A value whose labels are not all in.
struct YoungView {
    window: String,
    measure: String,
    of: String,
    coverage: String,
    completeness: String,
    now: String,
    projected: String,
    by: String,
    /// On what grounds.
    note: String,
}

struct OverviewRow {
    feature: String,
    anchor: Option<usize>,
    cells: Vec<CellView>,
}

struct CellView {
    level: &'static str,
    text: String,
    title: String,
}

struct FeatureView {
    anchor: usize,
    name: String,
    kind: String,
    tone: &'static str,
    status: &'static str,
    place: String,
    shown: String,
    cause: String,
    values: Vec<ValueView>,
    facts: Vec<FactView>,
    histogram: Option<HistogramView>,
    bars: Vec<BarView>,
    label: String,
}

struct ValueView {
    name: &'static str,
    value: String,
    note: String,
    beyond: bool,
}

struct FactView {
    name: &'static str,
    before: String,
    now: String,
    changed: bool,
}

struct HistogramView {
    reference: String,
    current: String,
    outline: String,
    from: String,
    middle: String,
    to: String,
}

struct BarView {
    name: String,
    before_width: String,
    now_width: String,
    before: String,
    now: String,
    new: bool,
}

struct TableRow {
    feature: String,
    anchor: Option<usize>,
    tone: &'static str,
    status: &'static str,
    place: String,
    values: Vec<String>,
    missing: String,
}

struct MethodView {
    measure: &'static str,
    method: String,
}

/// The page.
pub(super) fn text(comparison: &Comparison) -> anyhow::Result<String> {
    Ok(Page::of(comparison).render()?)
}

impl Page {
    fn of(comparison: &Comparison) -> Self {
        let ranked = rank(comparison);
        let drawn = ranked.len().min(MOST_DRAWN);
        let with = |status| ranked.iter().filter(|r| r.status == status).count();
        let certain = comparison
            .schema
            .iter()
            .filter(|f| f.finding.status == Status::Drift)
            .count();
        let drifting = with(Status::Drift);
        let unclear = with(Status::Insufficient) + with(Status::Error);
        let drift_together = together(comparison) == Some(Status::Drift);
        let over_days = comparison.over_days.as_ref();
        let drift_over_days = over_days.is_some_and(OverDays::has_drift);
        let (tone, verdict) = match (drifting, certain, unclear) {
            (0, _, _) if drift_over_days => (
                "critical",
                "Some days are not like those of the reference".to_owned(),
            ),
            (0, _, _) if drift_together => (
                "critical",
                "No feature drifted by itself, but all together did".to_owned(),
            ),
            (0, _, _) if comparison.has_quality_loss() => (
                "critical",
                "No feature drifted, but quality did not hold".to_owned(),
            ),
            (0, 0, 0) => ("good", "The two files look alike".to_owned()),
            (0, 0, _) => (
                "quiet",
                "No difference found, but not everything could be compared".to_owned(),
            ),
            (0, _, _) => (
                "warning",
                "Same distributions, but the schema changed".to_owned(),
            ),
            (_, 0, _) => ("critical", format!("{} drifted", features(drifting))),
            _ => (
                "critical",
                format!("{} drifted, and the schema changed", features(drifting)),
            ),
        };
        let split = comparison.windows.len() > 1;
        Self {
            reference: file(&comparison.reference, comparison.reference_rows),
            current: file(&comparison.current, comparison.current_rows),
            tone,
            verdict,
            summary: summary(comparison, &ranked),
            span: span(comparison),
            counts: counts(&ranked, certain, found_over_days(comparison)),
            findings: findings(&comparison.schema),
            more_findings: comparison.schema.len().saturating_sub(MOST_FINDINGS),
            left_out: comparison.left_out.clone(),
            windows: if split {
                shown_windows(comparison)
            } else {
                Vec::new()
            },
            overview: if split {
                overview(comparison, &ranked[..drawn])
            } else {
                Vec::new()
            },
            more_rows: if split { ranked.len() - drawn } else { 0 },
            days_heading: comparison
                .over_days
                .as_ref()
                .map(days_heading)
                .unwrap_or_default(),
            days: days(comparison),
            without_days: comparison.without_days.clone(),
            stretches_heading: stretches_heading(comparison),
            more_stretches: stretches(comparison).len().saturating_sub(MOST_STRETCHES),
            stretches: stretches_of(comparison),
            samples: samples(comparison, &ranked[..drawn]),
            quality: quality(comparison),
            projected_note: PROJECTED,
            more_young: young(comparison).len().saturating_sub(MOST_YOUNG),
            young: young_views(comparison),
            features: ranked[..drawn]
                .iter()
                .enumerate()
                .map(|(at, r)| feature(at, r))
                .collect(),
            more_features: ranked.len() - drawn,
            measures: MEASURES.iter().map(|(_, name)| *name).collect(),
            methods: methods(comparison),
            table: ranked
                .iter()
                .enumerate()
                .map(|(at, r)| table_row(at, r))
                .collect(),
        }
    }
}

pub(super) fn features(count: usize) -> String {
    if count == 1 {
        "1 feature".to_owned()
    } else {
        format!("{count} features")
    }
}

pub(super) fn file(path: &std::path::Path, rows: u64) -> FileView {
    let name = path
        .file_name()
        .map_or_else(|| path.as_os_str().to_owned(), std::ffi::OsStr::to_owned);
    FileView {
        name: name.to_string_lossy().into_owned(),
        path: path.display().to_string(),
        rows: thousands(rows),
    }
}

fn span(comparison: &Comparison) -> Option<String> {
    let (first, last) = (comparison.windows.first()?, comparison.windows.last()?);
    Some(if first == last {
        window_name(*first)
    } else {
        format!("{} to {}", window_name(*first), window_name(*last))
    })
}

fn counts(
    ranked: &[Ranked<'_>],
    findings: usize,
    (over_days, together): (usize, usize),
) -> Vec<CountView> {
    let with = |status| ranked.iter().filter(|r| r.status == status).count();
    let all = [
        (with(Status::Drift), "drifted", "critical"),
        (over_days, "over days", "critical"),
        (together, "together over days", "critical"),
        (findings, "schema", "warning"),
        (with(Status::Error), "not comparable", "warning"),
        (with(Status::Insufficient), "too little to say", "quiet"),
        (with(Status::Ok), "alike", "good"),
    ];
    let present = all.into_iter().filter(|(count, _, _)| *count > 0);
    present
        .map(|(count, word, tone)| CountView { count, word, tone })
        .collect()
}

pub(super) fn tone(status: Status) -> (&'static str, &'static str) {
    match status {
        Status::Drift => ("critical", "drift"),
        Status::Error => ("warning", "not comparable"),
        Status::Insufficient => ("quiet", "too little to say"),
        Status::Ok => ("good", "alike"),
    }
}

pub(super) fn findings(schema: &[SchemaFinding]) -> Vec<FindingView> {
    let listed = schema.iter().take(MOST_FINDINGS);
    listed
        .map(|found| FindingView {
            kind: found.finding.kind.as_str().replace('_', " "),
            feature: found.finding.feature.clone(),
            window: found.window.map_or_else(String::new, window_name),
            detail: found.finding.detail.clone(),
            tone: if found.finding.status == Status::Drift {
                "warning"
            } else {
                "quiet"
            },
            unsure: found.finding.status != Status::Drift,
        })
        .collect()
}

fn shown_windows(comparison: &Comparison) -> Vec<String> {
    let first = comparison.windows.len().saturating_sub(MOST_WINDOWS);
    comparison.windows[first..]
        .iter()
        .map(|w| window_name(*w))
        .collect()
}

/// How every feature has moved in every window.
fn overview(comparison: &Comparison, ranked: &[Ranked<'_>]) -> Vec<OverviewRow> {
    let first = comparison.windows.len().saturating_sub(MOST_WINDOWS);
    let rows = ranked.iter().enumerate().map(|(at, r)| OverviewRow {
        feature: r.summary.feature.clone(),
        anchor: Some(at),
        cells: comparison.windows[first..]
            .iter()
            .map(|window| {
                let known = r.by_window.get(window).copied();
                let (status, value) = known.unwrap_or((Status::Insufficient, None));
                let place = place(Some(*window), &Segment::overall());
                let told = value.map_or("nothing to compare".to_owned(), |moved| {
                    format!("total variation {moved:.3}")
                });
                CellView {
                    level: level(status, value),
                    text: value.map_or("–".to_owned(), |v| format!("{v:.2}")),
                    title: format!("{}, {place}: {told}", r.summary.feature),
                }
            })
            .collect(),
    });
    rows.collect()
}

fn days(comparison: &Comparison) -> Vec<DayView> {
    let verdicts = comparison.over_days.iter().flat_map(|of| &of.verdicts);
    let view = |m: &Measurement| {
        let (said, smallest) = said_over_days(m);
        DayView {
            feature: m.feature.clone(),
            status: m.status.as_str(),
            tone: tone(m.status).0,
            day: m.window.map(window_name).unwrap_or_default(),
            said,
            smallest,
        }
    };
    verdicts.map(view).collect()
}

fn stretches_of(comparison: &Comparison) -> Vec<StretchView> {
    let all = stretches(comparison).into_iter().take(MOST_STRETCHES);
    let view = |of: super::ranking::Stretch<'_>| {
        let (tone, status) = tone(of.first.status);
        let recipe = of.clearest.recipe.joint.iter();
        let smallest: Vec<String> = recipe
            .flat_map(|recipe| &recipe.smallest)
            .map(|(days, change)| format!("{change:.2} in {days} d"))
            .collect();
        StretchView {
            measure: of.first.measure.as_str().replace('_', " "),
            status,
            tone,
            when: of.when(),
            p_value: of.clearest.p_value.map_or("–".to_owned(), probability),
            said: of.said(),
            smallest: smallest.join(", "),
        }
    };
    all.map(view).collect()
}

/// What samples of rows say, each measure where it is worst.
fn samples(comparison: &Comparison, drawn: &[Ranked<'_>]) -> Vec<SampleView> {
    let views = of_rows(comparison).into_iter().map(|m| {
        let (tone, status) = tone(m.status);
        SampleView {
            feature: named(&m.feature).to_owned(),
            anchor: drawn.iter().position(|r| r.summary.feature == m.feature),
            measure: m.measure.as_str().replace('_', " "),
            tone,
            status,
            place: place(m.window, &m.segment),
            value: m.value.map_or("–".to_owned(), digits),
            note: notes(m),
            told: match (&m.recipe.cause, m.value) {
                (Some(cause), None) => cause.clone(),
                _ => explanation(m),
            },
        }
    });
    views.collect()
}

fn quality(comparison: &Comparison) -> Vec<QualityView> {
    let views = of_quality(comparison).into_iter().map(|m| {
        // Against a threshold somebody gave; without one a value is told and not judged.
        let (tone, status) = match (m.status, m.recipe.threshold) {
            (Status::Drift, Some(_)) => (tone(m.status).0, "beyond"),
            (Status::Drift, None) => (tone(m.status).0, "worse"),
            (Status::Ok, Some(_)) => (tone(m.status).0, "within"),
            (Status::Ok, None) => ("quiet", "measured"),
            (other, _) => tone(other),
        };
        let shown = |value: Option<f64>| value.map_or("–".to_owned(), digits);
        QualityView {
            measure: m.measure.as_str().replace('_', " "),
            of: m.feature.clone(),
            tone,
            status,
            place: place(m.window, &m.segment),
            reference: shown(m.reference),
            current: shown(m.value),
            interval: m.interval.map_or("–".to_owned(), |(low, high)| {
                format!("{} to {}", digits(low), digits(high))
            }),
            labels: thousands(m.current_labels),
            told: match &m.recipe.cause {
                Some(cause) => cause.clone(),
                None => m.recipe.method.clone(),
            },
        }
    });
    views.collect()
}

fn young_views(comparison: &Comparison) -> Vec<YoungView> {
    let percent = |share: Option<f64>| {
        share.map_or("–".to_owned(), |share| format!("{:.1} %", share * 100.0))
    };
    let view = |of: super::ranking::Young<'_>| YoungView {
        window: window_or_all(of.value.window),
        measure: of.value.measure.as_str().replace('_', " "),
        of: of.value.feature.clone(),
        coverage: percent(of.coverage),
        completeness: percent(of.completeness),
        now: of.value.value.map_or("–".to_owned(), digits),
        projected: projected(of.projected, digits),
        by: of.projected.matures_at.format("%Y-%m-%d").to_string(),
        note: of.projected.note.clone(),
    };
    let listed = young(comparison).into_iter().take(MOST_YOUNG);
    listed.map(view).collect()
}

/// How strongly a cell is coloured.
fn level(status: Status, moved: Option<f64>) -> &'static str {
    match (status, moved) {
        (Status::Insufficient | Status::Error, _) | (_, None) => "none",
        (Status::Drift, Some(moved)) if moved >= 0.3 => "l5",
        (Status::Drift, _) => "l4",
        (_, Some(moved)) if moved >= 0.07 => "l2",
        (_, Some(moved)) if moved >= 0.03 => "l1",
        _ => "l0",
    }
}

/// The measures of counts that only some comparisons have.
fn asked_for() -> impl Iterator<Item = (Measure, &'static str)> {
    let is_usual = |measure: &Measure| MEASURES.iter().any(|(usual, _)| usual == measure);
    let others = Measure::ALL.iter().copied();
    let others = others.filter(move |m| m.drift().is_some() && !is_usual(m));
    others.map(|measure| (measure, measure.as_str()))
}

/// The measures of the page, and their short names.
const MEASURES: [(Measure, &str); 9] = [
    (Measure::TotalVariation, "Total variation"),
    (Measure::MissingShareChange, "Change of missing"),
    (Measure::Psi, "PSI"),
    (Measure::JensenShannon, "Jensen–Shannon"),
    (Measure::KolmogorovSmirnov, "Kolmogorov–Smirnov"),
    (Measure::Wasserstein, "Wasserstein"),
    (Measure::Hellinger, "Hellinger"),
    (Measure::LInfinity, "L-infinity"),
    (Measure::Chi2, "Chi-square"),
];

fn feature(at: usize, r: &Ranked<'_>) -> FeatureView {
    let (tone, status) = tone(r.status);
    let summary = r.summary;
    let numeric = summary.feature_type.is_some_and(FeatureType::is_numeric);
    let kind = match (summary.feature_type, summary.dimensions) {
        (Some(feature_type), _) => feature_type.as_str().to_owned(),
        (None, Some(dimensions)) => format!("vectors of {dimensions} numbers"),
        (None, None) => "no values".to_owned(),
    };
    let (histogram, bars) = match &summary.shape {
        Some(Shape::Numbers {
            from,
            to,
            reference,
            current,
        }) => (
            Some(histogram(
                (*from, *to),
                summary.feature_type,
                (reference, current),
            )),
            Vec::new(),
        ),
        Some(Shape::Categories(shares)) => (None, bars(shares)),
        None => (None, Vec::new()),
    };
    FeatureView {
        anchor: at,
        name: summary.feature.clone(),
        kind,
        tone,
        status,
        place: r.place.clone(),
        shown: summary.window.map_or_else(String::new, window_name),
        cause: match r.status {
            Status::Insufficient | Status::Error => r.cause().unwrap_or_default().to_owned(),
            Status::Drift | Status::Ok => String::new(),
        },
        values: MEASURES
            .into_iter()
            .chain(asked_for())
            .filter_map(|(measure, name)| value(r, measure, name))
            .collect(),
        facts: facts(
            (&summary.reference, &summary.current),
            summary.feature_type,
            numeric,
        ),
        histogram,
        bars,
        label: format!(
            "Distribution of {} in the reference and now",
            summary.feature
        ),
    }
}

fn value(r: &Ranked<'_>, measure: Measure, name: &'static str) -> Option<ValueView> {
    let measured = r.worst.get(&measure)?;
    Some(ValueView {
        name,
        value: digits(measured.value?),
        note: notes(measured),
        beyond: measured.status == Status::Drift,
    })
}

/// How far a value of the grid's cells may be from that of the rows, as a share of it, before that is said.
const TOLD_FROM: f64 = 0.01;

/// What a value is held against, and how exact it is.
fn notes(measured: &Measurement) -> String {
    let mut notes = Vec::new();
    if let Some(threshold) = measured.recipe.threshold {
        notes.push(format!("threshold {threshold}"));
    }
    if let Some(noise) = measured.recipe.noise_floor {
        notes.push(format!("by chance {}", digits(noise)));
    }
    let bound = measured.recipe.error_bound.zip(measured.value);
    if let Some((bound, _)) = bound.filter(|(bound, value)| *bound > TOLD_FROM * value.abs()) {
        notes.push(format!("within {} of the rows' own", digits(bound)));
    }
    if let Some(p) = measured.p_value {
        notes.push(if p < 0.0001 {
            "p < 0.0001".to_owned()
        } else {
            format!("p = {p:.4}")
        });
    }
    notes.join(", ")
}

fn digits(value: f64) -> String {
    if value >= 100.0 {
        short(value)
    } else {
        format!("{value:.3}")
    }
}

fn facts(
    (before, now): (&SideSummary, &SideSummary),
    feature_type: Option<FeatureType>,
    numeric: bool,
) -> Vec<FactView> {
    let percent = |share: Option<f64>| {
        share.map_or("–".to_owned(), |share| {
            if share == 0.0 {
                "0 %".to_owned()
            } else {
                format!("{:.1} %", share * 100.0)
            }
        })
    };
    let number = |value: Option<f64>| value.map_or("–".to_owned(), |v| figure(v, feature_type));
    let spread = |value: Option<f64>| match value {
        Some(seconds) if feature_type == Some(FeatureType::Timestamp) => {
            format!("{} days", short(seconds / 86_400.0))
        }
        Some(value) => short(value),
        None => "–".to_owned(),
    };
    let mut facts = vec![("rows", thousands(before.rows), thousands(now.rows))];
    facts.push((
        "missing",
        percent(before.missing_share),
        percent(now.missing_share),
    ));
    if numeric {
        facts.push(("mean", number(before.mean), number(now.mean)));
        facts.push((
            "std. dev.",
            spread(before.standard_deviation),
            spread(now.standard_deviation),
        ));
        facts.push(("min", number(before.minimum), number(now.minimum)));
        facts.push(("max", number(before.maximum), number(now.maximum)));
    } else {
        let count =
            |value: Option<f64>| value.map_or("–".to_owned(), |v| thousands(v.round() as u64));
        facts.push(("distinct", count(before.distinct), count(now.distinct)));
    }
    facts
        .into_iter()
        .map(|(name, before, now)| FactView {
            name,
            changed: before != now && name != "rows",
            before,
            now,
        })
        .collect()
}

fn histogram(
    (from, to): (f64, f64),
    feature_type: Option<FeatureType>,
    (reference, current): (&[f64], &[f64]),
) -> HistogramView {
    let tallest = reference.iter().chain(current).copied().fold(0.0, f64::max);
    HistogramView {
        reference: area(reference, tallest),
        current: area(current, tallest),
        outline: steps(current, tallest),
        from: figure(from, feature_type),
        middle: figure(f64::midpoint(from, to), feature_type),
        to: figure(to, feature_type),
    }
}

/// The steps along the tops of the bars. Heights grow with the root of the share, so that what is rare is still
/// to be seen beside a point mass.
fn steps(bars: &[f64], tallest: f64) -> String {
    let width = WIDTH / bars.len().max(1) as f64;
    let mut path = String::new();
    for (at, share) in bars.iter().enumerate() {
        let height = if tallest > 0.0 {
            (share / tallest).sqrt() * HEIGHT
        } else {
            0.0
        };
        let (left, right, top) = (at as f64 * width, (at + 1) as f64 * width, HEIGHT - height);
        let command = if at == 0 { 'M' } else { 'L' };
        path += &format!("{command}{left:.1} {top:.1}L{right:.1} {top:.1}");
    }
    path
}

fn area(bars: &[f64], tallest: f64) -> String {
    format!(
        "{}L{WIDTH:.0} {HEIGHT:.0}L0 {HEIGHT:.0}Z",
        steps(bars, tallest)
    )
}

fn bars(shares: &[CategoryShare]) -> Vec<BarView> {
    let largest = shares
        .iter()
        .flat_map(|s| [s.reference, s.current])
        .fold(0.0, f64::max);
    let width = |share: f64| {
        format!(
            "{:.1}",
            if largest > 0.0 {
                share / largest * 100.0
            } else {
                0.0
            }
        )
    };
    let percent = |share: f64| match share {
        0.0 => "–".to_owned(),
        share if share < 0.001 => "< 0.1 %".to_owned(),
        share => format!("{:.1} %", share * 100.0),
    };
    shares
        .iter()
        .map(|share| BarView {
            name: match share.name.as_deref() {
                Some("") => "(empty)".to_owned(),
                Some(name) => name.chars().take(60).collect(),
                None => "all others".to_owned(),
            },
            before_width: width(share.reference),
            now_width: width(share.current),
            before: percent(share.reference),
            now: percent(share.current),
            new: share.reference == 0.0 && share.name.is_some(),
        })
        .collect()
}

fn table_row(at: usize, r: &Ranked<'_>) -> TableRow {
    let (tone, status) = tone(r.status);
    let (before, now) = (&r.summary.reference, &r.summary.current);
    let percent =
        |share: Option<f64>| share.map_or("–".to_owned(), |s| format!("{:.1} %", s * 100.0));
    TableRow {
        feature: r.summary.feature.clone(),
        anchor: (at < MOST_DRAWN).then_some(at),
        tone,
        status,
        place: r.place.clone(),
        values: (MEASURES.iter())
            .map(|(m, _)| r.value(*m).map_or("–".to_owned(), digits))
            .collect(),
        missing: format!(
            "{} → {}",
            percent(before.missing_share),
            percent(now.missing_share)
        ),
    }
}

/// How each measure was computed; features may differ in their bins.
fn methods(comparison: &Comparison) -> Vec<MethodView> {
    let together = Measure::OVER_DAYS_TOGETHER.iter();
    let of_rows = Measure::ALL.iter().filter(|measure| measure.is_of_rows());
    let others = together.chain(of_rows);
    let others = others.map(|measure| (*measure, measure.as_str()));
    let mut methods = Vec::new();
    for (measure, name) in MEASURES.into_iter().chain(asked_for()).chain(others) {
        let mut of_measure: Vec<&str> = (comparison.measurements.iter())
            .filter(|m| m.measure == measure && m.value.is_some())
            .map(|m| m.recipe.method.as_str())
            .collect();
        of_measure.sort_unstable();
        of_measure.dedup();
        // Samples differ by feature; two of them show what is meant.
        methods.extend(of_measure.into_iter().take(2).map(|method| MethodView {
            measure: name,
            method: method.to_owned(),
        }));
    }
    methods
}

//! How close quality estimated without labels comes to what the labels say: in a made-up world whose truth is known, and
//! on real data beside NannyML's figures.

use std::collections::BTreeMap;

use anyhow::Context;
use bellwether::stats::causes::decompose;
use bellwether::stats::estimation::label_shift::{JointCounts, LabelShift};
use bellwether::stats::estimation::{
    BinaryEstimates, BoostingOptions, Calibration, ClassCalibration, ClassEstimates, ClassWindow,
    Column, Estimated, LossModel, ScoreWindow,
};
use bellwether::stats::quality::{BinaryOutcomes, MulticlassOutcomes, Scores};
use chrono::{DateTime, Datelike};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::figures::{Goal, Report};
use crate::table::Table;

/// No calibration of a bench is too old.
const FRESH: (f64, f64) = (0.0, f64::INFINITY);

/// Windows of each kind. Of 300, the share of intervals that hold was 92 to 99 % where it is 95.
const WINDOWS: usize = 2_000;

/// Prints errors and coverage of estimates.
pub fn run(report: &mut Report, seed: u64) -> anyhow::Result<()> {
    simulated(report, seed)?;
    employment(report)?;
    flights(report)?;
    flight_delays(report)?;
    air_time(report)
}

// ── a world whose truth is known ─────────────────────────────────────────────────────────────────────

const WEIGHTS: [f64; 5] = [1.2, -0.8, 0.5, 0.0, 0.0];

/// How a window differs from the reference.
#[derive(Clone, Copy, PartialEq)]
enum Shift {
    None,
    /// The first feature moves by so many standard deviations.
    Covariate(f64),
    /// So large a share of the labels is positive.
    Labels(f64),
    /// The second feature counts by so much more.
    Concept(f64),
}

struct World(StdRng);

impl World {
    fn normal(&mut self) -> f64 {
        let (u, v): (f64, f64) = (
            self.0.random_range(1e-300..1.0),
            self.0.random_range(0.0..1.0),
        );
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    /// A score that is too sure of itself, and the label.
    fn row(&mut self, shift: Shift) -> (f64, bool) {
        let mut x = [0.0; 5].map(|_: f64| self.normal());
        if let Shift::Covariate(by) = shift {
            x[0] += by;
        }
        let logit =
            |weights: [f64; 5]| weights.iter().zip(&x).map(|(w, x)| w * x).sum::<f64>() - 0.3;
        let mut truth = WEIGHTS;
        if let Shift::Concept(by) = shift {
            truth[1] += by;
        }
        let sure = |logit: f64| 1.0 / (1.0 + (-logit).exp());
        let label = self.0.random_bool(sure(logit(truth)));
        (sure(1.4 * logit(WEIGHTS) + 0.1), label)
    }

    fn rows(&mut self, count: usize, shift: Shift) -> Vec<(f64, bool)> {
        let Shift::Labels(share) = shift else {
            return (0..count).map(|_| self.row(shift)).collect();
        };
        let mut rows = Vec::with_capacity(count);
        while rows.len() < count {
            let wanted = rows.len() < (share * count as f64) as usize;
            let row = self.row(Shift::None);
            if row.1 == wanted {
                rows.push(row);
            }
        }
        rows
    }
}

/// Sums over windows of one kind.
#[derive(Default)]
struct Errors {
    windows: f64,
    size: f64,
    bias: f64,
    held: f64,
}

impl Errors {
    fn add(&mut self, estimated: Estimated, realised: f64) {
        self.windows += 1.0;
        self.size += (estimated.value - realised).abs();
        self.bias += estimated.value - realised;
        let (low, high) = estimated.interval;
        self.held += f64::from((low..=high).contains(&realised));
    }

    fn mean(&self) -> f64 {
        self.size / self.windows
    }

    fn coverage(&self) -> f64 {
        self.held / self.windows
    }

    fn told(&self) -> String {
        format!(
            "{:.4} (bias {:+.4}, interval holds {:.1} %)",
            self.mean(),
            self.bias / self.windows,
            100.0 * self.coverage()
        )
    }
}

/// One of ten groups of scores.
fn group(calibration: &Calibration, score: f64) -> usize {
    calibration.bins().of(score) * 10 / calibration.bins().len()
}

fn simulated(report: &mut Report, seed: u64) -> anyhow::Result<()> {
    let kinds = [
        ("no shift", Shift::None, Some("none")),
        (
            "covariate shift of 0.75 sd",
            Shift::Covariate(0.75),
            Some("covariate"),
        ),
        ("covariate shift of 1.5 sd", Shift::Covariate(1.5), None),
        ("label shift to 70 %", Shift::Labels(0.7), None),
        (
            "concept change, a coefficient to 0",
            Shift::Concept(0.8),
            None,
        ),
        (
            "concept change, a coefficient reversed",
            Shift::Concept(1.6),
            None,
        ),
    ];
    for (name, shift, gated) in kinds {
        let (mut accuracy, mut area) = (Errors::default(), Errors::default());
        let (mut corrected, mut impure) = (Errors::default(), 0);
        let mut world = World(StdRng::seed_from_u64(seed));
        let mut fitted = None;
        for window in 0..WINDOWS {
            // A fresh reference every 20 windows: coverage is over references too.
            if window % 20 == 0 {
                let reference = world.rows(20_000, Shift::None);
                let calibration = Calibration::fit(&reference, Some(0.5))?;
                let mut joint = JointCounts::new(10, 2);
                for (score, label) in &reference {
                    joint.push(group(&calibration, *score), usize::from(*label));
                }
                fitted = Some((calibration, joint));
            }
            let (calibration, joint) = fitted.as_ref().context("learn a calibration")?;
            let rows = world.rows(2_000, shift);
            let mut counted = ScoreWindow::of(calibration);
            let mut groups = vec![0; 10];
            for (score, _) in &rows {
                counted.push(calibration, *score, *score >= 0.5);
                groups[group(calibration, *score)] += 1;
            }
            let right = rows
                .iter()
                .filter(|(score, label)| (*score >= 0.5) == *label)
                .count();
            let right = right as f64 / rows.len() as f64;
            let of = BinaryEstimates::new(calibration, &counted, None, FRESH)?;
            accuracy.add(of.accuracy()?, right);
            area.add(of.roc_auc()?, Scores::new(rows).roc_auc()?.value);
            let labels = LabelShift::estimate(joint, &[groups])?;
            let of = BinaryEstimates::new(calibration, &counted, Some(&labels), FRESH)?;
            corrected.add(of.accuracy()?, right);
            impure += u32::from(labels.is_pure.is_some_and(|p| p.value() < 0.01));
        }
        report.tell(
            format!("estimated without labels, {name}, n = 2,000: mean absolute error"),
            format!("accuracy {}, AUROC {}", accuracy.told(), area.told()),
        );
        report.tell(
            format!("{name}: corrected for label shift"),
            format!(
                "accuracy {}; pure label shift rejected in {:.0} % of windows",
                corrected.told(),
                100.0 * f64::from(impure) / WINDOWS as f64
            ),
        );
        if let Some(gate) = gated {
            let figure = |what: &str| format!("estimated_{what}_{gate}_shift");
            // Times a thousand: figures are printed with two digits.
            report.figure(
                figure("accuracy_error_thousandths"),
                1e3 * accuracy.mean(),
                Goal::AtMost(10.0),
            );
            report.figure(
                figure("auroc_error_thousandths"),
                1e3 * area.mean(),
                Goal::AtMost(13.0),
            );
            report.figure(
                figure("accuracy_coverage_percent"),
                100.0 * accuracy.coverage(),
                Goal::AtLeast(93.0),
            );
            report.figure(
                figure("auroc_coverage_percent"),
                100.0 * area.coverage(),
                Goal::AtLeast(93.0),
            );
        }
    }
    Ok(())
}

// ── real data ────────────────────────────────────────────────────────────────────────────────────────

/// NannyML's figures by what, measure and window.
struct Peer(BTreeMap<(String, String, String), f64>);

impl Peer {
    fn read(dataset: &str) -> anyhow::Result<Self> {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/data/reference/nannyml_estimates.csv"
        );
        let text = std::fs::read_to_string(path).with_context(|| format!("read {path}"))?;
        let values = text.lines().filter_map(|line| {
            let cells: Vec<&str> = line.split(',').collect();
            let [of, window, what, measure, value] = cells[..] else {
                return None;
            };
            let key = [what, measure, window].map(str::to_owned);
            (of == dataset).then_some((key.into(), value.parse().ok()?))
        });
        Ok(Self(values.collect()))
    }

    /// How far off its estimate was.
    fn error(
        &self,
        (estimated, realised): (&str, &str),
        measure: &str,
        window: &str,
    ) -> Option<f64> {
        let of = |what: &str| {
            self.0
                .get(&(what.to_owned(), measure.to_owned(), window.to_owned()))
                .copied()
        };
        Some((of(estimated)? - of(realised)?).abs())
    }
}

/// Mean errors of ours and of the peer over the windows both have.
fn beside(
    report: &mut Report,
    dataset: &str,
    measure: &str,
    ours: &BTreeMap<String, (Estimated, f64)>,
    peer: impl Fn(&str) -> Option<f64>,
) {
    let both = ours
        .iter()
        .filter_map(|(window, pair)| Some((pair, peer(window)?)));
    let (mut errors, mut theirs) = (Errors::default(), 0.0);
    for ((estimated, realised), error) in both {
        errors.add(*estimated, *realised);
        theirs += error;
    }
    let theirs = theirs / errors.windows;
    report.tell(
        format!(
            "{dataset}: {measure} without labels, mean absolute error over {} windows",
            errors.windows
        ),
        format!("{}, NannyML {theirs:.4}", errors.told()),
    );
    report.figure(
        format!("{dataset}_{measure}_error_relative_to_nannyml"),
        errors.mean() / theirs,
        Goal::AtMost(1.0),
    );
}

/// Rows of the predictions with the row of their label.
fn labels_of(predictions: &Table, labels: &Table) -> anyhow::Result<Vec<Option<usize>>> {
    let ids = labels.text("prediction_id")?.iter().enumerate();
    let places: BTreeMap<&Option<String>, usize> = ids.map(|(row, id)| (id, row)).collect();
    let of = predictions.text("prediction_id")?.iter();
    Ok(of.map(|id| places.get(id).copied()).collect())
}

fn month(milliseconds: f64) -> String {
    let time = DateTime::from_timestamp_millis(milliseconds as i64).unwrap_or_default();
    time.format("%Y-%m").to_string()
}

fn quarter(milliseconds: f64) -> String {
    let time = DateTime::from_timestamp_millis(milliseconds as i64).unwrap_or_default();
    format!("{}-Q{}", time.year(), time.month0() / 3 + 1)
}

fn is_reference(table: &Table, row: usize) -> anyhow::Result<bool> {
    Ok(table.text("period")?[row].as_deref() == Some("reference"))
}

fn employment(report: &mut Report) -> anyhow::Result<()> {
    let table = Table::read("tests/data/employment/employment_predictions.parquet")?;
    let labels = Table::read("tests/data/employment/employment_labels.parquet")?;
    let (scores, times) = (table.number("score")?, table.number("timestamp")?);
    let (predicted, label) = (table.number("prediction")?, labels.number("label")?);
    let mut reference = Vec::new();
    let mut windows: BTreeMap<String, Vec<(f64, bool, bool)>> = BTreeMap::new();
    for (row, place) in labels_of(&table, &labels)?.into_iter().enumerate() {
        let Some(place) = place else { continue };
        let positive = label[place] == 1.0;
        if is_reference(&table, row)? {
            reference.push((scores[row], positive));
        } else {
            let own = windows.entry(quarter(times[row])).or_default();
            own.push((scores[row], predicted[row] == 1.0, positive));
        }
    }
    let calibration = Calibration::fit(&reference, Some(0.5))?;
    let mut found: BTreeMap<&str, BTreeMap<String, (Estimated, f64)>> = BTreeMap::new();
    for (window, rows) in windows {
        let mut counted = ScoreWindow::of(&calibration);
        let mut outcomes = BinaryOutcomes::default();
        for (score, predicted, label) in rows {
            counted.push(&calibration, score, predicted);
            outcomes.push(Some(score), predicted, label);
        }
        let of = BinaryEstimates::new(&calibration, &counted, None, FRESH)?;
        let (truth, area) = (outcomes.confusion(), outcomes.scores().roc_auc()?);
        for (measure, estimated, realised) in [
            ("accuracy", of.accuracy()?, truth.accuracy()?),
            ("precision", of.precision()?, truth.precision()?),
            ("recall", of.recall()?, truth.recall()?),
            ("f1", of.f1()?, truth.f1()?),
            ("roc_auc", of.roc_auc()?, area),
        ] {
            let own = found.entry(measure).or_default();
            own.insert(window.clone(), (estimated, realised.value));
        }
    }
    let peer = Peer::read("employment")?;
    for (measure, ours) in found {
        beside(report, "employment", measure, &ours, |window| {
            peer.error(("cbpe", "realized"), measure, window)
        });
    }
    Ok(())
}

const CLASSES: [&str; 4] = ["cancelled", "late", "on_time", "very_late"];

fn flights(report: &mut Report) -> anyhow::Result<()> {
    use bellwether::stats::quality::{Averaging, ClassMeasure};
    let table = Table::read("tests/data/flights/flights_predictions.parquet")?;
    let labels = Table::read("tests/data/flights/flights_labels.parquet")?;
    let probabilities: Vec<&[f64]> = (CLASSES.iter())
        .map(|class| table.number(&format!("proba_{class}")))
        .collect::<anyhow::Result<_>>()?;
    let (times, predicted) = (table.number("timestamp")?, table.text("prediction")?);
    let class_of = |text: &Option<String>| CLASSES.iter().position(|c| Some(*c) == text.as_deref());
    let label = labels.text("label")?;
    let mut reference = Vec::new();
    let mut windows: BTreeMap<String, Vec<(Vec<f64>, usize, usize)>> = BTreeMap::new();
    for (row, place) in labels_of(&table, &labels)?.into_iter().enumerate() {
        let known = place.and_then(|place| class_of(&label[place]));
        let (Some(truth), Some(predicted)) = (known, class_of(&predicted[row])) else {
            continue;
        };
        let sum: f64 = probabilities.iter().map(|column| column[row]).sum();
        let own: Vec<f64> = probabilities
            .iter()
            .map(|column| column[row] / sum)
            .collect();
        if is_reference(&table, row)? {
            reference.push((own, truth));
        } else {
            windows
                .entry(month(times[row]))
                .or_default()
                .push((own, predicted, truth));
        }
    }
    let calibration = ClassCalibration::fit(&reference, CLASSES.len())?;
    let mut found: BTreeMap<&str, BTreeMap<String, (Estimated, f64)>> = BTreeMap::new();
    for (window, rows) in windows {
        let mut counted = ClassWindow::of(&calibration);
        let mut outcomes = MulticlassOutcomes::new(CLASSES.map(str::to_owned));
        for (row, predicted, truth) in rows {
            counted.push(&calibration, &row, predicted, None);
            let named: Vec<(String, f64)> = CLASSES
                .iter()
                .zip(&row)
                .map(|(class, p)| ((*class).to_owned(), *p))
                .collect();
            outcomes.push(CLASSES[predicted], &named, CLASSES[truth]);
        }
        let of = ClassEstimates::new(&calibration, &counted, FRESH)?;
        let truth = outcomes.confusion();
        let mean = |measure| truth.average(measure, Averaging::Macro);
        let Ok(area) = outcomes.probabilities().roc_auc(false) else {
            continue;
        };
        for (measure, estimated, realised) in [
            ("accuracy", of.accuracy()?, truth.accuracy()?),
            ("precision", of.precision()?, mean(ClassMeasure::Precision)?),
            ("recall", of.recall()?, mean(ClassMeasure::Recall)?),
            ("f1", of.f1()?, mean(ClassMeasure::F1)?),
            ("roc_auc", of.roc_auc()?, area),
        ] {
            let own = found.entry(measure).or_default();
            own.insert(window.clone(), (estimated, realised.value));
        }
    }
    let peer = Peer::read("flights")?;
    for (measure, ours) in found {
        beside(report, "flights", measure, &ours, |window| {
            peer.error(("cbpe", "realized"), measure, window)
        });
    }
    Ok(())
}

/// Features and errors of rows, and in which window they are; the reference's has no name.
struct Regression {
    columns: Vec<Column>,
    errors: Vec<f64>,
    windows: Vec<Option<String>>,
}

impl Regression {
    /// The rows of a window, in their order.
    fn rows(&self, window: Option<&str>) -> (Vec<Column>, Vec<f64>) {
        let own: Vec<usize> = (0..self.errors.len())
            .filter(|row| self.windows[*row].as_deref() == window)
            .collect();
        let columns = self.columns.iter().map(|column| match column {
            Column::Numbers(values) => {
                Column::Numbers(own.iter().map(|row| values[*row]).collect())
            }
            Column::Categories(codes) => {
                Column::Categories(own.iter().map(|row| codes[*row]).collect())
            }
        });
        (
            columns.collect(),
            own.iter().map(|row| self.errors[*row]).collect(),
        )
    }

    /// A model of the reference's losses.
    fn model(&self) -> anyhow::Result<LossModel> {
        let (columns, errors) = self.rows(None);
        let model = LossModel::fit(&columns, &errors, &BoostingOptions::default())?;
        Ok(model)
    }

    /// Estimates of the mean absolute and the root mean squared error by window, with their truths.
    fn estimates(
        &self,
        model: &LossModel,
    ) -> anyhow::Result<Vec<BTreeMap<String, (Estimated, f64)>>> {
        let names: std::collections::BTreeSet<&String> = self.windows.iter().flatten().collect();
        let mut found = vec![BTreeMap::new(), BTreeMap::new()];
        for name in names {
            let (columns, errors) = self.rows(Some(name));
            let mut window = model.table().window();
            model.count(&mut window, &columns)?;
            let of = model.table().estimate(&window, FRESH)?;
            let n = errors.len() as f64;
            let mae = errors.iter().map(|error| error.abs()).sum::<f64>() / n;
            let rmse = (errors.iter().map(|error| error * error).sum::<f64>() / n).sqrt();
            found[0].insert(name.clone(), (of.mean, mae));
            found[1].insert(name.clone(), (of.root_mean_square(), rmse));
        }
        Ok(found)
    }
}

fn columns(
    table: &Table,
    numbers: &[&str],
    categories: &[&str],
    rows: &[usize],
) -> anyhow::Result<Vec<Column>> {
    let mut columns = Vec::new();
    for name in numbers {
        let values = table.number(name)?;
        columns.push(Column::Numbers(
            rows.iter().map(|row| values[*row]).collect(),
        ));
    }
    for name in categories {
        let texts = table.text(name)?;
        let known: std::collections::BTreeSet<&String> = texts.iter().flatten().collect();
        let codes: BTreeMap<&String, u32> = known.into_iter().zip(0..).collect();
        let of = |row: &usize| texts[*row].as_ref().map_or(u32::MAX, |text| codes[text]);
        columns.push(Column::Categories(rows.iter().map(of).collect()));
    }
    Ok(columns)
}

fn flight_delays(report: &mut Report) -> anyhow::Result<()> {
    let table = Table::read("tests/data/flights/flights_predictions.parquet")?;
    let labels = Table::read("tests/data/flights/flights_labels.parquet")?;
    let (times, predicted) = (
        table.number("timestamp")?,
        table.number("predicted_delay_min")?,
    );
    let delay = labels.number("arr_delay_min")?;
    let (mut rows, mut errors, mut windows) = (Vec::new(), Vec::new(), Vec::new());
    for (row, place) in labels_of(&table, &labels)?.into_iter().enumerate() {
        let Some(place) = place.filter(|place| delay[*place].is_finite()) else {
            continue;
        };
        rows.push(row);
        errors.push(predicted[row] - delay[place]);
        windows.push((!is_reference(&table, row)?).then(|| month(times[row])));
    }
    let numbers = [
        "predicted_delay_min",
        "distance",
        "weekday",
        "sched_minute",
        "temp",
        "dewp",
        "humid",
        "wind_speed",
        "wind_gust",
        "precip",
        "pressure",
        "visib",
        "plane_year",
        "seats",
    ];
    let categories = ["carrier", "origin", "dest", "engine"];
    let data = Regression {
        columns: columns(&table, &numbers, &categories, &rows)?,
        errors,
        windows,
    };
    let peer = Peer::read("flights")?;
    for (measure, ours) in ["mae", "rmse"]
        .into_iter()
        .zip(data.estimates(&data.model()?)?)
    {
        beside(report, "flights", measure, &ours, |window| {
            // The first night of January is no window.
            let whole = window != "2014-01";
            whole
                .then(|| peer.error(("dle", "realized_regression"), measure, window))
                .flatten()
        });
    }
    Ok(())
}

/// The demo's model: two weeks of reference, then the windows of its story.
fn air_time(report: &mut Report) -> anyhow::Result<()> {
    let table = Table::read("demo/data/air-time/predictions-v1.parquet")?;
    let labels = Table::read("demo/data/air-time/labels.parquet")?;
    let (times, predicted) = (table.number("timestamp")?, table.number("prediction")?);
    let label = labels.number("label")?;
    let (mut rows, mut errors, mut windows) = (Vec::new(), Vec::new(), Vec::new());
    for (row, place) in labels_of(&table, &labels)?.into_iter().enumerate() {
        let Some(place) = place else { continue };
        rows.push(row);
        errors.push(predicted[row] - label[place]);
        let own = month(times[row]);
        windows.push((own != "2013-02").then_some(own));
    }
    let numbers = [
        "prediction",
        "distance",
        "departure_minute",
        "temp",
        "humidity",
        "wind_speed",
        "wind_direction",
        "precipitation",
        "visibility",
        "pressure",
        "plane_year",
        "seats",
    ];
    let categories = ["carrier", "origin", "destination", "weekday", "engine"];
    let data = Regression {
        columns: columns(&table, &numbers, &categories, &rows)?,
        errors,
        windows,
    };
    let model = data.model()?;
    let found = data.estimates(&model)?;
    let mut errors = Errors::default();
    for (window, (estimated, realised)) in &found[0] {
        errors.add(*estimated, *realised);
        let (columns, misses) = data.rows(Some(window));
        let losses: Vec<f64> = misses.iter().map(|miss| miss.abs()).collect();
        let after = model.moments(&columns, &losses)?;
        let cells: Vec<_> = model.table().reference().into_iter().zip(after).collect();
        let why = decompose(&cells)?;
        report.tell(
            format!("air-time {window}: mean absolute error in minutes"),
            format!(
                "estimated {:.2} ({:.2} to {:.2}), realised {realised:.2}; of a change of {:+.2} are {:+.2} \
                 input drift and {:+.2} concept change",
                estimated.value,
                estimated.interval.0,
                estimated.interval.1,
                why.total.value,
                why.input.value,
                why.concept.value + why.outside.value,
            ),
        );
    }
    report.tell(
        "air-time: error of the estimate in minutes, concept change included",
        errors.told(),
    );
    Ok(())
}

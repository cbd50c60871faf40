//! The statistics against trusted values on real data.
//!
//! The whole path is taken that production takes: a grid is fitted on the reference period, every day is
//! profiled by itself, the profile is written to bytes and read back, days are merged into windows, and the
//! windows are compared. Every test states how many values it compared, so that it cannot pass by comparing
//! nothing. What the values are and where they come from is in `tests/data/README.md`.

mod peers;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int32Type, Int64Type, TimestampMillisecondType,
};
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use bellwether::stats::drift::Bin;
use bellwether::stats::grid::TARGET_CELLS;
use bellwether::stats::kolmogorov;
use bellwether::stats::quality::{
    Averaging, Bins, ClassMeasure, ClassProbabilities, ConfusionMatrix, Quality,
};
use bellwether::stats::{
    BinaryOutcomes, Comparison, FeatureProfile, Grid, MulticlassOutcomes, NotDefined, PValue,
    RegressionOutcomes,
};
use chrono::{DateTime, Datelike};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// The trusted values are printed with ten significant digits, so they are themselves off by half a unit of
/// the tenth: at most 5e-10 of the value. Ours may add as much.
const RELATIVE: f64 = 1e-9;

// ── the data ─────────────────────────────────────────────────────────────────────────────────────────

fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(path)
}

/// A table in memory, by column.
struct Table {
    numbers: BTreeMap<String, Vec<Option<f64>>>,
    texts: BTreeMap<String, Vec<Option<String>>>,
}

impl Table {
    fn read(path: &str) -> Self {
        let file = File::open(data(path)).unwrap_or_else(|error| panic!("open {path}: {error}"));
        let reader = ParquetRecordBatchReaderBuilder::try_new(file)
            .expect("a parquet file")
            .build();
        let mut table = Self {
            numbers: BTreeMap::new(),
            texts: BTreeMap::new(),
        };
        for batch in reader.expect("readable") {
            table.append(&batch.expect("a batch"));
        }
        table
    }

    fn append(&mut self, batch: &RecordBatch) {
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            let name = field.name().clone();
            if let Some(texts) = texts_of(column) {
                self.texts.entry(name).or_default().extend(texts);
            } else {
                self.numbers
                    .entry(name)
                    .or_default()
                    .extend(numbers_of(column));
            }
        }
    }

    fn text(&self, column: &str, row: usize) -> &str {
        self.texts[column][row]
            .as_deref()
            .unwrap_or_else(|| panic!("{column} of row {row} is null"))
    }

    fn number(&self, column: &str, row: usize) -> Option<f64> {
        self.numbers[column][row]
    }

    fn rows(&self) -> usize {
        self.texts["prediction_id"].len()
    }
}

fn texts_of(column: &dyn Array) -> Option<Vec<Option<String>>> {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    match column.data_type() {
        DataType::Utf8 => Some(column.as_string::<i32>().iter().map(owned).collect()),
        DataType::LargeUtf8 => Some(column.as_string::<i64>().iter().map(owned).collect()),
        _ => None,
    }
}

fn numbers_of(column: &dyn Array) -> Vec<Option<f64>> {
    match column.data_type() {
        DataType::Float64 => column.as_primitive::<Float64Type>().iter().collect(),
        DataType::Float32 => column
            .as_primitive::<Float32Type>()
            .iter()
            .map(|v| v.map(f64::from))
            .collect(),
        DataType::Int8 => column
            .as_primitive::<Int8Type>()
            .iter()
            .map(|v| v.map(f64::from))
            .collect(),
        DataType::Int32 => column
            .as_primitive::<Int32Type>()
            .iter()
            .map(|v| v.map(f64::from))
            .collect(),
        DataType::Int64 => column
            .as_primitive::<Int64Type>()
            .iter()
            .map(|v| v.map(|v| v as f64))
            .collect(),
        DataType::Timestamp(TimeUnit::Millisecond, _) => column
            .as_primitive::<TimestampMillisecondType>()
            .iter()
            .map(|v| v.map(|v| v as f64))
            .collect(),
        other => panic!("no column of the data is of type {other}"),
    }
}

/// One of the two data sets: the table, and the window and day of each row.
struct Dataset {
    name: &'static str,
    table: Table,
    windows: Vec<String>,
    days: Vec<i64>,
}

impl Dataset {
    fn read(name: &'static str, window_of: fn(i32, u32) -> String) -> Self {
        let table = Table::read(&format!("{name}/{name}_predictions.parquet"));
        let rows = 0..table.rows();
        let at = |row| {
            let millis = table
                .number("timestamp", row)
                .expect("every row has a time") as i64;
            DateTime::from_timestamp_millis(millis).expect("a time of this century")
        };
        Self {
            name,
            windows: rows
                .clone()
                .map(|row| match table.text("period", row) {
                    "reference" => "reference".to_owned(),
                    _ => window_of(at(row).year(), at(row).month()),
                })
                .collect(),
            days: rows
                .map(|row| at(row).timestamp().div_euclid(86_400))
                .collect(),
            table,
        }
    }

    fn flights() -> Self {
        Self::read("flights", |year, month| format!("{year}-{month:02}"))
    }

    fn employment() -> Self {
        Self::read("employment", |year, month| {
            format!("{year}-Q{}", month.div_ceil(3))
        })
    }

    fn labels(&self) -> (Table, BTreeMap<String, usize>) {
        let labels = Table::read(&format!("{0}/{0}_labels.parquet", self.name));
        let rows = (0..labels.rows())
            .map(|row| (labels.text("prediction_id", row).to_owned(), row))
            .collect();
        (labels, rows)
    }

    /// Calls with window, row of the prediction, row of its label.
    fn each_outcome(
        &self,
        rows: &BTreeMap<String, usize>,
        mut outcome: impl FnMut(&str, usize, usize),
    ) {
        for row in 0..self.table.rows() {
            if let Some(label) = rows.get(self.table.text("prediction_id", row)) {
                outcome(&self.windows[row], row, *label);
            }
        }
    }

    fn grid(&self, column: &str) -> Grid {
        let rows = self.windows.iter().zip(&self.table.numbers[column]);
        let reference: Vec<f64> = rows
            .filter(|(window, _)| *window == "reference")
            .filter_map(|(_, value)| *value)
            .collect();
        Grid::fit(&reference, TARGET_CELLS)
    }

    /// One profile per window, merged from those of its days after a trip through bytes.
    fn profiles(&self, column: &str, grid: Option<&Grid>) -> BTreeMap<String, FeatureProfile> {
        let empty = || match grid {
            Some(grid) => FeatureProfile::numeric(Some(grid)),
            None => FeatureProfile::categorical(),
        };
        let mut days: BTreeMap<(&str, i64), FeatureProfile> = BTreeMap::new();
        for (row, (window, day)) in self.windows.iter().zip(&self.days).enumerate() {
            let profile = days.entry((window, *day)).or_insert_with(empty);
            match (grid, self.category(column, row)) {
                (Some(grid), _) => match self.table.number(column, row) {
                    Some(value) => profile
                        .observe_numbers(&[value], Some(grid))
                        .expect("the same grid"),
                    None => profile.observe_null(1),
                },
                (None, Some(category)) => {
                    profile.observe_category(&category, 1).expect("categorical");
                }
                (None, None) => profile.observe_null(1),
            }
        }
        let mut windows: BTreeMap<String, FeatureProfile> = BTreeMap::new();
        for ((window, _), day) in days {
            let stored = FeatureProfile::decode(&day.encode()).expect("just written");
            let whole = windows.entry(window.to_owned()).or_insert_with(empty);
            whole.merge(&stored).expect("the same feature and grid");
        }
        windows
    }

    fn category(&self, column: &str, row: usize) -> Option<String> {
        match self.table.texts.get(column) {
            Some(texts) => texts[row].clone(),
            None => self
                .table
                .number(column, row)
                .map(|value| value.to_string()),
        }
    }
}

// ── the trusted values ───────────────────────────────────────────────────────────────────────────────

/// Trusted values by column (empty for quality), window and metric.
type Trusted = BTreeMap<(String, String), BTreeMap<String, f64>>;

/// The columns with their kind, `num` or `cat`, and the trusted values.
fn trusted_drift(name: &str) -> (BTreeMap<String, String>, Trusted) {
    let (mut kinds, mut trusted) = (BTreeMap::new(), Trusted::new());
    for record in records(&format!("reference/drift_{name}.csv")) {
        let (window, column, kind, metric, value) =
            (&record[1], &record[2], &record[3], &record[4], &record[5]);
        kinds.insert(column.to_owned(), kind.to_owned());
        let values = trusted
            .entry((column.to_owned(), window.to_owned()))
            .or_default();
        values.insert(metric.to_owned(), value.parse().expect("a number"));
    }
    (kinds, trusted)
}

/// The trusted values of a window, with all labels.
fn trusted_quality(name: &str) -> BTreeMap<String, BTreeMap<String, f64>> {
    let mut trusted: BTreeMap<String, BTreeMap<String, f64>> = BTreeMap::new();
    for record in records(&format!("reference/quality_{name}.csv")) {
        if &record[2] == "all" {
            let values = trusted.entry(record[1].to_owned()).or_default();
            values.insert(record[3].to_owned(), record[4].parse().expect("a number"));
        }
    }
    trusted
}

fn records(path: &str) -> Vec<csv::StringRecord> {
    let reader = csv::Reader::from_path(data(path)).expect("a readable file");
    reader
        .into_records()
        .map(|record| record.expect("a record"))
        .collect()
}

/// How far a trusted value is off by its own arithmetic, beside the digits it is printed with. SciPy adds
/// logarithms that cancel, which leaves an error of about one rounding unit in the square of a
/// Jensen–Shannon distance; it matters for distances below a ten-thousandth only.
fn rounding(metric: &str, trusted: f64) -> f64 {
    if metric.starts_with("js2") {
        f64::EPSILON / trusted.max(f64::EPSILON.sqrt())
    } else {
        0.0
    }
}

/// Counts what was compared, by metric, and collects what differed.
#[derive(Default)]
struct Tally {
    compared: BTreeMap<String, usize>,
    wrong: Vec<String>,
}

impl Tally {
    /// Compares our values with those of the trusted ones that exist.
    fn compare(&mut self, of: &str, trusted: &BTreeMap<String, f64>, ours: &[(&str, f64)]) {
        for (metric, ours) in ours {
            let Some(trusted) = trusted.get(*metric) else {
                continue;
            };
            *self.compared.entry((*metric).to_owned()).or_default() += 1;
            let allowed = RELATIVE * trusted.abs() + rounding(metric, *trusted);
            if (ours - trusted).is_nan() || (ours - trusted).abs() > allowed {
                self.wrong
                    .push(format!("{of} {metric}: {ours} is not {trusted}"));
            }
        }
    }

    /// The metrics of which something was compared.
    fn metrics(&self) -> Vec<String> {
        self.compared.keys().cloned().collect()
    }

    #[track_caller]
    fn conclude(self, expected: &[(&str, usize)]) {
        let shown = self
            .wrong
            .iter()
            .take(20)
            .cloned()
            .collect::<Vec<_>>()
            .join("\n");
        assert!(
            self.wrong.is_empty(),
            "{} values differ:\n{shown}",
            self.wrong.len()
        );
        assert_eq!(
            self.compared,
            expected
                .iter()
                .map(|(metric, count)| ((*metric).to_owned(), *count))
                .collect(),
            "another number of values was compared"
        );
    }
}

// ── drift ────────────────────────────────────────────────────────────────────────────────────────────

/// What a pass over all columns of a data set found.
#[derive(Default)]
struct DriftPass {
    tally: Tally,
    ks_errors: Vec<f64>,
    wasserstein_errors: Vec<f64>,
    p_values: usize,
    windows_without_values: usize,
}

impl DriftPass {
    fn over(dataset: &Dataset) -> Self {
        let (kinds, trusted) = trusted_drift(dataset.name);
        let mut pass = Self::default();
        for (column, kind) in &kinds {
            let grid = (kind == "num").then(|| dataset.grid(column));
            let profiles = dataset.profiles(column, grid.as_ref());
            let reference = &profiles["reference"];
            for (window, profile) in profiles.iter().filter(|(window, _)| *window != "reference") {
                let trusted = &trusted[&(column.clone(), window.clone())];
                let of = format!("{} {window} {column}", dataset.name);
                pass.compare_counts(&of, trusted, reference, profile);
                match Comparison::of(reference, profile, grid.as_ref()) {
                    Ok(comparison) if grid.is_some() => {
                        pass.compare_numbers(&of, trusted, &comparison);
                    }
                    Ok(comparison) => pass.compare_categories(&of, trusted, &comparison),
                    Err(NotDefined::NoCurrentValues) => {
                        assert!(
                            !trusted.contains_key("psi_q10") && !trusted.contains_key("psi"),
                            "{of}"
                        );
                        pass.windows_without_values += 1;
                    }
                    Err(error) => panic!("{of}: {error}"),
                }
            }
        }
        pass
    }

    fn compare_counts(
        &mut self,
        of: &str,
        trusted: &BTreeMap<String, f64>,
        reference: &FeatureProfile,
        profile: &FeatureProfile,
    ) {
        let ours = [
            ("missing_rate", profile.missing_share()),
            ("missing_rate_reference", reference.missing_share()),
            ("n_valid", Some(profile.valid() as f64)),
            ("n_valid_reference", Some(reference.valid() as f64)),
            ("distinct", profile.distinct()),
            ("distinct_reference", reference.distinct()),
            ("mean", profile.mean()),
            ("std_ddof1", profile.standard_deviation()),
            ("min", profile.minimum()),
            ("max", profile.maximum()),
        ];
        let known: Vec<_> = ours
            .into_iter()
            .filter_map(|(metric, value)| Some((metric, value?)))
            .collect();
        self.tally.compare(of, trusted, &known);
    }

    fn compare_numbers(
        &mut self,
        of: &str,
        trusted: &BTreeMap<String, f64>,
        comparison: &Comparison,
    ) {
        let ours = [
            ("bins_q10", comparison.psi().bins as f64),
            ("psi_q10", comparison.psi().value),
            ("js2_q10", comparison.jensen_shannon().value),
            ("hellinger_q10", comparison.hellinger().value),
            ("tv_q10", comparison.total_variation().value),
            ("linf_q10", comparison.l_infinity()),
        ];
        self.tally.compare(of, trusted, &ours);

        let ks = comparison
            .kolmogorov_smirnov()
            .expect("numbers have an order");
        let exact = trusted["ks_stat"];
        assert!(
            ks.statistic <= exact + 1e-9,
            "{of}: {ks:?} is above {exact}"
        );
        assert!(
            exact <= ks.statistic + ks.error_bound + 1e-9,
            "{of}: {ks:?} is too far below {exact}"
        );
        self.ks_errors.push(exact - ks.statistic);
        self.compare_p_value(of, exact, trusted["ks_p"], comparison);

        let area = comparison.wasserstein().expect("numbers in range");
        let exact = trusted["wasserstein"];
        assert!(
            (area.value - exact).abs() <= area.error_bound + RELATIVE * exact,
            "{of}: {area:?} is too far from {exact}"
        );
        self.wasserstein_errors
            .push((area.value - exact).abs() / exact);
    }

    /// The asymptotic p-value of the trusted statistic, because that of the cells is another number.
    fn compare_p_value(&mut self, of: &str, statistic: f64, trusted: f64, comparison: &Comparison) {
        let (n, m) = (comparison.reference_values(), comparison.current_values());
        let ours = kolmogorov::asymptotic(statistic, n, m).expect("two samples");
        self.compare_ln_p(&format!("{of} ks_p"), ours, trusted);
        self.p_values += 1;
    }

    /// The logarithm may be off by a millionth of itself. What SciPy gives as zero is beyond 1e-300.
    fn compare_ln_p(&mut self, of: &str, ours: PValue, trusted: f64) {
        let right = if trusted == 0.0 {
            ours.log10() < -300.0
        } else {
            (ours.ln() - trusted.ln()).abs() <= 1e-6 * trusted.ln().abs() + 1e-8
        };
        if !right {
            self.tally.wrong.push(format!(
                "{of}: {ours:?} is not {trusted}, whose logarithm is {}",
                trusted.ln()
            ));
        }
    }

    fn compare_categories(
        &mut self,
        of: &str,
        trusted: &BTreeMap<String, f64>,
        comparison: &Comparison,
    ) {
        let chi2 = comparison.chi2().expect("more than one category");
        let count = |which: fn(&&Bin) -> bool| comparison.bins().iter().filter(which).count();
        let new = comparison.bins().iter().filter(|bin| bin.reference == 0);
        let new_rows: u64 = new.map(|bin| bin.current).sum();
        let ours = [
            ("psi", comparison.psi().value),
            ("js2", comparison.jensen_shannon().value),
            ("hellinger", comparison.hellinger().value),
            ("tv", comparison.total_variation().value),
            ("linf", comparison.l_infinity()),
            ("chi2_stat", chi2.statistic),
            ("chi2_dof", chi2.degrees_of_freedom as f64),
            ("new_categories", count(|bin| bin.reference == 0) as f64),
            ("gone_categories", count(|bin| bin.current == 0) as f64),
            (
                "new_category_share",
                new_rows as f64 / comparison.current_values() as f64,
            ),
        ];
        self.tally.compare(of, trusted, &ours);
        self.compare_ln_p(&format!("{of} chi2_p"), chi2.p_value, trusted["chi2_p"]);
        self.p_values += 1;
        assert_eq!(comparison.kolmogorov_smirnov(), Err(NotDefined::NoOrder));
    }

    fn median_ks_error(&self) -> f64 {
        median(&self.ks_errors)
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// How many values of each metric there are to compare: of every feature, of numbers, of categories.
fn expected(features: usize, numbers: usize, categories: usize) -> Vec<(&'static str, usize)> {
    let of_features = [
        "missing_rate",
        "missing_rate_reference",
        "n_valid",
        "n_valid_reference",
    ];
    let of_numbers = [
        "mean",
        "std_ddof1",
        "min",
        "max",
        "bins_q10",
        "psi_q10",
        "js2_q10",
        "hellinger_q10",
        "tv_q10",
        "linf_q10",
    ];
    let of_categories = [
        "distinct",
        "distinct_reference",
        "psi",
        "js2",
        "hellinger",
        "tv",
        "linf",
        "chi2_stat",
        "chi2_dof",
        "new_categories",
        "gone_categories",
        "new_category_share",
    ];
    let mut expected = Vec::new();
    expected.extend(of_features.map(|metric| (metric, features)));
    expected.extend(of_numbers.map(|metric| (metric, numbers)));
    expected.extend(of_categories.map(|metric| (metric, categories)));
    expected
}

#[test]
fn drift_of_flights_is_that_of_the_trusted_values() {
    let pass = DriftPass::over(&Dataset::flights());
    assert_eq!(
        (
            pass.ks_errors.len(),
            pass.p_values,
            pass.windows_without_values
        ),
        (136, 176, 8)
    );
    assert!(
        pass.median_ks_error() <= 0.002,
        "median error of ks {}",
        pass.median_ks_error()
    );
    let wasserstein = median(&pass.wasserstein_errors);
    assert!(
        wasserstein <= 0.001,
        "median error of wasserstein {wasserstein}"
    );
    pass.tally.conclude(&expected(184, 136, 40));
}

#[test]
fn drift_of_employment_is_that_of_the_trusted_values() {
    let pass = DriftPass::over(&Dataset::employment());
    assert_eq!(
        (
            pass.ks_errors.len(),
            pass.p_values,
            pass.windows_without_values
        ),
        (24, 216, 0)
    );
    assert!(
        pass.median_ks_error() <= 0.002,
        "median error of ks {}",
        pass.median_ks_error()
    );
    pass.tally.conclude(&expected(216, 24, 192));
}

// ── quality ──────────────────────────────────────────────────────────────────────────────────────────

/// One value per measure, or NaN where it is not defined; the trusted values have NaN there too.
fn value(of: Quality) -> f64 {
    of.map_or(f64::NAN, |estimate| {
        if let Some((low, high)) = estimate.interval {
            assert!(
                low <= estimate.value && estimate.value <= high,
                "{estimate:?}"
            );
        }
        estimate.value
    })
}

#[test]
fn regression_quality_of_flights_is_that_of_the_trusted_values() {
    let flights = Dataset::flights();
    let (labels, rows) = flights.labels();
    let mut windows: BTreeMap<String, RegressionOutcomes> = BTreeMap::new();
    flights.each_outcome(&rows, |window, row, label| {
        let prediction = flights.table.number("predicted_delay_min", row);
        if let (Some(prediction), Some(label)) = (prediction, labels.number("arr_delay_min", label))
        {
            windows
                .entry(window.to_owned())
                .or_default()
                .push(prediction, label);
        }
    });
    let mut tally = Tally::default();
    let mut metrics = Vec::new();
    for (window, trusted) in trusted_quality("flights") {
        let errors = windows[&window].errors();
        let ours = [
            ("delay_n", windows[&window].labels() as f64),
            ("delay_mae", value(errors.mae())),
            ("delay_mse", value(errors.mse())),
            ("delay_rmse", value(errors.rmse())),
            ("delay_bias_mean_error", value(errors.bias())),
            ("delay_mape_nonzero", value(errors.mape())),
            ("delay_smape", value(errors.smape())),
            ("delay_r2", value(errors.r2())),
            ("delay_median_ae", value(errors.median_absolute_error())),
            ("delay_max_error", value(errors.max_error())),
        ];
        tally.compare(&window, &trusted, &ours);
        metrics = ours.map(|(metric, _)| (metric, 9)).to_vec();
    }
    tally.conclude(&metrics);
}

#[test]
fn binary_quality_of_employment_is_that_of_the_trusted_values() {
    let employment = Dataset::employment();
    let (labels, rows) = employment.labels();
    let mut windows: BTreeMap<String, BinaryOutcomes> = BTreeMap::new();
    employment.each_outcome(&rows, |window, row, label| {
        windows.entry(window.to_owned()).or_default().push(
            employment.table.number("score", row),
            employment.table.number("prediction", row) == Some(1.0),
            labels.number("label", label) == Some(1.0),
        );
    });
    let mut tally = Tally::default();
    let mut metrics = Vec::new();
    for (window, trusted) in trusted_quality("employment") {
        let (counts, scores) = (windows[&window].confusion(), windows[&window].scores());
        let ours = [
            ("n", counts.labels() as f64),
            ("tp", counts.true_positives as f64),
            ("fp", counts.false_positives as f64),
            ("tn", counts.true_negatives as f64),
            ("fn", counts.false_negatives as f64),
            ("base_rate", value(counts.base_rate())),
            ("accuracy", value(counts.accuracy())),
            ("balanced_accuracy", value(counts.balanced_accuracy())),
            ("precision", value(counts.precision())),
            ("recall", value(counts.recall())),
            ("f1", value(counts.f1())),
            ("mcc", value(counts.mcc())),
            ("roc_auc", value(scores.roc_auc())),
            (
                "pr_auc_average_precision",
                value(scores.average_precision()),
            ),
            ("pr_auc_trapezoid", value(scores.pr_auc_trapezoid())),
            ("log_loss", value(scores.log_loss())),
            ("brier", value(scores.brier())),
            (
                "ece_width10",
                value(scores.calibration_error(Bins::Width(10))),
            ),
            (
                "ece_quantile10",
                value(scores.calibration_error(Bins::Quantile(10))),
            ),
        ];
        tally.compare(&window, &trusted, &ours);
        metrics = ours.map(|(metric, _)| (metric, 13)).to_vec();
    }
    tally.conclude(&metrics);
}

#[test]
fn multiclass_quality_of_flights_is_that_of_the_trusted_values() {
    const CLASSES: [&str; 4] = ["cancelled", "late", "on_time", "very_late"];
    let flights = Dataset::flights();
    let (labels, rows) = flights.labels();
    let mut windows: BTreeMap<String, MulticlassOutcomes> = BTreeMap::new();
    flights.each_outcome(&rows, |window, row, label| {
        let probabilities = CLASSES.map(|class| {
            let probability = flights.table.number(&format!("proba_{class}"), row);
            (
                class.to_owned(),
                probability.expect("every class has a probability"),
            )
        });
        windows
            .entry(window.to_owned())
            .or_insert_with(|| MulticlassOutcomes::new(CLASSES.map(str::to_owned)))
            .push(
                flights.table.text("prediction", row),
                &probabilities,
                labels.text("label", label),
            );
    });
    let mut tally = Tally::default();
    for (window, trusted) in trusted_quality("flights") {
        let (counts, probabilities) = (
            windows[&window].confusion(),
            windows[&window].probabilities(),
        );
        let mut ours = multiclass_values(&counts, &probabilities);
        for (place, class) in CLASSES.iter().enumerate() {
            let (own, scores) = (counts.one_vs_rest(place), probabilities.one_vs_rest(place));
            for label in CLASSES {
                let count = counts.count(label, class) as f64;
                ours.push((format!("confusion[{label}->{class}]"), count));
            }
            // The trusted values put a zero where nothing is labelled or predicted; ours have a reason.
            let or_zero = |of: Quality| of.map_or(0.0, |estimate| estimate.value);
            ours.extend([
                (format!("support[{class}]"), own.positives() as f64),
                (format!("precision[{class}]"), or_zero(own.precision())),
                (format!("recall[{class}]"), or_zero(own.recall())),
                (format!("f1[{class}]"), or_zero(own.f1())),
                (format!("roc_auc[{class}]"), value(scores.roc_auc())),
                (
                    format!("pr_auc[{class}]"),
                    or_zero(scores.average_precision()),
                ),
            ]);
        }
        // Not every class occurs among the 29 flights of the last window: where we say that the area is not
        // defined there must be no trusted one, and the other way round.
        for (metric, value) in &ours {
            let theirs = trusted.get(metric.as_str()).copied().unwrap_or(f64::NAN);
            assert_eq!(value.is_nan(), theirs.is_nan(), "{window} {metric}");
        }
        ours.retain(|(_, value)| !value.is_nan());
        let named: Vec<(&str, f64)> = ours.iter().map(|(m, v)| (m.as_str(), *v)).collect();
        tally.compare(&window, &trusted, &named);
    }
    let missing = ["roc_auc_ovr_macro", "roc_auc[cancelled]"];
    let known = tally.metrics();
    assert_eq!(known.len(), 18 + 4 * 10, "{known:?}");
    let expected: Vec<(&str, usize)> = (known.iter())
        .map(|metric| {
            (
                metric.as_str(),
                if missing.contains(&metric.as_str()) {
                    8
                } else {
                    9
                },
            )
        })
        .collect();
    tally.conclude(&expected);
}

fn multiclass_values(
    counts: &ConfusionMatrix,
    probabilities: &ClassProbabilities,
) -> Vec<(String, f64)> {
    let mut ours = vec![
        ("n".to_owned(), counts.labels() as f64),
        ("accuracy".to_owned(), value(counts.accuracy())),
        (
            "balanced_accuracy".to_owned(),
            value(counts.balanced_accuracy()),
        ),
        ("log_loss".to_owned(), value(probabilities.log_loss())),
        (
            "brier_multiclass_sum".to_owned(),
            value(probabilities.brier()),
        ),
        (
            "roc_auc_ovr_macro".to_owned(),
            value(probabilities.roc_auc(false)),
        ),
        (
            "roc_auc_ovr_weighted".to_owned(),
            value(probabilities.roc_auc(true)),
        ),
        (
            "roc_auc_ovo_macro".to_owned(),
            value(probabilities.roc_auc_one_vs_one()),
        ),
        (
            "ece_top_width10".to_owned(),
            value(probabilities.calibration_error(Bins::Width(10))),
        ),
    ];
    for (measure, of) in [
        ("precision", ClassMeasure::Precision),
        ("recall", ClassMeasure::Recall),
        ("f1", ClassMeasure::F1),
    ] {
        for (how, averaging) in [
            ("macro", Averaging::Macro),
            ("micro", Averaging::Micro),
            ("weighted", Averaging::Weighted),
        ] {
            ours.push((
                format!("{measure}_{how}"),
                value(counts.average(of, averaging)),
            ));
        }
    }
    ours
}

//! Measures on raw rows, and the numbers of other tools, against those libraries and tools themselves.
//!
//! Where a tool's number is not reproduced, the difference is stated in [`EXPLAINED`] with its size and its
//! reason, and the test asserts that nothing else differs and that the difference is no larger.

use bellwether::stats::parity::{CategoryCounts, Mode, NumberKind, ParityResult, nannyml};
use bellwether::stats::samples::{self, Sample};

use super::*;

/// What a parity mode may be off by, relative to the value.
const PARITY: f64 = 1e-6;

/// Columns stored as whole numbers; the others that are numeric are floating point.
const INTEGERS: [&str; 4] = ["distance", "weekday", "sched_minute", "AGEP"];

/// Which numbers are not reproduced to [`PARITY`], how far they are off at most, and why.
const EXPLAINED: [(&str, &str, f64, &str); 4] = [
    (
        "nannyml wasserstein, window below",
        "",
        6e-3,
        "the window has values below the reference's smallest, and NannyML's binned value leaves the exact one",
    ),
    (
        "nannyml wasserstein",
        "predicted_delay_min",
        5e-3,
        "stored in single precision, in which NannyML also makes its 10,000 bins",
    ),
    (
        "threshold",
        "",
        4e-3,
        "the exact cut of the reference into its eight chunks is not recorded with the values",
    ),
    (
        "tfdv JENSEN_SHANNON_DIVERGENCE",
        "",
        1.2,
        "TFDV makes its histograms from a quantile sketch; half the values are within 0.6 %",
    ),
];

/// The values of a column without nulls, by window, in the order of the rows.
fn columns(dataset: &Dataset, column: &str) -> BTreeMap<String, Vec<f64>> {
    let mut columns: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for (window, value) in dataset.windows.iter().zip(&dataset.table.numbers[column]) {
        let values = columns.entry(window.clone()).or_default();
        values.extend(*value);
    }
    columns
}

/// The counts of a categorical column without nulls, by window.
fn tables(dataset: &Dataset, column: &str) -> BTreeMap<String, CategoryCounts> {
    let mut tables: BTreeMap<String, CategoryCounts> = BTreeMap::new();
    for (row, window) in dataset.windows.iter().enumerate() {
        let table = tables.entry(window.clone()).or_default();
        if let Some(category) = dataset.category(column, row) {
            *table.entry(category).or_default() += 1;
        }
    }
    tables
}

/// [`columns`] as NannyML got them: probabilities divided by their sum, which rounding had made other than 1.
fn columns_for_nannyml(dataset: &Dataset, column: &str) -> BTreeMap<String, Vec<f64>> {
    if !column.starts_with("proba_") {
        return columns(dataset, column);
    }
    let classes: Vec<&Vec<Option<f64>>> = (dataset.table.numbers.iter())
        .filter(|(name, _)| name.starts_with("proba_"))
        .map(|(_, values)| values)
        .collect();
    let mut columns: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for (row, window) in dataset.windows.iter().enumerate() {
        let sum: f64 = classes.iter().filter_map(|values| values[row]).sum();
        let values = columns.entry(window.clone()).or_default();
        values.extend(dataset.table.number(column, row).map(|value| value / sum));
    }
    columns
}

fn kind_of(column: &str) -> NumberKind {
    if INTEGERS.contains(&column) {
        NumberKind::Integer
    } else {
        NumberKind::Float
    }
}

/// Values of a tool, by column, window and metric.
fn peer(file: &str, at: [usize; 4]) -> BTreeMap<(String, String, String), f64> {
    let [window, column, metric, value] = at;
    records(&format!("reference/{file}.csv"))
        .iter()
        .filter_map(|record| {
            let key = (
                record[column].to_owned(),
                record[window].to_owned(),
                record[metric].to_owned(),
            );
            Some((key, record[value].parse().ok()?))
        })
        .collect()
}

fn value_of(results: &[ParityResult], method: &str) -> Option<f64> {
    results
        .iter()
        .find(|result| result.method == method)
        .and_then(|result| result.value)
}

/// Compares within [`PARITY`], or within what [`EXPLAINED`] allows.
#[derive(Default)]
struct Peers {
    same: BTreeMap<String, usize>,
    explained: BTreeMap<&'static str, usize>,
    errors: BTreeMap<String, Vec<f64>>,
    wrong: Vec<String>,
}

impl Peers {
    fn compare(&mut self, what: &str, column: &str, window: &str, ours: Option<f64>, theirs: f64) {
        let Some(ours) = ours else {
            self.wrong
                .push(format!("{what} {column} {window}: none, not {theirs}"));
            return;
        };
        let off = (ours - theirs).abs() / theirs.abs().max(1e-9);
        self.errors.entry(what.to_owned()).or_default().push(off);
        if off <= PARITY || (ours == 0.0 && theirs.abs() < 1e-12) {
            *self.same.entry(what.to_owned()).or_default() += 1;
            return;
        }
        let explained = EXPLAINED
            .iter()
            .find(|(of, columns, ..)| what.starts_with(of) && column.starts_with(columns));
        match explained {
            Some((name, _, limit, _)) if off <= *limit => {
                *self.explained.entry(name).or_default() += 1;
            }
            _ => self.wrong.push(format!(
                "{what} {column} {window}: {ours} is not {theirs} ({off:.1e})"
            )),
        }
    }

    fn median(&self, what: &str) -> f64 {
        let mut errors = self.errors[what].clone();
        errors.sort_by(f64::total_cmp);
        errors[errors.len() / 2]
    }

    #[track_caller]
    fn conclude(self, same: &[(&str, usize)], explained: &[(&str, usize)]) {
        let shown: Vec<_> = self.wrong.iter().take(30).cloned().collect();
        assert!(
            self.wrong.is_empty(),
            "{} differ:\n{}",
            self.wrong.len(),
            shown.join("\n")
        );
        let same: BTreeMap<String, usize> = same
            .iter()
            .map(|(name, n)| ((*name).to_owned(), *n))
            .collect();
        assert_eq!(self.same, same, "another number of values is the same");
        assert_eq!(
            self.explained,
            explained.iter().copied().collect(),
            "another number differs"
        );
    }
}

// ── measures on raw rows ─────────────────────────────────────────────────────────────────────────────

/// Shares over ten equal bins of the reference's range, `[a, b)`, what is outside in the outer bins.
fn ten_equal_bins(reference: &Sample, sample: &Sample) -> Vec<f64> {
    let (first, last) = (
        reference.sorted()[0],
        reference.sorted()[reference.len() - 1],
    );
    let step = (last - first) / 10.0;
    let edges: Vec<f64> = (1..10)
        .map(|i| (f64::from(i) * step + first).next_down())
        .collect();
    let counts = sample.counts_between(&edges);
    counts
        .iter()
        .map(|count| *count as f64 / sample.len() as f64)
        .collect()
}

fn compare_rows(dataset: &Dataset) -> Tally {
    use bellwether::stats::distance;
    let (kinds, trusted) = trusted_drift(dataset.name);
    let mut tally = Tally::default();
    for (column, _) in kinds.iter().filter(|(_, kind)| *kind == "num") {
        let windows = columns(dataset, column);
        let reference = Sample::of(&windows["reference"]);
        for (window, values) in windows
            .iter()
            .filter(|(w, v)| *w != "reference" && !v.is_empty())
        {
            let current = Sample::of(values);
            let (p, q) = (
                ten_equal_bins(&reference, &reference),
                ten_equal_bins(&reference, &current),
            );
            let quantile = |q| current.quantile(q).expect("values");
            let ours = [
                (
                    "ks_stat",
                    samples::kolmogorov_smirnov(&reference, &current).expect("values"),
                ),
                (
                    "wasserstein",
                    samples::wasserstein(&reference, &current).expect("values"),
                ),
                (
                    "wasserstein_norm",
                    samples::wasserstein_normalised(&reference, &current).expect("values"),
                ),
                ("psi_w10", distance::psi(&p, &q).expect("values")),
                ("js2_w10", distance::jensen_shannon(&p, &q).expect("values")),
                (
                    "hellinger_w10",
                    distance::hellinger(&p, &q).expect("values"),
                ),
                ("tv_w10", distance::total_variation(&p, &q).expect("values")),
                ("linf_w10", distance::l_infinity(&p, &q).expect("values")),
                ("q01", quantile(0.01)),
                ("q05", quantile(0.05)),
                ("q25", quantile(0.25)),
                ("q50", quantile(0.5)),
                ("q75", quantile(0.75)),
                ("q95", quantile(0.95)),
                ("q99", quantile(0.99)),
            ];
            let of = format!("{} {window} {column}", dataset.name);
            tally.compare(&of, &trusted[&(column.clone(), window.clone())], &ours);
        }
    }
    tally
}

const OF_ROWS: [&str; 15] = [
    "ks_stat",
    "wasserstein",
    "wasserstein_norm",
    "psi_w10",
    "js2_w10",
    "hellinger_w10",
    "tv_w10",
    "linf_w10",
    "q01",
    "q05",
    "q25",
    "q50",
    "q75",
    "q95",
    "q99",
];

#[test]
fn measures_on_rows_of_flights_are_the_trusted_values() {
    compare_rows(&Dataset::flights()).conclude(&OF_ROWS.map(|metric| (metric, 136)));
}

#[test]
fn measures_on_rows_of_employment_are_the_trusted_values() {
    compare_rows(&Dataset::employment()).conclude(&OF_ROWS.map(|metric| (metric, 24)));
}

// ── other tools ──────────────────────────────────────────────────────────────────────────────────────

fn evidently(dataset: &Dataset) -> Peers {
    let (kinds, trusted) = trusted_drift(dataset.name);
    let mut peers = Peers::default();
    let names = [
        ("evidently_js", "Jensen-Shannon distance"),
        ("evidently_psi", "PSI"),
        ("evidently_hellinger", "Hellinger distance"),
        ("evidently_ks_p", "K-S p_value"),
        (
            "evidently_wasserstein_norm",
            "Wasserstein distance (normed)",
        ),
        ("evidently_chi2_p", "chi-square p_value"),
    ];
    for (column, kind) in &kinds {
        let numbers = (kind == "num").then(|| columns(dataset, column));
        let counts = (kind == "cat").then(|| tables(dataset, column));
        for ((_, window), metrics) in trusted.iter().filter(|((c, _), _)| c == column) {
            if !metrics.keys().any(|metric| metric.starts_with("evidently")) {
                continue;
            }
            let results = match (&numbers, &counts) {
                (Some(numbers), _) => Mode::Evidently.compare_numeric(
                    &numbers["reference"],
                    &numbers[window],
                    kind_of(column),
                ),
                (_, Some(counts)) => {
                    Mode::Evidently.compare_categorical(&counts["reference"], &counts[window])
                }
                _ => unreachable!("a column is of one kind"),
            };
            let chosen = if kind == "num" && column != "weekday" {
                "Wasserstein distance (normed)"
            } else if kind == "num" {
                results[0].method
            } else {
                "Jensen-Shannon distance"
            };
            assert_eq!(results[0].method, chosen, "{column} {window}");
            for (metric, method) in names {
                if let Some(theirs) = metrics.get(metric).filter(|value| value.is_finite()) {
                    peers.compare(metric, column, window, value_of(&results, method), *theirs);
                }
            }
        }
    }
    peers
}

#[test]
fn evidently_mode_gives_evidentlys_values() {
    evidently(&Dataset::flights()).conclude(
        &[
            ("evidently_chi2_p", 40),
            ("evidently_hellinger", 176),
            ("evidently_js", 176),
            ("evidently_ks_p", 136),
            ("evidently_psi", 176),
            ("evidently_wasserstein_norm", 136),
        ],
        &[],
    );
    evidently(&Dataset::employment()).conclude(
        &[
            ("evidently_chi2_p", 192),
            ("evidently_hellinger", 216),
            ("evidently_js", 216),
            ("evidently_ks_p", 24),
            ("evidently_psi", 216),
            ("evidently_wasserstein_norm", 24),
        ],
        &[],
    );
}

fn nannyml_values(dataset: &Dataset) -> Peers {
    let (kinds, _) = trusted_drift(dataset.name);
    let theirs = peer(&format!("nannyml_{}", dataset.name), [1, 3, 4, 5]);
    let mut peers = Peers::default();
    for (column, kind) in &kinds {
        let numeric = kind == "num";
        let numbers = numeric.then(|| columns_for_nannyml(dataset, column));
        let counts = (!numeric).then(|| tables(dataset, column));
        for ((_, window, metric), theirs) in theirs.iter().filter(|((c, ..), _)| c == column) {
            let Some(method) = metric.strip_suffix(".value") else {
                continue;
            };
            let results = match (&numbers, &counts) {
                (Some(numbers), _) => {
                    let known =
                        nannyml::NumericReference::of(&numbers["reference"], kind_of(column))
                            .expect("values");
                    let current = Sample::of(&numbers[window]);
                    let value = match method {
                        "jensen_shannon" => known.jensen_shannon(&current),
                        "hellinger" => known.hellinger(&current),
                        "kolmogorov_smirnov" => known.kolmogorov_smirnov(&current),
                        _ => known.wasserstein(&current),
                    };
                    peers.compare(&format!("nannyml {method}"), column, window, value, *theirs);
                    continue;
                }
                (_, Some(counts)) => {
                    Mode::Nannyml.compare_categorical(&counts["reference"], &counts[window])
                }
                _ => unreachable!("a column is of one kind"),
            };
            peers.compare(
                &format!("nannyml {method}"),
                column,
                window,
                value_of(&results, method),
                *theirs,
            );
        }
    }
    peers
}

#[test]
fn nannyml_mode_gives_nannymls_values() {
    nannyml_values(&Dataset::flights()).conclude(
        &[
            ("nannyml chi2", 40),
            ("nannyml hellinger", 176),
            ("nannyml jensen_shannon", 176),
            ("nannyml kolmogorov_smirnov", 136),
            ("nannyml l_infinity", 40),
            ("nannyml wasserstein", 128),
        ],
        // The column in single precision.
        &[("nannyml wasserstein", 8)],
    );
    nannyml_values(&Dataset::employment()).conclude(
        &[
            ("nannyml chi2", 192),
            ("nannyml hellinger", 216),
            ("nannyml jensen_shannon", 216),
            ("nannyml kolmogorov_smirnov", 24),
            ("nannyml l_infinity", 192),
            ("nannyml wasserstein", 24),
        ],
        &[],
    );
}

/// The reference was cut into eight chunks of rows, nulls included, as the values were made.
#[test]
fn nannyml_thresholds_are_learned_from_chunks_of_the_reference() {
    let flights = Dataset::flights();
    let theirs = peer("nannyml_flights", [1, 3, 4, 5]);
    let mut rows: Vec<usize> = (0..flights.table.rows())
        .filter(|row| flights.windows[*row] == "reference")
        .collect();
    rows.sort_by_key(|row| flights.table.number("timestamp", *row).map(|at| at as i64));
    let mut peers = Peers::default();
    for column in [
        "humid",
        "temp",
        "dewp",
        "distance",
        "weekday",
        "seats",
        "predicted_delay_min",
    ] {
        let values = |rows: &[usize]| -> Vec<f64> {
            rows.iter()
                .filter_map(|row| flights.table.number(column, *row))
                .collect()
        };
        let known = nannyml::NumericReference::of(&values(&rows), kind_of(column)).expect("values");
        let learned: Vec<f64> = rows
            .chunks(rows.len() / 8)
            .filter_map(|chunk| known.jensen_shannon(&Sample::of(&values(chunk))))
            .collect();
        assert_eq!(learned.len(), 8);
        let key = (
            column.to_owned(),
            "2013-06".to_owned(),
            "jensen_shannon.upper_threshold".to_owned(),
        );
        peers.compare(
            "threshold",
            column,
            "2013-06",
            nannyml::learned_threshold(&learned, Some(1.0)),
            theirs[&key],
        );
    }
    peers.conclude(&[], &[("threshold", 7)]);
}

fn tfdv(dataset: &Dataset) -> Peers {
    let (kinds, _) = trusted_drift(dataset.name);
    let theirs = peer(&format!("tfdv_{}", dataset.name), [1, 2, 3, 4]);
    let mut peers = Peers::default();
    for (column, kind) in &kinds {
        let numbers = (kind == "num").then(|| columns(dataset, column));
        let counts = (kind == "cat").then(|| tables(dataset, column));
        for ((_, window, metric), theirs) in theirs.iter().filter(|((c, ..), _)| c == column) {
            if metric.starts_with("ANOMALY") {
                continue;
            }
            let results = match (&numbers, &counts) {
                (Some(numbers), _) => Mode::Tfdv.compare_numeric(
                    &numbers["reference"],
                    &numbers[window],
                    kind_of(column),
                ),
                (_, Some(counts)) => {
                    Mode::Tfdv.compare_categorical(&counts["reference"], &counts[window])
                }
                _ => unreachable!("a column is of one kind"),
            };
            let what = format!("tfdv {metric}");
            peers.compare(&what, column, window, value_of(&results, metric), *theirs);
        }
    }
    peers
}

#[test]
fn tfdv_mode_gives_tfdvs_values() {
    let flights = tfdv(&Dataset::flights());
    assert!(flights.median("tfdv JENSEN_SHANNON_DIVERGENCE") < 0.006);
    flights.conclude(
        // A column is constant in one window, and gets 1.
        &[("tfdv JENSEN_SHANNON_DIVERGENCE", 1), ("tfdv L_INFTY", 40)],
        &[("tfdv JENSEN_SHANNON_DIVERGENCE", 135)],
    );
    tfdv(&Dataset::employment()).conclude(
        &[("tfdv L_INFTY", 192)],
        &[("tfdv JENSEN_SHANNON_DIVERGENCE", 24)],
    );
}

/// The first rows of the windows whose name ends with "small": of the window, and of the reference.
const SMALL: (usize, usize) = (700, 2_000);

/// A mode whose tool cannot be run, against its published rules as `tests/data/reference/rules.py` computes them.
fn by_rules(dataset: &Dataset, mode: Mode) -> Peers {
    let (kinds, _) = trusted_drift(dataset.name);
    let mut rows: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (row, window) in dataset.windows.iter().enumerate() {
        rows.entry(window).or_default().push(row);
    }
    let first = |window: &str, few: Option<usize>| {
        let rows = &rows[window];
        &rows[..few.unwrap_or(rows.len()).min(rows.len())]
    };
    let mut peers = Peers::default();
    let mut known: BTreeMap<(String, String), Vec<ParityResult>> = BTreeMap::new();
    let file = format!("{}_{}", mode.as_str(), dataset.name);
    for ((column, window, metric), theirs) in peer(&file, [1, 2, 3, 4]) {
        let results = known
            .entry((column.clone(), window.clone()))
            .or_insert_with(|| {
                let (of, small) = match window.strip_suffix(" small") {
                    Some(of) => (of, true),
                    None => (window.as_str(), false),
                };
                let current = first(of, small.then_some(SMALL.0));
                let reference = first("reference", small.then_some(SMALL.1));
                if kinds[&column] == "num" {
                    let numbers = |rows: &[usize]| -> Vec<f64> {
                        let values = rows.iter().map(|row| dataset.table.number(&column, *row));
                        values.flatten().collect()
                    };
                    mode.compare_numeric(&numbers(reference), &numbers(current), kind_of(&column))
                } else {
                    let counts = |rows: &[usize]| {
                        let mut counts = CategoryCounts::new();
                        let named = rows
                            .iter()
                            .filter_map(|row| dataset.category(&column, *row));
                        named.for_each(|name| *counts.entry(name).or_default() += 1);
                        counts
                    };
                    mode.compare_categorical(&counts(reference), &counts(current))
                }
            });
        let what = format!("{} {metric}", mode.as_str());
        peers.compare(&what, &column, &window, value_of(results, &metric), theirs);
    }
    peers
}

#[test]
fn azure_mode_follows_the_published_rules() {
    by_rules(&Dataset::flights(), Mode::Azure).conclude(
        &[
            ("azure JensenShannonDistance", 351),
            ("azure NormalizedWassersteinDistance", 271),
            ("azure PearsonsChiSquaredTest", 80),
            ("azure PopulationStabilityIndex", 351),
            ("azure TwoSampleKolmogorovSmirnovTest", 135),
        ],
        &[],
    );
    by_rules(&Dataset::employment(), Mode::Azure).conclude(
        &[
            ("azure JensenShannonDistance", 432),
            ("azure NormalizedWassersteinDistance", 48),
            ("azure PearsonsChiSquaredTest", 384),
            ("azure PopulationStabilityIndex", 432),
            ("azure TwoSampleKolmogorovSmirnovTest", 24),
        ],
        &[],
    );
}

#[test]
fn sagemaker_mode_follows_the_published_rules() {
    by_rules(&Dataset::flights(), Mode::Sagemaker).conclude(
        &[
            ("sagemaker ChiSquared", 76),
            ("sagemaker LInfinity (Robust)", 80),
            ("sagemaker LInfinity (Simple)", 80),
            ("sagemaker Robust", 271),
            ("sagemaker Simple", 271),
        ],
        &[],
    );
    by_rules(&Dataset::employment(), Mode::Sagemaker).conclude(
        &[
            ("sagemaker ChiSquared", 384),
            ("sagemaker LInfinity (Robust)", 384),
            ("sagemaker LInfinity (Simple)", 384),
            ("sagemaker Robust", 48),
            ("sagemaker Simple", 48),
        ],
        &[],
    );
}

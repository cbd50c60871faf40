//! Every measure against a trusted implementation, value and interval.
//!
//! `golden.json` and the script that made it are in `tests/data/reference/quality`.

use serde_json::Value;

use super::super::*;

/// Doubles on both sides, so nothing but the order of additions may differ.
const RELATIVE: f64 = 1e-9;
/// Derivatives by differences have half the digits.
const BY_DIFFERENCES: f64 = 1e-6;

struct Golden {
    part: Value,
    compared: usize,
}

impl Golden {
    fn of(part: &str) -> Self {
        let text = include_str!("../../../../tests/data/reference/quality/golden.json");
        let whole: Value = serde_json::from_str(text).expect("JSON");
        Self {
            part: whole[part].clone(),
            compared: 0,
        }
    }

    fn rows(&self) -> &[Value] {
        self.part["rows"].as_array().expect("rows")
    }

    fn values(&self) -> usize {
        self.part["values"].as_object().expect("values").len()
    }

    fn compare(&mut self, name: &str, of: Quality) {
        self.within(name, of, RELATIVE);
    }

    /// Compares value and, where there is a trusted one, interval; the latter to `tolerance`.
    fn within(&mut self, name: &str, of: Quality, tolerance: f64) {
        let trusted = &self.part["values"][name];
        let near = |ours: f64, theirs: &Value, tolerance: f64| {
            let theirs = theirs
                .as_f64()
                .unwrap_or_else(|| panic!("{name} has no trusted value"));
            let allowed = tolerance * theirs.abs().max(1e-3);
            assert!(
                (ours - theirs).abs() <= allowed,
                "{name}: {ours} is not {theirs}"
            );
        };
        let of = of.unwrap_or_else(|undefined| panic!("{name}: {undefined}"));
        near(of.value, &trusted[0], RELATIVE);
        if let Some(ends) = trusted[1].as_array() {
            let (low, high) = of
                .interval
                .unwrap_or_else(|| panic!("{name} has no interval"));
            near(low, &ends[0], tolerance);
            near(high, &ends[1], tolerance);
        }
        self.compared += 1;
    }

    /// Nothing trusted may be left uncompared.
    fn conclude(self) {
        assert_eq!(self.compared, self.values());
    }
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

fn flag(value: &Value) -> bool {
    value.as_bool().expect("yes or no")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

#[test]
fn binary_measures_are_those_of_trusted_implementations() {
    let mut golden = Golden::of("binary");
    let mut outcomes = BinaryOutcomes::default();
    for row in golden.rows() {
        outcomes.push(Some(number(&row[0])), flag(&row[1]), flag(&row[2]));
    }
    let (counts, scores) = (outcomes.confusion(), outcomes.scores());
    golden.compare("accuracy", counts.accuracy());
    golden.compare("precision", counts.precision());
    golden.compare("recall", counts.recall());
    golden.compare("specificity", counts.specificity());
    golden.compare("balanced_accuracy", counts.balanced_accuracy());
    golden.compare("f1", counts.f1());
    golden.within("mcc", counts.mcc(), BY_DIFFERENCES);
    golden.compare("roc_auc", scores.roc_auc());
    golden.compare("average_precision", scores.average_precision());
    golden.compare("pr_auc_trapezoid", scores.pr_auc_trapezoid());
    golden.compare("kolmogorov_smirnov", scores.kolmogorov_smirnov());
    golden.compare("lift", scores.lift(0.1));
    golden.compare("log_loss", scores.log_loss());
    golden.compare("brier", scores.brier());
    golden.compare("ece_width", scores.calibration_error(Bins::Width(10)));
    golden.compare("ece_quantile", scores.calibration_error(Bins::Quantile(10)));
    let noise = scores
        .calibration_noise(Bins::Width(10))
        .map(|value| Estimate {
            value,
            interval: None,
            size: scores.len(),
        });
    golden.compare("calibration_noise", noise);
    let worth = OutcomeValues {
        true_positive: 10.0,
        false_positive: -1.5,
        true_negative: 0.25,
        false_negative: -20.0,
    };
    golden.compare("value_per_prediction", counts.value_per_prediction(worth));
    golden.conclude();
}

#[test]
fn multiclass_measures_are_those_of_trusted_implementations() {
    let mut golden = Golden::of("multiclass");
    let names: Vec<String> = golden.part["classes"]
        .as_array()
        .expect("classes")
        .iter()
        .map(|name| text(name).to_owned())
        .collect();
    let mut outcomes = MulticlassOutcomes::new(names.clone());
    for row in golden.rows() {
        let p = row[1].as_array().expect("probabilities").iter().map(number);
        let p: Vec<(String, f64)> = names.iter().cloned().zip(p).collect();
        outcomes.push(text(&row[0]), &p, text(&row[2]));
    }
    let (counts, probabilities) = (outcomes.confusion(), outcomes.probabilities());
    golden.compare("accuracy", counts.accuracy());
    golden.within(
        "balanced_accuracy",
        counts.balanced_accuracy(),
        BY_DIFFERENCES,
    );
    let measures = [
        ("precision", ClassMeasure::Precision),
        ("recall", ClassMeasure::Recall),
        ("f1", ClassMeasure::F1),
    ];
    let averagings = [
        ("macro", Averaging::Macro),
        ("micro", Averaging::Micro),
        ("weighted", Averaging::Weighted),
    ];
    for (measure, of) in measures {
        for (how, averaging) in averagings {
            let ours = counts.average(of, averaging);
            golden.within(&format!("{measure}_{how}"), ours, BY_DIFFERENCES);
        }
    }
    for (place, class) in names.iter().enumerate() {
        let (own, scores) = (counts.one_vs_rest(place), probabilities.one_vs_rest(place));
        if class == "d" {
            // Never predicted: the trusted value is a convention, ours a reason.
            assert_eq!(own.precision(), Err(Undefined::NoPredictedPositives));
            golden.compared += 1;
        } else {
            golden.compare(&format!("precision[{class}]"), own.precision());
        }
        golden.compare(&format!("recall[{class}]"), own.recall());
        golden.compare(&format!("f1[{class}]"), own.f1());
        golden.compare(&format!("roc_auc[{class}]"), scores.roc_auc());
        golden.compare(
            &format!("average_precision[{class}]"),
            scores.average_precision(),
        );
    }
    golden.compare("roc_auc_macro", probabilities.roc_auc(false));
    golden.compare("roc_auc_weighted", probabilities.roc_auc(true));
    golden.compare("roc_auc_one_vs_one", probabilities.roc_auc_one_vs_one());
    golden.compare("log_loss", probabilities.log_loss());
    golden.compare("brier", probabilities.brier());
    golden.compare("ece", probabilities.calibration_error(Bins::Width(10)));
    for k in 1..=3 {
        golden.compare(&format!("top_{k}"), probabilities.top_k_accuracy(k));
    }
    golden.conclude();
}

#[test]
fn regression_measures_are_those_of_trusted_implementations() {
    let mut golden = Golden::of("regression");
    let mut outcomes = RegressionOutcomes::default();
    for row in golden.rows() {
        outcomes.push(number(&row[0]), number(&row[1]));
    }
    let history: Vec<f64> = golden.part["history"]
        .as_array()
        .expect("numbers")
        .iter()
        .map(number)
        .collect();
    let steps = history.iter().zip(&history[7..]);
    let naive_error =
        steps.map(|(before, now)| (now - before).abs()).sum::<f64>() / (history.len() - 7) as f64;
    let mut scaled = ScaledErrors::default();
    for row in golden.rows() {
        scaled.push(number(&row[0]), number(&row[1]), naive_error);
    }
    let errors = outcomes.errors();
    golden.compare("mae", errors.mae());
    golden.compare("mse", errors.mse());
    golden.compare("rmse", errors.rmse());
    golden.compare("bias", errors.bias());
    golden.compare("mape", errors.mape());
    golden.compare("smape", errors.smape());
    golden.compare("r2", errors.r2());
    golden.compare("median_absolute_error", errors.median_absolute_error());
    golden.compare("absolute_quantile_90", errors.absolute_quantile(0.9));
    golden.compare("error_quantile_05", errors.error_quantile(0.05));
    golden.compare("max_error", errors.max_error());
    golden.compare("mase", scaled.mase());
    golden.conclude();
}

#[test]
fn ranking_measures_are_those_of_trusted_implementations() {
    let mut golden = Golden::of("ranking");
    let items = |list: &Value| -> Vec<(f64, f64)> {
        let items = list.as_array().expect("items").iter();
        items
            .map(|item| (number(&item[0]), number(&item[1])))
            .collect()
    };
    let (mut ranking, mut uncut) = (RankingOutcomes::new(5), RankingOutcomes::new(12));
    for query in golden.part["queries"].as_array().expect("queries") {
        ranking.push(&items(query));
        uncut.push(&items(query));
    }
    golden.compare("ndcg", ranking.measure(RankingMeasure::Ndcg));
    golden.compare("map", ranking.measure(RankingMeasure::MeanAveragePrecision));
    golden.compare("mrr", ranking.measure(RankingMeasure::MeanReciprocalRank));
    golden.compare("hit_rate", ranking.measure(RankingMeasure::HitRate));
    let whole = uncut.measure(RankingMeasure::MeanAveragePrecision);
    golden.compare("average_precision_uncut", whole);

    let mut tied = RankingOutcomes::new(3);
    tied.push(&items(&golden.part["tied"]));
    let ours = tied
        .measure(RankingMeasure::Ndcg)
        .expect("relevant items")
        .value;
    assert!((ours - number(&golden.part["tied_ndcg_3"])).abs() < RELATIVE);
    golden.conclude();
}

#[test]
fn forecast_measures_are_those_of_trusted_implementations() {
    let mut golden = Golden::of("forecasts");
    let mut low = QuantileForecasts::default();
    let mut high = QuantileForecasts::default();
    let mut both = QuantileForecasts::default();
    let mut intervals = IntervalForecasts::new(0.8).expect("a level");
    for row in golden.rows() {
        let (from, to, actual) = (number(&row[0]), number(&row[1]), number(&row[2]));
        low.push(&[(0.1, from)], actual);
        high.push(&[(0.9, to)], actual);
        both.push(&[(0.1, from), (0.9, to)], actual);
        intervals.push((from, to), actual);
    }
    golden.compare("pinball_10", low.pinball_loss());
    golden.compare("pinball_90", high.pinball_loss());
    let trusted = |name: &str| number(&golden.part["values"][name][0]);
    let of_both = both.pinball_loss().expect("forecasts").value;
    let mean = (trusted("pinball_10") + trusted("pinball_90")) / 2.0;
    assert!((of_both - mean).abs() < RELATIVE);
    golden.compare("interval_coverage", intervals.coverage());
    golden.compare("interval_width", intervals.width());
    golden.compare("interval_score", intervals.interval_score());
    golden.conclude();
}

#[test]
fn fairness_measures_are_those_of_trusted_implementations() {
    let mut golden = Golden::of("fairness");
    let mut outcomes = GroupOutcomes::default();
    for row in golden.rows() {
        outcomes.push(text(&row[0]), flag(&row[1]), flag(&row[2]));
    }
    for (name, rate) in [
        ("demographic_parity", FairnessRate::Selection),
        ("equal_opportunity", FairnessRate::TruePositive),
    ] {
        let of = outcomes.disparity(rate, 20).expect("three groups");
        golden.compare(&format!("{name}_difference"), Ok(of.difference));
        // Donner and Zou's interval goes on where the lowest over the highest cannot be.
        let trusted = &mut golden.part["values"][format!("{name}_ratio")][1][1];
        *trusted = trusted.as_f64().expect("an end").min(1.0).into();
        golden.compare(&format!("{name}_ratio"), of.ratio);
    }
    golden.conclude();
}

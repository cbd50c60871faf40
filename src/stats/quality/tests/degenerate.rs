//! Every measure on every degenerate input: a value with a sound interval, or the reason why there is none.
//!
//! The table is written out in full, so that an answer that changes shows in a review.

use std::fmt::Write;

use super::super::*;

const PREDICTIONS: [(&str, &[(f64, f64)]); 12] = [
    ("empty", &[]),
    ("one", &[(0.7, 1.0)]),
    ("all NaN", &[(f64::NAN, f64::NAN), (f64::NAN, 1.0)]),
    (
        "infinite",
        &[(f64::INFINITY, 1.0), (f64::NEG_INFINITY, 0.0)],
    ),
    ("constant", &[(0.5, 1.0), (0.5, 1.0), (0.5, 1.0)]),
    ("constant label 0", &[(0.2, 0.0), (0.8, 0.0)]),
    ("constant label 1", &[(0.2, 1.0), (0.8, 1.0)]),
    ("constant score", &[(0.5, 0.0), (0.5, 1.0), (0.5, 0.0)]),
    ("perfect", &[(0.0, 0.0), (1.0, 1.0), (0.0, 0.0), (1.0, 1.0)]),
    (
        "reversed",
        &[(1.0, 0.0), (0.0, 1.0), (1.0, 0.0), (0.0, 1.0)],
    ),
    ("huge", &[(1e308, 0.0), (-1e308, 1.0), (1e308, 1.0)]),
    ("beyond", &[(1e308, -1e308), (-1e308, 1e308)]),
];

type Measured = Vec<(&'static str, Quality)>;

fn binary(rows: &[(f64, f64)]) -> Measured {
    let mut outcomes = BinaryOutcomes::default();
    for (score, label) in rows {
        outcomes.push(Some(*score), *score >= 0.5, *label > 0.0);
    }
    let (counts, scores) = (outcomes.confusion(), outcomes.scores());
    let worth = OutcomeValues {
        true_positive: 1.0,
        false_positive: -2.0,
        true_negative: 0.0,
        false_negative: -3.0,
    };
    vec![
        ("accuracy", counts.accuracy()),
        ("precision", counts.precision()),
        ("recall", counts.recall()),
        ("specificity", counts.specificity()),
        ("balanced_accuracy", counts.balanced_accuracy()),
        ("f1", counts.f1()),
        ("mcc", counts.mcc()),
        ("base_rate", counts.base_rate()),
        ("selection_rate", counts.selection_rate()),
        ("value_per_prediction", counts.value_per_prediction(worth)),
        ("roc_auc", scores.roc_auc()),
        ("average_precision", scores.average_precision()),
        ("pr_auc_trapezoid", scores.pr_auc_trapezoid()),
        ("kolmogorov_smirnov", scores.kolmogorov_smirnov()),
        ("lift", scores.lift(0.1)),
        ("log_loss", scores.log_loss()),
        ("brier", scores.brier()),
        ("ece width", scores.calibration_error(Bins::Width(10))),
        ("ece quantile", scores.calibration_error(Bins::Quantile(10))),
    ]
}

fn multiclass(rows: &[(f64, f64)]) -> Measured {
    let mut outcomes = MulticlassOutcomes::default();
    for (score, label) in rows {
        let p = [("a".to_owned(), *score), ("b".to_owned(), 1.0 - score)];
        let name = |yes: bool| if yes { "a" } else { "b" };
        outcomes.push(name(*score >= 0.5), &p, name(*label > 0.0));
    }
    let (counts, probabilities) = (outcomes.confusion(), outcomes.probabilities());
    vec![
        ("accuracy", counts.accuracy()),
        ("balanced_accuracy", counts.balanced_accuracy()),
        (
            "precision macro",
            counts.average(ClassMeasure::Precision, Averaging::Macro),
        ),
        (
            "precision micro",
            counts.average(ClassMeasure::Precision, Averaging::Micro),
        ),
        (
            "precision weighted",
            counts.average(ClassMeasure::Precision, Averaging::Weighted),
        ),
        (
            "recall macro",
            counts.average(ClassMeasure::Recall, Averaging::Macro),
        ),
        (
            "recall weighted",
            counts.average(ClassMeasure::Recall, Averaging::Weighted),
        ),
        (
            "f1 macro",
            counts.average(ClassMeasure::F1, Averaging::Macro),
        ),
        (
            "f1 weighted",
            counts.average(ClassMeasure::F1, Averaging::Weighted),
        ),
        ("roc_auc macro", probabilities.roc_auc(false)),
        ("roc_auc weighted", probabilities.roc_auc(true)),
        ("roc_auc one vs one", probabilities.roc_auc_one_vs_one()),
        ("log_loss", probabilities.log_loss()),
        ("brier", probabilities.brier()),
        ("top 1", probabilities.top_k_accuracy(1)),
        ("ece", probabilities.calibration_error(Bins::Width(10))),
    ]
}

fn regression(rows: &[(f64, f64)]) -> Measured {
    let mut outcomes = RegressionOutcomes::default();
    rows.iter().for_each(|(p, label)| outcomes.push(*p, *label));
    let errors = outcomes.errors();
    let mut scaled = ScaledErrors::default();
    (rows.iter()).for_each(|(prediction, label)| scaled.push(*prediction, *label, 1.5));
    vec![
        ("mae", errors.mae()),
        ("bias", errors.bias()),
        ("mse", errors.mse()),
        ("rmse", errors.rmse()),
        ("mape", errors.mape()),
        ("smape", errors.smape()),
        ("r2", errors.r2()),
        ("median_absolute_error", errors.median_absolute_error()),
        ("absolute_quantile", errors.absolute_quantile(0.9)),
        ("error_quantile", errors.error_quantile(0.1)),
        ("max_error", errors.max_error()),
        ("mase", scaled.mase()),
    ]
}

fn ranking(rows: &[(f64, f64)]) -> Measured {
    let mut outcomes = RankingOutcomes::new(2);
    if !rows.is_empty() {
        outcomes.push(rows);
    }
    vec![
        ("ndcg", outcomes.measure(RankingMeasure::Ndcg)),
        (
            "map",
            outcomes.measure(RankingMeasure::MeanAveragePrecision),
        ),
        ("mrr", outcomes.measure(RankingMeasure::MeanReciprocalRank)),
        ("hit_rate", outcomes.measure(RankingMeasure::HitRate)),
    ]
}

fn forecasts(rows: &[(f64, f64)]) -> Measured {
    let mut quantiles = QuantileForecasts::default();
    let mut intervals = IntervalForecasts::new(0.8).expect("a level");
    for (forecast, actual) in rows {
        quantiles.push(&[(0.9, *forecast)], *actual);
        intervals.push((forecast - 0.1, forecast + 0.1), *actual);
    }
    vec![
        ("pinball_loss", quantiles.pinball_loss()),
        ("interval coverage", intervals.coverage()),
        ("interval width", intervals.width()),
        ("interval_score", intervals.interval_score()),
    ]
}

fn fairness(rows: &[(f64, f64)]) -> Measured {
    let mut outcomes = GroupOutcomes::default();
    for (i, (score, label)) in rows.iter().enumerate() {
        outcomes.push(["a", "b"][i % 2], *score >= 0.5, *label > 0.0);
    }
    let of = |rate| {
        let disparity = outcomes.disparity(rate, 1);
        let difference = disparity.clone().map(|disparity| disparity.difference);
        (difference, disparity.and_then(|disparity| disparity.ratio))
    };
    let (selection, opportunity) = (of(FairnessRate::Selection), of(FairnessRate::TruePositive));
    vec![
        ("demographic_parity_difference", selection.0),
        ("demographic_parity_ratio", selection.1),
        ("equal_opportunity_difference", opportunity.0),
        ("equal_opportunity_ratio", opportunity.1),
    ]
}

/// Digits enough to tell answers apart, few enough to read.
fn shown(of: Quality) -> String {
    match of {
        Ok(of) => match of.interval {
            Some((low, high)) => format!("{:.4e} [{low:.4e}, {high:.4e}] of {}", of.value, of.size),
            None => format!("{:.4e} of {}", of.value, of.size),
        },
        Err(undefined) => format!("{undefined:?}"),
    }
}

fn table(measure: fn(&[(f64, f64)]) -> Measured) -> String {
    let mut table = String::new();
    for (input, rows) in PREDICTIONS {
        writeln!(table, "{input}").expect("a string");
        for (name, of) in measure(rows) {
            if let Ok(of) = of {
                assert!(of.value.is_finite(), "{input} {name}: {of:?}");
                if let Some((low, high)) = of.interval {
                    assert!(
                        low.is_finite() && high.is_finite(),
                        "{input} {name}: {of:?}"
                    );
                    assert!(
                        low <= of.value && of.value <= high,
                        "{input} {name}: {of:?}"
                    );
                }
                assert!(of.size > 0, "{input} {name}: {of:?}");
            }
            writeln!(table, "  {name}: {}", shown(of)).expect("a string");
        }
    }
    table
}

#[test]
fn binary_measures_answer_every_degenerate_input() {
    insta::assert_snapshot!(table(binary));
}

#[test]
fn multiclass_measures_answer_every_degenerate_input() {
    insta::assert_snapshot!(table(multiclass));
}

#[test]
fn regression_measures_answer_every_degenerate_input() {
    insta::assert_snapshot!(table(regression));
}

#[test]
fn ranking_measures_answer_every_degenerate_input() {
    insta::assert_snapshot!(table(ranking));
}

#[test]
fn forecast_measures_answer_every_degenerate_input() {
    insta::assert_snapshot!(table(forecasts));
}

#[test]
fn fairness_measures_answer_every_degenerate_input() {
    insta::assert_snapshot!(table(fairness));
}

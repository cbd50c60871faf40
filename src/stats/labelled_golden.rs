//! The labelled detectors and the estimates against SciPy, scikit-learn and plain numpy.
//!
//! The values and the script that makes them are in `tests/data/labelled`.

use serde_json::Value;

use super::beta::{binomial_upper, student_two_sided};
use super::causes::{Moments, decompose};
use super::estimation::label_shift::{JointCounts, LabelShift};
use super::estimation::{BinaryEstimates, Calibration, Estimated, ScoreWindow};
use super::moderated::Prior;
use super::multivariate::comoments::{CoMomentBaseline, CoMoments, NormalScores};
use super::quality::{OutcomeValues, Z_95};
use super::random::uniforms;
use super::sequential::{
    DayReference, DayValue, LossDetector, RateBatch, RateDetector, RateState, calibrated_ln_e,
    clopper_pearson_upper,
};
use super::tails::PValue;

fn golden(part: &str) -> Value {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/data/labelled/golden.json"
    );
    let text = std::fs::read_to_string(path).expect("the golden file");
    let mut whole: Value = serde_json::from_str(&text).expect("JSON");
    whole[part].take()
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

fn numbers(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .expect("a list")
        .iter()
        .map(number)
        .collect()
}

fn counts(value: &Value) -> Vec<u64> {
    numbers(value)
        .into_iter()
        .map(|count| count as u64)
        .collect()
}

fn rows_of(value: &Value) -> Vec<Vec<f64>> {
    value
        .as_array()
        .expect("a list")
        .iter()
        .map(numbers)
        .collect()
}

#[track_caller]
fn close(what: &str, ours: f64, theirs: f64) {
    let allowed = 1e-9 * theirs.abs() + 1e-12;
    assert!(
        (ours - theirs).abs() <= allowed,
        "{what}: {ours} is not {theirs}"
    );
}

#[test]
fn tails_and_bounds_are_scipys() {
    for case in rows_of(&golden("binomial")) {
        let p = binomial_upper(case[0] as u64, case[1] as u64, case[2]).expect("a probability");
        close(&format!("binomial {case:?}"), p.ln(), case[3]);
    }
    for case in rows_of(&golden("student")) {
        let p = student_two_sided(case[0], case[1]).expect("a number");
        close(&format!("student {case:?}"), p.ln(), case[2]);
    }
    for case in rows_of(&golden("clopper")) {
        let bound = clopper_pearson_upper(case[0] as u64, case[1] as u64, 0.95);
        close(&format!("clopper {case:?}"), bound, case[2]);
    }
    for case in rows_of(&golden("calibrated")) {
        let p = PValue::from_ln(case[0]).expect("a number");
        // The plain form of the script loses digits near 1.
        let ours = calibrated_ln_e(p);
        assert!(
            (ours - case[1]).abs() < 1e-9 * case[1].abs() + 1e-7,
            "{case:?}: {ours}"
        );
    }
}

#[test]
fn evidence_of_rates_follows_the_plain_recursion() {
    let golden = golden("rates");
    let detector =
        RateDetector::against(number(&golden["rate"]), number(&golden["length"])).expect("a rate");
    let mut state = RateState::default();
    let worse = numbers(&golden["worse"]);
    let batches = golden["batches"].as_array().expect("a list");
    assert_eq!((batches.len(), worse.len()), (20, 20));
    for (batch, expected) in batches.iter().zip(worse) {
        let batch = counts(batch);
        let batch = RateBatch {
            events: batch[0],
            labels: batch[1],
        };
        let (next, verdict) = detector.step(state, batch).expect("labels");
        state = next;
        close("evidence", verdict.worse, expected);
    }
}

#[test]
fn evidence_of_losses_follows_the_plain_game() {
    let golden = golden("betting");
    let (mean, variance) = (number(&golden["mean"]), number(&golden["variance"]));
    let detector = LossDetector::against(mean, variance, 1e5).expect("a mean");
    let losses: Vec<f64> = (uniforms(6, 300).iter().enumerate())
        .map(|(i, u)| (u * u + if i < 150 { 0.0 } else { 0.1 }).min(1.0))
        .collect();
    let (_, verdict) = detector.step(detector.start(), &losses).expect("losses");
    close("evidence", verdict.worse, number(&golden["worse"]));
}

#[test]
fn days_are_tested_as_written_out() {
    let golden = golden("day_values");
    let days = |part: &str| -> Vec<DayValue> {
        let rows = rows_of(&golden[part]).into_iter();
        rows.map(|day| DayValue {
            value: day[0],
            variance: day[1],
            size: day[2] as u64,
        })
        .collect()
    };
    let current: Vec<Option<DayValue>> = days("current").into_iter().map(Some).collect();
    let reference = DayReference::fit(&days("reference")).expect("enough days");
    let of = reference.test(&current).expect("enough labels").strongest;
    let expected = &golden["result"];
    assert_eq!(of.days as f64, number(&expected["days"]));
    close("difference", of.difference, number(&expected["difference"]));
    close("low", of.interval.0, number(&expected["low"]));
    close("high", of.interval.1, number(&expected["high"]));
    close("p", of.p_value.ln(), number(&expected["ln_p"]));
}

#[test]
fn variances_are_moderated_as_by_root_finding() {
    let golden = golden("moderated");
    let degrees = number(&golden["degrees"]);
    let variances = numbers(&golden["variances"]).into_iter();
    let prior = Prior::of(
        &variances
            .map(|variance| (variance, degrees))
            .collect::<Vec<_>>(),
    );
    let expected = numbers(&golden["prior"]);
    close("degrees", prior.freedom, expected[0]);
    close("variance", prior.variance, expected[1]);
}

#[test]
fn estimates_are_those_of_every_row_by_itself() {
    let golden = golden("estimates");
    let (a, b) = (uniforms(9, 4000), uniforms(10, 4000));
    let coarse = |u: f64| (u * 40.0).floor() / 40.0;
    let scored: Vec<(f64, bool)> = (a.iter().zip(&b))
        .map(|(a, b)| (coarse(*a), *b < (coarse(*a).powi(2) + 0.05).min(1.0)))
        .collect();
    let calibration = Calibration::fit(&scored, Some(0.5)).expect("both classes");
    let mut window = ScoreWindow::of(&calibration);
    for u in uniforms(11, 900) {
        let score = coarse(u.powf(0.7));
        window.push(&calibration, score, score >= 0.5);
    }
    let of = BinaryEstimates::new(&calibration, &window, None, (0.0, 1.0)).expect("the same bins");
    for (ours, theirs) in of
        .confusion()
        .into_iter()
        .zip(numbers(&golden["confusion"]))
    {
        close("confusion", ours, theirs);
    }
    let value = |of: Result<Estimated, _>| of.expect("defined").value;
    let accuracy = of.accuracy().expect("rows");
    close("accuracy", accuracy.value, number(&golden["accuracy"]));
    let error = (accuracy.interval.1 - accuracy.value) / Z_95;
    close(
        "error of the accuracy",
        error,
        number(&golden["accuracy_error"]),
    );
    close(
        "precision",
        value(of.precision()),
        number(&golden["precision"]),
    );
    close("recall", value(of.recall()), number(&golden["recall"]));
    close(
        "specificity",
        value(of.specificity()),
        number(&golden["specificity"]),
    );
    close("f1", value(of.f1()), number(&golden["f1"]));
    close("roc_auc", value(of.roc_auc()), number(&golden["roc_auc"]));
    let worth = OutcomeValues {
        true_positive: 5.0,
        false_positive: -2.0,
        true_negative: 0.5,
        false_negative: -4.0,
    };
    close(
        "value",
        value(of.value_per_prediction(worth)),
        number(&golden["value"]),
    );
}

fn joint(rows: &[Vec<f64>]) -> JointCounts {
    let mut joint = JointCounts::new(rows.len(), rows[0].len());
    for (group, row) in rows.iter().enumerate() {
        for (class, count) in row.iter().enumerate() {
            for _ in 0..*count as u64 {
                joint.push(group, class);
            }
        }
    }
    joint
}

#[test]
fn label_shift_is_that_of_written_out_least_squares() {
    let golden = golden("shift");
    for (table, window, result) in [
        ("joint", "counts", "result"),
        ("square", "square_counts", "square_result"),
    ] {
        let shift =
            LabelShift::estimate(&joint(&rows_of(&golden[table])), &[counts(&golden[window])]);
        let shift = shift.expect("it can be solved");
        let expected = &golden[result];
        for (ours, theirs) in shift.shares.iter().zip(numbers(&expected["shares"])) {
            assert!(
                (ours - theirs).abs() < 1e-8,
                "{table}: {ours} is not {theirs}"
            );
        }
        for (ours, theirs) in shift.errors.iter().zip(numbers(&expected["errors"])) {
            assert!(
                (ours - theirs).abs() < 1e-8,
                "{table}: {ours} is not {theirs}"
            );
        }
        let ln_p = shift.is_pure.map(PValue::ln);
        match (ln_p, expected["ln_p"].as_f64()) {
            (Some(ours), Some(theirs)) => assert!((ours - theirs).abs() < 1e-6, "{ours} {theirs}"),
            (ours, theirs) => assert_eq!(ours, theirs, "{table}"),
        }
    }
}

#[test]
fn co_moments_are_tested_as_written_out() {
    let golden = golden("comoments");
    let scores = NormalScores::fit(&[10, 20, 40, 20, 10]).expect("bins");
    for (bin, expected) in numbers(&golden["scores"]).into_iter().enumerate() {
        close("score", scores.of(Some(bin)), expected);
    }
    let days: Vec<CoMoments> = (0..15)
        .map(|day| {
            let mut moments = CoMoments::new(3).expect("three columns");
            for (row, values) in uniforms(100 + day, 180).chunks(3).enumerate() {
                let third = if day >= 12 && row % 2 == 0 {
                    values[0]
                } else {
                    values[2]
                };
                let coded = [values[0], values[1], third].map(|u| (u * 5.0) as usize);
                moments
                    .push(&coded.map(|bin| scores.of(Some(bin))))
                    .expect("three");
            }
            moments
        })
        .collect();
    let baseline = CoMomentBaseline::fit(&days[..12]).expect("enough days");
    let changes = baseline.changes(&days[12..]).expect("the same columns");
    let expected = numbers(&golden["ln_p"]);
    for (columns, expected) in [(0, 1), (0, 2), (1, 2)].into_iter().zip(expected) {
        let change = changes
            .iter()
            .find(|change| change.columns == columns)
            .expect("a pair");
        close(
            &format!("{columns:?}"),
            change.p_value.ln(),
            expected.min(0.0),
        );
    }
    assert_eq!(changes[0].columns, (0, 2));
}

#[test]
fn a_change_is_split_as_by_hand() {
    let golden = golden("decomposition");
    let side = |rows: &str, wrong: &str| -> Vec<Moments> {
        let pairs = counts(&golden[rows])
            .into_iter()
            .zip(numbers(&golden[wrong]));
        pairs
            .map(|(rows, wrong)| Moments {
                rows,
                sum: wrong,
                squares: wrong,
            })
            .collect()
    };
    let cells: Vec<(Moments, Moments)> = (side("before", "wrong_before").into_iter())
        .zip(side("after", "wrong_after"))
        .collect();
    let of = decompose(&cells).expect("enough rows");
    close("input", of.input.value, number(&golden["input"]));
    close("concept", of.concept.value, number(&golden["concept"]));
}

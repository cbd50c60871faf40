//! What estimates say before labels, and when they are not to be leant on.

use super::*;
use crate::domain::columns::Value;
use crate::domain::labelled::LabelledRow;

/// Uniform numbers from 0 to 1, the same for the same seed.
fn uniform(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn row(truth: Truth) -> LabelledRow {
    LabelledRow {
        predicted_at: None,
        lag: None,
        truth,
        earlier: Vec::new(),
    }
}

fn sample(rows: Vec<LabelledRow>, features: Vec<columns::Column>) -> LabelledSample {
    LabelledSample {
        answered: rows.len() as u64,
        labels: rows.len() as u64,
        rows,
        features,
    }
}

/// Scores that say how often they come true.
fn scored() -> LabelledSample {
    let mut draw = uniform(5);
    let rows = (0..8_000).map(|_| {
        let score = draw();
        row(Truth::Binary {
            score: Some(score),
            predicted: score >= 0.5,
            label: draw() < score,
        })
    });
    sample(rows.collect(), Vec::new())
}

fn score(score: f64) -> (i64, Output) {
    (
        0,
        Output {
            score: Some(score),
            ..Output::default()
        },
    )
}

fn counted(
    estimator: &Estimator,
    outputs: &[(i64, Output)],
    features: &[columns::Column],
) -> Estimates {
    let stored = Estimator::decode(&estimator.encode()).expect("is read as it was written");
    let mut counted = stored.window();
    stored
        .count(&mut counted, outputs, features, "yes")
        .expect("the same estimator");
    let mut corrected = stored.corrected_window(&counted);
    if let Some(corrected) = &mut corrected {
        stored
            .count(corrected, outputs, features, "yes")
            .expect("the same estimator");
    }
    stored
        .estimates(&counted, corrected.as_ref(), 0.0)
        .expect("estimates")
}

fn around(reliability: &Reliability, reference: f64) -> Circumstances<'_> {
    Circumstances {
        reference: Some(reference),
        tolerance: None,
        reliability,
        least_rows: 100,
        days: 7.0,
        unit: "minutes",
    }
}

fn told(estimates: &Estimates, measure: Measure, around: &Circumstances<'_>) -> Told {
    let (_, estimation) = estimates
        .values
        .iter()
        .find(|(of, _)| *of == measure)
        .expect("is estimated");
    estimates.told(measure, *estimation, around)
}

#[test]
fn a_window_of_unsure_scores_is_a_drop_and_one_of_usual_scores_is_none() {
    let estimator = Estimator::fit(&scored(), Task::Binary).expect("both classes");
    let nothing = Reliability::default();
    let mut draw = uniform(9);
    let usual: Vec<(i64, Output)> = (0..2_000).map(|_| score(draw())).collect();
    let estimates = counted(&estimator, &usual, &[]);
    let fine = told(
        &estimates,
        Measure::EstimatedAccuracy,
        &around(&nothing, 0.75),
    );
    assert_eq!(fine.status, Status::Ok, "{fine:?}");
    assert!(
        (fine.value.expect("a value") - 0.75).abs() < 0.02,
        "{fine:?}"
    );
    let words = fine.recipe.detail.expect("words");
    for part in [
        "accuracy is estimated at 0.7",
        "0.750 in the baseline",
        "no window's labels have come to check it by yet",
        "at most one window of 40",
        // A week at a time: within a day nothing is said.
        "smallest change for the worse seen in 7/28 days",
        BLIND_SPOT,
    ] {
        assert!(words.contains(part), "{part}: {words}");
    }

    let unsure: Vec<(i64, Output)> = (0..2_000).map(|_| score(0.35 + 0.3 * draw())).collect();
    let drop = told(
        &counted(&estimator, &unsure, &[]),
        Measure::EstimatedAccuracy,
        &around(&nothing, 0.75),
    );
    assert_eq!(drop.status, Status::Drift, "{drop:?}");
    assert!(drop.interval.expect("an interval").1 < 0.73);

    let few = told(
        &counted(&estimator, &usual[..50], &[]),
        Measure::EstimatedAccuracy,
        &around(&nothing, 0.75),
    );
    assert_eq!((few.status, few.value), (Status::Insufficient, None));
}

#[test]
fn a_shift_of_the_classes_is_corrected_beside_the_plain_estimate() {
    let estimator = Estimator::fit(&scored(), Task::Binary).expect("both classes");
    let mut draw = uniform(11);
    // Positives and negatives as they were, but three of four are positive.
    let shifted: Vec<(i64, Output)> = std::iter::repeat_with(|| {
        let (of, label) = (draw(), draw());
        (of, label < of, draw())
    })
    .filter(|(_, positive, keep)| *positive || *keep < 1.0 / 3.0)
    .map(|(of, ..)| score(of))
    .take(4_000)
    .collect();
    let nothing = Reliability::default();
    let said = told(
        &counted(&estimator, &shifted, &[]),
        Measure::EstimatedAccuracy,
        &around(&nothing, 0.75),
    );
    let recipe = said.recipe.estimate.expect("a recipe");
    let corrected = recipe.corrected.expect("a correction");
    assert!(
        (corrected.value - said.value.expect("a value")).abs() > 0.002,
        "{corrected:?}"
    );
    assert!(recipe.label_shift_p.expect("more groups than classes") > 0.001);
}

#[test]
fn labels_that_contradict_it_make_an_estimate_blind_and_a_finding() {
    let estimator = Estimator::fit(&scored(), Task::Binary).expect("both classes");
    let mut draw = uniform(9);
    let usual: Vec<(i64, Output)> = (0..2_000).map(|_| score(draw())).collect();
    let estimates = counted(&estimator, &usual, &[]);
    let mut reliability = Reliability::default();
    for realised in [0.752, 0.745, 0.748] {
        reliability.push(compared(0.75, (0.73, 0.77), realised));
    }
    let close = error_told(Measure::EstimatedAccuracy, &around(&reliability, 0.75));
    assert_eq!(close.status, Status::Ok);
    assert!(
        close
            .recipe
            .detail
            .expect("words")
            .contains("within 0.005 of the truth for the last 3 windows")
    );
    for realised in [0.65, 0.64] {
        reliability.push(compared(0.75, (0.73, 0.77), realised));
    }
    let blind = error_told(Measure::EstimatedAccuracy, &around(&reliability, 0.75));
    assert_eq!(blind.status, Status::Drift);
    assert!((blind.value.expect("a value") - 0.105).abs() < 1e-9);
    let words = blind.recipe.detail.expect("words");
    assert!(
        words
            .starts_with("for the last 2 windows accuracy was estimated 0.105 too high on average"),
        "{words}"
    );
    let said = told(
        &estimates,
        Measure::EstimatedAccuracy,
        &around(&reliability, 0.75),
    );
    assert_eq!(
        said.status,
        Status::Insufficient,
        "what is blind is never ok"
    );
    assert!(
        said.recipe
            .cause
            .expect("a cause")
            .contains("labels have contradicted it for 2 windows")
    );
    assert_eq!(
        error_told(
            Measure::EstimatedMae,
            &around(&Reliability::default(), 0.75)
        )
        .status,
        Status::Insufficient
    );
}

#[test]
fn numbers_are_estimated_from_their_features_and_what_is_new_is_flagged() {
    let mut draw = uniform(21);
    // Errors are four times as large where the road is bad, and grow with the distance.
    let mut roads = Vec::new();
    let mut distances = Vec::new();
    let rows: Vec<LabelledRow> = (0..3_000)
        .map(|i| {
            let (bad, distance) = (i % 3 == 0, 10.0 * draw());
            roads.push(Value::Text(if bad { "bad" } else { "good" }.into()));
            distances.push(Value::Number(distance));
            let error = distance * if bad { 4.0 } else { 1.0 } * (draw() - 0.5);
            row(Truth::Number {
                predicted: 50.0,
                label: 50.0 + error,
            })
        })
        .collect();
    let features = vec![
        columns::Column::of("distance", distances),
        columns::Column::of("road", roads),
    ];
    let estimator = Estimator::fit(&sample(rows, features), Task::Regression).expect("rows");
    assert_eq!(estimator.features(), ["distance", "road"]);
    let window = |road: &str, count: i32| {
        let outputs: Vec<(i64, Output)> = (0..count)
            .map(|_| {
                (
                    0,
                    Output {
                        value: Some(50.0),
                        ..Output::default()
                    },
                )
            })
            .collect();
        let distance = columns::Column::of(
            "distance",
            (0..count).map(|i| Value::Number(f64::from(i % 10))),
        );
        let road = columns::Column::of(
            "road",
            (0..count).map(|_| Value::Text(road.to_owned().into())),
        );
        counted(&estimator, &outputs, &[distance, road])
    };
    let nothing = Reliability::default();
    let of = |road| {
        told(
            &window(road, 500),
            Measure::EstimatedMae,
            &around(&nothing, 2.5),
        )
    };
    let (good, bad) = (of("good"), of("bad"));
    assert!(
        (0.9..1.6).contains(&good.value.expect("a value")),
        "{good:?}"
    );
    assert!((3.5..5.5).contains(&bad.value.expect("a value")), "{bad:?}");
    assert_eq!((good.status, bad.status), (Status::Ok, Status::Drift));
    assert!(
        bad.recipe
            .detail
            .expect("words")
            .starts_with("mae is estimated at")
    );
    let empty = Estimator::fit(&sample(Vec::new(), Vec::new()), Task::Regression);
    assert_eq!(empty, Err(Undefined::NoOutcomes));
}

#[test]
fn several_classes_are_estimated_from_their_probabilities() {
    let mut draw = uniform(33);
    let probabilities = |sure: f64| vec![("a".to_owned(), sure), ("b".to_owned(), 1.0 - sure)];
    let rows: Vec<LabelledRow> = (0..6_000)
        .map(|_| {
            let sure = draw();
            row(Truth::Class {
                predicted: if sure >= 0.5 { "a" } else { "b" }.to_owned(),
                label: if draw() < sure { "a" } else { "b" }.to_owned(),
                probabilities: probabilities(sure),
            })
        })
        .collect();
    let estimator =
        Estimator::fit(&sample(rows, Vec::new()), Task::Multiclass).expect("two classes");
    let outputs: Vec<(i64, Output)> = (0..2_000)
        .map(|_| {
            let sure = draw();
            (
                0,
                Output {
                    class: Some(if sure >= 0.5 { "a" } else { "b" }.to_owned()),
                    probabilities: probabilities(sure),
                    ..Output::default()
                },
            )
        })
        .collect();
    let nothing = Reliability::default();
    let said = told(
        &counted(&estimator, &outputs, &[]),
        Measure::EstimatedAccuracy,
        &around(&nothing, 0.75),
    );
    assert!(
        (said.value.expect("a value") - 0.75).abs() < 0.02,
        "{said:?}"
    );
}

#[test]
fn an_interval_is_wider_where_fewer_labels_have_come() {
    let (low, high) = widened((0.5, (0.4, 0.6)), 400, 100);
    assert!((low - 0.3).abs() < 1e-12 && (high - 0.7).abs() < 1e-12);
    assert_eq!(widened((0.5, (0.4, 0.6)), 100, 400), (0.4, 0.6));
}

#[test]
fn a_shift_of_three_classes_is_corrected_in_a_second_reading() {
    let names = ["bus", "train", "walk"];
    let mut draw = uniform(17);
    let mut rows = |count: usize, shares: [f64; 3]| -> Vec<(usize, [f64; 3])> {
        let mut row = || {
            let mut left = draw();
            let label = shares.iter().position(|share| {
                left -= share;
                left < 0.0
            });
            let label = label.unwrap_or(2);
            let raw = [0, 1, 2].map(|class| {
                let noise = draw() * draw();
                if class == label {
                    noise + 0.3
                } else {
                    noise + 0.05
                }
            });
            let sum: f64 = raw.iter().sum();
            (label, raw.map(|p| p / sum))
        };
        (0..count).map(|_| row()).collect()
    };
    let highest = |row: &[f64; 3]| {
        (0..3)
            .max_by(|a, b| row[*a].total_cmp(&row[*b]))
            .expect("three")
    };
    let named = |row: &[f64; 3]| -> Vec<(String, f64)> {
        names
            .iter()
            .map(|name| (*name).to_owned())
            .zip(*row)
            .collect()
    };
    let reference = rows(9_000, [0.5, 0.3, 0.2]);
    let labelled = reference.iter().map(|(label, probabilities)| {
        row(Truth::Class {
            predicted: names[highest(probabilities)].to_owned(),
            label: names[*label].to_owned(),
            probabilities: named(probabilities),
        })
    });
    let estimator = Estimator::fit(&sample(labelled.collect(), Vec::new()), Task::Multiclass)
        .expect("all classes");
    let output = |(_, probabilities): &(usize, [f64; 3])| {
        let output = Output {
            class: Some(names[highest(probabilities)].to_owned()),
            probabilities: named(probabilities),
            ..Output::default()
        };
        (0, output)
    };
    let nothing = Reliability::default();
    let said = |window: &[(usize, [f64; 3])]| {
        let outputs: Vec<(i64, Output)> = window.iter().map(output).collect();
        let estimates = counted(&estimator, &outputs, &[]);
        told(
            &estimates,
            Measure::EstimatedAccuracy,
            &around(&nothing, 0.8),
        )
    };
    let shifted = rows(6_000, [0.2, 0.2, 0.6]);
    let right = shifted
        .iter()
        .filter(|(label, row)| highest(row) == *label)
        .count();
    let right = right as f64 / shifted.len() as f64;
    let told = said(&shifted);
    let recipe = told.recipe.estimate.expect("a recipe");
    let corrected = recipe.corrected.expect("a correction").value;
    let plain = told.value.expect("a value");
    assert!(
        (corrected - right).abs() < 0.015
            && (corrected - right).abs() < (plain - right).abs() / 2.0,
        "{plain} {corrected} {right}"
    );
    assert!(recipe.label_shift_p.expect("more groups than classes") > 0.001);
    let most = &recipe.class_shares[0];
    assert_eq!(most.class, "walk");
    assert!(most.interval.0 < 0.6 && 0.6 < most.interval.1, "{most:?}");
    let words = told.recipe.detail.expect("words");
    assert!(
        words.contains(" if only the classes' shares have changed (walk from 20 to "),
        "{words}"
    );
    // Too few rows for each class: nothing is corrected, and the estimate stands.
    let few = said(&shifted[..120]);
    assert_eq!(few.recipe.estimate.expect("a recipe").corrected, None);
}

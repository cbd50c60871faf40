//! Changes that each method must see and must not see, with fixed seeds, and degenerate input.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::stats::random::uniforms;

fn normal(random: &mut StdRng) -> f64 {
    let (u, v): (f64, f64) = (random.random::<f64>().max(1e-300), random.random());
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// Rows of four columns; the second follows the first with this correlation, and the third is stretched.
fn rows(seed: u64, count: usize, correlation: f64, shift: f64, stretch: f64) -> Rows {
    let mut random = StdRng::seed_from_u64(seed);
    let mut values = Vec::new();
    for _ in 0..count {
        let [a, b, c, d] = [0; 4].map(|_| normal(&mut random));
        let follower = correlation * a + (1.0 - correlation * correlation).sqrt() * b;
        values.extend([a, follower, c * stretch, d + shift]);
    }
    Rows::of(&values, 4)
}

#[test]
fn p_values_without_drift_are_spread_over_zero_to_one() {
    let mut counts = [0; 4];
    for seed in 0..100 {
        let (p, q) = (
            rows(seed, 400, 0.3, 0.0, 1.0),
            rows(seed + 1_000, 200, 0.3, 0.0, 1.0),
        );
        let p_values = [
            maximum_mean_discrepancy(&p, &q).expect("rows").p_value,
            correlation_change(&p, &q).expect("rows").p_value,
            reconstruction(&p, &q, 0.65).expect("rows").p_value,
            domain_classifier(&p, &q).expect("rows").p_value,
        ];
        for (count, p) in counts.iter_mut().zip(p_values) {
            *count += i32::from(p.value() < 0.05);
        }
    }
    for (count, name) in counts
        .iter()
        .zip(["mmd", "correlation", "reconstruction", "classifier"])
    {
        assert!(*count <= 12, "{name} rejects {count} of 100 at 0.05");
    }
}

#[test]
fn a_shifted_column_is_seen_and_named() {
    let (p, q) = (rows(1, 2_000, 0.3, 0.0, 1.0), rows(2, 1_000, 0.3, 0.8, 1.0));
    let shift = mean_shift(&p, &q).expect("rows");
    assert!(
        (shift.distance - 0.8).abs() < 0.15 && shift.distance > 5.0 * shift.noise_floor,
        "{shift:?}"
    );
    let discrepancy = maximum_mean_discrepancy(&p, &q).expect("rows");
    assert!(discrepancy.p_value.value() < 1e-6, "{discrepancy:?}");
    let classifier = domain_classifier(&p, &q).expect("rows");
    assert!(
        classifier.auc > 0.65 && classifier.p_value.value() < 1e-20,
        "{classifier:?}"
    );
    assert_eq!(classifier.weights[0].0, 3);
    let correlation = correlation_change(&p, &q).expect("rows");
    assert!(correlation.p_value.value() > 0.01, "{correlation:?}");
}

#[test]
fn a_value_far_off_hides_nothing_from_the_classifier() {
    let mut random = crate::stats::random::uniform(5);
    let mut normal = |shift: f64| shift + normal_quantile(random());
    let mut side = |shift: f64| -> Vec<f64> { (0..400).map(|_| normal(shift)).collect() };
    let (mut before, now) = (side(0.0), side(2.0));
    before[17] = 1e12;
    let classifier = domain_classifier(&Rows::of(&before, 1), &Rows::of(&now, 1)).expect("rows");
    assert!(classifier.auc > 0.9, "{classifier:?}");
}

#[test]
fn a_value_far_off_hides_nothing_from_the_reconstruction() {
    let (p, q) = (rows(5, 2_000, 0.9, 0.0, 1.0), rows(6, 1_000, 0.0, 0.0, 1.0));
    let without = reconstruction(&p, &q, 0.65).expect("rows");
    for place in [0, p.columns] {
        let mut far = p.clone();
        far.values[place] = 1e12;
        let with = reconstruction(&far, &q, 0.65).expect("rows");
        let (with_it, without_it) = (
            with.change().expect("a change"),
            without.change().expect("a change"),
        );
        assert!(
            (with_it - without_it).abs() < 0.05,
            "{with_it} and {without_it}"
        );
        assert!(with.p_value.value() < 1e-3, "{with:?}");
    }
}

#[test]
fn a_stretched_column_is_seen_by_the_classifier_and_the_reconstruction() {
    let (p, q) = (rows(3, 2_000, 0.3, 0.0, 1.0), rows(4, 1_000, 0.3, 0.0, 2.0));
    let classifier = domain_classifier(&p, &q).expect("rows");
    assert!(classifier.auc > 0.6, "{classifier:?}");
    assert_eq!(classifier.weights[0].0, 2);
    let shift = mean_shift(&p, &q).expect("rows");
    assert!(shift.distance < 4.0 * shift.noise_floor, "{shift:?}");
}

#[test]
fn a_lost_correlation_is_seen_and_its_columns_named() {
    let (p, q) = (rows(5, 2_000, 0.9, 0.0, 1.0), rows(6, 1_000, 0.0, 0.0, 1.0));
    let change = correlation_change(&p, &q).expect("rows");
    assert_eq!(change.columns, (0, 1));
    assert!(change.p_value.log10() < -100.0, "{change:?}");
    assert!((change.reference - 0.9).abs() < 0.05 && change.current.abs() < 0.1);
    let reconstruction = reconstruction(&p, &q, 0.65).expect("rows");
    assert!(reconstruction.p_value.value() < 1e-3, "{reconstruction:?}");
}

#[test]
fn eigenvectors_are_those_of_the_matrix() {
    let matrix = vec![4.0, 1.0, 0.5, 1.0, 3.0, -1.0, 0.5, -1.0, 2.0];
    for (value, vector) in eigen(matrix.clone(), 3) {
        for row in 0..3 {
            let image = dot(&matrix[row * 3..row * 3 + 3], &vector);
            assert!(
                (image - value * vector[row]).abs() < 1e-10,
                "{value} {vector:?}"
            );
        }
    }
}

#[test]
fn degenerate_rows_are_named() {
    type Method = fn(&Rows, &Rows) -> Result<(), NotComparable>;
    let methods: [(&str, Method); 5] = [
        ("mean shift", |p, q| mean_shift(p, q).map(drop)),
        ("discrepancy", |p, q| {
            maximum_mean_discrepancy(p, q).map(drop)
        }),
        ("correlation", |p, q| correlation_change(p, q).map(drop)),
        ("reconstruction", |p, q| {
            reconstruction(p, q, 0.65).map(drop)
        }),
        ("classifier", |p, q| domain_classifier(p, q).map(drop)),
    ];
    let some = rows(7, 50, 0.3, 0.0, 1.0);
    let none = Rows::of(&[], 4);
    let not_finite = Rows::of(&[f64::NAN, 1.0, 2.0, 3.0, 1.0, f64::INFINITY, 2.0, 3.0], 4);
    let narrow = Rows::of(&[1.0; 100], 2);
    let constant = Rows::of(&[5.0; 200], 4);
    let huge: Vec<f64> = (0..200)
        .map(|i| if i % 2 == 0 { 1.7e308 } else { -1.7e308 })
        .collect();
    let huge = Rows::of(&huge, 1);
    for (name, method) in methods {
        assert_eq!(
            method(&none, &some),
            Err(NotComparable::TooFewReferenceRows),
            "{name}"
        );
        assert_eq!(
            method(&some, &none),
            Err(NotComparable::TooFewCurrentRows),
            "{name}"
        );
        assert_eq!(
            method(&some, &not_finite),
            Err(NotComparable::TooFewCurrentRows),
            "{name}"
        );
        assert_eq!(
            method(&some, &narrow),
            Err(NotComparable::DifferentColumns),
            "{name}"
        );
        if name != "mean shift" {
            assert_eq!(
                method(&constant, &constant),
                Err(NotComparable::NothingVaries),
                "{name}"
            );
        }
        assert!(
            method(&huge, &huge).is_err(),
            "{name} of the ends of the range"
        );
    }
    let same = mean_shift(&constant, &constant).expect("rows");
    assert_eq!((same.distance, same.noise_floor), (0.0, 0.0));
}

// ── values of numpy, SciPy and scikit-learn (tests/data/multivariate) ─────────────────────────────────────

fn golden() -> serde_json::Value {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/data/multivariate/golden.json"
    );
    let text = std::fs::read_to_string(path).expect("the golden file");
    serde_json::from_str(&text).expect("JSON")
}

/// As `rows` of the script.
fn mixed_rows(seed: u64, count: usize, columns: usize, mix: f64) -> Rows {
    let drawn = uniforms(seed, count * columns);
    let mut mixed = drawn.clone();
    for row in 0..count {
        for at in row * columns + 1..(row + 1) * columns {
            mixed[at] = mix * mixed[at - 1] + (1.0 - mix) * drawn[at].powi(2);
        }
    }
    Rows::of(&mixed, columns)
}

#[track_caller]
fn same(what: &str, ours: f64, theirs: &serde_json::Value) {
    let theirs = theirs.as_f64().expect("a number");
    assert!(
        (ours - theirs).abs() <= 1e-9 * theirs.abs() + 1e-12,
        "{what}: {ours} is not {theirs}"
    );
}

#[test]
fn values_are_those_of_numpy_and_scikit_learn() {
    let golden = golden();
    let cases = golden["cases"].as_array().expect("a list");
    assert_eq!(cases.len(), 4);
    for case in cases {
        let whole = |name: &str| case[name].as_u64().expect("a count") as usize;
        let number = |name: &str| case[name].as_f64().expect("a number");
        let (seed, columns) = (whole("seed") as u64, whole("columns"));
        let p = mixed_rows(seed, whole("reference"), columns, number("before"));
        let q = mixed_rows(seed + 1_000, whole("current"), columns, number("now"));

        let theirs = &case["reconstruction"];
        let ours = reconstruction(&p, &q, 0.65).expect("rows");
        assert_eq!(Some(ours.components as u64), theirs["components"].as_u64());
        same("error before", ours.reference, &theirs["reference"]);
        same("error now", ours.current, &theirs["current"]);
        same("p of errors", ours.p_value.ln(), &theirs["ln_p"]);
        for (column, change) in &ours.residuals {
            same("residual", *change, &theirs["residuals"][column]);
        }

        let theirs = &case["correlation"];
        let ours = correlation_change(&p, &q).expect("rows");
        let columns = [ours.columns.0 as u64, ours.columns.1 as u64];
        assert_eq!(theirs["columns"], serde_json::json!(columns));
        same("correlation before", ours.reference, &theirs["reference"]);
        same("correlation now", ours.current, &theirs["current"]);
        same("p of correlation", ours.p_value.ln(), &theirs["ln_p"]);

        let theirs = &case["discrepancy"];
        let ours = maximum_mean_discrepancy(&p, &q).expect("rows");
        same("discrepancy", ours.squared, &theirs["squared"]);
        same("bandwidth", ours.bandwidth, &theirs["bandwidth"]);
        same("p of discrepancy", ours.p_value.ln(), &theirs["ln_p"]);

        let theirs = &case["mean_shift"];
        let ours = mean_shift(&p, &q).expect("rows");
        same("shift", ours.distance, &theirs["distance"]);
        same("floor", ours.noise_floor, &theirs["noise_floor"]);
    }
}

#[test]
fn rows_that_are_reconstructed_without_error_have_no_change() {
    // The second column is twice the first: one direction holds everything.
    let line = |seed| -> Vec<f64> {
        let first = uniforms(seed, 100).into_iter();
        first.flat_map(|value| [value, 2.0 * value]).collect()
    };
    let (p, q) = (Rows::of(&line(1), 2), Rows::of(&line(2), 2));
    let found = reconstruction(&p, &q, 0.65).expect("rows");
    assert_eq!((found.components, found.change()), (1, None));
    let apart = Rows::of(&uniforms(3, 200), 2);
    let found = reconstruction(&apart, &apart, 0.65).expect("rows");
    assert!(found.components == 1 && found.reference > 0.1 && found.change().is_some());
}

#[test]
fn areas_are_those_of_scikit_learn_with_and_without_ties() {
    let golden = golden();
    for case in golden["areas"].as_array().expect("a list") {
        let seed = case["seed"].as_u64().expect("a count");
        let levels = case["levels"].as_f64().expect("a number");
        let rounded = |value: f64| {
            if levels > 0.0 {
                (value * levels).floor()
            } else {
                value
            }
        };
        let low: Vec<f64> = uniforms(seed, 150).into_iter().map(rounded).collect();
        let high = uniforms(seed + 1_000, 90).into_iter();
        let high: Vec<f64> = high.map(|value| rounded(value + 0.2)).collect();
        let area = area_between(&Sample::of(&low), &Sample::of(&high));
        same("area", area, &case["area"]);
    }
}

#[test]
fn rankings_gain_what_they_gain_in_scikit_learn() {
    let golden = golden();
    for case in golden["ranked"].as_array().expect("a list") {
        let numbers = |name: &str| -> Vec<f64> {
            serde_json::from_value(case[name].clone()).expect("numbers")
        };
        let gain =
            crate::stats::attribution::ranking_gain(&numbers("reference"), &numbers("current"));
        same("gain", gain.expect("ranked"), &case["ndcg"]);
    }
}

/// Rows of two correlated normal columns around a centre.
fn normal_rows(
    count: usize,
    centre: (f64, f64),
    correlation: f64,
    random: &mut impl FnMut() -> f64,
) -> Rows {
    let values: Vec<f64> = (0..count)
        .flat_map(|_| {
            let mut normal =
                || crate::stats::tails::normal_quantile(random().clamp(1e-12, 1.0 - 1e-12));
            let (x, y) = (normal(), normal());
            [
                centre.0 + x,
                centre.1 + correlation * x + (1.0 - correlation * correlation).sqrt() * y,
            ]
        })
        .collect();
    Rows::of(&values, 2)
}

#[test]
fn intervals_hold_what_is_true_of_the_populations() {
    const RUNS: usize = 300;
    let mut random = crate::stats::random::uniform(17);
    for (shift, correlation) in [(0.0, 0.3), (0.1, 0.3), (0.6, 0.7)] {
        let mut held = [0_usize; 3];
        for _ in 0..RUNS {
            let before = normal_rows(300, (0.0, 0.0), 0.3, &mut random);
            let now = normal_rows(200, (shift, 0.0), correlation, &mut random);
            let mean = mean_shift(&before, &now).expect("rows");
            assert!(mean.interval.0 <= mean.distance && mean.distance <= mean.interval.1);
            let change = correlation_change(&before, &now).expect("rows");
            let found = maximum_mean_discrepancy(&before, &now).expect("rows");
            // What many rows give stands for what is true.
            let truths = [
                (mean.interval, shift),
                (change.interval, correlation - 0.3),
                (
                    found.interval,
                    discrepancy_of(shift, correlation, found.bandwidth),
                ),
            ];
            for (held, ((low, high), truth)) in held.iter_mut().zip(truths) {
                *held += usize::from(low <= truth && truth <= high);
            }
        }
        let shares = held.map(|held| held as f64 / RUNS as f64);
        assert!(
            shares.iter().all(|share| (0.915..=1.0).contains(share)),
            "{shift}: {shares:?}"
        );
        // Far from no change they are no wider than they need be.
        assert!(shift < 0.5 || shares[0] < 0.99, "{shift}: {shares:?}");
    }
}

/// The squared discrepancy of the two normal distributions of [`normal_rows`] under a Gaussian kernel: of two rows whose difference is
/// normal the mean kernel is known.
fn discrepancy_of(shift: f64, correlation: f64, width: f64) -> f64 {
    let kernel = |mean: (f64, f64), cross: f64| {
        // The difference has variances 2 and the covariance `cross`.
        let (a, b) = (width * width + 2.0, cross);
        let determinant = a * a - b * b;
        let exponent =
            (a * mean.0 * mean.0 - 2.0 * b * mean.0 * mean.1 + a * mean.1 * mean.1) / determinant;
        width * width / determinant.sqrt() * (-exponent / 2.0).exp()
    };
    kernel((0.0, 0.0), 0.6) + kernel((0.0, 0.0), 2.0 * correlation)
        - 2.0 * kernel((shift, 0.0), 0.3 + correlation)
}

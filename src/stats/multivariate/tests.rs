//! Changes that each method must see and must not see, with fixed seeds, and degenerate input.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;

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
    // Linear time is paid for with power, so this one gets more rows.
    let (many_p, many_q) = (
        rows(11, 8_000, 0.3, 0.0, 1.0),
        rows(12, 8_000, 0.3, 0.8, 1.0),
    );
    let discrepancy = maximum_mean_discrepancy(&many_p, &many_q).expect("rows");
    assert!(discrepancy.p_value.value() < 1e-3, "{discrepancy:?}");
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

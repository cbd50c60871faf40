//! Every measure on every degenerate input: a value that is a number, or a reason.

use super::*;
use crate::stats::grid::TARGET_CELLS;

fn numbers(reference: &[f64], current: &[f64]) -> (Grid, FeatureProfile, FeatureProfile) {
    let grid = Grid::fit(reference, TARGET_CELLS);
    let profile = |values: &[f64]| {
        let mut profile = FeatureProfile::numeric(Some(&grid));
        profile
            .observe_numbers(values, Some(&grid))
            .expect("the same grid");
        profile
    };
    let (reference, current) = (profile(reference), profile(current));
    (grid, reference, current)
}

fn categories(names: &[&str]) -> FeatureProfile {
    let mut profile = FeatureProfile::categorical();
    for name in names {
        profile.observe_category(name, 1).expect("categorical");
    }
    profile
}

fn nulls(mut profile: FeatureProfile, rows: u64) -> FeatureProfile {
    profile.observe_null(rows);
    profile
}

/// What is expected of all measures of a case, apart from the exceptions listed with it.
type Expected = Result<(), NotDefined>;

fn assert_case(
    case: &str,
    readings: &Readings<'_>,
    expected: Expected,
    exceptions: &[(DriftMeasure, Expected)],
) {
    for measure in DriftMeasure::ALL {
        let exception = exceptions.iter().find(|(which, _)| *which == measure);
        let expected = exception.map_or(expected, |(_, expected)| *expected);
        let reading = readings.read(measure);
        let of = format!("{measure:?} of {case}");
        assert_eq!(
            reading.as_ref().map(|_| ()).map_err(|cause| *cause),
            expected,
            "{of}"
        );
        let Ok(reading) = reading else { continue };
        assert!(reading.value.is_finite(), "{of}: {reading:?}");
        assert!(!reading.method.is_empty(), "{of}");
        for number in [reading.noise_floor, reading.error_bound]
            .into_iter()
            .flatten()
        {
            assert!(number.is_finite() && number >= 0.0, "{of}: {reading:?}");
        }
        if let Some((low, high)) = reading.interval {
            assert!(low.is_finite() && high.is_finite(), "{of}: {reading:?}");
            assert!(
                low <= reading.value && reading.value <= high,
                "{of}: {reading:?}"
            );
        }
        if let Some(p) = reading.p_value {
            assert!(p.ln() <= 0.0, "{of}: {reading:?}");
        }
    }
}

/// The measures that ask for an order, with one answer for all.
fn ordered(expected: Expected) -> Vec<(DriftMeasure, Expected)> {
    let ordered = DriftMeasure::ALL.into_iter().filter(|m| m.needs_order());
    ordered.map(|measure| (measure, expected)).collect()
}

#[test]
fn degenerate_numbers_have_a_named_answer_in_every_measure() {
    use DriftMeasure::{
        AndersonDarling, Chi2, EnergyDistance, GTest, MissingShareChange, Wasserstein,
        WassersteinNormalised,
    };
    let some = [1.0, 2.0, 3.0, 4.0, 5.0];
    let one_bin = Err(NotDefined::OneBin);
    let beyond = Err(NotDefined::BeyondRange);
    let no_reference = Err(NotDefined::NoReferenceValues);
    let no_current = Err(NotDefined::NoCurrentValues);
    type Case<'a> = (
        &'a str,
        &'a [f64],
        &'a [f64],
        Expected,
        Vec<(DriftMeasure, Expected)>,
    );
    let cases: [Case; 15] = [
        (
            "no rows at all",
            &[],
            &[],
            no_reference,
            vec![(MissingShareChange, Err(NotDefined::NoReferenceRows))],
        ),
        (
            "an empty window",
            &some,
            &[],
            no_current,
            vec![(MissingShareChange, Err(NotDefined::NoCurrentRows))],
        ),
        (
            "an empty baseline",
            &[],
            &some,
            no_reference,
            vec![(MissingShareChange, Err(NotDefined::NoReferenceRows))],
        ),
        (
            "a window of NaN",
            &some,
            &[f64::NAN; 4],
            no_current,
            vec![(MissingShareChange, Ok(()))],
        ),
        (
            "a baseline of NaN",
            &[f64::NAN; 4],
            &some,
            no_reference,
            vec![(MissingShareChange, Ok(()))],
        ),
        (
            "a window of infinities",
            &some,
            &[f64::INFINITY, f64::NEG_INFINITY],
            no_current,
            vec![(MissingShareChange, Ok(()))],
        ),
        (
            "NaN and infinities among values",
            &[1.0, f64::NAN, 2.0, f64::INFINITY],
            &[2.0, f64::NEG_INFINITY, 1.0],
            Ok(()),
            vec![],
        ),
        (
            "the same constant",
            &[5.0; 9],
            &[5.0; 4],
            Ok(()),
            vec![
                (Chi2, one_bin),
                (GTest, one_bin),
                (AndersonDarling, one_bin),
            ],
        ),
        ("another constant", &[5.0; 9], &[7.0; 4], Ok(()), vec![]),
        ("a lower constant", &[5.0; 9], &[4.0; 4], Ok(()), vec![]),
        (
            "one row a side",
            &[5.0],
            &[6.0],
            Ok(()),
            vec![(AndersonDarling, one_bin)],
        ),
        (
            "a window wholly beyond the baseline",
            &some,
            &[100.0; 3],
            Ok(()),
            vec![],
        ),
        (
            "the ends of the range",
            &[1e308, -1e308, 1e308],
            &[1e308, 1e308, 1e308],
            Ok(()),
            vec![],
        ),
        (
            "opposite ends of the range",
            &[-1.5e308; 3],
            &[1.5e308; 3],
            Ok(()),
            vec![
                (Wasserstein, beyond),
                (WassersteinNormalised, beyond),
                (EnergyDistance, beyond),
            ],
        ),
        (
            "tiny numbers",
            &[1e-308, 2e-308, 5e-324],
            &[0.0, -0.0, 1e-308],
            Ok(()),
            vec![],
        ),
    ];
    for (case, reference, current, expected, exceptions) in cases {
        let (grid, reference, current) = numbers(reference, current);
        let readings = Readings::of(&reference, &current, Some(&grid));
        assert_case(case, &readings, expected, &exceptions);
    }
}

#[test]
fn degenerate_categories_have_a_named_answer_in_every_measure() {
    use DriftMeasure::{Chi2, GTest, MissingShareChange};
    let no_order = Err(NotDefined::NoOrder);
    let one_bin = Err(NotDefined::OneBin);
    let none = || FeatureProfile::categorical();
    let a = || categories(&["a"; 5]);
    type Case = (
        &'static str,
        FeatureProfile,
        FeatureProfile,
        Expected,
        Vec<(DriftMeasure, Expected)>,
    );
    let cases: [Case; 7] = [
        (
            "no rows at all",
            none(),
            none(),
            Err(NotDefined::NoReferenceValues),
            vec![(MissingShareChange, Err(NotDefined::NoReferenceRows))],
        ),
        (
            "a window of nulls",
            a(),
            nulls(none(), 7),
            Err(NotDefined::NoCurrentValues),
            vec![(MissingShareChange, Ok(()))],
        ),
        (
            "nulls on both sides",
            nulls(none(), 3),
            nulls(none(), 7),
            Err(NotDefined::NoReferenceValues),
            vec![(MissingShareChange, Ok(()))],
        ),
        (
            "one category",
            a(),
            a(),
            Ok(()),
            [ordered(no_order), vec![(Chi2, one_bin), (GTest, one_bin)]].concat(),
        ),
        (
            "all new categories",
            a(),
            categories(&["b", "c"]),
            Ok(()),
            ordered(no_order),
        ),
        (
            "the empty text",
            a(),
            categories(&[""]),
            Ok(()),
            ordered(no_order),
        ),
        (
            "one row a side",
            categories(&["a"]),
            categories(&["b"]),
            Ok(()),
            ordered(no_order),
        ),
    ];
    for (case, reference, current, expected, exceptions) in cases {
        let readings = Readings::of(&reference, &current, None);
        assert_case(case, &readings, expected, &exceptions);
    }
}

#[test]
fn profiles_that_do_not_fit_are_named() {
    let (grid, reference, current) = numbers(&[1.0, 2.0, 3.0], &[1.0]);
    let names = categories(&["a"]);
    let missing = vec![(DriftMeasure::MissingShareChange, Ok(()))];
    let readings = Readings::of(&reference, &names, Some(&grid));
    assert_case(
        "numbers and categories",
        &readings,
        Err(NotDefined::DifferentKinds),
        &missing,
    );
    let readings = Readings::of(&reference, &current, None);
    assert_case("no grid", &readings, Err(NotDefined::OtherGrid), &missing);
}

#[test]
fn a_growing_share_of_nulls_is_evidence_with_a_direction() {
    let (reference, current) = (
        nulls(categories(&["a"; 950]), 50),
        nulls(categories(&["a"; 400]), 100),
    );
    let reading = Readings::of(&reference, &current, None)
        .read(DriftMeasure::MissingShareChange)
        .expect("rows");
    assert!((reading.value - 0.15).abs() < 1e-12);
    assert!(reading.p_value.expect("a test").value() < 1e-15);
    let (low, high) = reading.interval.expect("an interval");
    assert!(low > 0.1 && high < 0.2, "{low} {high}");
    let back = Readings::of(&current, &reference, None)
        .read(DriftMeasure::MissingShareChange)
        .expect("rows");
    assert!((back.value + 0.15).abs() < 1e-12);
}

#[test]
fn distances_carry_their_uncertainty_and_tests_their_p_value() {
    let values: Vec<f64> = (0..900).map(|i| f64::from(i * 7 % 101)).collect();
    let shifted: Vec<f64> = (0..300).map(|i| f64::from(i * 7 % 101) + 20.0).collect();
    let (grid, reference, current) = numbers(&values, &shifted);
    let readings = Readings::of(&reference, &current, Some(&grid));
    for measure in DriftMeasure::ALL {
        let reading = readings.read(measure).expect("defined");
        assert!(
            reading.p_value.is_some() || reading.interval.is_some(),
            "{measure:?}"
        );
        let has_floor = matches!(
            measure,
            DriftMeasure::Psi
                | DriftMeasure::JensenShannon
                | DriftMeasure::Wasserstein
                | DriftMeasure::WassersteinNormalised
        );
        assert!(
            !has_floor || reading.noise_floor.is_some_and(|floor| floor > 0.0),
            "{measure:?}"
        );
    }
}

#[test]
fn noise_floor_of_the_normalised_distance_is_that_of_a_normal_feature() {
    // Quantiles of a normal distribution by Hastings' formula, good to 4.5e-4.
    let quantile = |u: f64| {
        let t = (-2.0 * u.min(1.0 - u).ln()).sqrt();
        let z = t
            - (2.515_517 + t * (0.802_853 + t * 0.010_328))
                / (1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308)));
        if u < 0.5 { -z } else { z }
    };
    let values: Vec<f64> = (0..20_000)
        .map(|i| quantile((f64::from(i) + 0.5) / 20_000.0))
        .collect();
    let (grid, reference, current) = numbers(&values, &values[..1_000]);
    let reading = Readings::of(&reference, &current, Some(&grid))
        .read(DriftMeasure::WassersteinNormalised)
        .expect("defined");
    // 1.29 √(1/n + 1/m).
    let expected = 1.291 * (1.0 / 20_000.0 + 1.0 / 1_000.0_f64).sqrt();
    let floor = reading.noise_floor.expect("a floor");
    assert!(
        (floor / expected - 1.0).abs() < 0.04,
        "{floor} is not {expected}"
    );
}

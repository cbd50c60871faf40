//! The rules of choice and of the boundary, and degenerate input in every mode. The numbers themselves are held
//! against the tools in `tests/it/reference.rs`.

use super::*;
use crate::stats::samples::Sample;

fn chosen(results: &[ParityResult]) -> &ParityResult {
    let chosen: Vec<_> = results.iter().filter(|result| result.chosen).collect();
    assert_eq!(chosen.len(), 1, "{results:?}");
    assert!(results[0].chosen, "the tool's choice comes first");
    chosen[0]
}

fn table(counts: &[(&str, u64)]) -> CategoryCounts {
    counts
        .iter()
        .map(|(name, count)| ((*name).to_owned(), *count))
        .collect()
}

/// `rows` numbers of so many distinct values.
fn numbers(rows: usize, distinct: usize) -> Vec<f64> {
    (0..rows).map(|i| (i % distinct) as f64).collect()
}

#[test]
fn modes_are_found_by_their_names() {
    for mode in Mode::all() {
        assert_eq!(mode.as_str().parse(), Ok(*mode));
    }
    assert!("whylogs".parse::<Mode>().is_err());
}

#[test]
fn evidently_chooses_by_rows_of_the_reference_and_distinct_values() {
    for (rows, distinct, method) in [
        (1_000, 6, "K-S p_value"),
        (1_001, 6, "Wasserstein distance (normed)"),
        (1_000, 5, "chi-square p_value"),
        (1_001, 5, "Jensen-Shannon distance"),
        (1_000, 3, "chi-square p_value"),
        (1_000, 2, "Z-test p_value"),
        (1_000, 1, "Z-test p_value"),
        (1_001, 2, "Jensen-Shannon distance"),
    ] {
        let results = Mode::Evidently.compare_numeric(
            &numbers(rows, distinct),
            &numbers(50, distinct),
            NumberKind::Float,
        );
        assert_eq!(
            chosen(&results).method,
            method,
            "{rows} rows, {distinct} values"
        );
    }
    let small = Mode::Evidently.compare_categorical(
        &table(&[("a", 500), ("b", 300), ("c", 200)]),
        &table(&[("a", 5), ("b", 3)]),
    );
    assert_eq!(chosen(&small).method, "chi-square p_value");
    let large = Mode::Evidently.compare_categorical(
        &table(&[("a", 900), ("b", 200)]),
        &table(&[("a", 5), ("b", 3)]),
    );
    assert_eq!(chosen(&large).method, "Jensen-Shannon distance");
}

#[test]
fn a_new_category_is_impossible_for_evidently() {
    let results = Mode::Evidently.compare_categorical(
        &table(&[("a", 500), ("b", 300), ("c", 100)]),
        &table(&[("a", 50), ("b", 30), ("d", 1)]),
    );
    let chosen = chosen(&results);
    assert_eq!((chosen.value, chosen.verdict), (Some(0.0), Verdict::Drift));
}

#[test]
fn a_value_at_the_threshold_is_judged_by_the_tools_rule() {
    assert_eq!(Threshold::AtLeast(0.1).verdict(0.1), Verdict::Drift);
    assert_eq!(Threshold::Above(0.1).verdict(0.1), Verdict::NoDrift);
    assert_eq!(Threshold::AtMost(0.05).verdict(0.05), Verdict::Drift);
    assert_eq!(Threshold::Below(0.05).verdict(0.05), Verdict::NoDrift);
}

#[test]
fn azure_refuses_the_kolmogorov_smirnov_test_of_ten_thousand_rows() {
    let p_value = |rows| {
        let results =
            Mode::Azure.compare_numeric(&numbers(rows, 100), &numbers(40, 100), NumberKind::Float);
        let ks = results.iter().find(|r| r.method.contains("Smirnov"));
        ks.expect("listed").value
    };
    assert!(p_value(9_999).is_some());
    assert!(p_value(10_000).is_none());
}

#[test]
fn nannyml_learns_its_threshold_and_alerts_strictly_above() {
    let reference = numbers(2_000, 97);
    let shifted: Vec<f64> = numbers(200, 97).iter().map(|v| v + 60.0).collect();
    let results = Mode::Nannyml.compare_numeric(&reference, &shifted, NumberKind::Float);
    assert_eq!(chosen(&results).method, "jensen_shannon");
    assert!(
        results
            .iter()
            .all(|result| result.verdict == Verdict::Drift),
        "{results:?}"
    );
    let same = Mode::Nannyml.compare_numeric(&reference, &reference[..200], NumberKind::Float);
    assert!(
        same.iter().all(|result| result.verdict == Verdict::NoDrift),
        "{same:?}"
    );
    assert_eq!(nannyml::learned_threshold(&[], None), None);
    assert_eq!(
        nannyml::learned_threshold(&[0.5, 0.9], Some(1.0)),
        Some(1.0)
    );
}

#[test]
fn nannyml_learns_thresholds_of_categories_from_chunks_of_their_rows() {
    let reference: Vec<Option<&str>> = (0..2_000)
        .map(|row| Some(["a", "b", "c"][row % 3]))
        .collect();
    let moved = vec![Some("a"); 300];
    let results = Mode::Nannyml.compare_categories(&reference, &moved);
    let jensen_shannon = chosen(&results);
    assert_eq!(jensen_shannon.method, "jensen_shannon");
    assert!(
        results.iter().all(|r| r.verdict == Verdict::Drift),
        "{results:?}"
    );
    let same = Mode::Nannyml.compare_categories(&reference, &reference[..300]);
    assert!(
        same.iter().all(|r| r.verdict == Verdict::NoDrift),
        "{same:?}"
    );
    // Chunks that are as far from the whole as the window teach that this is usual.
    let sorted: Vec<Option<&str>> = (0..2_000)
        .map(|row| Some(["a", "b", "c"][row * 3 / 2_000]))
        .collect();
    let usual = Mode::Nannyml.compare_categories(&sorted, &moved);
    assert_eq!(chosen(&usual).verdict, Verdict::NoDrift, "{usual:?}");
    assert_eq!(chosen(&usual).value, jensen_shannon.value);
    let none = Mode::Nannyml.compare_categories(&[], &moved);
    assert_eq!(chosen(&none).verdict, Verdict::NotDefined(NO_REFERENCE));
}

#[test]
fn nannyml_cuts_rows_and_not_values_into_chunks() {
    // The first half of the rows is missing in nine of ten, so that chunks of values would be others.
    let has_value = |row: usize| row >= 1_000 || row.is_multiple_of(10);
    let numbers = numbers(2_000, 97);
    let rows: Vec<f64> = (0..2_000)
        .map(|row| {
            if has_value(row) {
                numbers[row]
            } else {
                f64::NAN
            }
        })
        .collect();
    let values: Vec<f64> = rows.iter().copied().filter(|v| v.is_finite()).collect();
    let known = nannyml::NumericReference::of(&values, NumberKind::Float).expect("values");
    let of_rows: Vec<f64> = rows
        .chunks(200)
        .filter_map(|chunk| known.jensen_shannon(&Sample::of(chunk)))
        .collect();
    let result = Mode::Nannyml.compare_numeric(&rows, &numbers, NumberKind::Float);
    let learned = nannyml::learned_threshold(&of_rows, Some(1.0)).expect("ten chunks");
    assert_eq!(of_rows.len(), 10);
    assert_eq!(chosen(&result).threshold, Some(Threshold::Above(learned)));
    let of_values = Mode::Nannyml.compare_numeric(&values, &numbers, NumberKind::Float);
    assert_ne!(chosen(&of_values).threshold, chosen(&result).threshold);

    let texts = |with_nulls: bool| -> Vec<Option<&str>> {
        let row = |row: usize| has_value(row).then_some(["a", "b", "c"][row % 7 % 3]);
        let rows = (0..2_000).map(row);
        rows.filter(|value| with_nulls || value.is_some()).collect()
    };
    let of = |reference: &[Option<&str>]| {
        *chosen(&Mode::Nannyml.compare_categories(reference, &texts(false)))
    };
    assert_ne!(of(&texts(true)).threshold, of(&texts(false)).threshold);
    assert_eq!(of(&texts(true)).value, Some(0.0));
}

#[test]
fn tfdv_gives_one_where_a_side_is_constant_unless_both_are_the_same() {
    let varying = numbers(1_000, 97);
    let mostly: Vec<f64> = (0..1_000)
        .map(|row| if row < 900 { 5.0 } else { 7.0 })
        .collect();
    let (five, seven) = (vec![5.0; 1_000], vec![7.0; 1_000]);
    // As TFDV 1.16.1 says of the same columns.
    for (reference, current, expected) in [
        (&five, &seven, 1.0),
        (&seven, &five, 1.0),
        (&five, &five, 0.0),
        (&five, &varying, 1.0),
        (&varying, &five, 1.0),
        (&five, &mostly, 1.0),
        (&mostly, &five, 1.0),
        (&mostly, &mostly, 0.0),
    ] {
        let results = Mode::Tfdv.compare_numeric(reference, current, NumberKind::Float);
        assert_eq!(chosen(&results).value, Some(expected));
    }
}

#[test]
fn degenerate_input_is_named_in_every_mode() {
    let some = [1.0, 2.0, 3.0];
    type Case<'a> = (&'a str, &'a [f64], &'a [f64], Option<&'a str>);
    let numeric: [Case; 9] = [
        ("no rows", &[], &[], Some(NO_REFERENCE)),
        ("an empty window", &some, &[], Some(NO_CURRENT)),
        ("a reference of NaN", &[f64::NAN], &some, Some(NO_REFERENCE)),
        (
            "a window of infinities",
            &some,
            &[f64::INFINITY, f64::NEG_INFINITY],
            Some(NO_CURRENT),
        ),
        ("one constant", &[5.0; 8], &[5.0; 3], None),
        ("two constants", &[5.0; 8], &[6.0; 3], None),
        ("one row a side", &[5.0], &[6.0], None),
        (
            "opposite ends of the range",
            &[-1e308, 1e308],
            &[1e308, 1.7e308],
            None,
        ),
        ("tiny numbers", &[5e-324, 1e-308], &[0.0, 5e-324], None),
    ];
    for mode in Mode::all() {
        for (case, reference, current, reason) in numeric {
            for kind in [NumberKind::Integer, NumberKind::Float] {
                let results = mode.compare_numeric(reference, current, kind);
                assert_named(&format!("{case} in {mode:?}"), &results, reason);
            }
        }
        let categorical = [
            ("no rows", table(&[]), table(&[]), Some(NO_REFERENCE)),
            (
                "an empty window",
                table(&[("a", 3)]),
                table(&[("a", 0)]),
                Some(NO_CURRENT),
            ),
            ("one category", table(&[("a", 3)]), table(&[("a", 2)]), None),
            (
                "all new categories",
                table(&[("a", 3)]),
                table(&[("b", 2)]),
                None,
            ),
        ];
        for (case, reference, current, reason) in categorical {
            let results = mode.compare_categorical(&reference, &current);
            assert_named(&format!("{case} in {mode:?}"), &results, reason);
        }
    }
}

fn assert_named(case: &str, results: &[ParityResult], reason: Option<&str>) {
    assert!(!results.is_empty(), "{case}");
    for result in results {
        assert_eq!(
            result.value.is_none(),
            matches!(result.verdict, Verdict::NotDefined(_)),
            "{case}: {result:?}"
        );
        assert!(
            result.value.is_none_or(f64::is_finite),
            "{case}: {result:?}"
        );
    }
    if let Some(reason) = reason {
        assert!(
            matches!(chosen(results).verdict, Verdict::NotDefined(why) if why == reason),
            "{case}"
        );
    }
}

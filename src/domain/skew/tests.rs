use super::renames::names_match;
use super::*;
use crate::domain::columns::Value;
use crate::stats::grid::Grid;
use crate::stats::profile::Mismatches;

const TOLERANCE: Tolerance = Tolerance {
    share: 0.01,
    min_rows: 30,
};

/// A column's profile and habits, as a file is counted.
fn seen(values: &[Value<'_>], grid: Option<&Grid>) -> (FeatureProfile, Habits) {
    let mut profile = match grid {
        Some(grid) => FeatureProfile::numeric_without_quantiles(grid),
        None => FeatureProfile::categorical(),
    };
    let mut habits = Habits::default();
    for value in values {
        habits.evidence.observe(value);
        match (value, grid) {
            (Value::Number(n), Some(_)) => {
                profile.observe_numbers(&[*n], grid).expect("numeric");
                habits.observe_numbers(&[*n]);
                habits.observe_order([n.to_bits()]);
            }
            (Value::Text(text), _) => {
                habits.observe_text(text, 1);
                habits.observe_order([u64::from(crc32c::crc32c(text.as_bytes()))]);
                match grid {
                    Some(_) => profile.observe_mismatch(1),
                    None => profile.observe_category(text, 1).expect("categorical"),
                }
            }
            (Value::Null, _) => profile.observe_null(1),
            other => panic!("no test uses {other:?}"),
        }
    }
    (profile, habits)
}

fn numbers(numbers: impl IntoIterator<Item = f64>) -> Vec<Value<'static>> {
    numbers.into_iter().map(Value::Number).collect()
}

/// Temperatures with two digits, in no order.
fn temperatures() -> Vec<f64> {
    (0..2_000_u32)
        .map(|i| f64::from(i.wrapping_mul(2_654_435_761) % 4_001) / 100.0 - 10.0)
        .collect()
}

fn grid() -> Grid {
    Grid::fit(&temperatures(), 256)
}

/// The kinds of finding about numbers, of windows and of the whole.
fn kinds(values: &[Value<'_>]) -> Vec<FindingKind> {
    let grid = grid();
    let (reference, before) = seen(&numbers(temperatures()), Some(&grid));
    let (mut current, now) = seen(values, Some(&grid));
    let expected = before.evidence.expectation("temp").expect("it has values");
    let (least, most) = (
        expected.minimum.expect("known"),
        expected.maximum.expect("known"),
    );
    let outside = |value: &&Value<'_>| matches!(value, Value::Number(n) if *n < least || *n > most);
    current.note_out_of_range(values.iter().filter(outside).count() as u64);
    let mut found = of_window(&expected, &reference, &current, None, TOLERANCE);
    found.extend(of_column(
        &expected,
        (&reference, &before),
        (&current, &now),
        TOLERANCE,
    ));
    assert!(found.iter().all(|finding| finding.feature == "temp"));
    found.iter().map(|finding| finding.kind).collect()
}

#[test]
fn the_same_rows_are_no_finding() {
    assert_eq!(kinds(&numbers(temperatures())), []);
}

#[test]
fn a_change_of_unit_is_named() {
    type Convert = fn(f64) -> f64;
    let cases: [(&str, Convert); 4] = [
        ("× 1.8 + 32", |x| x * 1.8 + 32.0),
        ("× 100", |x| x * 100.0),
        ("× 1000", |x| x * 1_000.0),
        ("÷ 1000", |x| x / 1_000.0),
    ];
    let grid = grid();
    let (reference, _) = seen(&numbers(temperatures()), Some(&grid));
    for (name, convert) in cases {
        let converted = temperatures().into_iter().map(convert);
        let (current, _) = seen(&numbers(converted), Some(&grid));
        let change = unit_change(&reference, &current).map(|change| change.to_string());
        assert!(
            change.as_ref().is_some_and(|c| c.contains(name)),
            "{name}: {change:?}"
        );
    }
}

#[test]
fn a_cold_winter_is_no_change_of_unit() {
    let grid = grid();
    let (reference, _) = seen(&numbers(temperatures()), Some(&grid));
    for (factor, offset) in [(0.6, 0.0), (1.0, -15.0), (1.3, 10.0), (0.2, 25.0)] {
        let moved = temperatures().into_iter().map(|x| x * factor + offset);
        let (current, _) = seen(&numbers(moved), Some(&grid));
        assert_eq!(
            unit_change(&reference, &current),
            None,
            "× {factor} + {offset}"
        );
    }
    // Half of the rows in another unit are no unit of all.
    let half = (0..).zip(temperatures());
    let half = half.map(|(row, x)| if row % 2 == 0 { 100.0 * x } else { x });
    let (mixture, _) = seen(&numbers(half), Some(&grid));
    assert_eq!(unit_change(&reference, &mixture), None, "half of them");
    let (constant, _) = seen(&numbers([3.0; 50]), Some(&grid));
    assert_eq!(unit_change(&reference, &constant), None, "no spread");
    assert_eq!(unit_change(&constant, &reference), None, "no spread before");
}

#[test]
fn null_nan_and_infinite_are_told_apart() {
    let with = |value: &Value<'static>, share: usize| {
        let mut values = numbers(temperatures());
        for place in values.iter_mut().step_by(share) {
            *place = value.clone();
        }
        values
    };
    assert_eq!(kinds(&with(&Value::Null, 5)), [FindingKind::NullShare]);
    assert_eq!(
        kinds(&with(&Value::Number(f64::NAN), 5)),
        [FindingKind::NanShare]
    );
    let infinite = kinds(&with(&Value::Number(f64::INFINITY), 1_500));
    assert_eq!(
        infinite,
        [FindingKind::InfiniteShare],
        "two infinite values are enough"
    );
    assert_eq!(
        kinds(&with(&Value::Number(500.0), 20)),
        [FindingKind::OutOfRange]
    );
    assert_eq!(
        kinds(&with(&Value::Text("n/a".into()), 20)),
        [FindingKind::WrongType]
    );
}

#[test]
fn numbers_written_as_text_are_named_with_an_example() {
    let grid = grid();
    let (reference, before) = seen(&numbers(temperatures()), Some(&grid));
    let texts: Vec<Value<'_>> = (0..100).map(|_| Value::Text("1e5".into())).collect();
    let (current, now) = seen(&texts, Some(&grid));
    let expected = before.evidence.expectation("temp").expect("it has values");
    let found = of_column(
        &expected,
        (&reference, &before),
        (&current, &now),
        TOLERANCE,
    );
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].kind, FindingKind::TypeChange);
    assert!(
        found[0]
            .detail
            .contains("such as \"1e5\" (100.0 % of the texts)"),
        "{}",
        found[0].detail
    );
}

#[test]
fn a_value_that_stands_still_is_constant_or_frozen() {
    assert_eq!(kinds(&numbers([7.25; 100])), [FindingKind::Constant]);
    let mut stuck = temperatures();
    stuck[500..1_200].fill(7.25);
    assert_eq!(kinds(&numbers(stuck)), [FindingKind::Frozen]);
    let mut sorted = temperatures();
    sorted.sort_by(f64::total_cmp);
    assert_eq!(kinds(&numbers(sorted)), [], "sorted data only look frozen");
    let grouped = (0..2_000).map(|i| f64::from(i / 500) + 0.25);
    assert!(
        !kinds(&numbers(grouped)).contains(&FindingKind::Frozen),
        "grouped data, too"
    );
}

#[test]
fn rounding_to_another_step_is_found() {
    let whole = temperatures().into_iter().map(f64::round);
    assert_eq!(kinds(&numbers(whole)), [FindingKind::Granularity]);
    let tenths = temperatures()
        .into_iter()
        .map(|t| (t * 10.0).round() / 10.0);
    assert_eq!(kinds(&numbers(tenths)), [FindingKind::Granularity]);
}

#[test]
fn categories_are_new_beyond_what_a_sample_misses_and_however_many_it_met_once() {
    let mut reference = FeatureProfile::categorical();
    reference
        .observe_category("usual", 60)
        .expect("categorical");
    for number in 0..40 {
        let rare = format!("rare {number}");
        reference.observe_category(&rare, 1).expect("categorical");
    }
    let names = std::iter::once("usual".to_owned());
    let names = names.chain((0..40).map(|number| format!("rare {number}")));
    let expected = FeatureExpectation {
        feature_type: FeatureType::Category,
        categories: Some(names.collect()),
        ..number("code")
    };
    let is_found = |unseen: u64| {
        let mut current = FeatureProfile::categorical();
        current
            .observe_category("usual", 100 - unseen)
            .expect("categorical");
        current
            .observe_category("other", unseen)
            .expect("categorical");
        current.note_unseen(unseen);
        !of_window(&expected, &reference, &current, None, TOLERANCE).is_empty()
    };
    // 1 - 0.6^3 = 0.784 of the rows.
    assert!(!is_found(40) && !is_found(78));
    assert!(is_found(79) && is_found(100));
}

#[test]
fn unseen_categories_are_named_with_their_mass() {
    let texts = |names: &[&'static str]| -> Vec<Value<'static>> {
        let names = names.iter().cycle().take(300);
        names.map(|name| Value::Text((*name).into())).collect()
    };
    let (reference, before) = seen(&texts(&["EWR", "JFK", "LGA"]), None);
    let expected = before
        .evidence
        .expectation("origin")
        .expect("it has values");
    let mut current = FeatureProfile::categorical();
    for (name, rows) in [("EWR", 200), ("SWF", 90), ("ISP", 10)] {
        current.observe_category(name, rows).expect("categorical");
    }
    current.note_unseen(100);
    let found = of_window(&expected, &reference, &current, Some((0, 30)), TOLERANCE);
    let kinds: Vec<FindingKind> = found.iter().map(|finding| finding.kind).collect();
    assert_eq!(
        kinds,
        [FindingKind::EmptyShare, FindingKind::UnseenCategory]
    );
    assert_eq!(found[1].value, Some(1.0 / 3.0));
    assert!(
        found[1].detail.ends_with("\"SWF\" (90), \"ISP\" (10)"),
        "{}",
        found[1].detail
    );
}

#[test]
fn what_the_reference_has_too_is_a_finding_only_when_there_is_more_of_it() {
    let texts = |share: usize| {
        let mut values = numbers(temperatures());
        for place in values.iter_mut().step_by(share) {
            *place = Value::Text("n/a".into());
        }
        values
    };
    let grid = grid();
    let (reference, before) = seen(&texts(25), Some(&grid));
    let expected = before.evidence.expectation("temp").expect("it has values");
    assert_eq!(expected.feature_type, FeatureType::Number);
    let found = |share: usize| -> Vec<FindingKind> {
        let (current, _) = seen(&texts(share), Some(&grid));
        let found = of_window(&expected, &reference, &current, None, TOLERANCE);
        found.iter().map(|finding| finding.kind).collect()
    };
    assert_eq!(found(25), []);
    assert_eq!(found(13), []);
    assert_eq!(found(10), [FindingKind::WrongType]);
}

#[test]
fn with_too_few_rows_nothing_is_certain() {
    let few: Vec<Value<'_>> = (0..10).map(|_| Value::Null).collect();
    let grid = grid();
    let (reference, before) = seen(&numbers(temperatures()), Some(&grid));
    let (current, now) = seen(&few, Some(&grid));
    let expected = before.evidence.expectation("temp").expect("it has values");
    let found = of_window(&expected, &reference, &current, None, TOLERANCE);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].status, Status::Insufficient);
    assert_eq!(
        of_column(
            &expected,
            (&reference, &before),
            (&current, &now),
            TOLERANCE
        ),
        []
    );
    let (nothing, _) = seen(&[], Some(&grid));
    assert_eq!(
        of_window(&expected, &reference, &nothing, None, TOLERANCE),
        []
    );
}

#[test]
fn names_that_differ_in_case_and_punctuation_match() {
    assert!(names_match("wind_speed", "WindSpeed"));
    assert!(names_match("wind speed", "wind-speed"));
    assert!(!names_match("wind_speed", "wind_gust"));
    assert!(!names_match("__", "--"));
}

#[test]
fn order_is_judged_only_where_there_was_one() {
    let late = |before, now| out_of_order("timestamp", before, now, TOLERANCE);
    assert!(late(Some((0, 1_000)), (40, 1_000)).is_some());
    assert_eq!(late(Some((0, 1_000)), (0, 1_000)), None);
    assert_eq!(
        late(Some((500, 1_000)), (40, 1_000)),
        None,
        "the reference is shuffled"
    );
    assert_eq!(late(None, (500, 1_000)), None, "so are the current rows");
    assert_eq!(
        late(Some((0, 2)), (500, 1_000)),
        None,
        "two rows are in order by chance"
    );
    let shuffled = late(Some((0, 1_000)), (500, 1_000)).expect("the reference is in order");
    assert_eq!(
        (shuffled.value, shuffled.status),
        (Some(0.5), Status::Drift)
    );
    assert_eq!(late(None, (0, 0)), None);
}

#[test]
fn a_single_row_without_a_time_is_told() {
    let found = missing_timestamp("at", (1, 20)).expect("one row is in no window");
    assert_eq!(found.status, Status::Drift);
    assert!(found.detail.starts_with("1 of 20: "), "{}", found.detail);
    assert_eq!(missing_timestamp("at", (0, 20)), None);
    assert_eq!(missing_timestamp("at", (0, 0)), None);
}

#[test]
fn repeated_rows_are_a_finding_beyond_those_of_the_reference() {
    assert!(duplicate_rows((0, 1_000), (200, 1_000), TOLERANCE).is_some());
    assert_eq!(duplicate_rows((150, 1_000), (200, 1_000), TOLERANCE), None);
    assert_eq!(duplicate_rows((0, 0), (0, 0), TOLERANCE), None);
}

fn number(feature: &str) -> FeatureExpectation {
    FeatureExpectation::of_type(feature, FeatureType::Number)
}

fn counted(values: impl IntoIterator<Item = f64>) -> FeatureProfile {
    let values: Vec<f64> = values.into_iter().collect();
    let mut profile = FeatureProfile::numeric(Some(&grid()));
    profile
        .observe_numbers(&values, Some(&grid()))
        .expect("numeric");
    profile
}

#[test]
fn every_kind_is_judged_whether_it_is_found_or_not() {
    let reference = counted(temperatures());
    let now = counted(temperatures().into_iter().map(|t| t * 1.8 + 32.0));
    let statuses = |current: &FeatureProfile| -> Vec<(FindingKind, Status)> {
        let judged = judge_window(&number("temp"), Some(&reference), current, None, TOLERANCE);
        judged.iter().map(|j| (j.kind, j.status())).collect()
    };
    use FindingKind::{InfiniteShare, MissingFeature, NanShare, NullShare, UnitChange, WrongType};
    let kinds = [
        MissingFeature,
        WrongType,
        NullShare,
        NanShare,
        InfiniteShare,
    ];
    let fine = kinds.map(|kind| (kind, Status::Ok));
    let with = |unit| [fine.as_slice(), &[(UnitChange, unit)]].concat();
    assert_eq!(statuses(&reference), with(Status::Ok));
    assert_eq!(statuses(&now), with(Status::Drift));
    let few = counted(temperatures().into_iter().take(20));
    assert!(
        statuses(&few)
            .iter()
            .all(|(_, s)| *s == Status::Insufficient)
    );
}

#[test]
fn a_value_that_stands_still_is_frozen_unless_it_is_usual_or_all_there_is() {
    let varied = || counted(temperatures().into_iter().take(200));
    let still = |value: f64| counted(std::iter::repeat_n(value, 200));
    let share = |windows: &[FeatureProfile], reference: &FeatureProfile| {
        let mut stills = Stills::default();
        let mut all = counted([]);
        for window in windows {
            stills.observe(window);
            all.merge(window).expect("one grid");
        }
        let judged = judge_profiles(
            &number("temp"),
            Some(reference),
            &all,
            None,
            (Some(&stills), Past::default()),
            TOLERANCE,
        );
        let frozen = judged.into_iter().find(|j| j.kind == FindingKind::Frozen);
        frozen.and_then(|judged| judged.value())
    };
    let reference = counted(temperatures());
    let usual = counted(
        temperatures()
            .into_iter()
            .chain(std::iter::repeat_n(7.25, 2_000)),
    );
    let cases = [
        (
            "varies",
            vec![varied(), varied(), varied(), varied()],
            &reference,
            Some(0.0),
        ),
        (
            "three of five",
            vec![varied(), still(7.25), still(7.25), still(7.25), varied()],
            &reference,
            Some(0.6),
        ),
        (
            "two are too few",
            vec![varied(), still(7.25), still(7.25), varied()],
            &reference,
            Some(0.0),
        ),
        (
            "another value each",
            vec![varied(), still(1.0), still(2.0), still(3.0)],
            &reference,
            Some(0.0),
        ),
        (
            "constant throughout",
            vec![still(7.25), still(7.25), still(7.25), still(7.25)],
            &reference,
            Some(0.0),
        ),
        (
            "usual in the reference",
            vec![varied(), still(7.25), still(7.25), still(7.25), varied()],
            &usual,
            Some(0.0),
        ),
        (
            "too few windows",
            vec![varied(), still(7.25), varied()],
            &reference,
            None,
        ),
    ];
    for (name, windows, reference, expected) in cases {
        assert_eq!(share(&windows, reference), expected, "{name}");
    }
}

#[test]
fn most_values_of_another_type_are_a_change_of_type() {
    let judged = |right: usize, noted: Mismatches| {
        let mut profile = counted(temperatures().into_iter().take(right));
        profile.observe_mismatch(noted.total());
        profile.note_mismatches(noted);
        let judged = {
            let unknown = (None, Past::default());
            judge_profiles(&number("temp"), None, &profile, None, unknown, TOLERANCE)
        };
        assert_eq!(judged.len(), 1, "without a reference nothing else is said");
        (judged[0].is_found(), judged[0].detail.clone())
    };
    let texts = |texts, numeric_texts| Mismatches {
        texts,
        numeric_texts,
        ..Mismatches::default()
    };
    assert_eq!(judged(60, texts(40, 40)), (false, String::new()));
    assert_eq!(
        judged(40, texts(60, 60)).1,
        "60 of 100: text where the schema expects number: numbers written as text (100.0 % of the texts)"
    );
    assert_eq!(
        judged(40, texts(60, 3)).1,
        "60 of 100: text where the schema expects number"
    );
    let booleans = Mismatches {
        booleans: 90,
        ..Mismatches::default()
    };
    assert_eq!(
        judged(10, booleans).1,
        "90 of 100: booleans where the schema expects number"
    );
}

#[test]
fn rows_in_no_order_are_never_found_out_of_order() {
    let found = |late, rows| judge_order((late, rows), TOLERANCE).status();
    assert_eq!(found(0, 100), Status::Ok);
    assert_eq!(found(1, 100), Status::Ok);
    assert_eq!(found(5, 100), Status::Drift);
    assert_eq!(found(50, 100), Status::Ok);
    assert_eq!(found(5, 20), Status::Insufficient);
    assert_eq!(found(0, 0), Status::Insufficient);
}

#[test]
fn only_the_name_or_a_clearly_nearest_distribution_makes_a_pair() {
    use super::renames::{Pair, choose};
    let pair = |missing, unexpected, same_name, distance| Pair {
        missing,
        unexpected,
        same_name,
        distance,
    };
    let chosen = |candidates: Vec<Pair>| -> Vec<(usize, usize)> {
        let pairs = choose(candidates).into_iter();
        pairs.map(|pair| (pair.missing, pair.unexpected)).collect()
    };
    assert_eq!(chosen(vec![pair(0, 0, false, 0.02)]), [(0, 0)]);
    assert_eq!(chosen(vec![pair(0, 0, false, 0.2)]), []);
    assert_eq!(chosen(vec![pair(0, 0, true, 0.9)]), [(0, 0)]);
    assert_eq!(
        chosen(vec![pair(0, 0, false, 0.02), pair(0, 1, false, 0.03)]),
        []
    );
    assert_eq!(
        chosen(vec![pair(0, 0, false, 0.02), pair(0, 1, true, 0.3)]),
        [(0, 1)]
    );
}

fn texts(names: impl IntoIterator<Item = String>) -> FeatureProfile {
    let mut profile = FeatureProfile::categorical();
    for name in names {
        profile.observe_category(&name, 1).expect("categorical");
    }
    profile
}

fn of_uniqueness(expected: &FeatureExpectation, current: &FeatureProfile) -> Vec<Judgement> {
    let judged = judge_window(expected, None, current, None, TOLERANCE);
    let kinds = [FindingKind::DuplicateValues, FindingKind::DistinctValues];
    let of_kinds = judged.into_iter().filter(|j| kinds.contains(&j.kind));
    of_kinds.collect()
}

#[test]
fn values_that_repeat_are_a_finding_only_beyond_what_the_schema_lets_repeat() {
    let key = FeatureExpectation {
        max_duplicate_share: Some(0.0),
        ..FeatureExpectation::of_type("ticket", FeatureType::Text)
    };
    let ids =
        |rows: usize, different: usize| texts((0..rows).map(|n| format!("id {}", n % different)));
    let judged = of_uniqueness(&key, &ids(500, 500));
    assert_eq!(
        (judged.len(), judged[0].value(), judged[0].status()),
        (1, Some(0.0), Status::Ok)
    );
    let judged = of_uniqueness(&key, &ids(500, 400));
    assert_eq!(
        (judged[0].value(), judged[0].status()),
        (Some(0.2), Status::Drift)
    );
    assert!(
        judged[0].detail.contains("100 of 500"),
        "{}",
        judged[0].detail
    );
    let lenient = FeatureExpectation {
        max_duplicate_share: Some(0.25),
        ..key.clone()
    };
    assert_eq!(
        of_uniqueness(&lenient, &ids(500, 400))[0].status(),
        Status::Ok
    );
    // More rows than the reference has repeat each other more often, where any may.
    let reference = ids(250, 250);
    let status = |expected: &FeatureExpectation| {
        let judged = judge_window(expected, Some(&reference), &ids(500, 300), None, TOLERANCE);
        let found = judged
            .iter()
            .find(|j| j.kind == FindingKind::DuplicateValues);
        found.expect("it is limited").status()
    };
    assert_eq!(status(&lenient), Status::Ok, "0.4 of twice as many rows");
    assert_eq!(status(&key), Status::Drift);
    // Nothing is said of features that nobody limits.
    let free = FeatureExpectation::of_type("ticket", FeatureType::Text);
    assert_eq!(of_uniqueness(&free, &ids(500, 1)), []);
}

#[test]
fn the_number_of_different_values_is_held_against_its_limits() {
    let of = |least, most, rows: usize, different: usize| {
        let expected = FeatureExpectation {
            min_distinct: least,
            max_distinct: most,
            ..FeatureExpectation::of_type("terminal", FeatureType::Text)
        };
        let judged = of_uniqueness(
            &expected,
            &texts((0..rows).map(|n| format!("{}", n % different))),
        );
        (judged[0].status(), judged[0].detail.clone())
    };
    assert_eq!(of(Some(2), Some(5), 300, 5).0, Status::Ok);
    assert_eq!(
        of(Some(2), Some(5), 300, 6),
        (
            Status::Drift,
            "6 different values; the schema allows 2 to 5".to_owned()
        )
    );
    assert_eq!(of(Some(2), None, 300, 1).0, Status::Drift);
    // Beyond what is counted one by one the number is an estimate, which is not leant on to the last digit.
    assert_eq!(of(None, Some(5_000), 5_100, 5_100).0, Status::Ok);
    assert_eq!(of(None, Some(5_000), 10_000, 10_000).0, Status::Drift);
    assert_eq!(of(None, Some(1), 3, 2).0, Status::Insufficient);
}

#[test]
fn a_feature_may_have_a_tolerance_of_its_own_outside_its_limits() {
    let status = |share: Option<f64>, outside: u64| {
        let expected = FeatureExpectation {
            minimum: Some(0.0),
            max_outside_share: share,
            ..number("speed")
        };
        let mut current = counted((0..1_000).map(f64::from));
        current.note_out_of_range(outside);
        let judged = judge_window(&expected, None, &current, None, TOLERANCE);
        let found = judged.iter().find(|j| j.kind == FindingKind::OutOfRange);
        found.expect("it has a range").status()
    };
    assert_eq!(status(None, 50), Status::Drift);
    assert_eq!(status(Some(0.05), 50), Status::Ok);
    assert_eq!(status(Some(0.05), 51), Status::Drift);
    assert_eq!(status(Some(0.0), 1), Status::Drift);
}

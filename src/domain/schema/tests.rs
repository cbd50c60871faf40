use super::*;

fn inferred() -> FeatureExpectation {
    FeatureExpectation {
        minimum: Some(10.94),
        maximum: Some(64.4),
        max_null_share: 0.001,
        ..FeatureExpectation::of_type("temp", FeatureType::Number)
    }
}

#[test]
fn a_feature_that_is_lost_is_a_finding_however_much_of_it_was_missing_before() {
    for (seen, limit) in [(0.0, 0.05), (0.02, 0.069), (0.1, 0.19), (0.54, 0.7884)] {
        let usual = usual_null_share(seen);
        assert!((usual - limit).abs() < 1e-12, "{seen}: {usual}");
        assert!(usual < 1.0);
    }
}

#[test]
fn a_schema_is_inferred_from_what_the_rows_hold() {
    let column = |name: &str, values: Vec<Value<'static>>| Column::of(name, values);
    let text = |text: &'static str| Value::Text(text.into());
    let inferred = infer(&[
        column(
            "seats",
            vec![
                Value::Integer(5),
                Value::Integer(9),
                Value::Null,
                Value::Integer(7),
            ],
        ),
        column(
            "temp",
            vec![
                Value::Integer(5),
                Value::Number(-1.5),
                Value::Number(f64::NAN),
                Value::Null,
            ],
        ),
        column(
            "origin",
            vec![text("JFK"), text("EWR"), text("JFK"), Value::Absent],
        ),
        column("late", vec![Value::Boolean(true); 4]),
        column("empty", vec![Value::Null; 4]),
        column(
            "booked",
            [86_400, 172_800]
                .map(|at| Value::Timestamp(DateTime::from_timestamp(at, 0).expect("a time")))
                .to_vec(),
        ),
    ]);
    let types: Vec<_> = inferred
        .iter()
        .map(|e| (e.feature.as_str(), e.feature_type, e.required))
        .collect();
    assert_eq!(
        types,
        [
            ("seats", FeatureType::Integer, true),
            ("temp", FeatureType::Number, true),
            ("origin", FeatureType::Category, false),
            ("late", FeatureType::Boolean, true),
            ("booked", FeatureType::Timestamp, true),
        ]
    );
    assert_eq!(
        (inferred[4].minimum, inferred[4].maximum),
        (Some(86_400.0), None),
        "time goes on"
    );
    assert_eq!(
        (
            inferred[0].minimum,
            inferred[0].maximum,
            inferred[0].max_null_share
        ),
        (Some(5.0), Some(9.0), 0.4375)
    );
    assert_eq!(
        (inferred[1].minimum, inferred[1].maximum),
        (Some(-1.5), Some(5.0))
    );
    assert_eq!(
        inferred[2].categories,
        Some(vec!["EWR".to_owned(), "JFK".to_owned()])
    );
}

#[test]
fn integers_and_texts_that_never_repeat_are_to_be_unique() {
    let inferred = |values: Vec<Value<'static>>| {
        let mut evidence = Evidence::default();
        values.iter().for_each(|value| evidence.observe(value));
        let expected = evidence.expectation("a").expect("a telling value");
        expected.max_duplicate_share
    };
    let integers = |count: i64| (0..count).map(|n| Value::Integer(n * 7 - 99));
    let texts = |count: i64| (0..count).map(|n| Value::Text(format!("id {n}").into()));
    assert_eq!(inferred(integers(2_000).collect()), Some(0.007));
    assert_eq!(inferred(integers(1_000_000).collect()), Some(14e-6));
    assert_eq!(inferred(texts(4_000).collect()), Some(0.0035));
    // Nulls are no values.
    let with_nulls = integers(2_000).chain([Value::Null, Value::Null]);
    assert_eq!(inferred(with_nulls.collect()), Some(0.007));
    // A single one that repeats is enough, and so are too few.
    assert_eq!(
        inferred(integers(2_000).chain([Value::Integer(6)]).collect()),
        None
    );
    assert_eq!(inferred(texts(4_000).chain(texts(1)).collect()), None);
    assert_eq!(inferred(integers(900).collect()), None);
    // Numbers with fractions hardly ever repeat, whatever they are.
    let fractions = (0..2_000).map(|n| Value::Number(f64::from(n) + 0.5));
    assert_eq!(inferred(fractions.collect()), None);
}

#[test]
fn values_of_several_kinds_are_categories_of_what_they_look_like() {
    let text = |text: &str| Value::Text(text.to_owned().into());
    let inferred = |values: Vec<Value<'static>>| {
        let mut evidence = Evidence::default();
        values.iter().for_each(|value| evidence.observe(value));
        let expected = evidence.expectation("a").expect("a telling value");
        (expected.feature_type, expected.categories)
    };
    let category = |names: &[&str]| {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        (FeatureType::Category, Some(names))
    };
    // Codes of a file without types: most of them look like numbers.
    let codes = |most: i64| -> Vec<Value<'static>> {
        let cell = |code: i64| match code {
            0..10 => text(&format!("0{code}")),
            _ => Value::Integer(code),
        };
        (1..=most).map(cell).collect()
    };
    let months = ["01", "02", "03", "04", "05", "06", "07", "08", "09"];
    let months = [&months[..], &["10", "11", "12"]].concat();
    assert_eq!(inferred(codes(12)), category(&months));
    assert_eq!(inferred(codes(56)).0, FeatureType::Category);
    assert_eq!(inferred(codes(800)).0, FeatureType::Category);
    let padded: Vec<Value<'static>> = (500..20_000_i64)
        .map(|code| match code {
            0..10_000 => text(&format!("0{code:04}")),
            _ => Value::Integer(code),
        })
        .collect();
    assert_eq!(inferred(padded), (FeatureType::Text, None));
    let sizes = vec![text("S"), text("M"), Value::Number(8.5), Value::Integer(9)];
    assert_eq!(inferred(sizes), category(&["8.5", "9", "M", "S"]));
    let flags = vec![Value::Boolean(true), Value::Boolean(false), text("unknown")];
    assert_eq!(inferred(flags), category(&["false", "true", "unknown"]));
    let ages = vec![Value::Integer(18), Value::Integer(25), text("unknown")];
    assert_eq!(inferred(ages), category(&["18", "25", "unknown"]));
    // The same number is one category, however it is written.
    let twice = vec![text("a"), text("2"), Value::Integer(2), Value::Number(2.0)];
    assert_eq!(inferred(twice), category(&["2", "a"]));
    // A few odd ones among many numbers do not make them categories, nor do too many different ones.
    let odd = (0..300).map(|n| {
        if n % 60 == 7 {
            text("x")
        } else {
            Value::Integer(n)
        }
    });
    assert_eq!(inferred(odd.collect()).0, FeatureType::Integer);
    let many = (0..3_000_i32).map(|n| match n % 5 {
        0 => text("none"),
        _ => Value::Number(f64::from(n) / 7.0),
    });
    assert_eq!(inferred(many.collect()).0, FeatureType::Number);
}

#[test]
fn what_a_person_says_stands_over_what_the_data_say() {
    let said = FeatureOverride {
        feature: "temp".into(),
        minimum: Limit::Given(-40.0),
        maximum: Limit::Any,
        max_null_share: Some(0.3),
        ..FeatureOverride::default()
    };
    assert_eq!(
        said.apply(Some(inferred())),
        Some(FeatureExpectation {
            minimum: Some(-40.0),
            maximum: None,
            max_null_share: 0.3,
            ..inferred()
        })
    );
}

#[test]
fn a_feature_may_be_required_in_some_environments_only() {
    let of = |required, environments: Option<&[&str]>| FeatureExpectation {
        required,
        environments: environments.map(|e| e.iter().map(|e| (*e).to_owned()).collect()),
        ..inferred()
    };
    type Case<'a> = (bool, Option<&'a [&'a str]>, &'a [&'a str], bool);
    let cases: [Case<'_>; 7] = [
        (true, None, &["production"], true),
        (false, None, &["production"], false),
        (true, Some(&["production"]), &["production"], true),
        (true, Some(&["production"]), &["test"], false),
        (true, Some(&["production"]), &["test", "production"], true),
        (true, Some(&["production"]), &[], true),
        (false, Some(&["production"]), &["production"], false),
    ];
    for (required, environments, deployed, expected) in cases {
        let feature = of(required, environments);
        assert_eq!(
            feature.is_required_in(deployed.iter().copied()),
            expected,
            "{required} {environments:?} {deployed:?}"
        );
    }
}

#[test]
fn a_new_type_drops_the_limits_it_has_no_use_for() {
    let said = FeatureOverride {
        feature: "temp".into(),
        feature_type: Some(FeatureType::Category),
        ..FeatureOverride::default()
    };
    let in_force = said.apply(Some(inferred())).expect("a type is known");
    assert_eq!((in_force.minimum, in_force.maximum), (None, None));
    // Of vectors it is not counted how often they repeat.
    let said = FeatureOverride {
        feature_type: Some(FeatureType::Vector),
        max_duplicate_share: Limit::Given(0.0),
        max_distinct: Some(3),
        ..said
    };
    let in_force = said.apply(Some(inferred())).expect("a type is known");
    assert!(!in_force.limits_repeats());
}

#[test]
fn a_feature_the_data_do_not_have_needs_a_type() {
    let mut said = FeatureOverride {
        feature: "gate".into(),
        ..FeatureOverride::default()
    };
    assert_eq!(said.apply(None), None);
    said.feature_type = Some(FeatureType::Category);
    assert!(said.apply(None).is_some_and(|known| known.required));
}

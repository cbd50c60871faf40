use super::super::rule::Severity;
use super::super::shift::Smallest;
use super::*;

fn rule(measures: &[Measure], grain: Grain, threshold: Threshold) -> Rule {
    Rule {
        name: "rule".to_owned(),
        model: "model".to_owned(),
        title: "A rule".to_owned(),
        severity: Severity::Warning,
        condition: Condition::Measured(MeasuredCondition {
            monitor: "monitor".to_owned(),
            grain,
            measures: measures.to_vec(),
            feature: None,
            segments: false,
            threshold,
            at_least: 1,
            windows: 1,
            resolve_windows: 1,
            min_rows: 0,
            min_coverage: 0.0,
        }),
        runbook: None,
        receivers: Vec::new(),
    }
}

fn changed(mut rule: Rule, change: impl FnOnce(&mut MeasuredCondition)) -> Rule {
    if let Condition::Measured(condition) = &mut rule.condition {
        change(condition);
    }
    rule
}

fn known(measure: Measure, feature: &str, value: f64) -> Known {
    Known {
        measure,
        feature: feature.to_owned(),
        segment: Segment::overall(),
        value,
        interval: None,
        reference: None,
        current_rows: 1_000,
        reference_rows: 28_000,
        recipe: Recipe::default(),
    }
}

/// A stability index over ten bins.
fn psi(feature: &str, current_rows: u64) -> Known {
    Known {
        current_rows,
        recipe: Recipe {
            bins: Some(10),
            ..Recipe::default()
        },
        ..known(Measure::Psi, feature, 0.01)
    }
}

/// An accuracy with a standard error of 0.01.
fn accuracy(usual: f64) -> Known {
    Known {
        interval: Some((0.90 - 0.0196, 0.90 + 0.0196)),
        reference: Some(usual),
        ..known(Measure::Accuracy, "", 0.90)
    }
}

fn only(rule: &Rule, known: &[Known]) -> Promise {
    let told = of_rule(rule, known, "minutes");
    assert_eq!(told.len(), 1, "{told:?}");
    told[0].promise.clone().expect("enough is known")
}

#[test]
fn a_limit_on_a_distance_says_what_chance_gives_and_which_shift_it_sees() {
    let above = rule(&[Measure::Psi], Grain::Day, Threshold::Above(0.2));
    let many = only(&above, &[psi("age", 1_000)]);
    assert_eq!(
        many.errs,
        "less than once in 1,000 years by chance among rows; more often where days differ by more than that"
    );
    assert_eq!(
        many.sees,
        "a change like that of a normal feature by 0.45 standard deviations, in about half of the cases, in 1, 7 and 28 days alike, as it looks at \
         each day alone"
    );
    // χ² with nine degrees of freedom is beyond 0.2 / (1/60 + 1/28,000) = 11.97 in 21.5 of 100 cases.
    let few = only(&above, &[psi("age", 60)]);
    assert!(
        few.errs.starts_with("about once in 5 days by chance"),
        "{}",
        few.errs
    );
    // Of twenty features some one is beyond it nearly always, and eight at once on one day in 21.
    let names: Vec<String> = (0..20).map(|number| format!("f{number}")).collect();
    let features: Vec<Known> = names.iter().map(|name| psi(name, 60)).collect();
    let any = only(&above, &features);
    assert!(
        any.errs
            .starts_with("about once in 24 hours by chance among rows, all 20 together"),
        "{}",
        any.errs
    );
    let eight = changed(above.clone(), |condition| condition.at_least = 8);
    let eight = only(&eight, &features);
    assert!(
        eight.errs.starts_with("about once in 21 days"),
        "{}",
        eight.errs
    );
    let in_a_row = changed(above, |condition| condition.windows = 3);
    let in_a_row = only(&in_a_row, &[psi("age", 60)]);
    assert!(
        in_a_row.errs.starts_with("about once in 101 days"),
        "{}",
        in_a_row.errs
    );
    assert!(
        in_a_row
            .sees
            .ends_with("after 3 days in a row, each looked at alone")
    );
}

#[test]
fn a_measure_whose_chance_is_not_known_says_so() {
    let above = rule(
        &[Measure::WassersteinNormalised],
        Grain::Hour,
        Threshold::Above(0.1),
    );
    let mut value = known(Measure::WassersteinNormalised, "age", 0.02);
    let unknown = only(&above, std::slice::from_ref(&value));
    assert_eq!(
        unknown.errs,
        "not known: nothing tells what chance alone would give"
    );
    value.recipe.noise_floor = Some(0.031);
    let floor = only(&above, &[value]);
    assert_eq!(
        floor.errs,
        "not known; chance alone gives about 0.031, and more where days differ"
    );
    assert!(floor.sees.contains("0.10 standard deviations"));
}

#[test]
fn a_limit_on_quality_says_how_often_labels_err_and_what_is_seen_in_time() {
    let below = rule(&[Measure::Accuracy], Grain::Day, Threshold::Below(0.88));
    let promise = only(&below, &[accuracy(0.90)]);
    // Two standard errors: Φ(−2) = 0.0228.
    assert_eq!(
        promise.errs,
        "about once in 44 days by chance among labels while it is 0.900; more often where days differ by more than that"
    );
    // 1.28 standard errors beyond the limit for one day; for seven each needs 0.28 only, and 0.079 for twenty-eight.
    assert_eq!(
        promise.sees,
        "a value of 0.867/0.886/0.894 in 1/7/28 days, with a chance of 90 %"
    );
    let twice = changed(below.clone(), |condition| condition.windows = 2);
    let twice = only(&twice, &[accuracy(0.90)]);
    assert!(
        twice.errs.starts_with("about once in 5 years"),
        "{}",
        twice.errs
    );
    assert!(twice.sees.contains(" in 7/28 days"), "{}", twice.sees);
    let spent = only(&below, &[accuracy(0.87)]);
    assert_eq!(
        spent.errs,
        "always: 0.870 is beyond the limit of 0.880 already where nothing has changed"
    );
    let weekly = rule(
        &[Measure::Accuracy],
        Grain::Week,
        Threshold::BelowTimesBaseline(0.95),
    );
    let weekly = only(&weekly, &[accuracy(0.90)]);
    assert!(weekly.sees.contains(" in 7/28 days"), "{}", weekly.sees);
}

#[test]
fn what_is_counted_does_not_err_by_chance() {
    let nulls = rule(
        &[Measure::UnitChange, Measure::Constant],
        Grain::Day,
        Threshold::OwnStatus,
    );
    let told = of_rule(&nulls, &[], "");
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].measures, [Measure::UnitChange, Measure::Constant]);
    let promise = told[0].promise.as_ref().expect("it needs no window");
    assert!(promise.errs.starts_with("never by chance"));
    assert_eq!(
        promise.sees,
        "whatever is beyond the monitor's tolerance, after one day"
    );
    let mut silence = nulls;
    silence.condition = Condition::Silence {
        after_seconds: 7_200,
    };
    let told = of_rule(&silence, &[], "");
    assert_eq!(
        told[0].promise.as_ref().map(|of| of.sees.as_str()),
        Some("an outage, 2.0 hours after the last prediction")
    );
}

#[test]
fn a_share_of_few_rows_errs_as_often_as_dice_say() {
    let errors = |rows: u64, share: f64, threshold: Threshold| {
        let rule = rule(&[Measure::ErrorRate], Grain::Day, threshold);
        let newest = Known {
            current_rows: rows,
            ..known(Measure::ErrorRate, "", share)
        };
        only(&rule, &[newest])
    };
    // At 2 %, 2 of 20 rows or more: 1 − 0.98²⁰ − 20 · 0.02 · 0.98¹⁹ = 0.0599, and 3 or more: 0.0071, once in 141 days.
    let few = errors(20, 0.02, Threshold::Above(0.1));
    assert_eq!(few.sees, "more than 0.1, after one day");
    assert_eq!(
        few.errs,
        "about once in 141 days by chance among rows while the share is that of the newest window, 0.020 of 20 rows"
    );
    assert!((errors(20, 0.02, Threshold::Above(0.05)).errs).starts_with("about once in 17 days "));
    let many = errors(2_000, 0.02, Threshold::Above(0.1));
    assert!(
        many.errs
            .starts_with("less than once in 1,000 years by chance")
    );
    assert!(
        (errors(20, 0.0, Threshold::Above(0.1)).errs).starts_with("never by chance among rows")
    );
    // Fewer than one of 20: 0.98²⁰ = 0.668.
    let below = errors(20, 0.02, Threshold::Below(0.05));
    assert!(
        below.errs.starts_with("about once in 36 hours "),
        "{}",
        below.errs
    );

    let nulls = rule(&[Measure::NullShare], Grain::Day, Threshold::OwnStatus);
    let none = of_rule(&nulls, &[], "");
    let errs = none[0].promise.as_ref().map(|of| of.errs.as_str());
    assert_eq!(errs, Some("not known before a window of enough rows"));
    let of = |feature: &str, share: f64| Known {
        current_rows: 50,
        recipe: Recipe {
            threshold: Some(0.01),
            ..Recipe::default()
        },
        ..known(Measure::NullShare, feature, share)
    };
    // One of 50 rows is beyond 1 %: with three features at 0.2 %, 1 − 0.998¹⁵⁰ = 0.259.
    let all = ["a", "b", "c"].map(|feature| of(feature, 0.002));
    assert_eq!(
        only(&nulls, &all).errs,
        "about once in 4 days by chance among rows while the share is that of the newest window, those 3 of 50 rows or \
         more; and where the schema does not say what the model needs"
    );
}

#[test]
fn a_detector_speaks_for_itself_and_the_blindest_feature_is_named() {
    let found = rule(&[Measure::Shift], Grain::Day, Threshold::OwnStatus);
    let of = |feature: &str, effect: f64| {
        let mut value = known(Measure::Shift, feature, 0.0);
        value.recipe = serde_json::from_value(serde_json::json!({
            "method": "days",
            "promise": {"errs": "about one a year", "sees": format!("{effect} in 28 days")},
            "shift": {"detector": "days/1", "alpha": 1e-4, "least_effect": 0.05, "footing": "days",
                      "reference_days": 28},
        }))
        .expect("a recipe as it is stored");
        let smallest = Smallest { days: 28.0, effect };
        value
            .recipe
            .shift
            .as_mut()
            .expect("it has one")
            .smallest
            .push(smallest);
        value
    };
    let promise = only(&found, &[of("a", 0.1), of("b", 0.9), of("c", 0.2)]);
    assert_eq!(promise.errs, "about one a year");
    assert_eq!(
        promise.sees,
        "in half of the features: 0.2 in 28 days; least in b: 0.9 in 28 days"
    );
    let alike = only(&found, &[of("a", 0.1), of("b", 0.1)]);
    assert_eq!(alike.sees, "0.1 in 28 days");
    let of_one = changed(found, |condition| {
        condition.feature = Some("b".to_owned());
        condition.windows = 2;
    });
    let of_one = only(&of_one, &[of("a", 0.1), of("b", 0.9)]);
    assert_eq!(of_one.sees, "0.9 in 28 days");
    assert_eq!(
        of_one.errs,
        "about one a year; less often, as it takes 2 days in a row"
    );
}

#[test]
fn nothing_is_promised_before_a_window_says_enough() {
    let quality = rule(&[Measure::Mae], Grain::Day, Threshold::Above(3.0));
    assert_eq!(of_rule(&quality, &[], "")[0].promise, None);
    let without_interval = known(Measure::Mae, "", 2.0);
    assert_eq!(of_rule(&quality, &[without_interval], "")[0].promise, None);
}

//! Promises that are kept in simulations with fixed seeds, and an answer to every degenerate input.

use super::*;
use crate::stats::random::uniform;
use crate::stats::tails::PValue;

fn batch(events: u64, labels: u64) -> RateBatch {
    RateBatch { events, labels }
}

#[test]
fn weights_are_a_distribution() {
    assert!((WEIGHTS.iter().sum::<f64>() - 1.0).abs() < 1e-12);
}

#[test]
fn what_is_no_reference_is_refused() {
    use NotMonitorable::*;
    let of = |events, labels, tolerance, length| {
        RateDetector::new(RateReference { events, labels }, tolerance, length).err()
    };
    let cases = [
        ((0, 0, 0.0, 1e5), Some(NoLabels)),
        ((2, 1, 0.0, 1e5), Some(MoreEventsThanLabels)),
        ((1, 10, -0.1, 1e5), Some(BadParameter)),
        ((1, 10, f64::NAN, 1e5), Some(BadParameter)),
        ((1, 10, 0.0, 1.0), Some(BadParameter)),
        ((95, 100, 0.0, 1e5), Some(NothingWorse)),
        ((1, 100, 0.0, 1e5), None),
        ((0, 100, 0.0, 1e5), None),
    ];
    for ((events, labels, tolerance, length), expected) in cases {
        assert_eq!(
            of(events, labels, tolerance, length),
            expected,
            "{events} of {labels}"
        );
    }
    let detector = RateDetector::against(0.1, 1e5).expect("a rate");
    let wrong = detector.step(RateState::default(), batch(3, 2));
    assert_eq!(wrong, Err(MoreEventsThanLabels));
}

#[test]
fn a_reference_without_events_is_held_against_what_it_can_exclude() {
    let reference = RateReference {
        events: 0,
        labels: 1000,
    };
    let detector = RateDetector::new(reference, 0.0, 1e5).expect("labels");
    assert!((detector.tolerated() - (1.0 - 0.15_f64.powf(1e-3))).abs() < 1e-12);
    let (state, verdict) = detector
        .step(RateState::default(), batch(1000, 1000))
        .expect("labels");
    assert!(verdict.is_alarm() && verdict.better.is_none() && state.labels == 1000);
}

#[test]
fn an_empty_batch_changes_nothing_and_a_state_survives_storage() {
    let detector = RateDetector::against(0.1, 1e5).expect("a rate");
    let (state, _) = detector
        .step(RateState::default(), batch(7, 50))
        .expect("labels");
    assert_eq!(detector.step(state, batch(0, 0)).expect("nothing").0, state);
    let text = serde_json::to_string(&state).expect("numbers");
    assert_eq!(
        serde_json::from_str::<RateState>(&text).expect("a state"),
        state
    );
    let other = text.replace("\"version\":1", "\"version\":2");
    let other: RateState = serde_json::from_str(&other).expect("a state");
    assert_eq!(
        detector.step(other, batch(1, 2)),
        Err(NotMonitorable::OtherVersion)
    );
}

#[test]
fn evidence_never_leaves_the_numbers_and_falls_when_all_is_well_again() {
    let detector = RateDetector::against(0.1, 1e5).expect("a rate");
    let mut state = RateState::default();
    let mut verdict = None;
    for _ in 0..1000 {
        let next = detector
            .step(state, batch(1_000_000, 1_000_000))
            .expect("labels");
        (state, verdict) = (next.0, Some(next.1));
    }
    assert!(verdict.is_some_and(|v| v.is_alarm() && v.worse <= CAP * 1.001));
    let mut labels = 0;
    while verdict.is_some_and(|v| !v.is_quiet()) {
        let next = detector.step(state, batch(10, 100)).expect("labels");
        (state, verdict) = (next.0, Some(next.1));
        labels += 100;
        assert!(labels < 50_000, "it never ends");
    }
}

/// The first label at which the detector alarms; `batch_size` labels are looked at together.
fn first_alarm(detector: &RateDetector, rate: f64, most: u64, size: u64, seed: u64) -> u64 {
    let mut random = uniform(seed);
    let mut state = RateState::default();
    while state.labels < most {
        let events = (0..size).filter(|_| random() < rate).count() as u64;
        let (next, verdict) = detector.step(state, batch(events, size)).expect("labels");
        state = next;
        if verdict.is_alarm() {
            break;
        }
    }
    state.labels
}

#[test]
fn the_mean_run_length_is_at_least_the_promised_one_for_batches_of_any_size() {
    let promised = 300.0;
    let detector = RateDetector::against(0.2, promised).expect("a rate");
    for size in [1, 7, 50] {
        let runs = 400;
        let total: u64 = (0..runs)
            .map(|i| first_alarm(&detector, 0.2, 100_000, size, i + 1))
            .sum();
        let mean = total as f64 / runs as f64;
        assert!(mean >= promised, "batches of {size}: {mean}");
        assert!(mean < 12.0 * promised, "batches of {size}: {mean}");
    }
}

#[test]
fn a_doubled_rate_is_found_within_a_few_hundred_labels() {
    let detector = RateDetector::against(0.1, 1e5).expect("a rate");
    let mut delays: Vec<u64> = (1..=21)
        .map(|seed| first_alarm(&detector, 0.2, 100_000, 1, seed))
        .collect();
    delays.sort_unstable();
    assert!(delays[10] < 400, "{delays:?}");
}

#[test]
fn the_labels_a_change_takes_are_known_beforehand() {
    // The published delays of a rate of 10 %, in docs/quality-monitoring.md.
    let detector = RateDetector::against(0.1, 1e5).expect("a rate");
    for (rate, measured) in [(0.12, 1_968.0), (0.15, 432.0), (0.2, 152.0), (0.3, 59.0)] {
        let said = detector.labels_to_notice(rate).expect("it is worse");
        assert!((said / measured - 1.0).abs() < 0.34, "{rate}: {said}");
        let surely = detector.smallest_noticed(said).expect("within reach");
        assert!(surely > rate && surely < 1.5 * rate, "{rate}: {surely}");
    }
    assert_eq!(detector.labels_to_notice(0.1), None);
    assert_eq!(detector.smallest_noticed(0.5), None);
    let varied = detector.overdispersed(4.0);
    let (plain, more) = (detector.labels_to_notice(0.2), varied.labels_to_notice(0.2));
    assert!(more.expect("noticed") > 3.0 * plain.expect("noticed"));
    let losses = LossDetector::against(0.1, 0.01, 1e5).expect("a mean");
    let small = losses.labels_to_notice(0.12).expect("noticed");
    assert!(small > 3.0 * losses.labels_to_notice(0.15).expect("noticed"));
    assert!(losses.smallest_noticed(small).expect("within reach") < 0.13);
}

#[test]
fn the_smallest_rate_is_noticed_in_nine_cases_of_ten() {
    let detector = RateDetector::against(0.1, 1e5).expect("a rate");
    for labels in [400_u64, 2_000] {
        let smallest = detector.smallest_noticed(labels as f64);
        let smallest = smallest.expect("within reach");
        let is_noticed =
            |seed: &u64| first_alarm(&detector, smallest, labels + 1, 1, *seed) <= labels;
        let share = (1..=200).filter(is_noticed).count() as f64 / 200.0;
        assert!(
            (0.8..=0.98).contains(&share),
            "{labels}: {smallest} in {share}"
        );
    }
}

#[test]
fn days_that_vary_more_than_chance_raise_no_alarm_where_that_is_known() {
    // Each batch of 200 has a rate of its own, between 4 and 16 %.
    let (known, unknown) = (
        RateDetector::against(0.1, 1e5)
            .expect("a rate")
            .overdispersed(4.0),
        RateDetector::against(0.1, 1e5).expect("a rate"),
    );
    let alarms = |detector: RateDetector| {
        let mut draw = uniform(7);
        let mut state = RateState::default();
        let mut alarms = 0;
        for _ in 0..400 {
            let rate = 0.04 + 0.12 * draw();
            let events = (0..200).filter(|_| draw() < rate).count() as u64;
            let (next, verdict) = detector.step(state, batch(events, 200)).expect("a batch");
            alarms += u64::from(verdict.is_alarm());
            state = next;
        }
        alarms
    };
    assert_eq!(alarms(known), 0);
    assert!(alarms(unknown) > 0);
}

#[test]
fn losses_outside_their_range_are_refused_and_change_nothing() {
    let detector = LossDetector::against(0.2, 0.05, 1e4).expect("a mean");
    for bad in [[0.1, 1.5], [0.1, f64::NAN], [-0.1, 0.2]] {
        let of = detector.step(detector.start(), &bad);
        assert_eq!(of, Err(NotMonitorable::BadParameter), "{bad:?}");
    }
    let reference = |mean, variance, labels| LossReference {
        mean,
        variance,
        labels,
    };
    assert!(LossDetector::new(reference(0.2, 0.05, 1), 0.0, 1e5).is_err());
    assert!(LossDetector::new(reference(0.2, 0.5, 100), 0.0, 1e5).is_err());
    assert!(LossDetector::new(reference(0.94, 0.01, 100), 0.0, 1e5).is_err());
    // A reference that never lost anything still has a bound above zero.
    let perfect = LossDetector::new(reference(0.0, 0.0, 1000), 0.0, 1e5).expect("labels");
    assert!(perfect.tolerated() > 0.0 && perfect.tolerated() < 0.02);
}

#[test]
fn bets_keep_the_promised_run_length_and_find_a_change_of_the_mean() {
    // Squares of uniform numbers: mean 1/3, variance 4/45.
    let promised = 300.0;
    let detector = LossDetector::against(1.0 / 3.0, 4.0 / 45.0, promised).expect("a mean");
    let run = |shift: f64, seed: u64| {
        let mut random = uniform(seed);
        let mut state = detector.start();
        loop {
            let loss = (random().powi(2) + shift).min(1.0);
            let (next, verdict) = detector.step(state, &[loss]).expect("a loss");
            state = next;
            if verdict.is_alarm() || state.labels > 50_000 {
                return state.labels;
            }
        }
    };
    let mean = (1..=200).map(|seed| run(0.0, seed)).sum::<u64>() as f64 / 200.0;
    assert!(mean >= promised, "{mean}");
    let found = (1..=50).map(|seed| run(0.2, seed)).sum::<u64>() as f64 / 50.0;
    assert!(found < 100.0, "{found}");
}

#[test]
fn a_burning_budget_pages_and_a_single_error_does_not() {
    let policy = BurnPolicy::new(0.99, 10.0).expect("an objective");
    let counts = |labelled, bad| LabelledCounts { labelled, bad };
    let quiet = counts(100_000, 900);
    let cases = [
        ("all is well", [(quiet, quiet); 3], None),
        (
            "nothing is labelled",
            [(counts(0, 0), counts(0, 0)); 3],
            None,
        ),
        (
            "one of five is wrong",
            [(counts(5, 1), counts(1, 1)); 3],
            None,
        ),
        (
            "one in five of many",
            [(counts(36_000, 7_200), counts(3_000, 600)); 3],
            Some((BurnSeverity::Page, 14.4)),
        ),
        (
            "it is over already",
            [(counts(36_000, 7_200), counts(3_000, 30)); 3],
            None,
        ),
        (
            "slowly",
            [(counts(100_000, 1_200), counts(10_000, 130)); 3],
            Some((BurnSeverity::Ticket, 1.0)),
        ),
    ];
    for (case, windows, expected) in cases {
        let alert = policy
            .judge(&windows)
            .map(|alert| (alert.rule.severity, alert.rule.burn));
        assert_eq!(alert, expected, "{case}");
    }
}

#[test]
fn windows_grow_where_labels_are_slow() {
    let fast = BurnPolicy::new(0.99, 10.0).expect("an objective");
    assert_eq!(
        (fast.rules()[0].long_seconds, fast.budget_seconds()),
        (3_600.0, 2_592_000.0)
    );
    // A label a minute: an hour brings 60, and 1,000 are needed to expect ten errors.
    let slow = BurnPolicy::new(0.99, 1.0 / 60.0).expect("an objective");
    let rule = slow.rules()[0];
    assert!((rule.long_seconds - 60_000.0).abs() < 1e-6);
    assert!((rule.long_seconds / rule.short_seconds - 12.0).abs() < 1e-9);
    assert!(BurnPolicy::new(1.0, 1.0).is_err() && BurnPolicy::new(0.9, 0.0).is_err());
}

#[test]
fn e_values_are_weighed_together() {
    let ln = |values: &[f64]| values.iter().map(|e| e.ln()).collect::<Vec<f64>>();
    assert_eq!(
        e_benjamini_hochberg(&ln(&[100.0, 1.0, 50.0, 0.1]), 0.1),
        [0, 2]
    );
    assert_eq!(
        e_benjamini_hochberg(&ln(&[39.0, 1.0, 1.0, 0.1]), 0.1),
        Vec::<usize>::new()
    );
    assert_eq!(e_benjamini_hochberg(&[], 0.1), Vec::<usize>::new());
    assert_eq!(e_benjamini_hochberg(&[f64::NAN, f64::INFINITY], 0.1), [1]);
}

#[test]
fn a_calibrated_p_value_has_mean_one_at_most() {
    // Σ over a fine grid of p approximates the mean under the null; the singular end is integrated in ln p.
    let mean: f64 = (0..400_000)
        .map(|i| {
            let u = (f64::from(i) + 0.5) / 400.0;
            (calibrated_ln_e(PValue::from_ln(-u).expect("a number")) - u).exp() / 400.0
        })
        .sum();
    assert!(mean <= 1.0 && mean > 0.99, "{mean}");
    let at_one = calibrated_ln_e(PValue::ONE);
    assert!((at_one - 0.5_f64.ln()).abs() < 1e-12);
    let near = calibrated_ln_e(PValue::from_ln(-1.001e-3).expect("a number"));
    let nearer = calibrated_ln_e(PValue::from_ln(-0.999e-3).expect("a number"));
    assert!(near > nearer && near - nearer < 1e-6);
}

fn day(value: f64) -> DayValue {
    DayValue {
        value,
        variance: 1e-4,
        size: 100,
    }
}

/// Days whose values differ by chance alone, with a standard deviation of 0.01.
fn chance(seed: u64) -> impl FnMut() -> f64 {
    let mut random = uniform(seed);
    move || ((0..12).map(|_| random()).sum::<f64>() - 6.0) * 0.01
}

fn tested(reference: &[DayValue], current: &[Option<DayValue>]) -> Result<DayTest, NotTested> {
    DayReference::fit(reference)?.test(current)
}

#[test]
fn days_are_tested_against_days() {
    let mut noise = chance(5);
    let reference: Vec<DayValue> = (0..28).map(|_| day(0.8 + noise())).collect();
    let well: Vec<Option<DayValue>> = (0..28).map(|_| Some(day(0.8 + noise()))).collect();
    let worse: Vec<Option<DayValue>> = (0..7).map(|_| Some(day(0.76 + noise()))).collect();
    let quiet = tested(&reference, &well).expect("days");
    assert!(quiet.strongest.p_value.value() > 1e-3, "{quiet:?}");
    let loud = tested(&reference, &worse).expect("days");
    let fall = loud.fall.expect("a fall");
    assert_eq!((loud.strongest, loud.rise), (fall, None));
    assert!(
        fall.p_value.value() < 1e-5 && fall.difference < -0.02,
        "{fall:?}"
    );
    assert!(fall.interval.0 < -0.04 && fall.interval.1 > -0.05 && fall.interval.1 < 0.0);
}

#[test]
fn a_fall_is_told_though_a_rise_before_it_was_larger_and_ends_with_its_days() {
    let mut noise = chance(6);
    let reference: Vec<DayValue> = (0..28).map(|_| day(0.8 + noise())).collect();
    let mut days: Vec<Option<DayValue>> = (0..27).map(|_| Some(day(0.86 + noise()))).collect();
    days.push(Some(day(0.7)));
    let found = tested(&reference, &days).expect("days");
    let fall = found.fall.expect("a fall");
    assert_eq!(fall.days, 1);
    assert!(
        fall.p_value.value() < 1e-3 && fall.difference < -0.08,
        "{found:?}"
    );
    assert!(found.strongest.difference > 0.0, "{found:?}");

    // Two weeks of a fall, and a week as before.
    let mut over: Vec<Option<DayValue>> = (0..14).map(|_| Some(day(0.74))).collect();
    over.extend((0..7).map(|_| Some(day(0.81))));
    let over = tested(&reference, &over).expect("days");
    assert!(over.strongest.difference < -0.02, "{over:?}");
    assert_eq!(over.fall, None);
}

#[test]
fn days_that_differ_more_than_chance_widen_the_test() {
    let alike: Vec<DayValue> = (0..28)
        .map(|i| day(0.8 + 0.01 * f64::from(i % 3 - 1)))
        .collect();
    let unlike: Vec<DayValue> = (0..28)
        .map(|i| day(0.8 + 0.1 * f64::from(i % 3 - 1)))
        .collect();
    let now = vec![Some(day(0.7)); 3];
    let [narrow, wide] = [alike, unlike].map(|days| DayReference::fit(&days).expect("days"));
    assert!(narrow.overdispersion == 1.0 && wide.overdispersion > 50.0);
    let p = |reference: DayReference| {
        let found = reference.test(&now).expect("labels").strongest;
        found.p_value.value()
    };
    assert!(p(narrow) < 1e-6 && p(wide) > 0.1);
    let smallest = |reference: DayReference, days| {
        let found = reference.smallest_noticed(days, 1e-4, 1e-3);
        found.expect("degrees of freedom")
    };
    assert!(smallest(wide, 7.0) > 5.0 * smallest(narrow, 7.0));
    assert!(smallest(narrow, 28.0) < smallest(narrow, 7.0));
    assert!(smallest(narrow, 7.0) < smallest(narrow, 1.0));
}

#[test]
fn the_smallest_fall_is_found_in_nine_cases_of_ten() {
    let mut noise = chance(7);
    let (mut found, streams) = (0, 400);
    for _ in 0..streams {
        let reference: Vec<DayValue> = (0..28).map(|_| day(0.8 + noise())).collect();
        let reference = DayReference::fit(&reference).expect("days");
        let smallest = reference.smallest_noticed(7.0, 1e-4, 1e-3);
        let fallen = 0.8 - smallest.expect("degrees of freedom");
        let days: Vec<Option<DayValue>> = (0..28)
            .map(|i| Some(day(if i < 21 { 0.8 } else { fallen } + noise())))
            .collect();
        let test = reference.test(&days).expect("labels");
        let is_found = |fall: DayChange| fall.p_value.value() <= 1e-3;
        found += usize::from(test.fall.is_some_and(is_found));
    }
    let share = found as f64 / f64::from(streams);
    assert!((0.84..=0.97).contains(&share), "{share}");
}

#[test]
fn quiet_days_are_found_no_more_often_than_the_p_value_says() {
    let mut noise = chance(8);
    let (mut looks, mut low, mut lower) = (0.0, 0.0, 0.0);
    for _ in 0..1_500 {
        let reference: Vec<DayValue> = (0..28).map(|_| day(0.8 + noise())).collect();
        let reference = DayReference::fit(&reference).expect("days");
        for _ in 0..4 {
            let days: Vec<Option<DayValue>> = (0..28).map(|_| Some(day(0.8 + noise()))).collect();
            let found = reference.test(&days).expect("labels").fall;
            let p = found.map_or(1.0, |fall| fall.p_value.value());
            looks += 1.0;
            low += f64::from(u8::from(p <= 0.05));
            lower += f64::from(u8::from(p <= 0.001));
        }
    }
    // Half of the p-value is of falls.
    assert!((0.005..0.028).contains(&(low / looks)), "{low} of {looks}");
    assert!(lower / looks <= 0.0012, "{lower} of {looks}");
}

#[test]
fn too_little_is_not_tested() {
    let reference = vec![day(0.8); 28];
    let few = DayValue {
        size: 3,
        ..day(0.1)
    };
    assert_eq!(
        tested(&reference[..6], &[Some(day(0.1))]),
        Err(NotTested::TooFewReferenceDays(6))
    );
    assert_eq!(tested(&reference, &[]), Err(NotTested::NotEnoughLabels));
    assert_eq!(
        tested(&reference, &[None, None]),
        Err(NotTested::NotEnoughLabels)
    );
    assert_eq!(
        tested(&reference, &[Some(few)]),
        Err(NotTested::NotEnoughLabels)
    );
    // Seven such days together are enough, and shorter windows are left out.
    let week = tested(&reference, &vec![Some(few); 7]).expect("enough");
    assert_eq!(week.strongest.days, 7);
    // A last day without a value says nothing, and what came before it is still there.
    let mut days = vec![Some(day(0.7)); 7];
    days.push(None);
    let before = tested(&reference, &days).expect("enough");
    assert_eq!(before.strongest.days, 7);
    let unusable = DayValue {
        value: f64::NAN,
        ..day(0.8)
    };
    assert_eq!(
        tested(&vec![unusable; 28], &[Some(few)]),
        Err(NotTested::TooFewReferenceDays(0))
    );
}

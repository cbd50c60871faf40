//! What a watch takes in, what it waits for, and what it says.

use chrono::TimeDelta;

use super::*;
use crate::domain::labelled::Truth;
use crate::stats::thinning::mixed;

const HOUR: f64 = 3_600.0;

fn day(number: i64) -> Window {
    let first: DateTime<Utc> = "2026-03-01T00:00:00Z".parse().expect("an instant");
    Grain::Day.window_at(first + TimeDelta::days(number))
}

/// `labels` of a day, of which each `every`th is wrong; half of them come after one hour and half after ten.
fn rows(number: i64, labels: i64, every: i64) -> Vec<LabelledRow> {
    (0..labels)
        .map(|i| LabelledRow {
            predicted_at: Some(day(number).start + TimeDelta::minutes(i)),
            lag: Some(if i % 2 == 0 { HOUR } else { 10.0 * HOUR }),
            truth: Truth::Number {
                predicted: 0.0,
                label: if i % every == 0 { 20.0 } else { 2.0 },
            },
            earlier: Vec::new(),
        })
        .collect()
}

fn sample(every: i64) -> LabelledSample {
    let rows: Vec<LabelledRow> = (-28..0)
        .flat_map(|number| rows(number, 200, every))
        .collect();
    LabelledSample {
        answered: rows.len() as u64,
        labels: rows.len() as u64,
        rows,
        features: Vec::new(),
    }
}

fn choice() -> SequentialChoice {
    SequentialChoice {
        right_within: Some(10.0),
        ..SequentialChoice::default()
    }
}

fn watch(measure: Measure, within: Option<f64>) -> Watch {
    Watch::fit(measure, &choice(), &sample(10), Grain::Day, within).expect("a watch")
}

/// Lives through days with an error in each `every`th row.
fn live(
    watch: &Watch,
    taken: &mut Vec<Taken>,
    state: &mut Option<SequentialState>,
    (from, to, every): (i64, i64, i64),
) {
    for number in from..to {
        let losses = losses_of(watch, rows(number, 200, every).iter());
        let window = day(number);
        let next = watch
            .take(state.as_ref(), taken, window, &losses)
            .expect("a state");
        taken.push(Taken {
            start: window.start,
            end: window.end,
            labels: losses.len() as u64,
            losses: losses.iter().sum(),
        });
        *state = Some(SequentialState::decode(&next.encode()).expect("is read as it was written"));
    }
}

#[test]
fn a_month_as_before_is_quiet_and_a_doubled_rate_is_told_with_since_when_and_from_what_to_what() {
    for measure in [Measure::ErrorRateSequential, Measure::LossSequential] {
        let watch = watch(measure, None);
        let (mut taken, mut state) = (Vec::new(), None);
        live(&watch, &mut taken, &mut state, (0, 30, 10));
        let quiet = watch.told(&taken, state.as_ref().expect("a state"), "minutes");
        assert_eq!(quiet.status, Status::Ok, "{quiet:?}");
        let words = quiet.recipe.detail.expect("words");
        assert!(
            words.starts_with("no change for the worse beyond chance"),
            "{words}"
        );
        assert!(
            words.contains("at most once in 100000 labels, about once in 500 days at this traffic"),
            "{words}"
        );
        assert!(
            words.contains("smallest rise seen in 1/7/28 days (200/1400/5600 labels)"),
            "{words}"
        );

        live(&watch, &mut taken, &mut state, (30, 33, 4));
        let told = watch.told(&taken, state.as_ref().expect("a state"), "minutes");
        assert_eq!(told.status, Status::Drift, "{measure:?} {told:?}");
        let (low, high) = told.interval.expect("an interval");
        let value = told.value.expect("a value");
        assert!(low < value && value < high && value > told.recipe.threshold.expect("a limit"));
        let words = told.recipe.detail.expect("words");
        assert!(
            words.starts_with("since 31 March 2026 (600 labels) "),
            "{words}"
        );
        if measure == Measure::ErrorRateSequential {
            assert!(
                words.contains("25.0 % of predictions are wrong, from 10.0 % in the baseline"),
                "{words}"
            );
        } else {
            assert!(
                words.contains("6.50 minutes is the mean loss, from 3.80 minutes"),
                "{words}"
            );
        }
        let recipe = told.recipe.sequential.expect("a recipe");
        assert_eq!((recipe.labels, recipe.labels_since), (6_600, Some(600)));

        // An alarm ends only when the evidence is gone.
        live(&watch, &mut taken, &mut state, (33, 34, 10));
        assert!(state.as_ref().expect("a state").alarm.is_some());
        live(&watch, &mut taken, &mut state, (34, 120, 20));
        assert_eq!(state.expect("a state").alarm, None);
    }
}

#[test]
fn labels_are_held_against_those_of_the_baseline_at_the_same_lag() {
    let all = watch(Measure::ErrorRateSequential, None);
    assert!(
        (all.lag / HOUR - 10.0).abs() < 1e-9,
        "nine of ten had come by then"
    );
    let early = watch(Measure::ErrorRateSequential, Some(2.0 * HOUR));
    // Every error is an early label here: within two hours twice as many are wrong.
    assert!((all.reference() - 0.1).abs() < 1e-9 && (early.reference() - 0.2).abs() < 1e-9);
    assert_eq!(losses_of(&early, rows(1, 200, 10).iter()).len(), 100);
    assert_ne!(all.course("b"), early.course("b"));

    let window = day(3);
    let at = |hours| window.end + TimeDelta::hours(hours);
    assert_eq!(early.readiness(window, (200, 100), at(2)), Readiness::Ready);
    let waits = |found: Readiness, text: &str| match found {
        Readiness::Waiting(why) => assert!(why.contains(text), "{why}"),
        Readiness::Ready => panic!("it does not wait: {text}"),
    };
    waits(
        all.readiness(window, (200, 100), at(2)),
        "too young to be compared before 2026-03-05 10:00",
    );
    waits(
        all.readiness(window, (200, 100), at(10)),
        "fewer labels have come than in the baseline",
    );
    waits(all.readiness(window, (200, 0), at(10)), "no labels");
    let much_too_early = watch(Measure::ErrorRateSequential, Some(HOUR));
    assert_eq!(
        much_too_early.readiness(window, (200, 100), at(1)),
        Readiness::Ready
    );
}

#[test]
fn what_says_too_little_is_not_watched() {
    let fit = |sample: &LabelledSample, within| {
        Watch::fit(
            Measure::ErrorRateSequential,
            &choice(),
            sample,
            Grain::Day,
            within,
        )
    };
    let mut unknown = sample(10);
    for row in &mut unknown.rows {
        row.lag = None;
    }
    assert_eq!(fit(&unknown, None), Err(CannotWatch::NoLags));
    assert!(fit(&unknown, Some(HOUR)).is_ok());
    unknown.rows.truncate(99);
    assert_eq!(fit(&unknown, Some(HOUR)), Err(CannotWatch::FewLabels(99)));
    let always = LabelledSample {
        rows: rows(0, 200, 1),
        ..unknown
    };
    assert_eq!(
        fit(&always, Some(HOUR)),
        Err(NotMonitorable::NothingWorse.into())
    );
}

#[test]
fn windows_that_differ_more_than_chance_widen_what_counts_as_well() {
    let mut varied = sample(10);
    // Every other day is much worse.
    varied.rows = (-28..0)
        .flat_map(|number| rows(number, 200, if number % 2 == 0 { 5 } else { 100 }))
        .collect();
    let watch = Watch::fit(
        Measure::ErrorRateSequential,
        &choice(),
        &varied,
        Grain::Day,
        None,
    )
    .expect("a watch");
    let of_baseline = watch.overdispersion(200.0);
    assert!(of_baseline > 10.0, "{of_baseline}");
    assert!(watch.tolerated() > watch.reference() + 0.02);
    let undated = LabelledSample {
        rows: (varied.rows.iter().cloned())
            .map(|row| LabelledRow {
                predicted_at: None,
                ..row
            })
            .collect(),
        ..varied
    };
    let plain = Watch::fit(
        Measure::ErrorRateSequential,
        &choice(),
        &undated,
        Grain::Day,
        None,
    )
    .expect("a watch");
    assert!(!plain.dated && plain.tolerated() < watch.tolerated());
}

/// The rate of errors of a day, around 10 % with a standard deviation of 3 %.
fn rate_of(number: i64) -> f64 {
    0.10 + 0.03 * ((number * 7_919).rem_euclid(13) as f64 - 6.0) / 3.742
}

/// Whether a label is wrong, by chance and by its day's rate.
fn is_wrong_by_chance(number: i64, label: i64) -> bool {
    let bits = mixed((number * 1_000_003 + label).cast_unsigned()) >> 11;
    (bits as f64) < rate_of(number) * (1_u64 << 53) as f64
}

#[test]
fn days_that_differ_are_allowed_for_however_many_labels_a_day_has() {
    let fit = |labels: i64| {
        let mut reference = sample(10);
        reference.rows = (-28..0)
            .flat_map(|number| (0..labels).map(move |i| (number, i)))
            .map(|(number, i)| LabelledRow {
                predicted_at: Some(day(number).start + TimeDelta::seconds(i)),
                lag: Some(HOUR),
                truth: Truth::Number {
                    predicted: 0.0,
                    label: if is_wrong_by_chance(number, i) {
                        20.0
                    } else {
                        2.0
                    },
                },
                earlier: Vec::new(),
            })
            .collect();
        let grain = Grain::Day;
        Watch::fit(
            Measure::ErrorRateSequential,
            &choice(),
            &reference,
            grain,
            None,
        )
        .expect("a watch")
    };
    let (drawn, whole) = (fit(200), fit(2_000));
    // What days differ by is about the same, whatever part of their labels is known.
    let ratio = drawn.between / whole.between;
    assert!((0.5..2.0).contains(&ratio), "{ratio}");
    let (few, many) = (drawn.overdispersion(200.0), drawn.overdispersion(20_000.0));
    assert!(few > 2.0 && many > 90.0 * (few - 1.0), "{few} {many}");
    // A year's labels, unless something else is asked for.
    let promised = |labels| drawn.run_length(Some(labels));
    assert_eq!(
        (promised(10.0), promised(20_000.0)),
        (100_000.0, 7_305_000.0)
    );
    // A hundred days that differ as those of the baseline did raise no alarm, though each has a hundred times the labels.
    let mut state: Option<SequentialState> = None;
    for number in 0..100 {
        let wrong = (rate_of(number) * 20_000.0) as usize;
        let losses = [vec![1.0; wrong], vec![0.0; 20_000 - wrong]].concat();
        let next = drawn
            .take(state.as_ref(), &[], day(number), &losses)
            .expect("is taken");
        assert_eq!(next.alarm, None, "day {number}: {}", next.worse);
        state = Some(next);
    }
    // One that doubles is seen within a week.
    let mut days = 0;
    while state.as_ref().is_some_and(|state| state.alarm.is_none()) {
        let losses = [vec![1.0; 4_000], vec![0.0; 16_000]].concat();
        state = Some(
            drawn
                .take(state.as_ref(), &[], day(100 + days), &losses)
                .expect("is taken"),
        );
        days += 1;
        assert!(days <= 7, "not seen in {days} days");
    }
}

#[test]
fn without_times_of_labels_a_window_needs_as_many_as_the_baseline_has() {
    let mut of_file = sample(10);
    of_file.rows.iter_mut().for_each(|row| row.lag = None);
    // Three of four predictions of the file have a label.
    of_file.answered = of_file.labels * 4 / 3;
    let within = Some(24.0 * HOUR);
    let watch = Watch::fit(
        Measure::ErrorRateSequential,
        &choice(),
        &of_file,
        Grain::Day,
        within,
    )
    .expect("a watch");
    let ready = |labels| watch.readiness(day(0), (200, labels), day(2).end);
    for labels in [150, 140] {
        assert_eq!(ready(labels), Readiness::Ready, "{labels}");
    }
    for labels in [1, 100] {
        let Readiness::Waiting(why) = ready(labels) else {
            panic!("{labels} labels of 200 are taken in")
        };
        assert!(
            why.starts_with("fewer predictions have a label than in the baseline"),
            "{why}"
        );
        assert!(why.contains("% and not 75.0 %"), "{why}");
    }
}

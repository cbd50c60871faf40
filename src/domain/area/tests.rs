//! Days of scores against the days of a baseline: what is found, what is said of it, and when nothing is.

use super::*;

const HOUR: f64 = 3_600.0;

fn day(number: i64) -> Window {
    let first: DateTime<Utc> = "2026-03-01T00:00:00Z".parse().expect("an instant");
    Grain::Day.window_at(first + TimeDelta::days(number))
}

/// Between 0 and 1, different for each place and the same in each run.
fn uniform(number: i64, i: i64, column: i64) -> f64 {
    let seed = u64::try_from((number + 1_000) * 100_000 + i * 10 + column).expect("positive");
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x ^ (x >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

/// Predictions of which a fifth is positive. Half of the labels come after one hour and half after ten; a share of the scores is drawn
/// without a look at the label.
fn rows(number: i64, count: i64, lost: f64) -> Vec<LabelledRow> {
    let row = |i: i64| {
        let label = uniform(number, i, 1) < 0.2;
        let told = uniform(number, i, 2) >= lost;
        let high = if told {
            label
        } else {
            uniform(number, i, 3) < 0.2
        };
        let score = 0.5 * uniform(number, i, 4) + if high { 0.3 } else { 0.0 };
        LabelledRow {
            predicted_at: Some(day(number).start + TimeDelta::minutes(i)),
            lag: Some(if i % 2 == 0 { HOUR } else { 10.0 * HOUR }),
            truth: Truth::Binary {
                score: Some(score),
                predicted: score >= 0.5,
                label,
            },
            earlier: Vec::new(),
        }
    };
    (0..count).map(row).collect()
}

fn sample(days: i64) -> LabelledSample {
    let rows: Vec<LabelledRow> = (-days..0)
        .flat_map(|number| rows(number, 300, 0.0))
        .collect();
    LabelledSample {
        answered: rows.len() as u64,
        labels: rows.len() as u64,
        rows,
        features: Vec::new(),
    }
}

fn watch() -> AreaWatch {
    AreaWatch::fit(&sample(28), None).expect("days")
}

/// What is said after days that follow each other, of which those from `since` on have lost a share of their order.
fn lived(watch: &AreaWatch, count: i64, (since, lost): (i64, f64)) -> Vec<AreaTold> {
    let mut days = BTreeMap::new();
    let live = |number: i64| {
        let lost = if number >= since { lost } else { 0.0 };
        let area = watch.day(&rows(number, 300, lost)).expect("both classes");
        days.insert(day(number).start, area);
        watch.told(&days, day(number), "course")
    };
    (0..count).map(live).collect()
}

#[test]
fn quiet_days_are_quiet_and_say_how_often_that_errs_and_what_would_be_seen() {
    let watch = watch();
    let said = lived(&watch, 60, (60, 0.0));
    assert!(said.iter().all(|told| told.status == Status::Ok));
    let last = said.last().expect("days");
    let detail = last.recipe.detail.as_deref().expect("words");
    assert!(
        detail.starts_with("no change beyond chance; over "),
        "{detail}"
    );
    assert!(
        detail.contains("a fall is found by chance about once in 5 years of a model at most"),
        "{detail}"
    );
    assert!(
        detail.contains("smallest fall seen in 1/7/28 days with a chance of 90 %: by 0."),
        "{detail}"
    );
    let (low, high) = last.interval.expect("an interval");
    let value = last.value.expect("a value");
    assert!(low < value && value < high && high - low < 0.1);
    let recipe = last.recipe.area.as_ref().expect("a recipe");
    assert_eq!(recipe.reference_days, 28);
    let falls: Vec<f64> = recipe.smallest.iter().map(|s| s.fall).collect();
    assert!(
        falls.len() == 3 && falls[0] > falls[1] && falls[1] > falls[2],
        "{falls:?}"
    );
}

#[test]
fn falls_of_good_models_with_few_positives_are_found_by_chance_no_more_often_than_promised() {
    // Areas of 0.95 and 12 positives a day have a long tail towards less.
    let live = |stream: i64| {
        let first = 100 * stream;
        let rows: Vec<LabelledRow> = (first..first + 28).flat_map(|n| rows(n, 60, 0.0)).collect();
        let sample = LabelledSample {
            answered: rows.len() as u64,
            labels: rows.len() as u64,
            rows,
            features: Vec::new(),
        };
        let watch = AreaWatch::fit(&sample, None).expect("days");
        let mut days = BTreeMap::new();
        let found = (first + 28..first + 88).filter(|number| {
            let area = self::rows(*number, 60, 0.0);
            days.extend(watch.day(&area).map(|area| (day(*number).start, area)));
            watch.told(&days, day(*number), "course").status == Status::Drift
        });
        (found.count(), watch.reference())
    };
    let streams: Vec<(usize, f64)> = (0..100).map(live).collect();
    assert!(streams.iter().all(|(_, area)| (0.85..0.99).contains(area)));
    // Of 6,000 looks; 3 are promised.
    let found: usize = streams.iter().map(|(found, _)| found).sum();
    assert!(found <= 8, "{found}");
}

#[test]
fn a_lost_order_is_found_within_days_and_told_with_its_beginning() {
    let watch = watch();
    let said = lived(&watch, 20, (10, 0.5));
    assert!(said[..10].iter().all(|told| told.status == Status::Ok));
    let found = said.iter().position(|told| told.status == Status::Drift);
    assert!(found.is_some_and(|at| at < 13), "{found:?}");
    let last = said.last().expect("days");
    assert_eq!(last.status, Status::Drift);
    assert!(last.value.expect("a value") < -0.1, "{last:?}");
    assert!(last.p_value.expect("a p-value") < 1e-6);
    let detail = last.recipe.detail.as_deref().expect("words");
    assert!(detail.starts_with("since "), "{detail}");
    assert!(
        detail.contains("the area under the ROC curve has fallen to 0."),
        "{detail}"
    );
    for told in &said {
        let (value, limit) = (told.value.expect("a value"), told.recipe.threshold);
        let is_beyond = value <= limit.expect("a threshold");
        assert_eq!(is_beyond, told.status == Status::Drift, "{told:?}");
    }
    let recipe = last.recipe.area.as_ref().expect("a recipe");
    let since = recipe.since.expect("a beginning");
    assert!(since >= day(6).start && since <= day(17).start, "{since}");
}

#[test]
fn a_rise_is_told_and_is_no_finding() {
    let worn: Vec<LabelledRow> = (-28..0).flat_map(|number| rows(number, 300, 0.5)).collect();
    let worn = LabelledSample {
        answered: worn.len() as u64,
        labels: worn.len() as u64,
        rows: worn,
        features: Vec::new(),
    };
    let watch = AreaWatch::fit(&worn, None).expect("days");
    let said = lived(&watch, 7, (7, 0.0));
    let last = said.last().expect("days");
    assert_eq!(last.status, Status::Ok);
    assert!(last.value.expect("a value") > 0.1, "{last:?}");
    let detail = last.recipe.detail.as_deref().expect("words");
    assert!(detail.contains("has risen to 0."), "{detail}");
}

#[test]
fn like_is_compared_with_like_in_age() {
    let all = watch();
    assert_eq!(all.lag, 10.0 * HOUR);
    let early = AreaWatch::fit(&sample(28), Some(2.0 * HOUR)).expect("days");
    assert_eq!(all.reference_labels, 28 * 300);
    assert_eq!(early.reference_labels, 28 * 150);
    let today = rows(0, 300, 0.0);
    let of = early.day(&today).expect("both classes");
    assert_eq!(of.positives + of.negatives, 150);
    let ready = |watch: &AreaWatch, rows: &[LabelledRow], hours| {
        let now = day(0).end + TimeDelta::hours(hours);
        watch.readiness(day(0), (300, rows), now)
    };
    assert_eq!(ready(&all, &today, 10), Readiness::Ready);
    assert_eq!(ready(&early, &today, 2), Readiness::Ready);
    let mut of_file = sample(28);
    of_file.rows.iter_mut().for_each(|row| row.lag = None);
    let of_file = AreaWatch::fit(&of_file, Some(10.0 * HOUR)).expect("days");
    assert_eq!(ready(&of_file, &today, 10), Readiness::Ready);
    let causes = [
        (
            ready(&of_file, &today[..60], 10),
            "fewer predictions have a label than in the baseline, 20.0 % and not 100.0 %",
        ),
        (
            ready(&all, &today, 9),
            "too young to be compared before 2026-03-02 10:00",
        ),
        (
            ready(&all, &today[..60], 10),
            "fewer labels have come than in the baseline",
        ),
        (ready(&all, &[], 10), "no labels that came in time"),
    ];
    for (readiness, expected) in causes {
        let Readiness::Waiting(why) = readiness else {
            panic!("{expected}")
        };
        assert!(why.contains(expected), "{why}");
    }
}

#[test]
fn what_cannot_be_judged_says_why() {
    let few = AreaWatch::fit(&sample(6), None).expect_err("six days");
    assert!(
        few.to_string().contains("6 days with a value, and 7"),
        "{few}"
    );
    let mut undated = sample(28);
    undated.rows[3].predicted_at = None;
    assert_eq!(AreaWatch::fit(&undated, None), Err(CannotWatch::NoTimes));
    let mut of_file = sample(28);
    of_file.rows.iter_mut().for_each(|row| row.lag = None);
    assert_eq!(AreaWatch::fit(&of_file, None), Err(CannotWatch::NoLags));
    let within = AreaWatch::fit(&of_file, Some(HOUR)).expect("days");
    assert_eq!(within.reference_labels, 28 * 300);

    let watch = watch();
    let today = rows(0, 300, 0.0);
    let mut negatives = today.clone();
    negatives.retain(|row| matches!(row.truth, Truth::Binary { label: false, .. }));
    assert_eq!(watch.day(&negatives), None);
    let none = watch.told(&BTreeMap::new(), day(0), "course");
    let cause = none.recipe.cause.as_deref().expect("a cause");
    assert!(
        cause.starts_with("one of the classes has no labels"),
        "{cause}"
    );

    // Forty rows have about eight positives: three days together are judged, one is not.
    let area = |number| watch.day(&rows(number, 40, 0.0)).expect("both classes");
    let mut days = BTreeMap::from([(day(0).start, area(0))]);
    let first = watch.told(&days, day(0), "course");
    assert_eq!(first.status, Status::Insufficient);
    let cause = first.recipe.cause.as_deref().expect("a cause");
    assert!(
        cause.starts_with("no window has 20 labels of the rarer class: the last 28 days have "),
        "{cause}"
    );
    let kept = first.recipe.area.as_ref().and_then(|recipe| recipe.day);
    assert_eq!(kept, Some(area(0)), "later days need it");
    for number in 1..6 {
        days.insert(day(number).start, area(number));
    }
    let later = watch.told(&days, day(5), "course");
    assert_eq!(later.status, Status::Ok);
    let recipe = later.recipe.area.expect("a recipe");
    assert!(recipe.days.is_some_and(|days| days > 1));
    assert!(recipe.smallest.iter().all(|s| s.days > 1.0), "{recipe:?}");
}

#[test]
fn scores_without_an_exception_are_not_taken_for_certainty() {
    let sorted = |number: i64| {
        let mut rows = rows(number, 100, 0.0);
        for row in &mut rows {
            if let Truth::Binary { score, label, .. } = &mut row.truth {
                *score = Some(if *label { 0.9 } else { 0.1 });
            }
        }
        rows
    };
    let rows: Vec<LabelledRow> = (-28..0).flat_map(sorted).collect();
    let sample = LabelledSample {
        answered: rows.len() as u64,
        labels: rows.len() as u64,
        rows,
        features: Vec::new(),
    };
    let watch = AreaWatch::fit(&sample, None).expect("days");
    assert_eq!(watch.reference(), 1.0);
    let today = watch.day(&sorted(0)).expect("both classes");
    assert!(today.variance > 1e-6 && today.variance < 1e-3, "{today:?}");
    let quiet = watch.told(&BTreeMap::from([(day(0).start, today)]), day(0), "course");
    assert_ne!(quiet.status, Status::Drift);
}

#[test]
fn a_recipe_is_read_as_it_was_written() {
    let watch = watch();
    let said = lived(&watch, 3, (3, 0.0));
    let recipe = said[2].recipe.area.clone().expect("a recipe");
    let stored = serde_json::to_value(&recipe).expect("serialises");
    let read: AreaRecipe = serde_json::from_value(stored).expect("reads");
    assert_eq!(read, recipe);
}

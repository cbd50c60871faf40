//! Changes that each measure must see and must not see, and samples that say nothing.

use super::*;
use crate::domain::columns::Column;
use crate::domain::sample::DrawnBy;
use crate::stats::thinning::mixed;

const ROWS: u64 = 600;

/// A number from 0 to 1 for a row and a purpose.
fn uniform(row: u64, purpose: u64) -> f64 {
    (mixed(row ^ mixed(purpose)) >> 11) as f64 / (1_u64 << 53) as f64
}

fn column<'v>(name: &str, of: impl Fn(u64) -> Value<'v>, rows: std::ops::Range<u64>) -> Column {
    Column::of(name, rows.map(of))
}

fn sample(columns: Vec<Column>, times: Vec<Option<i64>>) -> RowSample {
    RowSample {
        seen: 10_000,
        drawn_by: DrawnBy::Id,
        times,
        columns,
    }
}

/// Two numbers that go together or do not, a category, and a number that is often missing.
fn table(rows: std::ops::Range<u64>, together: bool) -> RowSample {
    let second = |row: u64| {
        let noise = 0.2 * uniform(row, 2);
        Value::Number(
            noise
                + if together {
                    uniform(row, 1)
                } else {
                    uniform(row, 3)
                },
        )
    };
    let columns = vec![
        column("a", |row| Value::Number(uniform(row, 1)), rows.clone()),
        column("b", second, rows.clone()),
        column(
            "c",
            |row| Value::Text(if uniform(row, 4) < 0.3 { "x" } else { "y" }.into()),
            rows.clone(),
        ),
        column(
            "d",
            |row| match row % 3 {
                0 => Value::Null,
                1 => Value::Number(f64::NAN),
                _ => Value::Integer(i64::try_from(row % 7).unwrap_or(0)),
            },
            rows.clone(),
        ),
        column("still", |_| Value::Number(5.0), rows.clone()),
        column(
            "huge",
            |row| Value::Number(if row % 2 == 0 { f64::MAX } else { f64::MIN }),
            rows.clone(),
        ),
    ];
    let times = rows.map(|_| None).collect();
    sample(columns, times)
}

fn features() -> Vec<(String, FeatureType)> {
    [
        ("a", FeatureType::Number),
        ("b", FeatureType::Number),
        ("c", FeatureType::Category),
        ("d", FeatureType::Number),
        ("still", FeatureType::Number),
        ("huge", FeatureType::Number),
        ("gone", FeatureType::Number),
    ]
    .map(|(name, feature_type)| (name.to_owned(), feature_type))
    .to_vec()
}

fn judged(
    (reference, current): (&RowSample, &RowSample),
    about: About,
    feature: &str,
) -> BTreeMap<Measure, Judged> {
    let thresholds = BTreeMap::from([
        (Measure::CorrelationChange, 0.3),
        (Measure::ReconstructionErrorChange, 0.2),
        (Measure::HourProfile, 0.2),
        (Measure::WeekdayProfile, 0.2),
        (Measure::AgeDistance, 0.2),
        (Measure::FutureShareChange, 0.05),
        (Measure::TextLengthDistance, 0.2),
        (Measure::MeanShift, 0.1),
    ]);
    let attributions = Attributions::default();
    let sides = Sides {
        attributions: &attributions,
        reference,
        current,
        features: &features(),
        thresholds: &thresholds,
        min_rows: 30,
        looked_at: 1,
    };
    let judge = |measure: &Measure| (*measure, sides.judge(about, feature, *measure));
    about.measures().iter().map(judge).collect()
}

fn statuses(judged: &BTreeMap<Measure, Judged>) -> Vec<Status> {
    judged.values().map(|judged| judged.status).collect()
}

#[test]
fn every_measure_of_rows_is_about_something_and_of_no_other_kind() {
    let of_rows = Measure::ALL.iter().filter(|measure| measure.is_of_rows());
    for measure in of_rows {
        assert!(measure.drift().is_none() && !measure.is_quality() && !measure.is_schema());
    }
    assert!(!Measure::Psi.is_of_rows());
}

#[test]
fn features_that_no_longer_go_together_are_seen_and_named() {
    let (before, same, apart) = (
        table(0..ROWS, true),
        table(ROWS..2 * ROWS, true),
        table(ROWS..2 * ROWS, false),
    );
    let calm = judged((&before, &same), About::Together, "");
    assert_eq!(statuses(&calm), [Status::Ok; 3], "{calm:#?}");
    let moved = judged((&before, &apart), About::Together, "");
    for measure in [
        Measure::CorrelationChange,
        Measure::ReconstructionErrorChange,
    ] {
        let judged = &moved[&measure];
        assert_eq!(judged.status, Status::Drift, "{judged:#?}");
        assert!(judged.p_value.is_some_and(|p| p < 1e-6));
        let mut named: Vec<&str> = judged.recipe.explained_by[..2]
            .iter()
            .map(|part| part.feature.as_str())
            .collect();
        named.sort_unstable();
        assert_eq!(named, ["a", "b"], "{judged:#?}");
    }
    let method = &moved[&Measure::CorrelationChange].recipe.method;
    assert!(
        method.contains("4 features") && method.contains("600 of 10000 rows"),
        "{method}"
    );
    assert!(
        method.contains("; left out as beyond the range of numbers: huge;"),
        "{method}"
    );
}

#[test]
fn a_category_that_takes_over_is_found_by_the_classifier() {
    let (before, mut now) = (table(0..ROWS, true), table(ROWS..2 * ROWS, true));
    now.columns[2] = column("c", |_| Value::Text("x".into()), 0..ROWS);
    let judged = judged((&before, &now), About::Together, "");
    let auc = &judged[&Measure::DomainClassifierAuc];
    assert_eq!(auc.status, Status::Drift, "{auc:#?}");
    assert_eq!(auc.recipe.explained_by[0].feature, "c");
    assert!(auc.value.is_some_and(|value| value > 0.75));
}

#[test]
fn few_rows_say_nothing_of_features_together() {
    let (before, few) = (table(0..ROWS, true), table(0..25, true));
    assert_eq!(
        statuses(&judged((&before, &few), About::Together, "")),
        [Status::Insufficient; 3]
    );
    let none = table(0..0, true);
    let judged = judged((&before, &none), About::Together, "");
    assert_eq!(statuses(&judged), [Status::Insufficient; 3]);
    assert!(judged.values().all(|judged| judged.recipe.cause.is_some()));
}

fn reviews(words: &'static [&'static str], many: u64) -> RowSample {
    let text = move |row: u64| {
        let length = 3 + row % 4;
        let picked =
            (0..length).map(|at| words[(mixed(row * 31 + at) % words.len() as u64) as usize]);
        Value::Text(picked.collect::<Vec<_>>().join(" ").into())
    };
    let rows = 0..many;
    sample(
        vec![column("review", text, rows)],
        vec![None; many as usize],
    )
}

#[test]
fn texts_about_something_else_are_seen() {
    let before = reviews(&["flight", "late", "gate", "crew", "seat"], 300);
    let same = reviews(&["gate", "flight", "crew", "late", "seat"], 200);
    let other = reviews(&["invoice", "unpaid", "reminder", "flight"], 200);
    let calm = judged((&before, &same), About::Text, "review");
    assert_eq!(statuses(&calm), [Status::Ok; 3], "{calm:#?}");
    let moved = judged((&before, &other), About::Text, "review");
    assert_eq!(moved[&Measure::UnseenWords].status, Status::Drift);
    assert_eq!(moved[&Measure::TextLengthDistance].status, Status::Drift);
    let missing = judged((&before, &other), About::Text, "no such text");
    assert_eq!(statuses(&missing), [Status::Insufficient; 3]);
}

#[test]
fn texts_in_another_language_are_seen() {
    const ENGLISH: &str = "the crew has not come to the gate in time, so the flight is late";
    const GERMAN: &str =
        "die Besatzung ist nicht rechtzeitig gekommen, deshalb ist der Flug verspätet";
    let mails = |german: u64| {
        let text = |row: u64| {
            let text = if row % 10 < german { GERMAN } else { ENGLISH };
            Value::Text(format!("{text} {row}").into())
        };
        sample(vec![column("mail", text, 0..300)], vec![None; 300])
    };
    let (before, same, now) = (mails(1), mails(1), mails(5));
    let calm = judged((&before, &same), About::Text, "mail");
    assert_eq!(calm[&Measure::LanguageProfile].value, Some(0.0));
    let moved = &judged((&before, &now), About::Text, "mail")[&Measure::LanguageProfile];
    assert_eq!(moved.status, Status::Drift, "{moved:#?}");
    assert!(moved.value.is_some_and(|value| (value - 0.4).abs() < 1e-12));
    let told = "most often eng 90.0 %, deu 10.0 % in the reference, deu 50.0 %, eng 50.0 % now";
    assert!(
        moved.recipe.method.contains(told),
        "{}",
        moved.recipe.method
    );
}

/// Orders placed in office hours on weekdays, asked about `late` seconds later.
fn orders(hour: i64, late: i64) -> RowSample {
    let monday = 1_767_571_200; // 2026-01-05
    let placed = |row: i64| monday + (row % 5) * 86_400 + hour * 3_600 + (row * 997) % 25_000;
    let values = (0..400).map(|row| {
        Value::Timestamp(chrono::DateTime::from_timestamp(placed(row), 0).unwrap_or_default())
    });
    let times = (0..400)
        .map(|row| Some(placed(row) + late + (row * 7) % 900))
        .collect();
    sample(vec![Column::of("placed", values)], times)
}

#[test]
fn dates_are_held_against_their_rows_and_the_clock() {
    let (before, same) = (orders(9, 3_600), orders(9, 3_600));
    assert_eq!(
        statuses(&judged((&before, &same), About::Dates, "placed")),
        [Status::Ok; 4]
    );
    let night = judged((&before, &orders(-5, 3_600)), About::Dates, "placed");
    assert_eq!(night[&Measure::HourProfile].status, Status::Drift);
    assert_eq!(night[&Measure::AgeDistance].status, Status::Ok);
    let ahead = judged((&before, &orders(9, -3_600)), About::Dates, "placed");
    assert_eq!(ahead[&Measure::FutureShareChange].status, Status::Drift);
    assert_eq!(ahead[&Measure::AgeDistance].status, Status::Drift);
    assert_eq!(ahead[&Measure::HourProfile].status, Status::Ok);
}

#[test]
fn dates_without_a_time_of_day_or_of_the_row_say_so() {
    let day = |row: u64| {
        let days = i64::try_from(row).unwrap_or(0) * 86_400;
        Value::Timestamp(chrono::DateTime::from_timestamp(days, 0).unwrap_or_default())
    };
    let days = sample(vec![column("day", day, 0..100)], vec![None; 100]);
    let judged = judged((&days, &days), About::Dates, "day");
    let cause = |measure| judged[&measure].recipe.cause.clone().unwrap_or_default();
    assert!(cause(Measure::HourProfile).contains("no time of day"));
    assert!(cause(Measure::AgeDistance).contains("no time that dates"));
    assert_eq!(judged[&Measure::WeekdayProfile].status, Status::Ok);
}

fn embeddings(rows: std::ops::Range<u64>, dimension: u64, shift: f64) -> RowSample {
    let vector = |row: u64| {
        let numbers = (0..dimension).map(|at| uniform(row, at) + if at == 1 { shift } else { 0.0 });
        match row % 10 {
            0 => Value::Null,
            // Of these no distance can be had.
            1 => Value::Vector(vec![f32::NAN; 4].into()),
            2 => Value::Vector(vec![0.5; 3].into()),
            _ => Value::Vector(numbers.map(|number| number as f32).collect()),
        }
    };
    let times = rows.clone().map(|_| None).collect();
    sample(vec![column("e", vector, rows)], times)
}

#[test]
fn vectors_that_have_moved_are_seen() {
    let (before, same) = (embeddings(0..900, 4, 0.0), embeddings(900..1_800, 4, 0.0));
    assert_eq!(
        statuses(&judged((&before, &same), About::Vectors, "e")),
        [Status::Ok; 3]
    );
    let moved = judged(
        (&before, &embeddings(900..1_800, 4, 0.6)),
        About::Vectors,
        "e",
    );
    assert_eq!(moved[&Measure::DomainClassifierAuc].status, Status::Drift);
    assert_eq!(moved[&Measure::MeanShift].status, Status::Drift);
    let discrepancy = &moved[&Measure::MaximumMeanDiscrepancy];
    assert!(
        discrepancy.p_value.is_some_and(|p| p < 0.01),
        "{discrepancy:#?}"
    );
}

#[test]
fn vectors_of_another_length_are_told() {
    let (before, longer) = (embeddings(0..100, 4, 0.0), embeddings(0..100, 8, 0.0));
    let judged = judged((&before, &longer), About::Vectors, "e");
    for judged in judged.values() {
        let cause = judged.recipe.cause.as_deref().unwrap_or_default();
        assert_eq!(cause, "vectors have 4 numbers in the reference and 8 now");
    }
}

fn contributions(of: [f64; 3]) -> RowSample {
    let columns = ["age", "income", "debt"]
        .into_iter()
        .zip(of)
        .map(|(name, size)| {
            let sign = |row: u64| if row.is_multiple_of(2) { size } else { -size };
            column(
                &format!("attribution.{name}"),
                |row| Value::Number(sign(row)),
                0..50,
            )
        });
    sample(columns.collect(), vec![None; 50])
}

#[test]
fn attributions_are_ranked_by_their_mean_size() {
    let before = contributions([3.0, 2.0, 0.1]);
    let calm = judged(
        (&before, &contributions([2.9, 2.1, 0.1])),
        About::Attributions,
        "",
    );
    let calm = &calm[&Measure::AttributionNdcg];
    assert_eq!((calm.status, calm.value), (Status::Ok, Some(1.0)));
    let turned = judged(
        (&before, &contributions([0.1, 2.0, 3.0])),
        About::Attributions,
        "",
    );
    let turned = &turned[&Measure::AttributionNdcg];
    assert_eq!(turned.status, Status::Drift, "{turned:#?}");
    let named: Vec<&str> = (turned.recipe.explained_by.iter().take(2))
        .map(|part| part.feature.as_str())
        .collect();
    assert_eq!(named, ["age", "debt"]);
    let nothing = judged(
        (&before, &contributions([f64::NAN; 3])),
        About::Attributions,
        "",
    );
    assert_eq!(statuses(&nothing), [Status::Insufficient]);
}

/// Comments of customers in many languages, each about one of a few subjects with words of its own, that come day and night.
fn comments(rows: std::ops::Range<u64>) -> RowSample {
    const SUBJECTS: [&str; 6] = [
        "the crew has not come to the gate in time",
        "die Besatzung ist nicht rechtzeitig gekommen",
        "el equipaje no ha llegado con nosotros",
        "le vol a été annulé sans que personne le dise",
        "o voo atrasou e ninguém soube dizer por que",
        "posti erano stretti e il cibo era freddo",
    ];
    let text = |row: u64| {
        let subject = SUBJECTS[(mixed(row) % 6) as usize];
        // Names and numbers that come once, several in some texts and none in most.
        let names = (0..mixed(row ^ 7) % 20).take_while(|_| mixed(row ^ 8).is_multiple_of(4));
        let names: Vec<String> = names
            .map(|at| format!("n{}", mixed(row * 64 + at)))
            .collect();
        Value::Text(format!("{subject} {}", names.join(" ")).into())
    };
    let placed = |row: u64| 1_767_571_200 + (mixed(row ^ 9) % (28 * 86_400)) as i64;
    let date = |row: u64| {
        Value::Timestamp(chrono::DateTime::from_timestamp(placed(row), 0).unwrap_or_default())
    };
    let times = rows
        .clone()
        .map(|row| Some(placed(row) + (mixed(row ^ 10) % 900) as i64));
    let times = times.collect();
    sample(
        vec![
            column("text", text, rows.clone()),
            column("date", date, rows),
        ],
        times,
    )
}

#[test]
fn rows_that_are_alike_are_taken_for_drift_less_than_once_in_a_thousand_looks() {
    let mut found: BTreeMap<Measure, u64> = BTreeMap::new();
    let mut looks = 0;
    for size in [30, 60, 150] {
        for round in 0..60 {
            let first = (size * 1_000 + round) * 1_000;
            let (before, now) = (
                comments(first..first + 150),
                comments(first + 150..first + 150 + size),
            );
            looks += 1;
            for (about, feature) in [(About::Text, "text"), (About::Dates, "date")] {
                for (measure, judged) in judged((&before, &now), about, feature) {
                    assert!(judged.value.is_some(), "{judged:?}");
                    *found.entry(measure).or_default() += u64::from(judged.status == Status::Drift);
                }
            }
        }
    }
    // Two in 180 looks would come by chance in one of seventy runs.
    for (measure, found) in found {
        assert!(found <= 1, "{measure:?}: {found} of {looks} looks");
    }
}

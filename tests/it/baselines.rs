//! What the present is compared with, and what happens when that changes.

use bellwether::domain::measurement::Status;
use bellwether::formats::Format;
use bellwether::services::recount;
use bellwether::storage::{baselines, models};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::app::{TestApp, at};
use crate::fares;
use crate::snapshot::{assert_profiles_equal_a_recount, profiles};

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_baseline_from_a_file_gives_schema_grid_profiles_and_quality(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.with_fares("").await;
    let model = app.model("fares").await;
    let mut conn = app.conn().await;
    let in_force = baselines::in_force(&mut conn, model.model_id)
        .await
        .expect("baselines");
    assert_eq!(in_force.len(), 1);
    assert_eq!(
        (in_force[0].state.as_str(), in_force[0].rows),
        ("fitted", 200)
    );
    let schema = baselines::schema(&mut conn, model.model_id)
        .await
        .expect("reads")
        .expect("a schema");
    let of = |feature: &str| {
        let found = schema.features.iter().find(|f| f.feature == feature);
        found.expect("is expected").clone()
    };
    assert_eq!(schema.features.len(), 4);
    assert_eq!(
        of("carrier").categories,
        Some(vec!["AA".to_owned(), "DL".to_owned(), "UA".to_owned()])
    );
    // The file's word stands over what the data say.
    assert_eq!(
        (of("distance").minimum, of("distance").maximum),
        (Some(0.0), Some(1000.0))
    );
    let qualities = baselines::qualities(&mut conn, in_force[0].baseline_id)
        .await
        .expect("qualities");
    let mae: Vec<(String, f64, i64)> = qualities
        .into_iter()
        .filter(|q| q.measure == "mae")
        .map(|q| (q.segment.value, q.value, q.labels))
        .collect();
    let expected = [("", 1.0, 200), ("EWR", 1.0, 100), ("JFK", 1.0, 100)];
    for (value, error, labels) in expected {
        assert!(
            mae.contains(&(value.to_owned(), error, labels)),
            "{value}: {mae:?}"
        );
    }
    drop(conn);
    // The same file again changes nothing.
    let before = app.number("SELECT COUNT(*) FROM baselines").await;
    app.fit("fares", "training", &fares::training()).await;
    assert_eq!(app.number("SELECT COUNT(*) FROM baselines").await, before);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn the_training_data_themselves_do_not_drift_and_others_do(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.with_fares("").await;
    let same = fares::day(at("2026-03-02"), 200);
    app.predict("fares", &same).await;
    app.tick("2026-03-03").await;
    let mut moved = fares::day(at("2026-03-03"), 200);
    for row in &mut moved {
        row["distance"] = json!(row["distance"].as_f64().expect("a number") / 4.0);
    }
    app.predict("fares", &moved).await;
    app.tick("2026-03-04").await;
    for measure in ["psi", "jensen_shannon", "kolmogorov_smirnov"] {
        let value = app.value("fares", measure, "distance", "2026-03-02").await;
        assert_eq!(value, Some((Some(0.0), Status::Ok, 200)), "{measure}");
    }
    let (psi, status, _) = app
        .value("fares", "psi", "distance", "2026-03-03")
        .await
        .expect("measured");
    assert_eq!(status, Status::Drift);
    assert!(psi.expect("a value") > 1.0, "{psi:?}");
    let (_, status, _) = app
        .value("fares", "psi", "carrier", "2026-03-03")
        .await
        .expect("measured");
    assert_eq!(status, Status::Ok);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn drift_with_few_values_on_either_side_is_insufficient_and_never_ok(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.apply(&fares::configuration("fares")).await;
    app.version("fares", "v1").await;
    let mut training = fares::training();
    // Three rows are all that the training data know of Newark's neighbour.
    for row in &mut training[..3] {
        row["origin"] = json!("LGA");
    }
    app.fit("fares", "training", &training).await;
    let mut rows = fares::day(at("2026-03-02"), 40);
    for row in &mut rows[..20] {
        row["origin"] = json!("LGA");
    }
    app.predict("fares", &rows).await;
    app.tick("2026-03-03").await;
    app.predict("fares", &fares::day(at("2026-03-03"), 9)).await;
    app.tick("2026-03-04").await;
    let drift: Vec<_> = app
        .measured("fares")
        .await
        .into_iter()
        .filter(|m| m.monitor == "drift")
        .collect();
    let few = drift
        .iter()
        .filter(|m| m.window.start == at("2026-03-03") || m.segment.value == "LGA");
    let mut looked_at = 0;
    for m in few {
        looked_at += 1;
        assert_eq!(m.status, Status::Insufficient, "{m:?}");
    }
    assert!(looked_at > 10, "{looked_at}");
    assert!(drift.iter().any(|m| m.status == Status::Ok));
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_replaced_baseline_gives_new_cells_and_everything_is_counted_again(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.with_fares("").await;
    app.live_day(1.0).await;
    let before = profiles(&app, "fares").await;
    let wider: Vec<Value> = fares::training()
        .into_iter()
        .map(|mut row| {
            row["distance"] = json!(row["distance"].as_f64().expect("a number") * 3.0);
            row
        })
        .collect();
    app.fit("fares", "training", &wider).await;
    assert_eq!(app.number("SELECT COUNT(*) FROM grids").await, 2);
    assert_eq!(
        app.number("SELECT COUNT(*) FROM grids WHERE retired_at IS NULL")
            .await,
        1
    );
    let after = profiles(&app, "fares").await;
    assert_eq!(before.len(), after.len());
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(
            (&before.place, before.rows, before.valid),
            (&after.place, after.rows, after.valid)
        );
        if let Some(cells) = &after.cells {
            assert_eq!(cells.iter().sum::<u64>(), after.valid, "{:?}", after.place);
        }
    }
    let of_distance = |all: &[crate::snapshot::ProfileSnapshot]| {
        let found = all.iter().find(|p| p.place.4 == "distance");
        found.expect("is profiled").cells.clone()
    };
    assert_ne!(of_distance(&before), of_distance(&after));
    assert_profiles_equal_a_recount(&app, "fares").await;
    app.work().await;
    let (_, status, _) = app
        .value("fares", "psi", "distance", "2026-03-02")
        .await
        .expect("measured");
    assert_eq!(status, Status::Drift);
    // What is counted next goes into the new cells, and the week's profiles fit together.
    app.live_day(1.0).await;
    assert_profiles_equal_a_recount(&app, "fares").await;
}

const WITH_REFERENCE: &str = "models:
  - name: fares
    task: regression
    segments: [origin]
    baselines:
      training: {file: training.ndjson}
      reference: {from: 2026-03-02, to: 2026-03-04, version: v1}
    schema: {from: training}
    monitors:
      - {name: quality, kind: quality, window: day, baseline: reference, min_labels: 5}
";

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_past_window_is_a_baseline_once_it_is_over_and_survives_new_training_data(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.apply("models: [{name: fares, task: regression, segments: [origin]}]")
        .await;
    app.version("fares", "v1").await;
    app.apply(WITH_REFERENCE).await;
    app.fit("fares", "training", &fares::training()).await;
    let reference = async |day: &str| {
        let measured = app.measured("fares").await;
        let of_day = measured
            .into_iter()
            .find(|m| m.measure == "mae" && m.segment.is_overall() && m.window.start == at(day));
        // Sums of doubles differ in their last digit by the order of the rows.
        let reference = of_day.expect("is measured").reference;
        reference.map(|value| (value * 1e9).round() / 1e9)
    };
    app.live_day(2.0).await;
    assert_eq!(reference("2026-03-02").await, None);
    app.live_day(4.0).await;
    // The window is over, but its labels still have a day to arrive.
    assert_eq!(reference("2026-03-02").await, None);
    app.live_day(1.0).await;
    assert_eq!(reference("2026-03-02").await, Some(3.0));
    assert_eq!(reference("2026-03-04").await, Some(3.0));

    let fewer = &fares::training()[..150];
    app.fit("fares", "training", fewer).await;
    app.work().await;
    let model = app.model("fares").await;
    let in_force = baselines::in_force(&mut *app.conn().await, model.model_id)
        .await
        .expect("baselines");
    let states: Vec<(String, String)> = in_force.into_iter().map(|b| (b.name, b.state)).collect();
    let fitted = |name: &str| (name.to_owned(), "fitted".to_owned());
    assert_eq!(states, [fitted("reference"), fitted("training")]);
    assert_eq!(reference("2026-03-04").await, Some(3.0));
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_window_of_a_model_without_segments_is_a_baseline_of_all_its_rows(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.apply("models: [{name: fares, task: regression}]").await;
    app.version("fares", "v1").await;
    app.apply(&WITH_REFERENCE.replace("segments: [origin]", "segments: []"))
        .await;
    for _ in 0..4 {
        app.live_day(1.0).await;
    }
    let model = app.model("fares").await;
    assert!(model.segments.is_empty());
    let in_force = baselines::in_force(&mut *app.conn().await, model.model_id)
        .await
        .expect("baselines");
    let reference = in_force
        .iter()
        .find(|baseline| baseline.name == "reference");
    let reference = reference.expect("it is declared");
    assert_eq!(
        (reference.state.as_str(), &reference.cause),
        ("fitted", &None)
    );
    let rows = app
        .number(
            "SELECT SUM(predictions)::bigint FROM window_states WHERE window_start < '2026-03-04'",
        )
        .await;
    assert!(rows > 0);
    assert_eq!(reference.rows, rows, "every row of the window");
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn segments_declared_anew_sort_the_rows_that_are_there_too(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.with_fares("").await;
    app.live_day(1.0).await;
    let declared = fares::configuration("fares").replace("[origin]", "[carrier, origin]");
    app.apply(&declared).await;
    app.live_day(1.0).await;
    let mut segments: Vec<String> = app
        .measured("fares")
        .await
        .into_iter()
        .filter(|m| m.measure == "traffic" && m.window.start == at("2026-03-02"))
        .map(|m| format!("{}={}:{}", m.segment.name, m.segment.value, m.current_rows))
        .collect();
    segments.sort();
    assert_eq!(
        segments,
        [
            "=:40",
            "carrier=AA:14",
            "carrier=DL:13",
            "carrier=UA:13",
            "origin=EWR:20",
            "origin=JFK:20"
        ]
    );
    for day in ["2026-03-02", "2026-03-03"] {
        let measured = app.measured("fares").await.into_iter();
        let of_day = measured.filter(|m| m.measure == "mae" && m.window.start == at(day));
        assert_eq!(of_day.count(), 1 + 2 + 3, "{day}");
    }
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_refused_row_refuses_the_whole_file_and_names_it(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.apply(&fares::configuration("fares")).await;
    let file = bellwether::services::baselines::ReferenceFile {
        project_id: app.project,
        model: "fares",
        name: "training",
        file_name: "rows.csv",
        format: bellwether::formats::Format::Csv,
        body: "distance,label\n1,2\n3,far\n".into(),
    };
    let refused = bellwether::services::baselines::fit_file(&app.services, file, "tests").await;
    let message = refused.expect_err("is refused").to_string();
    assert!(
        message.contains("rows.csv") && message.contains("line 3"),
        "{message}"
    );
    assert_eq!(app.number("SELECT COUNT(*) FROM baselines").await, 0);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn statistics_of_another_tool_stand_for_rows_that_are_gone(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.apply(
        "models:
  - name: fares
    task: regression
    baselines:
      training: {file: statistics.json}
    schema:
      from: training
    monitors:
      - {name: schema, kind: schema, window: day, min_rows: 10}
      - {name: drift, kind: drift, window: day, baseline: training, min_rows: 10, measures: [psi, domain_classifier_auc], thresholds: {psi: 0.25}}
",
    )
    .await;
    let body = include_bytes!("../data/schemas/sagemaker-statistics.json");
    let fitted = app.fit_body("fares", "training", Format::Json, body).await;
    assert_eq!((fitted.source.as_str(), fitted.rows), ("statistics", 1_000));
    let cause = fitted.cause.as_deref().expect("something is left out");
    assert_eq!(
        cause,
        "without the features flight: not all of its values are told"
    );
    // The same statistics again change nothing.
    let again = app.fit_body("fares", "training", Format::Json, body).await;
    assert_eq!(again.baseline_id, fitted.baseline_id);
    app.version("fares", "v1").await;
    let rows: Vec<Value> = (0..100)
        .map(|i| {
            let distance = [17.0, 944.0, 4983.0][usize::try_from(i % 3).expect("small")];
            json!({
                "prediction_id": i.to_string(),
                "timestamp": at("2026-03-02") + chrono::TimeDelta::minutes(i),
                "prediction": 1,
                "distance": distance,
                "carrier": if i % 2 == 0 { "AA" } else { "XX" },
            })
        })
        .collect();
    app.predict("fares", &rows).await;
    app.tick("2026-03-03").await;
    let psi = app.value("fares", "psi", "distance", "2026-03-02").await;
    let (Some(near_zero), Status::Ok, 100) = psi.expect("measured") else {
        panic!("{psi:?}")
    };
    assert!(near_zero < 0.05, "{near_zero}");
    let psi = app.value("fares", "psi", "carrier", "2026-03-02").await;
    assert!(psi.is_some_and(|(value, status, _)| value > Some(1.0) && status == Status::Drift));
    let unseen = app
        .value("fares", "unseen_category", "carrier", "2026-03-02")
        .await;
    assert_eq!(unseen, Some((Some(0.5), Status::Drift, 100)));
    // Nothing is said of rows that were never there.
    let all = app.measured("fares").await;
    let together = all.iter().find(|m| m.measure == "domain_classifier_auc");
    let together = together.expect("told");
    assert_eq!(together.status, Status::Insufficient);
    let against = all.iter().find(|m| m.measure == "psi").expect("measured");
    let text = against.recipe["reference"]["text"].as_str().expect("words");
    assert!(text.contains("stands for statistics"), "{text}");
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn of_a_window_that_holds_too_much_rows_are_read_evenly_over_its_time(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-04").await;
    app.apply("models: [{name: fares, task: regression, segments: [origin]}]")
        .await;
    app.version("fares", "v1").await;
    for day in ["2026-03-02", "2026-03-03"] {
        app.predict("fares", &fares::day(at(day), 60)).await;
    }
    app.settle().await;
    let model = app.model("fares").await;
    let mut conn = app.conn().await;
    let versions = models::versions(&mut conn, model.model_id)
        .await
        .expect("versions");
    let version_id = versions[0].version_id;
    let mut read = async |most_values| {
        let between = (at("2026-03-02"), at("2026-03-04"));
        let read = recount::load_rows(&mut conn, &model, version_id, between, most_values).await;
        read.expect("reads")
    };
    let (all, one_in) = read(u64::MAX).await;
    assert_eq!((all.len(), one_in), (120, 1));
    let values = (all.len() * all.columns.len()) as u64;
    assert_eq!(read(values).await.1, 1);

    let (fewer, one_in) = read(values / 3 - 1).await;
    assert_eq!((fewer.len(), one_in), (30, 4));
    assert!(fewer.columns.iter().all(|column| column.len() == 30));
    let expected: Vec<_> = all.predicted_at.iter().step_by(4).collect();
    assert_eq!(fewer.predicted_at.iter().collect::<Vec<_>>(), expected);
    assert_eq!(fewer.columns[0].get(7), all.columns[0].get(28));
    assert_eq!(fewer.segments[0].get(7), all.segments[0].get(28));
}

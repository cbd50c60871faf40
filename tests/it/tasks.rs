//! Models that answer with classes, from the first row to their quality.

use bellwether::domain::measurement::Status;
use chrono::TimeDelta;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::app::{TestApp, at};
use crate::snapshot::assert_profiles_equal_a_recount;

fn declared(name: &str, task: &str) -> String {
    format!(
        "models:
  - name: {name}
    {task}
    segments: [channel]
    monitors:
      - {{name: quality, kind: quality, window: day, min_labels: 1}}
      - {{name: traffic, kind: traffic, window: day}}
"
    )
}

fn row(i: i64, answer: &Value) -> Value {
    let mut row = answer.clone();
    row["prediction_id"] = json!(i.to_string());
    row["timestamp"] = json!(at("2026-03-02") + TimeDelta::minutes(i));
    row["segments"] = json!({"channel": if i % 2 == 0 { "web" } else { "shop" }});
    row
}

fn label(i: i64, class: &str) -> Value {
    json!({"prediction_id": i.to_string(), "label": class, "observed_at": at("2026-03-02")})
}

async fn quality(app: &TestApp, model: &str, segment: &str) -> Vec<(String, String)> {
    let mut values: Vec<(String, String)> = app
        .measured(model)
        .await
        .into_iter()
        .filter(|m| m.monitor == "quality" && m.segment.value == segment)
        .map(|m| {
            (
                m.measure,
                m.value.map_or("-".to_owned(), |v| format!("{v:.4}")),
            )
        })
        .collect();
    values.sort();
    values
}

fn expected(values: [(&str, &str); 6]) -> Vec<(String, String)> {
    values
        .map(|(measure, value)| (measure.to_owned(), value.to_owned()))
        .to_vec()
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_binary_model_is_measured_overall_and_by_segment(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.apply(&declared(
        "fraud",
        "task: binary\n    positive_class: fraud",
    ))
    .await;
    app.version("fraud", "v1").await;
    // On the web: 0.9 fraud, 0.4 fraud, 0.2 honest, 0.6 honest. In the shop all is right.
    let answers = [
        (0.9, "fraud"),
        (0.8, "fraud"),
        (0.4, "fraud"),
        (0.1, "honest"),
    ];
    let more = [
        (0.2, "honest"),
        (0.3, "honest"),
        (0.6, "honest"),
        (0.7, "fraud"),
    ];
    let (mut rows, mut labels) = (Vec::new(), Vec::new());
    for (i, (score, class)) in (0..).zip(answers.into_iter().chain(more)) {
        rows.push(row(i, &json!({"score": score})));
        labels.push(label(i, class));
    }
    app.label("fraud", &labels).await;
    app.predict("fraud", &rows).await;
    app.tick("2026-03-03").await;
    let web = quality(&app, "fraud", "web").await;
    assert_eq!(
        web,
        expected([
            ("accuracy", "0.5000"),
            ("f1", "0.5000"),
            // ln of 0.9, 0.4, 0.8 and 0.4, their mean, turned round.
            ("log_loss", "0.5403"),
            ("precision", "0.5000"),
            ("recall", "0.5000"),
            // Of four pairs of fraud and honest three are in order.
            ("roc_auc", "0.7500"),
        ])
    );
    let shop = quality(&app, "fraud", "shop").await;
    assert_eq!(shop[0], ("accuracy".to_owned(), "1.0000".to_owned()));
    let overall = quality(&app, "fraud", "").await;
    assert!(
        overall.contains(&("accuracy".to_owned(), "0.7500".to_owned())),
        "{overall:?}"
    );
    assert!(
        overall.contains(&("label_coverage".to_owned(), "1.0000".to_owned())),
        "{overall:?}"
    );
    assert_profiles_equal_a_recount(&app, "fraud").await;
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_multiclass_model_is_measured_overall_and_by_segment(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.apply(&declared("pets", "task: multiclass")).await;
    app.version("pets", "v1").await;
    let answers = ["cat", "cat", "dog", "dog", "owl", "owl"];
    let truths = ["cat", "cat", "dog", "owl", "owl", "owl"];
    let (mut rows, mut labels) = (Vec::new(), Vec::new());
    for (i, (answer, truth)) in (0..).zip(answers.into_iter().zip(truths)) {
        let mut probabilities = json!({"cat": 0.1, "dog": 0.1, "owl": 0.1});
        probabilities[answer] = json!(0.8);
        rows.push(row(
            i,
            &json!({"prediction": answer, "probabilities": probabilities}),
        ));
        labels.push(label(i, truth));
    }
    app.predict("pets", &rows).await;
    app.label("pets", &labels).await;
    app.tick("2026-03-03").await;
    // Recall 1, 1, 2/3; precision 1, 1/2, 1; F1 1, 2/3, 4/5.
    let overall = quality(&app, "pets", "").await;
    for (measure, value) in [
        ("accuracy", "0.8333"),
        ("f1", "0.8222"),
        ("precision", "0.8333"),
        ("recall", "0.8889"),
        ("label_coverage", "1.0000"),
    ] {
        assert!(
            overall.contains(&(measure.to_owned(), value.to_owned())),
            "{measure}: {overall:?}"
        );
    }
    // Even rows are of the web: cat, dog, owl, all right.
    let web = quality(&app, "pets", "web").await;
    assert_eq!(web[0], ("accuracy".to_owned(), "1.0000".to_owned()));
    assert_profiles_equal_a_recount(&app, "pets").await;
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn classes_are_counted_even_when_the_first_answers_of_a_window_failed(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.apply(&declared("pets", "task: multiclass")).await;
    app.version("pets", "v1").await;
    app.predict("pets", &[row(0, &json!({"error": "time-out"}))])
        .await;
    app.settle().await;
    app.predict("pets", &[row(2, &json!({"prediction": "cat"}))])
        .await;
    app.settle().await;
    app.predict("pets", &[row(4, &json!({"error": "time-out"}))])
        .await;
    app.settle().await;
    let profiles = crate::snapshot::profiles(&app, "pets").await;
    let overall = profiles
        .iter()
        .find(|p| p.place.4 == "prediction()" && p.place.2.is_empty())
        .expect("the prediction is profiled");
    assert_eq!(overall.categories, [("cat".to_owned(), 1)]);
    assert_eq!(
        (
            overall.rows,
            overall.counts.nulls,
            overall.counts.mismatched
        ),
        (3, 2, 0)
    );
    assert_profiles_equal_a_recount(&app, "pets").await;
    app.tick("2026-03-03").await;
    let rate = app.value("pets", "error_rate", "", "2026-03-02").await;
    let (value, status, rows) = rate.expect("is measured");
    assert_eq!((status, rows), (Status::Ok, 3));
    assert!((value.expect("a share") - 2.0 / 3.0).abs() < 1e-12);
    // Of three rows little is known.
    let measured = app.measured("pets").await;
    let rate = measured.iter().find(|m| m.measure == "error_rate");
    let (low, high) = rate.and_then(|m| m.interval).expect("an interval");
    assert!(
        (low - 0.208).abs() < 1e-3 && (high - 0.939).abs() < 1e-3,
        "{low} {high}"
    );
}

fn written(values: &[(&str, &str)]) -> Vec<(String, String)> {
    let values = values.iter();
    values
        .map(|(measure, value)| ((*measure).to_owned(), (*value).to_owned()))
        .collect()
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_ranking_is_measured_by_query_overall_and_by_segment(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.apply(&declared("search", "task: ranking")).await;
    app.version("search", "v1").await;
    // On the web the second and the fourth item are relevant. In the shop, whose rows are the odd ones, the ranks tell
    // what was shown: the relevant item first, though its score is the lower one.
    let answers = [
        (json!({"query": "shoes", "score": 0.9}), 0),
        (json!({"query": "boots", "score": 0.2, "rank": 1}), 3),
        (json!({"query": "shoes", "score": 0.8}), 1),
        (json!({"query": "boots", "score": 0.7, "rank": 2}), 0),
        (json!({"query": "shoes", "score": 0.7}), 0),
        (json!({"query": "hats", "rank": 1}), 0),
        (json!({"query": "shoes", "score": 0.6}), 1),
    ];
    let (mut rows, mut labels) = (Vec::new(), Vec::new());
    for (i, (answer, relevance)) in (0..).zip(answers) {
        rows.push(row(i, &answer));
        labels.push(json!({"prediction_id": i.to_string(), "label": relevance, "observed_at": at("2026-03-02")}));
    }
    let after = labels.split_off(3);
    app.label("search", &labels).await;
    app.predict("search", &rows).await;
    app.label("search", &after).await;
    app.tick("2026-03-03").await;
    let web = quality(&app, "search", "web").await;
    let expected = [
        ("hit_rate", "1.0000"),
        ("mean_average_precision", "0.5000"),
        ("mean_reciprocal_rank", "0.5000"),
        // (1/log₂3 + 1/log₂5) / (1 + 1/log₂3).
        ("ndcg", "0.6509"),
    ];
    assert_eq!(web, written(&expected));
    let shop = quality(&app, "search", "shop").await;
    assert!(
        shop.contains(&("ndcg".to_owned(), "1.0000".to_owned())),
        "{shop:?}"
    );
    let overall = app.measured("search").await;
    let ndcg = overall
        .iter()
        .find(|m| m.measure == "ndcg" && m.segment.is_overall())
        .expect("measured");
    assert_eq!((ndcg.status, ndcg.current_rows), (Status::Ok, 7));
    let method = ndcg.recipe["method"].as_str().expect("a method");
    assert!(
        method.contains("at the first 10 places of each query; 1 queries have no relevant item"),
        "{method}"
    );
    assert_profiles_equal_a_recount(&app, "search").await;
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_forecast_is_measured_by_points_quantiles_and_intervals(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.apply(&declared("demand", "task: forecast\n    unit: pallets"))
        .await;
    app.version("demand", "v1").await;
    let answer = |naive_error: f64| json!({"prediction": 10, "quantiles": {"0.1": 8, "0.9": 12}, "naive_error": naive_error});
    let answers = [
        (answer(2.0), 11.0),
        (json!({"prediction": 4}), 4.5),
        (answer(4.0), 15.0),
    ];
    let (mut rows, mut labels) = (Vec::new(), Vec::new());
    for (i, (answer, happened)) in (0..).zip(answers) {
        rows.push(row(i, &answer));
        labels.push(json!({"prediction_id": i.to_string(), "label": happened, "observed_at": at("2026-03-02")}));
    }
    let after = labels.split_off(1);
    app.label("demand", &labels).await;
    app.predict("demand", &rows).await;
    app.label("demand", &after).await;
    app.tick("2026-03-03").await;
    let expected = [
        ("bias", "-3.0000"),
        ("interval_coverage", "0.5000"),
        ("interval_width", "4.0000"),
        ("mae", "3.0000"),
        // 1 of 2 and 5 of 4.
        ("mase", "0.8750"),
        // 0.1·3 and 0.1·1, 0.1·7 and 0.9·3.
        ("pinball_loss", "0.9500"),
    ];
    assert_eq!(quality(&app, "demand", "web").await, written(&expected));
    // Forecasts that are points only have no quantiles to be measured.
    let shop = quality(&app, "demand", "shop").await;
    assert!(
        shop.contains(&("mae".to_owned(), "0.5000".to_owned())),
        "{shop:?}"
    );
    assert!(
        shop.contains(&("pinball_loss".to_owned(), "-".to_owned())),
        "{shop:?}"
    );
    let without = app.measured("demand").await;
    let without = without
        .iter()
        .find(|m| m.measure == "interval_coverage" && m.segment.value == "shop")
        .expect("told");
    assert_eq!(without.status, Status::Insufficient);
    let cause = without.recipe["cause"].as_str().expect("a cause");
    assert!(cause.contains("both ends of the interval"), "{cause}");
    assert_profiles_equal_a_recount(&app, "demand").await;
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn latencies_have_their_percentiles(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.apply(&declared("demand", "task: forecast")).await;
    app.version("demand", "v1").await;
    // 1 to 1000 ms, in no order; some senders report none.
    let rows: Vec<Value> = (0..1_100)
        .map(|i| {
            let mut row = row(i, &json!({"prediction": 1}));
            if i < 1_000 {
                row["latency_ms"] = json!(1 + i * 7 % 1_000);
            }
            row
        })
        .collect();
    app.predict("demand", &rows).await;
    app.tick("2026-03-03").await;
    for (measure, expected) in [
        ("latency_p50", 500.0),
        ("latency_p95", 950.0),
        ("latency_p99", 990.0),
    ] {
        let found = app.value("demand", measure, "", "2026-03-02").await;
        let (Some(value), Status::Ok, 1_000) = found.expect("measured") else {
            panic!("{measure}: {found:?}")
        };
        assert!((value / expected - 1.0).abs() < 0.03, "{measure}: {value}");
    }
}

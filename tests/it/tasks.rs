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
}

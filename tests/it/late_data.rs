//! Labels and predictions in whatever order and however late: the outcomes are the same, and what was measured
//! too early is measured again.

use bellwether::domain::clock::Clock;
use bellwether::domain::measurement::Status;
use bellwether::domain::model::Task;
use bellwether::services::configuration;
use bellwether::services::registry::NewModel;
use bellwether::storage::intake::BatchKind;
use bellwether::storage::{labels, models};
use chrono::TimeDelta;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::app::{TestApp, at};
use crate::fares;
use crate::snapshot::{assert_profiles_equal_a_recount, snapshot};

/// One thing that can be sent.
#[derive(Debug, Clone, Copy)]
enum Sent {
    Prediction,
    Label,
    Correction,
    LabelOfNothing,
}

impl Sent {
    fn row(self) -> Value {
        let day = at("2026-03-02");
        let label = |id: &str, label: f64, hour: i64| {
            json!({
                "prediction_id": id,
                "label": label,
                "observed_at": day + TimeDelta::hours(hour),
            })
        };
        match self {
            Self::Prediction => fares::prediction(day, 7),
            Self::Label => label(&fares::id(day, 7), 3.0, 20),
            Self::Correction => label(&fares::id(day, 7), 5.0, 21),
            Self::LabelOfNothing => label("nobody", 1.0, 20),
        }
    }
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn any_order_of_prediction_label_correction_and_repetition_gives_the_same_outcome(
    pool: PgPool,
) {
    use Sent::{Correction, Label, LabelOfNothing, Prediction};
    let sent = vec![
        Prediction,
        Label,
        Label,
        Correction,
        LabelOfNothing,
        Correction,
    ];
    let orders = Just(sent).prop_shuffle();
    let mut runner = TestRunner::deterministic();
    let app = TestApp::start(pool, "2026-03-03T12:00:00Z").await;
    let names: Vec<String> = (0..24).map(|case| format!("fares-{case}")).collect();
    let declared: String = names.iter().map(|name| fares::declared(name)).collect();
    app.apply(&format!("models:\n{declared}")).await;
    let mut expected = None;
    for name in &names {
        app.version(name, "v1").await;
        app.fit(name, "training", &fares::training()).await;
        let order = orders.new_tree(&mut runner).expect("an order").current();
        for (step, sent) in order.iter().enumerate() {
            match sent {
                Prediction => app.predict(name, &[sent.row()]).await,
                _ => app.label(name, &[sent.row()]).await,
            };
            // Some arrive in one batch of work, some do not.
            if step % 2 == 0 {
                app.settle().await;
            }
        }
        app.tick("2026-03-03T12:00:00Z").await;
        let got = snapshot(&app, name).await;
        let expected = expected.get_or_insert_with(|| snapshot_of_one(&got));
        assert_eq!(&snapshot_of_one(&got), expected, "{order:?}");
        app.assert_conserved(name).await;
        let count = async |outcome| app.count(name, BatchKind::Labels, outcome).await;
        assert_eq!(
            (count("accepted").await, count("duplicate").await),
            (3, 2),
            "{order:?}"
        );
    }
    let (outcomes, measurements) = expected.expect("there were orders");
    assert_eq!(outcomes.len(), 1);
    assert!(
        outcomes[0].contains("|5|2026-03-02 21:00:00"),
        "{outcomes:?}"
    );
    // The prediction said 8, and the correction stands.
    let mae = measurements.iter().find(|m| m.contains("|mae|"));
    assert!(mae.is_some_and(|m| m.contains("|mae|3|")), "{mae:?}");
}

fn snapshot_of_one(all: &crate::snapshot::Snapshot) -> (Vec<String>, Vec<String>) {
    let quality = all.measurements.iter().filter(|m| m.contains("|quality|"));
    (all.outcomes.clone(), quality.cloned().collect())
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn late_labels_reopen_their_window_and_the_earlier_measurement_is_kept(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.with_fares("").await;
    let day = at("2026-03-02");
    app.predict("fares", &fares::day(day, 20)).await;
    app.label("fares", &fares::labels(day, 10, 2.0)).await;
    app.tick("2026-03-03").await;
    let mae = async || app.value("fares", "mae", "", "2026-03-02").await;
    let coverage = async || app.value("fares", "label_coverage", "", "2026-03-02").await;
    assert_eq!(mae().await, Some((Some(2.0), Status::Ok, 10)));
    assert_eq!(coverage().await, Some((Some(0.5), Status::Ok, 20)));
    let kept = app
        .number("SELECT COUNT(*) FROM measurements WHERE superseded_at IS NOT NULL")
        .await;
    assert_eq!(kept, 0);

    let late: Vec<Value> = (10..20).map(|i| fares::label(day, i, 4.0)).collect();
    app.label("fares", &late).await;
    app.tick("2026-03-05").await;
    let (value, status, labels) = mae().await.expect("is measured");
    assert!((value.expect("a value") - 3.0).abs() < 1e-12, "{value:?}");
    assert_eq!((status, labels), (Status::Ok, 20));
    assert_eq!(coverage().await, Some((Some(1.0), Status::Ok, 20)));
    let superseded = app
        .number(
            "SELECT COUNT(*) FROM measurements
             WHERE superseded_at = '2026-03-05' AND measured_at = '2026-03-03' AND measure = 'mae'
               AND segment_name = '' AND value = 2",
        )
        .await;
    assert_eq!(superseded, 1);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn late_predictions_reopen_their_window_and_no_other(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.with_fares("").await;
    for day in ["2026-03-02", "2026-03-03"] {
        app.predict("fares", &fares::day(at(day), 20)).await;
        app.tick_at(at(day) + TimeDelta::days(1)).await;
    }
    let late: Vec<Value> = (20..25)
        .map(|i| fares::prediction(at("2026-03-02"), i))
        .collect();
    app.predict("fares", &late).await;
    app.tick("2026-03-05").await;
    let traffic = async |day| app.value("fares", "traffic", "", day).await;
    assert_eq!(
        traffic("2026-03-02").await,
        Some((Some(25.0), Status::Ok, 25))
    );
    assert_eq!(
        traffic("2026-03-03").await,
        Some((Some(20.0), Status::Ok, 20))
    );
    let reopened = async |drift: bool| -> Vec<String> {
        sqlx::query_scalar(
            "SELECT DISTINCT window_start::date::text FROM measurements
             WHERE superseded_at IS NOT NULL AND (monitor = 'drift') = $1 ORDER BY 1",
        )
        .bind(drift)
        .fetch_all(&app.services.pool)
        .await
        .expect("windows")
    };
    assert_eq!(reopened(false).await, ["2026-03-02"]);
    // The detector judges a day with those before it.
    assert_eq!(reopened(true).await, ["2026-03-02", "2026-03-03"]);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn predictions_that_failed_have_no_outcome_and_do_not_lower_the_coverage(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.with_fares("").await;
    let day = at("2026-03-02");
    let mut rows = fares::day(day, 20);
    for row in &mut rows[..5] {
        row["error"] = json!("time-out");
    }
    app.predict("fares", &rows).await;
    app.label("fares", &fares::labels(day, 20, 2.0)).await;
    app.tick("2026-03-03").await;
    let value = async |measure| app.value("fares", measure, "", "2026-03-02").await;
    assert_eq!(
        value("label_coverage").await,
        Some((Some(1.0), Status::Ok, 15))
    );
    assert_eq!(
        value("error_rate").await,
        Some((Some(0.25), Status::Ok, 20))
    );
    assert_eq!(value("mae").await, Some((Some(2.0), Status::Ok, 15)));
}

async fn orphans(app: &TestApp) -> (i64, i64) {
    let model = app.model("fares").await;
    let orphans = labels::orphans(&mut *app.conn().await, model.model_id).await;
    let orphans = orphans.expect("counts");
    (orphans.waiting, orphans.expired)
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn labels_of_unknown_predictions_wait_are_given_up_and_still_join(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.with_fares("").await;
    let day = at("2026-03-02");
    app.predict("fares", &fares::day(day, 5)).await;
    app.label("fares", &fares::labels(day, 8, 2.0)).await;
    app.settle().await;
    assert_eq!(orphans(&app).await, (3, 0));
    app.tick("2026-04-01").await;
    assert_eq!(orphans(&app).await, (3, 0), "thirty days are not over");
    app.tick("2026-04-01T00:00:01Z").await;
    assert_eq!(orphans(&app).await, (0, 3));
    app.assert_conserved("fares").await;
    let accepted = app.count("fares", BatchKind::Labels, "accepted").await;
    assert_eq!(accepted, 8, "they were accepted, and stay so");

    // One is corrected and waits anew; the prediction of another comes after all.
    let mut correction = fares::label(day, 6, 3.0);
    correction["observed_at"] = json!(at("2026-03-31"));
    app.label("fares", &[correction]).await;
    app.predict("fares", &[fares::prediction(day, 7)]).await;
    app.work().await;
    assert_eq!(orphans(&app).await, (1, 1));
    assert_eq!(app.number("SELECT COUNT(*) FROM outcomes").await, 6);
    app.assert_conserved("fares").await;
}

/// A rule that a single window opens and a single one resolves, told by mail.
fn told(measure: &str, needs: &str) -> String {
    format!(
        "rules:
  - name: watched
    model: fares
    title: Fares are off
    severity: critical
    runbook: feature-drift
    receivers: [on-call]
    when: {{{measure}}}
    {needs}
receivers:
  - {{name: on-call, email: {{to: [ada@example.org]}}}}
"
    )
}

const ERRORS: &str = "monitor: traffic, measure: error_rate, above: 0.2";
const QUALITY: &str = "monitor: quality, measure: mae, above: 2.0";
const NEEDS: &str = "needs: {rows: 10, coverage: 0.5}";

fn failed(day: &str, rows: std::ops::Range<i32>) -> Vec<Value> {
    rows.map(|i| {
        let mut row = fares::prediction(at(day), i);
        row["error"] = json!("time-out");
        row
    })
    .collect()
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn an_alert_about_a_window_long_over_is_recorded_and_told_to_nobody(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.with_fares(&told(ERRORS, "")).await;
    app.predict("fares", &fares::day(at("2026-03-02"), 20))
        .await;
    app.tick("2026-03-03").await;
    app.tick("2026-03-05T12:00:00Z").await;
    app.predict("fares", &failed("2026-03-02", 20..40)).await;
    app.work().await;
    let alerts = app.alerts().await;
    assert_eq!(alerts.len(), 1);
    assert!(alerts[0].late);
    assert_eq!(app.history(&alerts[0]).await, ["opened", "late"]);

    // More late rows mend the window, and others break it again.
    let mended: Vec<Value> = (40..120)
        .map(|i| fares::prediction(at("2026-03-02"), i))
        .collect();
    app.predict("fares", &mended).await;
    app.work().await;
    assert_eq!(app.open_rules().await, Vec::<String>::new());
    assert_eq!(
        app.history(&alerts[0]).await,
        ["opened", "late", "resolved"]
    );
    app.tick("2026-03-05T13:00:00Z").await;
    app.predict("fares", &failed("2026-03-02", 120..170)).await;
    app.work().await;
    assert_eq!(
        app.history(&alerts[0]).await,
        ["opened", "late", "resolved", "late_data"]
    );
    let alerts = app.alerts().await;
    assert_eq!(alerts.len(), 2);
    assert!(alerts[1].late);
    assert_eq!(app.deliveries().await.len(), 0);
    assert_eq!(app.runs().await.len(), 0);

    // The present confirms it: now people are told.
    let mut today = fares::day(at("2026-03-05"), 20);
    today.extend(failed("2026-03-05", 20..40));
    app.predict("fares", &today).await;
    app.tick("2026-03-06").await;
    let alerts = app.alerts().await;
    assert_eq!(alerts.len(), 2);
    assert!(!alerts[1].late);
    let reasons = app.deliveries().await.into_iter().map(|d| d.reason);
    assert_eq!(reasons.collect::<Vec<_>>(), ["alert_opened"]);
    let history = app.history(&alerts[1]).await;
    assert_eq!(history[..3], ["opened", "late", "seen"]);
    assert!(
        history.contains(&"runbook_started".to_owned()),
        "{history:?}"
    );
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn labels_that_take_days_are_news_the_first_time_and_late_when_they_are_corrected(
    pool: PgPool,
) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.with_fares(&told(QUALITY, NEEDS)).await;
    let day = at("2026-03-02");
    let labels = |error: f64, observed: &str| -> Vec<Value> {
        let labels = fares::labels(day, 40, error).into_iter().map(|mut label| {
            label["observed_at"] = json!(at(observed));
            label
        });
        labels.collect()
    };
    let reasons = async || {
        let mut reasons: Vec<String> = app
            .deliveries()
            .await
            .into_iter()
            .map(|d| d.reason)
            .collect();
        reasons.reverse();
        reasons
    };
    app.predict("fares", &fares::day(day, 40)).await;
    app.tick("2026-03-05").await;
    app.label("fares", &labels(3.0, "2026-03-05")).await;
    app.work().await;
    assert_eq!(app.open_rules().await, ["watched"]);
    assert_eq!(reasons().await, ["alert_opened"]);

    // Whoever was told that it opened is told that it is over, and not that it opens once more.
    app.tick("2026-03-05T10:00:00Z").await;
    app.label("fares", &labels(1.0, "2026-03-05T09:00:00Z"))
        .await;
    app.work().await;
    assert_eq!(reasons().await, ["alert_opened", "alert_resolved"]);
    app.tick("2026-03-05T12:00:00Z").await;
    app.label("fares", &labels(4.0, "2026-03-05T11:00:00Z"))
        .await;
    app.work().await;
    assert_eq!(app.open_rules().await, ["watched"]);
    assert_eq!(reasons().await, ["alert_opened", "alert_resolved"]);
    let alerts = app.alerts().await;
    assert_eq!((alerts[0].late, alerts[1].late), (false, true));
    assert_eq!(
        app.history(&alerts[0]).await.last().map(String::as_str),
        Some("late_data")
    );
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_window_is_measured_when_its_predictions_have_had_their_time(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    let rule = told("monitor: traffic, measure: traffic, below: 30", "");
    let said = fares::declared("waits").replace(
        "    segments:",
        "    predictions_within: 30h\n    segments:",
    );
    assert!(said.contains("30h"));
    let other = rule
        .replace("watched", "waited")
        .replace("model: fares", "model: waits");
    let (other, _) = other.split_once("receivers:\n  -").expect("receivers");
    let (_, other) = other.split_once("rules:\n").expect("rules");
    let rules = rule.replace("rules:\n", &format!("rules:\n{other}"));
    app.apply(&format!(
        "models:\n{}{said}{rules}",
        fares::declared("fares")
    ))
    .await;
    for model in ["fares", "waits"] {
        app.version(model, "v1").await;
        app.fit(model, "training", &fares::training()).await;
    }
    // The day comes in two parts, the second one a day after it is over.
    let day = at("2026-03-02");
    let parts = [fares::day(day, 20), fares::day(day, 40)];
    for (part, time) in parts.iter().zip(["2026-03-03T01:00", "2026-03-04T01:00"]) {
        app.tick(&format!("{time}:00Z")).await;
        for model in ["fares", "waits"] {
            app.predict(model, part).await;
        }
        app.work().await;
    }
    let traffic = async |model| app.value(model, "traffic", "", "2026-03-02").await;
    let opened = async || -> Vec<String> {
        let alerts = app.alerts().await.into_iter();
        alerts.map(|alert| alert.rule).collect()
    };
    assert_eq!(traffic("fares").await, Some((Some(40.0), Status::Ok, 40)));
    assert_eq!(traffic("waits").await, None);
    assert_eq!(opened().await, ["watched"], "by the first part alone");

    app.tick("2026-03-04T05:59:59Z").await;
    assert_eq!(traffic("waits").await, None);
    app.tick("2026-03-04T06:00:00Z").await;
    assert_eq!(traffic("waits").await, Some((Some(40.0), Status::Ok, 40)));
    assert_eq!(opened().await, ["watched"]);
    let pending = app
        .number("SELECT COUNT(*) FROM window_states WHERE pending")
        .await;
    assert_eq!(pending, 0);

    // A loss of a day is told when the day is due, though that is more than a day after it.
    app.predict("waits", &fares::day(at("2026-03-03"), 10))
        .await;
    app.tick("2026-03-05T07:00:00Z").await;
    let alerts = app.alerts().await;
    let waited = alerts.iter().find(|alert| alert.rule == "waited");
    assert!(!waited.expect("an alert").late);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn segments_that_a_registration_changes_count_for_what_has_come_already(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-03").await;
    app.with_fares("").await;
    app.predict("fares", &fares::day(at("2026-03-02"), 30))
        .await;
    let labels: Vec<Value> = (0..30)
        .map(|i| fares::label(at("2026-03-02"), i, 1.0))
        .collect();
    app.label("fares", &labels).await;
    app.work().await;
    let new = NewModel {
        segments: vec!["carrier".to_owned()],
        ..NewModel::named("fares", Task::Regression)
    };
    let now = app.clock.now();
    let changed = configuration::register_model(&app.services, app.project, &new, "tests", now);
    changed.await.expect("changed");
    app.work().await;
    assert_profiles_equal_a_recount(&app, "fares").await;
    let measured = app
        .number(
            "SELECT COUNT(DISTINCT segment_value) FROM measurements
             WHERE superseded_at IS NULL AND measure = 'mae' AND segment_name = 'carrier'",
        )
        .await;
    assert_eq!(measured, 3);
    let left = app
        .number(
            "SELECT COUNT(*) FROM measurements
             WHERE superseded_at IS NULL AND measure = 'mae' AND segment_name = 'origin'",
        )
        .await;
    assert_eq!(left, 0);
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn labels_that_move_are_drift_of_their_own_and_said_anew_as_they_come(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    let declared = fares::configuration("fares").replace(
        "min_rows: 10, thresholds: {psi: 0.25}}",
        "min_rows: 10, measures: [total_variation, missing_share_change], thresholds: {total_variation: 0.1}}",
    );
    assert!(declared.contains("missing_share_change"));
    app.apply(&declared).await;
    app.version("fares", "v1").await;
    app.fit("fares", "training", &fares::training()).await;
    let drift = async || {
        app.value("fares", "total_variation", "label", "2026-03-02")
            .await
    };
    let day = at("2026-03-02");
    app.predict("fares", &fares::day(day, 200)).await;
    app.tick("2026-03-03").await;
    assert_eq!(drift().await, None, "no label has come");

    // They are those of the training data, and then all are twenty higher.
    app.label("fares", &fares::labels(day, 200, 1.0)).await;
    app.tick("2026-03-04").await;
    assert_eq!(drift().await, Some((Some(0.0), Status::Ok, 200)));
    let higher: Vec<Value> = (0..200)
        .map(|i| {
            let mut label = fares::label(day, i, -20.0);
            label["observed_at"] = json!(at("2026-03-04"));
            label
        })
        .collect();
    app.label("fares", &higher).await;
    app.tick("2026-03-05").await;
    let (value, status, rows) = drift().await.expect("is measured");
    assert!(
        value.is_some_and(|moved| (0.35..0.5).contains(&moved)),
        "{value:?}"
    );
    assert_eq!((status, rows), (Status::Drift, 200));
    let measured = app.measured("fares").await;
    let of_label = measured.iter().filter(|m| m.feature == "label");
    let names: Vec<&str> = of_label.map(|m| m.measure.as_str()).collect();
    assert_eq!(names, ["total_variation"], "what is missing may still come");
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn of_very_many_outcomes_the_same_share_stands_for_all_every_time(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-02").await;
    app.with_fares("").await;
    let day = at("2026-03-02");
    app.predict("fares", &fares::day(day, 90)).await;
    app.label("fares", &fares::labels(day, 60, 2.0)).await;
    app.settle().await;
    let model = app.model("fares").await;
    let mut conn = app.conn().await;
    let versions = models::versions(&mut conn, model.model_id).await;
    let version_id = versions.expect("versions")[0].version_id;
    let span = (day, day + TimeDelta::days(1));
    let mut read = async |most| {
        let read = labels::thinned_outcomes(&mut conn, version_id, span, most).await;
        read.expect("reads")
    };
    let all = read(60).await;
    assert_eq!((all.rows.len(), all.seen, all.one_in), (60, 60, 1));
    let share = read(20).await;
    assert_eq!((share.seen, share.one_in), (60, 3));
    // Which ones are taken is up to a hash of their ids: 20 on average, with a deviation of 3.7.
    assert!((6..=34).contains(&share.rows.len()), "{}", share.rows.len());
    assert_eq!(read(20).await.rows, share.rows);
    assert!(share.rows.iter().all(|row| all.rows.contains(row)));
    assert!(share.rows.is_sorted_by_key(|row| row.predicted_at));

    let mut each = Vec::new();
    let visited = labels::each_outcome(&mut conn, version_id, span, |outcome| each.push(outcome));
    visited.await.expect("reads");
    each.sort_by_key(|outcome| outcome.predicted_at);
    assert_eq!(each, all.rows);
}

//! Drift and its causes over HTTP, with the real program: a month whose days are in no order is quiet; then rows change and
//! so do answers, and there is a ticket that says what moved, and a page that says why quality was lost.

use bellwether::domain::clock::{Clock, SystemClock};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::app::lines;
use crate::proxy::Proxy;
use crate::served::Served;

const ROWS: i64 = 240;

const CONFIGURATION: &str = "models:
  - name: fares
    task: regression
    unit: euros
    window: day
    baselines:
      training: {file: training.ndjson}
    schema: {from: training}
    monitors:
      - {name: drift, kind: drift, window: day, baseline: training}
      - {name: quality, kind: quality, window: day, baseline: training}
      - {name: traffic, kind: traffic, window: day}
rules:
  - name: inputs-moved
    model: fares
    title: Inputs have moved away from the training data
    severity: warning
    when: {monitor: drift, measure: shift, status: drift}
  - name: volume
    model: fares
    title: Unusually many or few predictions
    severity: warning
    when: {monitor: traffic, measure: volume, status: drift}
  - name: errors
    model: fares
    title: Errors are a third larger than in training
    severity: critical
    when: {monitor: quality, measure: mae, above: {times_baseline: 1.33}}
";

/// Whether rows are longer journeys than usual, and whether the fares of one line are others.
#[derive(Clone, Copy)]
struct World {
    longer: bool,
    dearer_west: bool,
}

const CALM: World = World {
    longer: false,
    dearer_west: false,
};

/// A share of one that is different for each row and column, and the same in each run.
fn chance(day: i64, i: i64, column: i64) -> f64 {
    let seed = u64::try_from((day * 1_000 + i) * 10 + column).expect("after 1970");
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    f64::from(u32::try_from((x ^ (x >> 31)) % 1_000_000).expect("small")) / 1e6
}

/// The `i`th row of a day. What it holds is that of the day with the number `drawn`, so that days can be put in any order.
fn row(day: DateTime<Utc>, drawn: i64, i: i64, world: World) -> Value {
    let number = day.timestamp() / 86_400;
    let far = chance(drawn, i, 1);
    let distance = 1_000.0 * if world.longer { far.sqrt() } else { far };
    let line = ["north", "south", "west"][(chance(drawn, i, 2) * 3.0) as usize];
    let dearer = if world.dearer_west && line == "west" {
        4.0
    } else {
        0.0
    };
    let fare = 5.0 + distance / 20.0;
    json!({
        "prediction_id": format!("{number}-{i}"),
        "timestamp": day + TimeDelta::hours(6) + TimeDelta::minutes(i),
        "distance": distance,
        "line": line,
        "weight": (chance(drawn, i, 3) * 100.0).round(),
        "prediction": fare,
        "label": fare + dearer + chance(drawn, i, 4) * (1.0 + distance / 250.0),
    })
}

fn rows(day: DateTime<Utc>, drawn: i64, world: World) -> Vec<Value> {
    (0..ROWS).map(|i| row(day, drawn, i, world)).collect()
}

/// Sends the predictions and labels of some days.
async fn live(served: &Served, days: &[(DateTime<Utc>, i64)], world: World) {
    let (mut predictions, mut labels) = (Vec::new(), Vec::new());
    for (day, drawn) in days {
        for mut row in rows(*day, *drawn, world) {
            let label = row.as_object_mut().expect("an object").remove("label");
            labels.push(json!({"prediction_id": row["prediction_id"], "label": label}));
            predictions.push(row);
        }
    }
    for (path, rows) in [
        ("/api/v1/models/fares/predictions?version=v1", &predictions),
        ("/api/v1/models/fares/labels", &labels),
    ] {
        let answer = served
            .post(path, "application/x-ndjson", &lines(rows))
            .await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

async fn json_of(served: &Served, path: &str) -> Value {
    let answer = served.get(path).await;
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    serde_json::from_str(&answer.body).expect("JSON")
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn a_shuffled_month_is_quiet_and_a_real_change_is_a_ticket_with_its_causes(pool: PgPool) {
    let proxy = Proxy::start(&pool.connect_options()).await;
    let served = Served::start(pool, &proxy.url(), &[]).await;
    let now: DateTime<Utc> = SystemClock.now();
    let today = now
        .date_naive()
        .and_hms_opt(0, 0, 0)
        .expect("midnight")
        .and_utc();
    let day = |before: i64| today - TimeDelta::days(before);

    let files = json!({"files": [{"path": "bellwether.yaml", "text": CONFIGURATION}]});
    let applied = served
        .post(
            "/api/v1/definitions",
            "application/json",
            files.to_string().as_bytes(),
        )
        .await;
    assert_eq!(applied.status, 200, "{applied:?}");
    let made = served
        .post(
            "/api/v1/models/fares/versions",
            "application/json",
            br#"{"version": "v1"}"#,
        )
        .await;
    assert_eq!(made.status, 200, "{made:?}");
    let training: Vec<Value> = (36..64)
        .rev()
        .flat_map(|before| rows(day(before), before, CALM))
        .collect();
    let fitted = served
        .post(
            "/api/v1/models/fares/baselines/training?file_name=training.ndjson",
            "application/x-ndjson",
            &lines(&training),
        )
        .await;
    assert_eq!(fitted.status, 200, "{fitted:?}");
    let baseline: Value = serde_json::from_str(&fitted.body).expect("JSON");
    assert_eq!(baseline["days"]["footing"], "days", "{baseline}");

    // Thirty days, in an order that has nothing to do with how they were drawn.
    let month: Vec<(DateTime<Utc>, i64)> = (6..36)
        .map(|before| (day(before), 100 + before * 17 % 30))
        .collect();
    live(&served, &month, CALM).await;
    served
        .until(
            "SELECT COUNT(*) FROM measurements WHERE measure = 'shift' AND superseded_at IS NULL",
            30 * 4,
        )
        .await;
    served
        .until(
            "SELECT COUNT(*) FROM measurements
             WHERE measure IN ('shift', 'volume') AND superseded_at IS NULL AND status = 'drift'",
            0,
        )
        .await;
    assert_eq!(json_of(&served, "/api/v1/alerts").await, json!([]));
    let nothing = json_of(&served, "/api/v1/models/fares/causes").await;
    assert_eq!(nothing["outcome"], "no_loss", "{nothing}");

    let changed = World {
        longer: true,
        dearer_west: true,
    };
    let week: Vec<(DateTime<Utc>, i64)> = (0..6).map(|n| (day(6 - n), 200 + n)).collect();
    // The sixth day before today was calm; the five after it are not.
    live(&served, &week[1..], changed).await;
    served
        .until("SELECT COUNT(*) FROM alerts WHERE resolved_at IS NULL", 2)
        .await;
    let alerts = json_of(&served, "/api/v1/alerts").await;
    let of = |rule: &str| {
        let alerts = alerts.as_array().expect("a list");
        let found = alerts.iter().find(|alert| alert["rule"] == rule);
        found.unwrap_or_else(|| panic!("no alert of {rule}: {alerts:?}"))
    };
    let ticket = of("inputs-moved");
    assert_eq!(ticket["severity"], "warning");
    let condition = ticket["condition"].as_str().expect("a text");
    assert!(condition.starts_with("distance shift: "), "{condition}");
    assert!(
        condition.contains("about one false ticket per model and year"),
        "{condition}"
    );
    assert!(
        condition.contains("smallest change seen in 1/7/28 days"),
        "{condition}"
    );
    let id = ticket["alert_id"].as_str().expect("an id");
    let told = json_of(&served, &format!("/api/v1/alerts/{id}")).await;
    let causes = told["explanation"]["causes"].as_array().expect("causes");
    assert_eq!(causes[0]["title"], "distance", "{causes:?}");
    assert!(
        causes.iter().any(|cause| cause["kind"] == "quality"),
        "{causes:?}"
    );
    assert_eq!(of("errors")["severity"], "critical");

    let from = day(5).format("%Y-%m-%d");
    let why = json_of(
        &served,
        &format!("/api/v1/models/fares/causes?measure=mae&from={from}"),
    )
    .await;
    assert_eq!(
        (&why["outcome"], &why["loss"]),
        (&json!("lost"), &json!("absolute_error")),
        "{why}"
    );
    let (input, concept) = (
        &why["change"]["input_drift"],
        &why["change"]["concept_change"],
    );
    assert!(input["low"].as_f64().expect("a bound") > 0.0, "{why}");
    assert!(concept["low"].as_f64().expect("a bound") > 0.5, "{why}");
    assert_eq!(why["segments"][0]["segment"], "line = west", "{why}");
    let share = why["change"]["input_share"]["value"]
        .as_f64()
        .expect("a share");
    assert!((0.1..0.6).contains(&share), "{share}");

    let overlap = format!(
        "/api/v1/models/fares/causes?from={from}&reference_from={from}&reference_to={}",
        today.format("%Y-%m-%d")
    );
    served.get(&overlap).await.problem(422);
    served
        .get("/api/v1/models/fares/causes?measure=psi")
        .await
        .problem(422);
    served
        .get("/api/v1/models/fares/causes?version=v9")
        .await
        .problem(404);
    let early = "/api/v1/models/fares/causes?from=2001-01-01&to=2001-01-08";
    let early = json_of(&served, early).await;
    assert_eq!(early["outcome"], "too_few_labels");
    assert!(
        early["summary"][0]
            .as_str()
            .expect("words")
            .contains("too few labels"),
        "{early}"
    );
}

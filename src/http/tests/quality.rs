//! Quality over the API: measures by name, why a value is undefined, and projections.

use super::*;
use crate::domain::definitions::SourceFile;
use crate::services::configuration;

const LOANS: &str = "
models:
  - name: loans
    task: binary
    positive_class: good
    segments: [region]
    monitors:
      - {name: quality, kind: quality, window: day, labels_within: 1d, measures: [accuracy, recall,
         equal_opportunity_difference], groups: [region]}
";

async fn with_loans(api: &TestApi, admin: &str) {
    let file = SourceFile {
        path: "tests.yaml".to_owned(),
        text: LOANS.to_owned(),
    };
    configuration::apply(&api.state.services, api.project_id, &[file], "tests")
        .await
        .expect("the configuration is good");
    let version = json!({"version": "v1", "lineage": {}});
    api.post(admin, "/api/v1/models/loans/versions", &version)
        .await
        .expect(200);
    let (mut predictions, mut labels) = (String::new(), String::new());
    // The reference of two days ago is complete; of yesterday's predictions only every other has its label.
    for (day, hours) in [("2026-02-28", [1, 20]), ("2026-03-01", [1, 20])] {
        for i in 0..60 {
            let region = if i % 3 == 0 { "north" } else { "south" };
            let answer = if i % 4 < 2 { "good" } else { "bad" };
            predictions += &format!(
                "{{\"prediction_id\":\"{day}-{i}\",\"timestamp\":\"{day}T23:00:00Z\",\"region\":\"{region}\",\
                 \"prediction\":\"{answer}\"}}\n"
            );
            if day == "2026-03-01" && i % 2 == 1 {
                continue;
            }
            let at: DateTime<Utc> = format!("{day}T23:00:00Z").parse().expect("an instant");
            let at = at + TimeDelta::hours(hours[i % 2]);
            // Early labels agree with the prediction, late ones are all bad.
            let label = if i % 2 == 0 { answer } else { "bad" };
            let at = at.to_rfc3339();
            labels += &format!(
                "{{\"prediction_id\":\"{day}-{i}\",\"label\":\"{label}\",\"observed_at\":\"{at}\"}}\n"
            );
        }
    }
    for (path, rows) in [("predictions", predictions), ("labels", labels)] {
        let path = format!("/api/v1/models/loans/{path}");
        api.send(admin, &path, "application/x-ndjson", rows)
            .await
            .expect(200);
    }
    while settle::activate(&api.state.services, start())
        .await
        .expect("settled")
    {}
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn quality_has_the_measures_asked_for_else_those_of_the_monitor(pool: PgPool) {
    let api = TestApi::new(pool).await;
    let admin = api.admin().await;
    with_loans(&api, &admin).await;
    let of = "/api/v1/models/loans/quality?from=2026-02-28&to=2026-03-01";
    let quality = api.get(&admin, of).await.expect(200).json();
    let overall = &quality["segments"][0];
    let names: Vec<&String> = overall["measures"]
        .as_object()
        .expect("by name")
        .keys()
        .collect();
    assert_eq!(names, ["accuracy", "recall"]);
    assert_eq!(overall["measures"]["accuracy"]["value"], 0.75);
    assert_eq!(overall["measures"]["recall"]["size"], 15);
    let parity = &overall["details"][0];
    assert_eq!(
        (&parity["measure"], &parity["of"]),
        (&json!("equal_opportunity_difference"), &json!("region"))
    );
    // Five of the fifteen positives are in the north: too few to compare.
    assert_eq!(parity["value"], Value::Null);
    let why = parity["undefined"].as_str().expect("a reason");
    assert!(why.contains("fewer than two groups"), "{why}");

    let asked = format!("{of}&measures=brier,%20mcc");
    let quality = api.get(&admin, &asked).await.expect(200).json();
    let measures = &quality["segments"][0]["measures"];
    assert_eq!(measures["brier"]["undefined"], "no outcome has a score");
    assert!(measures["mcc"]["low"].as_f64() < measures["mcc"]["value"].as_f64());
    let unknown = api
        .get(&admin, &format!("{of}&measures=mae"))
        .await
        .problem(422);
    assert!(unknown.contains("\"mae\" is none of roc_auc"), "{unknown}");
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn quality_of_a_young_span_comes_with_its_maturity_and_a_projection(pool: PgPool) {
    let api = TestApi::new(pool).await;
    let admin = api.admin().await;
    with_loans(&api, &admin).await;
    let of = "/api/v1/models/loans/quality?from=2026-03-01&to=2026-03-02";
    let quality = api.get(&admin, of).await.expect(200).json();
    let maturity = &quality["maturity"];
    assert_eq!(maturity["reference_from"], "2026-02-22T00:00:00Z");
    assert_eq!(
        (&maturity["reference_labels"], &maturity["coverage"]),
        (&json!(60), &json!(0.5))
    );
    // At noon the day's predictions are taken to be 12 to 36 hours old: labels that take 20 are there for two
    // thirds of them.
    let expected = 0.5 + 0.5 * 16.0 / 24.0;
    let completeness = maturity["completeness"].as_f64().expect("a share");
    assert!((completeness - expected).abs() < 1e-9, "{maturity}");
    assert_eq!(maturity["matures_at"], "2026-03-02T20:00:00Z");
    let accuracy = &quality["segments"][0]["measures"]["accuracy"];
    assert_eq!(accuracy["value"], 1.0);
    let projected = &accuracy["projected"];
    let note = projected["note"].as_str().expect("a note");
    assert!(note.contains("a projection, not a measurement"), "{note}");

    let settled = api
        .get(
            &admin,
            "/api/v1/models/loans/quality?from=2026-02-28&to=2026-03-01",
        )
        .await
        .expect(200)
        .json();
    let accuracy = &settled["segments"][0]["measures"]["accuracy"];
    assert_eq!(accuracy["projected"], Value::Null, "{settled}");
}

//! Runs of runbooks through the API: who may answer, ask and report.

use super::*;

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn only_a_person_answers_an_approval(pool: PgPool) {
    let api = TestApi::new(pool).await;
    let admin = api.admin().await;
    let path = format!("/api/v1/approvals/{}", uuid_at(start()));
    let answer = json!({"approve": true, "reason": "looks right"});
    let told = api.post(&admin, &path, &answer).await.problem(403);
    assert!(told.contains("person"), "{told}");

    let by_person = |csrf: &str| {
        Request::post(&path)
            .header(HOST, "localhost:8420")
            .header(COOKIE, format!("bellwether={}", api.cookie))
            .header(auth::CSRF_HEADER, csrf)
            .header(CONTENT_TYPE, "application/json")
            .body(answer.to_string().into())
            .expect("a request")
    };
    api.ask(by_person("forged")).await.problem(403);
    api.ask(by_person(&api.csrf)).await.problem(404);
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn a_run_is_asked_for_answered_and_shown(pool: PgPool) {
    let api = TestApi::new(pool).await;
    let admin = api.admin().await;
    api.with_model(&admin).await;
    let runs = "/api/v1/models/fares/runs";
    let shipped = crate::domain::definitions::shipped_runbooks();
    let asking = shipped.iter().find(|runbook| {
        let steps = &runbook.value.steps;
        steps.iter().any(|step| step.action.kind() == "approve")
    });
    let name = &asking.expect("one asks").value.name;
    api.post(
        &admin,
        runs,
        &json!({"runbook": "nothing", "reason": "to see"}),
    )
    .await
    .problem(404);
    api.post(&admin, runs, &json!({"runbook": name, "reason": ""}))
        .await
        .problem(422);
    let started = api
        .post(&admin, runs, &json!({"runbook": name, "reason": "to see"}))
        .await;
    let run_id = started.expect(201).json()["run_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    crate::services::runbooks::activate(&api.state.services, start())
        .await
        .expect("ran");
    let run = api
        .get(&admin, &format!("/api/v1/runs/{run_id}"))
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&run["model"], &run["runbook"]),
        (&json!("fares"), &json!(name))
    );
    assert!(run["steps"].as_array().is_some_and(|steps| steps.len() > 1));
    let listed = api.get(&admin, "/api/v1/runs").await.expect(200).json();
    assert_eq!(listed[0]["run_id"], run["run_id"]);
}

#[sqlx::test(migrator = "crate::storage::MIGRATOR")]
async fn a_report_with_a_wrong_token_or_key_is_not_found(pool: PgPool) {
    let api = TestApi::new(pool).await;
    let path = "/api/v1/pipeline-runs/some-key/status";
    let told = api
        .post("wrong", path, &json!({"state": "succeeded"}))
        .await
        .problem(404);
    assert!(told.contains("some-key"), "{told}");
}

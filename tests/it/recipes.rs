//! Every recipe of the user guide, as it stands: a shell for those in shell, and for those that are configuration of
//! other programs the address they name, tried with what such a program sends. Those in Python are run by
//! `make test-integrations`, which installs what they need.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use bellwether::domain::clock::{Clock, SystemClock};
use serde_json::Value;
use sqlx::PgPool;

use crate::proxy::Proxy;
use crate::served::Served;

/// The fenced blocks of the guide, by language.
fn recipes() -> BTreeMap<&'static str, Vec<&'static str>> {
    let guide = include_str!("../../docs/plug-in.md");
    let mut recipes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for block in guide.split("\n```").skip(1).step_by(2) {
        let (language, text) = block.split_once('\n').expect("a language and a text");
        recipes.entry(language).or_default().push(text);
    }
    recipes
}

#[test]
fn every_recipe_is_in_a_language_that_somebody_runs() {
    let recipes = recipes();
    let languages: Vec<&str> = recipes.keys().copied().collect();
    assert_eq!(languages, ["python", "sh", "yaml"]);
    let run = include_str!("../integrations/run.py");
    assert!(run.contains("```python"), "the recipes in Python are run");
}

/// Other tests let versions be registered on sight; whoever follows the guide has a project that does not.
async fn as_it_is_set_up(served: &Served) {
    sqlx::query("UPDATE projects SET auto_register = false")
        .execute(&served.pool)
        .await
        .expect("set");
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn recipes_in_shell_work_as_they_stand(pool: PgPool) {
    let proxy = Proxy::start(&pool.connect_options()).await;
    let served = Served::start(pool, &proxy.url(), &[]).await;
    as_it_is_set_up(&served).await;
    for recipe in &recipes()["sh"] {
        let (url, token) = (format!("http://{}", served.address), served.token.clone());
        let recipe = (*recipe).to_owned();
        let ran = tokio::task::spawn_blocking(move || {
            let ran = Command::new("bash")
                .args(["-euo", "pipefail", "-c", &recipe])
                .env("BELLWETHER_URL", url)
                .env("BELLWETHER_TOKEN", token)
                .stdin(Stdio::null())
                .output()
                .expect("bash and curl are there");
            (recipe, ran)
        });
        let (recipe, ran) = ran.await.expect("it ends");
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{recipe}\n{said}");
        // What is taken is told, and that nothing of it was refused.
        let answer = String::from_utf8_lossy(&ran.stdout).into_owned();
        if let Ok(answer) = serde_json::from_str::<Value>(&answer) {
            assert!(
                answer["rejected"].as_u64().unwrap_or(0) == 0,
                "{recipe}\n{answer}"
            );
            assert_eq!(answer.get("partialSuccess"), None, "{recipe}\n{answer}");
        }
    }
    for id in [
        "json-1", "ndjson-1", "ndjson-2", "csv-1", "otlp-1", "kserve-1",
    ] {
        let question: &'static str = Box::leak(
            format!("SELECT COUNT(*) FROM predictions WHERE prediction_id = '{id}'").into(),
        );
        served.until(question, 1).await;
    }
    served
        .until("SELECT COUNT(*) FROM labels WHERE joined", 1)
        .await;
}

/// The commands and the Python of "Five minutes with your own model", as they stand, but for the address and the date.
fn first_five_minutes() -> (String, String) {
    let readme = include_str!("../../README.md");
    let (_, rest) = readme
        .split_once("## Five minutes with your own model")
        .expect("the section");
    let (section, _) = rest.split_once("\n## ").expect("the next section");
    let (before, rest) = section.split_once("```python\n").expect("Python");
    let (python, after) = rest.split_once("```").expect("its end");
    let indented = before
        .lines()
        .chain(after.lines())
        .filter_map(|line| match line {
            "" => Some(""),
            line => line.strip_prefix("    "),
        });
    // The service is there, and the token is told.
    let is_told = |line: &&str| {
        !line.starts_with("cargo run") && !line.starts_with("export BELLWETHER_TOKEN")
    };
    let commands: Vec<&str> = indented.filter(is_told).collect();
    (commands.join("\n"), python.to_owned())
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn the_first_five_minutes_of_the_readme_work_as_they_stand(pool: PgPool) {
    let proxy = Proxy::start(&pool.connect_options()).await;
    let served = Served::again(pool, &proxy.url(), &[]).await;
    as_it_is_set_up(&served).await;
    let (commands, python) = first_five_minutes();
    let folder = std::env::temp_dir().join(format!("bellwether-readme-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir_all(&folder).expect("made");
    let today = SystemClock.now().date_naive().to_string();
    let here = |text: &str| {
        let address = served.address.to_string();
        text.replace("127.0.0.1:8420", &address)
            .replace("2026-11-21", &today)
    };
    assert!(commands.matches("curl").count() >= 5, "{commands}");
    for (program, arguments, text) in [
        (
            "bash",
            &["-euo", "pipefail", "-c"][..],
            here(&commands).replace("curl ", "curl -fsS "),
        ),
        ("python3", &["-c"], here(&python)),
    ] {
        let mut command = Command::new(program);
        command.args(arguments).arg(text).current_dir(&folder);
        command
            .env("BELLWETHER_TOKEN", &served.token)
            .stdin(Stdio::null());
        let ran = tokio::task::spawn_blocking(move || command.output().expect("it is there"));
        let ran = ran.await.expect("it ends");
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{program}: {said}");
        let answers = String::from_utf8_lossy(&ran.stdout).replace('\'', "\"");
        assert!(!answers.contains("\"rejected\": 1"), "{answers}");
        assert!(!answers.contains("\"rejected\":1"), "{answers}");
    }
    served
        .until(
            "SELECT COUNT(*) FROM outcomes WHERE prediction_id IN ('offer-1', 'offer-2')",
            2,
        )
        .await;
    std::fs::remove_dir_all(folder).expect("removed");
}

#[test]
fn configuration_of_other_programs_names_addresses_that_there_are() {
    let routes = ["/v1/logs", "/api/v1/cloudevents/YOUR_TOKEN"];
    let mut named = 0;
    for recipe in &recipes()["yaml"] {
        let read: Value = serde_saphyr::from_str(recipe).expect("YAML");
        let text = read.to_string();
        for address in text.split("http://bellwether:8420").skip(1) {
            let path = address.split('"').next().expect("an end");
            assert!(path.is_empty() || routes.contains(&path), "{path}");
            named += 1;
        }
    }
    assert_eq!(named, 3, "BentoML, KServe and the Collector");
}

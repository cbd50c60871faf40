//! The demo as a newcomer meets it: the real binary with its own Postgres, killed in the middle, and then looked
//! at in a real browser.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fantoccini::Locator;
use serde_json::Value;

use crate::browser::{Browser, ColourScheme};

/// What each version's mean absolute error must be, to the printed digits: first day of the row, v1, v2, v3.
const ERRORS: [(&str, [Option<f64>; 3]); 19] = [
    ("2013-02-15", [Some(9.00), None, None]),
    ("2013-03-01", [Some(11.39), None, None]),
    ("2013-03-15", [Some(8.89), Some(9.25), None]),
    ("2013-03-22", [Some(9.70), Some(7.82), None]),
    ("2013-04-01", [Some(9.00), Some(9.57), None]),
    ("2013-04-15", [Some(10.10), Some(9.64), None]),
    ("2013-05-01", [Some(16.06), Some(8.67), None]),
    ("2013-05-08", [Some(16.03), Some(9.19), None]),
    ("2013-05-15", [Some(15.12), Some(7.75), Some(6.93)]),
    ("2013-05-22", [Some(14.56), Some(7.93), Some(7.81)]),
    ("2013-06-01", [Some(14.37), Some(8.33), Some(8.31)]),
    ("2013-07-01", [Some(17.31), Some(9.68), Some(8.44)]),
    ("2013-08-01", [Some(15.85), Some(8.96), Some(8.32)]),
    ("2013-09-01", [Some(17.84), Some(8.85), Some(8.37)]),
    ("2013-10-01", [Some(11.79), Some(8.62), Some(7.38)]),
    ("2013-11-01", [Some(8.41), Some(9.88), Some(8.68)]),
    ("2013-11-15", [Some(7.64), Some(10.41), Some(9.09)]),
    ("2013-12-01", [Some(10.30), Some(14.40), Some(11.16)]),
    ("2013-12-15", [Some(7.89), Some(11.32), Some(8.42)]),
];

const PREDICTIONS: i64 = 96_685 + 88_386 + 70_090;
const LABELS: i64 = 94_292;

/// How often the service is killed, and how much of the year it has lived through by then.
const KILLS: [&str; 2] = ["April 2013", "September 2013"];

#[tokio::test(flavor = "multi_thread")]
async fn the_year_is_told_once_whatever_is_killed_and_ends_with_a_rollback_in_the_browser() {
    let folder = Folder::new();
    for month in KILLS {
        kill_in(&folder.0, month);
    }
    let summary = tell(&folder.0);
    assert_errors(&summary);
    assert_nothing_lost_or_doubled(&summary);
    assert_mails(&folder.0, &summary);

    let mut demo = Running::start(&folder.0);
    let address = demo.address();
    look_around(&folder.0, &address).await;
}

/// Starts the demo and kills the service alone, with -9, once it has come to a month.
fn kill_in(folder: &Path, month: &str) {
    let mut demo = Running::start(folder);
    let seen = demo.read_until(|line| line.contains(month));
    assert!(seen.is_some(), "the demo ended before {month}");
    demo.kill();
}

/// Lets the demo run to its end.
fn tell(folder: &Path) -> Value {
    let told = command(folder)
        .args(["--once", "--json"])
        .output()
        .expect("runs the demo");
    let errors = String::from_utf8_lossy(&told.stderr);
    let text = String::from_utf8_lossy(&told.stdout);
    let summary: Value =
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("no summary: {text}\n{errors}"));
    assert!(
        told.status.success(),
        "the story did not happen: {errors}\n{text}"
    );
    summary
}

fn assert_errors(summary: &Value) {
    let mut compared = 0;
    for (day, values) in ERRORS {
        for (version, expected) in ["v1", "v2", "v3"].into_iter().zip(values) {
            let told = summary["mae"][version][day].as_f64();
            assert_eq!(told, expected, "{version} from {day}");
            compared += 1;
        }
    }
    assert_eq!(compared, 57);
}

fn assert_nothing_lost_or_doubled(summary: &Value) {
    for (kind, accepted) in [("predictions", PREDICTIONS), ("labels", LABELS)] {
        let counts = &summary["intake"][kind];
        let count = |outcome: &str| counts[outcome].as_i64().expect("a count");
        assert_eq!(count("accepted"), accepted, "{kind}");
        assert_eq!(count("conflicting"), 0, "{kind}");
        assert_eq!(counts["rejected"], serde_json::json!({}), "{kind}");
        assert_eq!(
            count("received"),
            count("accepted") + count("duplicate"),
            "{kind}"
        );
    }
    let promotions = summary["promotions"].as_array().expect("promotions");
    assert_eq!(promotions.len(), 1, "{promotions:?}");
    let candidates = summary["candidates"].as_array().expect("candidates");
    assert_eq!(candidates.len(), 2, "{candidates:?}");
}

/// Every delivery has become one mail, and no mail stands without a delivery.
fn assert_mails(folder: &Path, summary: &Value) {
    let mails = summary["mails"].as_array().expect("mails");
    assert!(
        mails.iter().all(|mail| mail["state"] == "delivered"),
        "{mails:?}"
    );
    let written = std::fs::read_dir(folder.join("mails"))
        .expect("the mails' folder")
        .count();
    assert_eq!(written, mails.len());
}

/// Signs in, sees the fleet, opens the alert of May, approves the proposal to go back, sees the promotion.
async fn look_around(folder: &Path, address: &str) {
    let browser = Browser::start().await;
    let page = browser.client();
    page.goto(address).await.expect("opens the service");
    let credentials: Value = serde_json::from_str(
        &std::fs::read_to_string(folder.join("credentials.json")).expect("credentials"),
    )
    .expect("JSON");
    fill(&browser, "email", "admin@localhost").await;
    fill(
        &browser,
        "password",
        credentials["admin_password"].as_str().expect("a password"),
    )
    .await;
    click(&browser, "main form button").await;

    wait_for(&browser, "the fleet", "air-time").await;
    browser.prefer(ColourScheme::Light).await;
    browser.screenshot("fleet-light").await;
    browser.prefer(ColourScheme::Dark).await;
    browser.screenshot("fleet-dark").await;

    page.goto(&format!("{address}/models/air-time"))
        .await
        .expect("opens the model");
    wait_for(&browser, "the model", "v3").await;
    browser.screenshot("model-dark").await;
    browser.prefer(ColourScheme::Light).await;
    browser.screenshot("model-light").await;

    page.goto(&format!("{address}/alerts"))
        .await
        .expect("opens the alerts");
    let alert = page
        .find(Locator::XPath(
            "//a[contains(., 'half as large again') and contains(@href, '/alerts/')]",
        ))
        .await
        .expect("the critical alert of May");
    alert.click().await.expect("opens the alert");
    wait_for(&browser, "the alert", "v3 was promoted in place of v1").await;
    browser.screenshot("alert-light").await;

    let approve = open_proposal(&browser, address).await;
    page.goto(&approve).await.expect("opens the proposal");
    wait_for(&browser, "the proposal", "v1 has been better than v3").await;
    fill(
        &browser,
        "reason",
        "the winter winds are back, and v1 knows them",
    )
    .await;
    click(&browser, "button[name=decision][value=approve]").await;
    wait_for(&browser, "the end of the run", "every step is done").await;
    page.goto(&format!("{address}/models/air-time"))
        .await
        .expect("opens the model");
    wait_for(&browser, "the promotion", "v1 (champion)").await;
    browser.screenshot("rolled-back").await;
    browser.close().await;
}

/// The page of the run that waits for an answer.
async fn open_proposal(browser: &Browser, address: &str) -> String {
    let page = browser.client();
    page.goto(address).await.expect("opens the fleet");
    let link = page
        .find(Locator::XPath("//a[contains(@href, '/runs/')]"))
        .await
        .expect("the run that waits");
    let path = link
        .attr("href")
        .await
        .expect("reads the link")
        .expect("a link");
    format!("{address}{path}")
}

async fn fill(browser: &Browser, field: &str, value: &str) {
    let selector = format!("main form [name={field}]");
    let input = browser
        .client()
        .find(Locator::Css(&selector))
        .await
        .unwrap_or_else(|_| panic!("no field {field}"));
    input.send_keys(value).await.expect("types");
}

async fn click(browser: &Browser, selector: &str) {
    let button = browser
        .client()
        .find(Locator::Css(selector))
        .await
        .unwrap_or_else(|_| panic!("no {selector}"));
    button.click().await.expect("clicks");
}

/// Waits until the page's text holds `text`, for as long as a person would.
async fn wait_for(browser: &Browser, what: &str, text: &str) {
    let started = Instant::now();
    loop {
        let seen = browser.client().source().await.unwrap_or_default();
        if seen.contains(text) {
            return;
        }
        if started.elapsed() > Duration::from_secs(20) {
            let shot = browser.screenshot("missing").await;
            panic!("{what}: the page lacks {text:?}; see {}", shot.display());
        }
        tokio::task::yield_now().await;
    }
}

/// A folder for the demo, open enough for Postgres's own user to pass through, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let name = format!("bellwether-demo-test-{}", uuid::Uuid::new_v4().simple());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("makes the demo's folder");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left behind by a failed test is for people to look at.
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bellwether"));
    command
        .arg("demo")
        .arg("--data-dir")
        .arg(folder)
        .args(["--listen", "127.0.0.1:0"])
        // The demo starts a Postgres of its own, whatever the tests use.
        .env_remove("DATABASE_URL")
        .stdin(Stdio::null());
    command
}

/// The demo, running.
struct Running {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Running {
    fn start(folder: &Path) -> Self {
        let mut child = command(folder)
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts the demo");
        let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        Self { child, lines }
    }

    fn read_until(&mut self, wanted: impl Fn(&str) -> bool) -> Option<String> {
        self.lines
            .by_ref()
            .map_while(Result::ok)
            .find(|line| wanted(line))
    }

    fn address(&mut self) -> String {
        let line = self
            .read_until(|line| line.contains("http://"))
            .expect("the demo says where it is");
        line[line.find("http://").expect("an address")..]
            .trim()
            .to_owned()
    }

    fn kill(&mut self) {
        self.child.kill().expect("kills the service");
        self.child.wait().expect("the service is gone");
    }

    fn is_over(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|ended| ended.is_some())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.is_over() {
            return;
        }
        let asked = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status();
        if asked.is_ok_and(|status| status.success()) {
            let _ = self.child.wait();
        }
    }
}

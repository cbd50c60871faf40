//! A service that takes in what is plugged in, forgets, archives, gives back and erases, and dies at each of these. What
//! is due at the end is known by heart, because everything is sent again until it is acknowledged.

use std::collections::{BTreeMap, BTreeSet};

use bellwether::domain::clock::{Clock, SystemClock};
use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::archived::{self, Day};
use crate::checker::Violations;
use crate::client::{Client, JSON, NDJSON};
use crate::cluster::Cluster;
use crate::damage::{DAMAGES_OF_KEPT, Damage};
use crate::patience::wait_for;
use crate::recount::window_of;
use crate::service::{Service, Settings};
use crate::stored::{Kept, Stored};
use crate::world::{Folder, token};

/// The model all of it is about.
pub const RIDES: &str = "rides";
const CLOUD_EVENT: &str = "application/cloudevents+json";
/// Predictions of a day that will be forgotten; every other one has a label.
const ROWS: usize = 10;
/// Samples of such a day.
const SAMPLES: usize = 3;
/// How long ago the first day is that is forgotten: as long as samples are taken in.
const FIRST_DAY: i64 = 29;
/// How many steps lead to any point.
const MOST_STEPS: usize = 12;

/// The words that points of this world begin with.
pub const AREAS: [&str; 6] = [
    "inferences",
    "telemetry",
    "retention",
    "archive",
    "restore",
    "erasure",
];

/// What is sent until it is acknowledged.
#[derive(Debug, Clone)]
struct Sending {
    path: String,
    content_type: &'static str,
    body: String,
}

pub struct Keeping {
    cluster: Cluster,
    settings: Settings,
    client: Client,
    today: DateTime<Utc>,
    serial: usize,
    /// The next day to be forgotten, in days ago.
    next_day: i64,
    unheard: Vec<Sending>,
    /// What is due: the answers of predictions and the labels by id, by day.
    days: BTreeMap<DateTime<Utc>, Day>,
    restored: BTreeSet<DateTime<Utc>>,
    erased: BTreeSet<String>,
    /// The reasons that erasures were ordered for.
    orders: Vec<String>,
    kills: usize,
    // Declared last, so that it is removed when everything in it is closed.
    folder: Folder,
}

impl Keeping {
    pub async fn start() -> Self {
        let folder = Folder::new();
        let cluster = Cluster::start(folder.0.join("cluster")).await;
        let config = folder.0.join("bellwether.toml");
        let archive = folder.0.join("archive");
        let text = format!("[archive]\nfolder = {:?}\n", archive.display().to_string());
        std::fs::write(&config, text).expect("writes the settings");
        let mut keeping = Self {
            settings: Settings {
                database_url: cluster.url(),
                config,
                secret: String::new(),
            },
            cluster,
            client: Client::new(),
            today: window_of(SystemClock.now()),
            serial: 0,
            next_day: FIRST_DAY,
            unheard: Vec::new(),
            days: BTreeMap::new(),
            restored: BTreeSet::new(),
            erased: BTreeSet::new(),
            orders: Vec::new(),
            kills: 0,
            folder,
        };
        let service = Service::start(&keeping.settings, &[]).await;
        let mut stored = keeping.stored().await;
        keeping.client.token = token(&keeping.settings, &mut stored).await;
        keeping.keep(&service, 60).await.expect("declared");
        service.stop().await;
        keeping
    }

    async fn stored(&self) -> Stored {
        Stored::open(&self.settings.database_url).await
    }

    /// Declares the model, and for how long its raw rows are kept.
    async fn keep(&self, service: &Service, raw_days: i64) -> Option<()> {
        let text = format!(
            "project: {{name: default, auto_register: true, retention: {{raw_days: {raw_days}, archive: true}}}}\n\
             models:\n  - {{name: {RIDES}, task: regression, window: day}}\n"
        );
        let files = json!({"files": [{"path": "tests.yaml", "text": text}]});
        let url = format!("{}/api/v1/definitions", service.address);
        let answer = self.client.post(&url, JSON, files.to_string()).await;
        answer.map(drop)
    }

    fn number(&mut self) -> usize {
        self.serial += 1;
        self.serial
    }

    /// Sends what nobody has acknowledged yet, until something is not answered.
    async fn send(&mut self, service: &Service) -> Option<()> {
        while let Some(sending) = self.unheard.first().cloned() {
            let url = format!("{}{}", service.address, sending.path);
            let answer = self
                .client
                .post(&url, sending.content_type, sending.body)
                .await?;
            let refused = answer["rejected"].as_i64().unwrap_or(0);
            let is_whole = refused == 0 && answer.get("partialSuccess").is_none();
            assert!(is_whole, "{}: {answer}", sending.path);
            self.restored.extend(days_given_back(&answer));
            self.unheard.remove(0);
        }
        Some(())
    }

    fn put(&mut self, path: impl Into<String>, content_type: &'static str, body: String) {
        self.unheard.push(Sending {
            path: path.into(),
            content_type,
            body,
        });
    }

    /// Both halves of an inference, the answer first or last, one of them twice.
    fn infer(&mut self) {
        let number = self.number();
        let (id, at) = (format!("ride-{number}"), self.today - TimeDelta::hours(1));
        let answer = number as f64 + 0.5;
        let half = |kind: &str, data: Value| {
            let event = json!({
                "specversion": "1.0", "id": id, "type": format!("org.kubeflow.serving.inference.{kind}"),
                "source": "tests", "time": at, "inferenceservicename": RIDES, "data": data,
            });
            event.to_string()
        };
        let request = half("request", json!({"instances": [{"distance": number}]}));
        let response = half("response", json!({"predictions": [answer]}));
        let mut halves = vec![request, response];
        if number.is_multiple_of(2) {
            halves.reverse();
        }
        halves.push(halves[number % 2].clone());
        for half in halves {
            self.put("/api/v1/cloudevents?version=v1", CLOUD_EVENT, half);
        }
        let day = self.days.entry(window_of(at)).or_default();
        day.predictions.insert(id, answer);
    }

    /// Samples of a time.
    fn sample(&mut self, at: DateTime<Utc>, samples: usize) {
        let mut points = Vec::new();
        for _ in 0..samples {
            let number = self.number();
            let at = at + TimeDelta::milliseconds(i64::try_from(number).expect("few"));
            let value = number as f64 / 1024.0;
            let nanos = at.timestamp_nanos_opt().expect("near").to_string();
            points.push(json!({"timeUnixNano": nanos, "asDouble": value}));
            let day = self.days.entry(window_of(at)).or_default();
            day.samples.insert(at, value);
        }
        let service = json!([{"key": "service.name", "value": {"stringValue": RIDES}}]);
        let metric = json!({"name": "system.cpu.utilization", "gauge": {"dataPoints": points}});
        let body = json!({"resourceMetrics": [{
            "resource": {"attributes": service}, "scopeMetrics": [{"metrics": [metric]}],
        }]});
        self.put("/v1/metrics", JSON, body.to_string());
    }

    /// A day's rows, labels and samples.
    fn ride(&mut self, start: DateTime<Utc>) {
        let (mut rows, mut labels) = (Vec::new(), Vec::new());
        for row in 0..ROWS {
            let number = self.number();
            let (id, answer) = (format!("ride-{number}"), number as f64 + 0.25);
            let at = start + TimeDelta::minutes(i64::try_from(number).expect("few"));
            let text = json!({"prediction_id": id, "timestamp": at, "prediction": answer, "distance": number});
            rows.push(text.to_string());
            let day = self.days.entry(start).or_default();
            day.predictions.insert(id.clone(), answer);
            if row % 2 == 0 {
                let label = json!({"prediction_id": id, "label": answer + 1.0, "observed_at": at});
                labels.push(label.to_string());
                day.labels.insert(id, answer + 1.0);
            }
        }
        let of_model = format!("/api/v1/models/{RIDES}");
        self.put(
            format!("{of_model}/predictions?version=v1"),
            NDJSON,
            rows.join("\n"),
        );
        self.put(format!("{of_model}/labels"), NDJSON, labels.join("\n"));
        self.sample(start + TimeDelta::hours(20), SAMPLES);
    }

    /// Lets everything be counted and measured, then has one day more forgotten than before.
    async fn forget(&mut self, service: &Service) -> Option<()> {
        let start = self.today - TimeDelta::days(self.next_day);
        if !self.days.contains_key(&start) {
            self.ride(start);
        }
        self.send(service).await?;
        self.until_done(service).await?;
        self.keep(service, self.next_day - 1).await?;
        self.next_day -= 1;
        self.run_retention(service).await.map(drop)
    }

    async fn run_retention(&self, service: &Service) -> Option<Value> {
        let url = format!("{}/api/v1/retention/run", service.address);
        self.client.post(&url, JSON, "{}".to_owned()).await
    }

    /// Waits until everything is counted and measured, as long as the service lives.
    async fn until_done(&self, service: &Service) -> Option<()> {
        let mut stored = self.stored().await;
        wait_for("everything to be counted and measured", async || {
            let unfinished = stored.unfinished(SystemClock.now()).await;
            if unfinished.is_empty() {
                Ok(Some(()))
            } else if self.client.reaches(&service.address).await {
                Err(unfinished)
            } else {
                Ok(None)
            }
        })
        .await
    }

    /// The days whose rows are archived.
    fn forgotten(&self) -> Vec<DateTime<Utc>> {
        let kept_from = self.today - TimeDelta::days(self.next_day);
        self.days
            .range(..kept_from)
            .map(|(start, _)| *start)
            .collect()
    }

    /// Gives the newest forgotten day back that was not given back yet. Of one whose rows have not gone there is nothing to
    /// give back, and the answer says so.
    fn restore(&mut self) {
        let forgotten = self.forgotten().into_iter().rev();
        let mut days = forgotten.filter(|start| !self.restored.contains(start));
        let day = days.next().expect("days are forgotten");
        let date = day.date_naive();
        let body = json!({"from": date, "to": date, "keep_days": 300});
        let path = format!("/api/v1/models/{RIDES}/archive/restore");
        self.put(path, JSON, body.to_string());
    }

    /// Erases one prediction of each of two archived days, and one that is in the database.
    fn erase(&mut self) {
        let mut ids = Vec::new();
        let forgotten = self.forgotten();
        let mut last = forgotten
            .iter()
            .rev()
            .take(2)
            .chain(forgotten.first())
            .collect::<Vec<_>>();
        let yesterday = self.today - TimeDelta::days(1);
        last.push(&yesterday);
        for start in last {
            let of_day = self
                .days
                .get(start)
                .into_iter()
                .flat_map(|day| day.predictions.keys());
            let mut left = of_day.filter(|id| !self.erased.contains(*id) && !ids.contains(*id));
            ids.extend(left.next().cloned());
        }
        let reason = format!("order {}", self.orders.len() + 1);
        let body = json!({"prediction_ids": ids, "reason": reason});
        self.erased.extend(ids);
        self.orders.push(reason);
        let path = format!("/api/v1/models/{RIDES}/erasures");
        self.put(path, JSON, body.to_string());
    }

    /// What has to happen for points of an area.
    async fn step(&mut self, service: &Service, area: &str) -> Option<()> {
        if !self.unheard.is_empty() {
            return self.send(service).await;
        }
        match area {
            "inferences" => self.infer(),
            "telemetry" => self.sample(self.today, 1),
            "restore" => {
                // A day of which a policy says that it goes may still be there.
                self.run_retention(service).await?;
                self.restore();
            }
            "erasure" => self.erase(),
            _ => return self.forget(service).await,
        }
        self.send(service).await
    }

    /// Lets the service die at a point, as soon as it gets there.
    pub async fn kill_at(&mut self, point: &str) {
        let area = point.split('.').next().unwrap_or_default();
        let armed = [("BELLWETHER_CRASH_AT", point.to_owned())];
        let mut service = Service::start(&self.settings, &armed).await;
        // It may get there by itself: what was cut off goes on.
        let mut is_dead = service.address.is_empty();
        for _ in 0..MOST_STEPS {
            if is_dead {
                break;
            }
            let _ = self.step(&service, area).await;
            let pause = std::time::Duration::from_millis(300);
            is_dead = service.dies_within(pause).await;
        }
        assert!(is_dead, "{point} was not reached:\n{}", service.log());
        service.assert_died_at(point).await;
        self.kills += 1;
    }

    /// Lets the service finish, asks for everything once more, and checks what is stored and archived.
    pub async fn check(&mut self) -> Violations {
        // Halves, samples and a day that nothing happens to.
        self.infer();
        let yesterday = self.today - TimeDelta::days(1);
        self.ride(yesterday);
        // As by a power cut: what was acknowledged is on the disk.
        let stopped = self.cluster.stop_immediately_at(SystemClock.now());
        stopped.await.expect("Postgres is stopped");
        self.cluster.run().await;
        let service = Service::start(&self.settings, &[]).await;
        wait_for("the last acknowledgement", async || {
            match self.send(&service).await {
                Some(()) => Ok(()),
                None => Err(format!("{} unheard", self.unheard.len())),
            }
        })
        .await;
        self.until_done(&service)
            .await
            .expect("the service is well");
        // A policy may be in force whose answer was never heard; with another one, it is known which.
        wait_for("one more day to be forgotten", async || {
            match self.forget(&service).await {
                Some(()) => Ok(()),
                None => Err("not answered".to_owned()),
            }
        })
        .await;
        wait_for("the end of forgetting", async || {
            let ran = self.run_retention(&service).await.unwrap_or_default();
            match ran["plan"]["steps"].as_array().map(Vec::len) {
                Some(0) => Ok(()),
                _ => Err(ran.to_string()),
            }
        })
        .await;
        let archive = self.folder.0.join("archive");
        let before = archived::listing(&archive);
        self.run_retention(&service)
            .await
            .expect("the service is well");
        let after = archived::listing(&archive);
        service.stop().await;
        let mut violations = Violations::default();
        if before != after {
            violations.add(
                "archiving again changes nothing",
                vec![format!("{before:?} {after:?}")],
            );
        }
        let kept = self.stored().await.kept().await;
        self.compare(&kept, &archived::read(&archive, RIDES), &mut violations);
        violations
    }

    /// Holds what is stored and archived against what is due.
    fn compare(&self, kept: &Kept, archive: &BTreeMap<DateTime<Utc>, Day>, found: &mut Violations) {
        let forgotten: BTreeSet<DateTime<Utc>> = self.forgotten().into_iter().collect();
        let nothing = Day::default();
        let mut restored = (0, 0);
        for (start, day) in &self.days {
            let due = day.without(&self.erased);
            let (is_gone, is_back) = (forgotten.contains(start), self.restored.contains(start));
            let in_archive = archive.get(start).unwrap_or(&nothing);
            let due_there = if is_gone { &due } else { &nothing };
            found.add(
                "the archive is whole",
                due_there.differences(in_archive, start),
            );
            let in_tables = kept.days.get(start).unwrap_or(&nothing);
            let due_here = if is_gone && !is_back { &nothing } else { &due };
            found.add(
                "the tables are whole",
                due_here.differences(in_tables, start),
            );
            if is_gone && is_back {
                restored.0 += day.predictions.len();
                restored.1 += day.labels.len();
            }
        }
        let unknown = |days: &BTreeMap<DateTime<Utc>, Day>| -> Vec<String> {
            let unknown = days.keys().filter(|start| !self.days.contains_key(start));
            unknown
                .map(|start| format!("{start} has rows nobody sent"))
                .collect()
        };
        found.add("the tables are whole", unknown(&kept.days));
        found.add("the archive is whole", unknown(archive));
        found.add("rows are stored once", kept.twice.clone());
        found.add("halves are joined", kept.waiting_halves.clone());
        let unlawful = kept.unlawful_counts.clone();
        found.add("rows are conserved", unlawful);
        // Rows that were erased before they came back did not come back.
        let back = (kept.restored_predictions, kept.restored_labels);
        if back.0 > restored.0 || back.1 > restored.1 || (back.0 == 0) != (restored.0 == 0) {
            found.add(
                "restored rows count as restored",
                vec![format!("{back:?} of {restored:?}")],
            );
        }
        for order in &self.orders {
            let audited = |action: &str| {
                let key = (action.to_owned(), order.clone());
                kept.audited.get(&key).copied().unwrap_or(0)
            };
            let times = (audited("predictions.erased"), audited("archive.erased"));
            if times != (1, 1) {
                found.add(
                    "an erasure is audited once",
                    vec![format!("{order}: {times:?}")],
                );
            }
        }
    }

    /// Fails when something that is to survive kills has not happened at all.
    pub fn assert_busy(&self) {
        let happened = [
            self.forgotten().len(),
            self.restored.len(),
            self.erased.len(),
            self.kills,
        ];
        assert!(happened.iter().all(|times| *times > 0), "{happened:?}");
    }

    /// What the checker finds when rows are lost, doubled or changed.
    pub async fn check_damaged(&self) -> Vec<(&'static str, Violations)> {
        let mut found = Vec::new();
        let archive = archived::read(&self.folder.0.join("archive"), RIDES);
        for Damage { sql, rule } in DAMAGES_OF_KEPT {
            let mut stored = self.stored().await;
            stored.damage(sql).await;
            let mut violations = Violations::default();
            self.compare(&stored.kept().await, &archive, &mut violations);
            found.push((*rule, violations));
        }
        let kept = self.stored().await.kept().await;
        let mut lost = archive.clone();
        let day = lost.values_mut().next().expect("an archived day");
        day.predictions.pop_first();
        let mut violations = Violations::default();
        self.compare(&kept, &lost, &mut violations);
        found.push(("the archive is whole", violations));
        found
    }
}

/// The days that the answer to a restoration names; none of other answers.
fn days_given_back(answer: &Value) -> Vec<DateTime<Utc>> {
    let dates = answer["days"].as_array().into_iter().flatten();
    let day = |date: &Value| {
        let date = date
            .as_str()
            .and_then(|text| text.parse::<NaiveDate>().ok());
        date.expect("a date").and_time(NaiveTime::MIN).and_utc()
    };
    dates.map(day).collect()
}

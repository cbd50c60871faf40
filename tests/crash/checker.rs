//! Whether what is stored is what was sent: each rule gives the violations it finds, and none when all is well.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use bellwether::stats::profile::FeatureProfile;
use chrono::{DateTime, Utc};

use crate::ledger::{Batch, Kind, Label, Ledger};
use crate::outside::Heard;
use crate::recount::{self, Count, window_of};
use crate::stored::{Stored, StoredAlert, StoredDelivery, StoredModel, StoredRun};

/// How many violations of one rule are told; the first say enough.
const TOLD: usize = 5;
/// Sums of the same numbers in another order differ in the last digits.
const ROUNDING: f64 = 1e-9;

/// What the checker found.
#[derive(Debug, Default)]
pub struct Violations(pub Vec<String>);

impl Violations {
    pub fn add(&mut self, rule: &str, found: Vec<String>) {
        let more = found.len().saturating_sub(TOLD);
        let told = found.into_iter().take(TOLD);
        self.0.extend(told.map(|text| format!("{rule}: {text}")));
        if more > 0 {
            self.0.push(format!("{rule}: and {more} more"));
        }
    }

    /// Whether a rule was violated.
    pub fn are_of(&self, rule: &str) -> bool {
        self.0.iter().any(|text| text.starts_with(rule))
    }

    #[track_caller]
    pub fn assert_none(&self) {
        assert!(self.0.is_empty(), "\n{}\n", self.0.join("\n"));
    }
}

pub const ACKNOWLEDGED_IS_STORED: &str = "acknowledged is stored";
pub const IDS_ARE_UNIQUE: &str = "ids are unique";
pub const COUNTS_EQUAL_A_RECOUNT: &str = "counts equal a recount";
pub const ROWS_ARE_CONSERVED: &str = "rows are conserved";
pub const ALERTS_ARE_TOLD: &str = "alerts are told";
pub const LABELS_ARE_JOINED: &str = "labels are joined";
pub const PIPELINES_RUN_ONCE: &str = "pipelines run once";

/// What came out of the service.
pub struct Outside<'a> {
    pub heard: &'a Heard,
    /// How many mails were written.
    pub mails: usize,
    pub receivers: &'a [&'a str],
}

/// Checks everything.
pub async fn check(
    stored: &mut Stored,
    ledger: &Ledger,
    outside: &Outside<'_>,
    now: DateTime<Utc>,
) -> Violations {
    let mut violations = Violations::default();
    for name in ledger.models() {
        let model = stored.model(name).await;
        violations.add(
            ACKNOWLEDGED_IS_STORED,
            predictions_kept(name, &model, ledger),
        );
        violations.add(ACKNOWLEDGED_IS_STORED, labels_kept(name, &model, ledger));
        violations.add(IDS_ARE_UNIQUE, unique(name, &model));
        violations.add(COUNTS_EQUAL_A_RECOUNT, profiles_recounted(name, &model));
        violations.add(COUNTS_EQUAL_A_RECOUNT, windows_recounted(name, &model));
        violations.add(LABELS_ARE_JOINED, labels_joined(name, &model));
        violations.add(LABELS_ARE_JOINED, errors_recounted(name, &model, now));
        for kind in Kind::BOTH {
            violations.add(ROWS_ARE_CONSERVED, conserved(name, &model, kind, ledger));
            violations.add(
                ROWS_ARE_CONSERVED,
                batches_known(name, &model, kind, ledger),
            );
        }
    }
    let (alerts, deliveries) = (stored.alerts().await, stored.deliveries().await);
    let told = alerts_told(&alerts, &deliveries, outside.receivers);
    violations.add(ALERTS_ARE_TOLD, told);
    violations.add(ALERTS_ARE_TOLD, deliveries_legal(&deliveries, outside));
    let runs = stored.pipeline_runs().await;
    violations.add(PIPELINES_RUN_ONCE, pipelines_once(&runs, outside.heard));
    violations
}

fn predictions_kept(name: &str, model: &StoredModel, ledger: &Ledger) -> Vec<String> {
    let mut found = Vec::new();
    let promises = ledger.predictions(name);
    let mut stored: BTreeMap<(String, String), _> = BTreeMap::new();
    for row in &model.predictions {
        let key = (row.version.clone(), row.id.clone());
        match promises.get(&key) {
            None => found.push(format!("{name} {key:?} was never sent")),
            Some(promise) if !promise.possible.contains(&row.content) => found.push(format!(
                "{name} {key:?} is {:?}, sent was {:?}",
                row.content, promise.possible
            )),
            Some(_) => {}
        }
        stored.insert(key, ());
    }
    let missing = promises
        .iter()
        .filter(|(key, promise)| promise.is_due && !stored.contains_key(*key));
    found.extend(missing.map(|(key, _)| format!("{name} {key:?} is missing")));
    found
}

fn labels_kept(name: &str, model: &StoredModel, ledger: &Ledger) -> Vec<String> {
    let mut found = Vec::new();
    let sent = ledger.labels(name);
    let mut stored: BTreeMap<&str, Vec<(&Label, bool)>> = BTreeMap::new();
    for label in &model.labels {
        let known = stored.entry(&label.id).or_default();
        known.push((&label.content, label.is_in_force));
    }
    for (id, labels) in &stored {
        let of_id = sent.get(*id).map_or(&[][..], Vec::as_slice);
        for (place, (label, is_in_force)) in labels.iter().enumerate() {
            if !of_id.iter().any(|(sent, _)| sent == *label) {
                found.push(format!("{name} label {label:?} of {id} was never sent"));
            }
            if labels[..place].iter().any(|(other, _)| other == label) {
                found.push(format!("{name} label {label:?} of {id} is kept twice"));
            }
            let newest = labels.iter().map(|(label, _)| label.observed_at).max();
            if *is_in_force != (Some(label.observed_at) == newest) {
                found.push(format!(
                    "{name} not the newest label of {id} is in force: {labels:?}"
                ));
            }
        }
    }
    for (id, labels) in &sent {
        let kept = stored.get(id.as_str()).map_or(&[][..], Vec::as_slice);
        for (label, _) in labels.iter().filter(|(_, is_due)| *is_due) {
            if !kept.iter().any(|(kept, _)| *kept == label) {
                found.push(format!("{name} label {label:?} of {id} is missing"));
            }
        }
    }
    found
}

fn unique(name: &str, model: &StoredModel) -> Vec<String> {
    let mut found = Vec::new();
    let mut times: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for row in &model.predictions {
        *times.entry((&row.version, &row.id)).or_default() += 1;
    }
    for (key, times) in times.iter().filter(|(_, times)| **times > 1) {
        found.push(format!("{name} {key:?} is stored {times} times"));
    }
    let keys: BTreeSet<(&str, &str)> = model
        .keys
        .iter()
        .map(|(version, id)| (version.as_str(), id.as_str()))
        .collect();
    let without_key = times.keys().filter(|key| !keys.contains(*key));
    found.extend(without_key.map(|key| format!("{name} {key:?} has no key")));
    let without_row = keys.iter().filter(|key| !times.contains_key(*key));
    found.extend(without_row.map(|key| format!("{name} {key:?} has a key and no row")));
    found
}

fn profiles_recounted(name: &str, model: &StoredModel) -> Vec<String> {
    let mut found = Vec::new();
    let mut counted = recount::profiles(model);
    for (place, rows, bytes) in &model.profiles {
        let expected = counted.remove(place).unwrap_or_default();
        match FeatureProfile::decode(bytes) {
            Ok(profile) => {
                let got = count_of(&profile, expected.cells.is_some());
                let column = u64::try_from(*rows).unwrap_or_default();
                if got != expected || column != expected.rows {
                    found.push(format!("{name} {place:?} is {got:?}, counted {expected:?}"));
                }
            }
            Err(error) => found.push(format!("{name} {place:?} cannot be read: {error}")),
        }
    }
    found.extend(
        counted
            .keys()
            .map(|place| format!("{name} {place:?} is missing")),
    );
    found
}

fn count_of(profile: &FeatureProfile, with_cells: bool) -> Count {
    let counts = profile.counts();
    Count {
        rows: counts.rows,
        absent: counts.absent,
        nulls: counts.nulls,
        mismatched: counts.mismatched,
        out_of_range: counts.out_of_range,
        unseen: counts.unseen,
        valid: profile.valid(),
        cells: profile.cells().filter(|_| with_cells).map(<[u64]>::to_vec),
        categories: profile
            .categories()
            .map(|(category, count)| (category.to_owned(), count))
            .collect(),
    }
}

fn windows_recounted(name: &str, model: &StoredModel) -> Vec<String> {
    different(name, "window", &model.windows, &recount::windows(model))
}

/// Every prediction without an error whose label is known has one outcome, with the label in force.
fn labels_joined(name: &str, model: &StoredModel) -> Vec<String> {
    let in_force: BTreeMap<&str, &Label> = model
        .labels
        .iter()
        .filter(|label| label.is_in_force)
        .map(|label| (label.id.as_str(), &label.content))
        .collect();
    let mut expected = BTreeMap::new();
    for row in model
        .predictions
        .iter()
        .filter(|row| row.content.error.is_none())
    {
        if let Some(label) = in_force.get(row.id.as_str()) {
            let predicted = (row.content.value, row.content.score);
            let key = (row.version.as_str(), row.id.as_str());
            expected.insert(key, (row.content.predicted_at, predicted, *label));
        }
    }
    let mut found = Vec::new();
    let mut got = BTreeMap::new();
    for outcome in &model.outcomes {
        let key = (outcome.version.as_str(), outcome.id.as_str());
        let content = (outcome.predicted_at, outcome.predicted, &outcome.label);
        if got.insert(key, content).is_some() {
            found.push(format!("{name} outcome {key:?} is there twice"));
        }
    }
    found.extend(different(name, "outcome", &got, &expected));
    found
}

/// The mean absolute errors in force are those of the outcomes, in every window that is over.
fn errors_recounted(name: &str, model: &StoredModel, now: DateTime<Utc>) -> Vec<String> {
    let counted = recount::errors(model);
    let mut found = Vec::new();
    if model.errors.is_empty() {
        return found;
    }
    let over = counted
        .iter()
        .filter(|((_, start), _)| *start < window_of(now));
    for (place, (error, labels)) in over {
        let agrees = match model.errors.get(place) {
            Some((Some(measured), of_labels)) => {
                (measured - error).abs() < ROUNDING && of_labels == labels
            }
            _ => false,
        };
        if !agrees {
            let measured = model.errors.get(place);
            found.push(format!(
                "{name} error of {place:?} is {measured:?}, counted {error} of {labels}"
            ));
        }
    }
    found
}

/// `received = accepted + duplicate + conflicting + rejected`, and accepted is what is stored.
fn conserved(name: &str, model: &StoredModel, kind: Kind, ledger: &Ledger) -> Vec<String> {
    let mut found = Vec::new();
    let count = |outcome| model.count(kind, outcome);
    let parts = ["accepted", "duplicate", "conflicting", "rejected"].map(count);
    if count("received") != parts.iter().sum::<i64>() {
        let word = kind.as_str();
        found.push(format!(
            "{name} {word}: received {} is not {parts:?}",
            count("received")
        ));
    }
    let rows = match kind {
        Kind::Predictions => model.predictions.len(),
        Kind::Labels => model.labels.len(),
    };
    if i64::try_from(rows) != Ok(count("accepted")) {
        let accepted = count("accepted");
        found.push(format!(
            "{name} {}: accepted {accepted}, stored {rows}",
            kind.as_str()
        ));
    }
    let (heard, _) = ledger.receipts(name, kind);
    let mut reasons: BTreeMap<String, i64> = BTreeMap::new();
    for batch in heard.values().flatten() {
        for (reason, rows) in batch.rejected() {
            *reasons.entry(reason).or_default() += rows;
        }
    }
    for (reason, rows) in reasons {
        let key = (kind.as_str().to_owned(), "rejected".to_owned(), reason);
        let counted = model.counts.get(&key).copied().unwrap_or_default();
        if counted < rows {
            found.push(format!(
                "{name} {key:?}: {counted}, acknowledged were {rows}"
            ));
        }
    }
    found
}

/// Every landed batch was sent, every acknowledged one has landed and is settled, and what the counts say
/// beyond the acknowledged batches is made of whole batches nobody heard about. Requests of one row each may share a batch,
/// and some of them may have heard of it and others not.
fn batches_known(name: &str, model: &StoredModel, kind: Kind, ledger: &Ledger) -> Vec<String> {
    const SINGLE: (i64, i64) = (1, 0);
    let mut found = Vec::new();
    let size = |batch: &Batch| (batch.received(), batch.rejected().values().sum::<i64>());
    let (mut heard, unheard) = ledger.receipts(name, kind);
    let mut unheard: Vec<(i64, i64)> = unheard.into_iter().map(size).collect();
    let mut sums = [0_i64; 4];
    for landed in model.batches.iter().filter(|b| b.kind == kind.as_str()) {
        let id = landed.batch_id;
        let got = (landed.received, landed.rejected);
        let of_it = heard.remove(&id).unwrap_or_default();
        let told = (of_it.into_iter().map(size)).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
        if let (true, Some(place)) = (told == (0, 0), unheard.iter().position(|sent| *sent == got))
        {
            unheard.swap_remove(place);
        } else if got != told {
            let more = got.0 - told.0;
            let singles: Vec<usize> = (0..unheard.len())
                .filter(|place| unheard[*place] == SINGLE)
                .take(usize::try_from(more).unwrap_or_default())
                .collect();
            if got.1 == told.1 && i64::try_from(singles.len()) == Ok(more) {
                for place in singles.into_iter().rev() {
                    unheard.swap_remove(place);
                }
            } else {
                found.push(format!(
                    "{name} batch {id} has {got:?}, acknowledged were {told:?}, and nothing that was sent makes up for it"
                ));
            }
        }
        if landed.state != "settled" || landed.attempts > 0 {
            found.push(format!(
                "{name} batch {id} is {}: {:?}",
                landed.state, landed.cause
            ));
        }
        sums[0] += landed.received;
        for (sum, rows) in sums[1..].iter_mut().zip(landed.settled) {
            *sum += rows.unwrap_or_default();
        }
    }
    let missing = heard.keys();
    found
        .extend(missing.map(|id| format!("{name} batch {id} was acknowledged and has not landed")));
    let counts = ["received", "accepted", "duplicate", "conflicting"];
    let counts = counts.map(|outcome| model.count(kind, outcome));
    if sums != counts {
        found.push(format!(
            "{name} {}: batches sum to {sums:?}, counts are {counts:?}",
            kind.as_str()
        ));
    }
    found
}

/// Each alert opens once, its events are numbered without gaps, and each receiver is told of its opening and
/// its end.
fn alerts_told(
    alerts: &[StoredAlert],
    deliveries: &[StoredDelivery],
    receivers: &[&str],
) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: BTreeSet<&str> = BTreeSet::new();
    for alert in alerts {
        let id = alert.alert_id;
        if alert.is_open && !open.insert(&alert.rule) {
            found.push(format!("rule {} has two open alerts", alert.rule));
        }
        let kinds: Vec<&str> = alert.events.iter().map(|(_, kind)| kind.as_str()).collect();
        let numbered = (1..)
            .zip(&alert.events)
            .all(|(i, (sequence, _))| *sequence == i);
        let times = |wanted| kinds.iter().filter(|kind| **kind == wanted).count();
        let resolved = kinds.iter().position(|kind| *kind == "resolved");
        let seen_after = resolved.is_some_and(|at| kinds[at..].contains(&"seen"));
        let is_legal = kinds.first() == Some(&"opened") && times("opened") == 1;
        if !numbered || !is_legal || times("resolved") > 1 || seen_after {
            found.push(format!("alert {id} went {:?}", alert.events));
        }
        for (kind, reason) in [("opened", "alert_opened"), ("resolved", "alert_resolved")] {
            for receiver in receivers {
                let told = deliveries.iter().filter(|d| {
                    d.alert_id == Some(id) && d.receiver == *receiver && d.reason == reason
                });
                if told.count() != times(kind) {
                    found.push(format!(
                        "alert {id}: {receiver} is not told once that it {kind}"
                    ));
                }
            }
        }
    }
    found
}

/// Every message has arrived, its attempts are numbered without gaps and end with the delivery, and what
/// arrived was meant to, in order.
fn deliveries_legal(deliveries: &[StoredDelivery], outside: &Outside<'_>) -> Vec<String> {
    let mut found = Vec::new();
    let heard = outside.heard;
    let mailed = deliveries.iter().filter(|d| d.channel == "email").count();
    if mailed != outside.mails {
        found.push(format!("{} mails of {mailed} deliveries", outside.mails));
    }
    let arrived = heard.keys();
    for delivery in deliveries {
        let id = delivery.delivery_id.to_string();
        let attempts = &delivery.outcomes;
        let numbered = (1..).zip(attempts).all(|(i, (attempt, _))| *attempt == i);
        let delivered = attempts
            .iter()
            .filter(|(_, outcome)| outcome == "delivered");
        let ended_well = attempts
            .last()
            .is_some_and(|(_, outcome)| outcome == "delivered");
        let complete = i32::try_from(attempts.len()) == Ok(delivery.attempts);
        if delivery.state != "delivered"
            || !numbered
            || !complete
            || !ended_well
            || delivered.count() != 1
        {
            found.push(format!("{delivery:?}"));
        }
        if delivery.channel == "webhook" && !arrived.contains(id.as_str()) {
            found.push(format!("delivery {id} has not arrived"));
        }
    }
    let meant: BTreeSet<String> = deliveries
        .iter()
        .map(|d| d.delivery_id.to_string())
        .collect();
    let strange = arrived.iter().filter(|key| !meant.contains(**key));
    found.extend(strange.map(|key| format!("message {key} arrived and is no delivery")));
    let mut newest: BTreeMap<&str, i64> = BTreeMap::new();
    for message in &heard.messages {
        let before = newest.insert(&message.thread, message.sequence);
        if before.is_some_and(|before| before > message.sequence) {
            found.push(format!("{message:?} arrived after a later one"));
        }
    }
    found
}

/// Every run that was asked for is known, has its own key, and brought one candidate.
fn pipelines_once(runs: &[StoredRun], heard: &Heard) -> Vec<String> {
    let mut found = Vec::new();
    let known: BTreeSet<&str> = runs.iter().map(|run| run.run_key.as_str()).collect();
    let strange = heard
        .runs
        .keys()
        .filter(|key| !known.contains(key.as_str()));
    found.extend(strange.map(|key| format!("run {key} was asked for and is not known")));
    for run in runs {
        let was_asked = heard.runs.contains_key(&run.run_key);
        if run.state != "succeeded" || !was_asked || run.candidates != 1 {
            found.push(format!("{run:?}, asked for: {was_asked}"));
        }
    }
    found
}

fn different<K: Ord + Debug, V: PartialEq + Debug>(
    name: &str,
    what: &str,
    got: &BTreeMap<K, V>,
    expected: &BTreeMap<K, V>,
) -> Vec<String> {
    let keys: BTreeSet<&K> = got.keys().chain(expected.keys()).collect();
    let different = keys
        .into_iter()
        .filter(|key| got.get(*key) != expected.get(*key));
    let told = different.map(|key| {
        let (got, expected) = (got.get(key), expected.get(key));
        format!("{name} {what} {key:?} is {got:?}, counted {expected:?}")
    });
    told.collect()
}

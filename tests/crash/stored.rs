//! What is stored, read without the service's help. This is the only file here that knows tables.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::archived::Day;
use crate::ledger::{Feature, Kind, Label, Prediction};
use crate::recount::window_of;

/// A version's name and an instant.
pub type VersionAt = (String, DateTime<Utc>);

/// A stored prediction with its identity.
#[derive(Debug, Clone)]
pub struct StoredPrediction {
    pub version: String,
    pub id: String,
    pub content: Prediction,
}

/// A label, and whether it is the one in force.
#[derive(Debug, Clone)]
pub struct StoredLabel {
    pub id: String,
    pub content: Label,
    pub is_in_force: bool,
}

/// Where a row is: version, day, chunk, position.
type Place = (Uuid, DateTime<Utc>, i32, i32);

/// A prediction together with its label.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub version: String,
    pub id: String,
    pub predicted_at: DateTime<Utc>,
    pub predicted: (Option<f64>, Option<f64>),
    pub label: Label,
}

/// Which profile: version, window, segment name and value, feature.
pub type ProfilePlace = (String, DateTime<Utc>, String, String, String);

/// What a model's schema expects of a feature.
#[derive(Debug, Clone)]
pub struct Expectation {
    pub feature_type: String,
    pub minimum: Option<f64>,
    pub maximum: Option<f64>,
    pub categories: Option<BTreeSet<String>>,
}

/// A landed batch.
#[derive(Debug, Clone)]
pub struct LandedBatch {
    pub batch_id: Uuid,
    pub kind: String,
    pub state: String,
    pub received: i64,
    pub rejected: i64,
    /// Accepted, duplicate, conflicting.
    pub settled: [Option<i64>; 3],
    /// How often settling it failed; a crash is no failure of the batch.
    pub attempts: i32,
    pub cause: Option<String>,
}

/// What a base window says it has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WindowCounts {
    pub predictions: i64,
    pub errors: i64,
    pub labels: i64,
}

/// Everything of one model.
#[derive(Debug, Clone)]
pub struct StoredModel {
    pub segments: Vec<String>,
    pub predictions: Vec<StoredPrediction>,
    /// Version and id of every key.
    pub keys: Vec<(String, String)>,
    pub labels: Vec<StoredLabel>,
    pub outcomes: Vec<Outcome>,
    pub profiles: Vec<(ProfilePlace, i64, Vec<u8>)>,
    pub windows: BTreeMap<VersionAt, WindowCounts>,
    pub schema: BTreeMap<String, Expectation>,
    /// Edges of the cells in force, of numeric features.
    pub cells: BTreeMap<String, Vec<f64>>,
    pub batches: Vec<LandedBatch>,
    /// Rows by outcome and reason.
    pub counts: BTreeMap<(String, String, String), i64>,
    /// Daily mean absolute errors in force over all segments, with the number of labels.
    pub errors: BTreeMap<VersionAt, (Option<f64>, i64)>,
}

/// An alert's events in their order.
#[derive(Debug, Clone)]
pub struct StoredAlert {
    pub alert_id: Uuid,
    pub rule: String,
    pub is_open: bool,
    pub events: Vec<(i32, String)>,
}

/// A message in the outbox, with its attempts.
#[derive(Debug, Clone)]
pub struct StoredDelivery {
    pub delivery_id: Uuid,
    pub alert_id: Option<Uuid>,
    pub receiver: String,
    pub channel: String,
    pub reason: String,
    pub state: String,
    pub attempts: i32,
    pub outcomes: Vec<(i32, String)>,
}

/// A run of a pipeline.
#[derive(Debug, Clone)]
pub struct StoredRun {
    pub run_key: String,
    pub state: String,
    pub candidates: i64,
}

/// What is kept of a model that is plugged in.
#[derive(Debug, Default)]
pub struct Kept {
    pub days: BTreeMap<DateTime<Utc>, Day>,
    /// Rows that are there more than once.
    pub twice: Vec<String>,
    /// Halves of inferences that still wait for the other one.
    pub waiting_halves: Vec<String>,
    /// Kinds whose rows are not conserved.
    pub unlawful_counts: Vec<String>,
    pub restored_predictions: usize,
    pub restored_labels: usize,
    /// How often each action was audited, for each reason.
    pub audited: BTreeMap<(String, String), i64>,
}

/// The database, for a look at it.
pub struct Stored {
    conn: PgConnection,
}

impl Stored {
    pub async fn open(url: &str) -> Self {
        let conn = PgConnection::connect(url).await.expect("the database");
        Self { conn }
    }

    /// The one project there is.
    pub async fn project(&mut self) -> Uuid {
        sqlx::query_scalar("SELECT project_id FROM projects")
            .fetch_one(&mut self.conn)
            .await
            .expect("the project")
    }

    /// Lets the time pass that a dead process's leases and pauses take: they are over at once.
    pub async fn expire_leases(&mut self) {
        let long_ago = "'epoch'::timestamptz";
        for (table, is_open) in [
            ("deliveries", "state = 'waiting'"),
            ("pipeline_runs", "finished_at IS NULL"),
        ] {
            let sql = format!(
                "UPDATE {table} SET lease_expires_at = CASE WHEN lease_expires_at IS NOT NULL THEN {long_ago} END,
                                    not_before = {long_ago} WHERE {is_open}"
            );
            sqlx::query(sqlx::AssertSqlSafe(sql))
                .execute(&mut self.conn)
                .await
                .expect("leases are over");
        }
    }

    /// Does damage that is gone with this connection.
    pub async fn damage(&mut self, sql: &'static str) {
        for sql in ["BEGIN", sql] {
            let done = sqlx::raw_sql(sql).execute(&mut self.conn).await;
            let done = done.unwrap_or_else(|error| panic!("{sql}: {error}"));
            let changes = sql == "BEGIN" || done.rows_affected() > 0;
            assert!(changes, "{sql} changes nothing");
        }
    }

    async fn found<R>(&mut self, sql: &'static str) -> Vec<R>
    where
        R: Send + Unpin + for<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow>,
    {
        let found = sqlx::query_as(sql).fetch_all(&mut self.conn).await;
        found.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// What is kept of the one model there is.
    pub async fn kept(&mut self) -> Kept {
        let mut kept = Kept::default();
        let predictions: Vec<(String, DateTime<Utc>, f64)> = self
            .found("SELECT prediction_id, predicted_at, value FROM predictions")
            .await;
        let days_of: BTreeMap<String, DateTime<Utc>> = (predictions.iter())
            .map(|(id, at, _)| (id.clone(), window_of(*at)))
            .collect();
        for (id, at, value) in predictions {
            let day = kept.days.entry(window_of(at)).or_default();
            if day.predictions.insert(id.clone(), value).is_some() {
                kept.twice.push(id);
            }
        }
        // A label without its prediction is of a day that is gone, and goes with the labels of its time.
        let labels: Vec<(String, f64)> =
            self.found("SELECT prediction_id, value FROM labels").await;
        for (id, value) in labels {
            if let Some(start) = days_of.get(&id) {
                let day = kept.days.entry(*start).or_default();
                day.labels.insert(id, value);
            }
        }
        let samples: Vec<(DateTime<Utc>, f64)> = self
            .found("SELECT sampled_at, value FROM telemetry_samples")
            .await;
        for (at, value) in samples {
            let day = kept.days.entry(window_of(at)).or_default();
            if day.samples.insert(at, value).is_some() {
                kept.twice.push(format!("the sample of {at}"));
            }
        }
        let outcomes: Vec<(String,)> = self
            .found("SELECT prediction_id FROM outcomes GROUP BY prediction_id HAVING COUNT(*) > 1")
            .await;
        kept.twice.extend(
            outcomes
                .into_iter()
                .map(|(id,)| format!("the outcome of {id}")),
        );
        let halves: Vec<(String, String)> = self
            .found("SELECT pair, half FROM inference_halves WHERE body IS NOT NULL")
            .await;
        kept.waiting_halves = halves
            .into_iter()
            .map(|(pair, half)| format!("{pair} {half}"))
            .collect();
        let unlawful: Vec<(String, i64, i64)> = self
            .found(
                "SELECT kind, SUM(rows) FILTER (WHERE outcome = 'received')::bigint,
                        SUM(rows) FILTER (WHERE outcome IN ('accepted', 'duplicate', 'conflicting', 'rejected'))::bigint
                 FROM intake_counts GROUP BY kind
                 HAVING SUM(rows) FILTER (WHERE outcome = 'received')
                     IS DISTINCT FROM
                     SUM(rows) FILTER (WHERE outcome IN ('accepted', 'duplicate', 'conflicting', 'rejected'))",
            )
            .await;
        kept.unlawful_counts = unlawful.iter().map(|count| format!("{count:?}")).collect();
        let restored: Vec<(String, i64)> = self
            .found("SELECT kind, rows FROM intake_counts WHERE outcome = 'restored'")
            .await;
        for (kind, rows) in restored {
            let rows = usize::try_from(rows).expect("a count");
            match kind.as_str() {
                "predictions" => kept.restored_predictions = rows,
                _ => kept.restored_labels = rows,
            }
        }
        let audited: Vec<(String, String, i64)> = self
            .found(
                "SELECT action, detail ->> 'reason', COUNT(*) FROM audit_events
                 WHERE action LIKE '%.erased' GROUP BY 1, 2",
            )
            .await;
        for (action, reason, times) in audited {
            kept.audited.insert((action, reason), times);
        }
        kept
    }

    /// What has not happened at all.
    pub async fn idle(&mut self) -> Vec<String> {
        sqlx::query_scalar(
            "SELECT what
             FROM (SELECT 'accepted' AS what, COUNT(*) FROM intake_counts WHERE outcome = 'accepted'
                   UNION ALL SELECT 'duplicate', COUNT(*) FROM intake_counts WHERE outcome = 'duplicate'
                   UNION ALL SELECT 'conflicting', COUNT(*) FROM intake_counts WHERE outcome = 'conflicting'
                   UNION ALL SELECT 'rejected', COUNT(*) FROM intake_counts WHERE outcome = 'rejected'
                   UNION ALL SELECT 'corrected labels', COUNT(*) FROM label_revisions
                   UNION ALL SELECT 'outcomes', COUNT(*) FROM outcomes
                   UNION ALL SELECT 'cells', COUNT(*) FROM profiles WHERE grid_id IS NOT NULL
                   UNION ALL SELECT 'measurements', COUNT(*) FROM measurements
                   UNION ALL SELECT 'alerts', COUNT(*) FROM alerts
                   UNION ALL SELECT 'deliveries', COUNT(*) FROM deliveries
                   UNION ALL SELECT 'pipeline runs', COUNT(*) FROM pipeline_runs
                   UNION ALL SELECT 'candidates', COUNT(*) FROM candidates) AS happened (what, times)
             WHERE times = 0",
        )
        .fetch_all(&mut self.conn)
        .await
        .expect("what has happened")
    }

    /// What is still to be done; empty once everything is settled, measured and told.
    pub async fn unfinished(&mut self, now: DateTime<Utc>) -> String {
        let waiting: Vec<String> = sqlx::query_scalar(
            "SELECT concat(COUNT(*), ' ', what)
             FROM (SELECT 'batches' AS what FROM landed_batches WHERE state = 'landed'
                   UNION ALL SELECT 'windows' FROM window_states
                       WHERE pending AND date_trunc('day', window_start, 'UTC') + interval '1 day' <= $1
                   UNION ALL SELECT 'baselines' FROM baselines WHERE state = 'waiting' AND retired_at IS NULL
                   UNION ALL SELECT 'deliveries' FROM deliveries WHERE state = 'waiting'
                   UNION ALL SELECT 'pipeline runs' FROM pipeline_runs WHERE finished_at IS NULL
                   UNION ALL SELECT 'runs' FROM runs WHERE finished_at IS NULL) AS left_over
             GROUP BY what",
        )
        .bind(now)
        .fetch_all(&mut self.conn)
        .await
        .expect("what is left to do");
        waiting.join(", ")
    }

    /// Everything of the model of that name.
    pub async fn model(&mut self, name: &str) -> StoredModel {
        let (model_id, segments): (Uuid, Vec<String>) =
            sqlx::query_as("SELECT model_id, segments FROM models WHERE name = $1")
                .bind(name)
                .fetch_one(&mut self.conn)
                .await
                .expect("the model");
        StoredModel {
            segments,
            predictions: self.predictions(model_id).await,
            keys: self.keys(model_id).await,
            labels: self.labels(model_id).await,
            outcomes: self.outcomes(model_id).await,
            profiles: self.profiles(model_id).await,
            windows: self.windows(model_id).await,
            schema: self.schema(model_id).await,
            cells: self.cells(model_id).await,
            batches: self.batches(model_id).await,
            counts: self.counts(model_id).await,
            errors: self.errors(model_id).await,
        }
    }

    async fn rows<R>(&mut self, sql: &'static str, model_id: Uuid) -> Vec<R>
    where
        R: Send + Unpin + for<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow>,
    {
        sqlx::query_as(sql)
            .bind(model_id)
            .fetch_all(&mut self.conn)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    async fn predictions(&mut self, model_id: Uuid) -> Vec<StoredPrediction> {
        #[derive(sqlx::FromRow)]
        struct Found {
            version: String,
            prediction_id: String,
            predicted_at: DateTime<Utc>,
            value: Option<f64>,
            score: Option<f64>,
            latency_ms: Option<f64>,
            error: Option<String>,
            model_version_id: Uuid,
            day: DateTime<Utc>,
            chunk: i32,
            position: i32,
        }
        let features = self.features(model_id).await;
        let sent = self.sent_segments(model_id).await;
        let declared: Vec<(Vec<String>,)> = self
            .rows("SELECT segments FROM models WHERE model_id = $1", model_id)
            .await;
        let declared = declared.into_iter().flat_map(|(names,)| names);
        let declared: Vec<String> = declared.collect();
        let found: Vec<Found> = self
            .rows(
                "SELECT v.name AS version, prediction_id, predicted_at, value, score, latency_ms, error,
                        model_version_id, day, chunk, position
                 FROM predictions p JOIN model_versions v USING (model_version_id) WHERE p.model_id = $1",
                model_id,
            )
            .await;
        let rows = found.into_iter().map(|row| {
            let place = (row.model_version_id, row.day, row.chunk, row.position);
            let features = features.get(&place).cloned().unwrap_or_default();
            let segment = |name: &String| match sent.get(&(place, name.clone())) {
                Some(value) => value.clone(),
                None => match features.get(name) {
                    Some(Feature::Text(text)) => text.clone(),
                    Some(Feature::Number(number)) => number.to_string(),
                    Some(Feature::Null) | None => String::new(),
                },
            };
            StoredPrediction {
                version: row.version,
                id: row.prediction_id,
                content: Prediction {
                    predicted_at: row.predicted_at,
                    value: row.value,
                    score: row.score,
                    latency_ms: row.latency_ms,
                    error: row.error,
                    segments: declared.iter().map(segment).collect(),
                    features,
                },
            }
        });
        rows.collect()
    }

    /// The features of each row.
    async fn features(&mut self, model_id: Uuid) -> BTreeMap<Place, BTreeMap<String, Feature>> {
        #[derive(sqlx::FromRow)]
        struct Found {
            model_version_id: Uuid,
            day: DateTime<Utc>,
            chunk: i32,
            position: i32,
            feature: String,
            value_type: String,
            number: Option<f64>,
            text: Option<String>,
        }
        let found: Vec<Found> = self
            .rows(
                "SELECT model_version_id, day, chunk, position, feature, value_type, number, text
                 FROM feature_values WHERE model_id = $1 AND NOT absent",
                model_id,
            )
            .await;
        let mut features: BTreeMap<Place, BTreeMap<String, Feature>> = BTreeMap::new();
        for row in found {
            let place = (row.model_version_id, row.day, row.chunk, row.position);
            let value = match row.number {
                Some(number) => Feature::Number(number),
                None => of_text(&row.value_type, row.text),
            };
            features
                .entry(place)
                .or_default()
                .insert(row.feature, value);
        }
        features
    }

    /// The segments that rows were sent with, by row and name.
    async fn sent_segments(&mut self, model_id: Uuid) -> BTreeMap<(Place, String), String> {
        #[derive(sqlx::FromRow)]
        struct Found {
            model_version_id: Uuid,
            day: DateTime<Utc>,
            chunk: i32,
            position: i32,
            segment: String,
            value: String,
        }
        let found: Vec<Found> = self
            .rows(
                "SELECT model_version_id, day, chunk, position, segment, value
                 FROM segment_values WHERE model_id = $1 AND value IS NOT NULL",
                model_id,
            )
            .await;
        let segments = found.into_iter().map(|row| {
            let place = (row.model_version_id, row.day, row.chunk, row.position);
            ((place, row.segment), row.value)
        });
        segments.collect()
    }

    async fn keys(&mut self, model_id: Uuid) -> Vec<(String, String)> {
        self.rows(
            "SELECT v.name, COALESCE(p.prediction_id, 'a key of nothing')
             FROM prediction_keys k
             JOIN model_versions v USING (version_number)
             LEFT JOIN predictions p
                 ON p.model_version_id = v.model_version_id
                AND p.day = (DATE '2000-01-01' + k.day)::timestamp AT TIME ZONE 'UTC'
                AND p.chunk = k.chunk AND p.position = k.position
                AND prediction_id_hash(v.model_id, p.prediction_id) = k.id_hash
             WHERE v.model_id = $1",
            model_id,
        )
        .await
    }

    async fn labels(&mut self, model_id: Uuid) -> Vec<StoredLabel> {
        type Found = (String, Option<f64>, Option<String>, DateTime<Utc>, bool);
        let found: Vec<Found> = self
            .rows(
                "SELECT prediction_id, value, class, observed_at, true FROM labels WHERE model_id = $1
                 UNION ALL
                 SELECT prediction_id, value, class, observed_at, false FROM label_revisions WHERE model_id = $1",
                model_id,
            )
            .await;
        let labels = found
            .into_iter()
            .map(|(id, value, class, observed_at, is_in_force)| StoredLabel {
                id,
                content: Label {
                    value,
                    class,
                    observed_at,
                },
                is_in_force,
            });
        labels.collect()
    }

    async fn outcomes(&mut self, model_id: Uuid) -> Vec<Outcome> {
        #[derive(sqlx::FromRow)]
        struct Found {
            version: String,
            prediction_id: String,
            predicted_at: DateTime<Utc>,
            predicted_value: Option<f64>,
            score: Option<f64>,
            label_value: Option<f64>,
            label_class: Option<String>,
            observed_at: DateTime<Utc>,
        }
        let found: Vec<Found> = self
            .rows(
                "SELECT v.name AS version, prediction_id, predicted_at, predicted_value, score, label_value,
                        label_class, observed_at
                 FROM outcomes o JOIN model_versions v USING (model_version_id) WHERE o.model_id = $1",
                model_id,
            )
            .await;
        let outcomes = found.into_iter().map(|row| Outcome {
            version: row.version,
            id: row.prediction_id,
            predicted_at: row.predicted_at,
            predicted: (row.predicted_value, row.score),
            label: Label {
                value: row.label_value,
                class: row.label_class,
                observed_at: row.observed_at,
            },
        });
        outcomes.collect()
    }

    async fn profiles(&mut self, model_id: Uuid) -> Vec<(ProfilePlace, i64, Vec<u8>)> {
        type Found = (String, DateTime<Utc>, String, String, String, i64, Vec<u8>);
        let found: Vec<Found> = self
            .rows(
                "SELECT v.name, window_start, segment_name, segment_value, feature, rows, profile
                 FROM profiles p JOIN model_versions v USING (model_version_id) WHERE p.model_id = $1",
                model_id,
            )
            .await;
        let profiles =
            found
                .into_iter()
                .map(|(version, start, name, value, feature, rows, profile)| {
                    ((version, start, name, value, feature), rows, profile)
                });
        profiles.collect()
    }

    async fn windows(&mut self, model_id: Uuid) -> BTreeMap<VersionAt, WindowCounts> {
        let found: Vec<(String, DateTime<Utc>, i64, i64, i64)> = self
            .rows(
                "SELECT v.name, window_start, predictions, errors, labels
                 FROM window_states w JOIN model_versions v USING (model_version_id) WHERE w.model_id = $1",
                model_id,
            )
            .await;
        let windows = found
            .into_iter()
            .map(|(version, start, predictions, errors, labels)| {
                let counts = WindowCounts {
                    predictions,
                    errors,
                    labels,
                };
                ((version, start), counts)
            });
        windows.collect()
    }

    async fn schema(&mut self, model_id: Uuid) -> BTreeMap<String, Expectation> {
        type Found = (
            String,
            String,
            Option<f64>,
            Option<f64>,
            Option<Vec<String>>,
        );
        let found: Vec<Found> = self
            .rows(
                "SELECT feature, feature_type, minimum, maximum, categories
                 FROM schema_features
                 WHERE schema_id = (SELECT schema_id FROM schemas WHERE model_id = $1 ORDER BY version DESC LIMIT 1)",
                model_id,
            )
            .await;
        let schema =
            found
                .into_iter()
                .map(|(feature, feature_type, minimum, maximum, categories)| {
                    let expectation = Expectation {
                        feature_type,
                        minimum,
                        maximum,
                        categories: categories.map(BTreeSet::from_iter),
                    };
                    (feature, expectation)
                });
        schema.collect()
    }

    async fn cells(&mut self, model_id: Uuid) -> BTreeMap<String, Vec<f64>> {
        let found: Vec<(String, Vec<f64>)> = self
            .rows(
                "SELECT feature, edges FROM grid_features JOIN grids USING (grid_id)
                 WHERE model_id = $1 AND retired_at IS NULL AND kind = 'numeric'",
                model_id,
            )
            .await;
        found.into_iter().collect()
    }

    async fn batches(&mut self, model_id: Uuid) -> Vec<LandedBatch> {
        #[derive(sqlx::FromRow)]
        struct Found {
            batch_id: Uuid,
            kind: String,
            state: String,
            received_rows: i64,
            rejected_rows: i64,
            accepted_rows: Option<i64>,
            duplicate_rows: Option<i64>,
            conflicting_rows: Option<i64>,
            attempts: i32,
            cause: Option<String>,
        }
        let found: Vec<Found> = self
            .rows(
                "SELECT batch_id, kind, state, received_rows, rejected_rows, accepted_rows, duplicate_rows,
                        conflicting_rows, attempts, cause
                 FROM landed_batches WHERE model_id = $1",
                model_id,
            )
            .await;
        let batches = found.into_iter().map(|row| LandedBatch {
            batch_id: row.batch_id,
            kind: row.kind,
            state: row.state,
            received: row.received_rows,
            rejected: row.rejected_rows,
            settled: [row.accepted_rows, row.duplicate_rows, row.conflicting_rows],
            attempts: row.attempts,
            cause: row.cause,
        });
        batches.collect()
    }

    async fn counts(&mut self, model_id: Uuid) -> BTreeMap<(String, String, String), i64> {
        let found: Vec<(String, String, String, i64)> = self
            .rows(
                "SELECT kind, outcome, reason, rows FROM intake_counts WHERE model_id = $1",
                model_id,
            )
            .await;
        let counts = found
            .into_iter()
            .map(|(kind, outcome, reason, rows)| ((kind, outcome, reason), rows));
        counts.collect()
    }

    async fn errors(&mut self, model_id: Uuid) -> BTreeMap<VersionAt, (Option<f64>, i64)> {
        let found: Vec<(String, DateTime<Utc>, Option<f64>, i64)> = self
            .rows(
                "SELECT v.name, window_start, value, current_rows
                 FROM measurements m JOIN model_versions v USING (model_version_id)
                 WHERE m.model_id = $1 AND superseded_at IS NULL AND measure = 'mae' AND segment_name = ''
                   AND grain = 'day'",
                model_id,
            )
            .await;
        let errors = found
            .into_iter()
            .map(|(version, start, value, labels)| ((version, start), (value, labels)));
        errors.collect()
    }

    pub async fn alerts(&mut self) -> Vec<StoredAlert> {
        let alerts: Vec<(Uuid, String, bool)> =
            sqlx::query_as("SELECT alert_id, rule, resolved_at IS NULL FROM alerts")
                .fetch_all(&mut self.conn)
                .await
                .expect("alerts");
        let events: Vec<(Uuid, i32, String)> = sqlx::query_as(
            "SELECT alert_id, sequence, kind FROM alert_events ORDER BY alert_id, sequence",
        )
        .fetch_all(&mut self.conn)
        .await
        .expect("events");
        let of_alert = |wanted: Uuid| {
            let events = events.iter().filter(|(alert_id, _, _)| *alert_id == wanted);
            events
                .map(|(_, sequence, kind)| (*sequence, kind.clone()))
                .collect()
        };
        let alerts = alerts
            .into_iter()
            .map(|(alert_id, rule, is_open)| StoredAlert {
                alert_id,
                rule,
                is_open,
                events: of_alert(alert_id),
            });
        alerts.collect()
    }

    pub async fn deliveries(&mut self) -> Vec<StoredDelivery> {
        type Found = (Uuid, Option<Uuid>, String, String, String, String, i32);
        let deliveries: Vec<Found> = sqlx::query_as(
            "SELECT delivery_id, alert_id, receiver, channel, reason, state, attempts FROM deliveries",
        )
        .fetch_all(&mut self.conn)
        .await
        .expect("deliveries");
        let attempts: Vec<(Uuid, i32, String)> = sqlx::query_as(
            "SELECT delivery_id, attempt, outcome FROM delivery_attempts ORDER BY delivery_id, attempt",
        )
        .fetch_all(&mut self.conn)
        .await
        .expect("attempts");
        let of_delivery = |wanted: Uuid| {
            let attempts = attempts.iter().filter(|(id, _, _)| *id == wanted);
            attempts
                .map(|(_, attempt, outcome)| (*attempt, outcome.clone()))
                .collect()
        };
        let deliveries = deliveries.into_iter().map(
            |(delivery_id, alert_id, receiver, channel, reason, state, attempts)| StoredDelivery {
                delivery_id,
                alert_id,
                receiver,
                channel,
                reason,
                state,
                attempts,
                outcomes: of_delivery(delivery_id),
            },
        );
        deliveries.collect()
    }

    pub async fn pipeline_runs(&mut self) -> Vec<StoredRun> {
        let found: Vec<(String, String, i64)> = sqlx::query_as(
            "SELECT run_key, state, (SELECT COUNT(*) FROM candidates c WHERE c.run_id = r.run_id)
             FROM pipeline_runs r",
        )
        .fetch_all(&mut self.conn)
        .await
        .expect("pipeline runs");
        let runs = found
            .into_iter()
            .map(|(run_key, state, candidates)| StoredRun {
                run_key,
                state,
                candidates,
            });
        runs.collect()
    }
}

impl StoredModel {
    /// Rows that came to an outcome, over all reasons.
    pub fn count(&self, kind: Kind, outcome: &str) -> i64 {
        let of_outcome = self
            .counts
            .iter()
            .filter(|((of, became, _), _)| of == kind.as_str() && became == outcome);
        of_outcome.map(|(_, rows)| rows).sum()
    }
}

/// Texts are kept as they are where a chunk holds nothing else, and as JSON where it does.
fn of_text(value_type: &str, text: Option<String>) -> Feature {
    let Some(text) = text else {
        return Feature::Null;
    };
    if value_type == "text" {
        return Feature::Text(text);
    }
    // Values in a mixed column carry the name of their type.
    let json: Value = serde_json::from_str(&text).expect("a stored value is JSON");
    let inner = json
        .as_object()
        .and_then(|one| one.values().next())
        .unwrap_or(&json);
    match inner {
        Value::Number(number) => Feature::Number(number.as_f64().expect("a double")),
        Value::String(text) => Feature::Text(text.clone()),
        other => panic!("a value no row was sent with: {other}"),
    }
}

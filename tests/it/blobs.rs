//! What is stored as bytes: each kind has a checksum, and 10,000 random flips of bits of each are all found. Which
//! columns have bytes is asked of the database, so that none can be added without its kind.

use std::collections::{BTreeMap, BTreeSet};

use bellwether::domain::batch::LabelBatch;
use bellwether::domain::columns::{Column, Value};
use bellwether::domain::estimate::Estimator;
use bellwether::domain::inference::Content;
use bellwether::domain::labelled::{EarlierTruth, LabelledRow, LabelledSample, Truth};
use bellwether::domain::measurement::Measure;
use bellwether::domain::model::Task;
use bellwether::domain::objective::ObservedCounts;
use bellwether::domain::sample::RowSample;
use bellwether::domain::sequential::{SequentialChoice, SequentialState, Watch, losses_of};
use bellwether::domain::window::Grain;
use bellwether::services::ingest::decode_body;
use bellwether::stats::detector::{
    Bins, DayTallies, FeatureDays, Grain as Bucket, Observation, Reference, Role, Settings, Tally,
    VolumeDay,
};
use bellwether::stats::multivariate::days::{ColumnDays, DaySums, JointReference};
use bellwether::stats::profile::FeatureProfile;
use bellwether::stats::repeats::Repeats;
use bellwether::storage::keys::{Filter, PredictionKey, page};
use bellwether::storage::predictions::ChunkKey;
use chrono::{DateTime, TimeDelta, Utc};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;
use sqlx::PgPool;

use crate::app::at;
use crate::draws::mixed;

/// Bytes of a kind, and whether they can be read.
pub struct Blob {
    pub kind: &'static str,
    pub bytes: Vec<u8>,
    reads: fn(&[u8]) -> bool,
}

/// The columns with bytes, each with its kind.
const COLUMNS: &[(&str, &str)] = &[
    ("baseline_profiles.profile", "profile"),
    ("baseline_samples.sample", "sample of rows"),
    ("estimators.estimator", "estimator"),
    ("inference_halves.body", "half of an inference"),
    ("joint_days.sums", "day of columns together"),
    ("joint_references.reference", "columns together"),
    ("labelled_samples.sample", "labelled sample"),
    ("landed_batches.body", "landed batch"),
    ("objective_counts.counts", "observed labels"),
    ("prediction_key_pages.keys", "keys"),
    ("prediction_key_runs.filter", "filter"),
    ("profiles.profile", "profile"),
    ("sequential_cohorts.state", "sequential state"),
    ("shift_days.tallies", "day of the detector"),
    ("shift_references.reference", "detector"),
    ("window_states.repeats", "repeated rows"),
];
/// Hashes and keys: nothing is read out of them.
const HASHES: &[&str] = &[
    "baselines.file_sha256",
    "erased_predictions.id_hash",
    "imported_files.sha256",
    "service_keys.secret",
    "sessions.session_hash",
    "tokens.secret_hash",
];

/// One of each kind and more where a kind has several forms.
pub fn every_kind() -> Vec<Blob> {
    fn blob(kind: &'static str, bytes: Vec<u8>, reads: fn(&[u8]) -> bool) -> Blob {
        Blob { kind, bytes, reads }
    }
    let reference = detector();
    let together = together();
    let mut profile = FeatureProfile::categorical();
    for i in 0..300 {
        let counted = profile.observe_category(&format!("c{}", i % 40), 1);
        counted.expect("a profile of categories");
    }
    let mut repeats = Repeats::default();
    (0..100).for_each(|i| repeats.observe(bellwether::domain::row_hashes::mix(i % 60, 7)));
    let mut filter = Filter::new(300);
    let hash = |i: u64| bellwether::domain::row_hashes::mix(i, 3).cast_signed();
    (0..300).for_each(|i| filter.insert(hash(i)));
    let keys: Vec<PredictionKey> = (0..80_i16)
        .map(|i| key(hash(i.unsigned_abs().into()), i))
        .collect();
    let mut observed = ObservedCounts::default();
    (0..90).for_each(|i| observed.push(at("2026-03-02") + TimeDelta::minutes(7 * i), i % 9 == 0));
    let labels = LabelBatch {
        prediction_ids: vec!["a".to_owned(), "b".to_owned()],
        labels: vec![bellwether::domain::batch::LabelValue::Number(1.5); 2],
        observed_at: vec![at("2026-03-02"); 2],
    };
    let half = Content {
        at: Some(1),
        received_at: 2,
        version: Some("v1".to_owned()),
        data: b"{\"instances\": [[1, 2]]}".to_vec(),
    };
    let plain = labelled(false);
    let estimator = Estimator::fit(&plain, Task::Binary).expect("an estimator");
    let day = DayTallies(BTreeMap::from([("origin".to_owned(), tally(3))]));
    let sums = together.day(&together_rows(50)).expect("sums");
    vec![
        blob("detector", reference.encode(), |b| {
            Reference::decode(b).is_ok()
        }),
        blob("day of the detector", day.encode(), |b| {
            DayTallies::decode(b).is_ok()
        }),
        blob("columns together", together.encode(), |b| {
            JointReference::decode(b).is_ok()
        }),
        blob("day of columns together", sums.encode(), |b| {
            DaySums::decode(b).is_ok()
        }),
        blob("profile", profile.encode(), |b| {
            FeatureProfile::decode(b).is_ok()
        }),
        blob("repeated rows", repeats.encode(), |b| {
            Repeats::decode(b).is_ok()
        }),
        blob("filter", filter.encode(), |b| Filter::decode(b).is_some()),
        blob("keys", page::encode(&keys), |b| page::decode(b).is_some()),
        blob("observed labels", observed.encode(), |b| {
            ObservedCounts::decode(b).is_ok()
        }),
        blob(
            "sequential state",
            sequential(Measure::ErrorRateSequential),
            |b| SequentialState::decode(b).is_ok(),
        ),
        blob(
            "sequential state",
            sequential(Measure::LossSequential),
            |b| SequentialState::decode(b).is_ok(),
        ),
        blob("labelled sample", few(plain.clone()).encode(), |b| {
            LabelledSample::decode(b).is_ok()
        }),
        blob("labelled sample", few(labelled(true)).encode(), |b| {
            LabelledSample::decode(b).is_ok()
        }),
        blob("estimator", estimator.encode(), |b| {
            Estimator::decode(b).is_ok()
        }),
        blob("sample of rows", sample_of_rows(), |b| {
            RowSample::decode(b).is_ok()
        }),
        blob("landed batch", body(3, &labels), |b| {
            decode_body::<LabelBatch>(b).is_ok()
        }),
        blob("landed batch", body(2, &labels), |b| {
            decode_body::<LabelBatch>(b).is_ok()
        }),
        blob("half of an inference", body(3, &half), |b| {
            decode_body::<Content>(b).is_ok()
        }),
    ]
}

/// Rows as they are kept until they are settled: of version 3 as they are, of version 2 compressed.
fn body<B: Serialize>(version: u8, rows: &B) -> Vec<u8> {
    let rows = postcard::to_allocvec(rows).expect("written");
    let rows = match version {
        3 => rows,
        _ => zstd::encode_all(rows.as_slice(), 1).expect("compressed"),
    };
    let mut body = b"BWB".to_vec();
    body.push(version);
    body.extend(crc32c::crc32c_append(version.into(), &rows).to_le_bytes());
    body.extend(rows);
    body
}

/// A day of a feature with two categories and a rare one.
fn tally(day: u64) -> Tally {
    Tally {
        rows: 300 + day,
        missing: 3,
        mismatched: 1,
        counts: vec![200, 90 + day, 6],
        unseen: Some(day % 2),
    }
}

fn detector() -> Reference {
    let days: Vec<Tally> = (0..20).map(tally).collect();
    let observed = (0..).zip(&days).map(|(bucket, tally)| Observation {
        bucket,
        holiday: false,
        tally,
    });
    let feature = FeatureDays {
        name: "origin".to_owned(),
        role: Role::Input,
        bins: Bins::of_categories([[("a", 4_000), ("b", 2_000), ("c", 5)]; 20], true),
        days: observed.collect(),
    };
    let volumes: Vec<VolumeDay> = (0..20)
        .map(|bucket| VolumeDay {
            bucket,
            holiday: false,
            rows: 300,
        })
        .collect();
    Reference::fit(Bucket::Day, &[feature], &volumes, Settings::default()).expect("a reference")
}

/// Three columns of a day.
fn together_rows(day: i64) -> Vec<Vec<f64>> {
    let column = |column| (0..60).map(|i| f64::from(mixed(day, i, column))).collect();
    (1..=3).map(column).collect()
}

fn together() -> JointReference {
    let days: Vec<Vec<Vec<f64>>> = (0..8).map(together_rows).collect();
    let columns: Vec<ColumnDays> = ["a", "b", "c"]
        .iter()
        .enumerate()
        .map(|(place, name)| ColumnDays {
            name: (*name).to_owned(),
            days: days.iter().map(|day| day[place].clone()).collect(),
        })
        .collect();
    JointReference::fit(columns, 7).expect("a reference")
}

fn key(id_hash: i64, position: i16) -> PredictionKey {
    PredictionKey {
        id_hash,
        content_hash: (position % 3 > 0).then_some(i32::from(position) * 7_919),
        chunk: ChunkKey {
            version_number: 1,
            day: 20_000,
            chunk: i32::from(position / 40),
        },
        position,
    }
}

/// Labels of 28 days, with corrections where wanted.
fn labelled(corrected: bool) -> LabelledSample {
    let truth = |i: i64| {
        let score = f64::from(mixed(1, i, 1)) / 1_000.0;
        Truth::Binary {
            score: Some(score),
            predicted: score >= 0.5,
            label: f64::from(mixed(1, i, 2)) / 1_000.0 < score,
        }
    };
    let row = |i: i64| LabelledRow {
        predicted_at: Some(made_at(i)),
        lag: Some(if i % 2 == 0 { 3_600.0 } else { 36_000.0 }),
        truth: truth(i),
        earlier: if corrected && i % 5 == 0 {
            vec![EarlierTruth {
                lag: 60.0,
                truth: truth(i + 1),
            }]
        } else {
            Vec::new()
        },
    };
    let rows: Vec<LabelledRow> = (0..28 * 40).map(row).collect();
    LabelledSample {
        answered: rows.len() as u64,
        labels: rows.len() as u64,
        rows,
        features: Vec::new(),
    }
}

/// Its first rows.
fn few(mut sample: LabelledSample) -> LabelledSample {
    sample.rows.truncate(40);
    sample
}

fn made_at(i: i64) -> DateTime<Utc> {
    at("2026-02-01") + TimeDelta::minutes(36 * i)
}

/// The state after some days.
fn sequential(measure: Measure) -> Vec<u8> {
    let sample = labelled(false);
    let choice = SequentialChoice::default();
    let watch = Watch::fit(measure, &choice, &sample, Grain::Day, None).expect("a watch");
    let mut state = None;
    for (day, rows) in (1..).zip(sample.rows.chunks(40)) {
        let losses = losses_of(&watch, rows.iter());
        let window = Grain::Day.window_at(at("2026-02-28") + TimeDelta::days(day));
        let next = watch.take(state.as_ref(), &[], window, &losses);
        state = Some(next.expect("a state"));
    }
    state.expect("days").encode()
}

fn sample_of_rows() -> Vec<u8> {
    let columns = [
        Column::of("n", (0..50).map(|i| Value::Number(f64::from(i) * 1.25))),
        Column::of(
            "t",
            (0..50).map(|i| Value::Text(format!("t{}", i % 7).into())),
        ),
    ];
    let times: Vec<Option<i64>> = (0..50).map(Some).collect();
    RowSample::of(&columns, &times).encode().expect("written")
}

#[test]
fn ten_thousand_flips_of_each_kind_are_all_found() {
    let mut rng = StdRng::seed_from_u64(24);
    for Blob { kind, bytes, reads } in every_kind() {
        assert!(reads(&bytes), "{kind} as it was written");
        for flip in 0..10_000 {
            // Most damage is one bit; some is more.
            let bits = if flip % 4 == 0 {
                rng.random_range(2..=32)
            } else {
                1
            };
            let mut flipped = BTreeSet::new();
            while flipped.len() < bits {
                flipped.insert((rng.random_range(0..bytes.len()), rng.random_range(0..8)));
            }
            let mut damaged = bytes.clone();
            for (byte, bit) in &flipped {
                damaged[*byte] ^= 1 << bit;
            }
            assert!(!reads(&damaged), "{kind}, flip {flip}: {flipped:?}");
        }
        for length in 0..bytes.len() {
            assert!(!reads(&bytes[..length]), "{kind}, cut to {length} bytes");
        }
    }
}

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn every_column_with_bytes_is_of_a_kind_that_is_tried(pool: PgPool) {
    let found: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname || '.' || a.attname
         FROM pg_attribute a
         JOIN pg_class c ON c.oid = a.attrelid
         JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND NOT c.relispartition
           AND a.atttypid = 'bytea'::regtype AND a.attnum > 0 AND c.relname <> '_sqlx_migrations'
         ORDER BY 1",
    )
    .fetch_all(&pool)
    .await
    .expect("the catalogue");
    let mut known: Vec<&str> = COLUMNS.iter().map(|(column, _)| *column).collect();
    known.extend(HASHES);
    known.sort_unstable();
    assert_eq!(found, known);
    let kinds: BTreeSet<&str> = every_kind().iter().map(|blob| blob.kind).collect();
    let wanted: BTreeSet<&str> = COLUMNS.iter().map(|(_, kind)| *kind).collect();
    assert_eq!(kinds, wanted);
}

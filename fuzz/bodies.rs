//! What each fuzz target does with its input, as plain functions. They are included twice: by the targets, for
//! cargo-fuzz, and by `tests/it/fuzz.rs`, which runs them over the corpus and over mutations of it in every test.
//!
//! An input may be refused in any way but by a panic. What is accepted has to keep what the decoders promise:
//! bounded by [`LIMITS`], nothing lost between rows received, kept and refused, and nothing in it that the
//! database cannot keep or that deceives a reader.

use std::sync::LazyLock;

use bellwether::domain::batch::{Decoded, LabelBatch, PredictionBatch, Reject};
use bellwether::domain::columns::{Column, Value};
use bellwether::domain::definitions::{self, SourceFile};
use bellwether::domain::inference::{Half, Inference, Serving};
use bellwether::domain::mapping::ColumnMap;
use bellwether::domain::model::Task;
use bellwether::domain::names;
use bellwether::domain::schema::Limit;
use bellwether::domain::telemetry::Reading;
use bellwether::formats::cloudevents::{self, EventKind, Mode};
use bellwether::formats::inference::{Served, decode_inferences};
use bellwether::formats::otlp::{self, Batch, Encoding, Signal};
use bellwether::formats::{
    Expectations, Format, Limits, decode_labels, decode_predictions, decode_reference, schemas,
};
use chrono::{DateTime, Utc};

mod arriving;
mod stored;

pub use arriving::{inflated, tables};
pub use stored::{archived, keys, landed, profile, states};

/// A target by its name, which is also that of its folder in the corpus.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 20] = [
    ("json", json),
    ("ndjson", ndjson),
    ("csv", csv),
    ("parquet", parquet),
    ("arrow", arrow),
    ("sagemaker", sagemaker),
    ("azureml", azureml),
    ("landed", landed),
    ("archived", archived),
    ("profile", profile),
    ("keys", keys),
    ("states", states),
    ("inflated", inflated),
    ("tables", tables),
    ("definitions", definitions),
    ("schemas", schemas),
    ("logs", logs),
    ("traces", traces),
    ("metrics", metrics),
    ("events", events),
];

/// The target of a format. A new format does not compile before it has one.
pub fn target_of(format: Format) -> &'static str {
    match format {
        Format::Json => "json",
        Format::Ndjson => "ndjson",
        Format::Csv => "csv",
        Format::Parquet => "parquet",
        Format::Arrow => "arrow",
        Format::SageMaker => "sagemaker",
        Format::AzureMl => "azureml",
    }
}

/// Small, so that what is out of proportion shows with small inputs.
const LIMITS: Limits = Limits {
    max_rows: 5_000,
    max_features: 100,
    max_cells: 50_000,
    max_text_bytes: 1 << 20,
    max_unpacked_bytes: 8 << 20,
    max_unpacking_ratio: 200,
};
const TASKS: [Task; 3] = [Task::Regression, Task::Binary, Task::Multiclass];
/// A cause names a place and repeats a little of what was sent, never all of it.
const MOST_CAUSE_BYTES: usize = 4_000;

/// Rows as a JSON document.
pub fn json(data: &[u8]) {
    rows(Format::Json, data);
}

/// Rows as one JSON object a line.
pub fn ndjson(data: &[u8]) {
    rows(Format::Ndjson, data);
}

/// Rows as CSV.
pub fn csv(data: &[u8]) {
    rows(Format::Csv, data);
}

/// Rows as Parquet.
pub fn parquet(data: &[u8]) {
    rows(Format::Parquet, data);
}

/// Rows as Arrow IPC.
pub fn arrow(data: &[u8]) {
    rows(Format::Arrow, data);
}

/// What SageMaker captures.
pub fn sagemaker(data: &[u8]) {
    rows(Format::SageMaker, data);
}

/// What Azure ML's collector writes.
pub fn azureml(data: &[u8]) {
    let _ = Format::correlation(data);
    rows(Format::AzureMl, data);
}

/// As predictions, labels and the rows of a baseline, of every task.
fn rows(format: Format, data: &[u8]) {
    let _ = Format::of_line(data);
    for task in TASKS {
        let expect = expectations(task);
        if let Ok(decoded) = decode_predictions(format, data, &expect) {
            check_predictions(&decoded, &expect);
        }
        if let Ok(decoded) = decode_labels(format, data, &expect) {
            check_labels(&decoded, &expect);
        }
        if let Ok(rows) = decode_reference(format, data, task, &COLUMNS) {
            assert_eq!(rows.labels.len(), rows.len());
            check_columns(&rows.features, rows.len());
        }
    }
}

fn check_predictions(decoded: &Decoded<PredictionBatch>, expect: &Expectations<'_>) {
    let batch = &decoded.batch;
    check_counts(decoded, batch.len());
    let lengths = [
        batch.predicted_at.len(),
        batch.versions.codes().len(),
        batch.outputs.len(),
        batch.segments.len(),
        batch.latency_ms.len(),
        batch.errors.codes().len(),
        batch.deployments.codes().len(),
    ];
    assert_eq!(lengths, [batch.len(); 7]);
    check_columns(&batch.features, batch.len());
    assert!(batch.features.len() <= LIMITS.max_features);
    assert!(batch.len() * batch.features.len() <= LIMITS.max_cells);
    let mut bytes = 0;
    let mut keep = |text: &str| {
        assert!(!text.contains('\0'));
        bytes += text.len();
    };
    batch.prediction_ids.iter().for_each(&mut keep);
    for texts in [&batch.versions, &batch.errors, &batch.deployments] {
        texts.iter().flatten().for_each(&mut keep);
    }
    for (name, value) in batch.segments.iter().flatten() {
        assert_eq!(names::canonical(name), *name);
        keep(name);
        keep(value);
    }
    for output in &batch.outputs {
        output.class.as_deref().into_iter().for_each(&mut keep);
        for (class, probability) in &output.probabilities {
            keep(class);
            assert!((0.0..=1.0).contains(probability));
        }
        assert!(output.value.is_none_or(f64::is_finite));
        assert!(
            output
                .score
                .is_none_or(|score| (0.0..=1.0).contains(&score))
        );
    }
    for column in &batch.features {
        for value in column.iter() {
            if let Value::Text(text) = value {
                keep(&text);
            }
        }
    }
    assert!(bytes <= LIMITS.max_text_bytes, "{bytes} bytes of text");
    let times = expect.earliest..=expect.latest;
    assert!(batch.predicted_at.iter().all(|at| times.contains(at)));
}

fn check_labels(decoded: &Decoded<LabelBatch>, expect: &Expectations<'_>) {
    let batch = &decoded.batch;
    check_counts(decoded, batch.len());
    assert_eq!(
        [batch.labels.len(), batch.observed_at.len()],
        [batch.len(); 2]
    );
    assert!(batch.prediction_ids.iter().all(|id| !id.contains('\0')));
    let times = expect.earliest..=expect.latest;
    assert!(batch.observed_at.iter().all(|at| times.contains(at)));
}

fn check_counts<B>(decoded: &Decoded<B>, kept: usize) {
    assert!(decoded.received <= LIMITS.max_rows);
    assert_eq!(decoded.received, kept as u64 + decoded.rejects.total());
    assert_eq!(decoded.lines.len(), kept);
    for Reject { field, cause, .. } in decoded.rejects.first() {
        for text in [field, cause] {
            assert!(text.len() <= MOST_CAUSE_BYTES, "{} bytes", text.len());
            assert!(!text.contains(is_deceptive), "{text:?}");
        }
    }
}

fn check_columns(columns: &[Column], rows: usize) {
    for column in columns {
        assert_eq!(column.len(), rows);
        assert_eq!(names::canonical(&column.name), column.name);
        let deceptive = |c| is_deceptive(c) || names::is_invisible(c);
        assert!(!column.name.contains(deceptive), "{:?}", column.name);
    }
}

fn is_deceptive(c: char) -> bool {
    c.is_control() || names::turns_direction(c)
}

/// Log records of OpenTelemetry.
pub fn logs(data: &[u8]) {
    export(Signal::Logs, data);
}

/// Spans of OpenTelemetry.
pub fn traces(data: &[u8]) {
    export(Signal::Traces, data);
}

/// Metrics of OpenTelemetry.
pub fn metrics(data: &[u8]) {
    export(Signal::Metrics, data);
}

/// What the receiver knows of a model with that task.
fn expectations(task: Task) -> Expectations<'static> {
    let instant = |seconds| DateTime::<Utc>::from_timestamp(seconds, 0).expect("in the calendar");
    Expectations {
        task,
        default_version: Some("v1"),
        earliest: instant(1_300_000_000),
        latest: instant(1_800_000_000),
        received_at: instant(1_700_000_000),
        columns: &COLUMNS,
        limits: LIMITS,
    }
}

/// A model's file that says what some columns are.
static COLUMNS: LazyLock<ColumnMap> = LazyLock::new(|| ColumnMap {
    fields: [("label".to_owned(), "truth".to_owned())].into(),
    inputs: ["a", "b", "c"].map(str::to_owned).to_vec(),
    ..ColumnMap::default()
});

/// In both encodings, for models of every task.
fn export(signal: Signal, data: &[u8]) {
    for encoding in [Encoding::Protobuf, Encoding::Json] {
        let Ok(sorted) = otlp::sort(signal, encoding, data, &LIMITS) else {
            continue;
        };
        assert!(sorted.received <= LIMITS.max_rows);
        for (_, name) in sorted.unused.0.keys() {
            assert!(name.len() <= MOST_CAUSE_BYTES && !name.contains(is_deceptive));
        }
        // A span tells four things at most, a point one.
        assert!(sorted.samples.len() as u64 <= 4 * sorted.received);
        for telling in &sorted.samples {
            assert!(!telling.sample.source.contains(is_deceptive));
            assert!(telling.models.iter().all(|model| !model.contains('\0')));
            match &telling.sample.reading {
                Reading::Level(value) | Reading::Count(_, value) => assert!(value.is_finite()),
                Reading::Spread(_, spread) => {
                    let fit = spread.buckets.len() == spread.bounds.len() + 1;
                    assert!(fit || (spread.buckets.is_empty() && spread.bounds.is_empty()));
                    assert!(spread.sum.is_finite() && spread.bounds.is_sorted());
                }
            }
        }
        for task in TASKS {
            let expect = vec![Some(expectations(task)); sorted.destinations.len()];
            let Ok(batches) = otlp::decode(signal, encoding, data, &sorted, &expect) else {
                continue;
            };
            for (place, batch) in batches.iter().enumerate() {
                let received = match batch.as_ref().expect("every model is known") {
                    Batch::Predictions(decoded) => {
                        check_predictions(decoded, &expectations(task));
                        decoded.received
                    }
                    Batch::Labels(decoded) => {
                        check_labels(decoded, &expectations(task));
                        decoded.received
                    }
                };
                assert_eq!(received, sorted.rows_of(place));
            }
        }
    }
}

/// Events in a document and in a list, and what follows the first line as data of a request, of a response, and of
/// both.
pub fn events(data: &[u8]) {
    for mode in [Mode::Structured, Mode::Batch] {
        if let Ok(found) = cloudevents::read(mode, |_| None, data, 0) {
            for event in found {
                assert!(event.model.is_none_or(|model| !model.contains('\0')));
                match event.kind {
                    EventKind::Inference(event) => assert!(!event.pair.contains('\0')),
                    EventKind::Other(name) => assert!(!name.contains(is_deceptive)),
                    EventKind::Damaged => assert_eq!(mode, Mode::Batch),
                }
            }
        }
    }
    let cut = data
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(data.len());
    let (request, response) = data.split_at(cut);
    let content = |data: &[u8]| bellwether::domain::inference::Content {
        at: None,
        received_at: 1_700_000_000_000_000,
        version: None,
        data: data.to_vec(),
    };
    let inference = Inference {
        pair: Half::Request.as_str().to_owned(),
        request: content(request),
        response: content(response),
    };
    for task in TASKS {
        for names in [&[][..], &["a", "b"]] {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let serving = Serving {
                inputs: names.clone(),
                classes: names,
                ..Serving::default()
            };
            let served = Served {
                serving: &serving,
                task,
                positive_class: Some("b"),
            };
            let expect = expectations(task);
            if let Ok(decoded) =
                decode_inferences(std::slice::from_ref(&inference), served, &expect)
            {
                check_predictions(&decoded, &expect);
            }
        }
    }
}

/// Configuration and a runbook.
pub fn definitions(data: &[u8]) {
    let text = String::from_utf8_lossy(data).into_owned();
    for path in ["fuzz.yaml", "fuzz.md"] {
        let file = SourceFile {
            path: path.to_owned(),
            text: text.clone(),
        };
        if let Err(problems) = definitions::parse(&[file]) {
            assert!(!problems.is_empty());
            let report = definitions::check_report(&problems);
            // Each problem repeats a little of the file.
            assert!(report.len() <= 10_000 + 200 * text.len());
        }
    }
}

/// What another tool says of features, by its content and as each of the formats.
pub fn schemas(data: &[u8]) {
    let forced = schemas::SchemaFormat::ALL.into_iter().map(Some);
    for format in forced.chain([None]) {
        let Ok(imported) = schemas::decode(data, format) else {
            continue;
        };
        let mut names_seen = std::collections::BTreeSet::new();
        for feature in &imported.features {
            assert_eq!(names::canonical(&feature.feature), feature.feature);
            let deceptive = |c| is_deceptive(c) || names::is_invisible(c);
            assert!(
                !feature.feature.contains(deceptive),
                "{:?}",
                feature.feature
            );
            assert!(
                names_seen.insert(&feature.feature),
                "{:?} twice",
                feature.feature
            );
            for limit in [&feature.minimum, &feature.maximum] {
                assert!(!matches!(limit, Limit::Given(end) if !end.is_finite()));
            }
            let repeats = match feature.max_duplicate_share {
                Limit::Given(share) => Some(share),
                Limit::Inferred | Limit::Any => None,
            };
            for share in [feature.max_null_share, feature.max_outside_share, repeats] {
                assert!(share.is_none_or(|share| (0.0..=1.0).contains(&share)));
            }
            assert!(feature.min_distinct.is_none_or(|least| least >= 0));
        }
        for note in &imported.notes {
            for text in [&note.place, &note.cause] {
                assert!(text.len() <= MOST_CAUSE_BYTES, "{} bytes", text.len());
                assert!(!text.contains(is_deceptive), "{text:?}");
            }
        }
        // Each thing that is read leaves one feature or a few notes behind.
        assert!(imported.features.len() + imported.notes.len() <= 20 + 4 * data.len());
        let _ = (
            definitions::schema_yaml(&imported.features),
            imported.told(),
        );
    }
}

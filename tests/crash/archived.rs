//! What is in the archive, read without the service's help: all files there are, as a tool that knows nothing of manifests
//! would, and the manifests, which have to agree with them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::{Path, PathBuf};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, TimestampMicrosecondType};
use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

/// The raw rows of a day.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Day {
    /// The answer, by id.
    pub predictions: BTreeMap<String, f64>,
    pub labels: BTreeMap<String, f64>,
    /// The value, by time.
    pub samples: BTreeMap<DateTime<Utc>, f64>,
}

impl Day {
    /// What is left without some predictions.
    pub fn without(&self, ids: &BTreeSet<String>) -> Self {
        let mut rest = self.clone();
        rest.predictions.retain(|id, _| !ids.contains(id));
        rest.labels.retain(|id, _| !ids.contains(id));
        rest
    }

    /// Where `found` is something else.
    pub fn differences(&self, found: &Self, day: &DateTime<Utc>) -> Vec<String> {
        let date = day.date_naive();
        let mut told = different(&self.predictions, &found.predictions, "prediction");
        told.extend(different(&self.labels, &found.labels, "label"));
        told.extend(different(&self.samples, &found.samples, "sample"));
        told.iter_mut()
            .for_each(|text| *text = format!("{date} {text}"));
        told
    }
}

fn different<K: Ord + Debug>(
    due: &BTreeMap<K, f64>,
    found: &BTreeMap<K, f64>,
    what: &str,
) -> Vec<String> {
    let keys: BTreeSet<&K> = due.keys().chain(found.keys()).collect();
    let unlike = keys
        .into_iter()
        .filter(|key| due.get(key) != found.get(key));
    unlike
        .map(|key| {
            format!(
                "{what} {key:?} is {:?}, not {:?}",
                found.get(key),
                due.get(key)
            )
        })
        .collect()
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Every file with its size.
pub fn listing(archive: &Path) -> Vec<(PathBuf, u64)> {
    let sized = |path: PathBuf| {
        let size = std::fs::metadata(&path).expect("there").len();
        (path, size)
    };
    files_below(archive).into_iter().map(sized).collect()
}

/// The days of a model. A row that is there twice, and a file that the manifest does not name or that is not there, are
/// faults of the archive itself.
pub fn read(archive: &Path, model: &str) -> BTreeMap<DateTime<Utc>, Day> {
    let mut days: BTreeMap<DateTime<Utc>, Day> = BTreeMap::new();
    let mut files: BTreeMap<PathBuf, BTreeSet<String>> = BTreeMap::new();
    for path in files_below(archive) {
        let folder = path.parent().expect("a folder").to_owned();
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        assert!(
            folder.to_string_lossy().contains(&format!("model={model}")),
            "{path:?}"
        );
        let day = days.entry(day_of(&folder)).or_default();
        if name.starts_with("predictions-") {
            let rows = texts_and_numbers(&path, "prediction_id", "prediction");
            add(&mut day.predictions, rows, &path);
        } else if name.starts_with("labels-") {
            let rows = texts_and_numbers(&path, "prediction_id", "label");
            add(&mut day.labels, rows, &path);
        } else if name.starts_with("telemetry-") {
            add(&mut day.samples, times_and_numbers(&path), &path);
        }
        files.entry(folder).or_default().insert(name);
    }
    for (folder, mut names) in files {
        assert!(names.remove("manifest.json"), "{folder:?} has no manifest");
        let text = std::fs::read(folder.join("manifest.json")).expect("a manifest");
        let manifest: Value = serde_json::from_slice(&text).expect("JSON");
        let named: BTreeSet<String> = (manifest["files"].as_array().expect("files").iter())
            .map(|file| file["name"].as_str().expect("a name").to_owned())
            .collect();
        assert_eq!(names, named, "{folder:?}");
        let day = &days[&day_of(&folder)];
        for (kind, rows) in [
            ("predictions", day.predictions.len()),
            ("labels", day.labels.len()),
            ("telemetry", day.samples.len()),
        ] {
            assert_eq!(manifest[kind], rows, "{folder:?} {kind}");
        }
    }
    days
}

fn day_of(folder: &Path) -> DateTime<Utc> {
    let name = folder.file_name().expect("a name").to_string_lossy();
    let day = name.strip_prefix("day=").expect("a day");
    let day: NaiveDate = day.parse().expect("a date");
    day.and_time(NaiveTime::MIN).and_utc()
}

fn add<K: Ord + Debug>(rows: &mut BTreeMap<K, f64>, more: Vec<(K, f64)>, path: &Path) {
    for (key, value) in more {
        let twice = format!("{key:?} is in the archive twice, the second time in {path:?}");
        assert!(rows.insert(key, value).is_none(), "{twice}");
    }
}

fn batches(path: &Path) -> Vec<arrow_array::RecordBatch> {
    let file = std::fs::File::open(path).expect("opened");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet");
    let reader = reader.build().expect("readable");
    reader.map(|batch| batch.expect("rows")).collect()
}

fn texts_and_numbers(path: &Path, text: &str, number: &str) -> Vec<(String, f64)> {
    let mut rows = Vec::new();
    for batch in batches(path) {
        let texts = batch.column_by_name(text).expect("the column");
        let numbers = batch.column_by_name(number).expect("the column");
        let (texts, numbers) = (
            texts.as_string::<i32>(),
            numbers.as_primitive::<Float64Type>(),
        );
        rows.extend((0..batch.num_rows()).map(|i| (texts.value(i).to_owned(), numbers.value(i))));
    }
    rows
}

fn times_and_numbers(path: &Path) -> Vec<(DateTime<Utc>, f64)> {
    let mut rows = Vec::new();
    for batch in batches(path) {
        let times = batch.column_by_name("sampled_at").expect("the column");
        let times = times.as_primitive::<TimestampMicrosecondType>();
        let values = batch.column_by_name("value").expect("the column");
        let values = values.as_primitive::<Float64Type>();
        rows.extend((0..batch.num_rows()).map(|i| {
            let at = DateTime::from_timestamp_micros(times.value(i)).expect("an instant");
            (at, values.value(i))
        }));
    }
    rows
}

//! What the targets of stored bytes do: what the database or the archive gives back, as it is and behind a checksum that
//! fits, as somebody would write it who may write there.

use bellwether::domain::batch::{LabelBatch, PredictionBatch};
use bellwether::domain::columns::Column;
use bellwether::domain::estimate::Estimator;
use bellwether::domain::labelled::LabelledSample;
use bellwether::domain::model::Task;
use bellwether::domain::objective::ObservedCounts;
use bellwether::domain::sample::RowSample;
use bellwether::domain::sequential::SequentialState;
use bellwether::formats::archived as files;
use bellwether::services::ingest::decode_body;
use bellwether::stats::detector::{DayTallies, Reference};
use bellwether::stats::multivariate::days::{DaySums, JointReference};
use bellwether::stats::profile::FeatureProfile;
use bellwether::stats::repeats::Repeats;
use bellwether::storage::keys::{Filter, page};
use bytes::Bytes;

/// A landed body, and behind a checksum that fits, the rows in it.
pub fn landed(data: &[u8]) {
    read_landed(data);
    for version in 1..=3 {
        let checksum = match version {
            1 => crc32c::crc32c(data),
            _ => crc32c::crc32c_append(version.into(), data),
        };
        let mut body = b"BWB".to_vec();
        body.push(version);
        body.extend(checksum.to_le_bytes());
        body.extend(data);
        read_landed(&body);
    }
}

/// Files of the archive, which anybody may have written over.
pub fn archived(data: &[u8]) {
    let bytes = || Bytes::copy_from_slice(data);
    for task in Task::ALL {
        if let Ok(batch) = files::decode(bytes(), task) {
            assert_eq!(
                batch.prediction_ids.iter().count(),
                batch.predicted_at.len()
            );
            assert_eq!(batch.outputs.len(), batch.len());
            assert!(
                batch
                    .features
                    .iter()
                    .all(|column| column.len() == batch.len())
            );
        }
    }
    if let Ok(batch) = files::decode_labels(bytes()) {
        assert_eq!(batch.labels.len(), batch.observed_at.len());
    }
    if let Ok(rows) = files::decode_samples(bytes()) {
        let known = ["level", "delta", "cumulative"];
        assert!(
            rows.iter()
                .all(|row| known.contains(&row.counting.as_str()))
        );
    }
}

fn read_landed(body: &[u8]) {
    if let Ok(batch) = decode_body::<PredictionBatch>(body) {
        assert_eq!(batch.prediction_ids.iter().count(), batch.len());
        for column in &batch.features {
            assert_eq!(column.iter().count(), column.len());
            let rows: Vec<usize> = (0..column.len()).rev().collect();
            assert_eq!(column.select(&rows).len(), column.len());
        }
        let _ = batch.versions.iter().flatten().count();
    }
    if let Ok(batch) = decode_body::<LabelBatch>(body) {
        assert_eq!(batch.is_empty(), batch.prediction_ids.is_empty());
    }
}

/// A stored profile, and behind a checksum that fits, what is in it.
pub fn profile(data: &[u8]) {
    read_profile(data);
    let mut signed = b"BW\x01\x01".to_vec();
    signed.extend(data);
    signed.extend(crc32c::crc32c(&signed).to_le_bytes());
    read_profile(&signed);
}

fn read_profile(data: &[u8]) {
    if let Ok(profile) = FeatureProfile::decode(data) {
        let mut twice = profile.clone();
        twice.merge(&profile).expect("a profile fits itself");
        assert_eq!(twice.counts().rows, 2 * profile.counts().rows);
        let _ = (
            twice.quantile(0.5),
            twice.standard_deviation(),
            twice.distinct(),
            twice.categories().count(),
        );
        FeatureProfile::decode(&profile.encode()).expect("what was read can be written");
    }
}

/// A page of keys of predictions and a filter of them, and both behind a checksum that fits.
pub fn keys(data: &[u8]) {
    read_keys(data);
    for format in 0..=1 {
        let mut page = vec![format];
        page.extend(data);
        let mut filter = page.clone();
        page.extend(crc32c::crc32c(&page).to_be_bytes());
        filter.extend(crc32c::crc32c(&filter).to_le_bytes());
        read_keys(&page);
        read_keys(&filter);
    }
}

fn read_keys(data: &[u8]) {
    if let Some(keys) = page::decode(data) {
        assert!(keys.len() <= data.len() / 24);
        assert_eq!(page::decode(&page::encode(&keys)).as_ref(), Some(&keys));
        assert!(keys.iter().all(|key| key.position >= 0));
    }
    if let Some(filter) = Filter::decode(data) {
        let _ = (
            filter.may_have(0),
            filter.may_have(i64::MIN),
            filter.may_have(-1),
        );
        assert_eq!(filter.encode(), data);
    }
}

/// The families and versions of what detectors, estimates and samples of labels keep.
const STATES: [(u8, u8); 11] = [
    (2, 2),
    (2, 3),
    (2, 4),
    (3, 1),
    (16, 1),
    (16, 2),
    (17, 1),
    (18, 1),
    (19, 2),
    (20, 1),
    (21, 1),
];

/// What detectors, estimates, samples of rows and of labels and summaries of repeated rows keep, and behind a checksum
/// that fits, what is in it.
pub fn states(data: &[u8]) {
    read_states(data);
    for (family, version) in STATES {
        let mut signed = vec![b'B', b'W', family, version];
        signed.extend(data);
        signed.extend(crc32c::crc32c(&signed).to_le_bytes());
        read_states(&signed);
    }
    for version in 1..=2 {
        let mut repeats = vec![version];
        repeats.extend(data);
        repeats.extend(crc32c::crc32c(&repeats).to_le_bytes());
        read_states(&repeats);
        let mut sample = b"BWS".to_vec();
        sample.push(version);
        sample.extend(crc32c::crc32c_append(version.into(), data).to_le_bytes());
        sample.extend(data);
        read_states(&sample);
    }
}

/// What can be read can be written, and is the same when it is read again. Compared as bytes, because what is not a number
/// is not equal to itself.
fn read_states(data: &[u8]) {
    fn again<T>(
        bytes: &[u8],
        decode: fn(&[u8]) -> Option<T>,
        encode: fn(&T) -> Vec<u8>,
    ) -> Option<T> {
        let read = decode(bytes)?;
        let written = encode(&read);
        let twice = decode(&written).expect("what was read can be written and read");
        assert_eq!(encode(&twice), written);
        Some(read)
    }
    again(data, |b| Reference::decode(b).ok(), Reference::encode);
    again(data, |b| DayTallies::decode(b).ok(), DayTallies::encode);
    again(
        data,
        |b| JointReference::decode(b).ok(),
        JointReference::encode,
    );
    again(data, |b| DaySums::decode(b).ok(), DaySums::encode);
    again(
        data,
        |b| ObservedCounts::decode(b).ok(),
        ObservedCounts::encode,
    );
    again(
        data,
        |b| SequentialState::decode(b).ok(),
        SequentialState::encode,
    );
    again(data, |b| Estimator::decode(b).ok(), Estimator::encode);
    let sample = again(
        data,
        |b| LabelledSample::decode(b).ok(),
        LabelledSample::encode,
    );
    if let Some(sample) = sample {
        check_columns(&sample.features, sample.rows.len());
        let _ = sample.mature_after();
    }
    if let Ok(sample) = RowSample::decode(data) {
        for name in ["n", "t", ""] {
            assert!(
                sample
                    .column(name)
                    .is_none_or(|column| column.len() == sample.rows())
            );
        }
    }
    if let Ok(repeats) = Repeats::decode(data) {
        let (repeated, extra) = repeats.repeated();
        let _ = (repeats.rows(), repeats.is_exact(), repeated, extra);
        let mut twice = repeats.clone();
        twice.merge(&repeats);
    }
}

fn check_columns(columns: &[Column], rows: usize) {
    for column in columns {
        assert_eq!(column.len(), rows);
        assert_eq!(column.iter().count(), rows);
    }
}

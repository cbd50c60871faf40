//! `[retention]` and `[archive]`: how long what is kept, and where raw rows go before they are dropped.

use std::path::PathBuf;

use url::Url;

use super::secret::Secret;
use super::source::{Origin, Source};
use super::{http_url, number};

const DEFAULT_RAW_DAYS: u64 = 90;
const DEFAULT_PROFILE_DAYS: u64 = 400;
const DEFAULT_MEASUREMENT_DAYS: u64 = 1_100;
const DAYS_RANGE: (u64, u64) = (1, 36_500);
const DEFAULT_DAYS_AHEAD: u64 = 3;
const DAYS_AHEAD_RANGE: (u64, u64) = (0, 30);
const DEFAULT_REGION: &str = "us-east-1";

/// `[retention]`
#[derive(Debug, Clone, Copy)]
pub struct RetentionConfig {
    /// Predictions with their features, labels and outcomes.
    pub raw_days: u64,
    /// Counts by feature and window.
    pub profile_days: u64,
    /// Computed values.
    pub measurement_days: u64,
    /// How many days ahead partitions are made.
    pub partitions_ahead_days: u64,
}

/// `[archive]`
#[derive(Debug, Clone)]
pub enum ArchiveConfig {
    /// A folder.
    Folder(PathBuf),
    /// A bucket that speaks S3.
    Bucket(BucketConfig),
}

/// `[archive]` and `[archive.s3]` of a bucket
#[derive(Debug, Clone)]
pub struct BucketConfig {
    /// Its name.
    pub bucket: String,
    /// What every name in it begins with; may be empty.
    pub prefix: String,
    /// The address of a server that is not Amazon's.
    pub endpoint: Option<Url>,
    /// Its region.
    pub region: String,
    /// The login; else what the environment of AWS says.
    pub access_key_id: Option<String>,
    /// Its secret.
    pub secret_access_key: Option<Secret>,
}

pub(super) fn retention(source: &mut Source<'_>) -> RetentionConfig {
    let mut of = |key, default, range| number(source, key, default, range);
    let config = RetentionConfig {
        raw_days: of("retention.raw_days", DEFAULT_RAW_DAYS, DAYS_RANGE),
        profile_days: of("retention.profile_days", DEFAULT_PROFILE_DAYS, DAYS_RANGE),
        measurement_days: of(
            "retention.measurement_days",
            DEFAULT_MEASUREMENT_DAYS,
            DAYS_RANGE,
        ),
        partitions_ahead_days: of(
            "retention.partitions_ahead_days",
            DEFAULT_DAYS_AHEAD,
            DAYS_AHEAD_RANGE,
        ),
    };
    let shorter = [
        ("retention.profile_days", config.profile_days),
        ("retention.measurement_days", config.measurement_days),
    ];
    for (key, days) in shorter
        .into_iter()
        .filter(|(_, days)| *days < config.raw_days)
    {
        let cause = format!(
            "{days} is less than raw_days ({}): what is made of raw rows is kept at least as long",
            config.raw_days
        );
        source.problem(Origin::Missing, key, cause);
    }
    config
}

pub(super) fn archive(source: &mut Source<'_>) -> Option<ArchiveConfig> {
    let folder = source.path("archive.folder");
    let url = source.text("archive.url");
    let endpoint = http_url(source, "archive.s3.endpoint").map(|given| given.value);
    let region = source.text("archive.s3.region");
    let access_key_id = source.text("archive.s3.access_key_id");
    let secret = source.secret(
        "archive.s3.secret_access_key",
        "archive.s3.secret_access_key_file",
    );
    let given = match (folder, url) {
        (Some(folder), None) => return Some(ArchiveConfig::Folder(folder.value)),
        (None, None) => return None,
        (Some(folder), Some(_)) => {
            let cause = "give either this or archive.url, not both";
            source.problem(folder.origin, "archive.folder", cause);
            return None;
        }
        (None, Some(url)) => url,
    };
    let place = given
        .value
        .strip_prefix("s3://")
        .map(|place| place.trim_end_matches('/'));
    let Some((bucket, prefix)) = place
        .map(|place| place.split_once('/').unwrap_or((place, "")))
        .filter(|(bucket, _)| !bucket.is_empty())
    else {
        let cause = "is not a bucket such as s3://bucket/prefix; for a folder use archive.folder";
        source.problem(given.origin, "archive.url", cause);
        return None;
    };
    if access_key_id.is_some() != secret.is_some() {
        let cause = "is of no use without archive.s3.secret_access_key, and the other way round";
        source.problem(given.origin, "archive.s3.access_key_id", cause);
        return None;
    }
    Some(ArchiveConfig::Bucket(BucketConfig {
        bucket: bucket.to_owned(),
        prefix: prefix.to_owned(),
        endpoint,
        region: region.map_or_else(|| DEFAULT_REGION.to_owned(), |given| given.value),
        access_key_id: access_key_id.map(|given| given.value),
        secret_access_key: secret.map(|given| given.value),
    }))
}

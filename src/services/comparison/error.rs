//! Why files could not be compared. The texts follow "could not" and name file, place and cause.

use std::path::PathBuf;

use crate::domain::measurement::Measure;
use crate::formats::table::TableError;
use crate::stats::profile::ProfileError;

/// Why files could not be compared at all. What is wrong with one feature is a finding, not an error.
#[derive(Debug, thiserror::Error)]
pub enum ComparisonError {
    #[error(transparent)]
    Table(#[from] TableError),
    #[error("compare {}: it has no column \"{column}\"{hint}", file.display())]
    UnknownColumn {
        file: PathBuf,
        column: String,
        /// Such as `; did you mean …?`; may be empty.
        hint: String,
    },
    #[error("compare {} by time: it has no column \"timestamp\"; name one with --timestamp", file.display())]
    NoTimestamp { file: PathBuf },
    #[error("compare {} by time: column \"{column}\", row {row}: {cause}", file.display())]
    NotATime {
        file: PathBuf,
        column: String,
        row: u64,
        cause: String,
    },
    #[error(
        "compare {} by time: its rows fall into more than {limit} windows; choose longer ones",
        file.display()
    )]
    TooManyWindows { file: PathBuf, limit: usize },
    #[error(
        "compare {} by segments: column \"{column}\" has more than {limit} values",
        file.display()
    )]
    TooManySegments {
        file: PathBuf,
        column: String,
        limit: usize,
    },
    #[error("compare {} by segments: column \"{column}\" {cause}", file.display())]
    NoSegment {
        file: PathBuf,
        column: String,
        cause: String,
    },
    #[error("compare {} with {}: they have no feature in common{hint}", reference.display(), current.display())]
    NothingInCommon {
        reference: PathBuf,
        current: PathBuf,
        /// Such as `; the reference has been read as one column …`; may be empty.
        hint: String,
    },
    #[error("hold {} against its threshold: {cause}", measure.as_str())]
    NotMeasured { measure: Measure, cause: String },
    #[error("judge quality by the reference: {cause}")]
    QualityUnjudged { cause: String },
    #[error("count column \"{column}\"")]
    Count {
        column: String,
        #[source]
        source: ProfileError,
    },
}

//! Descriptions of features that other tools have written, read as what a schema says: types, presence, ranges,
//! categories, nulls.
//!
//! A description says some of it and much else; where it is silent, the schema it is put over stays. What it says
//! that a schema has no word for is not dropped: each of it becomes a [`Note`] with its place in the file and the
//! reason. A feature that rows of ours cannot have, such as a tensor, is left out with a note as well.
//!
//! Reading is pure, bytes in and values out, and what is kept is in proportion to what was sent.

mod document;
mod evidently;
mod great_expectations;
mod mlflow;
mod odcs;
mod proto;
mod sagemaker;
mod tfdv;
mod training;
mod words;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use crate::domain::names;
use crate::domain::schema::FeatureOverride;

use super::raw::canonical_name;
use super::table::TableError;
use document::Document;

pub use training::read as read_training_data;

/// Descriptions above this size are something else.
pub const MOST_BYTES: usize = 16 << 20;

/// What a file of expectations is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SchemaFormat {
    /// Rows to infer a schema from: Parquet, Arrow, CSV or NDJSON.
    TrainingData,
    /// An `MLmodel` file, or the signature in it.
    Mlflow,
    /// `schema.pbtxt`, or the same as binary protobuf.
    Tfdv,
    /// A suite of expectations, of versions 0 and 1.
    GreatExpectations,
    /// `constraints.json` or `statistics.json`.
    Sagemaker,
    /// A data definition, or a column mapping of earlier versions.
    Evidently,
    /// A data contract of the Open Data Contract Standard, version 3.
    Odcs,
}

impl SchemaFormat {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::TrainingData,
        Self::Mlflow,
        Self::Tfdv,
        Self::GreatExpectations,
        Self::Sagemaker,
        Self::Evidently,
        Self::Odcs,
    ];

    /// The word used on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TrainingData => "data",
            Self::Mlflow => "mlflow",
            Self::Tfdv => "tfdv",
            Self::GreatExpectations => "great-expectations",
            Self::Sagemaker => "sagemaker",
            Self::Evidently => "evidently",
            Self::Odcs => "odcs",
        }
    }

    /// What people call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TrainingData => "training data",
            Self::Mlflow => "MLflow signature",
            Self::Tfdv => "TFDV schema",
            Self::GreatExpectations => "Great Expectations suite",
            Self::Sagemaker => "SageMaker constraints or statistics",
            Self::Evidently => "Evidently data definition",
            Self::Odcs => "ODCS data contract",
        }
    }
}

/// Something that was not carried over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Where it stands in the file: a path such as `expectations[3]`, or a line.
    pub place: String,
    /// What it is and why it was not carried over.
    pub cause: String,
}

/// What a file says of features.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    pub format: SchemaFormat,
    /// In the order of the file.
    pub features: Vec<FeatureOverride>,
    pub notes: Vec<Note>,
}

impl Imported {
    /// The notes as lines, those of one cause together with their number and the first of their places.
    #[must_use]
    pub fn told(&self) -> Vec<String> {
        let mut by_cause: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let mut order = Vec::new();
        for note in &self.notes {
            let places = by_cause.entry(&note.cause).or_default();
            if places.is_empty() {
                order.push(note.cause.as_str());
            }
            places.push(&note.place);
        }
        let told = order.into_iter().map(|cause| {
            const SHOWN: usize = 3;
            let places = &by_cause[cause];
            let shown = places[..places.len().min(SHOWN)].join(", ");
            match places.len() {
                1 => format!("{shown}: {cause}"),
                count if count <= SHOWN => format!("{shown}: {cause} ({count} times)"),
                count => format!(
                    "{shown} and {} more: {cause} ({count} times)",
                    count - SHOWN
                ),
            }
        });
        told.collect()
    }

    /// Puts what another file says over what this one says, feature by feature and part by part.
    pub fn extend(&mut self, other: Self) {
        for said in other.features {
            let Some(known) = self.features.iter_mut().find(|f| f.feature == said.feature) else {
                self.features.push(said);
                continue;
            };
            known.put_over(said);
        }
        self.notes.extend(other.notes);
    }
}

/// Why a file says nothing of features.
#[derive(Debug, thiserror::Error)]
pub enum SchemaFileError {
    #[error("it is larger than {} MiB", MOST_BYTES >> 20)]
    TooLarge,
    /// It is not written as its format wants.
    #[error("read it as {format}: {cause}")]
    Syntax { format: &'static str, cause: String },
    #[error(
        "its content tells no format; known are {}: name one with --from",
        known()
    )]
    Unknown,
    /// It is of the format, and no feature is left.
    #[error("the {} has no feature that rows could have{}", format.name(), first(notes))]
    Nothing {
        format: SchemaFormat,
        notes: Vec<Note>,
    },
    #[error(transparent)]
    Table(#[from] TableError),
}

fn known() -> String {
    let names: Vec<&str> = SchemaFormat::ALL.iter().map(|f| f.as_str()).collect();
    names.join(", ")
}

fn first(notes: &[Note]) -> String {
    notes.first().map_or_else(String::new, |note| {
        let more = match notes.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        format!(": {}: {}{more}", note.place, note.cause)
    })
}

/// Reads a file of expectations; its content tells what it is unless `format` does. Rows are told by magic bytes and
/// otherwise by the name.
///
/// # Errors
/// When it cannot be opened or read, or says nothing of a feature.
pub fn read(file: &Path, format: Option<SchemaFormat>) -> Result<Imported, SchemaFileError> {
    if format == Some(SchemaFormat::TrainingData) {
        return read_training_data(file);
    }
    let open = |source| TableError::Open {
        file: file.to_owned(),
        source,
    };
    if format.is_none() && training::is_rows(file).map_err(open)? {
        return read_training_data(file);
    }
    let size = std::fs::metadata(file).map_err(open)?.len();
    if size > MOST_BYTES as u64 {
        return Err(SchemaFileError::TooLarge);
    }
    let bytes = std::fs::read(file).map_err(open)?;
    match decode(&bytes, format) {
        Err(SchemaFileError::Unknown) if super::Format::from_path(file).is_some() => {
            read_training_data(file)
        }
        read => read,
    }
}

/// Reads a description; its content tells what it is unless `format` does.
///
/// # Errors
/// When it is no description of features, or of none that rows could have.
pub fn decode(bytes: &[u8], format: Option<SchemaFormat>) -> Result<Imported, SchemaFileError> {
    if bytes.len() > MOST_BYTES {
        return Err(SchemaFileError::TooLarge);
    }
    let (format, draft) = match format {
        Some(SchemaFormat::Tfdv) => (SchemaFormat::Tfdv, tfdv::read(bytes)?),
        None if tfdv::is_text(bytes) => (SchemaFormat::Tfdv, tfdv::read(bytes)?),
        given => {
            let document = match Document::read(bytes) {
                Ok(document) => document,
                // A forced format deserves the reader's own words.
                Err(_) if given.is_none() && !document::looks_like_json(bytes) => {
                    return Err(SchemaFileError::Unknown);
                }
                Err(error) => return Err(error),
            };
            let format = given
                .or_else(|| detect(&document))
                .ok_or(SchemaFileError::Unknown)?;
            (format, read_document(&document, format)?)
        }
    };
    draft.finish(format)
}

fn read_document(document: &Document, format: SchemaFormat) -> Result<Draft, SchemaFileError> {
    match format {
        SchemaFormat::Mlflow => mlflow::read(document),
        SchemaFormat::GreatExpectations => great_expectations::read(document),
        SchemaFormat::Sagemaker => sagemaker::read(document),
        SchemaFormat::Evidently => evidently::read(document),
        SchemaFormat::Odcs => odcs::read(document),
        SchemaFormat::TrainingData | SchemaFormat::Tfdv => Err(SchemaFileError::Unknown),
    }
}

fn detect(document: &Document) -> Option<SchemaFormat> {
    type Test = fn(&Document) -> bool;
    let tests: [(Test, SchemaFormat); 5] = [
        (odcs::is_one, SchemaFormat::Odcs),
        (great_expectations::is_one, SchemaFormat::GreatExpectations),
        (sagemaker::is_one, SchemaFormat::Sagemaker),
        (mlflow::is_one, SchemaFormat::Mlflow),
        (evidently::is_one, SchemaFormat::Evidently),
    ];
    let found = tests.into_iter().find(|(is_one, _)| is_one(document));
    found.map(|(_, format)| format)
}

/// What has been read so far.
#[derive(Debug, Default)]
struct Draft {
    features: Vec<FeatureOverride>,
    places: HashMap<String, usize>,
    notes: Vec<Note>,
}

impl Draft {
    /// The feature of that name, new or known. A name that no row can have is noted.
    fn feature(&mut self, name: &str, place: &str) -> Option<&mut FeatureOverride> {
        let name = match canonical_name(name) {
            Ok(name) => name.into_owned(),
            Err(fault) => {
                self.note(
                    place,
                    format!("the name {}, so no row can have it", fault.cause),
                );
                return None;
            }
        };
        let at = *self.places.entry(name.clone()).or_insert_with(|| {
            self.features.push(FeatureOverride {
                feature: name,
                ..FeatureOverride::default()
            });
            self.features.len() - 1
        });
        self.features.get_mut(at)
    }

    /// Whether a feature of that name is there already.
    fn knows(&self, name: &str) -> bool {
        self.places.contains_key(names::canonical(name).as_ref())
    }

    fn note(&mut self, place: impl Into<String>, cause: impl Into<String>) {
        self.notes.push(Note {
            place: place.into(),
            cause: cause.into(),
        });
    }

    fn finish(self, format: SchemaFormat) -> Result<Imported, SchemaFileError> {
        if self.features.is_empty() {
            return Err(SchemaFileError::Nothing {
                format,
                notes: self.notes,
            });
        }
        Ok(Imported {
            format,
            features: self.features,
            notes: self.notes,
        })
    }
}

/// The place of a feature with its name.
fn named(place: &str, name: &str) -> String {
    format!("{place} ({})", shown(name))
}

/// One less a share, without the digits that subtraction adds.
fn complement(share: f64) -> f64 {
    ((1.0 - share).clamp(0.0, 1.0) * 1e12).round() / 1e12
}

/// A number of values; none that is no whole number, or more than any window has.
fn count(number: f64) -> Option<i64> {
    let is_count = number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number);
    is_count.then_some(number as i64)
}

/// A text of the file as it may be shown: short, and without what would deceive a reader.
fn shown(text: &str) -> String {
    const SHOWN: usize = 60;
    let deceptive =
        |c: &char| c.is_control() || names::turns_direction(*c) || names::is_invisible(*c);
    let mut kept: String = text.chars().filter(|c| !deceptive(c)).take(SHOWN).collect();
    if text.chars().nth(SHOWN).is_some() {
        kept.push('…');
    }
    kept
}

#[cfg(test)]
mod tests;

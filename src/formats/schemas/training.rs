//! Rows, usually training data, and what they say of their features.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::super::Format;
use super::super::table::{ColumnData, Table, mixed};
use super::{Draft, Imported, SchemaFileError, SchemaFormat, named};
use crate::domain::names::{is_about_row, is_answer};
use crate::domain::schema::{Evidence, FeatureOverride};

/// Whether a file holds rows: by the first bytes where they say, otherwise by a name that says nothing else.
pub(super) fn is_rows(file: &Path) -> std::io::Result<bool> {
    let mut start = [0; 8];
    let read = File::open(file)?.take(8).read(&mut start)?;
    let start = &start[..read];
    let magic = start.starts_with(b"PAR1")
        || start.starts_with(b"ARROW1")
        || start.starts_with(&[0xFF, 0xFF, 0xFF, 0xFF]);
    let named = matches!(
        Format::from_path(file),
        Some(Format::Csv | Format::Ndjson | Format::Parquet | Format::Arrow)
    );
    Ok(magic || named)
}

/// Infers a schema from all rows of a file of any size. Columns that say which row it is, what was predicted and
/// what was true are no features.
///
/// # Errors
/// When the file cannot be read, or has no column that says anything.
pub fn read(file: &Path) -> Result<Imported, SchemaFileError> {
    let table = Table::open(file)?;
    let mut draft = Draft::default();
    let mut wanted = Vec::new();
    for (at, column) in table.columns().iter().enumerate() {
        let place = named(&format!("column {}", at + 1), &column.name);
        if let Some(refused) = &column.refused {
            draft.note(place, format!("it {refused}"));
        } else if let Some(cause) = &column.left_out {
            draft.note(place, format!("it {cause}"));
        } else if is_about_row(&column.name) {
            draft.note(place, "it says which row it is, and is no feature");
        } else if is_answer(&column.name) {
            draft.note(place, "what was predicted or true is no feature");
        } else {
            wanted.push(at);
        }
    }
    let mut evidence: Vec<Evidence> = wanted.iter().map(|_| Evidence::default()).collect();
    table.read(&wanted, &mut |batch| {
        for (evidence, data) in evidence.iter_mut().zip(&batch.columns) {
            match data {
                ColumnData::Mixed(column) => column.iter().for_each(|v| evidence.observe(&v)),
                ColumnData::Array(array) => {
                    mixed(array).iter().for_each(|v| evidence.observe(&v));
                }
            }
        }
        true
    })?;
    for (at, evidence) in wanted.into_iter().zip(evidence) {
        let name = &table.columns()[at].name;
        let place = named(&format!("column {}", at + 1), name);
        match evidence.expectation(name) {
            None => draft.note(place, "it has no value that says anything"),
            Some(expected) => {
                if let Some(feature) = draft.feature(name, &place) {
                    *feature = FeatureOverride::exactly(&expected);
                }
            }
        }
    }
    draft.finish(SchemaFormat::TrainingData)
}

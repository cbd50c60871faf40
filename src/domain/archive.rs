//! The archive: which files hold the raw rows of a model's day, and what a manifest says of them.
//!
//! A day of a model is archived as a whole. Its manifest is written last and is what makes it an archive: files
//! without one are left over from an attempt that did not end, and the next one writes over them.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use super::ids::ProjectId;
use super::model::Task;

/// The version of manifests.
pub const MANIFEST_VERSION: u32 = 1;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    Predictions,
    Labels,
    /// Samples of what the model told of itself while it served.
    Telemetry,
}

impl FileKind {
    /// The word that names of files begin with.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Predictions => "predictions",
            Self::Labels => "labels",
            Self::Telemetry => "telemetry",
        }
    }
}

/// One file of an archived day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ArchivedFile {
    /// Beside the manifest.
    pub name: String,
    pub kind: FileKind,
    pub rows: u64,
    pub bytes: u64,
    /// In hexadecimal digits.
    pub sha256: String,
    /// The first and the last time of its rows; none for a file without rows.
    pub first_at: Option<DateTime<Utc>>,
    pub last_at: Option<DateTime<Utc>>,
}

/// What is said of an archived day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Manifest {
    pub manifest_version: u32,
    /// The layout of the files.
    pub schema_version: u32,
    pub project_id: ProjectId,
    pub project: String,
    pub model: String,
    pub task: Task,
    /// A day of UTC.
    pub day: NaiveDate,
    /// Predictions, labels and samples of telemetry of all files.
    pub predictions: u64,
    pub labels: u64,
    #[serde(default)]
    pub telemetry: u64,
    pub files: Vec<ArchivedFile>,
    pub archived_at: DateTime<Utc>,
    /// The release that wrote it.
    pub written_by: String,
    /// When rows were last erased from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub erased_at: Option<DateTime<Utc>>,
}

/// A manifest as it is stored: with a CRC-32C of its other fields, as compact JSON in their order.
#[derive(Serialize, Deserialize)]
struct Checked {
    #[serde(flatten)]
    manifest: Manifest,
    /// In hexadecimal digits.
    crc32c: String,
}

/// A day of a model in the archive.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub project_id: ProjectId,
    pub model: String,
    pub day: NaiveDate,
}

/// The name of a manifest.
pub const MANIFEST: &str = "manifest.json";

impl Manifest {
    /// How many rows of a kind its files hold.
    #[must_use]
    pub fn rows_of(files: &[ArchivedFile], kind: FileKind) -> u64 {
        let of_kind = files.iter().filter(|file| file.kind == kind);
        of_kind.map(|file| file.rows).sum()
    }

    /// The text of its file.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec_pretty(&Checked {
            crc32c: self.checksum()?,
            manifest: self.clone(),
        })
    }

    /// Reads its file.
    ///
    /// # Errors
    /// When the text is no manifest, or another one than was written.
    pub fn from_json(text: &[u8]) -> Result<Self, String> {
        let read: Checked = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        let checksum = read.manifest.checksum();
        let checksum = checksum.map_err(|error| error.to_string())?;
        if checksum != read.crc32c {
            let stated = read.crc32c;
            return Err(format!(
                "it is damaged: its CRC-32C is {checksum}, not {stated}"
            ));
        }
        Ok(read.manifest)
    }

    fn checksum(&self) -> serde_json::Result<String> {
        Ok(format!(
            "{:08x}",
            crc32c::crc32c(&serde_json::to_vec(self)?)
        ))
    }

    /// Whether it names a file.
    #[must_use]
    pub fn names(&self, file: &str) -> bool {
        self.files.iter().any(|named| named.name == file)
    }
}

impl Place {
    /// The folders of a project, of one of its models, and of a day, outermost first. Named so that tools know them
    /// as columns.
    #[must_use]
    pub fn folders(&self) -> [String; 3] {
        [
            format!("project={}", self.project_id),
            format!("model={}", self.model),
            format!("day={}", self.day),
        ]
    }

    /// The folders of everything of a project, or of one of its models.
    #[must_use]
    pub fn folders_above(project_id: ProjectId, model: Option<&str>) -> Vec<String> {
        let model = model.map(|model| format!("model={model}"));
        std::iter::once(format!("project={project_id}"))
            .chain(model)
            .collect()
    }

    /// The place whose manifest lies in these folders.
    #[must_use]
    pub fn of_folders(folders: &[&str]) -> Option<Self> {
        let [project, model, day] = folders else {
            return None;
        };
        Some(Self {
            project_id: project.strip_prefix("project=")?.parse().ok()?,
            model: model.strip_prefix("model=")?.to_owned(),
            day: day.strip_prefix("day=")?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_of_a_manifest_is_found() {
        let at = "2026-03-09T04:05:06.789Z".parse().expect("a time");
        let manifest = Manifest {
            manifest_version: MANIFEST_VERSION,
            schema_version: 1,
            project_id: ProjectId(uuid::Uuid::from_u128(7)),
            project: "default".to_owned(),
            model: "air-time".to_owned(),
            task: Task::Regression,
            day: NaiveDate::from_ymd_opt(2026, 3, 9).expect("a day"),
            predictions: 120,
            labels: 0,
            telemetry: 3,
            files: vec![ArchivedFile {
                name: "predictions-1f-0001.parquet".to_owned(),
                kind: FileKind::Predictions,
                rows: 120,
                bytes: 4_711,
                sha256: "ab".repeat(32),
                first_at: Some(at),
                last_at: None,
            }],
            archived_at: at,
            written_by: "0.1.0".to_owned(),
            erased_at: Some(at),
        };
        let text = manifest.to_json().expect("written");
        assert_eq!(Manifest::from_json(&text).as_ref(), Ok(&manifest));
        for bit in 0..text.len() * 8 {
            let mut damaged = text.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let read = Manifest::from_json(&damaged);
            // An id in capitals, or another way to write an instant, says the same.
            assert!(read.is_err() || read.as_ref() == Ok(&manifest), "bit {bit}");
        }
    }

    #[test]
    fn a_place_is_known_by_its_folders() {
        let place = Place {
            project_id: ProjectId(uuid::Uuid::from_u128(7)),
            model: "air-time".to_owned(),
            day: NaiveDate::from_ymd_opt(2026, 3, 9).expect("a day"),
        };
        let folders = place.folders();
        let folders: Vec<&str> = folders.iter().map(String::as_str).collect();
        assert_eq!(Place::of_folders(&folders), Some(place));
        assert_eq!(Place::of_folders(&["project=7", "model=a", "day=1"]), None);
        assert_eq!(Place::of_folders(&folders[1..]), None);
    }
}

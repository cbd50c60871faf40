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

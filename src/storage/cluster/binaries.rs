//! Finding the system's own Postgres programs.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::ClusterError;

/// The oldest major version the schema works on.
const OLDEST_SUPPORTED: u32 = 14;

/// Where packages put the programs, as (folder, beginning of a name in it, rest of the path).
const USUAL_PLACES: [(&str, &str, &str); 9] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr/lib", "postgresql", "bin"),
    ("/usr/libexec", "postgresql", ""),
    ("/usr", "pgsql-", "bin"),
    ("/usr/local", "pgsql", "bin"),
    ("/opt/homebrew/opt", "postgresql", "bin"),
    ("/usr/local/opt", "postgresql", "bin"),
    ("/home/linuxbrew/.linuxbrew/opt", "postgresql", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

/// One installed Postgres.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binaries {
    directory: PathBuf,
    pub(super) major: u32,
}

impl Binaries {
    /// All installed versions, the one to prefer first: what the user put on `PATH`, then what `pg_config` names, then the
    /// newest of the usual places. With `only`, just that folder counts.
    pub(super) fn discover(only: Option<&Path>) -> Result<Vec<Self>, ClusterError> {
        if let Some(directory) = only {
            let found = Self::at(directory).ok_or_else(|| ClusterError::BinariesNotThere {
                directory: directory.to_path_buf(),
            })?;
            return Ok(vec![found]);
        }
        let mut usual: Vec<Self> = usual_places()
            .iter()
            .filter_map(|place| Self::at(place))
            .collect();
        usual.sort_by_key(|binaries| std::cmp::Reverse(binaries.major));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut all: Vec<Self> = std::env::split_paths(&path)
            .chain(named_by_pg_config())
            .filter_map(|place| Self::at(&place))
            .chain(usual)
            .collect();
        let mut seen = Vec::new();
        all.retain(|binaries| {
            let new = !seen.contains(&binaries.directory);
            seen.push(binaries.directory.clone());
            new
        });
        if all.is_empty() {
            return Err(ClusterError::BinariesMissing);
        }
        Ok(all)
    }

    /// The version to make a new cluster with.
    pub(super) fn for_new_cluster(installed: Vec<Self>) -> Result<Self, ClusterError> {
        let newest = installed
            .iter()
            .map(|binaries| binaries.major)
            .max()
            .unwrap_or(0);
        installed
            .into_iter()
            .find(|binaries| binaries.major >= OLDEST_SUPPORTED)
            .ok_or(ClusterError::BinariesTooOld {
                installed: newest,
                oldest: OLDEST_SUPPORTED,
            })
    }

    /// The version that can open an existing cluster: its own major version and no other.
    pub(super) fn for_cluster(
        installed: Vec<Self>,
        cluster: &Path,
        needed: u32,
    ) -> Result<Self, ClusterError> {
        let mut versions: Vec<u32> = installed.iter().map(|binaries| binaries.major).collect();
        versions.dedup();
        installed
            .into_iter()
            .find(|binaries| binaries.major == needed)
            .ok_or_else(|| ClusterError::VersionMismatch {
                cluster: cluster.to_path_buf(),
                needed,
                installed: versions,
            })
    }

    /// The path of one program.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn at(directory: &Path) -> Option<Self> {
        let postgres = directory.join("postgres");
        if !postgres.is_file() || !directory.join("initdb").is_file() {
            return None;
        }
        let output = Command::new(&postgres).arg("--version").output().ok()?;
        Some(Self {
            directory: directory.canonicalize().ok()?,
            major: major_version(&String::from_utf8_lossy(&output.stdout))?,
        })
    }
}

fn named_by_pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(PathBuf::from(text.trim()))
}

fn usual_places() -> Vec<PathBuf> {
    let mut places = Vec::new();
    for (folder, beginning, rest) in USUAL_PLACES {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let matching =
            entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(beginning));
        places.extend(matching.map(|entry| entry.path().join(rest)));
    }
    places
}

/// The major version in what `postgres --version` prints, such as `postgres (PostgreSQL) 16.4 (Debian 16.4-1)`.
fn major_version(text: &str) -> Option<u32> {
    let (_, version) = text.split_once("(PostgreSQL) ")?;
    let digits = version
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(version.len());
    version[..digits].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn installed(majors: &[u32]) -> Vec<Binaries> {
        let binaries = majors.iter().map(|major| Binaries {
            directory: PathBuf::from(format!("/pg/{major}")),
            major: *major,
        });
        binaries.collect()
    }

    #[test]
    fn the_major_version_is_read_from_releases_and_betas() {
        assert_eq!(
            major_version("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"),
            Some(15)
        );
        assert_eq!(major_version("postgres (PostgreSQL) 17beta1\n"), Some(17));
        assert_eq!(major_version("something else"), None);
    }

    #[test]
    fn a_new_cluster_takes_the_preferred_version_that_is_new_enough() {
        let chosen = Binaries::for_new_cluster(installed(&[12, 15, 16])).unwrap();
        assert_eq!(chosen.major, 15);
        let error = Binaries::for_new_cluster(installed(&[12, 13]))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("Postgres 13: version 14 or newer"),
            "{error}"
        );
    }

    #[test]
    fn an_existing_cluster_takes_its_own_version_among_several() {
        let chosen = Binaries::for_cluster(installed(&[17, 16, 15]), Path::new("/c"), 16).unwrap();
        assert_eq!(chosen.major, 16);
    }

    #[test]
    fn a_missing_version_is_named_with_what_is_installed() {
        for needed in [14, 99] {
            let error = Binaries::for_cluster(installed(&[17, 16]), Path::new("/c"), needed);
            let text = error.unwrap_err().to_string();
            assert!(
                text.contains(&format!(
                    "made by Postgres {needed}, and installed is 17, 16"
                )),
                "{text}"
            );
        }
    }

    #[test]
    fn a_folder_without_programs_is_refused_by_name() {
        let error = Binaries::discover(Some(Path::new("/nonexistent"))).unwrap_err();
        assert!(
            matches!(error, ClusterError::BinariesNotThere { .. }),
            "{error}"
        );
    }

    #[test]
    fn missing_programs_name_the_package_of_each_platform() {
        let text = ClusterError::BinariesMissing.to_string();
        for package in [
            "apt-get install postgresql",
            "dnf install postgresql-server",
            "apk add postgresql",
            "brew install postgresql@16",
        ] {
            assert!(text.contains(package), "{text}");
        }
    }
}

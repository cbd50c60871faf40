//! Where raw rows go before they are dropped: a folder, or a bucket that speaks S3. It knows files and nothing of what
//! is in them.
//!
//! A file that was put is durable when [`Archive::put`] returns: a folder is synced to its disk, a bucket answers when
//! it has the file. The place is named by whoever runs the service, so the guard of the outbound client against
//! internal addresses would only be in the way; nothing that users of the service write can change it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore, ObjectStoreExt, RetryConfig};

/// How long one request may take; files are at most some ten megabytes.
const TIME_OUT: Duration = Duration::from_secs(60);
/// How long to go on trying before the caller hears of it, who comes back later anyway.
const RETRY_TIME_OUT: Duration = Duration::from_secs(30);

/// A bucket.
#[derive(Debug, Clone)]
pub struct BucketSettings {
    pub bucket: String,
    /// What every name begins with; may be empty.
    pub prefix: String,
    /// The address of a server that is not Amazon's.
    pub endpoint: Option<String>,
    pub region: String,
    pub access_key_id: Option<String>,
    pub secret_access_key: Option<String>,
}

/// Why the archive did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("use the folder {folder} as archive")]
    Folder {
        folder: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("set up the archive")]
    Setup(#[source] object_store::Error),
    #[error("{action} {name} in the archive")]
    Request {
        action: &'static str,
        name: String,
        #[source]
        source: object_store::Error,
    },
}

impl ArchiveError {
    /// Whether what was asked for is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        let Self::Request { source, .. } = self else {
            return false;
        };
        matches!(source, object_store::Error::NotFound { .. })
    }
}

/// The place.
#[derive(Debug, Clone)]
pub struct Archive {
    store: Arc<dyn ObjectStore>,
    /// The same, where it is a folder.
    local: Option<Arc<LocalFileSystem>>,
    prefix: Path,
    shown: String,
}

impl Archive {
    /// A folder, made if it is not there.
    ///
    /// # Errors
    /// When it cannot be made or used.
    pub fn folder(folder: PathBuf) -> Result<Self, ArchiveError> {
        let unusable = |source| ArchiveError::Folder {
            folder: folder.clone(),
            source,
        };
        std::fs::create_dir_all(&folder).map_err(unusable)?;
        let store = LocalFileSystem::new_with_prefix(&folder)
            .map_err(ArchiveError::Setup)?
            .with_fsync(true);
        let store = Arc::new(store);
        Ok(Self {
            store: store.clone(),
            local: Some(store),
            prefix: Path::default(),
            shown: folder.display().to_string(),
        })
    }

    /// A bucket.
    ///
    /// # Errors
    /// When the settings do not go together.
    pub fn bucket(settings: &BucketSettings) -> Result<Self, ArchiveError> {
        // Whoever comes first installs the process's TLS provider; it is the same one everywhere here.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let options = ClientOptions::new()
            .with_timeout(TIME_OUT)
            .with_allow_http(settings.endpoint.is_some());
        let retry = RetryConfig {
            retry_timeout: RETRY_TIME_OUT,
            ..RetryConfig::default()
        };
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(&settings.bucket)
            .with_region(&settings.region)
            .with_client_options(options)
            .with_retry(retry);
        if let Some(endpoint) = &settings.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let Some(id) = &settings.access_key_id {
            builder = builder.with_access_key_id(id);
        }
        if let Some(secret) = &settings.secret_access_key {
            builder = builder.with_secret_access_key(secret);
        }
        let store = builder.build().map_err(ArchiveError::Setup)?;
        Ok(Self {
            store: Arc::new(store),
            local: None,
            prefix: Path::from(settings.prefix.as_str()),
            shown: format!("s3://{}/{}", settings.bucket, settings.prefix),
        })
    }

    /// The place as people know it.
    #[must_use]
    pub fn shown(&self) -> &str {
        &self.shown
    }

    fn path(&self, folders: &[String], name: Option<&str>) -> Path {
        let mut path = self.prefix.clone();
        for part in folders.iter().map(String::as_str).chain(name) {
            path = path.join(part);
        }
        path
    }

    /// Puts a file, in place of one that was there; durable on return.
    ///
    /// # Errors
    /// When the place is full, out of reach, or refuses.
    pub async fn put(
        &self,
        folders: &[String],
        name: &str,
        bytes: Bytes,
    ) -> Result<(), ArchiveError> {
        let path = self.path(folders, Some(name));
        let put = self.store.put(&path, bytes.into()).await;
        put.map(drop)
            .map_err(|source| failed("write", &path, source))
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it is not there or cannot be read.
    pub async fn get(&self, folders: &[String], name: &str) -> Result<Bytes, ArchiveError> {
        let path = self.path(folders, Some(name));
        let failed = |source| failed("read", &path, source);
        let found = self.store.get(&path).await.map_err(failed)?;
        found.bytes().await.map_err(failed)
    }

    /// Removes a file; one that is not there is removed already.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub async fn remove(&self, folders: &[String], name: &str) -> Result<(), ArchiveError> {
        let path = self.path(folders, Some(name));
        match self.store.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(failed("remove", &path, source)),
        }
    }

    /// Removes what is left of files that somebody died while putting. Only for whoever knows that nobody is putting any there.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub async fn remove_unfinished(&self, folders: &[String]) -> Result<(), ArchiveError> {
        let Some(local) = self.local.clone() else {
            // A bucket shows files that are whole, and forgets the others by its own rules.
            return Ok(());
        };
        let path = self.path(folders, None);
        let folder = local.path_to_filesystem(&path);
        let folder = folder.map_err(|source| failed("find", &path, source))?;
        let removing = tokio::task::spawn_blocking(move || {
            let unusable = |source| ArchiveError::Folder {
                folder: folder.clone(),
                source,
            };
            let entries = match std::fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(unusable(error)),
            };
            for entry in entries {
                let entry = entry.map_err(unusable)?;
                // A file that is being put has `#` and a number behind its name; no file has that in it.
                if entry.file_name().to_string_lossy().contains('#') {
                    std::fs::remove_file(entry.path()).map_err(unusable)?;
                }
            }
            Ok(())
        });
        removing.await.unwrap_or_else(|panic| {
            Err(ArchiveError::Folder {
                folder: PathBuf::from(path.as_ref()),
                source: std::io::Error::other(panic),
            })
        })
    }

    /// The files below some folders: the folders each lies in, from the top of the archive, and its name.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn list(
        &self,
        folders: &[String],
    ) -> Result<Vec<(Vec<String>, String)>, ArchiveError> {
        let path = self.path(folders, None);
        let listed = self.store.list(Some(&path));
        let found: Vec<_> = (listed.map_ok(|found| found.location).try_collect())
            .await
            .map_err(|source| failed("list", &path, source))?;
        let depth = self.prefix.parts().count();
        Ok(found
            .iter()
            .filter_map(|location: &Path| {
                let mut parts: Vec<String> = (location.parts().skip(depth))
                    .map(|part| part.as_ref().to_owned())
                    .collect();
                let name = parts.pop()?;
                Some((parts, name))
            })
            .collect())
    }
}

fn failed(action: &'static str, path: &Path, source: object_store::Error) -> ArchiveError {
    ArchiveError::Request {
        action,
        name: path.to_string(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_put_into_a_folder_is_there() {
        let folder = std::env::temp_dir().join(format!("archive-{}", uuid::Uuid::new_v4()));
        let archive = Archive::folder(folder.clone()).expect("usable");
        let folders = ["project=a".to_owned(), "model=b c".to_owned()];
        assert!(archive.list(&[]).await.expect("listed").is_empty());
        let missing = archive.get(&folders, "x").await.expect_err("not there");
        assert!(missing.is_not_found(), "{missing}");
        for text in ["first", "second"] {
            let put = archive.put(&folders, "x", Bytes::from(text)).await;
            put.expect("put");
            assert_eq!(archive.get(&folders, "x").await.expect("read"), text);
        }
        let listed = archive.list(&folders[..1]).await.expect("listed");
        assert_eq!(listed, [(folders.to_vec(), "x".to_owned())]);
        let beside = folder.join("project=a/model=b c");
        std::fs::write(beside.join("y#1"), "half").expect("written");
        for folders in [&folders[..], &["nowhere".to_owned()]] {
            let removed = archive.remove_unfinished(folders).await;
            removed.expect("removed");
        }
        assert!(!beside.join("y#1").exists() && beside.join("x").exists());
        for _ in 0..2 {
            archive.remove(&folders, "x").await.expect("removed");
        }
        assert!(archive.list(&[]).await.expect("listed").is_empty());
        std::fs::remove_dir_all(folder).expect("removed");
    }
}

//! A configuration directory on disk. Everything below it that is YAML or Markdown is configuration; hidden
//! files and folders are not, so that the directory may be a Git working copy.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};

use crate::domain::definitions::SourceFile;

/// Deeper folders than this are a loop made of links, or no configuration.
const DEEPEST: usize = 16;

/// The files of a directory, sorted by path.
///
/// # Errors
/// When the directory is none or cannot be read.
pub fn read(directory: &Path) -> anyhow::Result<Vec<SourceFile>> {
    if !directory.is_dir() {
        bail!(
            "read {}: it is not a directory; name the one with the configuration files",
            directory.display()
        );
    }
    let mut files = Vec::new();
    collect(directory, "", 0, &mut files)?;
    files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn collect(
    folder: &Path,
    prefix: &str,
    depth: usize,
    files: &mut Vec<SourceFile>,
) -> anyhow::Result<()> {
    if depth > DEEPEST {
        bail!("read {}: folders are nested too deeply", folder.display());
    }
    let unreadable = || format!("read {}", folder.display());
    for entry in fs::read_dir(folder).with_context(unreadable)? {
        let path = entry.with_context(unreadable)?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        if name.starts_with('.') {
            continue;
        }
        let relative = format!("{prefix}{name}");
        if path.is_dir() {
            collect(&path, &format!("{relative}/"), depth + 1, files)?;
        } else if is_configuration(&path) {
            let text = fs::read_to_string(&path)
                .with_context(|| format!("read {} as text", path.display()))?;
            files.push(SourceFile {
                path: relative,
                text,
            });
        }
    }
    Ok(())
}

fn is_configuration(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("yaml" | "yml" | "md"))
}

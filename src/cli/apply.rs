//! `bellwether apply`: a checked directory into the server, then the files its baselines are fitted on.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use serde::Deserialize;
use serde_json::json;

use super::check::{Checked, check};
use super::client::Server;
use super::{ServerOptions, import};
use crate::domain::definitions::check_report;
use crate::formats::Format;
use crate::services::configuration::BaselineFile;

/// The server's answer, as far as it is printed.
#[derive(Debug, Deserialize)]
struct Applied {
    changed: Vec<String>,
    removed: Vec<String>,
    unchanged: usize,
    baseline_files: Vec<BaselineFile>,
    revision: String,
}

/// Applies a directory; exit code 1 when the check finds problems, and then nothing was sent.
///
/// # Errors
/// When the directory cannot be read or the server refuses.
pub async fn run(directory: &Path, server: &ServerOptions) -> anyhow::Result<ExitCode> {
    let files = match check(directory)? {
        Checked::Good { files, .. } => files,
        Checked::Bad(problems) => {
            print!("{}", check_report(&problems));
            return Ok(ExitCode::FAILURE);
        }
    };
    let server = Server::new(server)?;
    let sent: Vec<_> = files
        .iter()
        .map(|file| json!({"path": file.path, "text": file.text}))
        .collect();
    let answer = server
        .post(&["definitions"], &json!({"files": sent}))
        .await?;
    let applied: Applied = serde_json::from_value(answer).context("understand the answer")?;
    for name in &applied.changed {
        println!("changed {name}");
    }
    for name in &applied.removed {
        println!("removed {name}");
    }
    println!(
        "{} unchanged, revision {}",
        applied.unchanged, applied.revision
    );
    for file in &applied.baseline_files {
        fit(&server, directory, file).await?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn fit(server: &Server, directory: &Path, file: &BaselineFile) -> anyhow::Result<()> {
    let path = directory.join(&file.path);
    let format = Format::from_path(&path).with_context(|| import::unknown_format(&path))?;
    let body = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    let fitted = server
        .send(
            &["models", &file.model, "baselines", &file.baseline],
            &[("file_name", &file.path)],
            import::content_type(format),
            body,
        )
        .await
        .with_context(|| format!("fit baseline {} on {}", file.baseline, file.path))?;
    println!(
        "baseline {} of model {} is fitted on {} rows of {}",
        file.baseline, file.model, fitted["rows"], file.path
    );
    Ok(())
}

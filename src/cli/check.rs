//! `bellwether check`: what is wrong with a configuration directory, without a server.

use std::path::Path;
use std::process::ExitCode;

use super::directory;
use crate::domain::definitions::{
    self, BaselineSource, Defined, Definitions, ModelDef, Problem, SourceFile, check_report,
};

/// What a check found.
#[derive(Debug)]
pub enum Checked {
    Good {
        files: Vec<SourceFile>,
        objects: usize,
    },
    Bad(Vec<Problem>),
}

/// Checks a directory, and that the files its baselines name are there.
///
/// # Errors
/// When the directory cannot be read.
pub fn check(directory: &Path) -> anyhow::Result<Checked> {
    let files = directory::read(directory)?;
    let parsed = match definitions::parse(&files) {
        Ok(parsed) => parsed,
        Err(problems) => return Ok(Checked::Bad(problems)),
    };
    let missing: Vec<Problem> = parsed
        .models
        .iter()
        .flat_map(|model| missing_files(directory, model))
        .collect();
    if missing.is_empty() {
        let objects = count(&parsed);
        return Ok(Checked::Good { files, objects });
    }
    Ok(Checked::Bad(missing))
}

fn missing_files(directory: &Path, model: &Defined<ModelDef>) -> Vec<Problem> {
    let named = model.value.baselines.iter().filter_map(|baseline| {
        let BaselineSource::File { path } = &baseline.source else {
            return None;
        };
        (!directory.join(path).is_file()).then(|| Problem {
            file: model.file.clone(),
            line: model.line,
            column: 1,
            cause: format!(
                "baseline {:?} of model {:?} names the file {path:?}, which is not in the directory",
                baseline.name, model.value.name
            ),
        })
    });
    named.collect()
}

fn count(parsed: &Definitions) -> usize {
    usize::from(parsed.project.is_some())
        + parsed.models.len()
        + parsed.rules.len()
        + parsed.receivers.len()
        + parsed.pipelines.len()
        + parsed.runbooks.len()
}

/// Prints what a check found; exit code 1 with problems.
///
/// # Errors
/// When the directory cannot be read.
pub fn run(directory: &Path) -> anyhow::Result<ExitCode> {
    Ok(match check(directory)? {
        Checked::Good { objects, .. } => {
            println!("{objects} objects, no problems");
            ExitCode::SUCCESS
        }
        Checked::Bad(problems) => {
            print!("{}", check_report(&problems));
            ExitCode::FAILURE
        }
    })
}

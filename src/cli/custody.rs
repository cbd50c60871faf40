//! `bellwether retention`, `archive` and `erase`: what is kept, and what is forgotten.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::ServerOptions;
use super::client::Server;

/// What can be done about retention.
#[derive(Debug, Subcommand)]
pub enum RetentionCommand {
    /// Print how long what is kept, what is gone, and what would go now; changes nothing
    Plan(ServerOptions),
    /// Archive and remove what is past, at once
    Run(ServerOptions),
}

/// What can be done with the archive.
#[derive(Debug, Subcommand)]
pub enum ArchiveCommand {
    /// Print the days in the archive
    List {
        /// One model; all of the project when absent
        #[arg(long)]
        model: Option<String>,
        #[command(flatten)]
        server: ServerOptions,
    },
    /// Give the raw rows of days back; what is there already counts as duplicate
    Restore {
        /// The model
        model: String,
        /// The first day, such as 2026-03-01
        #[arg(long, value_name = "DAY")]
        from: String,
        /// The last day
        #[arg(long, value_name = "DAY")]
        to: String,
        /// How many days they stay
        #[arg(long, default_value_t = 30)]
        keep_days: u32,
        #[command(flatten)]
        server: ServerOptions,
    },
    /// Archive and remove what is past, at once; the same as `retention run`
    Run(ServerOptions),
}

/// Which predictions are erased.
#[derive(Debug, Args)]
pub struct EraseOptions {
    /// The model
    pub model: String,
    /// Ids of predictions
    pub ids: Vec<String>,
    /// A file with one id a line
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Why, for the audit; name nobody here
    #[arg(long)]
    pub reason: String,
    #[command(flatten)]
    pub server: ServerOptions,
}

/// As many ids as the server takes at once.
const IDS_AT_ONCE: usize = 10_000;

/// Carries a command of retention out. Exit code 1 when something that is past could not be removed.
///
/// # Errors
/// With what the server says.
pub async fn retention(command: RetentionCommand) -> anyhow::Result<ExitCode> {
    match command {
        RetentionCommand::Plan(server) => {
            let plan = Server::new(&server)?.get(&["retention"], &[]).await?;
            print!("{}", plan_text(&plan));
            Ok(exit_code(&plan))
        }
        RetentionCommand::Run(server) => run(&server).await,
    }
}

async fn run(server: &ServerOptions) -> anyhow::Result<ExitCode> {
    let ran = Server::new(server)?
        .post(&["retention", "run"], &json!({}))
        .await?;
    print!("{}", plan_text(&ran["plan"]));
    Ok(exit_code(&ran["plan"]))
}

fn exit_code(plan: &Value) -> ExitCode {
    let standing = plan["standing"].as_array().into_iter().flatten();
    if standing.into_iter().any(|of| of["problem"].is_string()) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// A plan as it is printed.
fn plan_text(plan: &Value) -> String {
    let mut text = String::new();
    for of in plan["standing"].as_array().into_iter().flatten() {
        let archives = if of["archives"] == true {
            "archived first"
        } else {
            "not archived"
        };
        text += &format!(
            "project {}: raw rows {} days ({archives}), profiles {} days, measurements {} days\n",
            word(&of["project"]),
            of["raw_days"],
            of["profile_days"],
            of["measurement_days"]
        );
        for (what, key) in [
            ("raw rows", "raw_gone_before"),
            ("profiles", "profiles_gone_before"),
            ("measurements", "measurements_gone_before"),
        ] {
            if let Some(gone) = of[key].as_str() {
                text += &format!("  {what} of before {} are gone\n", day(gone));
            }
        }
        if let Some(problem) = of["problem"].as_str() {
            let since = of["problem_since"].as_str().unwrap_or_default();
            text += &format!("  since {}: {problem}\n", day(since));
        }
    }
    let steps: Vec<&Value> = plan["steps"].as_array().into_iter().flatten().collect();
    if steps.is_empty() {
        return text + "nothing is past\n";
    }
    for step in steps {
        let how = if step["whole"] == true {
            "drop"
        } else {
            "delete from"
        };
        let rows = step["rows"]
            .as_i64()
            .map_or_else(String::new, |rows| format!(", {rows} predictions"));
        let first = if step["archived"] == true {
            "archive, then "
        } else {
            ""
        };
        text += &format!(
            "{first}{how} {} of {} ({} KiB on disk{rows})\n",
            word(&step["kept"]),
            day(word(&step["from"])),
            step["bytes"].as_i64().unwrap_or(0) / 1024
        );
    }
    text
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn day(instant: &str) -> &str {
    instant.split('T').next().unwrap_or_default()
}

/// Carries a command of the archive out.
///
/// # Errors
/// With what the server says.
pub async fn archive(command: ArchiveCommand) -> anyhow::Result<ExitCode> {
    match command {
        ArchiveCommand::List { model, server } => {
            let query: Vec<(&str, &str)> = model
                .iter()
                .map(|model| ("model", model.as_str()))
                .collect();
            let listed = Server::new(&server)?.get(&["archive"], &query).await?;
            let days: Vec<&Value> = listed.as_array().into_iter().flatten().collect();
            for day in &days {
                let bytes: i64 = (day["files"].as_array().into_iter().flatten())
                    .filter_map(|file| file["bytes"].as_i64())
                    .sum();
                println!(
                    "{}  {}  {} predictions, {} labels, {} samples, {} KiB",
                    word(&day["day"]),
                    word(&day["model"]),
                    day["predictions"],
                    day["labels"],
                    day["telemetry"],
                    bytes / 1024
                );
            }
            println!("{} days", days.len());
            Ok(ExitCode::SUCCESS)
        }
        ArchiveCommand::Restore {
            model,
            from,
            to,
            keep_days,
            server,
        } => {
            let wanted = json!({"from": from, "to": to, "keep_days": keep_days});
            let path = ["models", &model, "archive", "restore"];
            let given = Server::new(&server)?.post(&path, &wanted).await?;
            let days = given["days"].as_array().map_or(0, Vec::len);
            println!(
                "{days} days, {} predictions and {} labels of model {model} were landed, {} samples stored; they stay for {keep_days} days",
                given["predictions"], given["labels"], given["telemetry"]
            );
            Ok(if days > 0 {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
        ArchiveCommand::Run(server) => run(&server).await,
    }
}

/// Erases predictions, and prints what was erased.
///
/// # Errors
/// When the file cannot be read, without ids, or with what the server says. What was erased before stays erased.
pub async fn erase(options: &EraseOptions) -> anyhow::Result<ExitCode> {
    let mut ids = options.ids.clone();
    if let Some(file) = &options.file {
        let text =
            std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
        ids.extend(
            text.lines()
                .filter(|line| !line.is_empty())
                .map(str::to_owned),
        );
    }
    anyhow::ensure!(
        !ids.is_empty(),
        "erase nothing: name ids, or a file of ids with --file"
    );
    let server = Server::new(&options.server)?;
    for some in ids.chunks(IDS_AT_ONCE) {
        let wanted = json!({"prediction_ids": some, "reason": options.reason});
        let erased = server
            .post(&["models", &options.model, "erasures"], &wanted)
            .await?;
        println!(
            "{}",
            serde_json::to_string_pretty(&erased).context("print the answer")?
        );
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_told_in_words() {
        let plan = json!({
            "standing": [{
                "project": "default", "raw_days": 30, "profile_days": 400, "measurement_days": 1100, "archives": true,
                "raw_gone_before": "2026-01-02T00:00:00Z", "problem": "the disk is full",
                "problem_since": "2026-02-01T10:00:00Z"
            }],
            "steps": [
                {"kept": "raw", "from": "2026-01-02T00:00:00Z", "whole": true, "rows": 7, "bytes": 81920, "archived": true},
                {"kept": "profiles", "from": "2025-01-02T00:00:00Z", "whole": false, "rows": null, "bytes": 2048,
                 "archived": false}
            ]
        });
        insta::assert_snapshot!(plan_text(&plan), @r"
        project default: raw rows 30 days (archived first), profiles 400 days, measurements 1100 days
          raw rows of before 2026-01-02 are gone
          since 2026-02-01: the disk is full
        archive, then drop raw of 2026-01-02 (80 KiB on disk, 7 predictions)
        delete from profiles of 2025-01-02 (2 KiB on disk)
        ");
        let nothing = json!({"standing": [], "steps": []});
        assert_eq!(plan_text(&nothing), "nothing is past\n");
    }
}

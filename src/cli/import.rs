//! `bellwether import`: files of rows, sent in parts that the server takes, with an account of every row.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use bytes::Bytes;
use serde::Deserialize;

use super::client::Server;
use super::{ImportOptions, RowKind, parts};
use crate::domain::batch::Reject;
use crate::formats::Format;

/// How many refused rows are printed.
const LISTED_REJECTS: usize = 20;

/// The server's answer to a part.
#[derive(Debug, Deserialize)]
struct Receipt {
    received: u64,
    kept: u64,
    rejected: u64,
    rejected_by_reason: BTreeMap<String, u64>,
    rejects: Vec<Reject>,
}

/// What became of all rows of all files.
#[derive(Debug, Default)]
struct Account {
    received: u64,
    kept: u64,
    rejected: u64,
    rejected_by_reason: BTreeMap<String, u64>,
    /// The first refused rows, as `file:line: field: cause`.
    rejects: Vec<String>,
}

impl Account {
    fn add(&mut self, file: &Path, line_offset: u64, receipt: Receipt) {
        self.received += receipt.received;
        self.kept += receipt.kept;
        self.rejected += receipt.rejected;
        for (reason, rows) in receipt.rejected_by_reason {
            *self.rejected_by_reason.entry(reason).or_default() += rows;
        }
        let room = LISTED_REJECTS.saturating_sub(self.rejects.len());
        let rejects = receipt.rejects.into_iter().take(room).map(|reject| {
            let line = reject.line + line_offset;
            let field = if reject.field.is_empty() {
                String::new()
            } else {
                format!("{}: ", reject.field)
            };
            format!("{}:{line}: {field}{}", file.display(), reject.cause)
        });
        self.rejects.extend(rejects);
    }

    /// The account as it is printed.
    fn text(&self) -> String {
        let mut text: String = self
            .rejects
            .iter()
            .map(|reject| format!("{reject}\n"))
            .collect();
        let hidden = self.rejected.saturating_sub(self.rejects.len() as u64);
        if hidden > 0 {
            text += &format!("and {hidden} more\n");
        }
        text += &format!(
            "{} rows received, {} kept, {} rejected",
            self.received, self.kept, self.rejected
        );
        let reasons: Vec<String> = self
            .rejected_by_reason
            .iter()
            .map(|(reason, rows)| format!("{rows} {reason}"))
            .collect();
        if !reasons.is_empty() {
            text += &format!(" ({})", reasons.join(", "));
        }
        text + "\n"
    }
}

/// Sends the files; exit code 1 when any row was refused.
///
/// # Errors
/// When a file cannot be read or the server refuses a whole part. What was sent before stays, and sending it
/// again is harmless.
pub async fn run(options: &ImportOptions) -> anyhow::Result<ExitCode> {
    let server = Server::new(&options.server)?;
    let mut account = Account::default();
    for file in &options.files {
        let sent = send_file(&server, options, file, &mut account).await;
        sent.with_context(|| format!("import {}", file.display()))
            .inspect_err(|_| print!("{}", account.text()))?;
    }
    print!("{}", account.text());
    Ok(if account.rejected == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn send_file(
    server: &Server,
    options: &ImportOptions,
    file: &Path,
    account: &mut Account,
) -> anyhow::Result<()> {
    let format = Format::from_path(file).with_context(|| unknown_format(file))?;
    let body = Bytes::from(std::fs::read(file).context("read it")?);
    let kind = match options.kind {
        RowKind::Predictions => "predictions",
        RowKind::Labels => "labels",
    };
    let version = options
        .version
        .as_deref()
        .map(|version| ("version", version));
    let query: Vec<(&str, &str)> = version
        .filter(|_| options.kind == RowKind::Predictions)
        .into_iter()
        .collect();
    for part in parts::of(format, &body) {
        let path = ["models", &options.model, kind];
        let answer = server
            .send(&path, &query, content_type(format), part.body)
            .await?;
        let receipt = serde_json::from_value(answer).context("understand the answer")?;
        account.add(file, part.line_offset, receipt);
    }
    Ok(())
}

/// How the server is told the format.
pub fn content_type(format: Format) -> &'static str {
    match format {
        Format::Json => "application/json",
        Format::Ndjson => "application/x-ndjson",
        Format::Csv => "text/csv",
        Format::Parquet => "application/vnd.apache.parquet",
        Format::Arrow => "application/vnd.apache.arrow.stream",
    }
}

/// What is said of a file whose name does not tell its format.
pub fn unknown_format(file: &Path) -> String {
    format!(
        "tell the format of {} by its name: it must end in .parquet, .csv, .ndjson, .jsonl or .json",
        file.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::batch::RejectReason;

    #[test]
    fn the_account_adds_parts_up_and_names_lines_of_the_file() {
        let receipt = |line: u64| Receipt {
            received: 100,
            kept: 88,
            rejected: 12,
            rejected_by_reason: BTreeMap::from([("wrong_type".to_owned(), 12)]),
            rejects: (0_u64..12)
                .map(|n| Reject {
                    line: line + n,
                    field: "prediction".to_owned(),
                    reason: RejectReason::WrongType,
                    cause: "not a number".to_owned(),
                })
                .collect(),
        };
        let mut account = Account::default();
        account.add(Path::new("a.csv"), 0, receipt(2));
        account.add(Path::new("a.csv"), 100, receipt(2));
        let text = account.text();
        assert!(
            text.starts_with("a.csv:2: prediction: not a number\n"),
            "{text}"
        );
        assert!(text.contains("a.csv:102: prediction"), "{text}");
        assert!(text.contains("and 4 more\n"), "{text}");
        assert!(
            text.ends_with("200 rows received, 176 kept, 24 rejected (24 wrong_type)\n"),
            "{text}"
        );
    }
}

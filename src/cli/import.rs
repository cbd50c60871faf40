//! `bellwether import`: files of rows, sent in parts that the server takes, with an account of every row.
//!
//! The server knows each file by the SHA-256 of what it holds, and how far it has been taken. So an import that was
//! interrupted goes on where it was, and one that is run again sends nothing that was taken. Should the last note have
//! been lost, its rows are sent twice, and counted as duplicates.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use serde::Deserialize;
use serde_json::json;

use super::client::Server;
use super::progress::Bar;
use super::sources::{self, Source};
use super::{FileFormat, ImportOptions, RowKind};
use crate::domain::batch::Reject;
use crate::formats::Format;

/// How many refused rows are printed.
const LISTED_REJECTS: usize = 20;

/// The server's answer to a part.
#[derive(Debug, Default, Deserialize)]
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
    /// Files that had been imported before.
    known: usize,
}

impl Account {
    /// Adds what became of a part; `place` says which file, and which line of it, a line of the part is.
    fn add<'p>(&mut self, receipt: Receipt, place: impl Fn(u64) -> (&'p Path, u64)) {
        self.received += receipt.received;
        self.kept += receipt.kept;
        self.rejected += receipt.rejected;
        for (reason, rows) in receipt.rejected_by_reason {
            *self.rejected_by_reason.entry(reason).or_default() += rows;
        }
        let room = LISTED_REJECTS.saturating_sub(self.rejects.len());
        let rejects = receipt.rejects.into_iter().take(room).map(|reject| {
            let (file, line) = place(reject.line);
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
        match self.known {
            0 => {}
            1 => text += "; 1 file had been imported before",
            known => text += &format!("; {known} files had been imported before"),
        }
        text + "\n"
    }
}

/// Sends the files; exit code 1 when any row was refused.
///
/// # Errors
/// When a file cannot be read or the server refuses a whole part. What was sent before stays, and the same command
/// again goes on from there.
pub async fn run(options: &ImportOptions) -> anyhow::Result<ExitCode> {
    let server = Server::new(&options.server)?;
    let sources = sources::find(&options.files, options.format.map(format_of))?;
    let mut account = Account::default();
    let mut bar = Bar::of(sources.len());
    for source in &sources {
        let sending = Sending {
            server: &server,
            options,
            source,
        };
        let sent = sending.send(&mut account, &mut bar).await;
        sent.with_context(|| format!("import {}", source.path().display()))
            .inspect_err(|_| {
                bar.end();
                print!("{}", account.text());
            })?;
        bar.file();
    }
    bar.end();
    print!("{}", account.text());
    Ok(if account.rejected == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn format_of(format: FileFormat) -> Format {
    match format {
        FileFormat::Json => Format::Json,
        FileFormat::Ndjson => Format::Ndjson,
        FileFormat::Csv => Format::Csv,
        FileFormat::Parquet => Format::Parquet,
        FileFormat::Arrow => Format::Arrow,
        FileFormat::SageMaker => Format::SageMaker,
        FileFormat::AzureMl => Format::AzureMl,
    }
}

/// How far the server has taken a file.
#[derive(Debug, Deserialize)]
struct Standing {
    records: u64,
    state: String,
}

impl Standing {
    fn is_complete(&self) -> bool {
        self.state == "complete"
    }
}

/// One file on its way.
struct Sending<'a> {
    server: &'a Server,
    options: &'a ImportOptions,
    source: &'a Source,
}

impl Sending<'_> {
    fn kind(&self) -> &'static str {
        match self.options.kind {
            RowKind::Predictions => "predictions",
            RowKind::Labels => "labels",
        }
    }

    /// The version that rows are sent with: labels have none.
    fn version(&self) -> Option<&str> {
        let version = self.options.version.as_deref();
        version.filter(|_| self.options.kind == RowKind::Predictions)
    }

    async fn send(&self, account: &mut Account, bar: &mut Bar) -> anyhow::Result<()> {
        let (sha256, bytes) = self.source.digest()?;
        let sha256: String = sha256.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut standing = self.begin(&sha256, bytes).await?;
        if standing.is_complete() {
            account.known += 1;
            return Ok(());
        }
        let mut parts = self.source.parts()?.peekable();
        let mut record = 0;
        while let Some(part) = parts.next() {
            let part = part?;
            let (first, behind) = (record, record + part.records);
            record = behind;
            let is_last = parts.peek().is_none();
            let receipt = if behind <= standing.records && part.records > 0 {
                // Taken by an earlier run.
                Receipt::default()
            } else {
                let receipt = self.send_part(part.format, part.body.clone()).await?;
                bar.rows(receipt.received);
                receipt
            };
            let counts = (receipt.received, receipt.kept, receipt.rejected);
            account.add(receipt, |line| {
                self.source.place(first, line, part.line_offset)
            });
            if behind > standing.records || is_last {
                let to = behind.max(standing.records);
                standing = self
                    .advance(&sha256, (standing.records, to), counts, is_last)
                    .await?;
            }
        }
        Ok(())
    }

    async fn begin(&self, sha256: &str, bytes: u64) -> anyhow::Result<Standing> {
        let file = json!({
            "kind": self.kind(), "version": self.version().unwrap_or_default(), "sha256": sha256,
            "name": self.source.path().display().to_string(), "format": self.source.format().as_str(),
            "bytes": bytes,
        });
        let path = ["models", &self.options.model, "files"];
        let answer = self.server.post(&path, &file).await?;
        serde_json::from_value(answer).context("understand the answer")
    }

    async fn advance(
        &self,
        sha256: &str,
        (from, to): (u64, u64),
        (received, kept, rejected): (u64, u64, u64),
        complete: bool,
    ) -> anyhow::Result<Standing> {
        let stretch = json!({
            "kind": self.kind(), "version": self.version().unwrap_or_default(), "from": from, "to": to,
            "received": received, "kept": kept, "rejected": rejected, "complete": complete,
        });
        let path = ["models", &self.options.model, "files", sha256];
        let answer = self.server.put(&path, &stretch).await?;
        serde_json::from_value(answer).context("understand the answer")
    }

    async fn send_part(&self, format: Format, body: bytes::Bytes) -> anyhow::Result<Receipt> {
        let query: Vec<(&str, &str)> = self
            .version()
            .map(|version| ("version", version))
            .into_iter()
            .collect();
        let path = ["models", &self.options.model, self.kind()];
        let answer = self
            .server
            .send(&path, &query, content_type(format), body)
            .await?;
        serde_json::from_value(answer).context("understand the answer")
    }
}

/// How the server is told the format.
pub fn content_type(format: Format) -> &'static str {
    match format {
        Format::Json => "application/json",
        Format::Ndjson => "application/x-ndjson",
        Format::Csv => "text/csv",
        Format::Parquet => "application/vnd.apache.parquet",
        Format::Arrow => "application/vnd.apache.arrow.stream",
        Format::SageMaker => "application/x-sagemaker-capture",
        Format::AzureMl => "application/x-azureml-collector",
    }
}

/// What is said of a file whose name does not tell its format.
pub fn unknown_format(file: &Path) -> String {
    format!(
        "tell the format of {} by its name: it must end in .parquet, .csv, .ndjson, .jsonl, .json or .arrow, or be said with --format",
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
        let file = Path::new("a.csv");
        account.add(receipt(2), |line| (file, line));
        account.add(receipt(2), |line| (file, line + 100));
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
        account.known = 3;
        let text = account.text();
        assert!(
            text.ends_with("; 3 files had been imported before\n"),
            "{text}"
        );
    }
}

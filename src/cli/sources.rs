//! What is to be imported: files that were named, that lie in a folder, or that fit a pattern, each with its format.
//!
//! Azure ML writes inputs and outputs into files of their own. They are brought together here by their correlation ids,
//! over all the files of one import, since an answer may come in another hour than its question.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::parts::{self, Part, Parts};
use crate::formats::Format;

/// Deeper folders than this are a loop made of links.
const DEEPEST: usize = 32;
/// Pairs of events that are sent together.
const PAIRS_AT_ONCE: usize = 2_000;

/// A file, or what takes the place of one.
pub enum Source {
    File {
        path: PathBuf,
        format: Format,
    },
    /// Events that belong together: the outputs of one file and their inputs.
    Events {
        path: PathBuf,
        lines: Vec<Vec<Line>>,
    },
}

/// Where a line is.
#[derive(Debug, Clone)]
pub struct Line {
    file: PathBuf,
    start: u64,
    bytes: usize,
    /// From 1.
    number: u64,
}

impl Source {
    /// What it is called in messages, and what is kept of its name.
    pub fn path(&self) -> &Path {
        match self {
            Self::File { path, .. } | Self::Events { path, .. } => path,
        }
    }

    pub fn format(&self) -> Format {
        match self {
            Self::File { format, .. } => *format,
            Self::Events { .. } => Format::AzureMl,
        }
    }

    /// The SHA-256 of what it holds, and how many bytes that are.
    pub fn digest(&self) -> anyhow::Result<([u8; 32], u64)> {
        let mut digest = Sha256::new();
        let mut bytes = 0;
        match self {
            Self::File { path, .. } => {
                let mut file = File::open(path).context("read it")?;
                let mut buffer = vec![0; 1 << 20];
                loop {
                    let read = file.read(&mut buffer).context("read it")?;
                    if read == 0 {
                        break;
                    }
                    digest.update(&buffer[..read]);
                    bytes += read as u64;
                }
            }
            Self::Events { lines, .. } => {
                for line in lines.iter().flatten() {
                    let text = line.read()?;
                    bytes += text.len() as u64;
                    digest.update(text);
                }
            }
        }
        Ok((digest.finalize().into(), bytes))
    }

    /// What is sent of it, in order.
    pub fn parts(&self) -> anyhow::Result<Parts> {
        match self {
            Self::File { path, format } => parts::of(*format, path),
            Self::Events { lines, .. } => {
                let parts: Vec<Vec<Vec<Line>>> = lines
                    .chunks(PAIRS_AT_ONCE)
                    .map(<[Vec<Line>]>::to_vec)
                    .collect();
                Ok(Box::new(parts.into_iter().map(|pairs| part_of(&pairs))))
            }
        }
    }

    /// Where a line of a body that was sent is: the file, and its line in it. `record` is the first record of the body.
    pub fn place(&self, record: u64, line: u64, line_offset: u64) -> (&Path, u64) {
        match self {
            Self::File { path, .. } => (path.as_path(), line + line_offset),
            Self::Events { path, lines } => {
                let first = usize::try_from(record).unwrap_or(usize::MAX);
                let mut sent = lines.get(first..).unwrap_or_default().iter().flatten();
                let place = usize::try_from(line.saturating_sub(1)).unwrap_or(usize::MAX);
                sent.nth(place).map_or((path.as_path(), line), |line| {
                    (line.file.as_path(), line.number)
                })
            }
        }
    }
}

impl Line {
    fn read(&self) -> anyhow::Result<Vec<u8>> {
        let mut file = File::open(&self.file).context("read it")?;
        file.seek(SeekFrom::Start(self.start)).context("read it")?;
        let mut text = vec![0; self.bytes];
        file.read_exact(&mut text)
            .context("read it; it has changed meanwhile")?;
        Ok(text)
    }
}

fn part_of(pairs: &[Vec<Line>]) -> anyhow::Result<Part> {
    let mut body = Vec::new();
    for line in pairs.iter().flatten() {
        body.extend(line.read()?);
        body.push(b'\n');
    }
    Ok(Part {
        body: Bytes::from(body),
        format: Format::AzureMl,
        records: pairs.len() as u64,
        line_offset: 0,
    })
}

/// Finds what was named.
///
/// # Errors
/// When nothing is there under a name, or the format of a file cannot be told.
pub fn find(named: &[PathBuf], forced: Option<Format>) -> anyhow::Result<Vec<Source>> {
    let mut files = Vec::new();
    for name in named {
        if name.is_dir() {
            let before = files.len();
            collect(name, 0, &mut files)?;
            if files.len() == before {
                bail!("import {}: it holds no file of rows", name.display());
            }
        } else if name.exists() {
            files.push(name.clone());
        } else {
            files.extend(matching(name)?);
        }
    }
    let mut sources = Vec::new();
    let mut events = Vec::new();
    for path in files {
        let format = match forced {
            Some(format) => format,
            None => format_of(&path)?,
        };
        if format == Format::AzureMl {
            events.push(path);
        } else {
            sources.push(Source::File { path, format });
        }
    }
    sources.extend(joined(&events)?);
    Ok(sources)
}

fn matching(pattern: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let nothing = || {
        format!(
            "import {}: there is no such file, and none that fits it as a pattern",
            pattern.display()
        )
    };
    let text = pattern.to_str().with_context(nothing)?;
    // As shells do.
    let options = glob::MatchOptions {
        require_literal_leading_dot: true,
        ..glob::MatchOptions::default()
    };
    let paths = glob::glob_with(text, options).with_context(nothing)?;
    let mut found: Vec<PathBuf> = paths
        .filter_map(Result::ok)
        .filter(|path| path.is_file())
        .collect();
    found.sort();
    if found.is_empty() {
        bail!(nothing());
    }
    Ok(found)
}

/// The files of rows below a folder, sorted by path. Hidden ones, and markers such as `_SUCCESS`, are passed over.
fn collect(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if depth > DEEPEST {
        bail!("import {}: folders are nested too deeply", folder.display());
    }
    let unreadable = || format!("import {}", folder.display());
    let mut entries: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(unreadable)? {
        entries.push(entry.with_context(unreadable)?.path());
    }
    entries.sort();
    for path in entries {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if name.starts_with('.') || name.starts_with('_') {
            continue;
        }
        if path.is_dir() {
            collect(&path, depth + 1, files)?;
        } else if Format::from_path(&path).is_some() {
            files.push(path);
        }
    }
    Ok(())
}

/// By the name of a file; of lines, by the first of them.
fn format_of(path: &Path) -> anyhow::Result<Format> {
    let format = Format::from_path(path).with_context(|| super::import::unknown_format(path))?;
    if format != Format::Ndjson {
        return Ok(format);
    }
    let unreadable = || format!("import {}", path.display());
    let mut reader = BufReader::new(File::open(path).with_context(unreadable)?);
    let mut line = Vec::new();
    while line.trim_ascii().is_empty() {
        line.clear();
        if reader
            .read_until(b'\n', &mut line)
            .with_context(unreadable)?
            == 0
        {
            break;
        }
    }
    Ok(Format::of_line(line.trim_ascii()))
}

/// A line of the collector: which request it belongs to, and whether it is of its outputs.
struct Known {
    line: Line,
    event: Option<(String, bool)>,
}

/// Events by pairs: for each file, its outputs with their inputs, and whatever else it holds that nobody else takes.
fn joined(files: &[PathBuf]) -> anyhow::Result<Vec<Source>> {
    let mut inputs: HashMap<String, Line> = HashMap::new();
    let mut answered: HashSet<String> = HashSet::new();
    let mut by_file: Vec<(PathBuf, Vec<Known>)> = Vec::new();
    for path in files {
        let mut lines = Vec::new();
        each_line(path, |line, text| {
            let event = Format::correlation(text);
            match &event {
                Some((id, false)) => {
                    inputs.entry(id.clone()).or_insert_with(|| line.clone());
                }
                Some((id, true)) => {
                    answered.insert(id.clone());
                }
                None => {}
            }
            lines.push(Known { line, event });
        })?;
        by_file.push((path.clone(), lines));
    }
    let mut taken: HashSet<String> = HashSet::new();
    let mut sources = Vec::new();
    for (path, lines) in by_file {
        let mut pairs: Vec<Vec<Line>> = Vec::new();
        for Known { line, event } in lines {
            match event {
                Some((id, true)) => {
                    let input = inputs.get(&id).filter(|_| taken.insert(id.clone()));
                    pairs.push(input.cloned().into_iter().chain([line]).collect());
                }
                // It comes with its output.
                Some((id, false)) if answered.contains(&id) => {}
                Some((_, false)) | None => pairs.push(vec![line]),
            }
        }
        if !pairs.is_empty() {
            sources.push(Source::Events { path, lines: pairs });
        }
    }
    Ok(sources)
}

fn each_line(path: &Path, mut each: impl FnMut(Line, &[u8])) -> anyhow::Result<()> {
    let unreadable = || format!("import {}", path.display());
    let mut reader = BufReader::new(File::open(path).with_context(unreadable)?);
    let (mut start, mut number) = (0_u64, 0);
    let mut text = Vec::new();
    loop {
        text.clear();
        let read = reader
            .read_until(b'\n', &mut text)
            .with_context(unreadable)?;
        if read == 0 {
            return Ok(());
        }
        number += 1;
        let trimmed = text.trim_ascii_end();
        if !trimmed.is_empty() {
            let line = Line {
                file: path.to_owned(),
                start,
                bytes: trimmed.len(),
                number,
            };
            each(line, trimmed);
        }
        start += read as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> PathBuf {
        let folder = std::env::temp_dir().join(format!("sources-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(folder.join("b")).expect("made");
        folder
    }

    fn names(sources: &[Source], folder: &Path) -> Vec<(String, Format)> {
        let name = |source: &Source| {
            let path = source.path().strip_prefix(folder).expect("below it");
            (path.display().to_string(), source.format())
        };
        sources.iter().map(name).collect()
    }

    #[test]
    fn folders_patterns_and_files_are_found_in_order() {
        let folder = folder();
        let put =
            |name: &str, text: &str| std::fs::write(folder.join(name), text).expect("written");
        put("2.csv", "a\n");
        put("1.ndjson", "{}\n");
        put(
            "b/3.jsonl",
            "\n{\"eventMetadata\": {}, \"eventVersion\": \"0\"}\n",
        );
        put("_SUCCESS", "");
        put(".hidden.csv", "");
        put("notes.txt", "");
        let of =
            |named: &[PathBuf], forced| find(named, forced).map(|found| names(&found, &folder));
        let all = of(std::slice::from_ref(&folder), None).expect("found");
        let file = |name: &str, format| (name.to_owned(), format);
        assert_eq!(
            all,
            [
                file("1.ndjson", Format::Ndjson),
                file("2.csv", Format::Csv),
                file("b/3.jsonl", Format::SageMaker),
            ]
        );
        assert_eq!(
            of(&[folder.join("*.csv")], None).expect("found"),
            [file("2.csv", Format::Csv)]
        );
        let forced = of(&[folder.join("notes.txt")], Some(Format::Csv)).expect("found");
        assert_eq!(forced, [file("notes.txt", Format::Csv)]);
        for (named, told) in [
            ("*.parquet", "no such file"),
            ("nothing.csv", "no such file"),
            ("notes.txt", ".parquet"),
        ] {
            let refused = of(&[folder.join(named)], None).expect_err("refused");
            assert!(format!("{refused:#}").contains(told), "{refused:#}");
        }
        std::fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn inputs_go_with_their_outputs_whatever_file_they_are_in() {
        let folder = folder();
        let event = |side: &str, id: &str| {
            format!(
                "{{\"specversion\":\"1.0\",\"type\":\"azureml.inference.model_{side}\",\"correlationid\":\"{id}\"}}\n"
            )
        };
        let put =
            |name: &str, text: String| std::fs::write(folder.join(name), text).expect("written");
        put(
            "inputs-9.jsonl",
            event("inputs", "a") + &event("inputs", "b") + &event("inputs", "lost"),
        );
        put("outputs-9.jsonl", event("outputs", "a"));
        put(
            "outputs-x10.jsonl",
            event("outputs", "b") + &event("outputs", "c"),
        );
        let found = find(std::slice::from_ref(&folder), None).expect("found");
        let bodies: Vec<(String, Vec<String>)> = found
            .iter()
            .map(|source| {
                let part = source
                    .parts()
                    .expect("parts")
                    .next()
                    .expect("one")
                    .expect("read");
                let text = String::from_utf8(part.body.to_vec()).expect("text");
                let ids = text.lines().map(|line| {
                    let (id, output) = Format::correlation(line.as_bytes()).expect("an event");
                    format!("{id}{}", if output { ">" } else { "<" })
                });
                (
                    names(std::slice::from_ref(source), &folder)[0].0.clone(),
                    ids.collect(),
                )
            })
            .collect();
        let unit = |name: &str, ids: &[&str]| {
            (
                name.to_owned(),
                ids.iter().map(|id| (*id).to_owned()).collect(),
            )
        };
        assert_eq!(
            bodies,
            [
                unit("inputs-9.jsonl", &["lost<"]),
                unit("outputs-9.jsonl", &["a<", "a>"]),
                unit("outputs-x10.jsonl", &["b<", "b>", "c>"]),
            ]
        );
        let (file, line) = found[2].place(0, 1, 0);
        assert_eq!((file, line), (folder.join("inputs-9.jsonl").as_path(), 2));
        std::fs::remove_dir_all(folder).expect("removed");
    }
}

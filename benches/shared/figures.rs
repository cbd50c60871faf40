//! What is printed at the end: a table for people, a line per figure for comparison, and the facts about the
//! machine without which neither says anything. The benches share it.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

const DOCUMENT: &str = "docs/benchmarks.md";

/// Which side of the goal is good.
#[derive(Debug, Clone, Copy)]
pub enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

struct Figure {
    name: String,
    value: f64,
    goal: Goal,
}

impl Figure {
    fn line(&self) -> String {
        let (goal, met) = match self.goal {
            Goal::AtLeast(goal) => (goal, self.value >= goal),
            Goal::AtMost(goal) => (goal, self.value <= goal),
        };
        let verdict = if met { "met" } else { "short" };
        format!(
            "figure {} {} {} {verdict}",
            self.name,
            rounded(self.value),
            rounded(goal)
        )
    }
}

/// A table of its own.
struct Table {
    caption: String,
    columns: Vec<String>,
    lines: Vec<Vec<String>>,
}

impl Table {
    fn told(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let rule = vec!["---".to_owned(); self.columns.len()];
        let lines: String = self.lines.iter().map(|cells| line(cells)).collect();
        format!(
            "{}\n\n{}{}{lines}",
            self.caption,
            line(&self.columns),
            line(&rule)
        )
    }
}

/// Everything that was measured, in the order it was.
#[derive(Default)]
pub struct Report {
    rows: Vec<(String, String)>,
    tables: Vec<Table>,
    figures: Vec<Figure>,
}

impl Report {
    /// A line of the table.
    pub fn tell(&mut self, what: impl Into<String>, value: impl Into<String>) {
        let (what, value) = (what.into(), value.into());
        eprintln!("  {what}: {value}");
        self.rows.push((what, value));
    }

    /// A table of its own, below the lines.
    pub fn table(&mut self, caption: impl Into<String>, columns: &[&str], lines: Vec<Vec<String>>) {
        let table = Table {
            caption: caption.into(),
            columns: columns.iter().map(|&column| column.to_owned()).collect(),
            lines,
        };
        eprintln!("{}", table.told());
        self.tables.push(table);
    }

    pub fn figure(&mut self, name: impl Into<String>, value: f64, goal: Goal) {
        let name = name.into();
        self.figures.push(Figure { name, value, goal });
    }

    /// All that is for people: a table of the lines, and the others.
    fn told(&self) -> String {
        let mut told = String::new();
        if !self.rows.is_empty() {
            told.push_str("| measured | result |\n| --- | --- |\n");
        }
        for (what, value) in &self.rows {
            writeln!(told, "| {what} | {value} |").expect("writing to a String cannot fail");
        }
        for table in &self.tables {
            if !told.is_empty() {
                told.push('\n');
            }
            told.push_str(&table.told());
        }
        told
    }

    fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.tables.is_empty()
    }

    fn figure_lines(&self) -> String {
        self.figures
            .iter()
            .map(|figure| figure.line() + "\n")
            .collect()
    }

    /// Prints the report; one in which nothing was measured is left out.
    pub fn print(&self) {
        if self.is_empty() {
            return;
        }
        println!("{}\n{}", self.told(), self.figure_lines());
    }

    /// Puts the report into the document, in place of what an earlier run of the same kind left there; one in which
    /// nothing was measured leaves it there.
    pub fn write(&self, section: &str, command: &str, facts: &str) -> anyhow::Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(DOCUMENT);
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {DOCUMENT}"))?;
        let (begin, end) = (
            format!("<!-- {section}: begin -->\n"),
            format!("<!-- {section}: end -->\n"),
        );
        let (before, rest) = text
            .split_once(&begin)
            .with_context(|| format!("find {begin:?} in {DOCUMENT}"))?;
        let (_, after) = rest
            .split_once(&end)
            .with_context(|| format!("find {end:?} in {DOCUMENT}"))?;
        let block = format!(
            "`{command}`\n\n{facts}\n\n{}\n```text\n{}```\n",
            self.told(),
            self.figure_lines()
        );
        std::fs::write(&path, format!("{before}{begin}\n{block}\n{end}{after}"))
            .with_context(|| format!("write {DOCUMENT}"))
    }
}

/// A number with as many digits as mean something.
pub fn rounded(value: f64) -> String {
    match value.abs() {
        0.0..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// A rate, readable.
pub fn per_second(rate: f64) -> String {
    format!("{}/s", thousands(rate))
}

pub fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The middle of some values, and between which they lie.
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

impl Spread {
    /// # Panics
    /// Without values.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Self {
            median,
            least: values[0],
            most: values[values.len() - 1],
        }
    }

    pub fn told(&self) -> String {
        format!(
            "{} ({} to {})",
            rounded(self.median),
            rounded(self.least),
            rounded(self.most)
        )
    }
}

/// The day, the machine with what `more` says of it, and the commit that was measured.
pub fn facts(more: &str) -> anyhow::Result<String> {
    let date = Command::new("date").args(["-u", "+%F"]).output()?.stdout;
    Ok(format!(
        "{}, {}{} cores{more}, Bellwether {}.",
        String::from_utf8_lossy(&date).trim(),
        processor(),
        std::thread::available_parallelism()?,
        revision()?
    ))
}

/// `make` with the arguments of this run: the command that leads to the same kind of run.
pub fn command(target: &str) -> String {
    let passed: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    if passed.is_empty() {
        target.to_owned()
    } else {
        format!("{target} ARGS=\"{}\"", passed.join(" "))
    }
}

/// What the processor is called, where it says so.
fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == "model name").then(|| value.trim())
    });
    name.map_or_else(String::new, |name| format!("{name}, "))
}

/// The commit that was measured, `-dirty` where what is measured differs from it. The documents do
/// not count: writing one section's figures changes them before the next is written.
fn revision() -> anyhow::Result<String> {
    let git = |arguments: &[&str]| {
        Command::new("git")
            .args(arguments)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
    };
    let Ok(commit) = git(&["describe", "--always"]) else {
        return Ok(env!("CARGO_PKG_VERSION").to_owned());
    };
    ensure!(commit.status.success(), "ask git for the revision");
    let changes = git(&["diff", "--quiet", "HEAD", "--", ".", ":(exclude)docs"])?;
    let commit = String::from_utf8_lossy(&commit.stdout).trim().to_owned();
    Ok(if changes.status.success() {
        commit
    } else {
        format!("{commit}-dirty")
    })
}

//! What Bellwether is compared with: the ways to store predictions that an engineer writes by hand. Files are
//! written, and on the disk, before the clock starts.
//!
//! 1. `\copy` in the binary format into one typed wide table whose key is the prediction id;
//! 2. `\copy` of one `jsonb` per prediction with the same key.
//!
//! Both in transactions of 100,000 rows, so that what is in is durable piece by piece. Beside them, `pgbench`
//! that inserts single rows into the wide table.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::bodies;
use crate::generator::{self, Generator, NUMBERS, Rows};
use crate::postgres::Cluster;

const ROWS_PER_COPY: usize = 100_000;
/// The start of a file in the binary format: its mark, no flags, no extension.
const BINARY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const BINARY_END: [u8; 2] = (-1_i16).to_be_bytes();
/// Postgres counts microseconds from 2000 on.
const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Wide,
    Jsonb,
}

impl Way {
    pub fn name(self) -> &'static str {
        match self {
            Self::Wide => "\\copy binary, wide table",
            Self::Jsonb => "\\copy, one jsonb row",
        }
    }

    fn table(self) -> &'static str {
        match self {
            Self::Wide => "wide",
            Self::Jsonb => "documents",
        }
    }

    fn copy_format(self) -> &'static str {
        match self {
            Self::Wide => " WITH (FORMAT binary)",
            Self::Jsonb => "",
        }
    }

    fn definition(self) -> String {
        match self {
            Self::Wide => wide_definition(),
            Self::Jsonb => {
                "CREATE TABLE documents (id uuid PRIMARY KEY, body jsonb NOT NULL)".into()
            }
        }
    }
}

fn wide_definition() -> String {
    let mut columns = vec![
        "id uuid PRIMARY KEY".to_owned(),
        "predicted_at timestamptz NOT NULL".to_owned(),
        "score float8 NOT NULL".to_owned(),
    ];
    columns.extend((0..NUMBERS).map(|feature| generator::number_name(feature) + " float8"));
    columns.extend(
        (0..generator::category_count()).map(|feature| generator::category_name(feature) + " text"),
    );
    format!("CREATE TABLE wide ({})", columns.join(", "))
}

/// A database with a table of one of the ways.
pub struct ByHand {
    pub way: Way,
    pub database: String,
}

impl ByHand {
    pub fn create(cluster: &Cluster, way: Way, database: &str) -> anyhow::Result<Self> {
        cluster.create(database)?;
        cluster.query(database, &way.definition())?;
        Ok(Self {
            way,
            database: database.to_owned(),
        })
    }

    /// Copies the next rows of a stream, and says how long that took.
    pub fn copy(
        &self,
        cluster: &Cluster,
        generator: &mut Generator,
        rows: u64,
    ) -> anyhow::Result<Duration> {
        let folder = cluster.folder().join(&self.database);
        std::fs::create_dir_all(&folder).context("make a folder for the files to copy")?;
        let script = self.write_files(&folder, generator, rows)?;
        let before = self.stored(cluster)?;
        cluster.settle_down(&self.database)?;

        let started = Instant::now();
        cluster.script(&self.database, &script)?;
        let taken = started.elapsed();

        ensure!(
            self.stored(cluster)? == before + rows,
            "{} did not store what it was given",
            self.way.name()
        );
        std::fs::remove_dir_all(&folder).context("remove the files that were copied")?;
        Ok(taken)
    }

    fn stored(&self, cluster: &Cluster) -> anyhow::Result<u64> {
        let sql = format!("SELECT count(*) FROM {}", self.way.table());
        cluster.number(&self.database, &sql)
    }

    /// Writes the files, and the script that copies them one after the other.
    fn write_files(
        &self,
        folder: &Path,
        generator: &mut Generator,
        rows: u64,
    ) -> anyhow::Result<PathBuf> {
        let mut left = usize::try_from(rows).context("write so many rows")?;
        let mut script = String::new();
        while left > 0 {
            let batch = generator.rows(left.min(ROWS_PER_COPY));
            left -= batch.len();
            let path = folder.join(format!("{left}.copy"));
            self.write_file(&path, &batch, generator)?;
            writeln!(
                script,
                "\\copy {} FROM '{}'{}",
                self.way.table(),
                path.display(),
                self.way.copy_format()
            )?;
        }
        let path = folder.join("script.sql");
        std::fs::write(&path, script).context("write the script")?;
        Ok(path)
    }

    fn write_file(&self, path: &Path, rows: &Rows, generator: &Generator) -> anyhow::Result<()> {
        let mut file = BufWriter::new(File::create(path).context("make a file to copy")?);
        match self.way {
            Way::Wide => write_binary(&mut file, rows, generator)?,
            Way::Jsonb => write_documents(&mut file, rows, generator)?,
        }
        let file = file.into_inner().context("write a file to copy")?;
        // Else the disk would be busy with it while the copy is measured.
        file.sync_all().context("write a file to copy to the disk")
    }
}

fn write_binary(file: &mut impl Write, rows: &Rows, generator: &Generator) -> anyhow::Result<()> {
    let columns = i16::try_from(3 + NUMBERS + generator::category_count())?;
    file.write_all(BINARY_HEADER)?;
    for row in 0..rows.len() {
        file.write_all(&columns.to_be_bytes())?;
        write_value(file, Some(rows.ids[row].as_bytes()))?;
        let time = rows.times[row] - POSTGRES_EPOCH_MICROS;
        write_value(file, Some(&time.to_be_bytes()))?;
        write_value(file, Some(&rows.scores[row].to_be_bytes()))?;
        for values in &rows.numbers {
            let value = values[row].map(f64::to_be_bytes);
            write_value(file, value.as_ref().map(<[u8; 8]>::as_slice))?;
        }
        for (feature, values) in rows.categories.iter().enumerate() {
            let text = values[row].map(|value| generator.vocabulary.text(feature, value));
            write_value(file, text.map(str::as_bytes))?;
        }
    }
    file.write_all(&BINARY_END)?;
    Ok(())
}

/// A value with its length before it, or the length that says null.
fn write_value(file: &mut impl Write, value: Option<&[u8]>) -> anyhow::Result<()> {
    let Some(value) = value else {
        return Ok(file.write_all(&(-1_i32).to_be_bytes())?);
    };
    file.write_all(&i32::try_from(value.len())?.to_be_bytes())?;
    Ok(file.write_all(value)?)
}

fn write_documents(
    file: &mut impl Write,
    rows: &Rows,
    generator: &Generator,
) -> anyhow::Result<()> {
    let mut text = String::new();
    for row in 0..rows.len() {
        text.clear();
        bodies::write_json(&mut text, rows, row, &generator.vocabulary, false);
        // The texts hold no backslash, tabulator or line break, so nothing has to be escaped.
        writeln!(file, "{}\t{text}", rows.ids[row])?;
    }
    Ok(())
}

/// Rows a second that `pgbench` inserts one by one over 64 connections.
pub fn single_rows_per_second(
    cluster: &Cluster,
    database: &str,
    lasting: Duration,
) -> anyhow::Result<f64> {
    let table = ByHand::create(cluster, Way::Wide, database)?;
    cluster.settle_down(database)?;
    let script = cluster.folder().join("insert.sql");
    std::fs::write(&script, insert_script()).context("write pgbench's script")?;
    let started = Instant::now();
    let output = cluster
        .client("pgbench", database)
        .args(["-n", "-c", "64", "-j", "2", "-M", "prepared", "-f"])
        .arg(&script)
        .args(["-T", &lasting.as_secs().to_string()])
        .output()
        .context("run pgbench")?;
    let taken = started.elapsed();
    ensure!(
        output.status.success(),
        "run pgbench: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let rows = table.stored(cluster)?;
    cluster.drop_database(database)?;
    Ok(rows as f64 / taken.as_secs_f64())
}

/// A row of random values. They are drawn by pgbench, not by the server, but for the id.
fn insert_script() -> String {
    let mut script = String::new();
    let mut values = vec!["gen_random_uuid()", "now()"]
        .into_iter()
        .map(str::to_owned)
        .collect::<Vec<_>>();
    let mut draw = |name: String, drawn: &str| {
        script.push_str(&format!("\\set {name} {drawn}\n"));
        values.push(format!(":{name}"));
    };
    draw("score".to_owned(), "random(1, 999999) / 1000000.0");
    for feature in 0..NUMBERS {
        draw(
            generator::number_name(feature),
            "random(1, 1000000) / 100.0",
        );
    }
    for feature in 0..generator::category_count() {
        draw(generator::category_name(feature), "random(1000, 1200)");
    }
    script + &format!("INSERT INTO wide VALUES ({});\n", values.join(", "))
}

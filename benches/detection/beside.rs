//! The peers themselves on the same streams as ours, where `scripts/peers` has installed them: a sample of the streams is
//! written as Parquet files, and read by Evidently's and NannyML's own programs, by `bellwether compare`, and by the detector.
//!
//! They are much too slow for thousands of days. The other tables take their statistics from [`crate::statistics`], and that
//! these are theirs is what the days of this sample show, one by one.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, ensure};
use arrow_array::{
    ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray,
};
use bellwether::stats::detector::Status;
use bellwether::stats::parity::NumberKind;
use parquet::arrow::ArrowWriter;
use serde::Deserialize;

use crate::Run;
use crate::changes::Drift;
use crate::figures::{Goal, Report};
use crate::kinds::{Kind, kinds, more_kinds};
use crate::matched::ROWS;
use crate::peers::python_of;
use crate::random::Random;
use crate::real::{REFERENCE_DAYS, Stream};
use crate::statistics::{EVIDENTLY_CUT, Peers, Rows};
use crate::streams::{Calm, Day, DayOfFeature, World, thirty_features};

/// 2024-01-01, a Monday.
const FIRST_MILLISECOND: i64 = 1_704_067_200_000;
const DAY_MILLISECONDS: i64 = 86_400_000;
/// Distances that differ by less are the same.
const SAME: f64 = 1e-9;

/// A stream of the sample: what happens, and its rows.
struct Sample {
    name: String,
    kinds: Vec<Kind>,
    /// By feature and day, those of the reference first.
    features: Vec<Vec<Cells>>,
}

/// A day's rows of a feature, in their order.
enum Cells {
    Numbers(Vec<Option<f64>>, NumberKind),
    Levels(Vec<usize>),
}

impl Cells {
    fn of(day: &DayOfFeature, random: &mut Random) -> Self {
        match day {
            DayOfFeature::Number(numbers) => Self::Numbers(
                (0..ROWS).map(|_| numbers.draw(random)).collect(),
                numbers.kind(),
            ),
            DayOfFeature::Category(shares) => {
                let counts = random.multinomial(ROWS, shares);
                let rows = counts.iter().enumerate();
                let mut rows: Vec<usize> = rows
                    .flat_map(|(level, count)| vec![level; *count as usize])
                    .collect();
                // In the order of their levels they would go with each other.
                random.shuffle(&mut rows);
                Self::Levels(rows)
            }
        }
    }

    /// What a statistic looks at.
    fn rows(&self, levels: usize) -> Rows {
        match self {
            Self::Numbers(values, kind) => {
                Rows::Numbers(values.iter().flatten().copied().collect(), *kind)
            }
            Self::Levels(rows) => {
                let mut counts = vec![0; levels];
                for level in rows {
                    counts[*level] += 1;
                }
                Rows::Levels(counts)
            }
        }
    }
}

impl Sample {
    fn draw(name: &str, calm: Calm, kinds: Vec<Kind>, days: usize, seed: u64) -> Self {
        let drifts: Vec<(usize, Drift)> =
            kinds.iter().map(|k| (k.place, k.drift.clone())).collect();
        let mut world = World::new(thirty_features(), calm, ROWS, Random::of(seed, 0));
        let mut random = Random::of(seed, 1);
        let of_day = |day: usize| -> Day {
            let drifts = if day < REFERENCE_DAYS {
                &[][..]
            } else {
                &drifts
            };
            world.day(day, drifts, 1.0)
        };
        let days: Vec<Day> = (0..REFERENCE_DAYS + days).map(of_day).collect();
        let features = (0..days[0].features.len()).map(|place| {
            let cells = days
                .iter()
                .map(|day| Cells::of(&day.features[place], &mut random));
            cells.collect()
        });
        Self {
            name: name.to_owned(),
            kinds,
            features: features.collect(),
        }
    }

    fn days(&self) -> usize {
        self.features[0].len() - REFERENCE_DAYS
    }

    /// The name of a feature in the files: numbers begin with `n`, categories with `c`.
    fn column(&self, place: usize) -> String {
        let kind = match self.features[place][0] {
            Cells::Numbers(..) => 'n',
            Cells::Levels(_) => 'c',
        };
        format!("{kind}{place:02}")
    }

    /// Writes the files of the reference and of the days after it.
    fn write(&self, folder: &Path) -> anyhow::Result<[PathBuf; 2]> {
        let folder = folder.join(&self.name);
        std::fs::create_dir_all(&folder)?;
        let files = ["reference.parquet", "current.parquet"].map(|file| folder.join(file));
        let days = [0..REFERENCE_DAYS, REFERENCE_DAYS..self.features[0].len()];
        for (file, days) in files.iter().zip(days) {
            let batch = self.batch(days)?;
            let mut writer = ArrowWriter::try_new(File::create(file)?, batch.schema(), None)?;
            writer.write(&batch)?;
            writer.close()?;
        }
        Ok(files)
    }

    fn batch(&self, days: std::ops::Range<usize>) -> anyhow::Result<RecordBatch> {
        let times = days.clone().flat_map(|day| {
            let first = FIRST_MILLISECOND + day as i64 * DAY_MILLISECONDS;
            (0..ROWS as i64).map(move |row| first + row * (DAY_MILLISECONDS / ROWS as i64))
        });
        let times = TimestampMillisecondArray::from_iter_values(times).with_timezone("UTC");
        let mut columns: Vec<(String, ArrayRef)> = vec![("timestamp".to_owned(), Arc::new(times))];
        for (place, cells) in self.features.iter().enumerate() {
            columns.push((self.column(place), array(&cells[days.clone()])));
        }
        Ok(RecordBatch::try_from_iter(columns)?)
    }
}

fn array(days: &[Cells]) -> ArrayRef {
    let numbers = || {
        days.iter().flat_map(|day| match day {
            Cells::Numbers(values, _) => values.as_slice(),
            Cells::Levels(_) => unreachable!("a feature keeps its kind"),
        })
    };
    match &days[0] {
        Cells::Numbers(_, NumberKind::Float) => {
            Arc::new(numbers().copied().collect::<Float64Array>())
        }
        Cells::Numbers(_, NumberKind::Integer) => {
            let whole = numbers().map(|value| value.map(|value| value as i64));
            Arc::new(whole.collect::<Int64Array>())
        }
        Cells::Levels(_) => {
            let levels = days.iter().flat_map(|day| match day {
                Cells::Levels(levels) => levels.as_slice(),
                Cells::Numbers(..) => unreachable!("a feature keeps its kind"),
            });
            let names = levels.map(|level| format!("level {level}"));
            Arc::new(StringArray::from_iter_values(names))
        }
    }
}

/// What a peer says of a day of a column, or of all columns together.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Said {
    value: f64,
    threshold: f64,
    drift: bool,
}

#[derive(Deserialize)]
struct Line {
    day: usize,
    column: Option<String>,
    #[serde(flatten)]
    said: Said,
}

/// By column and day.
type Verdicts = BTreeMap<(Option<String>, usize), Said>;

fn verdicts(peer: &str, python: &Path, files: &[PathBuf; 2]) -> anyhow::Result<Verdicts> {
    let program = format!("benches/detection/peers/run_{peer}.py");
    let output = Command::new(python)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(program))
        .args(files)
        .output()
        .with_context(|| format!("run {peer}"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "run {peer}: {told}");
    let lines = String::from_utf8(output.stdout)?;
    let lines = lines
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| {
            let Line { day, column, said } = serde_json::from_str(line)?;
            Ok(((column, day), said))
        });
    lines.collect()
}

/// How far what a peer says is from what [`crate::statistics`] makes of the same rows.
#[derive(Default)]
struct Agreement {
    verdicts: usize,
    equal: usize,
    difference: f64,
}

impl Agreement {
    fn see(&mut self, said: &Said, value: f64, cut: f64, drift: bool) {
        self.verdicts += 1;
        self.equal += usize::from(said.drift == drift);
        for gap in [said.value - value, said.threshold - cut] {
            self.difference = self.difference.max(gap.abs());
        }
    }

    fn share(&self) -> f64 {
        self.equal as f64 / self.verdicts.max(1) as f64
    }
}

/// A sample with what everybody says of its features, by feature and day.
struct Told {
    sample: Sample,
    ours: Vec<Vec<bool>>,
    /// Evidently and NannyML, where installed.
    peers: [Option<Verdicts>; 2],
    /// Features that `bellwether compare` calls drifted on some day.
    compared: Vec<String>,
}

impl Told {
    fn of(sample: Sample, folder: &Path, run: &Run) -> anyhow::Result<Self> {
        let files = sample.write(folder)?;
        let paths = [files[0].as_path(), files[1].as_path()];
        let stream = Stream::read_all(&paths)?;
        let candidates = stream.in_order(&run.settings).into_iter().map(|(_, days)| {
            days.iter()
                .map(|day| day.status == Status::Candidate)
                .collect()
        });
        let peer = |peer: &str| {
            let python = python_of(peer);
            python
                .map(|python| verdicts(peer, &python, &files))
                .transpose()
        };
        Ok(Self {
            ours: candidates.collect(),
            peers: [peer("evidently")?, peer("nannyml")?],
            compared: compared(&files)?,
            sample,
        })
    }

    /// Whether a peer calls a day of a feature drift.
    fn says(&self, peer: usize, place: usize, day: usize) -> Option<&Said> {
        let verdicts = self.peers[peer].as_ref()?;
        verdicts.get(&(Some(self.sample.column(place)), day))
    }

    /// Days of a feature called drift: ours, Evidently's, NannyML's.
    fn days(&self, place: usize) -> [Option<Vec<bool>>; 3] {
        let of_peer = |peer: usize| {
            let days = 0..self.sample.days();
            days.map(|day| self.says(peer, place, day).map(|said| said.drift))
                .collect()
        };
        [Some(self.ours[place].clone()), of_peer(0), of_peer(1)]
    }

    /// Holds what the peers say against the same statistics by [`crate::statistics`].
    fn agree(&self, agreements: &mut [Agreement; 2]) {
        for (place, cells) in self.sample.features.iter().enumerate() {
            let levels = cells.iter().map(|day| match day {
                Cells::Levels(levels) => levels.iter().max().map_or(0, |most| most + 1),
                Cells::Numbers(..) => 0,
            });
            let levels = levels.max().unwrap_or(0);
            let rows: Vec<Rows> = cells.iter().map(|day| day.rows(levels)).collect();
            let (before, after) = rows.split_at(REFERENCE_DAYS);
            let own = Peers::of(before);
            for (day, rows) in after.iter().enumerate() {
                let [evidently, nannyml] = own.distances(rows);
                if let Some(said) = self.says(0, place, day) {
                    let drift = evidently >= EVIDENTLY_CUT;
                    agreements[0].see(said, evidently, EVIDENTLY_CUT, drift);
                }
                if let Some(said) = self.says(1, place, day) {
                    let drift = nannyml > own.nannyml_cut;
                    agreements[1].see(said, nannyml, own.nannyml_cut, drift);
                }
            }
        }
    }
}

/// The features that `bellwether compare` says have drifted on some day.
fn compared(files: &[PathBuf; 2]) -> anyhow::Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Document {
        over_days: OverDays,
    }
    #[derive(Deserialize)]
    struct OverDays {
        verdicts: Vec<Feature>,
    }
    #[derive(Deserialize)]
    struct Feature {
        feature: String,
        measure: String,
        status: String,
    }
    let output = Command::new(env!("CARGO_BIN_EXE_bellwether"))
        .arg("compare")
        .args(files)
        .args(["--format", "json"])
        .output()
        .context("run bellwether compare")?;
    let told = String::from_utf8_lossy(&output.stderr);
    let document: Document = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("read what bellwether compare says: {told}"))?;
    let verdicts = document.over_days.verdicts.into_iter();
    let drifted = verdicts.filter(|of| of.measure == "shift" && of.status == "drift");
    Ok(drifted.map(|of| of.feature).collect())
}

/// The table of the sample, and whether the peers say what the other tables have them say.
pub fn report(run: &Run, report: &mut Report) -> anyhow::Result<()> {
    let installed = ["evidently", "nannyml"].map(|peer| python_of(peer).is_some());
    if installed == [false; 2] {
        report.tell(
            "Evidently and NannyML on the same files",
            "neither is installed (scripts/peers evidently nannyml)",
        );
        return Ok(());
    }
    let (times, days) = if run.long { (5, 20) } else { (1, 10) };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/detection");
    let [more, _] = more_kinds();
    let streams = [
        ("days-alike", Calm::IID, Vec::new()),
        ("days-differ", Calm::DIFFERING, Vec::new()),
        ("changes", Calm::IID, kinds()),
        ("more-changes", Calm::IID, more),
    ];
    let told = crate::parallel(times * streams.len(), |index| {
        let (name, calm, kinds) = &streams[index % streams.len()];
        let name = format!("{name}-{}", index / streams.len());
        let seed = run.seed ^ (index as u64) << 32;
        let sample = Sample::draw(&name, *calm, kinds.clone(), days, seed);
        Told::of(sample, &folder, run)
    });
    let told: Vec<Told> = told.into_iter().collect::<Result<_, _>>()?;
    agreements(run, report, &told);
    calm_days(report, &told);
    changes(report, &told);
    same_by_the_program(report, &told);
    Ok(())
}

fn agreements(run: &Run, report: &mut Report, told: &[Told]) {
    let mut agreements: [Agreement; 2] = Default::default();
    for stream in told {
        stream.agree(&mut agreements);
    }
    for (name, agreement) in ["Evidently", "NannyML"].into_iter().zip(agreements) {
        if agreement.verdicts == 0 {
            report.tell(format!("{name} on the same files"), "not installed");
            continue;
        }
        report.tell(
            format!("{name}'s own verdicts on the same files that are those of the tables above"),
            format!(
                "{} of {}; distances and cut-offs differ by {:.1e} at most",
                agreement.equal, agreement.verdicts, agreement.difference
            ),
        );
        let name = name.to_lowercase();
        let (share, difference) = (agreement.share(), agreement.difference / SAME);
        run.figures(
            report,
            &format!("same_verdicts_as_{name}"),
            share,
            Goal::AtLeast(1.0),
            None,
        );
        run.figures(
            report,
            &format!("billionths_from_{name}"),
            difference,
            Goal::AtMost(1.0),
            None,
        );
    }
}

/// How much of calm days everybody flags.
fn calm_days(report: &mut Report, told: &[Told]) {
    for (name, said) in [
        ("days-alike", "days alike"),
        ("days-differ", "days differ by 0.05 σ"),
    ] {
        let streams = || told.iter().filter(|of| of.sample.name.starts_with(name));
        for (who, peer) in ["Bellwether", "Evidently", "NannyML"]
            .into_iter()
            .enumerate()
        {
            let (mut feature_days, mut flagged, mut days, mut with_any) = (0, 0, 0, 0);
            for stream in streams() {
                let features = 0..stream.sample.features.len();
                let verdicts: Vec<Vec<bool>> = features
                    .filter_map(|place| stream.days(place)[who].clone())
                    .collect();
                if verdicts.is_empty() {
                    continue;
                }
                for day in 0..stream.sample.days() {
                    let drifted = verdicts.iter().filter(|feature| feature[day]).count();
                    flagged += drifted;
                    feature_days += verdicts.len();
                    days += 1;
                    with_any += usize::from(drifted > 0);
                }
            }
            if days > 0 {
                report.tell(
                    format!("{peer} itself, at its defaults, {said}: calm days with a feature flagged; feature-days flagged"),
                    format!("{with_any} of {days}; {flagged} of {feature_days}"),
                );
            }
        }
    }
    for of in told {
        let reconstruction = of.peers[1]
            .iter()
            .flatten()
            .filter(|((column, _), _)| column.is_none());
        let verdicts: Vec<bool> = reconstruction.map(|(_, said)| said.drift).collect();
        if !verdicts.is_empty() {
            report.tell(
                format!(
                    "NannyML's reconstruction error, {}: days flagged",
                    of.sample.name
                ),
                format!(
                    "{} of {}",
                    verdicts.iter().filter(|drift| **drift).count(),
                    verdicts.len()
                ),
            );
        }
    }
}

/// A line for every kind of change: the first day it is flagged, and how many are, by everybody at their defaults.
fn changes(report: &mut Report, told: &[Told]) {
    let mut lines: Vec<Vec<String>> = Vec::new();
    for of in told {
        for kind in &of.sample.kinds {
            let cells = of.days(kind.place).map(|days| {
                days.map_or_else(|| "not installed".to_owned(), |days| first_and_share(&days))
            });
            lines.push(std::iter::once(kind.name.clone()).chain(cells).collect());
        }
    }
    report.table(
        "Everybody's own program on the same files, at its defaults: the first day that a change is flagged on, and on how many it is:",
        &["change", "Bellwether", "Evidently", "NannyML"],
        lines,
    );
}

fn first_and_share(days: &[bool]) -> String {
    let flagged = days.iter().filter(|day| **day).count();
    match days.iter().position(|day| *day) {
        Some(first) => format!("day {}; {flagged} of {}", first + 1, days.len()),
        None => format!("never in {}", days.len()),
    }
}

/// Whether `bellwether compare` says of the files what the detector says of their rows.
fn same_by_the_program(report: &mut Report, told: &[Told]) {
    let (mut features, mut same) = (0, 0);
    for of in told {
        for place in 0..of.sample.features.len() {
            let by_detector = of.ours[place].contains(&true);
            let by_program = of.compared.contains(&of.sample.column(place));
            features += 1;
            same += usize::from(by_detector == by_program);
        }
    }
    report.tell(
        "features of which `bellwether compare` says of the files what the detector says of their rows",
        format!("{same} of {features}"),
    );
}

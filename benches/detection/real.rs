//! Real days in an order they never had: whatever is called drift then is a false alarm.
//!
//! Shuffling takes away trend and season, and leaves what real days have: rows that share their weather, counts that
//! clump, missing values that come in blocks, few days that are like no other.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Context;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
    TimestampMillisecondType,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, TimeUnit};
use bellwether::domain::columns::Column;
use bellwether::stats::detector::{
    Bins, FeatureDays, Grain, Reference, Role, Settings, Tally, Verdict,
};
use bellwether::stats::grid::TARGET_CELLS;
use bellwether::stats::{FeatureProfile, Grid};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::Run;
use crate::counting::observation;
use crate::figures::{Goal, Report};
use crate::quiet::{Alarms, BLOCK, Count, judge};
use crate::random::Random;
use crate::together;

const DAY_MILLISECONDS: i64 = 86_400_000;
/// The column that says which rows are the reference.
const PERIOD: &str = "period";
pub const REFERENCE_DAYS: usize = 28;
/// A day of fewer rows is no day of the stream.
const LEAST_ROWS: usize = 50;

#[derive(Clone)]
enum Values {
    Numbers(Vec<Option<f64>>),
    Texts(Vec<Option<String>>),
}

/// A file's columns, and which rows each of its days has.
#[derive(Clone)]
pub struct Stream {
    pub name: String,
    columns: Vec<(String, Values)>,
    days: Vec<Vec<usize>>,
    /// The numbers of these days.
    dates: Vec<i64>,
}

/// Days of a stream that are another population, one after the other: where two years' surveys of the employment data meet,
/// everybody of 2017-12-05 to 2018-01-27 lives in group quarters. That is a change to be seen and no chance, and scattered
/// over the other days it is neither.
const ANOTHER_POPULATION: (&str, std::ops::RangeInclusive<i64>) =
    ("employment_predictions", 17_505..=17_558);

/// Predictions that come with the repository.
pub fn own_files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    [
        "demo/data/air-time/predictions-v1.parquet",
        "tests/data/flights/flights_predictions.parquet",
        "tests/data/employment/employment_predictions.parquet",
    ]
    .map(|file| root.join(file))
    .to_vec()
}

impl Stream {
    /// Reads a Parquet file with a column `timestamp`; every other column of numbers or text is a feature.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        Self::read_all(&[path])
    }

    /// Reads several that are one stream, which is named after the first.
    pub fn read_all(paths: &[&Path]) -> anyhow::Result<Self> {
        let mut batches = Vec::new();
        for path in paths {
            let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
            batches.extend(ParquetRecordBatchReaderBuilder::try_new(file)?.build()?);
        }
        let mut columns: Vec<(String, Values)> = Vec::new();
        let mut times = Vec::new();
        for batch in batches {
            let batch = batch?;
            for (field, array) in batch.schema().fields().iter().zip(batch.columns()) {
                let name = field.name();
                if name == "timestamp" {
                    times.extend(milliseconds(array).context("read the times")?);
                    continue;
                }
                let Some(values) = values(array).filter(|_| name != "prediction_id") else {
                    continue;
                };
                match (columns.iter_mut().find(|(own, _)| own == name), values) {
                    (None, values) => columns.push((name.clone(), values)),
                    (Some((_, Values::Numbers(own))), Values::Numbers(more)) => own.extend(more),
                    (Some((_, Values::Texts(own))), Values::Texts(more)) => own.extend(more),
                    _ => anyhow::bail!("column {name} changes its type"),
                }
            }
        }
        let mut days: std::collections::BTreeMap<i64, Vec<usize>> =
            std::collections::BTreeMap::new();
        for (row, time) in times.iter().enumerate() {
            days.entry(time.div_euclid(DAY_MILLISECONDS))
                .or_default()
                .push(row);
        }
        let (dates, days) = days
            .into_iter()
            .filter(|(_, rows)| rows.len() >= LEAST_ROWS)
            .unzip();
        let name = paths[0]
            .file_stem()
            .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        Ok(Self {
            name,
            columns,
            days,
            dates,
        })
    }

    /// Only the days of one population; `None` if all are.
    pub fn of_one_population(&self) -> Option<Self> {
        let (name, others) = ANOTHER_POPULATION;
        if self.name != name {
            return None;
        }
        let dated = self.dates.iter().copied().zip(&self.days);
        let kept = dated.filter(|(date, _)| !others.contains(date));
        let (dates, days) = kept.map(|(date, rows)| (date, rows.clone())).unzip();
        Some(Self {
            name: format!("{name}, days of one population"),
            columns: self.columns.clone(),
            days,
            dates,
        })
    }

    /// Only the days that the file calls its reference; `None` if it calls none so.
    pub fn reference_period(&self) -> Option<Self> {
        let periods = self.columns.iter().find(|(name, _)| name == PERIOD)?;
        let Values::Texts(periods) = &periods.1 else {
            return None;
        };
        let is_reference = |row: &usize| periods[*row].as_deref() == Some("reference");
        let dated = self.dates.iter().copied().zip(&self.days);
        let kept = dated.filter(|(_, rows)| rows.iter().all(is_reference));
        let (dates, days) = kept.map(|(date, rows)| (date, rows.clone())).unzip();
        Some(Self {
            name: format!("{}, reference period", self.name),
            columns: self.columns.clone(),
            days,
            dates,
        })
    }

    fn feature_columns(&self) -> impl Iterator<Item = &(String, Values)> {
        self.columns.iter().filter(|(name, _)| name != PERIOD)
    }

    pub fn features(&self) -> usize {
        self.feature_columns().count()
    }

    pub fn days(&self) -> usize {
        self.days.len()
    }

    /// The columns of numbers, and the rows of each day.
    pub fn numbers_by_day(&self) -> (Vec<Column>, Vec<Vec<usize>>) {
        let numbers = self
            .feature_columns()
            .filter_map(|(name, values)| match values {
                Values::Numbers(numbers) => Some(Column::of_numbers(name, numbers.iter().copied())),
                Values::Texts(_) => None,
            });
        (numbers.collect(), self.days.clone())
    }

    /// Counts alarms on days in random order, so many times.
    pub fn shuffled(&self, times: usize, settings: &Settings, seed: u64) -> Count {
        let mut total = Count::default();
        for count in crate::parallel(times, |time| self.block(settings, seed, time as u64)) {
            total.add(&count);
        }
        total
    }

    fn block(&self, settings: &Settings, seed: u64, number: u64) -> Count {
        let mut order: Vec<usize> = (0..self.days.len()).collect();
        Random::of(seed, number).shuffle(&mut order);
        order.truncate(REFERENCE_DAYS + BLOCK);
        let judged = self.judged(&order, settings);
        let mut alarms = Alarms::default();
        for day in 0..order.len() - REFERENCE_DAYS {
            for (name, verdicts) in &judged {
                alarms.see_named(&verdicts[day], name);
            }
            alarms.end_day(REFERENCE_DAYS + day);
        }
        alarms.tally
    }

    /// The verdicts on each feature's days in the order they have, after those of the reference.
    pub fn in_order(&self, settings: &Settings) -> Vec<(String, Vec<Verdict>)> {
        let order: Vec<usize> = (0..self.days.len()).collect();
        self.judged(&order, settings)
    }

    /// The verdicts on each feature's days in this order, the first of which are the reference.
    fn judged(&self, order: &[usize], settings: &Settings) -> Vec<(String, Vec<Verdict>)> {
        let counted: Vec<(Bins, Vec<Tally>)> = self
            .feature_columns()
            .map(|(_, values)| self.counted(values, order))
            .collect();
        let features: Vec<FeatureDays<'_>> = counted
            .iter()
            .zip(self.feature_columns())
            .map(|((bins, tallies), (name, _))| FeatureDays {
                name: name.clone(),
                role: if name == "prediction" {
                    Role::Output
                } else {
                    Role::Input
                },
                bins: bins.clone(),
                days: tallies[..REFERENCE_DAYS]
                    .iter()
                    .enumerate()
                    .map(|(i, t)| observation(i, t))
                    .collect(),
            })
            .collect();
        let reference =
            Reference::fit(Grain::Day, &features, &[], settings.clone()).expect("a reference");
        let of_feature = |(place, (name, _)): (usize, &(String, Values))| {
            let tallies = &counted[place].1[REFERENCE_DAYS..];
            let verdicts = (1..=tallies.len())
                .map(|days| judge(&reference, place, &tallies[..days], REFERENCE_DAYS));
            (name.clone(), verdicts.collect())
        };
        self.feature_columns().enumerate().map(of_feature).collect()
    }

    /// A feature's days in this order, in bins of the first of them.
    fn counted(&self, values: &Values, order: &[usize]) -> (Bins, Vec<Tally>) {
        let grid = match values {
            Values::Numbers(numbers) => {
                let rows = order[..REFERENCE_DAYS]
                    .iter()
                    .flat_map(|day| &self.days[*day]);
                let baseline: Vec<f64> = rows.filter_map(|row| numbers[*row]).collect();
                Some(Grid::fit(&baseline, TARGET_CELLS))
            }
            Values::Texts(_) => None,
        };
        let profiles: Vec<FeatureProfile> = order
            .iter()
            .map(|day| profile(values, &self.days[*day], grid.as_ref()))
            .collect();
        let before: Vec<&FeatureProfile> = profiles[..REFERENCE_DAYS].iter().collect();
        let bins =
            Bins::of_profiles(&before, grid.as_ref()).expect("profiles of one kind and grid");
        let tallies = profiles
            .iter()
            .enumerate()
            .map(|(place, profile)| {
                let tally = if place < REFERENCE_DAYS {
                    bins.tally_of_reference(profile)
                } else {
                    bins.tally(profile)
                };
                tally.expect("profiles of one kind and grid")
            })
            .collect();
        (bins, tallies)
    }
}

fn profile(values: &Values, rows: &[usize], grid: Option<&Grid>) -> FeatureProfile {
    match (values, grid) {
        (Values::Numbers(numbers), Some(grid)) => {
            let mut profile = FeatureProfile::numeric_without_quantiles(grid);
            let present: Vec<f64> = rows.iter().filter_map(|row| numbers[*row]).collect();
            profile.observe_null((rows.len() - present.len()) as u64);
            profile
                .observe_numbers(&present, Some(grid))
                .expect("numbers on their grid");
            profile
        }
        (Values::Numbers(_), None) => unreachable!("numbers have a grid"),
        (Values::Texts(texts), _) => {
            let mut profile = FeatureProfile::categorical();
            for row in rows {
                match &texts[*row] {
                    Some(text) => profile.observe_category(text, 1).expect("categories"),
                    None => profile.observe_null(1),
                }
            }
            profile
        }
    }
}

fn values(array: &ArrayRef) -> Option<Values> {
    let finite = |number: Option<f64>| number.filter(|number| !number.is_nan());
    Some(match array.data_type() {
        DataType::Float64 => Values::Numbers(
            array
                .as_primitive::<Float64Type>()
                .iter()
                .map(finite)
                .collect(),
        ),
        DataType::Float32 => Values::Numbers(
            array
                .as_primitive::<Float32Type>()
                .iter()
                .map(|v| finite(v.map(f64::from)))
                .collect(),
        ),
        DataType::Int64 => Values::Numbers(
            array
                .as_primitive::<Int64Type>()
                .iter()
                .map(|v| v.map(|v| v as f64))
                .collect(),
        ),
        DataType::Int32 => Values::Numbers(
            array
                .as_primitive::<Int32Type>()
                .iter()
                .map(|v| v.map(f64::from))
                .collect(),
        ),
        DataType::Utf8 => Values::Texts(
            array
                .as_string::<i32>()
                .iter()
                .map(|v| v.map(str::to_owned))
                .collect(),
        ),
        DataType::LargeUtf8 => Values::Texts(
            array
                .as_string::<i64>()
                .iter()
                .map(|v| v.map(str::to_owned))
                .collect(),
        ),
        _ => return None,
    })
}

fn milliseconds(array: &ArrayRef) -> Option<Vec<i64>> {
    match array.data_type() {
        DataType::Timestamp(TimeUnit::Millisecond, _) => Some(
            array
                .as_primitive::<TimestampMillisecondType>()
                .iter()
                .flatten()
                .collect(),
        ),
        DataType::Timestamp(TimeUnit::Microsecond, _) => Some(
            array
                .as_primitive::<TimestampMicrosecondType>()
                .iter()
                .flatten()
                .map(|t| t.div_euclid(1_000))
                .collect(),
        ),
        _ => None,
    }
}

/// False alarms on the files that come with the repository, and on those of a folder.
pub fn report(run: &Run, report: &mut Report) -> anyhow::Result<()> {
    let times = if run.long { 100 } else { 30 };
    let mut files = own_files();
    if let Some(folder) = &run.data {
        let entries =
            std::fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
        let mut more: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        more.retain(|path| {
            path.extension()
                .is_some_and(|extension| extension == "parquet")
        });
        more.sort();
        files.extend(more);
    }
    let mut streams = Vec::new();
    for file in files {
        let stream = Stream::read(&file)?;
        streams.extend(stream.reference_period());
        streams.extend(stream.of_one_population());
        streams.push(stream);
    }
    let (mut all, mut calm, mut of_one) = (Count::default(), Count::default(), Count::default());
    for stream in &streams {
        if stream.days() <= REFERENCE_DAYS + 1 {
            report.tell(
                format!("{}: days", stream.name),
                format!("{} are too few to shuffle", stream.days()),
            );
            continue;
        }
        let count = stream.shuffled(times, &run.settings, run.seed);
        let (low, high) = count.interval();
        let (features, days) = (stream.features(), stream.days());
        report.tell(
            format!(
                "false episodes in 1,000 shuffled days, {} ({features} features, {days} days)",
                stream.name
            ),
            format!(
                "{:.2} ({low:.2} to {high:.2}) of {} days",
                count.per_thousand(),
                count.days
            ),
        );
        if !count.causes.is_empty() {
            let causes = format!("{:?}", count.causes);
            report.tell(
                format!("feature-days called drift by score, {}", stream.name),
                causes,
            );
        }
        if stream.name.ends_with("reference period") {
            calm.add(&count);
            continue;
        }
        let is_part = stream.name.ends_with("of one population");
        if is_part || stream.of_one_population().is_none() {
            of_one.add(&count);
        }
        if !is_part {
            all.add(&count);
        }
    }
    for (name, count) in [
        ("real_days_shuffled", all),
        ("real_days_of_one_population_shuffled", of_one),
        ("real_reference_days_shuffled", calm),
    ] {
        let episodes = count.per_thousand();
        run.figures(
            report,
            &format!("false_episodes_{name}"),
            episodes,
            Goal::AtMost(2.7),
            Some(Goal::AtMost(1.0)),
        );
    }
    together::report(run, report, times / 3, &streams);
    Ok(())
}

//! Measures of rows: a sample of either side is drawn, read and compared.
//!
//! Which rows are drawn is known once all columns have been counted, because where rows have no id their content
//! decides, which is hashed on the way. Then the columns that are needed are read once more, and nothing but the drawn
//! rows is kept of them. Columns of numbers and categories are needed for features together only, which have to be
//! asked for: that is a third reading of everything.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use arrow_array::Array;

use super::columns::{self, Compared};
use super::counting::Lane;
use super::error::ComparisonError;
use super::grouping::{Grouping, seconds};
use super::shape::Shape;
use super::{FeatureSummary, Measurement, SchemaFinding, Settings, SideSummary, is_answer};
use crate::domain::attributions::Attributions;
use crate::domain::columns::{Column, Value};
use crate::domain::drift::Judged;
use crate::domain::measurement::{Measure, Segment, Status};
use crate::domain::row_measures::{About, Sides, not_measured};
use crate::domain::sample::{
    Draw, DrawnBy, RowSample, SAMPLE_NUMBERS, SAMPLE_ROWS, hash_of, tell_apart,
};
use crate::domain::schema::{FeatureExpectation, FeatureType};
use crate::domain::skew;
use crate::domain::times;
use crate::domain::window::Window;
use crate::formats::table::arrays::ArrayKind;
use crate::formats::table::{self, ColumnData, Table};

/// The column with the rows' ids.
const ID: &str = "prediction_id";
/// The most values that the samples of all windows may hold, nine bytes each; with many windows each has fewer rows.
const ALL_VALUES: usize = 1 << 23;

/// A feature that is measured by rows, in both files.
#[derive(Debug, Clone)]
struct RowFeature {
    name: String,
    dates: bool,
    places: [usize; 2],
}

/// What is to be measured.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Read for any reason, in the order of the reference.
    scalars: Vec<RowFeature>,
    vectors: Vec<super::columns::Plan>,
    /// What is measured of what.
    measured: Vec<(About, String)>,
    /// Those looked at together.
    together: Vec<(String, FeatureType)>,
}

impl Wanted {
    /// What the files have that rows can be asked about. With `multivariate`, features are looked at together.
    pub(super) fn of(
        compared: &[Compared],
        (reference, current): (&Table, &Table),
        vectors: Vec<super::columns::Plan>,
        (multivariate, declared): (bool, &Attributions),
    ) -> Self {
        let mut wanted = Self {
            scalars: Vec::new(),
            vectors,
            measured: Vec::new(),
            together: Vec::new(),
        };
        let mut attributions = 0;
        for summary in compared.iter().map(|compared| &compared.summary) {
            let name = &summary.feature;
            let (Some(feature_type), Some(before), Some(now)) = (
                summary.feature_type,
                reference.position(name),
                current.position(name),
            ) else {
                continue;
            };
            let about = if are_dates(summary.shape.as_ref()) {
                Some(About::Dates)
            } else {
                About::feature_of(feature_type)
            };
            let attributes = declared.feature_of(name).is_some() && feature_type.is_numeric();
            let joins = multivariate && about.is_none() && !attributes && !is_answer(name);
            attributions += usize::from(attributes);
            wanted
                .measured
                .extend(about.map(|about| (about, name.clone())));
            if joins {
                wanted.together.push((name.clone(), feature_type));
            }
            if joins || attributes || about.is_some() {
                wanted.scalars.push(RowFeature {
                    name: name.clone(),
                    dates: about == Some(About::Dates),
                    places: [before, now],
                });
            }
        }
        let of_vectors = wanted.vectors.iter();
        let of_vectors: Vec<_> = of_vectors
            .map(|plan| (About::Vectors, plan.name.clone()))
            .collect();
        wanted.measured.extend(of_vectors);
        if attributions > 1 {
            wanted.measured.push((About::Attributions, String::new()));
        }
        if multivariate {
            wanted.measured.push((About::Together, String::new()));
        }
        wanted
    }

    pub(super) fn is_nothing(&self) -> bool {
        self.measured.is_empty()
    }
}

/// Whether texts are dates that are no timestamps as a whole because a few are none: the most frequent ones are.
fn are_dates(shape: Option<&Shape>) -> bool {
    let Some(Shape::Categories(shares)) = shape else {
        return false;
    };
    let names: Vec<&str> = (shares.iter())
        .filter_map(|share| share.name.as_deref())
        .collect();
    !names.is_empty() && names.iter().all(|name| times::instant(name).is_some())
}

/// A file to draw from.
pub(super) struct Side<'a> {
    pub(super) table: &'a Table,
    pub(super) grouping: &'a Grouping,
    /// Where it has the rows' time.
    pub(super) timestamp: Option<usize>,
    /// A hash of what each row holds; nothing where there were too many rows.
    pub(super) contents: Option<Vec<u64>>,
}

/// What is measured by rows, the columns of vectors that were, and what is found of their lengths.
pub(super) struct OfRows {
    pub(super) measurements: Vec<Measurement>,
    pub(super) findings: Vec<SchemaFinding>,
    pub(super) vectors: Vec<FeatureSummary>,
}

/// Draws samples of both sides, and measures them in every window.
pub(super) fn compare(
    wanted: &Wanted,
    reference: Side<'_>,
    current: Side<'_>,
    (settings, threads): (&Settings, usize),
) -> Result<OfRows, ComparisonError> {
    let windows = current.grouping.windows.clone();
    let Some((before, now)) = of_both(wanted, reference, current)? else {
        return Ok(OfRows {
            measurements: Vec::new(),
            findings: Vec::new(),
            vectors: Vec::new(),
        });
    };
    let mut findings = Vec::new();
    for plan in &wanted.vectors {
        let Some((expected, unseen)) = expected_lengths(&plan.name, &before, settings) else {
            continue;
        };
        for (at, now) in now.iter().enumerate() {
            let lengths = lengths(now, &plan.name);
            let found = skew::vector_lengths(&expected, &lengths, unseen, settings.tolerance);
            findings.extend(found.map(|finding| SchemaFinding {
                window: windows.get(at).copied(),
                finding,
            }));
        }
    }
    let measurements = each(now.len(), threads, |at| {
        let window = windows.get(at).copied();
        in_window(wanted, (&before, &now[at]), window, settings)
    });
    Ok(OfRows {
        measurements: measurements.into_iter().flatten().collect(),
        findings,
        vectors: (wanted.vectors.iter())
            .map(|plan| summary_of_vectors(&plan.name, &before, &now))
            .collect(),
    })
}

/// The lengths of the vectors of a sample.
fn lengths(sample: &RowSample, name: &str) -> Vec<f64> {
    let values = sample.column(name).into_iter().flat_map(Column::iter);
    let lengths = values.filter_map(|value| match value {
        Value::Vector(vector) => Some(vector.len() as f64),
        _ => None,
    });
    lengths.collect()
}

/// The lengths that vectors are expected to have, by the reference and what is said over it; and the share of others that the
/// reference may have too, where not all of its rows were looked at: none of `n` says less than `3 / n`, in 95 of 100 cases.
fn expected_lengths(
    name: &str,
    before: &RowSample,
    settings: &Settings,
) -> Option<(FeatureExpectation, f64)> {
    let lengths = lengths(before, name);
    let inferred = FeatureExpectation {
        minimum: Some(lengths.iter().copied().reduce(f64::min)?),
        maximum: Some(lengths.iter().copied().reduce(f64::max)?),
        max_null_share: 1.0,
        ..FeatureExpectation::of_type(name, FeatureType::Vector)
    };
    let is_whole = before.seen <= lengths.len() as u64;
    let unseen = if is_whole {
        0.0
    } else {
        3.0 / lengths.len() as f64
    };
    let expected = columns::expectation(settings, name, Some(inferred))?;
    Some((expected, unseen))
}

/// The sample of the reference and those of the current file's windows.
fn of_both(
    wanted: &Wanted,
    reference: Side<'_>,
    current: Side<'_>,
) -> Result<Option<(RowSample, Vec<RowSample>)>, ComparisonError> {
    let (before, now) = std::thread::scope(|scope| {
        let before = scope.spawn(|| samples(wanted, reference, 0));
        let now = samples(wanted, current, 1);
        let before = before
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        before.and_then(|before| Ok((before, now?)))
    })?;
    Ok(before.into_iter().next().map(|before| (before, now)))
}

/// What a classifier says that is to tell rows of each window from those of the reference by all numbers and categories
/// together.
pub(super) fn told_apart(
    compared: &[Compared],
    reference: Side<'_>,
    current: Side<'_>,
    (settings, threads): (&Settings, usize),
) -> Result<Vec<Judged>, ComparisonError> {
    let tables = (reference.table, current.table);
    let declared = (true, &settings.attributions);
    let mut wanted = Wanted::of(compared, tables, Vec::new(), declared);
    let joins = |of: &RowFeature| wanted.together.iter().any(|(name, _)| *name == of.name);
    wanted.scalars = wanted
        .scalars
        .iter()
        .filter(|of| joins(of))
        .cloned()
        .collect();
    let Some((before, now)) = of_both(&wanted, reference, current)? else {
        return Ok(Vec::new());
    };
    Ok(each(now.len(), threads, |at| {
        let sides = Sides {
            reference: &before,
            current: &now[at],
            features: &wanted.together,
            attributions: &settings.attributions,
            thresholds: &BTreeMap::new(),
            min_rows: settings.min_rows,
            looked_at: 1,
        };
        sides.judge(About::Together, "", Measure::DomainClassifierAuc)
    }))
}

/// What is done for each of so many, by so many threads; in order.
fn each<T: Send>(count: usize, threads: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..threads.min(count) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= count {
                        break;
                    }
                    let result = work(at);
                    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                    done.insert(at, result);
                }
            });
        }
    });
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.into_values().collect()
}

/// Everything that is measured by rows in a window.
fn in_window(
    wanted: &Wanted,
    (before, now): (&RowSample, &RowSample),
    window: Option<Window>,
    settings: &Settings,
) -> Vec<Measurement> {
    let sides = Sides {
        reference: before,
        current: now,
        features: &wanted.together,
        attributions: &settings.attributions,
        thresholds: &settings.thresholds,
        min_rows: settings.min_rows,
        looked_at: wanted.measured.len(),
    };
    let mut measurements = Vec::new();
    for (about, feature) in &wanted.measured {
        for measure in about.measures() {
            let judged = if now.rows() == 0 {
                let cause = "no rows of the current file are in this window".to_owned();
                not_measured(*measure, Status::Insufficient, cause)
            } else {
                sides.judge(*about, feature, *measure)
            };
            measurements.push(Measurement {
                window,
                segment: Segment::overall(),
                feature: feature.clone(),
                measure: judged.measure,
                value: judged.value,
                interval: judged.interval,
                p_value: judged.p_value,
                status: judged.status,
                reference_rows: before.rows() as u64,
                current_rows: now.rows() as u64,
                recipe: judged.recipe,
            });
        }
    }
    measurements
}

fn summary_of_vectors(name: &str, before: &RowSample, now: &[RowSample]) -> FeatureSummary {
    let mut vectors = before.column(name).into_iter().flat_map(Column::iter);
    let side = |rows: u64| SideSummary {
        rows,
        ..SideSummary::default()
    };
    FeatureSummary {
        feature: name.to_owned(),
        feature_type: None,
        dimensions: vectors.find_map(|value| match value {
            Value::Vector(vector) => Some(vector.len()),
            _ => None,
        }),
        window: None,
        shape: None,
        cell_edges: Vec::new(),
        reference: side(before.seen),
        current: side(now.iter().map(|sample| sample.seen).sum()),
    }
}

/// A row that is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Drawn {
    pub(super) row: u64,
    pub(super) group: u32,
    /// Its place in the sample of its group.
    pub(super) rank: u32,
}

/// A sample for each window of a file, or the one of all rows.
fn samples(wanted: &Wanted, side: Side<'_>, at: usize) -> Result<Vec<RowSample>, ComparisonError> {
    let groups = side.grouping.windows.len().max(1);
    let columns = wanted.scalars.len().max(1);
    let limit = SAMPLE_ROWS.min(ALL_VALUES / groups / columns);
    let table = side.table;
    let times = side.timestamp;
    let (drawn_by, draws) = draw(side, groups, limit)?;
    let mut samples: Vec<RowSample> = (draws.iter())
        .map(|draw| RowSample {
            seen: draw.seen(),
            drawn_by,
            times: Vec::new(),
            columns: Vec::new(),
        })
        .collect();
    let drawn = in_order(draws);
    for (sample, columns) in samples
        .iter_mut()
        .zip(read_scalars(table, wanted, &drawn, at, groups)?)
    {
        sample.columns = columns;
    }
    for (sample, times) in samples
        .iter_mut()
        .zip(read_times(table, times, &drawn, groups)?)
    {
        sample.times = times;
    }
    for plan in &wanted.vectors {
        let place = if at == 0 {
            plan.reference
        } else {
            plan.current
        };
        let Some(place) = place else { continue };
        let vectors = read_vectors(table, place, &drawn, groups)?;
        for (sample, vectors) in samples.iter_mut().zip(vectors) {
            let vectors = vectors.iter().flatten();
            let vectors = vectors.map(|vector| Value::Vector(vector.as_slice().into()));
            let column = Column::of(plan.name.clone(), vectors);
            sample.columns.push(column);
        }
    }
    Ok(samples)
}

/// The drawn rows of all groups in the order of the file.
pub(super) fn in_order(draws: Vec<Draw>) -> Vec<Drawn> {
    let mut drawn = Vec::new();
    for (group, draw) in (0..).zip(draws) {
        let rows = (0..).zip(draw.rows());
        drawn.extend(rows.map(|(rank, row)| Drawn { row, group, rank }));
    }
    drawn.sort_unstable();
    drawn
}

/// Draws rows of each group, by their ids where the file has them.
pub(super) fn draw(
    side: Side<'_>,
    groups: usize,
    limit: usize,
) -> Result<(DrawnBy, Vec<Draw>), ComparisonError> {
    let Side {
        table,
        grouping,
        contents,
        ..
    } = side;
    let mut draws = vec![Draw::new(limit); groups];
    let mut offer = |hash: u64, row: usize| {
        let group = grouping.codes(0, row, 1).map_or(0, |codes| codes[0]);
        if let Some(draw) = draws.get_mut(group as usize) {
            draw.offer(hash, row as u64);
        }
    };
    if let Some(id) = table.position(ID) {
        let mut first = 0;
        table.read(&[id], &mut |batch| {
            for data in &batch.columns {
                let hashes = hashes_of_ids(data);
                (first..)
                    .zip(hashes)
                    .for_each(|(row, hash)| offer(hash, row));
            }
            first += batch.rows;
            true
        })?;
        return Ok((DrawnBy::Id, draws));
    }
    if let Some(mut hashes) = contents.filter(|hashes| !hashes.is_empty()) {
        let groups = grouping.codes(0, 0, hashes.len());
        tell_apart(&mut hashes, groups);
        for (row, hash) in hashes.into_iter().enumerate() {
            offer(hash, row);
        }
        return Ok((DrawnBy::Content, draws));
    }
    let mut rows = 0;
    table.read(&[0], &mut |batch| {
        (rows..rows + batch.rows).for_each(|row| offer(row as u64, row));
        rows += batch.rows;
        true
    })?;
    Ok((DrawnBy::Position, draws))
}

fn hashes_of_ids(data: &ColumnData) -> Vec<u64> {
    let hash = |value: Value<'_>| match value {
        Value::Text(text) => hash_of(&text),
        Value::Integer(number) => hash_of(&number.to_string()),
        Value::Number(number) => hash_of(&number.to_string()),
        Value::Boolean(_)
        | Value::Timestamp(_)
        | Value::Vector(_)
        | Value::Null
        | Value::Absent => 0,
    };
    match data {
        ColumnData::Mixed(column) => column.iter().map(hash).collect(),
        ColumnData::Array(array) => table::mixed(array).iter().map(hash).collect(),
    }
}

/// Values of drawn rows by group, to be brought into the order of the sample.
struct Collected<T> {
    groups: Vec<Vec<(u32, T)>>,
}

impl<T> Collected<T> {
    fn new(groups: usize) -> Self {
        Self {
            groups: (0..groups).map(|_| Vec::new()).collect(),
        }
    }

    fn push(&mut self, drawn: Drawn, value: T) {
        if let Some(group) = self.groups.get_mut(drawn.group as usize) {
            group.push((drawn.rank, value));
        }
    }

    fn in_order(self) -> Vec<Vec<T>> {
        let groups = self.groups.into_iter();
        groups
            .map(|mut group| {
                group.sort_unstable_by_key(|(rank, _)| *rank);
                group.into_iter().map(|(_, value)| value).collect()
            })
            .collect()
    }
}

/// The drawn rows that are in a batch.
pub(super) fn within(drawn: &[Drawn], first: u64, rows: usize) -> &[Drawn] {
    let from = drawn.partition_point(|drawn| drawn.row < first);
    let to = drawn.partition_point(|drawn| drawn.row < first + rows as u64);
    &drawn[from..to]
}

fn read_scalars(
    table: &Table,
    wanted: &Wanted,
    drawn: &[Drawn],
    side: usize,
    groups: usize,
) -> Result<Vec<Vec<Column>>, ComparisonError> {
    let features = &wanted.scalars;
    let places: Vec<usize> = features
        .iter()
        .map(|feature| feature.places[side])
        .collect();
    // Values as they come, and the rank of each.
    let fresh = || -> Vec<Column> {
        let names = features.iter().map(|feature| feature.name.as_str());
        names.map(Column::new).collect()
    };
    let mut columns: Vec<Vec<Column>> = (0..groups).map(|_| fresh()).collect();
    let mut ranks = Collected::new(groups);
    if !places.is_empty() {
        let mut first = 0;
        table.read(&places, &mut |batch| {
            let rows = within(drawn, first, batch.rows);
            for (at, data) in batch
                .columns
                .iter()
                .enumerate()
                .filter(|_| !rows.is_empty())
            {
                let lane = Lane::of(data, None);
                for row in rows {
                    let value = value_in(&lane, (row.row - first) as usize);
                    let value = match &value {
                        Value::Text(text) if features[at].dates => date_of(text),
                        _ => value,
                    };
                    columns[row.group as usize][at].push(&value);
                }
            }
            rows.iter().for_each(|row| ranks.push(*row, ()));
            first += batch.rows as u64;
            true
        })?;
    }
    let orders = ranks.groups.into_iter().map(|ranks| {
        let mut order: Vec<usize> = (0..ranks.len()).collect();
        order.sort_unstable_by_key(|at| ranks[*at].0);
        order
    });
    let ordered = columns.into_iter().zip(orders).map(|(columns, order)| {
        let columns = columns.iter();
        columns.map(|column| column.select(&order)).collect()
    });
    Ok(ordered.collect())
}

pub(super) fn value_in<'l>(lane: &'l Lane<'_>, row: usize) -> Value<'l> {
    match lane {
        Lane::Numbers { array, .. } | Lane::Codes { array, .. } if array.is_null(row) => {
            Value::Null
        }
        Lane::Numbers { values, array } => match ArrayKind::of(array) {
            ArrayKind::Timestamp => chrono::DateTime::from_timestamp(values[row] as i64, 0)
                .map_or(Value::Null, Value::Timestamp),
            ArrayKind::Integer => Value::Integer(values[row] as i64),
            _ => Value::Number(values[row]),
        },
        Lane::Codes { codes, texts, .. } => usize::try_from(codes[row])
            .ok()
            .filter(|place| *place < texts.len())
            .map_or(Value::Null, |place| Value::Text(texts.value(place).into())),
        Lane::Mixed(column) => column.get(row),
    }
}

fn date_of(text: &str) -> Value<'static> {
    times::instant(text).map_or(Value::Null, Value::Timestamp)
}

/// The times of the drawn rows; one that cannot be read is not known.
fn read_times(
    table: &Table,
    timestamp: Option<usize>,
    drawn: &[Drawn],
    groups: usize,
) -> Result<Vec<Vec<Option<i64>>>, ComparisonError> {
    let mut times = Collected::new(groups);
    match timestamp {
        None => drawn.iter().for_each(|drawn| times.push(*drawn, None)),
        Some(place) => {
            let mut first = 0;
            table.read(&[place], &mut |batch| {
                let read = batch.columns.first().map(seconds);
                let read = read.and_then(Result::ok).unwrap_or_default();
                for row in within(drawn, first, batch.rows) {
                    let time = read.get((row.row - first) as usize).copied().flatten();
                    times.push(*row, time);
                }
                first += batch.rows as u64;
                true
            })?;
        }
    }
    Ok(times.in_order())
}

/// The vectors of the first drawn rows of each group: as many as their length allows.
fn read_vectors(
    table: &Table,
    place: usize,
    drawn: &[Drawn],
    groups: usize,
) -> Result<Vec<Vec<Option<Vec<f32>>>>, ComparisonError> {
    let mut length = None;
    table.each_vector(place, &|_| true, &mut |_, vector| {
        length = vector.map(|vector| vector.len());
        length.is_none()
    })?;
    let most = SAMPLE_NUMBERS.min(2 * SAMPLE_NUMBERS / groups) / length.unwrap_or(1).max(1);
    let by_row: BTreeMap<u64, Drawn> = (drawn.iter())
        .filter(|drawn| (drawn.rank as usize) < most)
        .map(|drawn| (drawn.row, *drawn))
        .collect();
    let mut vectors = Collected::new(groups);
    let wanted = |row: u64| by_row.contains_key(&row);
    table.each_vector(place, &wanted, &mut |row, vector| {
        if let Some(drawn) = by_row.get(&row) {
            vectors.push(*drawn, vector);
        }
        true
    })?;
    Ok(vectors.in_order())
}

/// The measures that rows of files can be asked for.
pub(super) fn measures() -> impl Iterator<Item = Measure> {
    Measure::ALL
        .iter()
        .copied()
        .filter(|measure| measure.is_of_rows())
}

//! The work on columns: read, surveyed and counted, several at the same time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};

use super::counting::{Survey, Tally};
use super::duplicates::RowHashes;
use super::error::ComparisonError;
use super::grouping::Grouping;
use super::measuring;
use super::progress::Progress;
use super::{FeatureSummary, Measurement, SchemaFinding, Settings};
use crate::domain::schema::FeatureExpectation;
use crate::domain::yardstick::FeatureYardstick;
use crate::formats::table::{Batch, ColumnData, Table};
use crate::stats::grid::{Grid, TARGET_CELLS};
use crate::stats::profile::FeatureProfile;

/// How many numbers all samples together may hold, and one of them.
const ALL_SAMPLES: usize = 1 << 25;
const SMALLEST_SAMPLE: usize = 1 << 15;
const LARGEST_SAMPLE: usize = 1 << 20;
/// How many bytes of the reference are kept between its two readings, for one column or for all.
const KEPT_OF_A_COLUMN: usize = 12 << 20;
const KEPT_OF_A_FILE: usize = 192 << 20;
/// How many profiles are counted at the same time; one takes some kilobytes.
const MOST_PROFILES: usize = 1 << 15;

/// A feature, and where the files have it.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) name: String,
    pub(super) reference: Option<usize>,
    pub(super) current: Option<usize>,
}

/// What all columns share.
#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    pub(super) reference: &'a Table,
    pub(super) current: &'a Table,
    pub(super) in_reference: &'a Grouping,
    pub(super) in_current: &'a Grouping,
    pub(super) settings: &'a Settings,
    /// The number of columns in all, which the size of samples depends on.
    pub(super) columns: usize,
    pub(super) threads: usize,
    pub(super) progress: &'a Progress,
    /// Where rows that repeat are found out, of both sides; nowhere when columns are read once more.
    pub(super) rows: Option<(&'a RowHashes, &'a RowHashes)>,
}

/// What became of a feature.
#[derive(Debug)]
pub(super) struct Compared {
    pub(super) measurements: Vec<Measurement>,
    pub(super) findings: Vec<SchemaFinding>,
    pub(super) summary: FeatureSummary,
}

/// How much there is to read, in the unit of [`Progress`].
pub(super) fn work(reference: &Table, current: &Table, columns: usize) -> u64 {
    let passes = |table: &Table| {
        if table.keeps_columns_apart() {
            columns as u64
        } else {
            1
        }
    };
    reference.length() * passes(reference) + current.length() * passes(current)
}

/// Compares columns that both files have.
pub(super) fn compare(job: &Job<'_>, plans: &[Plan]) -> Result<Vec<Compared>, ComparisonError> {
    let groups = job.in_reference.len().max(job.in_current.len());
    let at_once = MOST_PROFILES / groups.max(1);
    each_block(job, plans, at_once, &|block, threads| {
        compare_block(job, block, threads)
    })
}

/// What is done with some columns by so many threads.
type Work<'a, T> = dyn Fn(&[Plan], usize) -> Result<Vec<T>, ComparisonError> + Sync + 'a;

/// Works on columns one by one and several at the same time, where the files keep them apart; otherwise on so many
/// at once, which are read together.
pub(super) fn each_block<T: Send>(
    job: &Job<'_>,
    plans: &[Plan],
    at_once: usize,
    work: &Work<'_, T>,
) -> Result<Vec<T>, ComparisonError> {
    if job.reference.keeps_columns_apart() && job.current.keeps_columns_apart() {
        return each_apart(job, plans, work);
    }
    let mut compared = Vec::with_capacity(plans.len());
    for block in plans.chunks(at_once.clamp(1, plans.len().max(1))) {
        compared.extend(work(block, job.threads)?);
    }
    Ok(compared)
}

/// Each thread takes the next column until there are none.
fn each_apart<T: Send>(
    job: &Job<'_>,
    plans: &[Plan],
    work: &Work<'_, T>,
) -> Result<Vec<T>, ComparisonError> {
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let results: Mutex<BTreeMap<usize, Result<Vec<T>, ComparisonError>>> =
        Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..job.threads.min(plans.len()) {
            scope.spawn(|| {
                while !failed.load(Ordering::Relaxed) {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(plan) = plans.get(at) else { break };
                    let compared = work(std::slice::from_ref(plan), 1);
                    failed.fetch_or(compared.is_err(), Ordering::Relaxed);
                    let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                    results.insert(at, compared);
                }
            });
        }
    });
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut compared = Vec::with_capacity(plans.len());
    for result in results.into_values() {
        compared.extend(result?);
    }
    Ok(compared)
}

/// A column of the reference once it is counted.
pub(super) struct Fitted {
    pub(super) yardstick: FeatureYardstick,
    pub(super) counted: Tally,
    /// Said where the grid's edges come from a sample.
    pub(super) note: Option<String>,
}

impl Fitted {
    /// All rows of the reference.
    pub(super) fn whole(&self, job: &Job<'_>) -> Option<FeatureProfile> {
        self.counted.whole(job.in_reference)
    }
}

fn compare_block(
    job: &Job<'_>,
    plans: &[Plan],
    threads: usize,
) -> Result<Vec<Compared>, ComparisonError> {
    let fitted = fit(job, plans, threads)?;
    let columns: Vec<usize> = plans.iter().filter_map(|plan| plan.current).collect();
    let tallies = count_current(job, &columns, &fitted, threads)?;
    let counted = plans.iter().zip(fitted).zip(tallies);
    Ok(counted
        .map(|((plan, fitted), current)| measuring::compared(job, plan, &fitted, &current))
        .collect())
}

/// Reads columns of the reference twice: to know them, and to count them.
pub(super) fn fit(
    job: &Job<'_>,
    plans: &[Plan],
    threads: usize,
) -> Result<Vec<Fitted>, ComparisonError> {
    let (surveys, kept) = survey(job, plans, threads)?;
    let known = surveys.into_iter().zip(plans).map(|(survey, plan)| {
        let (yardstick, note) = yardstick(job.settings, &plan.name, &survey);
        (yardstick, note, survey.habits)
    });
    let mut yardsticks = Vec::with_capacity(plans.len());
    let mut tallies = Vec::with_capacity(plans.len());
    for (yardstick, note, habits) in known {
        tallies.push(Tally::new(&yardstick, job.in_reference, Some(habits)));
        yardsticks.push((yardstick, note));
    }
    let count = |tally: &mut Tally, at: usize, data: &ColumnData, rows| {
        let (yardstick, _) = &yardsticks[at];
        tally
            .observe(data, rows, yardstick, job.in_reference)
            .map_err(|source| ComparisonError::Count {
                column: plans[at].name.clone(),
                source,
            })
    };
    let columns = in_reference(plans);
    let source = kept.again(job, &columns);
    let tallies = each_column(source, tallies, threads, &count, &mut |_| {})?;
    Ok(yardsticks
        .into_iter()
        .zip(tallies)
        .map(|((yardstick, note), counted)| Fitted {
            yardstick,
            counted,
            note,
        })
        .collect())
}

/// Where the reference has columns.
pub(super) fn in_reference(plans: &[Plan]) -> Vec<usize> {
    plans.iter().filter_map(|plan| plan.reference).collect()
}

/// Reads columns of the reference for the first time, and keeps what fits into memory for the second.
pub(super) fn survey(
    job: &Job<'_>,
    plans: &[Plan],
    threads: usize,
) -> Result<(Vec<Survey>, Keeper), ComparisonError> {
    let columns = in_reference(plans);
    let kept = if columns.len() == 1 {
        KEPT_OF_A_COLUMN
    } else {
        KEPT_OF_A_FILE
    };
    let mut keeper = Keeper::new(kept);
    let sample = (ALL_SAMPLES / job.columns.max(1)).clamp(SMALLEST_SAMPLE, LARGEST_SAMPLE);
    let surveys = columns.iter().map(|_| Survey::new(sample)).collect();
    let source = Rows::Of(job.reference, &columns);
    let surveys = each_column(
        source,
        surveys,
        threads,
        &|survey: &mut Survey, at, data, (first, _)| {
            survey.observe(data);
            if let Some((reference, _)) = job.rows {
                reference.add(columns[at], first, survey.keys());
            }
            Ok(())
        },
        &mut |batch| {
            job.progress.advance(batch.progress);
            keeper.keep(batch);
        },
    )?;
    Ok((surveys, keeper))
}

/// What is expected of a feature: what a model says over what the reference shows.
pub(super) fn expectation(
    settings: &Settings,
    feature: &str,
    inferred: Option<FeatureExpectation>,
) -> Option<FeatureExpectation> {
    match settings.overrides.get(feature) {
        Some(said) if settings.closed => said.apply(None).or(inferred),
        Some(said) => said.apply(inferred),
        None => inferred,
    }
}

/// What is expected of a feature, and the grid fitted on its sample.
fn yardstick(
    settings: &Settings,
    feature: &str,
    survey: &Survey,
) -> (FeatureYardstick, Option<String>) {
    let evidence = &survey.habits.evidence;
    let values = evidence.rows - evidence.absent - evidence.nulls;
    let inferred = survey.habits.expectation(feature).map(|inferred| {
        if values < settings.tolerance.min_rows {
            inferred.without_limits()
        } else {
            inferred
        }
    });
    let expectation = expectation(settings, feature, inferred);
    let numeric = expectation
        .as_ref()
        .is_none_or(|e| e.feature_type.is_numeric());
    let sample = survey.sample(expectation.as_ref().map(|e| e.feature_type));
    let grid = numeric.then(|| Grid::fit(sample.values(), TARGET_CELLS));
    let note = (numeric && !sample.is_complete()).then(|| {
        format!(
            "the grid's edges are from a sample of {} of {} values",
            sample.values().len(),
            sample.seen()
        )
    });
    (FeatureYardstick::new(expectation, grid), note)
}

/// Counts columns of the current file by the yardsticks of the reference.
pub(super) fn count_current(
    job: &Job<'_>,
    columns: &[usize],
    fitted: &[Fitted],
    threads: usize,
) -> Result<Vec<Tally>, ComparisonError> {
    let tallies = fitted
        .iter()
        .map(|fitted| {
            let mut tally = Tally::new(&fitted.yardstick, job.in_current, None);
            tally.habits.are_guessed = !job.current.has_types();
            tally
        })
        .collect();
    let count = |tally: &mut Tally, at: usize, data: &ColumnData, rows: (usize, usize)| {
        let counted = tally.observe(data, rows, &fitted[at].yardstick, job.in_current);
        counted.map_err(|source| ComparisonError::Count {
            column: job.current.columns()[columns[at]].name.clone(),
            source,
        })?;
        if let Some((_, current)) = job.rows {
            current.add(columns[at], rows.0, tally.keys());
        }
        Ok(())
    };
    each_column(
        Rows::Of(job.current, columns),
        tallies,
        threads,
        &count,
        &mut |batch| job.progress.advance(batch.progress),
    )
}

/// Keeps the batches of a file while they fit into memory.
pub(super) struct Keeper {
    room: usize,
    batches: Option<Vec<Arc<Batch>>>,
}

impl Keeper {
    fn new(room: usize) -> Self {
        Self {
            room,
            batches: Some(Vec::new()),
        }
    }

    /// The columns once more, from memory or from the file.
    pub(super) fn again<'a>(&'a self, job: &Job<'a>, columns: &'a [usize]) -> Rows<'a> {
        match &self.batches {
            Some(batches) => Rows::Kept(batches),
            None => Rows::Of(job.reference, columns),
        }
    }

    fn keep(&mut self, batch: &Arc<Batch>) {
        let size = batch.size();
        if size > self.room {
            self.batches = None;
            self.room = 0;
        }
        if let Some(batches) = &mut self.batches {
            self.room -= size;
            batches.push(Arc::clone(batch));
        }
    }
}

/// Where rows come from.
pub(super) enum Rows<'a> {
    Of(&'a Table, &'a [usize]),
    Kept(&'a [Arc<Batch>]),
}

impl Rows<'_> {
    fn each(&self, take: &mut dyn FnMut(Arc<Batch>) -> bool) -> Result<(), ComparisonError> {
        match self {
            Self::Of(table, columns) => {
                table.read(columns, &mut |batch| take(Arc::new(batch)))?;
            }
            Self::Kept(batches) => {
                batches.iter().map(Arc::clone).all(take);
            }
        }
        Ok(())
    }
}

/// What is done with a state, its place, its column, and the first row and number of rows of a batch.
pub(super) type Observe<'a, S> =
    dyn Fn(&mut S, usize, &ColumnData, (usize, usize)) -> Result<(), ComparisonError> + Sync + 'a;

/// Shows every batch's columns to their states, in the order of the file.
pub(super) fn each_column<S: Send>(
    source: Rows<'_>,
    states: Vec<S>,
    threads: usize,
    observe: &Observe<'_, S>,
    each_batch: &mut dyn FnMut(&Arc<Batch>),
) -> Result<Vec<S>, ComparisonError> {
    let mut places: Vec<(usize, S)> = states.into_iter().enumerate().collect();
    let share = places.len().div_ceil(threads.max(1)).max(1);
    if places.len() <= share {
        let mut first = 0;
        let mut failed = Ok(());
        source.each(&mut |batch| {
            each_batch(&batch);
            failed = show(&mut places, &batch, first, observe);
            first += batch.rows;
            failed.is_ok()
        })?;
        failed?;
        return Ok(places.into_iter().map(|(_, state)| state).collect());
    }
    std::thread::scope(|scope| {
        let mut senders = Vec::new();
        let mut workers = Vec::new();
        while !places.is_empty() {
            let mut part = places.split_off(places.len().saturating_sub(share));
            let (sender, receiver) = sync_channel::<Arc<Batch>>(2);
            senders.push(sender);
            workers.push(scope.spawn(move || {
                let mut first = 0;
                for batch in receiver {
                    show(&mut part, &batch, first, observe)?;
                    first += batch.rows;
                }
                Ok(part)
            }));
        }
        let read = source.each(&mut |batch| {
            each_batch(&batch);
            // A worker that has gone says why below.
            senders
                .iter()
                .all(|sender| sender.send(Arc::clone(&batch)).is_ok())
        });
        drop(senders);
        let mut states = Vec::new();
        for worker in workers {
            let part: Result<Vec<(usize, S)>, ComparisonError> = worker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            states.extend(part?);
        }
        read?;
        states.sort_by_key(|(place, _)| *place);
        Ok(states.into_iter().map(|(_, state)| state).collect())
    })
}

fn show<S>(
    places: &mut [(usize, S)],
    batch: &Batch,
    first: usize,
    observe: &Observe<'_, S>,
) -> Result<(), ComparisonError> {
    places
        .iter_mut()
        .try_for_each(|(at, state)| observe(state, *at, &batch.columns[*at], (first, batch.rows)))
}

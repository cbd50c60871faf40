//! Columns together, day by day: what a baseline's days say of the way columns go together, and what a window of days says
//! beside it.
//!
//! Both summaries of a day are sums, so a day is counted once and no row of it is read again. What goes in are the normal
//! scores of frozen bins: neither far values nor units matter, and what a single column does by itself shows in its own tests.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::comoments::{
    CoMomentBaseline, CoMoments, FEWEST_ROWS, MOST_COLUMNS, NormalScores, PairChange, WINDOWS,
};
use super::random_features::{Distance, FeatureBaseline, FeatureSums, RandomFeatures};
use super::{MEDIAN_OF, NotComparable, Rows};
use crate::stats::detector::{Damaged, Form, decode, encode};
use crate::stats::tails::PValue;

const REFERENCE: Form = Form {
    family: 20,
    version: 1,
};
const DAY: Form = Form {
    family: 21,
    version: 1,
};
/// Bins of equal share of a column, besides its ends.
const BINS: usize = 20;
/// The share of each end.
const END: f64 = 0.005;
/// A column that varies less than this within its days, as a part of all its variance, is one of days and not of rows: a few
/// rows of it decide what a day's correlation is.
const LEAST_WITHIN: f64 = 0.5;
/// How many days before one are looked at with it.
pub const EARLIER_DAYS: i64 = WINDOWS[WINDOWS.len() - 1] as i64 - 1;

/// A column in frozen bins. Bin `i` is `(edges[i−1], edges[i]]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Coded {
    name: String,
    edges: Vec<f64>,
    scores: NormalScores,
}

impl Coded {
    /// Nothing where the reference has fewer than two different values.
    fn fit(name: &str, values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.filter(|value| value.is_finite()).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        let inner = (1..BINS).map(|bin| bin as f64 / BINS as f64);
        let mut edges: Vec<f64> = [END]
            .into_iter()
            .chain(inner)
            .chain([1.0 - END])
            .map(|share| sorted[((share * last as f64) as usize).min(last)])
            .collect();
        edges.dedup();
        let mut counts = vec![0_u64; edges.len() + 1];
        for value in &sorted {
            counts[edges.partition_point(|edge| edge < value)] += 1;
        }
        Some(Self {
            name: name.to_owned(),
            scores: NormalScores::fit(&counts).ok()?,
            edges,
        })
    }

    /// The part of the scores' variance that is within days.
    fn within(&self, days: &[Vec<f64>]) -> f64 {
        let (mut within, mut rows) = (0.0, 0.0);
        for day in days {
            let known = || {
                day.iter()
                    .filter(|value| !value.is_nan())
                    .map(|value| self.score(*value))
            };
            let n = known().count() as f64;
            let mean = known().sum::<f64>() / n.max(1.0);
            within += known().map(|score| (score - mean).powi(2)).sum::<f64>();
            rows += n;
        }
        within / rows
    }

    fn score(&self, value: f64) -> f64 {
        if value.is_nan() {
            return self.scores.of(None);
        }
        let bin = self.edges.partition_point(|edge| *edge < value);
        self.scores.of(Some(bin))
    }
}

/// A column's values on each of some days; NaN where one is missing.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnDays {
    pub name: String,
    pub days: Vec<Vec<f64>>,
}

/// Columns a reference is learnt from: of those that are offered the first [`MOST_COLUMNS`] that vary within days. The others
/// are only counted, so that of a file with many columns few are held at a time.
#[derive(Debug, Clone, Default)]
pub struct ColumnChoice {
    chosen: Vec<(Coded, ColumnDays)>,
    left_out: usize,
}

impl ColumnChoice {
    /// Takes a column, or leaves it out. All columns have the same days with the same rows.
    pub fn offer(&mut self, column: ColumnDays) {
        let values = column.days.iter().flatten().copied();
        let coded = Coded::fit(&column.name, values);
        let varying = coded.filter(|coded| coded.within(&column.days) >= LEAST_WITHIN);
        match varying {
            Some(_) if self.room() == 0 => self.left_out += 1,
            Some(coded) => self.chosen.push((coded, column)),
            None => {}
        }
    }

    /// How many columns may still be taken.
    #[must_use]
    pub fn room(&self) -> usize {
        MOST_COLUMNS - self.chosen.len()
    }

    /// Counts columns that nobody looked at, because there was no room for them.
    pub fn leave_out(&mut self, columns: usize) {
        self.left_out += columns;
    }

    /// Learns from the days of the chosen columns.
    ///
    /// # Errors
    /// With fewer than two of them, and with fewer than seven days of twenty rows or more.
    pub fn fit(self, seed: u64) -> Result<JointReference, NotComparable> {
        let (coded, mut sources): (Vec<Coded>, Vec<ColumnDays>) = self.chosen.into_iter().unzip();
        if coded.len() < 2 {
            return Err(NotComparable::NothingVaries);
        }
        // A day's values are let go once they are scored.
        let scored: Vec<Rows> = (0..sources[0].days.len())
            .map(|day| {
                let values = sources.iter_mut().map(|s| std::mem::take(&mut s.days[day]));
                let values: Vec<Vec<f64>> = values.collect();
                let values: Vec<&[f64]> = values.iter().map(Vec::as_slice).collect();
                scores(&coded, &values)
            })
            .collect();
        let rows: usize = scored.iter().map(Rows::len).sum();
        let step = rows.div_ceil(MEDIAN_OF).max(1);
        let spread = scored.iter().flat_map(Rows::iter).step_by(step).flatten();
        let spread = Rows {
            columns: coded.len(),
            values: spread.copied().collect(),
        };
        let directions = RandomFeatures::new(&spread, seed)?;
        let mut pairs = Vec::with_capacity(scored.len());
        let mut shapes = Vec::with_capacity(scored.len());
        for rows in &scored {
            let sums = summed(&directions, rows)?;
            pairs.push(sums.pairs);
            shapes.push(sums.shapes);
        }
        Ok(JointReference {
            pairs: CoMomentBaseline::fit(&pairs)?,
            shapes: FeatureBaseline::fit(&shapes)?,
            rows: rows as u64,
            columns: coded,
            left_out: self.left_out,
            directions,
        })
    }
}

/// What a baseline's days say of its columns together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JointReference {
    columns: Vec<Coded>,
    left_out: usize,
    directions: RandomFeatures,
    pairs: CoMomentBaseline,
    shapes: FeatureBaseline,
    rows: u64,
}

/// The columns of a day together. Merges by adding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DaySums {
    pairs: CoMoments,
    shapes: FeatureSums,
}

/// How far a window's rows as a whole are from the baseline's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ShapeChange {
    /// The length of the window that is least likely, in days.
    pub days: usize,
    pub rows: u64,
    pub distance: Distance,
    /// That of the distance, times the number of windows.
    pub p_value: PValue,
}

impl JointReference {
    /// Learns from the days of some columns, which all have the same days with the same rows, as a [`ColumnChoice`] does.
    ///
    /// # Errors
    /// With fewer than two columns that vary within days, and with fewer than seven days of twenty rows or more.
    pub fn fit(
        columns: impl IntoIterator<Item = ColumnDays>,
        seed: u64,
    ) -> Result<Self, NotComparable> {
        let mut choice = ColumnChoice::default();
        columns.into_iter().for_each(|column| choice.offer(column));
        choice.fit(seed)
    }

    /// The names of the columns, in their order.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|column| column.name.as_str())
    }

    /// How many columns were more than can be looked at together.
    #[must_use]
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// Days it was learnt from.
    #[must_use]
    pub fn days(&self) -> usize {
        self.pairs.days()
    }

    /// Rows it was learnt from.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The sums of a day's rows, given column by column in the order of [`Self::columns`].
    ///
    /// # Errors
    /// With other columns.
    pub fn day(&self, columns: &[Vec<f64>]) -> Result<DaySums, NotComparable> {
        let mut sums = self.no_rows()?;
        self.add(&mut sums, columns)?;
        Ok(sums)
    }

    /// The sums of a day without rows.
    ///
    /// # Errors
    /// Never for a reference that was learnt or read.
    pub fn no_rows(&self) -> Result<DaySums, NotComparable> {
        Ok(DaySums {
            pairs: CoMoments::new(self.columns.len())?,
            shapes: FeatureSums::empty(),
        })
    }

    /// Adds further rows of a day to its sums. Rows that come in parts give what they give at once.
    ///
    /// # Errors
    /// With other columns.
    pub fn add(&self, sums: &mut DaySums, columns: &[Vec<f64>]) -> Result<(), NotComparable> {
        if columns.len() != self.columns.len() {
            return Err(NotComparable::DifferentColumns);
        }
        let columns: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
        sums.add(&self.directions, &scores(&self.columns, &columns))
    }

    /// Pairs of columns, by their places, and how likely it is by chance that their correlation has changed so much on the last of
    /// these days or the days before it, the least likely first. Nothing where no window has twenty rows.
    ///
    /// # Errors
    /// With other columns.
    pub fn pairs(&self, days: &BTreeMap<i64, DaySums>) -> Result<Vec<PairChange>, NotComparable> {
        let empty = CoMoments::new(self.columns.len())?;
        let known: Vec<CoMoments> = recent(days)
            .map(|day| {
                days.get(&day)
                    .map_or_else(|| empty.clone(), |sums| sums.pairs.clone())
            })
            .collect();
        self.pairs.changes(&known)
    }

    /// The window up to the last of these days whose rows as a whole are least likely to be the baseline's. Nothing where no window
    /// has twenty rows.
    ///
    /// # Errors
    /// With other columns.
    pub fn shape(
        &self,
        days: &BTreeMap<i64, DaySums>,
    ) -> Result<Option<ShapeChange>, NotComparable> {
        let known: Vec<i64> = recent(days).collect();
        let lengths = WINDOWS.into_iter().filter(|length| *length <= known.len());
        let mut windows = Vec::new();
        for length in lengths {
            let own = known[known.len() - length..].iter();
            let own: Vec<&FeatureSums> =
                own.filter_map(|day| Some(&days.get(day)?.shapes)).collect();
            let rows: u64 = own.iter().map(|day| day.rows()).sum();
            if rows >= FEWEST_ROWS {
                windows.push((length, rows, own));
            }
        }
        let tests = (windows.len() as f64).ln();
        let mut least: Option<ShapeChange> = None;
        for (length, rows, own) in windows {
            let distance = self.shapes.compare(&own)?;
            let Some(p_value) = PValue::from_ln((distance.p_value.ln() + tests).min(0.0)) else {
                return Err(NotComparable::BeyondRange);
            };
            if least.is_none_or(|least| p_value < least.p_value) {
                least = Some(ShapeChange {
                    days: length,
                    rows,
                    distance,
                    p_value,
                });
            }
        }
        Ok(least)
    }

    /// The smallest change of a correlation near 0 that a window of so many days with so many rows each would call unlikely at
    /// `alpha`, with a chance of 90 %, of a pair whose days differ by the usual amount. Windows are no longer than 14 days.
    #[must_use]
    pub fn smallest_change(&self, days: usize, rows_per_day: f64, alpha: PValue) -> Option<f64> {
        self.pairs.smallest_change(days, rows_per_day, alpha)
    }

    /// As bytes with family, version and checksum.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(REFERENCE, self)
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are something else, of another version, or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let reference: Self = decode(REFERENCE, bytes)?;
        if reference.directions.is_readable() {
            Ok(reference)
        } else {
            Err(Damaged::Malformed)
        }
    }
}

/// The days from the first to the last, 14 at most.
fn recent(days: &BTreeMap<i64, DaySums>) -> RangeInclusive<i64> {
    let first = days.keys().next().copied().unwrap_or(1);
    let last = days.keys().next_back().copied().unwrap_or(0);
    first.max(last - EARLIER_DAYS)..=last
}

fn scores(coded: &[Coded], columns: &[&[f64]]) -> Rows {
    let rows = columns.first().map_or(0, |column| column.len());
    let values = (0..rows).flat_map(|row| {
        let cells = coded.iter().zip(columns);
        cells.map(move |(coded, column)| coded.score(column[row]))
    });
    Rows {
        columns: coded.len(),
        values: values.collect(),
    }
}

fn summed(directions: &RandomFeatures, rows: &Rows) -> Result<DaySums, NotComparable> {
    let mut sums = DaySums {
        pairs: CoMoments::new(rows.columns)?,
        shapes: FeatureSums::empty(),
    };
    sums.add(directions, rows)?;
    Ok(sums)
}

impl DaySums {
    fn add(&mut self, directions: &RandomFeatures, rows: &Rows) -> Result<(), NotComparable> {
        for row in rows.iter() {
            self.pairs.push(row)?;
        }
        directions.add(&mut self.shapes, rows)
    }

    /// The number of rows.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.pairs.rows()
    }

    /// As bytes with family, version and checksum.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(DAY, self)
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are something else, of another version, or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        decode(DAY, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::random::uniform;

    /// So many rows of three columns, of which the last follows the first in that share of the rows.
    fn rows(seed: u64, share: f64) -> Vec<Vec<f64>> {
        let mut random = uniform(seed);
        let mut columns = vec![Vec::new(); 3];
        for _ in 0..400 {
            let mut row = [random(), random().powi(4), random() * 1e6];
            if random() < share {
                row[2] = row[0] * 1e6;
            }
            for (column, value) in columns.iter_mut().zip(row) {
                column.push(value);
            }
        }
        columns
    }

    fn reference(days: u64) -> Result<JointReference, NotComparable> {
        let by_day: Vec<Vec<Vec<f64>>> = (0..days).map(|seed| rows(seed + 1, 0.0)).collect();
        let columns: Vec<ColumnDays> = ["a", "b", "c"]
            .iter()
            .enumerate()
            .map(|(at, name)| ColumnDays {
                name: (*name).to_owned(),
                days: by_day.iter().map(|day| day[at].clone()).collect(),
            })
            .collect();
        JointReference::fit(columns, 7)
    }

    fn lived(reference: &JointReference, shares: &[f64]) -> BTreeMap<i64, DaySums> {
        let days = (100..).zip(shares);
        days.map(|(day, share)| {
            let sums = reference
                .day(&rows(day as u64, *share))
                .expect("three columns");
            (day, sums)
        })
        .collect()
    }

    #[test]
    fn a_pair_that_begins_to_go_together_is_named_and_quiet_days_are_quiet() {
        let reference = reference(28).expect("days");
        assert_eq!(reference.columns().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!((reference.days(), reference.rows()), (28, 28 * 400));
        let quiet = lived(&reference, &[0.0; 20]);
        let pairs = reference.pairs(&quiet).expect("columns");
        assert!(pairs[0].p_value.value() > 1e-3, "{pairs:?}");
        let shape = reference.shape(&quiet).expect("columns").expect("rows");
        assert!(shape.p_value.value() > 1e-3, "{shape:?}");

        let changed = lived(&reference, &[0.0, 0.0, 0.0, 0.5]);
        let pairs = reference.pairs(&changed).expect("columns");
        assert_eq!((pairs[0].columns, pairs[0].days), ((0, 2), 1));
        assert!(pairs[0].p_value.value() < 1e-4, "{pairs:?}");
        assert!(pairs[0].current > 0.2 && pairs[1].p_value.value() > 1e-3);
        let together = lived(&reference, &[1.0]);
        let shape = reference.shape(&together).expect("columns").expect("rows");
        assert!(shape.distance.is_beyond_all_days && shape.p_value.value() < 1e-2);
    }

    #[test]
    fn days_without_rows_leave_gaps_and_nothing_is_said_of_nothing() {
        let reference = reference(14).expect("days");
        let mut days = lived(&reference, &[0.0, 0.0, 0.0, 0.0]);
        days.remove(&101);
        let three: u64 = days.values().map(DaySums::rows).sum();
        assert_eq!(three, 1_200);
        assert_eq!(reference.pairs(&days).expect("columns").len(), 3);
        assert_eq!(reference.pairs(&BTreeMap::new()), Ok(vec![]));
        assert_eq!(reference.shape(&BTreeMap::new()), Ok(None));
        let few = BTreeMap::from([(9, reference.day(&vec![vec![0.5; 10]; 3]).expect("three"))]);
        assert_eq!(reference.pairs(&few), Ok(vec![]));
        assert_eq!(reference.shape(&few), Ok(None));
        assert!(reference.day(&[vec![0.5]]).is_err());
    }

    #[test]
    fn missing_values_are_the_mean_and_what_does_not_vary_takes_no_part() {
        let day = |day: u64| {
            let mut columns = rows(day, 0.0);
            columns[1].fill(4.0);
            columns[2][..100].fill(f64::NAN);
            columns
        };
        let by_day: Vec<Vec<Vec<f64>>> = (1..10).map(day).collect();
        let columns: Vec<ColumnDays> = (0..3)
            .map(|at| ColumnDays {
                name: at.to_string(),
                days: by_day.iter().map(|day| day[at].clone()).collect(),
            })
            .collect();
        let reference = JointReference::fit(columns.clone(), 7).expect("days");
        assert_eq!(reference.columns().collect::<Vec<_>>(), ["0", "2"]);
        assert_eq!(
            JointReference::fit(columns[..2].to_vec(), 7),
            Err(NotComparable::NothingVaries)
        );
        let absent = reference
            .day(&[vec![0.5; 50], vec![f64::NAN; 50]])
            .expect("two");
        assert_eq!(absent.rows(), 50);
    }

    #[test]
    fn columns_that_have_no_room_are_counted_and_change_nothing() {
        let mut random = uniform(3);
        let mut column = |at: usize, constant: bool| ColumnDays {
            name: at.to_string(),
            days: (0..8)
                .map(|_| {
                    (0..25)
                        .map(|_| if constant { 1.0 } else { random() })
                        .collect()
                })
                .collect(),
        };
        let columns: Vec<ColumnDays> = (0..70).map(|at| column(at, at < 3)).collect();
        let all = JointReference::fit(columns.clone(), 7).expect("days");
        assert_eq!((all.columns().count(), all.left_out()), (MOST_COLUMNS, 3));
        assert_eq!(all.columns().next(), Some("3"));

        let mut choice = ColumnChoice::default();
        let (seen, unseen) = columns.split_at(67);
        seen.iter().cloned().for_each(|column| choice.offer(column));
        assert_eq!(choice.room(), 0);
        choice.leave_out(unseen.len());
        assert_eq!(choice.fit(7), Ok(all));
    }

    #[test]
    fn rows_that_come_in_parts_give_what_they_give_at_once() {
        let reference = reference(8).expect("days");
        let whole = rows(90, 0.3);
        let mut parts = reference.no_rows().expect("a reference");
        for part in [0..1, 1..150, 150..150, 150..400] {
            let some: Vec<Vec<f64>> = whole.iter().map(|c| c[part.clone()].to_vec()).collect();
            reference.add(&mut parts, &some).expect("three columns");
        }
        assert_eq!(reference.day(&whole), Ok(parts));
    }

    #[test]
    fn too_few_days_are_named_and_more_days_see_less() {
        assert_eq!(reference(6), Err(NotComparable::TooFewReferenceRows));
        let reference = reference(28).expect("days");
        let alpha = PValue::from_ln(1e-4_f64.ln()).expect("a probability");
        let of = |days| {
            reference
                .smallest_change(days, 400.0, alpha)
                .expect("a change")
        };
        assert!(of(1) > of(7) && of(7) > of(14));
        assert!((of(28) - of(14)).abs() < 1e-12, "no window is longer");
        assert!((0.2..0.5).contains(&of(1)), "{}", of(1));
    }

    #[test]
    fn both_survive_being_stored_and_damage_is_found() {
        let reference = reference(8).expect("days");
        let bytes = reference.encode();
        assert_eq!(JointReference::decode(&bytes), Ok(reference.clone()));
        let day = reference.day(&rows(50, 0.0)).expect("three");
        assert_eq!(DaySums::decode(&day.encode()), Ok(day.clone()));
        assert_eq!(DaySums::decode(&bytes), Err(Damaged::OtherFamily));
        for at in 0..day.encode().len() {
            let mut damaged = day.encode();
            damaged[at] ^= 8;
            assert!(DaySums::decode(&damaged).is_err(), "byte {at}");
        }
    }
}

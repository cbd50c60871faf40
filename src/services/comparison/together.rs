//! Columns together on files that have days: what the service's drift monitors say of each day of the current file, by the
//! reference's days.
//!
//! Of each of the reference's days so many rows are taken that all of them fit into memory, column by column; of the current
//! file's days nothing is kept but their sums. The days are judged in their order, and the first day of a finding is explained by
//! a classifier.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::Measurement;
use super::columns::{self, Compared, Job, Plan, Rows};
use super::counting::Lane;
use super::days::Days;
use super::error::ComparisonError;
use super::grouping::Grouping;
use super::rows::{self, Drawn, Side, draw, in_order, value_in, within};
use crate::domain::columns::Column;
use crate::domain::drift::Judged;
use crate::domain::joint::{self, ColumnChoice, ColumnDays, DaySums, JointReference};
use crate::domain::measurement::{Measure, Segment, Status};
use crate::domain::names::is_answer;
use crate::domain::sample::{Draw, DrawnBy, SAMPLE_ROWS, SEED};
use crate::domain::schema::FeatureType;
use crate::domain::shift;
use crate::domain::window::{Grain, Window};
use crate::formats::table::ColumnData;
use crate::stats::multivariate::NotComparable;

/// The most values of the reference that are held at a time: 128 MiB. With many days and columns each day has fewer rows.
const ALL_VALUES: usize = 1 << 24;
/// The most rows of the current file that are drawn, sixteen bytes each.
const ALL_ROWS: usize = 1 << 23;
/// So many findings are explained, the first ones: each takes a sample of its day.
const MOST_EXPLAINED: usize = 8;

/// What is judged, and what is known of it.
pub(super) struct Together<'a> {
    pub(super) job: &'a Job<'a>,
    pub(super) days: &'a Days,
    /// The columns of both files in their order, and what became of them.
    pub(super) plans: &'a [Plan],
    pub(super) compared: &'a [Compared],
    /// A hash of what each row of the two files holds; nothing where there were too many.
    pub(super) contents: &'a [Option<Vec<u64>>; 2],
}

/// A column that takes part.
type Taking = (Plan, FeatureType);

/// What is said of each judged day by each of the measures; of no day where the reference cannot be learnt from.
pub(super) fn judge(of: &Together<'_>) -> Result<Vec<Measurement>, ComparisonError> {
    let taking = of.taking_part();
    let (reference, each) = match of.reference(&taking)? {
        (Ok(reference), each) => (reference, each),
        (Err(cause), _) => return Ok(unsaid(Status::Insufficient, cause)),
    };
    let drawn = match of.current(&reference, &taking)? {
        Ok(drawn) => drawn,
        Err(cause) => return Ok(unsaid(Status::Error, cause)),
    };
    let judged: Vec<i64> = of.days.judged().collect();
    let mut measurements = Vec::new();
    let mut new: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
    for number in &judged {
        let is_holiday = of.days.is_holiday(*number);
        let until = joint::days_until(*number, Some(of.days.span()));
        let known: BTreeMap<i64, DaySums> = (drawn.days.range(until))
            .filter(|(day, _)| *day == number || !of.days.is_holiday(**day))
            .filter(|(day, _)| judged.binary_search(day).is_ok())
            .map(|(day, of)| (*day, of.sums.clone()))
            .collect();
        let least_rows = of.job.settings.min_rows;
        let measures = &Measure::OVER_DAYS_TOGETHER;
        let told = joint::judged_today(&reference, measures, &known, (least_rows, is_holiday));
        let (rows, seen) =
            (drawn.days.get(number)).map_or((0, 0), |day| (day.sums.rows(), day.seen));
        let note = format!(
            "{} of the day, and {each} of each day of the reference",
            drawn.by.note(rows, seen)
        );
        let window = Grain::Day.window_at(shift::start_of(*number));
        for (mut judged, is_new) in told {
            if is_new && (new.len() < MOST_EXPLAINED || new.contains_key(number)) {
                new.entry(*number).or_default().push(measurements.len());
            }
            judged.recipe.method = format!("{}; {note}", judged.recipe.method);
            measurements.push(measurement(Some(window), judged, (reference.rows(), rows)));
        }
    }
    of.explain(&new, &mut measurements)?;
    Ok(measurements)
}

fn unsaid(status: Status, cause: NotComparable) -> Vec<Measurement> {
    let each = Measure::OVER_DAYS_TOGETHER.into_iter();
    each.map(|measure| {
        let judged = joint::unsaid(measure, status, cause.to_string());
        measurement(None, judged, (0, 0))
    })
    .collect()
}

fn measurement(window: Option<Window>, judged: Judged, (before, now): (u64, u64)) -> Measurement {
    Measurement {
        window,
        segment: Segment::overall(),
        feature: String::new(),
        measure: judged.measure,
        value: judged.value,
        interval: judged.interval,
        p_value: judged.p_value,
        status: judged.status,
        reference_rows: before,
        current_rows: now,
        recipe: judged.recipe,
    }
}

/// The days of the current file.
struct DrawnDays {
    days: BTreeMap<i64, DrawnDay>,
    by: DrawnBy,
}

/// The sums of the rows drawn of a day, and of how many these are.
struct DrawnDay {
    sums: DaySums,
    seen: u64,
}

/// Rows of each of the reference's days, and how many of a day these are, in words.
struct SpreadRows {
    drawn: Vec<Drawn>,
    words: String,
}

impl Together<'_> {
    /// The features and the model's output: its score where there is one, else a predicted number.
    fn taking_part(&self) -> Vec<Taking> {
        let has_score = self.plans.iter().any(|plan| plan.name == "score");
        let output = if has_score { "score" } else { "prediction" };
        let typed = self.plans.iter().zip(self.compared);
        let typed = typed
            .filter(|(plan, _)| !is_answer(&plan.name) || plan.name == output)
            .filter_map(|(plan, compared)| Some((plan.clone(), compared.summary.feature_type?)));
        joint::taking_part(typed, |plan: &Plan| plan.name == output)
    }

    /// What the reference's days say, or why they say nothing; and how many rows of each were gone by.
    fn reference(
        &self,
        taking: &[Taking],
    ) -> Result<(Result<JointReference, NotComparable>, String), ComparisonError> {
        let grouping = &self.days.reference;
        let mut choice = ColumnChoice::default();
        let rows = self.spread_rows(taking.len().min(choice.room()));
        let mut next = 0;
        while next < taking.len() && choice.room() > 0 {
            let block = &taking[next..taking.len().min(next + choice.room())];
            next += block.len();
            for column in self.by_day(block, &rows.drawn, grouping)? {
                choice.offer(column);
            }
        }
        // Of columns that nobody looked at it is not known whether they vary within days; constants do not.
        let rest = taking[next..].iter().filter(|(plan, _)| {
            let summary = self
                .compared
                .iter()
                .find(|of| of.summary.feature == plan.name);
            let distinct = summary.and_then(|of| of.summary.reference.distinct);
            distinct.is_none_or(|distinct| distinct > 1.0)
        });
        choice.leave_out(rest.count());
        Ok((choice.fit(SEED), rows.words))
    }

    /// Rows of each of the reference's days that is no holiday, so many that those of so many columns fit into memory.
    fn spread_rows(&self, columns: usize) -> SpreadRows {
        let grouping = &self.days.reference;
        let windows = grouping.windows.len();
        let most = ALL_VALUES / windows.max(1) / columns.max(1);
        let most = most.clamp(1, SAMPLE_ROWS);
        let is_left_out: Vec<bool> = (0..windows)
            .map(|at| {
                number_of(grouping, at as u32).is_none_or(|number| self.days.is_holiday(number))
            })
            .collect();
        spread(grouping.windows_of_rows(), &is_left_out, most)
    }

    /// The values that drawn rows of the reference have in some columns, by day.
    fn by_day(
        &self,
        taking: &[Taking],
        drawn: &[Drawn],
        grouping: &Grouping,
    ) -> Result<Vec<ColumnDays>, ComparisonError> {
        let types: BTreeMap<&str, FeatureType> = (taking.iter())
            .map(|(plan, feature_type)| (plan.name.as_str(), *feature_type))
            .collect();
        let plans: Vec<Plan> = taking.iter().map(|(plan, _)| plan.clone()).collect();
        let windows = 0..grouping.windows.len() as u32;
        let kept: Vec<usize> = windows
            .filter(|code| {
                number_of(grouping, *code).is_some_and(|number| !self.days.is_holiday(number))
            })
            .map(|code| code as usize)
            .collect();
        columns::each_block(self.job, &plans, plans.len(), &|block, threads| {
            let places = columns::in_reference(block);
            let states = block
                .iter()
                .map(|_| vec![Vec::new(); grouping.windows.len()]);
            let observe =
                |days: &mut Vec<Vec<f64>>, at: usize, data: &ColumnData, (first, count)| {
                    let feature_type = types[block[at].name.as_str()];
                    let rows = within(drawn, first as u64, count);
                    let values = numbers_of(data, rows, first, feature_type);
                    for (row, value) in rows.iter().zip(values) {
                        days[row.group as usize].push(value);
                    }
                    Ok(())
                };
            let source = Rows::Of(self.job.reference, &places);
            let read =
                columns::each_column(source, states.collect(), threads, &observe, &mut |_| {})?;
            let named = block.iter().zip(read);
            Ok(named
                .map(|(plan, mut days)| ColumnDays {
                    name: plan.name.clone(),
                    days: kept
                        .iter()
                        .map(|day| std::mem::take(&mut days[*day]))
                        .collect(),
                })
                .collect())
        })
    }

    /// Draws rows of each day of the current file and adds them up, in the order of the file.
    fn current(
        &self,
        reference: &JointReference,
        taking: &[Taking],
    ) -> Result<Result<DrawnDays, NotComparable>, ComparisonError> {
        let grouping = &self.days.current;
        let groups = grouping.windows.len();
        let side = Side {
            table: self.job.current,
            grouping,
            timestamp: None,
            contents: self.contents[1].clone(),
        };
        let most = SAMPLE_ROWS.min(ALL_ROWS / groups.max(1));
        let (by, draws) = draw(side, groups, most)?;
        let seen: Vec<u64> = draws.iter().map(Draw::seen).collect();
        let drawn = in_order(draws);
        let columns: Vec<(usize, FeatureType)> = (reference.columns())
            .filter_map(|name| {
                let (plan, feature_type) = taking.iter().find(|(plan, _)| plan.name == name)?;
                Some((plan.current?, *feature_type))
            })
            .collect();
        let places: Vec<usize> = columns.iter().map(|(place, _)| *place).collect();
        let mut sums: BTreeMap<u32, DaySums> = BTreeMap::new();
        let mut added = Ok(());
        let mut first = 0;
        self.job.current.read(&places, &mut |batch| {
            let rows = within(&drawn, first as u64, batch.rows);
            let typed = batch.columns.iter().zip(&columns);
            let values: Vec<Vec<f64>> = typed
                .map(|(data, (_, feature_type))| numbers_of(data, rows, first, *feature_type))
                .collect();
            added = add(reference, &mut sums, rows, &values);
            first += batch.rows;
            added.is_ok()
        })?;
        let days = sums.into_iter().filter_map(|(group, sums)| {
            let seen = seen[group as usize];
            Some((number_of(grouping, group)?, DrawnDay { sums, seen }))
        });
        Ok(added.map(|()| DrawnDays {
            days: days.collect(),
            by,
        }))
    }

    /// Says of the first day of each finding which columns tell its rows from the reference's.
    fn explain(
        &self,
        new: &BTreeMap<i64, Vec<usize>>,
        measurements: &mut [Measurement],
    ) -> Result<(), ComparisonError> {
        let grouping = &self.days.current;
        let windows: Vec<usize> = (0..grouping.windows.len())
            .filter(|at| {
                number_of(grouping, *at as u32).is_some_and(|number| new.contains_key(&number))
            })
            .collect();
        if windows.is_empty() {
            return Ok(());
        }
        let [before, now] = self.contents;
        let reference = Side {
            table: self.job.reference,
            grouping: self.job.in_reference,
            timestamp: None,
            contents: before.clone(),
        };
        let current = Side {
            table: self.job.current,
            grouping: &grouping.only(&windows),
            timestamp: None,
            contents: now.clone(),
        };
        let with = (self.job.settings, self.job.threads);
        let told = rows::told_apart(self.compared, reference, current, with)?;
        // Windows are in order of time, and so are the days.
        for (found, classifier) in new.values().zip(told) {
            for at in found {
                joint::explain(&mut measurements[*at].recipe, &classifier);
            }
        }
        Ok(())
    }
}

/// Every row of each group, or every second, third … of a group with more than `most`. `codes` has the group of each row, and
/// `is_left_out` an element for each group.
fn spread(codes: &[u32], is_left_out: &[bool], most: usize) -> SpreadRows {
    let mut counts = vec![0_usize; is_left_out.len()];
    for code in codes {
        if let Some(count) = counts.get_mut(*code as usize) {
            *count += 1;
        }
    }
    let mut ranks = vec![0_usize; counts.len()];
    let mut drawn = Vec::new();
    for (row, group) in (0..).zip(codes.iter().copied()) {
        let Some(rank) = ranks.get_mut(group as usize) else {
            continue;
        };
        let step = joint::step(counts[group as usize], most);
        if !is_left_out[group as usize] && rank.is_multiple_of(step) {
            drawn.push(Drawn {
                row,
                group,
                rank: u32::try_from(*rank / step).unwrap_or(u32::MAX),
            });
        }
        *rank += 1;
    }
    SpreadRows {
        drawn,
        words: if counts.iter().all(|count| *count <= most) {
            "all rows".to_owned()
        } else {
            format!("at most {most} rows")
        },
    }
}

fn number_of(grouping: &Grouping, code: u32) -> Option<i64> {
    let window = grouping.windows.get(code as usize)?;
    Some(shift::day_number(window.start))
}

/// The values of drawn rows of a batch as numbers.
fn numbers_of(
    data: &ColumnData,
    rows: &[Drawn],
    first: usize,
    feature_type: FeatureType,
) -> Vec<f64> {
    if rows.is_empty() {
        return Vec::new();
    }
    let lane = Lane::of(data, None);
    let values = rows
        .iter()
        .map(|row| value_in(&lane, row.row as usize - first));
    joint::numbers(&Column::of("", values), feature_type)
}

/// Adds rows to the sums of their days, one after the other.
fn add(
    reference: &JointReference,
    sums: &mut BTreeMap<u32, DaySums>,
    rows: &[Drawn],
    values: &[Vec<f64>],
) -> Result<(), NotComparable> {
    let mut places: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (place, row) in rows.iter().enumerate() {
        places.entry(row.group).or_default().push(place);
    }
    for (group, places) in places {
        let of_day: Vec<Vec<f64>> = (values.iter())
            .map(|column| places.iter().map(|place| column[*place]).collect())
            .collect();
        let known = match sums.entry(group) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(day) => day.insert(reference.no_rows()?),
        };
        reference.add(known, &of_day)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_days_with_many_rows_every_second_or_third_is_taken_and_rows_without_a_day_are_not() {
        let none = u32::MAX;
        let codes = [0, 1, 0, none, 1, 0, 1, 0, 2, 0, 2];
        let taken = |most: usize, is_left_out: [bool; 3]| {
            let spread = spread(&codes, &is_left_out, most);
            let rows: Vec<(u64, u32, u32)> = (spread.drawn.iter())
                .map(|drawn| (drawn.row, drawn.group, drawn.rank))
                .collect();
            (rows, spread.words)
        };
        let (all, words) = taken(5, [false; 3]);
        assert_eq!((all.len(), words.as_str()), (10, "all rows"));
        // Five rows of the first day by three, three of the second by two, two of the third by one.
        let (some, words) = taken(2, [false; 3]);
        let expected = [
            (0, 0, 0),
            (1, 1, 0),
            (6, 1, 1),
            (7, 0, 1),
            (8, 2, 0),
            (10, 2, 1),
        ];
        assert_eq!(
            (some.as_slice(), words.as_str()),
            (&expected[..], "at most 2 rows")
        );
        let (others, _) = taken(2, [false, true, false]);
        assert!(others.iter().all(|(_, day, _)| *day != 1));
        assert_eq!(others.len(), 4);
    }
}

//! The time a day stands in: how long a bucket is, which hour and weekday it has, and the level of a score at each.
//!
//! A bucket is the unit that varies: an hour, six hours, a day or a week, by how many rows there are. Buckets are
//! numbered from the epoch in their own length, in whatever time zone the caller counts days in.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, FisherSnedecor};

/// How long a bucket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Grain {
    Hour,
    SixHours,
    Day,
    Week,
}

/// A bucket of fewer rows is too short, unless it is a week already.
const ENOUGH_ROWS: f64 = 200.0;
const DAYS_OF_WEEK: usize = 7;
/// Weekdays of an hourly pattern are drawn towards no difference as if so many of each had shown none.
const WEEKDAY_SHRINKAGE: f64 = 4.0;
/// A pattern is believed below this probability, divided by the scores it could be in.
const SEASON_P: f64 = 1e-3;

impl Grain {
    /// From the shortest to the longest.
    pub const ALL: [Self; 4] = [Self::Hour, Self::SixHours, Self::Day, Self::Week];

    /// The shortest bucket with a median of at least 200 rows, given the rows of an hour in the median.
    #[must_use]
    pub fn for_rows(rows_per_hour: f64) -> Self {
        let enough = |grain: &Self| rows_per_hour * grain.hours() as f64 >= ENOUGH_ROWS;
        Self::ALL.into_iter().find(enough).unwrap_or(Self::Week)
    }

    /// Its length.
    #[must_use]
    pub fn hours(self) -> i64 {
        match self {
            Self::Hour => 1,
            Self::SixHours => 6,
            Self::Day => 24,
            Self::Week => 7 * 24,
        }
    }

    /// How many of them a day has.
    #[must_use]
    pub fn per_day(self) -> f64 {
        24.0 / self.hours() as f64
    }

    /// The windows that end with a bucket, in buckets, shortest first.
    #[must_use]
    pub fn windows(self) -> [usize; WINDOWS] {
        match self {
            Self::Hour => [1, 6, 24, 72, 168],
            Self::SixHours => [1, 4, 12, 28, 56],
            Self::Day => [1, 3, 7, 14, 28],
            Self::Week => [1, 2, 4, 8, 12],
        }
    }

    /// The phase of a bucket. 1 January 1970 was a Thursday.
    #[must_use]
    pub fn phase(self, bucket: i64) -> Phase {
        let slots = (24 / self.hours()).max(1);
        let day = bucket.div_euclid(slots);
        Phase {
            slot: bucket.rem_euclid(slots) as usize,
            weekday: match self {
                Self::Week => 0,
                _ => (day + 3).rem_euclid(DAYS_OF_WEEK as i64) as usize,
            },
        }
    }

    /// How many buckets go together because they are of one day; 1 from a day on.
    pub(super) fn slots(self) -> usize {
        (24 / self.hours()).max(1) as usize
    }

    /// How often a day looks at a window of that length: with every bucket where it is shorter than a day, and else once.
    pub(super) fn looks(self, length: usize) -> f64 {
        if length < self.slots() {
            self.slots() as f64
        } else {
            1.0
        }
    }

    /// The number of the day a bucket of at most a day begins in.
    pub(super) fn day_of(self, bucket: i64) -> i64 {
        bucket.div_euclid(self.slots() as i64)
    }
}

/// How many windows end with a bucket.
pub const WINDOWS: usize = 5;

/// Where in the day and the week a bucket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Phase {
    /// Which bucket of the day.
    pub slot: usize,
    /// From Monday, 0.
    pub weekday: usize,
}

/// The pattern that the reference was found to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Season {
    /// One level for all.
    None,
    /// A level for each weekday.
    Weekday,
    /// A level for each bucket of the day, and what weekdays add to it.
    Daily,
}

/// A score on one bucket of the reference.
#[derive(Debug, Clone, Copy)]
pub(super) struct Observed {
    pub phase: Phase,
    pub rows: f64,
    pub value: f64,
    /// Of the value in means.
    pub weight: f64,
}

/// A mean and what its variance is made of.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Level {
    mean: f64,
    /// Its variance from sampling, with a score's variance of 1 per row.
    sampling: f64,
    /// The share of the day-to-day variance that is left in it: one over the number of days, if they are alike.
    days: f64,
}

impl Level {
    fn of<'a>(values: impl Iterator<Item = &'a (f64, Observed)>) -> Self {
        let (mut weight, mut sum, mut sampling, mut squares) = (0.0, 0.0, 0.0, 0.0);
        for (value, observed) in values {
            let w = observed.weight;
            weight += w;
            sum += w * value;
            sampling += w * w / observed.rows;
            squares += w * w;
        }
        if weight <= 0.0 {
            return Self::default();
        }
        Self {
            mean: sum / weight,
            sampling: sampling / (weight * weight),
            days: squares / (weight * weight),
        }
    }
}

/// The level of a score in each phase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Levels {
    season: Season,
    /// One, one for each weekday, or one for each bucket of the day.
    base: Vec<Level>,
    /// What weekdays add; only with a daily pattern.
    weekdays: Vec<Level>,
}

/// Levels fitted, with what is left of each value and how many degrees of freedom that has.
pub(super) struct Fitted {
    pub levels: Levels,
    pub residuals: Vec<f64>,
    pub freedom: f64,
}

impl Levels {
    pub(super) fn fit(values: &[Observed], season: Season, grain: Grain) -> Fitted {
        let count = match season {
            Season::None => 1,
            Season::Weekday => DAYS_OF_WEEK,
            Season::Daily => grain.slots(),
        };
        let mut left: Vec<(f64, Observed)> = values.iter().map(|o| (o.value, *o)).collect();
        let mut levels = Self {
            season,
            base: Vec::with_capacity(count),
            weekdays: Vec::new(),
        };
        for index in 0..count {
            let own = left
                .iter()
                .filter(|(_, o)| base_index(season, o.phase) == index);
            levels.base.push(Level::of(own));
        }
        let mut used = levels.base.iter().filter(|level| level.days > 0.0).count() as f64;
        for (value, observed) in &mut left {
            *value -= levels.base[base_index(season, observed.phase)].mean;
        }
        if season == Season::Daily {
            used += levels.fit_weekdays(&mut left, grain);
        }
        Fitted {
            freedom: values.len() as f64 - used,
            residuals: left.into_iter().map(|(value, _)| value).collect(),
            levels,
        }
    }

    /// The weekend first, then what single weekdays add to it, drawn towards nothing. The answer is how many degrees
    /// of freedom that took.
    fn fit_weekdays(&mut self, left: &mut [(f64, Observed)], grain: Grain) -> f64 {
        let halves = [false, true].map(|end| {
            Level::of(
                left.iter()
                    .filter(|(_, o)| is_weekend(o.phase.weekday) == end),
            )
        });
        let half_of = |weekday: usize| halves[usize::from(is_weekend(weekday))];
        for (value, observed) in left.iter_mut() {
            *value -= half_of(observed.phase.weekday).mean;
        }
        let mut used = 1.0;
        for weekday in 0..DAYS_OF_WEEK {
            let own = || left.iter().filter(|(_, o)| o.phase.weekday == weekday);
            let days = own().count() as f64 / grain.slots() as f64;
            let shrinkage = days / (days + WEEKDAY_SHRINKAGE);
            let (half, own) = (half_of(weekday), Level::of(own()));
            self.weekdays.push(Level {
                mean: half.mean + shrinkage * own.mean,
                sampling: half.sampling + shrinkage * shrinkage * own.sampling,
                days: half.days + shrinkage * shrinkage * own.days,
            });
            used += shrinkage;
        }
        for (value, observed) in left.iter_mut() {
            let weekday = observed.phase.weekday;
            *value -= self.weekdays[weekday].mean - half_of(weekday).mean;
        }
        used
    }

    /// The level of a phase.
    pub(super) fn at(&self, phase: Phase) -> f64 {
        let weekday = self
            .weekdays
            .get(phase.weekday)
            .map_or(0.0, |level| level.mean);
        self.base[base_index(self.season, phase)].mean + weekday
    }

    /// The mean of the levels of all phases that the reference has met; 0 of none.
    pub(super) fn mean(&self) -> f64 {
        let met = || self.base.iter().filter(|level| level.days > 0.0);
        met().map(|level| level.mean).sum::<f64>() / met().count().max(1) as f64
    }

    /// Whether the reference has a level for the phase.
    pub(super) fn knows(&self, phase: Phase) -> bool {
        self.base[base_index(self.season, phase)].days > 0.0
    }

    /// The variance of the level that a window is held against, with so much day-to-day variance in it, and so much more in
    /// what weekdays add, where the buckets of a day go together.
    pub(super) fn variance(&self, window: &Phases, day_variance: f64, of_weekdays: f64) -> f64 {
        let part = |levels: &[Level], weights: &[f64], day_variance: f64| -> f64 {
            let share = |weight: &f64| weight / window.total;
            levels
                .iter()
                .zip(weights)
                .map(|(level, weight)| {
                    share(weight) * share(weight) * (level.sampling + day_variance * level.days)
                })
                .sum()
        };
        part(&self.base, &window.base, day_variance)
            + part(&self.weekdays, &window.weekdays, day_variance + of_weekdays)
    }
}

/// How much of a window is in each phase.
#[derive(Debug, Clone)]
pub(super) struct Phases {
    base: [f64; 24],
    weekdays: [f64; DAYS_OF_WEEK],
    total: f64,
}

impl Phases {
    pub(super) const NONE: Self = Self {
        base: [0.0; 24],
        weekdays: [0.0; DAYS_OF_WEEK],
        total: 0.0,
    };

    pub(super) fn add(&mut self, season: Season, phase: Phase, weight: f64) {
        self.base[base_index(season, phase)] += weight;
        self.weekdays[phase.weekday] += weight;
        self.total += weight;
    }
}

impl Levels {
    pub(super) fn season(&self) -> Season {
        self.season
    }
}

fn base_index(season: Season, phase: Phase) -> usize {
    match season {
        Season::None => 0,
        Season::Weekday => phase.weekday,
        Season::Daily => phase.slot,
    }
}

fn is_weekend(weekday: usize) -> bool {
    weekday >= 5
}

/// The pattern of a feature: that of its grain if any of its scores has it, by the F-test of its levels against
/// one level for all.
pub(super) fn season_of(scores: &[Vec<Observed>], grain: Grain) -> Season {
    let season = match grain {
        Grain::Week => return Season::None,
        Grain::Day => Season::Weekday,
        Grain::Hour | Grain::SixHours => Season::Daily,
    };
    let believed = SEASON_P / scores.len().max(1) as f64;
    let has_it = scores
        .iter()
        .any(|values| pattern_p(values, season, grain).is_some_and(|p| p < believed));
    if has_it { season } else { Season::None }
}

/// The p-value of the F-test; `None` where there are too few buckets for it.
fn pattern_p(values: &[Observed], season: Season, grain: Grain) -> Option<f64> {
    let phases = match season {
        Season::None => return None,
        Season::Weekday => DAYS_OF_WEEK,
        Season::Daily => grain.slots(),
    };
    // Two of each at least: otherwise a phase's only value is its level.
    let mut buckets = vec![0; phases];
    for observed in values {
        buckets[base_index(season, observed.phase)] += 1;
    }
    if buckets.iter().any(|count| *count < 2) {
        return None;
    }
    let squares = |fitted: &Fitted| -> f64 {
        values
            .iter()
            .zip(&fitted.residuals)
            .map(|(o, r)| o.weight * r * r)
            .sum()
    };
    let (flat, patterned) = (
        Levels::fit(values, Season::None, grain),
        Levels::fit(values, season, grain),
    );
    let taken = flat.freedom - patterned.freedom;
    let (within, between) = (squares(&patterned), squares(&flat) - squares(&patterned));
    if within <= 0.0 || patterned.freedom <= 0.0 {
        return None;
    }
    let f = (between / taken) / (within / patterned.freedom);
    let p = FisherSnedecor::new(taken, patterned.freedom)
        .ok()?
        .sf(f.max(0.0));
    (!p.is_nan()).then_some(p)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observed(grain: Grain, bucket: i64, value: f64) -> Observed {
        Observed {
            phase: grain.phase(bucket),
            rows: 100.0,
            value,
            weight: 100.0,
        }
    }

    #[test]
    fn phases_count_from_a_thursday() {
        assert_eq!(
            Grain::Day.phase(0),
            Phase {
                slot: 0,
                weekday: 3
            }
        );
        assert_eq!(
            Grain::Day.phase(4),
            Phase {
                slot: 0,
                weekday: 0
            }
        );
        assert_eq!(Grain::Day.phase(-4).weekday, 6);
        assert_eq!(
            Grain::Hour.phase(25),
            Phase {
                slot: 1,
                weekday: 4
            }
        );
        assert_eq!(
            Grain::SixHours.phase(-1),
            Phase {
                slot: 3,
                weekday: 2
            }
        );
    }

    #[test]
    fn buckets_are_as_short_as_the_rows_allow() {
        let cases = [
            (1e6, Grain::Hour),
            (200.0, Grain::Hour),
            (199.0, Grain::SixHours),
        ];
        let longer = [(10.0, Grain::Day), (5.0, Grain::Week), (0.0, Grain::Week)];
        for (rows, grain) in cases.into_iter().chain(longer) {
            assert_eq!(Grain::for_rows(rows), grain, "{rows}");
        }
    }

    #[test]
    fn a_weekly_pattern_is_found_and_taken_out() {
        let wobble = |bucket: i64| ((bucket * 7_919) % 13) as f64 * 1e-3;
        let values: Vec<Observed> = (0..56)
            .map(|b| {
                let weekend = f64::from(u8::from(is_weekend(Grain::Day.phase(b).weekday)));
                observed(Grain::Day, b, 0.3 * weekend + wobble(b))
            })
            .collect();
        assert_eq!(
            season_of(std::slice::from_ref(&values), Grain::Day),
            Season::Weekday
        );
        let fitted = Levels::fit(&values, Season::Weekday, Grain::Day);
        assert_eq!(fitted.freedom, 49.0);
        assert!(fitted.residuals.iter().all(|r| r.abs() < 0.02));
        let saturday = Phase {
            slot: 0,
            weekday: 5,
        };
        assert!((fitted.levels.at(saturday) - 0.306).abs() < 0.01);
        let mut window = Phases::NONE;
        window.add(Season::Weekday, saturday, 3.0);
        // Eight Saturdays of 100 rows.
        assert!((fitted.levels.variance(&window, 0.0, 0.0) - 1.0 / 800.0).abs() < 1e-15);
        assert!((fitted.levels.variance(&window, 0.4, 0.0) - (1.0 / 800.0 + 0.05)).abs() < 1e-15);
        let flat: Vec<Observed> = (0..56)
            .map(|b| observed(Grain::Day, b, wobble(b)))
            .collect();
        assert_eq!(season_of(&[flat], Grain::Day), Season::None);
    }

    #[test]
    fn an_hourly_pattern_with_quiet_weekends_is_taken_out() {
        let values: Vec<Observed> = (0..28 * 24)
            .map(|b| {
                let phase = Grain::Hour.phase(b);
                let hour = (phase.slot as f64 / 24.0 * std::f64::consts::TAU).sin();
                let weekend = f64::from(u8::from(is_weekend(phase.weekday)));
                observed(
                    Grain::Hour,
                    b,
                    hour + 0.5 * weekend + ((b * 7_919) % 13) as f64 * 1e-3,
                )
            })
            .collect();
        assert_eq!(
            season_of(std::slice::from_ref(&values), Grain::Hour),
            Season::Daily
        );
        let fitted = Levels::fit(&values, Season::Daily, Grain::Hour);
        assert!(fitted.residuals.iter().all(|r| r.abs() < 0.02));
        for observed in &values {
            assert!((fitted.levels.at(observed.phase) - observed.value).abs() < 0.02);
        }
        assert!(fitted.freedom > 670.0 - 24.0 - 8.0 && fitted.freedom < 672.0 - 24.0 - 1.0);
    }
}

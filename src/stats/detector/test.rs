//! One score of a feature: what it is of a day, and how surprising the days of a window are.

use serde::{Deserialize, Serialize};

use super::bins::Tally;
use super::draft::PEAK;
use super::fitting::CLUMPED;
use super::scores::corrected;
use super::season::{Levels, Phase, Phases, WINDOWS};
use super::wandering::inflation;
use crate::stats::beta::{
    binomial_upper, ln_incomplete_beta, negative_binomial_upper, student_two_sided, student_upper,
};
use crate::stats::moderated::MOST_FREEDOM;
use crate::stats::tails::PValue;

/// What a score is sensitive to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ScoreKind {
    /// Most values are larger or smaller.
    Centre,
    /// Values lie further apart or closer together.
    Spread,
    /// One side has moved and the other has not.
    Skew,
    /// The outermost and the middle have gained against what is between.
    Tails,
    /// Values at or below the reference's lowest half percent.
    LowEnd,
    /// Values at or above its highest half percent.
    HighEnd,
    /// The share of one number.
    Value(f64),
    /// The share of one category.
    Category(String),
    /// The share of all categories that are too rare to be watched by name.
    OtherCategories,
    /// Categories the reference does not have.
    Unseen,
    Missing,
    WrongType,
    /// The number of rows, as a logarithm.
    Volume,
    /// Values further from the range of the reference than it is wide.
    Far,
}

/// How a score is computed from a day.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Form {
    /// The mean of these values of the bins.
    Shape(Vec<f64>),
    Bin(usize),
    Unseen,
    Missing,
    Mismatched,
    Volume,
    /// Several bins together.
    Bins(Vec<usize>),
}

/// How a window is tested.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Test {
    Mean(MeanTest),
    Excess(ExcessTest),
}

/// Both sides of a mean of days.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct MeanTest {
    pub levels: Levels,
    pub skewness: f64,
    pub kurtosis: f64,
    /// The variance of a day's mean in units of its sampling variance.
    pub factor: f64,
    /// The same of the feature, where it says more of how much a day's rows go together.
    pub together: f64,
    pub freedom: f64,
    /// What a day's mean varies by beyond sampling.
    pub day_variance: f64,
    /// The same in the reference's level, where a level that wanders makes it more.
    pub level_day_variance: f64,
}

/// What the dispersion of a window's count depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct CountWindow {
    pub rows: f64,
    /// How many times the usual rows its buckets have, 1 at least.
    pub times_usual: f64,
    /// How many buckets are together in a day, on average, where these are shorter.
    pub together: f64,
    /// What a level that wanders adds.
    pub inflation: f64,
}

/// More of something rare than the reference leads to expect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct ExcessTest {
    /// The largest share the reference allows for.
    pub rate: f64,
    /// The variance of a day's count in units of its mean.
    pub dispersion: f64,
    pub freedom: f64,
    /// What the rate is known from.
    pub reference_rows: f64,
    /// How much a wandering level inflates the variance of the rate.
    pub reference_inflation: f64,
}

/// One way of looking at a feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Score {
    pub kind: ScoreKind,
    pub form: Form,
    /// The share in the reference, of scores that are about a share.
    pub share: Option<f64>,
    pub test: Test,
    /// The part of the feature's chance of a false alarm that each window may take each time it is looked at; 0 where it is not.
    pub weights: [f64; WINDOWS],
    /// A smaller change does not count.
    pub least_effect: f64,
    /// What the buckets of a day have in common, where a bucket is shorter than a day. It is stored beside the scores
    /// ([`super::codec`]).
    #[serde(skip)]
    pub of_day: Option<OfDay>,
    /// The median rows of a bucket that the score is of, which are values where it is about values. It is stored beside the
    /// scores, and not known of those that earlier builds stored.
    #[serde(skip)]
    pub usual_rows: Option<f64>,
}

/// What the buckets of a day have in common: without it, two dozen hours of one odd day would pass for two dozen odd hours.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct OfDay {
    /// The variance between days, of means; of counts, what each other bucket of the day adds to the dispersion of one.
    pub variance: f64,
    /// How many buckets' worth of rows a day has.
    pub buckets: f64,
    /// Of means, what is left of it in the reference's level; of counts, the dispersion of a whole day.
    pub level: f64,
    /// The degrees of freedom it is known with.
    pub freedom: f64,
}

/// A day of a score.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    /// Buckets before the one evaluated.
    pub age: usize,
    pub phase: Phase,
    pub rows: f64,
    /// The mean of the score, or the count of what is rare.
    pub value: f64,
}

/// What all scores of a model have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame<'a> {
    pub windows: [usize; WINDOWS],
    /// How much a wandering level inflates the variance of the mean of 0, 1, 2 … days.
    pub inflations: &'a [f64],
    pub least_rows: f64,
    /// The buckets of a day.
    pub slots: usize,
    /// The longest window there is, looked at or not.
    pub longest: usize,
}

impl Frame<'_> {
    /// It without the windows of a day and more.
    pub(super) fn within_a_day(&self) -> Self {
        let shorter = self
            .windows
            .into_iter()
            .filter(|length| *length < self.slots);
        let most = shorter.max().unwrap_or(1);
        Self {
            // A window that adds nothing to the one before it is not looked at.
            windows: self.windows.map(|length| length.min(most)),
            ..*self
        }
    }
}

/// A window is about the bucket that is judged if that has this part of the rows of its mean bucket.
const PART_OF_ITS_OWN: f64 = 0.2;

/// How far the rows of a bucket and of those before it go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    Nothing,
    /// Windows have enough, of buckets before it.
    OfOthers,
    Enough,
}

impl Frame<'_> {
    /// Whether a window of so many buckets says something of the one that is judged: it has rows enough, and that bucket enough
    /// of them that the others do not speak for it. Of windows of a day and more it is the last day's buckets together that count,
    /// since these are looked at once a day.
    ///
    /// Rows are by age, the youngest first; `sums` and the numbers of buckets and rows are of those within the window.
    fn speaks_for_the_last(
        &self,
        length: usize,
        by_age: impl Iterator<Item = (usize, f64)>,
        (sums, buckets, rows): (&Sums, usize, f64),
    ) -> bool {
        if rows < self.least_rows {
            return false;
        }
        let (youngest, parts) = if length >= self.slots {
            (self.slots, sums.days)
        } else {
            (1, buckets)
        };
        let own = by_age.take_while(|(age, _)| *age < youngest);
        let own: f64 = own.map(|(_, rows)| rows).sum();
        own >= self.least_rows || own * parts as f64 >= PART_OF_ITS_OWN * rows
    }

    /// How far these rows by age go, the youngest first.
    pub(super) fn reach(&self, held: &[(usize, f64)]) -> Reach {
        let mut reach = Reach::Nothing;
        for length in self.windows {
            let (mut sums, mut buckets, mut rows) = (Sums::default(), 0, 0.0);
            for (age, own) in held.iter().take_while(|(age, _)| *age < length) {
                sums.add(*own, *own, age / self.slots);
                rows += own;
                buckets += 1;
            }
            let within = (&sums, buckets, rows);
            if self.speaks_for_the_last(length, held.iter().copied(), within) {
                return Reach::Enough;
            }
            if rows >= self.least_rows {
                reach = Reach::OfOthers;
            }
        }
        reach
    }
}

fn by_age(points: &[Point]) -> impl Iterator<Item = (usize, f64)> {
    points.iter().map(|point| (point.age, point.rows))
}

/// A window of a score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Statistic {
    /// Its place among the windows.
    pub window: usize,
    /// Days in it that have data.
    pub buckets: usize,
    pub rows: f64,
    /// Deviation from the reference in standard deviations of one row.
    pub effect: f64,
    pub error: f64,
    pub t: f64,
    pub freedom: f64,
    /// How many rows its days are worth, which go together within a day.
    pub worth: f64,
    pub ln_p: f64,
}

/// Why a candidate is one: the window of a score, with all that is needed to tell and to repeat it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    pub score: ScoreKind,
    /// The window's length in buckets, and how many of these had data.
    pub window: usize,
    pub buckets: usize,
    pub rows: u64,
    /// How far the window is from the reference, in standard deviations of one row; of a volume, as a logarithm.
    pub effect: f64,
    /// Its 95 % interval.
    pub interval: (f64, f64),
    /// The share in the reference and in the window, of scores that are about a share.
    pub shares: Option<(f64, f64)>,
    pub t: f64,
    pub degrees_of_freedom: f64,
    /// The logarithm of the p-value of this window of this score alone.
    pub ln_p: f64,
}

impl Form {
    /// The score of a day, or its count, and the rows it is of; `None` where the day says nothing.
    pub(super) fn of(
        &self,
        tally: &Tally,
        values: u64,
        share: Option<f64>,
        counts: bool,
    ) -> Option<(f64, f64)> {
        let of_share = |count: u64, rows: u64| {
            let (count, rows) = (count as f64, rows as f64);
            let share = share.unwrap_or(0.0);
            let value = if counts {
                count
            } else {
                (count / rows - share) / (share * (1.0 - share)).sqrt()
            };
            (rows > 0.0).then_some((value, rows))
        };
        match self {
            Self::Shape(shape) => {
                let sum: f64 = shape
                    .iter()
                    .zip(&tally.counts)
                    .map(|(s, c)| s * *c as f64)
                    .sum();
                (values > 0).then(|| (sum / values as f64, values as f64))
            }
            Self::Bin(bin) => of_share(tally.counts[*bin], values),
            Self::Bins(bins) => of_share(bins.iter().map(|bin| tally.counts[*bin]).sum(), values),
            Self::Unseen => of_share(tally.unseen?, values),
            Self::Missing => of_share(tally.missing, tally.rows),
            Self::Mismatched => of_share(tally.mismatched, tally.rows),
            Self::Volume => Some((
                (tally.rows as f64).max(0.5).ln(),
                (tally.rows as f64).max(1.0),
            )),
        }
    }
}

impl Score {
    pub(super) fn ln_weight(&self, window: usize) -> f64 {
        self.weights[window].ln()
    }

    /// How many times the usual rows a bucket of so many has, 1 at least: of smaller ones nothing is gained.
    fn times_usual(&self, rows: f64) -> f64 {
        self.usual_rows
            .map_or(1.0, |usual| rows / usual.max(1.0))
            .max(1.0)
    }

    /// The score of a day and the rows it is of.
    pub(super) fn of(&self, tally: &Tally, values: u64) -> Option<(f64, f64)> {
        self.form.of(
            tally,
            values,
            self.share,
            matches!(self.test, Test::Excess(_)),
        )
    }

    /// Looks at every window that adds a day to the one before it. Points are in order of age, the youngest first.
    pub(super) fn windows(
        &self,
        points: &[Point],
        frame: &Frame,
        mut see: impl FnMut(&Self, Statistic),
    ) {
        match &self.test {
            Test::Mean(test) => {
                test.windows(self.of_day.as_ref(), points, frame, |statistic| {
                    see(self, statistic);
                });
            }
            Test::Excess(test) => test.windows(self, points, frame, |statistic| {
                see(self, statistic);
            }),
        }
    }

    /// The p-value of a window as a logarithm: 0 if the change is too small to count.
    pub(super) fn ln_p(&self, statistic: &Statistic) -> f64 {
        let small = statistic.effect.abs() < self.least_effect;
        if small {
            return 0.0;
        }
        match &self.test {
            Test::Mean(test) => {
                let student = student_two_sided(statistic.t, statistic.freedom);
                let student = student.map_or(f64::NAN, PValue::ln);
                match self.share {
                    Some(share) if test.together > CLUMPED => {
                        let worth = statistic.worth * test.factor / test.together;
                        student.max(ln_share(share, statistic.effect, worth))
                    }
                    _ => student,
                }
            }
            Test::Excess(_) => statistic.ln_p,
        }
    }

    /// A p-value that [`Self::ln_p`] is not below, at no cost: both tails of the normal distribution are less than
    /// those of Student's, and at least `φ(t) · 2t/(1 + t²)`.
    pub(super) fn ln_p_at_least(&self, statistic: &Statistic) -> f64 {
        let t = statistic.t.abs();
        match &self.test {
            Test::Mean(_) if t > 1.0 => {
                -0.5 * t * t + (t / (1.0 + t * t)).ln() - 0.225_791_352_644_727_4
            }
            Test::Mean(_) => -2.0,
            Test::Excess(_) => f64::NEG_INFINITY,
        }
    }
}

/// The p-value of a share as a logarithm, as if the window had as many rows as it is worth: where a day's rows are all of one kind,
/// a category is there on some days and not on others, and that is all the chance there is. Twice the binomial tail.
pub(super) fn ln_share(share: f64, effect: f64, rows: f64) -> f64 {
    let now = share + effect * (share * (1.0 - share)).sqrt();
    let count = rows * now.clamp(0.0, 1.0);
    let tail = if effect > 0.0 {
        ln_incomplete_beta(count, rows - count + 1.0, share, 1.0 - share)
    } else {
        ln_incomplete_beta(rows - count, count + 1.0, 1.0 - share, share)
    };
    (tail + std::f64::consts::LN_2).min(0.0)
}

/// Days nearer to their level than this, in standard deviations, are ordinary.
const ORDINARY: f64 = 2.0;

fn widening(deviations: impl Iterator<Item = f64>) -> f64 {
    let furthest = deviations.fold(0.0, f64::max) / PEAK;
    (furthest * furthest).max(1.0)
}

/// What the variance of a window's mean is made of.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sums {
    /// Of the buckets' weights.
    pub weight: f64,
    /// Of their squares over their rows, and of their squares.
    pub sampling: f64,
    pub squares: f64,
    /// How many days the buckets fall into, counted back from the last, and the sum of the squares of these days' weights.
    pub days: usize,
    pub day_squares: f64,
    /// The day that was added to last, and its weight.
    day: (usize, f64),
}

impl Sums {
    /// Adds a bucket that is not younger than those before it.
    pub(super) fn add(&mut self, weight: f64, rows: f64, day: usize) {
        self.weight += weight;
        self.sampling += weight * weight / rows;
        self.squares += weight * weight;
        if self.days == 0 || self.day.0 != day {
            self.days += 1;
            self.day = (day, 0.0);
        }
        let before = self.day.1;
        self.day.1 += weight;
        self.day_squares += self.day.1 * self.day.1 - before * before;
    }

    /// How many buckets are together in a day, as their weights are spread over them.
    fn together(&self) -> f64 {
        self.day_squares / self.squares
    }
}

/// The variance of a window's mean: its own, that of the level it is held against, and how much of both is that of days,
/// where buckets are shorter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Variance {
    pub own: f64,
    pub level: f64,
    pub of_days: f64,
}

impl Variance {
    pub(super) fn total(&self) -> f64 {
        self.own + self.level
    }
}

impl MeanTest {
    /// How far days that have a level are from it and `effect`, in standard deviations of a day.
    fn deviations(&self, points: &[Point], effect: f64) -> impl Iterator<Item = f64> {
        let known = points.iter().filter(|point| self.levels.knows(point.phase));
        known.map(move |point| {
            let deviation = point.value - self.levels.at(point.phase) - effect;
            deviation / (1.0 / point.rows + self.day_variance).sqrt()
        })
    }

    /// By how much a window's own days widen its variance: one bad day is not many. The furthest of them is no more than three
    /// standard deviations from their mean then.
    fn peak(&self, points: &[Point], effect: f64) -> f64 {
        widening(self.deviations(points, effect).map(f64::abs))
    }

    /// By how much the days before widen the variance of a single day: it is no news that is no further off than one that was met
    /// lately, on the same side, and went away. Days that lead up to this one without an ordinary one between are part of it.
    fn met(&self, points: &[Point]) -> f64 {
        let mut deviations = self.deviations(points, 0.0);
        let Some(today) = deviations.next() else {
            return 1.0;
        };
        let towards = deviations.map(|deviation| deviation * today.signum());
        widening(towards.skip_while(|deviation| *deviation > ORDINARY))
    }

    /// The variance of the mean of a window with these sums, whose own days widen it by so much.
    pub(super) fn variance(
        &self,
        of_day: Option<&OfDay>,
        sums: &Sums,
        phases: &Phases,
        inflation: f64,
        widening: f64,
    ) -> Variance {
        let square = sums.weight * sums.weight;
        let Some(of_day) = of_day else {
            let own = (sums.sampling + self.day_variance * inflation * sums.squares) / square;
            return Variance {
                own: own * widening,
                level: self.levels.variance(phases, self.level_day_variance, 0.0),
                of_days: 0.0,
            };
        };
        let single = (self.day_variance - of_day.variance).max(0.0);
        let of_days = of_day.variance * inflation * sums.day_squares / square * widening;
        let of_weekdays = of_day.variance * of_day.buckets;
        let level = (self.levels).variance(phases, self.level_day_variance, of_weekdays);
        Variance {
            own: (sums.sampling + single * sums.squares) / square * widening + of_days,
            level: level + of_day.level,
            of_days: of_days + of_day.level,
        }
    }

    /// The degrees of freedom of a variance of which days make a part (Satterthwaite 1946).
    pub(super) fn freedom_of(&self, of_day: Option<&OfDay>, variance: &Variance) -> f64 {
        let Some(of_day) = of_day else {
            return self.freedom;
        };
        let total = variance.total();
        let single = total - variance.of_days;
        let known =
            single * single / self.freedom + variance.of_days * variance.of_days / of_day.freedom;
        (total * total / known).min(MOST_FREEDOM)
    }

    fn windows(
        &self,
        of_day: Option<&OfDay>,
        points: &[Point],
        frame: &Frame,
        mut see: impl FnMut(Statistic),
    ) {
        let season = self.levels.season();
        let mut phases = Phases::NONE;
        let mut sums = Sums::default();
        let (mut sum, mut rows) = (0.0, 0.0);
        let (mut buckets, mut next) = (0, 0);
        for (window, length) in frame.windows.into_iter().enumerate() {
            let before = buckets;
            while let Some(point) = points.get(next).filter(|point| point.age < length) {
                next += 1;
                if !self.levels.knows(point.phase) {
                    continue;
                }
                let w = point.rows / (1.0 + self.day_variance * point.rows);
                sums.add(w, point.rows, point.age / frame.slots);
                sum += w * (point.value - self.levels.at(point.phase));
                rows += point.rows;
                phases.add(season, point.phase, w);
                buckets += 1;
            }
            let is_about_now =
                frame.speaks_for_the_last(length, by_age(points), (&sums, buckets, rows));
            if buckets == before || !is_about_now {
                continue;
            }
            let effect = sum / sums.weight;
            let widening = if buckets > 1 {
                self.peak(&points[..next], effect)
            } else {
                self.met(points)
            };
            let inflation = frame.inflations[if of_day.is_some() { sums.days } else { buckets }];
            let variance = self.variance(of_day, &sums, &phases, inflation, widening);
            let error = variance.total().sqrt();
            see(Statistic {
                window,
                buckets,
                rows,
                effect,
                error,
                t: corrected(effect / error, self.skewness, self.kurtosis, rows),
                freedom: self.freedom_of(of_day, &variance),
                worth: 1.0 / variance.own,
                ln_p: f64::NAN,
            });
        }
    }
}

impl ExcessTest {
    fn windows(
        &self,
        score: &Score,
        points: &[Point],
        frame: &Frame,
        mut see: impl FnMut(Statistic),
    ) {
        let share = score.share.unwrap_or(0.0);
        let of_day = score.of_day.as_ref();
        let (mut count, mut rows, mut squares) = (0.0, 0.0, 0.0);
        let mut next = 0;
        let mut sums = Sums::default();
        for (window, length) in frame.windows.into_iter().enumerate() {
            let before = next;
            while let Some(point) = points.get(next).filter(|point| point.age < length) {
                next += 1;
                count += point.value;
                rows += point.rows;
                squares += point.value * point.value / point.rows;
                sums.add(point.rows, point.rows, point.age / frame.slots);
            }
            let is_watched = score.weights[window] > 0.0;
            let is_about_now =
                frame.speaks_for_the_last(length, by_age(points), (&sums, next, rows));
            if !is_watched || next == before || !is_about_now || count == 0.0 {
                continue;
            }
            let now = count / rows;
            // Where the reference has none, the window's own share tells how far rows differ.
            let reference = if share > 0.0 { share } else { now };
            let deviation = (reference * (1.0 - reference)).sqrt();
            let of_window = CountWindow {
                rows,
                times_usual: score.times_usual(sums.squares / sums.weight),
                together: sums.together(),
                inflation: frame.inflations[sums.days],
            };
            let mean = rows * self.rate;
            let dispersion = self
                .dispersion_of(of_day, of_window)
                .max(within(count, rows, squares, next));
            let effect = if deviation > 0.0 {
                (now - share) / deviation
            } else {
                f64::INFINITY
            };
            see(Statistic {
                window,
                buckets: next,
                rows,
                effect: effect.min(1e6),
                error: (now * (1.0 - now) * dispersion / rows).sqrt() / deviation.max(1e-6),
                t: (count - mean) / (mean * dispersion).sqrt(),
                freedom: self.freedom,
                worth: rows / dispersion,
                ln_p: self.ln_p(count as u64, rows, dispersion),
            });
        }
    }

    /// The variance of a window's count in units of its mean: with what a wandering level adds, and with that of the
    /// reference's own rate. Where days are alike it stays that of chance, and the rate is an upper bound anyway.
    ///
    /// What days differ by moves all rows of a day, so it grows with them.
    pub(super) fn dispersion_of(&self, of_day: Option<&OfDay>, window: CountWindow) -> f64 {
        let own = 1.0 + (self.dispersion - 1.0).max(0.0) * window.times_usual;
        match of_day {
            None if self.dispersion <= 1.0 => 1.0,
            None => {
                let of_rate = self.reference_inflation * window.rows / self.reference_rows;
                own * window.inflation + self.dispersion * of_rate
            }
            Some(of_day) if self.dispersion.max(of_day.level) <= 1.0 => 1.0,
            Some(of_day) => {
                let others = of_day.variance * (window.together * window.inflation - 1.0).max(0.0);
                let of_rate = of_day.level * window.rows / self.reference_rows;
                own + others * window.times_usual + of_rate
            }
        }
    }

    /// Where days vary more than chance has them, the less surprising of the negative binomial tail, whose dispersion
    /// is taken as known, and Student's, which allows for its having been estimated.
    pub(super) fn ln_p(&self, count: u64, rows: f64, dispersion: f64) -> f64 {
        let ln = |p: Option<PValue>| p.map_or(f64::NAN, PValue::ln);
        if dispersion <= 1.0 {
            return ln(binomial_upper(count, rows as u64, self.rate.min(1.0)));
        }
        let mean = rows * self.rate;
        let t = (count as f64 - mean) / (mean * dispersion).sqrt();
        ln(negative_binomial_upper(count, mean, dispersion)).max(ln(student_upper(t, self.freedom)))
    }
}

/// The variance of a window's own days' counts in units of what chance would have: one bad day is not many. 1 at least.
fn within(count: f64, rows: f64, squares: f64, days: usize) -> f64 {
    if days < 2 {
        return 1.0;
    }
    let rate = count / rows;
    ((squares - count * rate) / rate / (days as f64 - 1.0)).max(1.0)
}

/// How much a wandering level inflates the variance of the mean of 0, 1, 2 … days.
pub(super) fn inflations(correlation: f64, longest: usize) -> Vec<f64> {
    (0..=longest)
        .map(|length| inflation(length, correlation))
        .collect()
}

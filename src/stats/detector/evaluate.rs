//! What is said of one day of one feature.

use serde::{Deserialize, Serialize};

use super::bins::{Bins, Tally};
use super::reference::{FeatureReference, Footing, Reference};
use super::season::Grain;
use super::test::{Evidence, Frame, Point, Reach, Score, ScoreKind, Statistic, Test};
use crate::stats::beta::student_critical;
use crate::stats::tails::PValue;

/// A bucket of a feature, counted.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'a> {
    /// The bucket's number from the epoch, in the reference's grain.
    pub bucket: i64,
    /// A day that is known to be different, which neither enters a reference nor a window of later days.
    pub holiday: bool,
    pub tally: &'a Tally,
}

/// How a day stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// Nothing beyond chance, or nothing of a size that counts.
    Quiet,
    /// Beyond chance and large enough.
    Candidate,
    /// A day that is known to be different: whatever it shows is no change, and no sign that one is over.
    Holiday,
    /// Not enough rows to say anything.
    Insufficient,
}

/// What is said of one day of one feature.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    pub status: Status,
    /// The probability of a day as surprising as this one, or more, with all windows and scores accounted for, and where
    /// buckets are shorter, all buckets of the day. `None` if none could be tested.
    pub p: Option<PValue>,
    /// What `p` is held against.
    pub alpha: PValue,
    /// The window and score that decided, if any change was large enough to count.
    pub deciding: Option<Evidence>,
    /// The window and score that come nearest to a change, large enough to count or not; `None` if none was tested.
    pub nearest: Option<Evidence>,
    /// Of a candidate: every score that takes part in the change over the same window, the deciding one first.
    pub direction: Vec<Evidence>,
    /// Of a candidate: the bucket since which the deciding score has moved.
    pub since: Option<i64>,
    pub footing: Footing,
    /// Of what is insufficient: what it is short of.
    pub shortage: Option<Shortage>,
}

/// What a day that cannot be judged is short of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shortage {
    /// No window has enough values.
    Values,
    /// The day has too few values itself, and the windows that have enough speak of the days before it.
    OfItsOwn,
    /// Days have so few values that shares are judged over longer windows than there are days yet.
    Days,
    /// Buckets of less than a day have so few values that shares are judged over windows of a day and more, which are looked at
    /// once a day and not with this bucket.
    UntilTheDayEnds,
    /// The reference has too many categories to know them all, and none is frequent enough to be watched by name.
    NothingWatched,
}

impl Verdict {
    /// `ln(p / α)`, which [`super::Episode::step`] goes by; `None` if nothing could be tested, or not enough to call the day
    /// quiet, and on a holiday.
    #[must_use]
    pub fn evidence(&self) -> Option<f64> {
        match self.status {
            Status::Quiet | Status::Candidate => self.p.map(|p| p.ln() - self.alpha.ln()),
            Status::Holiday | Status::Insufficient => None,
        }
    }
}

/// Why a day cannot be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CannotEvaluate {
    #[error("evaluate no day")]
    NoDay,
    #[error("evaluate days that are not in order")]
    NotInOrder,
    #[error("evaluate a tally in other bins than the reference's")]
    OtherBins,
    #[error("evaluate feature {0} of a reference that has fewer")]
    NoSuchFeature(usize),
    #[error("evaluate a day: its p-value is not a number")]
    NotANumber,
}

/// A score of this probability over the deciding window takes part in the change.
const TAKES_PART: f64 = 1e-3;

impl Reference {
    /// Judges the last of these days of a feature, given by its place, with those before it. Days are in order; there
    /// may be gaps, and only the last [`Self::longest_window`] buckets count.
    ///
    /// # Errors
    /// When days are none, not in order or counted in other bins, and when a result is not a number.
    pub fn evaluate(
        &self,
        feature: usize,
        days: &[Observation<'_>],
    ) -> Result<Verdict, CannotEvaluate> {
        let feature = self
            .features
            .get(feature)
            .ok_or(CannotEvaluate::NoSuchFeature(feature))?;
        let inflations = self.inflations();
        feature.evaluate(days, self.grain, &self.frame(&inflations))
    }
}

impl FeatureReference {
    fn evaluate(
        &self,
        days: &[Observation<'_>],
        grain: Grain,
        frame: &Frame<'_>,
    ) -> Result<Verdict, CannotEvaluate> {
        let last = days.last().ok_or(CannotEvaluate::NoDay)?;
        self.check(days)?;
        let within_a_day = frame.within_a_day();
        let frame = if ends_a_day(days, grain) {
            frame
        } else {
            &within_a_day
        };
        let recent = self.recent(days, frame);
        let values: Vec<u64> = recent.iter().map(|day| day.tally.values()).collect();
        let points_of = |score: &Score| -> Vec<Point> {
            let dated = recent.iter().zip(&values);
            let points = dated.filter_map(|(day, values)| {
                let (value, rows) = score.of(day.tally, *values)?;
                let age = (last.bucket - day.bucket) as usize;
                Some(Point {
                    age,
                    phase: grain.phase(day.bucket),
                    rows,
                    value,
                })
            });
            points.collect()
        };
        let mut search = Search {
            best: None,
            shares_tested: false,
            broken: false,
        };
        for score in &self.scores {
            search.through(score, &points_of(score), frame);
        }
        if search.broken {
            return Err(CannotEvaluate::NotANumber);
        }
        let shortage = self.shortage(&search, &recent, frame);
        let mut verdict = Verdict {
            status: match (shortage, last.holiday) {
                (Some(_), _) => Status::Insufficient,
                (None, true) => Status::Holiday,
                (None, false) => Status::Quiet,
            },
            shortage,
            p: None,
            alpha: PValue::from_ln(self.ln_alpha).ok_or(CannotEvaluate::NotANumber)?,
            deciding: None,
            nearest: None,
            direction: Vec::new(),
            since: None,
            footing: self.footing,
        };
        let Some(best) = search.best else {
            // Rare things are tested by their absence, too.
            verdict.p = shortage.is_none().then_some(PValue::ONE);
            return Ok(verdict);
        };
        let p = PValue::from_ln(best.ln_p.min(0.0)).ok_or(CannotEvaluate::NotANumber)?;
        verdict.p = Some(p);
        let nearest = best.score.evidence(&best.statistic, best.ln_own, frame);
        verdict.deciding = (best.ln_own < 0.0).then(|| nearest.clone());
        verdict.nearest = Some(nearest);
        if p.ln() < self.ln_alpha {
            verdict.shortage = None;
            verdict.status = if last.holiday {
                Status::Holiday
            } else {
                Status::Candidate
            };
            let points = points_of(best.score);
            verdict.since = best
                .score
                .since(&points, frame)
                .map(|age| last.bucket - age as i64);
            verdict.direction = self.direction(&best, points_of, frame);
        }
        Ok(verdict)
    }

    fn check(&self, days: &[Observation<'_>]) -> Result<(), CannotEvaluate> {
        if !days.windows(2).all(|pair| pair[0].bucket < pair[1].bucket) {
            return Err(CannotEvaluate::NotInOrder);
        }
        let bins = self.bins.len();
        if !days.iter().all(|day| day.tally.counts.len() == bins) {
            return Err(CannotEvaluate::OtherBins);
        }
        Ok(())
    }

    /// The days any window has, the youngest first; of holidays only the one that is judged.
    fn recent<'a>(
        &self,
        days: &'a [Observation<'a>],
        frame: &Frame<'_>,
    ) -> Vec<&'a Observation<'a>> {
        let longest = frame.longest as i64;
        let last = days.last().map_or(0, |day| day.bucket);
        let is_recent = |day: &&Observation<'_>| {
            last - day.bucket < longest && (!day.holiday || day.bucket == last)
        };
        days.iter().rev().filter(is_recent).collect()
    }

    /// Whether all of the reference's values are one, so that there is no distribution to watch.
    fn watches_no_values(&self) -> bool {
        !self.scores.iter().any(Score::tests_shares)
    }

    /// Whether a window of this frame looks at shares, should it have buckets enough.
    fn watches_shares_over(&self, frame: &Frame<'_>) -> bool {
        let is_looked_at = |(place, weight): (usize, &f64)| {
            *weight > 0.0 && (place == 0 || frame.windows[place - 1] < frame.windows[place])
        };
        let mut shares = self.scores.iter().filter(|score| score.tests_shares());
        shares.any(|score| score.weights.iter().enumerate().any(is_looked_at))
    }

    /// Whether values differ that nothing looks at: there are more categories than are kept by name, so that new ones cannot be
    /// told, and none is frequent enough to be watched.
    fn watches_nothing_that_varies(&self) -> bool {
        let is_unknown =
            matches!(&self.bins, Bins::Categories(categories) if !categories.is_known());
        is_unknown && !self.scores.iter().any(Score::is_about_values)
    }

    /// What is missing to call the day quiet.
    fn shortage(
        &self,
        search: &Search<'_>,
        recent: &[&Observation<'_>],
        frame: &Frame<'_>,
    ) -> Option<Shortage> {
        if self.watches_nothing_that_varies() {
            return Some(Shortage::NothingWatched);
        }
        let watches_none = self.watches_no_values();
        if search.shares_tested {
            return None;
        }
        let newest = recent.first().map_or(0, |day| day.bucket);
        let held = recent.iter().map(|day| {
            let rows = if watches_none {
                day.tally.rows
            } else {
                day.tally.values()
            };
            ((newest - day.bucket) as usize, rows as f64)
        });
        let held: Vec<(usize, f64)> = held.filter(|(_, rows)| *rows > 0.0).collect();
        match frame.reach(&held) {
            Reach::Enough if watches_none => None,
            Reach::Enough if !self.watches_shares_over(frame) => Some(Shortage::UntilTheDayEnds),
            Reach::Enough => Some(Shortage::Days),
            Reach::OfOthers => Some(Shortage::OfItsOwn),
            Reach::Nothing => Some(Shortage::Values),
        }
    }

    /// What has changed over the deciding window: that score first, then others that take part.
    fn direction(
        &self,
        best: &Best<'_>,
        points_of: impl Fn(&Score) -> Vec<Point>,
        frame: &Frame<'_>,
    ) -> Vec<Evidence> {
        let mut direction = vec![best.score.evidence(&best.statistic, best.ln_own, frame)];
        for score in &self.scores {
            if std::ptr::eq(score, best.score) {
                continue;
            }
            score.windows(&points_of(score), frame, |score, statistic| {
                let ln_p = score.ln_p(&statistic);
                if statistic.window == best.statistic.window && ln_p < TAKES_PART.ln() {
                    direction.push(score.evidence(&statistic, ln_p, frame));
                }
            });
        }
        direction[1..].sort_by(|a, b| a.ln_p.total_cmp(&b.ln_p));
        direction
    }
}

/// Whether windows of a day and more are looked at with the last of these buckets: it is the last of its day, or the first
/// after a day whose last there is not. So each day looks at them once.
fn ends_a_day(days: &[Observation<'_>], grain: Grain) -> bool {
    let is_last = |day: &Observation<'_>| grain.phase(day.bucket).slot + 1 == grain.slots();
    let Some((last, before)) = days.split_last() else {
        return false;
    };
    let follows_a_day = before.last().is_some_and(|before| {
        grain.day_of(before.bucket) < grain.day_of(last.bucket) && !is_last(before)
    });
    is_last(last) || follows_a_day
}

/// The window and score that surprise most.
struct Best<'a> {
    score: &'a Score,
    statistic: Statistic,
    /// Of this window of this score alone.
    ln_own: f64,
    /// With all windows and scores accounted for.
    ln_p: f64,
}

struct Search<'a> {
    best: Option<Best<'a>>,
    /// Whether a window was looked at in which the values there are have their usual shares or not. What is counted only where it
    /// is found, such as new categories, says nothing of the others.
    shares_tested: bool,
    broken: bool,
}

impl<'a> Search<'a> {
    fn through(&mut self, score: &'a Score, points: &[Point], frame: &Frame<'_>) {
        let tests_shares = score.tests_shares();
        score.windows(points, frame, |score_again, statistic| {
            self.shares_tested |= tests_shares && score_again.weights[statistic.window] > 0.0;
            self.broken |= statistic.t.is_nan();
            let weight = score_again.ln_weight(statistic.window);
            let best = self.best.as_ref().map_or(f64::INFINITY, |best| best.ln_p);
            if score_again.ln_p_at_least(&statistic) - weight >= best {
                return;
            }
            let ln_own = score_again.ln_p(&statistic);
            let ln_p = ln_own - weight;
            self.broken |= ln_p.is_nan();
            if ln_p < best {
                self.best = Some(Best {
                    score,
                    statistic,
                    ln_own,
                    ln_p,
                });
            }
        });
    }
}

impl Score {
    fn is_about_values(&self) -> bool {
        !matches!(self.kind, ScoreKind::Missing | ScoreKind::WrongType)
    }

    /// Whether it holds the shares of values, or their shape, against the usual ones to both sides.
    fn tests_shares(&self) -> bool {
        self.is_about_values() && matches!(self.test, Test::Mean(_))
    }

    pub(super) fn evidence(&self, statistic: &Statistic, ln_p: f64, frame: &Frame<'_>) -> Evidence {
        // Both tails of 5 %.
        let wide =
            student_critical(0.05_f64.ln(), statistic.freedom).unwrap_or(1.96) * statistic.error;
        let share = match self.kind {
            ScoreKind::Unseen | ScoreKind::Far => Some(0.0),
            _ => self.share,
        };
        let shares = share.map(|share| {
            let deviation = (share * (1.0 - share)).sqrt();
            let now = if share > 0.0 {
                share + statistic.effect * deviation
            } else {
                // The effect is the square root of the odds then.
                let odds = statistic.effect * statistic.effect;
                odds / (1.0 + odds)
            };
            (share, now.clamp(0.0, 1.0))
        });
        Evidence {
            score: self.kind.clone(),
            window: frame.windows[statistic.window],
            buckets: statistic.buckets,
            rows: statistic.rows as u64,
            effect: statistic.effect,
            interval: (statistic.effect - wide, statistic.effect + wide),
            shares,
            t: statistic.t,
            degrees_of_freedom: statistic.freedom,
            ln_p,
        }
    }

    /// How many buckets ago the change began: the start of the window up to now that deviates most.
    pub(super) fn since(&self, points: &[Point], frame: &Frame<'_>) -> Option<usize> {
        let mut best: Option<(f64, usize)> = None;
        // Whatever windows it is looked at in by itself.
        let watched = Self {
            weights: [1.0; super::WINDOWS],
            ..self.clone()
        };
        for (index, point) in points.iter().enumerate() {
            let mut one_window = *frame;
            // Every window the same, so that the first that adds a day is the one asked for.
            one_window.windows = [point.age + 1; super::WINDOWS];
            watched.windows(&points[..=index], &one_window, |_, statistic| {
                let t = statistic.t.abs();
                if best.is_none_or(|(most, _)| t > most) {
                    best = Some((t, point.age));
                }
            });
        }
        best.map(|(_, age)| age)
    }
}

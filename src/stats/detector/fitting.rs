//! Fitting a reference, in three rounds.
//!
//! Each feature alone: shares, scores, pattern of the week or day, and the days that fit to no other (left out, once).
//! All features together: how days vary, with variances of a kind drawn towards each other, and whether a level wanders
//! from day to day. Each feature again: its levels, with days weighted by what they are worth.

use super::bins::{Bins, Ends, Tally};
use super::draft::{DraftScore, Pool, not_uniform};
use super::reference::{FeatureDays, FeatureReference, Footing};
use super::scores::{indicator_moments, moments, polynomials};
use super::season::{Grain, Observed, Season, season_of};
use super::test::{Form, Score, ScoreKind};
use super::{Observation, Settings};
use crate::stats::moderated::Prior;

/// With fewer days nothing is known of how days vary.
const LEAST_DAYS: usize = 14;
/// A day of the reference that is further from the others is left out, if these are calm. Ordinary days of a feature
/// that moves a lot reach 6 and more; without them the rest would look calmer than it is.
const OUTLIER_T: f64 = 10.0;
/// A variance between days, in units of the sampling variance, that calm days stay below.
const CALM: f64 = 4.0;
/// From this on a day's values go together.
pub(super) const CLUMPED: f64 = 3.0;
/// A score wanders only if its days vary visibly more than chance has them.
const VISIBLE_VARIANCE: f64 = 1.5;
/// From fewer such scores a correlation of days is not believed.
const FEWEST_WANDERING: usize = 5;
/// A share whose rows have more variance moves by itself as frequent categories do, and not as rare ones.
const LARGE_SHARE: f64 = 0.05;
/// A share that is expected less often in a day is counted and not averaged,
const AVERAGED_FROM: f64 = 15.0;
/// or, of categories that are not rarer than this among the rows, averaged over windows that have as many.
const NOT_RARE: f64 = 0.05;
const MOST_CORRELATION: f64 = 0.85;

/// A feature on its way to being fitted.
pub(super) struct Draft<'a> {
    pub(super) source: &'a FeatureDays<'a>,
    pub(super) days: Vec<&'a Observation<'a>>,
    pub(super) footing: Footing,
    pub(super) season: Season,
    pub(super) left_out: Vec<i64>,
    pub(super) scores: Vec<DraftScore>,
}

/// The variance that scores of a kind have in common.
pub(super) struct Pools {
    /// Between buckets.
    buckets: Vec<(Pool, Prior)>,
    /// Between days, where buckets are shorter.
    days: Vec<(Pool, Prior)>,
}

impl Pools {
    pub(super) fn of(drafts: &[Draft<'_>]) -> Self {
        Self {
            buckets: priors(&scores_of(drafts).collect::<Vec<_>>()),
            days: priors(
                &scores_of(drafts)
                    .filter_map(|score| score.daily.as_deref())
                    .collect::<Vec<_>>(),
            ),
        }
    }

    /// Of a score's buckets, and of its days.
    fn prior(&self, pool: Option<Pool>) -> [Option<&Prior>; 2] {
        [&self.buckets, &self.days].map(|priors| {
            let own = priors.iter().find(|(kind, _)| Some(*kind) == pool);
            own.map(|(_, prior)| prior)
        })
    }
}

fn priors(scores: &[&DraftScore]) -> Vec<(Pool, Prior)> {
    let mut kinds: Vec<Pool> = scores.iter().filter_map(|score| score.pool).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let prior = |pool: Pool| {
        let own = scores
            .iter()
            .filter(|score| score.pool == Some(pool) && score.freedom > 0.0);
        let variances: Vec<(f64, f64)> = own.map(|score| (score.variance, score.freedom)).collect();
        (pool, Prior::of(&variances))
    };
    kinds.into_iter().map(prior).collect()
}

/// Scores of features whose days' variation is known.
fn scores_of<'a>(drafts: &'a [Draft<'_>]) -> impl Iterator<Item = &'a DraftScore> {
    let known = drafts.iter().filter(|draft| draft.footing == Footing::Days);
    known.flat_map(|draft| &draft.scores)
}

/// How much of a day's deviation is left the day after, over all scores that visibly vary; 0 unless it is more than
/// chance.
pub(super) fn correlation(drafts: &[Draft<'_>]) -> f64 {
    let (mut products, mut beyond, mut count, mut days) = (0.0, 0.0, 0.0, 0.0);
    for score in scores_of(drafts).map(DraftScore::by_days) {
        if score.pool.is_none() || score.variance <= VISIBLE_VARIANCE {
            continue;
        }
        products += score.neighbours() * score.variance;
        beyond += score.variance - 1.0;
        count += 1.0;
        days += score.observed.len() as f64;
    }
    if count < FEWEST_WANDERING as f64 {
        return 0.0;
    }
    let days = days / count;
    let raw = products / beyond;
    if raw <= 2.0 / (days * count).sqrt() {
        return 0.0;
    }
    // A mean that was taken out of so few days makes them look less alike (Kendall 1954).
    ((raw + 1.0 / days) / (1.0 - 4.0 / days)).clamp(0.0, MOST_CORRELATION)
}

/// How the share of a category is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Looked {
    /// As a count, of which there may be more than the reference leads to expect.
    Counted,
    /// As a mean of days, in windows from this place on.
    AveragedFrom(usize),
}

impl Looked {
    /// As a mean where a window has enough of it, or of what is not it; else as a count. One that is rare is counted where a day has
    /// too few of it, and its rise is seen in the shortest windows. `None` of what leaves too little to others for a mean: these are
    /// counted.
    fn of(share: f64, per_day: f64, grain: Grain) -> Option<Self> {
        let rarer = share.min(1.0 - share);
        let enough = |length: usize| rarer * per_day * length as f64 >= AVERAGED_FROM;
        let from = grain.windows().into_iter().position(enough);
        match from {
            Some(from) if from == 0 || rarer >= NOT_RARE || share > 0.5 => {
                Some(Self::AveragedFrom(from))
            }
            _ => (share <= 0.5).then_some(Self::Counted),
        }
    }
}

impl<'a> Draft<'a> {
    pub(super) fn of(source: &'a FeatureDays<'a>, grain: Grain, settings: &Settings) -> Self {
        let days = || source.days.iter().filter(|day| !day.holiday);
        let all = Self::over(source, days().collect(), grain, settings);
        let outliers = all.outliers();
        if outliers.is_empty() {
            return all;
        }
        let kept = days()
            .filter(|day| !outliers.contains(&day.bucket))
            .collect();
        Self {
            left_out: outliers,
            ..Self::over(source, kept, grain, settings)
        }
    }

    fn over(
        source: &'a FeatureDays<'a>,
        days: Vec<&'a Observation<'a>>,
        grain: Grain,
        settings: &Settings,
    ) -> Self {
        let with_values = days.iter().filter(|day| day.tally.values() > 0);
        let mut with_values: Vec<i64> = with_values.map(|day| grain.day_of(day.bucket)).collect();
        with_values.dedup();
        let with_values = with_values.len();
        let mut draft = Self {
            footing: if with_values < LEAST_DAYS {
                Footing::RowsOnly
            } else {
                Footing::Days
            },
            season: Season::None,
            left_out: Vec::new(),
            scores: Vec::new(),
            source,
            days,
        };
        draft.add_scores(grain, settings);
        for score in &mut draft.scores {
            score.observe(&draft.days, grain);
        }
        if draft.footing == Footing::Days {
            let averaged = draft.scores.iter().filter(|score| score.pool.is_some());
            let observed: Vec<Vec<Observed>> = averaged.map(|s| s.observed.clone()).collect();
            draft.season = season_of(&observed, grain);
        }
        for score in &mut draft.scores {
            score.fit(draft.season, grain);
        }
        draft
    }

    fn sum(&self, of: impl Fn(&Tally) -> u64) -> f64 {
        self.days.iter().map(|day| of(day.tally)).sum::<u64>() as f64
    }

    fn add_scores(&mut self, grain: Grain, settings: &Settings) {
        let count = self.days.len().max(1) as f64;
        let values = self.sum(Tally::values);
        if values > 0.0 {
            let counts: Vec<u64> = (0..self.source.bins.len())
                .map(|bin| self.days.iter().map(|day| day.tally.counts[bin]).sum())
                .collect();
            let shares: Vec<f64> = counts.iter().map(|count| *count as f64 / values).collect();
            let source = self.source;
            match &source.bins {
                Bins::Numbers(numbers) => {
                    self.add_shapes(&shares, settings);
                    self.add_ends(&numbers.ends(&counts), &shares, settings);
                    self.add_points(&shares, &numbers.points, values / count, settings);
                }
                Bins::Categories(categories) => {
                    let by_day = (values / count, grain);
                    self.add_categories(&shares, &categories.names, by_day, settings);
                }
            }
        }
        let rows = self.sum(|tally| tally.rows);
        let of_rows = [
            (
                ScoreKind::Missing,
                Form::Missing,
                settings.missing_weight,
                self.sum(|t| t.missing),
            ),
            (
                ScoreKind::WrongType,
                Form::Mismatched,
                settings.mismatched_weight,
                self.sum(|t| t.mismatched),
            ),
        ];
        for (kind, form, weight, sum) in of_rows {
            let share = if rows > 0.0 { sum / rows } else { 0.0 };
            self.add_share(kind, form, share, rows / count, weight, Pool::Presence);
        }
    }

    fn add_shapes(&mut self, shares: &[f64], settings: &Settings) {
        let kinds = [
            ScoreKind::Centre,
            ScoreKind::Spread,
            ScoreKind::Skew,
            ScoreKind::Tails,
        ];
        let shapes = polynomials(shares)
            .into_iter()
            .zip(kinds)
            .zip(settings.shape_weights);
        for (degree, ((shape, kind), weight)) in shapes.enumerate() {
            self.scores.push(DraftScore {
                moments: moments(shares, &shape),
                share: None,
                pool: Some(Pool::Shape(degree)),
                ..DraftScore::new(kind, Form::Shape(shape), weight)
            });
        }
    }

    fn add_ends(&mut self, ends: &Ends, shares: &[f64], settings: &Settings) {
        let weight = settings.end_weight;
        for (kind, bins) in [
            (ScoreKind::LowEnd, &ends.low),
            (ScoreKind::HighEnd, &ends.high),
        ] {
            if !bins.is_empty() {
                let share = bins.iter().map(|bin| shares[*bin]).sum();
                self.add_excess(kind, Form::Bins(bins.clone()), Some(share), weight);
            }
        }
        if !ends.far.is_empty() {
            let form = Form::Bins(ends.far.clone());
            self.add_excess(ScoreKind::Far, form, None, weight);
        }
    }

    fn add_points(
        &mut self,
        shares: &[f64],
        points: &[(usize, f64)],
        per_day: f64,
        settings: &Settings,
    ) {
        let weight = settings.values_weight / points.len().max(1) as f64;
        // Of two values, the centre is the share already.
        if shares.iter().filter(|share| **share > 0.0).count() > 2 {
            for (bin, value) in points {
                let form = Form::Bin(*bin);
                self.add_share(
                    ScoreKind::Value(*value),
                    form,
                    shares[*bin],
                    per_day,
                    weight,
                    Pool::SmallShare,
                );
            }
        }
    }

    fn add_categories(
        &mut self,
        shares: &[f64],
        names: &[String],
        (per_day, grain): (f64, Grain),
        settings: &Settings,
    ) {
        let weight = settings.values_weight + settings.shape_weights.iter().sum::<f64>();
        let kind = |bin: usize| {
            names.get(bin).map_or(ScoreKind::OtherCategories, |name| {
                ScoreKind::Category(name.clone())
            })
        };
        let mut occupied: Vec<usize> = (0..shares.len()).filter(|bin| shares[*bin] > 0.0).collect();
        let of_two = occupied.len() == 2;
        // A single category can only give way to new ones.
        if occupied.len() == 1 {
            occupied.clear();
        }
        let mut watched: Vec<(usize, Looked)> = (occupied.into_iter())
            .filter_map(|bin| Some((bin, Looked::of(shares[bin], per_day, grain)?)))
            .collect();
        // Two shares are one, unless the rarer is counted: then only the other tells of its loss.
        if let [(a, Looked::AveragedFrom(_)), (b, Looked::AveragedFrom(_))] = watched[..]
            && of_two
        {
            watched.remove(usize::from(shares[a] <= shares[b]));
        }
        let each = weight / watched.len().max(1) as f64;
        for (bin, looked) in watched {
            let (kind, form, share) = (kind(bin), Form::Bin(bin), shares[bin]);
            match looked {
                Looked::Counted => self.add_excess(kind, form, Some(share), each),
                Looked::AveragedFrom(window) => {
                    self.add_mean((kind, form), share, (window, each), Pool::SmallShare);
                }
            }
        }
        if self
            .days
            .iter()
            .all(|day| day.tally.values() == 0 || day.tally.unseen.is_some())
        {
            self.add_excess(
                ScoreKind::Unseen,
                Form::Unseen,
                None,
                settings.unseen_weight,
            );
        }
    }

    /// A share that is averaged over days where it is frequent enough, and counted where it is rare.
    fn add_share(
        &mut self,
        kind: ScoreKind,
        form: Form,
        share: f64,
        per_day: f64,
        weight: f64,
        pool: Pool,
    ) {
        if share.min(1.0 - share) * per_day < AVERAGED_FROM {
            self.add_excess(kind, form, Some(share), weight);
        } else {
            self.add_mean((kind, form), share, (0, weight), pool);
        }
    }

    fn add_mean(
        &mut self,
        (kind, form): (ScoreKind, Form),
        share: f64,
        (from, weight): (usize, f64),
        pool: Pool,
    ) {
        let pool = match pool {
            Pool::SmallShare if share * (1.0 - share) > LARGE_SHARE => Pool::LargeShare,
            other => other,
        };
        self.scores.push(DraftScore {
            share: Some(share),
            moments: indicator_moments(share),
            pool: Some(pool),
            from,
            ..DraftScore::new(kind, form, weight)
        });
    }

    fn add_excess(&mut self, kind: ScoreKind, form: Form, share: Option<f64>, weight: f64) {
        self.scores.push(DraftScore {
            share,
            ..DraftScore::new(kind, form, weight)
        });
    }

    /// How much a day's rows go together, of what is at the ends, new or a single number: where a day's values are alike, as
    /// those of a day's weather, all of them are beyond the range together, however few days have shown it; and where a day has
    /// one value, another one has all of the day's rows.
    pub(super) fn clumping(&self, kind: &ScoreKind) -> f64 {
        let of = |score: &&DraftScore| match kind {
            ScoreKind::LowEnd | ScoreKind::HighEnd | ScoreKind::Far => {
                score.kind == ScoreKind::Centre
            }
            ScoreKind::Unseen => {
                let is_share = matches!(
                    score.kind,
                    ScoreKind::Category(_) | ScoreKind::OtherCategories
                );
                is_share && score.pool.is_some()
            }
            ScoreKind::Value(_) => score.kind == ScoreKind::Centre && score.is_of_days(),
            _ => false,
        };
        let mut variances: Vec<f64> = self
            .scores
            .iter()
            .filter(of)
            .map(|score| score.variance)
            .collect();
        variances.sort_unstable_by(f64::total_cmp);
        let variance = variances.get(variances.len() / 2).copied().unwrap_or(1.0);
        if variance > CLUMPED { variance } else { 1.0 }
    }

    /// The days that are far from what the others are, by any score whose days are alike otherwise.
    fn outliers(&self) -> Vec<i64> {
        if self.footing == Footing::RowsOnly {
            return Vec::new();
        }
        let mut outliers: Vec<i64> = Vec::new();
        for score in self.scores.iter().filter(|score| score.pool.is_some()) {
            let far = score
                .buckets
                .iter()
                .zip(score.studentised())
                .filter(|(_, (t, others))| t.abs() > OUTLIER_T && *others < CALM);
            outliers.extend(far.map(|(bucket, _)| *bucket));
        }
        outliers.sort_unstable();
        outliers.dedup();
        outliers
    }

    /// The days to blame when the p-values of days held against the others are not uniform; of many buckets the first.
    pub(super) fn unstable(&self, believed: f64, grain: Grain) -> Vec<i64> {
        let averaged = self.scores.iter().filter(|score| score.pool.is_some());
        let averaged: Vec<&DraftScore> = averaged
            .filter(|score| score.is_frequent_by_day(grain))
            .collect();
        let scores = averaged.len() as f64;
        let mut days: Vec<i64> = Vec::new();
        for score in averaged.into_iter().map(DraftScore::by_days) {
            let p_values = score.p_values();
            if not_uniform(&p_values) * scores < believed {
                let small = score
                    .buckets
                    .iter()
                    .zip(&p_values)
                    .filter(|(_, p)| **p < 0.5);
                days.extend(small.map(|(bucket, _)| *bucket));
            }
        }
        days.sort_unstable();
        days.dedup();
        days.iter().map(|day| day * grain.slots() as i64).collect()
    }

    pub(super) fn finished(
        &self,
        pools: &Pools,
        correlation: f64,
        alpha: f64,
        grain: Grain,
        settings: &Settings,
    ) -> FeatureReference {
        let gate = match self.footing {
            Footing::Days => settings.least_effect,
            Footing::RowsOnly => settings.least_effect_without_days,
        };
        let total_weight: f64 = self.scores.iter().map(|score| score.weight).sum();
        let scores = self.scores.iter().map(|score| {
            let [prior, of_days] = pools.prior(score.pool);
            let part = score.weight / total_weight;
            let test = score.test(self, prior, correlation, grain);
            Score {
                kind: score.kind.clone(),
                form: score.form.clone(),
                share: score.share,
                of_day: score.of_day(self, &test, of_days, correlation),
                usual_rows: score.usual_rows(),
                test,
                weights: score.windows(settings, grain).map(|window| part * window),
                least_effect: if score.kind == ScoreKind::Unseen {
                    0.0
                } else {
                    gate
                },
            }
        });
        let mut rows: Vec<u64> = self.days.iter().map(|day| day.tally.rows).collect();
        rows.sort_unstable();
        FeatureReference {
            name: self.source.name.clone(),
            role: self.source.role,
            bins: self.source.bins.clone(),
            footing: self.footing,
            season: self.season,
            usual_rows: rows.get(rows.len() / 2).map_or(0.0, |rows| *rows as f64),
            days: self.days.len(),
            whole_days: (grain.slots() > 1).then(|| {
                let mut days: Vec<i64> = (self.days.iter())
                    .map(|day| grain.day_of(day.bucket))
                    .collect();
                days.dedup();
                days.len()
            }),
            left_out: self.left_out.clone(),
            unstable: Vec::new(),
            scores: scores.collect(),
            ln_alpha: alpha.ln(),
        }
    }
}

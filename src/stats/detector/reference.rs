//! The fitted reference: all that is needed to judge a day, and nothing of the rows it came from.
//!
//! Fitting takes three rounds. Each feature alone: shares, scores, pattern of the week or day, and the days that fit
//! to no other (left out, once). All features together: how days vary, with variances of a kind drawn towards each
//! other, and whether a level wanders from day to day. Each feature again: its levels, with days weighted by what
//! they are worth.

use serde::{Deserialize, Serialize};

use super::bins::{Bins, Tally};
use super::scores::{indicator_moments, moments, polynomials};
use super::season::{Fitted, Grain, Levels, Observed, Season, WINDOWS, season_of};
use super::test::{ExcessTest, Form, Frame, MeanTest, Score, ScoreKind, Test, inflations};
use super::volume::{VolumeDay, VolumeReference};
use super::wandering::inflation;
use super::{Observation, Settings};
use crate::stats::moderated::{MOST_FREEDOM, Moderated, Prior};
use crate::stats::tails::PValue;

/// With fewer days nothing is known of how days vary.
const LEAST_DAYS: usize = 14;
/// A day of the reference that is further from the others is left out. Ordinary days of a feature that moves a lot
/// reach 6; left out, they would make the rest look calmer than it is.
const OUTLIER_T: f64 = 10.0;
/// A score wanders only if its days vary visibly more than chance has them.
const VISIBLE_VARIANCE: f64 = 1.5;
/// From fewer such scores a correlation of days is not believed.
const FEWEST_WANDERING: usize = 5;
/// The ends are watched in so many of the shortest windows.
const END_WINDOWS: usize = 2;
/// New categories in so many.
const UNSEEN_WINDOWS: usize = 4;
/// A day further from its level than this, in standard deviations, says that days have heavier tails than they
/// should, and widens them by as much.
const PEAK: f64 = 3.0;
/// A share whose rows have more variance moves by itself as frequent categories do, and not as rare ones.
const LARGE_SHARE: f64 = 0.05;
/// Degrees of freedom that the days' part of a rare count's variance is trusted with.
const TRUST_IN_COUNTS: f64 = 8.0;
/// A share that is expected less often in a day is counted and not averaged.
const AVERAGED_FROM: f64 = 15.0;
const MOST_CORRELATION: f64 = 0.85;
/// Below this probability of being uniform, the days' p-values say that the reference is of two minds.
const UNSTABLE_P: f64 = 0.01;

/// How many degrees of freedom a variance has whose days' part has no more than `trust`: days are not as normal as
/// means of rows are (Satterthwaite 1946, with the sampling part known).
fn trusted(factor: f64, trust: f64) -> f64 {
    if factor <= 1.0 {
        return MOST_FREEDOM;
    }
    let share = (factor - 1.0) / factor;
    (trust / (share * share)).min(MOST_FREEDOM)
}

impl Pool {
    /// The degrees of freedom that the days' part of a variance is trusted with. The centre and shares move about in
    /// proportion to what moves them; the other shapes with its square, too, and their days have heavy tails.
    fn trust(self) -> f64 {
        match self {
            Self::Shape(0) => 30.0,
            Self::Shape(_) => 4.0,
            Self::LargeShare | Self::SmallShare | Self::Presence => 20.0,
        }
    }
}

/// What a feature is to the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// The model's own output, its prediction or score, which shows most changes that matter.
    Output,
    Input,
}

/// How days' variation is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Footing {
    /// From the reference's days.
    Days,
    /// Not at all: the reference has fewer than 14 days, and only chance among rows and the size of a change are
    /// judged. Days that differ by themselves will be called drift more often than stated.
    RowsOnly,
}

/// The days of one feature that a reference is fitted on, oldest first.
#[derive(Debug, Clone)]
pub struct FeatureDays<'a> {
    pub name: String,
    pub role: Role,
    pub bins: Bins,
    /// Days, by [`Bins::tally_of_reference`]. Holidays are left out.
    pub days: Vec<Observation<'a>>,
}

/// Why there is no reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CannotFit {
    #[error("fit a reference of no features")]
    NoFeatures,
    #[error("fit a reference of days that are not in order: feature {0}")]
    NotInOrder(String),
    #[error("fit a reference of tallies in other bins: feature {0}")]
    OtherBins(String),
}

/// A fitted reference of a model. Everything in it is a few numbers per feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    pub(super) grain: Grain,
    pub(super) settings: Settings,
    /// How much of a day's deviation is still there the day after.
    pub(super) correlation: f64,
    pub(super) features: Vec<FeatureReference>,
    pub(super) volume: Option<VolumeReference>,
}

/// A fitted reference of a feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeatureReference {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) bins: Bins,
    pub(super) footing: Footing,
    pub(super) season: Season,
    /// The median rows of a day.
    pub(super) usual_rows: f64,
    /// How many days it was fitted on, and which were left out for being unlike the others.
    pub(super) days: usize,
    pub(super) left_out: Vec<i64>,
    /// Days that tell the reference is not of one kind; empty if it is.
    pub(super) unstable: Vec<i64>,
    pub(super) scores: Vec<Score>,
    /// The chance of being called drift on a day on which nothing happened, as a logarithm.
    pub(super) ln_alpha: f64,
}

/// A feature on its way to being fitted.
struct Draft<'a> {
    source: &'a FeatureDays<'a>,
    days: Vec<&'a Observation<'a>>,
    footing: Footing,
    season: Season,
    left_out: Vec<i64>,
    scores: Vec<DraftScore>,
}

struct DraftScore {
    kind: ScoreKind,
    form: Form,
    share: Option<f64>,
    moments: (f64, f64),
    weight: f64,
    /// Which variances it shares its variance with; `None` for what is counted and not averaged.
    pool: Option<Pool>,
    buckets: Vec<i64>,
    observed: Vec<Observed>,
    residuals: Vec<f64>,
    freedom: f64,
    variance: f64,
    mean_rows: f64,
}

/// Scores whose variances are alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Pool {
    Shape(usize),
    LargeShare,
    SmallShare,
    Presence,
}

impl Reference {
    /// Fits a reference on the days of its features, and on the volumes of the model where there are any.
    ///
    /// With fewer than 14 days, down to a single one that stands for a whole file, the footing is
    /// [`Footing::RowsOnly`].
    ///
    /// # Errors
    /// Without features, with days not in order, and with tallies of other bins.
    pub fn fit(
        grain: Grain,
        features: &[FeatureDays<'_>],
        volumes: &[VolumeDay],
        settings: Settings,
    ) -> Result<Self, CannotFit> {
        if features.is_empty() {
            return Err(CannotFit::NoFeatures);
        }
        let mut drafts = Vec::with_capacity(features.len());
        for feature in features {
            feature.check()?;
            drafts.push(Draft::of(feature, grain, &settings));
        }
        let pools = pools(&drafts);
        let correlation = correlation(&drafts);
        let features = drafts.iter().map(|draft| {
            let alpha = alpha(&drafts, draft.source.role, &settings, grain);
            draft.finished(&pools, correlation, alpha, grain, &settings)
        });
        let mut reference = Self {
            grain,
            correlation,
            features: features.collect(),
            volume: VolumeReference::fit(grain, volumes, &settings),
            settings,
        };
        reference.check_stability(&drafts);
        Ok(reference)
    }

    /// How long a bucket is.
    #[must_use]
    pub fn grain(&self) -> Grain {
        self.grain
    }

    /// How much of a bucket's deviation is still there in the next.
    #[must_use]
    pub fn correlation(&self) -> f64 {
        self.correlation
    }

    /// What it was fitted and judges with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The features, in the order they were given.
    #[must_use]
    pub fn features(&self) -> &[FeatureReference] {
        &self.features
    }

    /// The volume of the model; `None` where none was given or its days are too few.
    #[must_use]
    pub fn volume(&self) -> Option<&VolumeReference> {
        self.volume.as_ref()
    }

    /// The number of buckets before one that [`Self::evaluate`] looks at, itself included.
    #[must_use]
    pub fn longest_window(&self) -> usize {
        self.grain.windows()[WINDOWS - 1]
    }

    pub(super) fn inflations(&self) -> Vec<f64> {
        inflations(self.correlation, self.longest_window())
    }

    pub(super) fn frame<'a>(&self, inflations: &'a [f64]) -> Frame<'a> {
        Frame {
            windows: self.grain.windows(),
            inflations,
            least_rows: self.settings.least_rows as f64,
        }
    }

    /// Holds each day of the reference against the others. Their p-values should be uniform; a reference that
    /// changed half-way has none that are large and none that are small.
    fn check_stability(&mut self, drafts: &[Draft<'_>]) {
        let features = drafts.len() as f64;
        for (feature, draft) in self.features.iter_mut().zip(drafts) {
            if draft.footing == Footing::Days {
                feature.unstable = draft.unstable(UNSTABLE_P / features);
            }
        }
    }
}

impl FeatureReference {
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    #[must_use]
    pub fn bins(&self) -> &Bins {
        &self.bins
    }

    #[must_use]
    pub fn footing(&self) -> Footing {
        self.footing
    }

    #[must_use]
    pub fn season(&self) -> Season {
        self.season
    }

    /// How many buckets it was fitted on.
    #[must_use]
    pub fn buckets(&self) -> usize {
        self.days
    }

    /// The buckets left out for being unlike all others.
    #[must_use]
    pub fn left_out(&self) -> &[i64] {
        &self.left_out
    }

    /// The buckets that tell that the reference is not of one kind; empty if it is.
    #[must_use]
    pub fn unstable(&self) -> &[i64] {
        &self.unstable
    }

    /// The chance of being called drift in a bucket in which nothing happened, as a logarithm.
    #[must_use]
    pub fn ln_alpha(&self) -> f64 {
        self.ln_alpha
    }

    /// The scores it is watched by, each with the variance of a bucket in units of its sampling variance.
    pub fn scores(&self) -> impl Iterator<Item = (&ScoreKind, f64)> {
        self.scores.iter().map(|score| {
            let factor = match &score.test {
                Test::Mean(test) => test.factor,
                Test::Excess(test) => test.dispersion,
            };
            (&score.kind, factor)
        })
    }
}

impl FeatureDays<'_> {
    fn check(&self) -> Result<(), CannotFit> {
        let in_order = self
            .days
            .windows(2)
            .all(|pair| pair[0].bucket < pair[1].bucket);
        if !in_order {
            return Err(CannotFit::NotInOrder(self.name.clone()));
        }
        let bins = self.bins.len();
        let counted = |day: &Observation<'_>| day.tally.counts.len() == bins;
        if !self.days.iter().all(counted) {
            return Err(CannotFit::OtherBins(self.name.clone()));
        }
        Ok(())
    }
}

/// The chance a feature has of being called drift in a bucket: the output has its part, the inputs share the rest.
fn alpha(drafts: &[Draft<'_>], role: Role, settings: &Settings, grain: Grain) -> f64 {
    let outputs = drafts
        .iter()
        .filter(|draft| draft.source.role == Role::Output)
        .count() as f64;
    let inputs = drafts.len() as f64 - outputs;
    let output_share = match (outputs > 0.0, inputs > 0.0) {
        (true, true) => settings.output_share,
        (true, false) => 1.0,
        (false, _) => 0.0,
    };
    let share = match role {
        Role::Output => output_share / outputs,
        Role::Input => (1.0 - output_share) / inputs,
    };
    settings.false_days_per_thousand / 1_000.0 / grain.per_day().max(1.0) * share
}

/// The variance that scores of a kind have in common.
fn pools(drafts: &[Draft<'_>]) -> Vec<(Pool, Prior)> {
    let mut kinds: Vec<Pool> = scores_of(drafts).filter_map(|score| score.pool).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let prior = |pool: Pool| {
        let own = scores_of(drafts).filter(|score| score.pool == Some(pool) && score.freedom > 0.0);
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
fn correlation(drafts: &[Draft<'_>]) -> f64 {
    let (mut products, mut beyond, mut count, mut days) = (0.0, 0.0, 0.0, 0.0);
    for score in scores_of(drafts) {
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

impl<'a> Draft<'a> {
    fn of(source: &'a FeatureDays<'a>, grain: Grain, settings: &Settings) -> Self {
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
        let with_values = days.iter().filter(|day| day.tally.values() > 0).count();
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
        draft.add_scores(settings);
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

    fn add_scores(&mut self, settings: &Settings) {
        let count = self.days.len().max(1) as f64;
        let values = self.sum(Tally::values);
        if values > 0.0 {
            let shares: Vec<f64> = (0..self.source.bins.len())
                .map(|bin| self.sum(|tally| tally.counts[bin]) / values)
                .collect();
            let source = self.source;
            match &source.bins {
                Bins::Numbers(numbers) => {
                    self.add_numbers(&shares, &numbers.points, values / count, settings);
                }
                Bins::Categories(categories) => {
                    self.add_categories(&shares, &categories.names, values / count, settings);
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

    fn add_numbers(
        &mut self,
        shares: &[f64],
        points: &[(usize, f64)],
        per_day: f64,
        settings: &Settings,
    ) {
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
        let last = shares.len() - 1;
        for (kind, bin) in [(ScoreKind::LowEnd, 0), (ScoreKind::HighEnd, last)] {
            if last > 0 && !points.iter().any(|(point, _)| *point == bin) {
                self.add_excess(kind, Form::Bin(bin), Some(shares[bin]), settings.end_weight);
            }
        }
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
        per_day: f64,
        settings: &Settings,
    ) {
        let weight = settings.values_weight + settings.shape_weights.iter().sum::<f64>();
        let kind = |bin: usize| {
            names.get(bin).map_or(ScoreKind::OtherCategories, |name| {
                ScoreKind::Category(name.clone())
            })
        };
        let occupied: Vec<usize> = (0..shares.len()).filter(|bin| shares[*bin] > 0.0).collect();
        // Two shares are one, and a single category can only give way to new ones.
        let watched = match occupied.len() {
            0 | 1 => &[],
            2 if shares[occupied[0]] > shares[occupied[1]] => &occupied[1..],
            2 => &occupied[..1],
            _ => &occupied[..],
        };
        for bin in watched {
            let each = weight / watched.len() as f64;
            self.add_share(
                kind(*bin),
                Form::Bin(*bin),
                shares[*bin],
                per_day,
                each,
                Pool::SmallShare,
            );
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
        let pool = match pool {
            Pool::SmallShare if share * (1.0 - share) > LARGE_SHARE => Pool::LargeShare,
            other => other,
        };
        if share.min(1.0 - share) * per_day < AVERAGED_FROM {
            self.add_excess(kind, form, Some(share), weight);
            return;
        }
        self.scores.push(DraftScore {
            share: Some(share),
            moments: indicator_moments(share),
            pool: Some(pool),
            ..DraftScore::new(kind, form, weight)
        });
    }

    fn add_excess(&mut self, kind: ScoreKind, form: Form, share: Option<f64>, weight: f64) {
        self.scores.push(DraftScore {
            share,
            ..DraftScore::new(kind, form, weight)
        });
    }

    /// The days that are far from what the others are, by any score.
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
                .filter(|(_, t)| t.abs() > OUTLIER_T);
            outliers.extend(far.map(|(bucket, _)| *bucket));
        }
        outliers.sort_unstable();
        outliers.dedup();
        outliers
    }

    /// The days to blame when the p-values of days held against the others are not uniform.
    fn unstable(&self, believed: f64) -> Vec<i64> {
        let averaged: Vec<&DraftScore> = self.scores.iter().filter(|s| s.pool.is_some()).collect();
        let scores = averaged.len() as f64;
        let mut days: Vec<i64> = Vec::new();
        for score in averaged {
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
        days
    }

    fn finished(
        &self,
        pools: &[(Pool, Prior)],
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
            let prior = score
                .pool
                .and_then(|pool| pools.iter().find(|(kind, _)| *kind == pool));
            let part = score.weight / total_weight;
            Score {
                kind: score.kind.clone(),
                form: score.form.clone(),
                share: score.share,
                test: score.test(self, prior, correlation, grain),
                weights: score.windows(settings).map(|window| part * window),
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
            left_out: self.left_out.clone(),
            unstable: Vec::new(),
            scores: scores.collect(),
            ln_alpha: alpha.ln(),
        }
    }
}

impl DraftScore {
    fn new(kind: ScoreKind, form: Form, weight: f64) -> Self {
        Self {
            kind,
            form,
            share: None,
            moments: (0.0, 0.0),
            weight,
            pool: None,
            buckets: Vec::new(),
            observed: Vec::new(),
            residuals: Vec::new(),
            freedom: 0.0,
            variance: 1.0,
            mean_rows: 0.0,
        }
    }

    /// The part of each window. What leaves the range shows at once, or in the shapes; and how many categories are
    /// still to be met is not known well enough for a window as long as the reference.
    fn windows(&self, settings: &Settings) -> [f64; WINDOWS] {
        let mut weights = settings.window_weights;
        match self.kind {
            ScoreKind::LowEnd | ScoreKind::HighEnd => weights[END_WINDOWS..].fill(0.0),
            ScoreKind::Unseen => weights[UNSEEN_WINDOWS..].fill(0.0),
            _ => {}
        }
        let total: f64 = weights.iter().sum();
        weights.map(|weight| weight / total)
    }

    fn observe(&mut self, days: &[&Observation<'_>], grain: Grain) {
        for day in days {
            let values = day.tally.values();
            let counts = self.pool.is_none();
            let Some((value, rows)) = self.form.of(day.tally, values, self.share, counts) else {
                continue;
            };
            let phase = grain.phase(day.bucket);
            self.buckets.push(day.bucket);
            self.observed.push(Observed {
                phase,
                rows,
                value,
                weight: rows,
            });
        }
        let rows: f64 = self.observed.iter().map(|o| o.rows).sum();
        self.mean_rows = rows / self.observed.len().max(1) as f64;
    }

    /// Levels with rows as weights, and the variance around them in units of the sampling variance.
    fn fit(&mut self, season: Season, grain: Grain) {
        if self.pool.is_none() {
            self.fit_counts();
            return;
        }
        let Fitted {
            residuals, freedom, ..
        } = Levels::fit(&self.observed, season, grain);
        let squares: f64 = self
            .observed
            .iter()
            .zip(&residuals)
            .map(|(o, r)| o.rows * r * r)
            .sum();
        self.freedom = freedom;
        self.variance = if freedom > 0.0 {
            squares / freedom
        } else {
            1.0
        };
        self.residuals = residuals;
    }

    /// The variance of counts in units of what chance alone would have.
    fn fit_counts(&mut self) {
        let rows: f64 = self.observed.iter().map(|o| o.rows).sum();
        let rate = self.observed.iter().map(|o| o.value).sum::<f64>() / rows.max(1.0);
        self.freedom = self.observed.len() as f64 - 1.0;
        if rate > 0.0 && self.freedom > 0.0 {
            let square = |o: &Observed| (o.value - o.rows * rate).powi(2) / (o.rows * rate);
            self.variance = self.observed.iter().map(square).sum::<f64>() / self.freedom;
        }
    }

    /// The product of neighbouring days' deviations, in units of their squares.
    fn neighbours(&self) -> f64 {
        let scaled = |i: usize| self.residuals[i] * self.observed[i].rows.sqrt();
        let pairs = 1..self.residuals.len();
        let products: f64 = pairs
            .filter(|i| self.buckets[*i] == self.buckets[i - 1] + 1)
            .map(|i| scaled(i) * scaled(i - 1))
            .sum();
        let squares: f64 = (0..self.residuals.len()).map(|i| scaled(i).powi(2)).sum();
        if squares > 0.0 {
            products / squares
        } else {
            0.0
        }
    }

    /// Each day's deviation from the others, in standard errors estimated without it, and never less than sampling
    /// has them.
    fn studentised(&self) -> Vec<f64> {
        let share_left = self.freedom / self.residuals.len() as f64;
        self.squared_parts()
            .map(|(scaled, square)| {
                let others = (self.variance * self.freedom - square) / (self.freedom - 1.0);
                scaled / (others.max(1.0) * share_left).sqrt()
            })
            .collect()
    }

    /// Each day's p-value against the others.
    fn p_values(&self) -> Vec<f64> {
        let share_left = self.freedom / self.residuals.len() as f64;
        let freedom = self.freedom - 1.0;
        self.squared_parts()
            .map(|(scaled, square)| {
                let others = ((self.variance * self.freedom - square) / freedom).max(1e-12);
                let t = scaled / (others * share_left).sqrt();
                super::super::beta::student_two_sided(t, freedom).map_or(1.0, PValue::value)
            })
            .collect()
    }

    /// Each day's deviation in sampling standard errors, and what it adds to the sum of squares.
    fn squared_parts(&self) -> impl Iterator<Item = (f64, f64)> {
        let share_left = self.freedom / self.residuals.len() as f64;
        self.observed
            .iter()
            .zip(&self.residuals)
            .map(move |(o, r)| {
                let scaled = r * o.rows.sqrt();
                (scaled, scaled * scaled / share_left)
            })
    }

    fn test(
        &self,
        draft: &Draft<'_>,
        prior: Option<&(Pool, Prior)>,
        correlation: f64,
        grain: Grain,
    ) -> Test {
        if self.pool.is_none() {
            return Test::Excess(self.excess(draft.footing, correlation));
        }
        let moderated = match prior {
            Some((pool, prior)) if draft.footing == Footing::Days && self.freedom > 0.0 => {
                self.widened(prior.moderate(self.variance, self.freedom), *pool)
            }
            _ => Moderated {
                factor: 1.0,
                freedom: MOST_FREEDOM,
            },
        };
        let day_variance = (moderated.factor - 1.0) / self.mean_rows;
        let weighted: Vec<Observed> = self
            .observed
            .iter()
            .map(|o| Observed {
                weight: o.rows / (1.0 + day_variance * o.rows),
                ..*o
            })
            .collect();
        Test::Mean(MeanTest {
            levels: Levels::fit(&weighted, draft.season, grain).levels,
            skewness: self.moments.0,
            kurtosis: self.moments.1,
            factor: moderated.factor,
            freedom: moderated.freedom,
            day_variance,
            level_day_variance: day_variance * inflation(self.observed.len(), correlation),
        })
    }

    /// A variance that the furthest day fits to, known no better than days of its kind are normal.
    fn widened(&self, moderated: Moderated, pool: Pool) -> Moderated {
        let furthest = self
            .squared_parts()
            .map(|(_, square)| square)
            .fold(0.0, f64::max);
        let peak = furthest / moderated.factor / (PEAK * PEAK);
        let factor = moderated.factor * peak.max(1.0);
        Moderated {
            factor,
            freedom: moderated.freedom.min(trusted(factor, pool.trust())),
        }
    }

    /// The share is what the reference has, twice its standard error and two rows more.
    fn excess(&self, footing: Footing, correlation: f64) -> ExcessTest {
        let rows: f64 = self.observed.iter().map(|o| o.rows).sum();
        let count: f64 = self.observed.iter().map(|o| o.value).sum();
        let known = footing == Footing::Days;
        let dispersion = if known { self.variance.max(1.0) } else { 1.0 };
        ExcessTest {
            rate: ((count + 2.0 * (count * dispersion).sqrt() + 2.0) / rows.max(1.0)).min(1.0),
            dispersion,
            freedom: self
                .freedom
                .max(1.0)
                .min(trusted(dispersion, TRUST_IN_COUNTS)),
            reference_rows: rows.max(1.0),
            reference_inflation: inflation(self.observed.len(), correlation),
        }
    }
}

/// The probability of so uneven p-values from uniform ones: Kolmogorov's, with Stephens' correction (1970) for few.
fn not_uniform(p_values: &[f64]) -> f64 {
    let mut sorted = p_values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let n = sorted.len() as f64;
    let gaps = sorted.iter().enumerate().map(|(i, p)| {
        let (below, above) = (i as f64 / n, (i + 1) as f64 / n);
        (p - below).max(above - p)
    });
    let distance = gaps.fold(0.0, f64::max);
    let z = (n.sqrt() + 0.12 + 0.11 / n.sqrt()) * distance;
    let term = |k: i32| f64::from(1 - 2 * ((k + 1) % 2)) * (-2.0 * f64::from(k * k) * z * z).exp();
    (2.0 * (1..=100).map(term).sum::<f64>()).clamp(0.0, 1.0)
}

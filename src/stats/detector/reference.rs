//! The fitted reference: all that is needed to judge a day, and nothing of the rows it came from. How it is fitted is
//! in [`super::fitting`].

use serde::{Deserialize, Serialize};

use super::bins::Bins;
use super::fitting::{Draft, Pools, correlation};
use super::season::{Grain, Season, WINDOWS};
use super::test::{Frame, Score, ScoreKind, Test, inflations};
use super::volume::{VolumeDay, VolumeReference};
use super::{Observation, Settings};

/// Below this probability of being uniform, the days' p-values say that the reference is of two minds.
const UNSTABLE_P: f64 = 0.01;

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
    /// How many buckets it was fitted on, and which were left out for being unlike the others.
    pub(super) days: usize,
    /// The days of these, where buckets are shorter. It is stored beside the feature ([`super::codec`]).
    #[serde(skip)]
    pub(super) whole_days: Option<usize>,
    pub(super) left_out: Vec<i64>,
    /// Days that tell the reference is not of one kind; empty if it is.
    pub(super) unstable: Vec<i64>,
    pub(super) scores: Vec<Score>,
    /// The chance of being called drift on a day on which nothing happened, however many buckets it has, as a logarithm.
    pub(super) ln_alpha: f64,
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
        let pools = Pools::of(&drafts);
        let correlation = correlation(&drafts);
        let features = drafts.iter().map(|draft| {
            let alpha = alpha(&drafts, draft.source.role, &settings);
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

    /// How much of a day's (a week's) deviation is still there in the next.
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
            slots: self.grain.slots(),
            longest: self.longest_window(),
            least_rows: self.settings.least_rows as f64,
        }
    }

    /// Holds each day of the reference against the others. Their p-values should be uniform; a reference that
    /// changed half-way has none that are large and none that are small.
    fn check_stability(&mut self, drafts: &[Draft<'_>]) {
        let features = drafts.len() as f64;
        for (feature, draft) in self.features.iter_mut().zip(drafts) {
            if draft.footing == Footing::Days {
                feature.unstable = draft.unstable(UNSTABLE_P / features, self.grain);
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

    /// The median rows of a bucket.
    #[must_use]
    pub fn usual_rows(&self) -> f64 {
        self.usual_rows
    }

    /// How many buckets it was fitted on.
    #[must_use]
    pub fn buckets(&self) -> usize {
        self.days
    }

    /// How many days these are of; of weeks, how many weeks.
    #[must_use]
    pub fn whole_days(&self) -> usize {
        self.whole_days.unwrap_or(self.days)
    }

    /// The buckets left out for being unlike all others.
    #[must_use]
    pub fn left_out(&self) -> &[i64] {
        &self.left_out
    }

    /// The buckets that tell that the reference is not of one kind, of days of many buckets the first; empty if it is.
    #[must_use]
    pub fn unstable(&self) -> &[i64] {
        &self.unstable
    }

    /// The chance of being called drift on a day on which nothing happened, however many buckets it has, as a logarithm.
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

/// The chance a feature has of being called drift on a day (in a week, where buckets are weeks): the output has its part, the
/// inputs share the rest.
fn alpha(drafts: &[Draft<'_>], role: Role, settings: &Settings) -> f64 {
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
    settings.false_days_per_thousand / 1_000.0 * share
}

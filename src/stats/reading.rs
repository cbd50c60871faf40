//! Every measure of drift under one name, with one kind of answer.
//!
//! A [`DriftMeasure`] names a measure; [`Readings`] are two profiles of one feature, of which any measure can be
//! asked. The answer is a [`Reading`] with all that is needed to judge and to repeat it, or a [`NotDefined`] with
//! the reason: no measure answers degenerate input with a zero.

use std::sync::Arc;

use super::contingency::{self, Chi2, ShareTest, Shares};
use super::cramer_von_mises;
use super::drift::{Bin, Comparison, NotDefined};
use super::grid::Grid;
use super::kolmogorov;
use super::profile::{FeatureProfile, ProfileKind};
use super::samples::DEVIATION_FLOOR;
use super::tails::PValue;
use super::uncertainty::{ByChance, within};

/// The measures that compare a window with a reference, feature by feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DriftMeasure {
    Psi,
    JensenShannon,
    Hellinger,
    TotalVariation,
    LInfinity,
    KolmogorovSmirnov,
    Wasserstein,
    WassersteinNormalised,
    CramerVonMises,
    AndersonDarling,
    EnergyDistance,
    Chi2,
    GTest,
    MissingShareChange,
}

impl DriftMeasure {
    /// Every measure.
    pub const ALL: [Self; 14] = [
        Self::Psi,
        Self::JensenShannon,
        Self::Hellinger,
        Self::TotalVariation,
        Self::LInfinity,
        Self::KolmogorovSmirnov,
        Self::Wasserstein,
        Self::WassersteinNormalised,
        Self::CramerVonMises,
        Self::AndersonDarling,
        Self::EnergyDistance,
        Self::Chi2,
        Self::GTest,
        Self::MissingShareChange,
    ];

    /// Whether the measure compares the shares of bins: of deciles, or of categories.
    #[must_use]
    pub fn is_over_bins(self) -> bool {
        !self.needs_order() && self != Self::MissingShareChange
    }

    /// Whether the measure asks for an order, and so is not defined for categories.
    #[must_use]
    pub fn needs_order(self) -> bool {
        matches!(
            self,
            Self::KolmogorovSmirnov
                | Self::Wasserstein
                | Self::WassersteinNormalised
                | Self::CramerVonMises
                | Self::AndersonDarling
                | Self::EnergyDistance
        )
    }
}

/// One value of one measure, with what is needed to judge it and to compute it again.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    pub value: f64,
    /// The probability of such a value without drift, for the measures that are tests.
    pub p_value: Option<PValue>,
    /// 95 % interval: of the value of the populations, for the measures that are distances; for statistics of tests, which grow with the
    /// number of rows, of the value that samples of these sizes have on average.
    pub interval: Option<(f64, f64)>,
    /// The value expected when nothing has changed, where one is known.
    pub noise_floor: Option<f64>,
    /// How far the value of the raw rows can be from this one, where cells stand for them. `None` when the
    /// value is that of the rows.
    pub error_bound: Option<f64>,
    /// What was done: bins, logarithm, smoothing, method of the p-value.
    pub method: String,
    /// The number of bins or cells compared.
    pub bins: Option<usize>,
    /// The bins themselves; none of measures over cells, or over other things than values.
    pub compared: Option<Arc<[Bin]>>,
    /// The edges of the bins that the baseline's deciles do not have.
    pub outer_edges: Vec<f64>,
    pub reference_values: u64,
    pub current_values: u64,
}

/// Two profiles of one feature, laid out once for all measures.
#[derive(Debug, Clone)]
pub struct Readings<'a> {
    reference: &'a FeatureProfile,
    current: &'a FeatureProfile,
    comparison: Result<Comparison<'a>, NotDefined>,
}

impl<'a> Readings<'a> {
    /// Lays a window's profile beside the reference's. The grid is needed for numbers and ignored for
    /// categories.
    #[must_use]
    pub fn of(
        reference: &'a FeatureProfile,
        current: &'a FeatureProfile,
        grid: Option<&'a Grid>,
    ) -> Self {
        Self {
            reference,
            current,
            comparison: Comparison::of(reference, current, grid),
        }
    }

    /// How probable it is that nothing has changed between the two; see [`Comparison::by_chance`]. `None` where they cannot be
    /// compared.
    #[must_use]
    pub fn by_chance(&self) -> Option<PValue> {
        self.comparison.as_ref().ok().map(Comparison::by_chance)
    }

    /// The value of a measure.
    ///
    /// # Errors
    ///
    /// When the measure is not defined for these profiles, with the reason.
    pub fn read(&self, measure: DriftMeasure) -> Result<Reading, NotDefined> {
        if measure == DriftMeasure::MissingShareChange {
            return missing(self.reference, self.current);
        }
        let comparison = self.comparison.as_ref().map_err(|cause| *cause)?;
        let reading = Draft { comparison };
        match measure {
            DriftMeasure::Psi => Ok(reading.psi()),
            DriftMeasure::JensenShannon => Ok(reading.jensen_shannon()),
            DriftMeasure::Hellinger => Ok(reading.hellinger()),
            DriftMeasure::TotalVariation => Ok(reading.total_variation()),
            DriftMeasure::LInfinity => Ok(reading.l_infinity()),
            DriftMeasure::KolmogorovSmirnov => reading.kolmogorov_smirnov(),
            DriftMeasure::Wasserstein => reading.wasserstein(None),
            DriftMeasure::WassersteinNormalised => {
                let deviation = self.reference_deviation().ok_or(NotDefined::BeyondRange)?;
                reading.wasserstein(Some(deviation))
            }
            DriftMeasure::CramerVonMises => reading.cramer_von_mises(),
            DriftMeasure::AndersonDarling => reading.anderson_darling(),
            DriftMeasure::EnergyDistance => reading.energy_distance(),
            DriftMeasure::Chi2 => {
                let interval = |value: f64| comparison.shares().chi2(value);
                reading.counts("Pearson's chi-square test", contingency::chi2, interval)
            }
            DriftMeasure::GTest => {
                let interval = |value: f64| comparison.shares().g_test(value);
                reading.counts("G-test (likelihood ratio)", contingency::g_test, interval)
            }
            DriftMeasure::MissingShareChange => unreachable!("answered above, without values"),
        }
    }

    /// The standard deviation of the reference divided by `n`, at least [`DEVIATION_FLOOR`].
    fn reference_deviation(&self) -> Option<f64> {
        let n = self.reference.valid();
        if self.reference.kind() == ProfileKind::Categorical || n == 1 {
            return Some(DEVIATION_FLOOR);
        }
        let sample = self.reference.standard_deviation()?;
        Some((sample * ((n - 1) as f64 / n as f64).sqrt()).max(DEVIATION_FLOOR))
    }
}

/// A measure about to be read of a comparison.
struct Draft<'c, 'a> {
    comparison: &'c Comparison<'a>,
}

impl Draft<'_, '_> {
    fn of(&self, value: f64, method: String) -> Reading {
        Reading {
            value,
            p_value: None,
            interval: None,
            noise_floor: None,
            error_bound: None,
            method,
            bins: Some(self.comparison.bins().len()),
            compared: Some(Arc::clone(self.comparison.bins())),
            outer_edges: self.comparison.outer_edges().to_vec(),
            reference_values: self.comparison.reference_values(),
            current_values: self.comparison.current_values(),
        }
    }

    fn over_cells(&self, value: f64, method: String) -> Reading {
        Reading {
            bins: self.comparison.cells(),
            compared: None,
            outer_edges: Vec::new(),
            ..self.of(value, method)
        }
    }

    fn bins(&self) -> &'static str {
        if self.comparison.is_ordered() {
            "deciles of the baseline"
        } else {
            "union of categories"
        }
    }

    fn psi(&self) -> Reading {
        let psi = self.comparison.psi();
        let bins = self.bins();
        Reading {
            interval: Some(self.comparison.shares().psi(psi.value)),
            noise_floor: finite(psi.noise_floor),
            ..self.of(
                psi.value,
                format!("{bins}; natural logarithm; shares floored at 0.0001, not renormalised"),
            )
        }
    }

    fn jensen_shannon(&self) -> Reading {
        let distance = self.comparison.jensen_shannon();
        let bins = self.bins();
        Reading {
            interval: Some(self.comparison.shares().jensen_shannon(distance.value)),
            noise_floor: Some(distance.noise_floor),
            ..self.of(
                distance.value,
                format!("{bins}; base 2; square root of the divergence"),
            )
        }
    }

    fn hellinger(&self) -> Reading {
        let distance = self.comparison.hellinger();
        Reading {
            interval: Some(self.comparison.shares().hellinger(distance.value)),
            noise_floor: Some(distance.noise_floor),
            ..self.of(distance.value, self.bins().to_owned())
        }
    }

    fn total_variation(&self) -> Reading {
        let distance = self.comparison.total_variation();
        Reading {
            interval: Some(self.comparison.shares().total_variation(distance.value)),
            noise_floor: Some(distance.noise_floor),
            ..self.of(distance.value, self.bins().to_owned())
        }
    }

    fn l_infinity(&self) -> Reading {
        let value = self.comparison.l_infinity();
        Reading {
            interval: Some(self.comparison.shares().l_infinity(value)),
            ..self.of(value, self.bins().to_owned())
        }
    }

    fn kolmogorov_smirnov(&self) -> Result<Reading, NotDefined> {
        let ks = self.comparison.kolmogorov_smirnov()?;
        let method = match ks.method {
            kolmogorov::Method::Exact => "exact",
            kolmogorov::Method::Asymptotic => "asymptotic",
        };
        Ok(Reading {
            p_value: Some(ks.p_value),
            interval: Some(ks.interval),
            noise_floor: Some(ks.noise_floor),
            error_bound: Some(ks.error_bound),
            ..self.over_cells(
                ks.statistic,
                format!("cells of the baseline's grid; {method} p-value"),
            )
        })
    }

    fn wasserstein(&self, deviation: Option<f64>) -> Result<Reading, NotDefined> {
        let area = self.comparison.wasserstein()?;
        let scale = deviation.unwrap_or(1.0);
        let value = finite(area.value / scale).ok_or(NotDefined::BeyondRange)?;
        let (low, high) = within(area.value, area.variance, f64::INFINITY);
        // Chance alone gives the noise level, which is no part of how far the populations are apart.
        let interval = (
            ((low - area.error_bound - area.noise_floor) / scale).max(0.0),
            (high + area.error_bound) / scale,
        );
        let method = match deviation {
            None => "cells of the baseline's grid and the means; in the feature's unit".to_owned(),
            Some(deviation) => format!(
                "cells of the baseline's grid and the means; over the baseline's deviation {deviation}, at \
                 least 0.001"
            ),
        };
        Ok(Reading {
            interval: finite_pair(interval),
            noise_floor: finite(area.noise_floor / scale),
            error_bound: finite(area.error_bound / scale),
            ..self.over_cells(value, method)
        })
    }

    fn energy_distance(&self) -> Result<Reading, NotDefined> {
        let energy = self.comparison.energy_distance()?;
        // The square has the variance of the change and, where there is none, at most twice its own square.
        let (squared, by_chance) = (energy.value.powi(2), energy.noise_floor.powi(2));
        let chance = ByChance {
            mean: by_chance,
            variance: 2.0 * by_chance * by_chance,
        };
        let (low, high) = chance.of_distance(squared, 4.0 * squared * energy.variance);
        let interval = (
            (low.sqrt() - energy.error_bound).max(0.0),
            high.sqrt() + energy.error_bound,
        );
        Ok(Reading {
            interval: finite_pair(interval),
            noise_floor: finite(energy.noise_floor),
            error_bound: Some(energy.error_bound),
            ..self.over_cells(
                energy.value,
                "cells of the baseline's grid; root of twice the integral".to_owned(),
            )
        })
    }

    fn cramer_von_mises(&self) -> Result<Reading, NotDefined> {
        let (test, error_bound) = self.comparison.cramer_von_mises()?;
        let method = if test.exact {
            format!(
                "exact p-value, for at most {} values",
                cramer_von_mises::EXACT_SIZE
            )
        } else {
            "asymptotic p-value".to_owned()
        };
        Ok(Reading {
            p_value: Some(test.p_value),
            interval: Some(self.comparison.cramer_von_mises_interval()?),
            noise_floor: Some(1.0 / 6.0),
            error_bound: Some(error_bound),
            ..self.over_cells(
                test.statistic,
                format!("cells of the baseline's grid, random order inside; {method}"),
            )
        })
    }

    fn anderson_darling(&self) -> Result<Reading, NotDefined> {
        let test = self.comparison.anderson_darling()?;
        Ok(Reading {
            p_value: Some(test.p_value),
            interval: Some(self.comparison.anderson_darling_interval()?),
            noise_floor: Some(0.0),
            ..self.over_cells(
                test.statistic,
                "cells of the baseline's grid as ties, standardised; p-value from Scholz and Stephens' table, \
                 from 0.001 to 0.25"
                    .to_owned(),
            )
        })
    }

    fn counts(
        &self,
        name: &str,
        test: fn(&[u64], &[u64]) -> Option<Chi2>,
        interval: impl Fn(f64) -> (f64, f64),
    ) -> Result<Reading, NotDefined> {
        let test = self.comparison.counts(test).ok_or(NotDefined::OneBin)?;
        let caution = if test.smallest_expected < 5.0 {
            "; some bins expect fewer than 5 rows, so the p-value is rough"
        } else {
            ""
        };
        let (bins, freedom) = (self.bins(), test.degrees_of_freedom);
        Ok(Reading {
            p_value: Some(test.p_value),
            interval: Some(interval(test.statistic)),
            noise_floor: Some(freedom as f64),
            ..self.of(
                test.statistic,
                format!(
                    "{name} of two samples over the {bins}; {freedom} degrees of freedom{caution}"
                ),
            )
        })
    }
}

/// The change of the share of rows without a usable value.
fn missing(reference: &FeatureProfile, current: &FeatureProfile) -> Result<Reading, NotDefined> {
    let missing = |profile: &FeatureProfile| {
        let counts = profile.counts();
        (counts.absent + counts.nulls + counts.nans, counts.rows)
    };
    let (reference_hits, reference_rows) = missing(reference);
    let (current_hits, current_rows) = missing(current);
    if reference_rows == 0 {
        return Err(NotDefined::NoReferenceRows);
    }
    let ShareTest {
        difference,
        interval,
        p_value,
        exact,
    } = contingency::compare_shares(Shares {
        reference_hits,
        reference_rows,
        current_hits,
        current_rows,
    })
    .ok_or(NotDefined::NoCurrentRows)?;
    let method = if exact {
        "Fisher's exact test"
    } else {
        "chi-square test of two shares"
    };
    Ok(Reading {
        value: difference,
        p_value: Some(p_value),
        interval: Some(interval),
        noise_floor: None,
        error_bound: None,
        method: format!("share of absent, null and NaN rows, window minus baseline; {method}"),
        bins: None,
        compared: None,
        outer_edges: Vec::new(),
        reference_values: reference_rows,
        current_values: current_rows,
    })
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

fn finite_pair(pair: (f64, f64)) -> Option<(f64, f64)> {
    (pair.0.is_finite() && pair.1.is_finite()).then_some(pair)
}

#[cfg(test)]
mod tests;

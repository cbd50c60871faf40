//! Outcomes of forecasts: quantiles, intervals, and points against the naive forecast of a history.

use super::intervals::{mean, share, sum};
use super::{Quality, Undefined};

/// Forecasts of quantiles with what happened.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct QuantileForecasts {
    /// The mean loss of each forecast's quantiles.
    losses: Vec<f64>,
    left_out: u64,
}

impl QuantileForecasts {
    /// Adds a forecast as its quantiles, each with its level above 0 and below 1, and what happened. A forecast with
    /// NaN or an infinity, with another level or without any quantile is counted and left out.
    pub fn push(&mut self, quantiles: &[(f64, f64)], actual: f64) {
        let usable =
            |(level, forecast): &(f64, f64)| *level > 0.0 && *level < 1.0 && forecast.is_finite();
        if quantiles.is_empty() || !actual.is_finite() || !quantiles.iter().all(usable) {
            self.left_out += 1;
            return;
        }
        let loss = |(level, forecast): &(f64, f64)| {
            let above = actual - forecast;
            (level * above).max((level - 1.0) * above)
        };
        self.losses
            .push(sum(quantiles.iter().map(loss)) / quantiles.len() as f64);
    }

    /// Adds the forecasts of another accumulator.
    pub fn merge(&mut self, other: &Self) {
        self.losses.extend_from_slice(&other.losses);
        self.left_out += other.left_out;
    }

    /// Mean pinball loss, `level·(actual − forecast)` above a quantile and `(1 − level)·(forecast − actual)` below it,
    /// over the quantiles of each forecast and then over the forecasts, in the unit of what is forecast: 0 is
    /// perfect, more is worse. At level 0.5 alone it is half the mean absolute error. Normal interval over the
    /// forecasts, because the quantiles of one forecast err together. Koenker and Bassett (1978).
    ///
    /// # Errors
    /// Without forecasts, or when a difference leaves the range of numbers.
    pub fn pinball_loss(&self) -> Quality {
        some(self.losses.len(), self.left_out)?;
        mean(&mut self.losses.clone(), (0.0, f64::INFINITY))
    }
}

/// Forecast intervals with what happened.
#[derive(Debug, Clone, PartialEq)]
pub struct IntervalForecasts {
    level: f64,
    rows: Vec<(f64, f64, f64)>,
    left_out: u64,
    crossed: u64,
}

impl IntervalForecasts {
    /// No forecasts yet of intervals that should hold the share `level` of what happens, above 0 and below 1.
    ///
    /// # Errors
    /// For any other level.
    pub fn new(level: f64) -> Result<Self, Undefined> {
        if !(level > 0.0 && level < 1.0) {
            return Err(Undefined::BadParameter);
        }
        Ok(Self {
            level,
            rows: Vec::new(),
            left_out: 0,
            crossed: 0,
        })
    }

    /// Adds an interval and what happened. Rows with NaN or an infinity are counted and left out; so are
    /// intervals whose ends have changed places, which hold nothing.
    pub fn push(&mut self, (low, high): (f64, f64), actual: f64) {
        if !(low.is_finite() && high.is_finite() && actual.is_finite()) {
            self.left_out += 1;
        } else if low > high {
            self.crossed += 1;
        } else {
            self.rows.push((low, high, actual));
        }
    }

    /// Adds the forecasts of another accumulator.
    ///
    /// # Errors
    /// If they are of another level.
    pub fn merge(&mut self, other: &Self) -> Result<(), Undefined> {
        if self.level != other.level {
            return Err(Undefined::BadParameter);
        }
        self.rows.extend_from_slice(&other.rows);
        self.left_out += other.left_out;
        self.crossed += other.crossed;
        Ok(())
    }

    /// Intervals whose lower end was above the upper one.
    #[must_use]
    pub fn crossed(&self) -> u64 {
        self.crossed
    }

    /// Share of what happened that lies in its interval, ends included: it should be the level; below it the
    /// forecasts are too sure, above it too vague. Wilson's interval.
    ///
    /// # Errors
    /// Without forecasts.
    pub fn coverage(&self) -> Quality {
        some(self.rows.len(), self.left_out + self.crossed)?;
        let held = self
            .rows
            .iter()
            .filter(|(low, high, actual)| low <= actual && actual <= high);
        share(
            held.count() as u64,
            self.rows.len() as u64,
            Undefined::NoOutcomes,
        )
    }

    /// Mean width, in the unit of what is forecast: of two forecasts with the same coverage the narrower is
    /// better. Normal interval.
    ///
    /// # Errors
    /// Without forecasts, or when a width leaves the range of numbers.
    pub fn width(&self) -> Quality {
        some(self.rows.len(), self.left_out + self.crossed)?;
        let widths = self.rows.iter().map(|(low, high, _)| high - low);
        mean(&mut widths.collect::<Vec<_>>(), (0.0, f64::INFINITY))
    }

    /// Mean interval score: the width, and `2/(1 − level)` times how far what happened is outside. In the unit of
    /// what is forecast: 0 is perfect, more is worse. Normal interval. Winkler (1972), Gneiting and Raftery (2007).
    ///
    /// # Errors
    /// Without forecasts, or when a score leaves the range of numbers.
    pub fn interval_score(&self) -> Quality {
        some(self.rows.len(), self.left_out + self.crossed)?;
        let penalty = 2.0 / (1.0 - self.level);
        let scores = self.rows.iter().map(|(low, high, actual)| {
            let outside = (low - actual).max(actual - high).max(0.0);
            (high - low) + penalty * outside
        });
        mean(&mut scores.collect::<Vec<_>>(), (0.0, f64::INFINITY))
    }
}

/// Errors of forecasts, each over that of the naive forecast on the history it was made from.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ScaledErrors {
    scaled: Vec<f64>,
    left_out: u64,
}

impl ScaledErrors {
    /// Adds a forecast, what happened, and how wrong the naive forecast (the value one season before) was on
    /// average over the history of the series, in the same unit. A forecast with NaN or an infinity, or with a
    /// naive error that is not above 0, is counted and left out: over nothing every error would be endless.
    pub fn push(&mut self, forecast: f64, actual: f64, naive_error: f64) {
        let usable = forecast.is_finite() && actual.is_finite() && naive_error.is_finite();
        if usable && naive_error > 0.0 {
            self.scaled.push(((actual - forecast) / naive_error).abs());
        } else {
            self.left_out += 1;
        }
    }

    /// Adds the forecasts of another accumulator.
    pub fn merge(&mut self, other: &Self) {
        self.scaled.extend_from_slice(&other.scaled);
        self.left_out += other.left_out;
    }

    /// Mean absolute scaled error: 0 is perfect, 1 as good as the naive forecast was on the history, more is worse.
    /// Series of any size count alike. Normal interval, the naive errors taken as they are. Hyndman and Koehler
    /// (2006).
    ///
    /// # Errors
    /// Without forecasts, or when a quotient leaves the range of numbers.
    pub fn mase(&self) -> Quality {
        some(self.scaled.len(), self.left_out)?;
        mean(&mut self.scaled.clone(), (0.0, f64::INFINITY))
    }
}

fn some(rows: usize, left_out: u64) -> Result<(), Undefined> {
    match (rows, left_out) {
        (0, 0) => Err(Undefined::NoOutcomes),
        (0, _) => Err(Undefined::NoFiniteOutcomes),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_forecast_is_scored_by_width_and_by_what_it_misses() {
        let mut forecasts = IntervalForecasts::new(0.8).expect("a level");
        forecasts.push((0.0, 2.0), 1.0);
        forecasts.push((0.0, 2.0), 2.0);
        forecasts.push((0.0, 2.0), 5.0);
        forecasts.push((3.0, 2.0), 2.5);
        let coverage = forecasts.coverage().expect("forecasts");
        assert_eq!(
            (coverage.value, coverage.size, forecasts.crossed()),
            (2.0 / 3.0, 3, 1)
        );
        assert_eq!(forecasts.width().expect("forecasts").value, 2.0);
        let score = forecasts.interval_score().expect("forecasts").value;
        assert!(
            (score - (2.0 + 2.0 + 2.0 + 30.0) / 3.0).abs() < 1e-9,
            "{score}"
        );
        assert_eq!(IntervalForecasts::new(1.0), Err(Undefined::BadParameter));
    }

    #[test]
    fn pinball_loss_weighs_both_sides_and_the_quantiles_of_a_forecast_alike() {
        let mut forecasts = QuantileForecasts::default();
        forecasts.push(&[(0.9, 10.0)], 12.0);
        forecasts.push(&[(0.9, 10.0)], 8.0);
        let loss = forecasts.pinball_loss().expect("forecasts").value;
        assert!((loss - (0.9 * 2.0 + 0.1 * 2.0) / 2.0).abs() < 1e-12);
        let mut several = QuantileForecasts::default();
        several.push(&[(0.1, 8.0), (0.5, 10.0), (0.9, 14.0)], 11.0);
        let loss = several.pinball_loss().expect("forecasts").value;
        assert!((loss - (0.1 * 3.0 + 0.5 * 1.0 + 0.1 * 3.0) / 3.0).abs() < 1e-12);
        let mut unusable = QuantileForecasts::default();
        assert_eq!(unusable.pinball_loss(), Err(Undefined::NoOutcomes));
        unusable.push(&[(1.0, 8.0)], 11.0);
        unusable.push(&[], 11.0);
        unusable.push(&[(0.5, f64::NAN)], 11.0);
        assert_eq!(unusable.pinball_loss(), Err(Undefined::NoFiniteOutcomes));
    }

    #[test]
    fn scaled_errors_need_a_naive_forecast_that_errs() {
        let mut forecasts = ScaledErrors::default();
        assert_eq!(forecasts.mase(), Err(Undefined::NoOutcomes));
        for (forecast, actual, naive_error) in [
            (3.0, 5.0, 0.0),
            (3.0, 5.0, -1.0),
            (3.0, f64::NAN, 1.0),
            (3.0, 5.0, f64::INFINITY),
        ] {
            forecasts.push(forecast, actual, naive_error);
        }
        assert_eq!(forecasts.mase(), Err(Undefined::NoFiniteOutcomes));
        forecasts.push(3.0, 5.0, 4.0);
        forecasts.push(300.0, 200.0, 100.0);
        assert_eq!(forecasts.mase().expect("forecasts").value, 0.75);
        forecasts.push(1e308, -1e308, 1e-10);
        assert_eq!(forecasts.mase(), Err(Undefined::Overflow));
    }

    #[test]
    fn parts_merge_to_exactly_the_whole() {
        let rows: Vec<(f64, f64)> = (0..50)
            .map(|i| (f64::from(i % 7) / 3.0, f64::from(i % 11) / 7.0))
            .collect();
        let of = |rows: &[(f64, f64)]| {
            let mut quantiles = QuantileForecasts::default();
            let mut intervals = IntervalForecasts::new(0.9).expect("a level");
            let mut scaled = ScaledErrors::default();
            for (forecast, actual) in rows {
                quantiles.push(&[(0.3, *forecast), (0.6, forecast + 0.1)], *actual);
                scaled.push(*forecast, *actual, 0.3 + forecast);
                intervals.push((forecast - 0.4, forecast + 0.5), *actual);
            }
            (quantiles, intervals, scaled)
        };
        let (whole, mut merged, part) = (of(&rows), of(&rows[20..]), of(&rows[..20]));
        merged.0.merge(&part.0);
        merged.2.merge(&part.2);
        assert_eq!(merged.2.mase(), whole.2.mase());
        merged.1.merge(&part.1).expect("the same level");
        assert_eq!(merged.0.pinball_loss(), whole.0.pinball_loss());
        assert_eq!(merged.1.interval_score(), whole.1.interval_score());
        assert_eq!(merged.1.coverage(), whole.1.coverage());
    }
}

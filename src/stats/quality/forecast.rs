//! Outcomes of forecasts: quantiles, intervals, and points against a naive forecast of the past.

use super::errors::Errors;
use super::intervals::{mean, share};
use super::{Estimate, Quality, Undefined};

/// Forecasts of one quantile with what happened.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantileForecasts {
    level: f64,
    pairs: Vec<(f64, f64)>,
    left_out: u64,
}

impl QuantileForecasts {
    /// No forecasts yet of the quantile `level`, above 0 and below 1.
    ///
    /// # Errors
    /// For any other level.
    pub fn new(level: f64) -> Result<Self, Undefined> {
        if !(level > 0.0 && level < 1.0) {
            return Err(Undefined::BadParameter);
        }
        Ok(Self {
            level,
            pairs: Vec::new(),
            left_out: 0,
        })
    }

    /// Adds a forecast and what happened; pairs with NaN or an infinity are counted and left out.
    pub fn push(&mut self, forecast: f64, actual: f64) {
        if forecast.is_finite() && actual.is_finite() {
            self.pairs.push((forecast, actual));
        } else {
            self.left_out += 1;
        }
    }

    /// Adds the forecasts of another accumulator.
    ///
    /// # Errors
    /// If they are of another quantile.
    pub fn merge(&mut self, other: &Self) -> Result<(), Undefined> {
        if self.level != other.level {
            return Err(Undefined::BadParameter);
        }
        self.pairs.extend_from_slice(&other.pairs);
        self.left_out += other.left_out;
        Ok(())
    }

    /// Mean pinball loss, `level·(actual − forecast)` above the forecast and `(1 − level)·(forecast − actual)`
    /// below it, in the unit of what is forecast: 0 is perfect, more is worse. At level 0.5 it is half the mean
    /// absolute error. Normal interval. Koenker and Bassett (1978).
    ///
    /// # Errors
    /// Without forecasts, or when a difference leaves the range of numbers.
    pub fn pinball_loss(&self) -> Quality {
        let loss = |(forecast, actual): &(f64, f64)| {
            let above = actual - forecast;
            (self.level * above).max((self.level - 1.0) * above)
        };
        let mut losses: Vec<f64> = self.pairs.iter().map(loss).collect();
        some(losses.len(), self.left_out)?;
        mean(&mut losses, (0.0, f64::INFINITY))
    }

    /// Share of what happened that is not above the forecast: it should be the level, and is not right on either
    /// side of it. Wilson's interval.
    ///
    /// # Errors
    /// Without forecasts.
    pub fn coverage(&self) -> Quality {
        some(self.pairs.len(), self.left_out)?;
        let below = self
            .pairs
            .iter()
            .filter(|(forecast, actual)| actual <= forecast);
        share(
            below.count() as u64,
            self.pairs.len() as u64,
            Undefined::NoOutcomes,
        )
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

/// How wrong a naive forecast of the past was: the value of one season before, for each value of a history.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NaiveScale(f64);

impl NaiveScale {
    /// The mean absolute error of the naive forecast over a history, oldest first; `season` is 1 for a history
    /// without one. Pairs with NaN or an infinity are left out.
    ///
    /// # Errors
    /// For a season of 0, when no pair is left, when the history repeats itself exactly, so that every other
    /// forecast would be endlessly worse, or when a difference leaves the range of numbers.
    pub fn of(history: &[f64], season: usize) -> Result<Self, Undefined> {
        if season == 0 {
            return Err(Undefined::BadParameter);
        }
        let pairs = history.iter().zip(history.iter().skip(season));
        let mut steps: Vec<f64> = pairs
            .filter(|(before, now)| before.is_finite() && now.is_finite())
            .map(|(before, now)| (now - before).abs())
            .collect();
        if steps.is_empty() {
            return Err(Undefined::ShortHistory);
        }
        let scale = mean(&mut steps, (0.0, f64::INFINITY))?.value;
        if scale == 0.0 {
            return Err(Undefined::ConstantHistory);
        }
        Ok(Self(scale))
    }

    /// Mean absolute scaled error: the mean absolute error of the forecasts over the naive one's of the past. 0
    /// is perfect, 1 as good as the naive forecast was, more is worse. The interval is that of the mean absolute
    /// error, the scale taken as it is. Hyndman and Koehler (2006).
    ///
    /// # Errors
    /// As for [`Errors::mae`].
    pub fn mase(self, errors: &Errors) -> Quality {
        let mae = errors.mae()?;
        let value = mae.value / self.0;
        if !value.is_finite() {
            return Err(Undefined::Overflow);
        }
        let interval = mae
            .interval
            .map(|(low, high)| (low / self.0, high / self.0));
        Ok(Estimate {
            value,
            interval: interval.filter(|(_, high)| high.is_finite()),
            size: mae.size,
        })
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
    use super::super::RegressionOutcomes;
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
    fn pinball_loss_weighs_both_sides() {
        let mut forecasts = QuantileForecasts::new(0.9).expect("a level");
        forecasts.push(10.0, 12.0);
        forecasts.push(10.0, 8.0);
        let loss = forecasts.pinball_loss().expect("forecasts").value;
        assert!((loss - (0.9 * 2.0 + 0.1 * 2.0) / 2.0).abs() < 1e-12);
        assert_eq!(forecasts.coverage().expect("forecasts").value, 0.5);
        let other = QuantileForecasts::new(0.5).expect("a level");
        assert_eq!(forecasts.merge(&other), Err(Undefined::BadParameter));
        assert_eq!(
            QuantileForecasts::new(f64::NAN),
            Err(Undefined::BadParameter)
        );
    }

    #[test]
    fn scaled_error_needs_a_history_that_moves() {
        let mut outcomes = RegressionOutcomes::default();
        outcomes.push(3.0, 5.0);
        let errors = outcomes.errors();
        // Steps of one season of two: |3−1|, |6−2|, |5−3|.
        let scale = NaiveScale::of(&[1.0, 2.0, 3.0, 6.0, 5.0], 2).expect("a history");
        assert!((scale.mase(&errors).expect("an outcome").value - 2.0 / (8.0 / 3.0)).abs() < 1e-12);
        assert_eq!(
            NaiveScale::of(&[1.0, 2.0, 1.0, 2.0], 2),
            Err(Undefined::ConstantHistory)
        );
        assert_eq!(NaiveScale::of(&[1.0, 2.0], 2), Err(Undefined::ShortHistory));
        assert_eq!(
            NaiveScale::of(&[1.0, f64::NAN, 2.0], 1),
            Err(Undefined::ShortHistory)
        );
        assert_eq!(NaiveScale::of(&[1.0, 2.0], 0), Err(Undefined::BadParameter));
        assert_eq!(
            NaiveScale::of(&[1e308, -1e308], 1),
            Err(Undefined::Overflow)
        );
    }

    #[test]
    fn parts_merge_to_exactly_the_whole() {
        let rows: Vec<(f64, f64)> = (0..50)
            .map(|i| (f64::from(i % 7) / 3.0, f64::from(i % 11) / 7.0))
            .collect();
        let of = |rows: &[(f64, f64)]| {
            let mut quantiles = QuantileForecasts::new(0.3).expect("a level");
            let mut intervals = IntervalForecasts::new(0.9).expect("a level");
            for (forecast, actual) in rows {
                quantiles.push(*forecast, *actual);
                intervals.push((forecast - 0.4, forecast + 0.5), *actual);
            }
            (quantiles, intervals)
        };
        let (whole, mut merged, part) = (of(&rows), of(&rows[20..]), of(&rows[..20]));
        merged.0.merge(&part.0).expect("the same level");
        merged.1.merge(&part.1).expect("the same level");
        assert_eq!(merged.0.pinball_loss(), whole.0.pinball_loss());
        assert_eq!(merged.1.interval_score(), whole.1.interval_score());
        assert_eq!(merged.1.coverage(), whole.1.coverage());
    }
}

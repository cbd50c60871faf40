//! Conversions of unit, known by what they do to mean and spread.

use crate::stats::profile::FeatureProfile;

/// A conversion of numbers into another unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UnitChange {
    factor: f64,
    offset: f64,
    name: &'static str,
}

impl std::fmt::Display for UnitChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

const CONVERSIONS: &[UnitChange] = &[
    conversion(1.8, 32.0, "x × 1.8 + 32, as from Celsius to Fahrenheit"),
    conversion(
        1.0 / 1.8,
        -32.0 / 1.8,
        "(x − 32) ÷ 1.8, as from Fahrenheit to Celsius",
    ),
    conversion(1.0, 273.15, "x + 273.15, as from Celsius to kelvin"),
    conversion(1.0, -273.15, "x − 273.15, as from kelvin to Celsius"),
    conversion(100.0, 0.0, "× 100"),
    conversion(0.01, 0.0, "÷ 100"),
    conversion(1_000.0, 0.0, "× 1000"),
    conversion(0.001, 0.0, "÷ 1000"),
    conversion(1_000_000.0, 0.0, "× 1000000"),
    conversion(0.000_001, 0.0, "÷ 1000000"),
    conversion(60.0, 0.0, "× 60"),
    conversion(1.0 / 60.0, 0.0, "÷ 60"),
    conversion(3_600.0, 0.0, "× 3600"),
    conversion(1.0 / 3_600.0, 0.0, "÷ 3600"),
    conversion(1.609_344, 0.0, "× 1.609, as from miles to kilometres"),
    conversion(1.0 / 1.609_344, 0.0, "÷ 1.609, as from kilometres to miles"),
    conversion(-1.0, 0.0, "× −1"),
];

const fn conversion(factor: f64, offset: f64, name: &'static str) -> UnitChange {
    UnitChange {
        factor,
        offset,
        name,
    }
}

/// How far mean and spread may be from those of the conversion, beside what so few numbers scatter by, and how far they must be from the
/// unconverted ones, in standard deviations and logarithms of their ratio. The seasons alone can halve a mean: what moves
/// less than three deviations is left to the measures of drift.
const FITS: f64 = 0.2;
const DOES_NOT_FIT: f64 = 3.0;

/// The conversion of unit that explains why the numbers are not what they were: mean and standard deviation are
/// those of the reference converted, and far from those of the reference itself. `None` when no conversion on
/// the list fits, for categories, and for features without spread.
#[must_use]
pub fn unit_change(reference: &FeatureProfile, current: &FeatureProfile) -> Option<UnitChange> {
    let (mean, deviation) = (reference.mean()?, reference.standard_deviation()?);
    let (mean_now, deviation_now) = (current.mean()?, current.standard_deviation()?);
    if deviation <= 0.0 || deviation_now <= 0.0 {
        return None;
    }
    let misfit = |factor: f64, offset: f64| {
        let spread = factor.abs() * deviation;
        (deviation_now / spread).ln().abs() + (mean_now - (factor * mean + offset)).abs() / spread
    };
    if misfit(1.0, 0.0) < DOES_NOT_FIT {
        return None;
    }
    let fits = FITS + 1.0 / (current.valid() as f64).sqrt();
    let fitting = CONVERSIONS.iter().map(|c| (misfit(c.factor, c.offset), *c));
    fitting
        .filter(|(misfit, _)| *misfit < fits)
        .min_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, conversion)| conversion)
}

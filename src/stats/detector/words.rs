//! What a change is, in words that can stand in an alert.

use super::test::{Evidence, ScoreKind};

/// A normal distribution that moves by one standard deviation moves the centre by this.
const CENTRE_PER_DEVIATION: f64 = 0.977;

impl Evidence {
    /// The change in a few words, such as "centre up by 0.31 standard deviations" or `"DE" from 12 % to 17 % of rows`.
    #[must_use]
    pub fn words(&self) -> String {
        let size = self.effect.abs();
        let up = self.effect > 0.0;
        let shares = || match self.shares {
            Some((before, now)) => format!("from {} to {} of rows", percent(before), percent(now)),
            None => format!("by {size:.2}"),
        };
        match &self.score {
            ScoreKind::Centre => {
                let direction = if up { "up" } else { "down" };
                format!(
                    "centre {direction} by {:.2} standard deviations",
                    size / CENTRE_PER_DEVIATION
                )
            }
            ScoreKind::Spread if up => format!("wider ({size:.2})"),
            ScoreKind::Spread => format!("narrower ({size:.2})"),
            ScoreKind::Skew if up => format!("longer to the right ({size:.2})"),
            ScoreKind::Skew => format!("longer to the left ({size:.2})"),
            ScoreKind::Tails if up => format!("more in the middle and at the ends ({size:.2})"),
            ScoreKind::Tails => format!("less in the middle and at the ends ({size:.2})"),
            ScoreKind::LowEnd => format!("at or below the lowest values {}", shares()),
            ScoreKind::HighEnd => format!("at or above the highest values {}", shares()),
            ScoreKind::Far => format!("far outside of the usual range {}", shares()),
            ScoreKind::Value(value) => format!("the value {value} {}", shares()),
            ScoreKind::Category(name) => format!("{name:?} {}", shares()),
            ScoreKind::OtherCategories => format!("rare categories {}", shares()),
            ScoreKind::Unseen => format!("new categories {}", shares()),
            ScoreKind::Missing => format!("missing {}", shares()),
            ScoreKind::WrongType => format!("of a wrong type {}", shares()),
            ScoreKind::Volume => {
                let percent = 100.0 * (self.effect.exp() - 1.0).abs();
                format!(
                    "{percent:.0} % {} rows than usual",
                    if up { "more" } else { "fewer" }
                )
            }
        }
    }
}

fn percent(share: f64) -> String {
    let value = 100.0 * share;
    match value {
        0.0 => "0 %".to_owned(),
        v if v < 0.1 => format!("{v:.3} %"),
        v if v < 10.0 => format!("{v:.2} %"),
        v => format!("{v:.1} %"),
    }
}

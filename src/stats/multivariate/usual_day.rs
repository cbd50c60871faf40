//! What a day's rows are worth where days differ among themselves.
//!
//! What rows scatter by is less the more there are; what days differ by is not. A reference's days show the sum of both at the
//! size they have, so a window of larger days is not as much surer as its rows are more.

/// How much of a usual day's variance more rows would take away.
#[derive(Debug, Clone, Copy)]
pub(super) struct UsualDay {
    rows: f64,
    of_rows: f64,
}

impl UsualDay {
    /// Of days with so many rows on average, whose variance is `factor` times that of their rows and is known with so many
    /// degrees of freedom. As much of it as cannot be told from chance is taken to be of days: it is what larger days
    /// would show.
    pub(super) fn new(rows: f64, factor: f64, freedom: f64) -> Self {
        Self {
            rows,
            of_rows: (1.0 / factor - (2.0 / freedom).sqrt()).max(0.0),
        }
    }

    /// How many rows of usual days are as sure as the mean of days with these rows.
    pub(super) fn worth(&self, days: impl Iterator<Item = f64>) -> f64 {
        let (mut rows, mut variance) = (0.0, 0.0);
        for day in days.filter(|day| *day > 0.0) {
            let of_days = (1.0 - self.of_rows) / day.min(self.rows);
            rows += day;
            variance += day * day * (self.of_rows / day + of_days);
        }
        if variance > 0.0 {
            rows * rows / variance
        } else {
            0.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_of_the_usual_size_and_smaller_are_worth_their_rows() {
        let usual = UsualDay::new(100.0, 2.0, 50.0);
        assert!((usual.worth([100.0; 7].into_iter()) - 700.0).abs() < 1e-9);
        assert!((usual.worth([20.0, 0.0].into_iter()) - 20.0).abs() < 1e-9);
        assert!(usual.worth([0.0; 2].into_iter()) == 0.0);
    }

    #[test]
    fn more_rows_take_away_what_is_of_rows_alone() {
        // Half of the variance is of rows, and a fifth of it all is not known.
        let usual = UsualDay::new(100.0, 2.0, 50.0);
        let expected = 1.0 / (0.3 / 1000.0 + 0.7 / 100.0);
        assert!((usual.worth([1000.0].into_iter()) - expected).abs() < 1e-9);
        // Of few days nothing is known of the parts.
        let unknown = UsualDay::new(100.0, 2.0, 7.0);
        assert!((unknown.worth([1000.0].into_iter()) - 100.0).abs() < 1e-9);
    }
}

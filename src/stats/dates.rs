//! Drift of dates: what can be said of them although time goes on.
//!
//! Later dates alone are no drift. What should stay is how old dates are when they are looked at, whether they lie
//! in the future, and at which hours and on which days of the week they fall. All times are in UTC.

use super::contingency::{self, ShareTest, Shares as Hits};
use super::distance;
use super::tails::PValue;
use super::uncertainty::Shares;

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

/// How many dates fall into each of the 24 hours of the day; times are seconds since 1970.
#[must_use]
pub fn by_hour(times: impl IntoIterator<Item = i64>) -> [u64; 24] {
    let mut counts = [0; 24];
    for time in times {
        counts[(time.rem_euclid(DAY) / HOUR) as usize] += 1;
    }
    counts
}

/// How many dates fall on each day of the week, Monday first; times are seconds since 1970, a Thursday.
#[must_use]
pub fn by_weekday(times: impl IntoIterator<Item = i64>) -> [u64; 7] {
    let mut counts = [0; 7];
    for time in times {
        counts[(time.div_euclid(DAY) + 3).rem_euclid(7) as usize] += 1;
    }
    counts
}

/// How far a profile over hours or weekdays has moved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProfileChange {
    /// Total variation distance of the shares, from 0 to 1: the share of dates that would have to move. More is
    /// worse.
    pub distance: f64,
    /// 95 % interval.
    pub interval: (f64, f64),
    /// The distance expected when nothing has changed.
    pub noise_floor: f64,
    /// That of Pearson's chi-square test over the parts that expect 5 dates or more on either side, the rarer ones
    /// taken together; 1 when everything falls into one part on both sides.
    pub p_value: PValue,
}

/// Compares two profiles over the same parts of the day or week. `None` without dates on a side.
#[must_use]
pub fn compare_profiles(reference: &[u64], current: &[u64]) -> Option<ProfileChange> {
    let (n, m) = (reference.iter().sum::<u64>(), current.iter().sum::<u64>());
    if n == 0 || m == 0 {
        return None;
    }
    let of = |counts: &[u64], all: u64| -> Vec<f64> {
        let counts = counts.iter();
        counts.map(|count| *count as f64 / all as f64).collect()
    };
    let (p, q) = (of(reference, n), of(current, m));
    let distance = distance::total_variation(&p, &q)?;
    let shares = Shares {
        reference: &p,
        current: &q,
        reference_rows: n,
        current_rows: m,
    };
    Some(ProfileChange {
        distance,
        interval: shares.total_variation(distance),
        noise_floor: distance::total_variation_noise_floor(&p, n, m),
        p_value: contingency::pooled_chi2(reference, current)
            .map_or(PValue::ONE, |test| test.p_value),
    })
}

/// Tests that dates are as often in the future as before. An age is in seconds, and negative for a date later than
/// the time it is looked at. `None` without ages on a side.
#[must_use]
pub fn future_share(reference: &[f64], current: &[f64]) -> Option<ShareTest> {
    let ahead = |ages: &[f64]| ages.iter().filter(|age| **age < 0.0).count() as u64;
    contingency::compare_shares(Hits {
        reference_hits: ahead(reference),
        reference_rows: reference.len() as u64,
        current_hits: ahead(current),
        current_rows: current.len() as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_fall_into_their_hour_and_weekday_before_1970_too() {
        // 2026-11-21T19:30:00Z, a Saturday; 1969-12-31T23:59:59Z, a Wednesday; 1970-01-01T00:00:00Z.
        let times = [1_795_289_400, -1, 0];
        let hours = by_hour(times);
        assert_eq!((hours[19], hours[23], hours[0]), (1, 1, 1));
        assert_eq!(by_weekday(times), [0, 0, 1, 1, 0, 1, 0]);
        assert_eq!(by_hour([i64::MIN, i64::MAX]).iter().sum::<u64>(), 2);
        assert_eq!(by_weekday([i64::MIN, i64::MAX]).iter().sum::<u64>(), 2);
    }

    #[test]
    fn a_profile_that_stays_has_no_distance_and_one_that_moves_has() {
        let office: Vec<u64> = (0..24)
            .map(|h| if (9..17).contains(&h) { 50 } else { 0 })
            .collect();
        let night: Vec<u64> = (0..24).map(|h| if h < 8 { 50 } else { 0 }).collect();
        let same = compare_profiles(&office, &office).expect("dates");
        assert_eq!((same.distance, same.p_value), (0.0, PValue::ONE));
        let moved = compare_profiles(&office, &night).expect("dates");
        assert!((moved.distance - 1.0).abs() < 1e-12 && moved.p_value.log10() < -100.0);
        assert!(moved.noise_floor < 0.1 && moved.interval.1 <= 1.0);
    }

    #[test]
    fn sides_without_dates_have_no_profile_and_no_share() {
        assert_eq!(compare_profiles(&[0; 24], &[1; 24]), None);
        assert_eq!(compare_profiles(&[1; 24], &[0; 24]), None);
        assert_eq!(future_share(&[], &[1.0]), None);
        assert_eq!(future_share(&[1.0], &[]), None);
        let one_hour = compare_profiles(&[5, 0], &[7, 0]).expect("dates");
        assert_eq!((one_hour.distance, one_hour.p_value), (0.0, PValue::ONE));
    }

    #[test]
    fn dates_that_come_to_lie_in_the_future_are_seen() {
        let before = vec![60.0; 400];
        let now: Vec<f64> = (0..400)
            .map(|i| if i % 10 == 0 { -60.0 } else { 60.0 })
            .collect();
        let test = future_share(&before, &now).expect("ages");
        assert!((test.difference - 0.1).abs() < 1e-12 && test.p_value.value() < 1e-9);
    }
}

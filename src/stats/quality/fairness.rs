//! Outcomes by group of people: whether a classifier treats the groups alike.

use std::collections::BTreeMap;

use statrs::distribution::{ContinuousCDF, Normal};

use super::confusion::Confusion;
use super::intervals::{Z_95, newcombe_difference, ratio_interval};
use super::{Estimate, Quality, Undefined};

/// Counts of predictions against labels, by group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupOutcomes {
    groups: BTreeMap<String, Confusion>,
}

/// The rate that should be alike in all groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FairnessRate {
    /// Share of people who are predicted positive: demographic parity.
    Selection,
    /// Share of the positives who are predicted positive: equal opportunity (Hardt and others 2016).
    TruePositive,
}

/// The two groups that differ most, with everything needed to judge whether that is chance.
#[derive(Debug, Clone, PartialEq)]
pub struct Disparity {
    /// The group with the highest rate, and that with the lowest.
    pub highest: (String, Quality),
    pub lowest: (String, Quality),
    /// Highest minus lowest: 0 is alike, more is worse, 1 the most.
    pub difference: Estimate,
    /// Lowest over highest: 1 is alike, less is worse. Undefined where even the highest is zero.
    pub ratio: Quality,
    /// Groups that were compared.
    pub compared: usize,
    /// Groups with too few people for their rate, and how many they have.
    pub too_small: Vec<(String, u64)>,
}

impl FairnessRate {
    /// The counted ones and those they are counted among.
    fn of(self, counts: &Confusion) -> (u64, u64) {
        match self {
            Self::Selection => (counts.predicted_positives(), counts.labels()),
            Self::TruePositive => (counts.true_positives, counts.positives()),
        }
    }
}

impl GroupOutcomes {
    /// Outcomes of all groups.
    #[must_use]
    pub fn labels(&self) -> u64 {
        self.groups.values().map(Confusion::labels).sum()
    }

    /// Counts an outcome of a group.
    pub fn push(&mut self, group: &str, predicted: bool, label: bool) {
        match self.groups.get_mut(group) {
            Some(counts) => counts.push(predicted, label),
            None => {
                self.groups
                    .entry(group.to_owned())
                    .or_default()
                    .push(predicted, label);
            }
        }
    }

    /// Adds the outcomes of another accumulator.
    pub fn merge(&mut self, other: &Self) {
        for (group, counts) in &other.groups {
            self.groups.entry(group.clone()).or_default().merge(counts);
        }
    }

    /// The counts of each group, by name.
    pub fn groups(&self) -> impl Iterator<Item = (&str, &Confusion)> {
        self.groups
            .iter()
            .map(|(group, counts)| (group.as_str(), counts))
    }

    /// The largest difference of a rate between any two groups of which each has `min_size` people to count it
    /// among. Of groups with equal rates the first by name is named.
    ///
    /// The difference has Newcombe's interval and the ratio Donner and Zou's. Because the pair was chosen out of all, both
    /// hold at 95 % for all pairs together (Bonferroni), so with many groups they are wide. Neither leaves 0 to 1.
    ///
    /// # Errors
    /// Unless two groups are large enough.
    pub fn disparity(&self, rate: FairnessRate, min_size: u64) -> Result<Disparity, Undefined> {
        let mut counted = Vec::new();
        let mut too_small = Vec::new();
        for (group, counts) in &self.groups {
            let (some, all) = rate.of(counts);
            if all >= min_size.max(1) {
                counted.push((group, some, all));
            } else {
                too_small.push((group.clone(), all));
            }
        }
        if counted.len() < 2 {
            return Err(Undefined::TooFewGroups);
        }
        // Exact: a/b against c/d as integers.
        counted.sort_by(|a, b| {
            (u128::from(b.1) * u128::from(a.2)).cmp(&(u128::from(a.1) * u128::from(b.2)))
        });
        let highest = counted[0];
        let last = counted[counted.len() - 1];
        let equal_to_last = |group: &&(&String, u64, u64)| {
            u128::from(group.1) * u128::from(last.2) == u128::from(last.1) * u128::from(group.2)
        };
        let different = |group: &&(&String, u64, u64)| group.0 != highest.0;
        let lowest = counted
            .iter()
            .filter(different)
            .find(equal_to_last)
            .map_or(last, |g| *g);
        let (top, bottom) = ((highest.1, highest.2), (lowest.1, lowest.2));
        let z = family_quantile(counted.len());
        let share = |(some, all): (u64, u64)| some as f64 / all as f64;
        let size = top.1.min(bottom.1);
        let ratio = if highest.1 == 0 {
            Err(Undefined::ZeroRate)
        } else {
            Ok(Estimate {
                value: share(bottom) / share(top),
                interval: Some(ratio_interval(bottom, top, z))
                    .map(|(low, high)| (low, high.min(1.0))),
                size,
            })
        };
        let estimate = |(some, all)| super::intervals::share(some, all, Undefined::NoOutcomes);
        Ok(Disparity {
            highest: (highest.0.clone(), estimate(top)),
            lowest: (lowest.0.clone(), estimate(bottom)),
            difference: Estimate {
                value: share(top) - share(bottom),
                interval: newcombe_difference(top, bottom, z)
                    .map(|(low, high)| (low.max(0.0), high)),
                size,
            },
            ratio,
            compared: counted.len(),
            too_small,
        })
    }
}

/// The quantile of the normal distribution for 95 % over all pairs of so many groups.
fn family_quantile(groups: usize) -> f64 {
    let pairs = groups * (groups - 1) / 2;
    if pairs <= 1 {
        return Z_95;
    }
    -Normal::standard().inverse_cdf(0.025 / pairs as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(groups: &[(&str, [u64; 4])]) -> GroupOutcomes {
        let mut outcomes = GroupOutcomes::default();
        for (group, counts) in groups {
            let cells = [(true, true), (true, false), (false, false), (false, true)];
            for ((predicted, label), count) in cells.into_iter().zip(counts) {
                for _ in 0..*count {
                    outcomes.push(group, predicted, label);
                }
            }
        }
        outcomes
    }

    #[test]
    fn two_groups_are_compared_as_newcombe_does() {
        // 56 of 70 and 48 of 80 are predicted positive: table II of his paper.
        let groups = outcomes(&[("a", [40, 16, 10, 4]), ("b", [40, 8, 20, 12])]);
        let of = groups
            .disparity(FairnessRate::Selection, 50)
            .expect("two groups");
        let (low, high) = of.difference.interval.expect("people");
        assert!((of.difference.value - 0.2).abs() < 1e-12 && of.difference.size == 70);
        assert!(
            (low - 0.0524).abs() < 5e-5 && (high - 0.3339).abs() < 5e-5,
            "{low} {high}"
        );
        assert_eq!((of.highest.0.as_str(), of.lowest.0.as_str()), ("a", "b"));
        assert!((of.ratio.expect("a rate").value - 0.75).abs() < 1e-12);
        let of = groups
            .disparity(FairnessRate::TruePositive, 40)
            .expect("two groups");
        assert!((of.difference.value - (40.0 / 44.0 - 40.0 / 52.0)).abs() < 1e-12);
    }

    #[test]
    fn small_groups_are_named_and_not_compared() {
        let groups = outcomes(&[
            ("a", [5, 5, 5, 5]),
            ("b", [9, 5, 1, 5]),
            ("tiny", [3, 0, 0, 0]),
        ]);
        let of = groups
            .disparity(FairnessRate::Selection, 10)
            .expect("two groups");
        assert_eq!(
            (of.compared, of.too_small),
            (2, vec![("tiny".to_owned(), 3)])
        );
        let alone = groups.disparity(FairnessRate::Selection, 21);
        assert_eq!(alone, Err(Undefined::TooFewGroups));
        let none = GroupOutcomes::default().disparity(FairnessRate::Selection, 0);
        assert_eq!(none, Err(Undefined::TooFewGroups));
    }

    #[test]
    fn the_ratio_of_the_lowest_to_the_highest_is_at_most_one() {
        let groups = outcomes(&[("a", [30, 10, 50, 10]), ("b", [29, 10, 50, 11])]);
        let of = groups
            .disparity(FairnessRate::Selection, 10)
            .expect("two groups");
        let ratio = of.ratio.expect("a rate");
        let (low, high) = ratio.interval.expect("people");
        assert!(0.0 < low && low < ratio.value, "{low}");
        assert!((high - 1.0).abs() < f64::EPSILON, "{high}");
    }

    #[test]
    fn rates_of_zero_have_no_ratio() {
        let groups = outcomes(&[("a", [0, 0, 5, 5]), ("b", [0, 0, 9, 5])]);
        let of = groups
            .disparity(FairnessRate::Selection, 1)
            .expect("two groups");
        assert_eq!(
            (of.difference.value, of.ratio),
            (0.0, Err(Undefined::ZeroRate))
        );
        assert_eq!((of.highest.0.as_str(), of.lowest.0.as_str()), ("a", "b"));
    }

    #[test]
    fn more_groups_need_stronger_evidence() {
        let two = [("a", [30, 10, 50, 10]), ("b", [20, 10, 50, 20])];
        let four = [
            two[0],
            two[1],
            ("c", [25, 10, 50, 15]),
            ("d", [25, 10, 50, 15]),
        ];
        let width = |groups: &[(&str, [u64; 4])]| {
            let of = outcomes(groups)
                .disparity(FairnessRate::TruePositive, 10)
                .expect("groups");
            let (low, high) = of.difference.interval.expect("people");
            (of.difference.value, high - low)
        };
        assert_eq!(width(&two).0, width(&four).0);
        assert!(width(&four).1 > width(&two).1);
    }

    #[test]
    fn parts_merge_to_exactly_the_whole() {
        let mut merged = outcomes(&[("a", [1, 2, 3, 4])]);
        merged.merge(&outcomes(&[("b", [4, 3, 2, 1]), ("a", [1, 1, 1, 1])]));
        assert_eq!(
            merged,
            outcomes(&[("a", [2, 3, 4, 5]), ("b", [4, 3, 2, 1])])
        );
    }
}

//! Comparing versions: the gate before a promotion and the watch after it, as pure functions.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::measurement::{Better, Measure};
use super::runbook::{Gate, Watch};

/// Candidate and champion on the same labelled predictions of one segment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// `name=value`; empty for all predictions.
    pub segment: String,
    pub measure: Measure,
    pub champion: Option<f64>,
    pub candidate: Option<f64>,
    /// How many labelled predictions both have made.
    pub labels: u64,
    /// Whether the segment has labels enough to be judged.
    pub judged: bool,
    pub better: bool,
}

/// What a gate decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruling {
    pub accepted: bool,
    pub reason: String,
}

/// By which share `challenger` is better than `incumbent`; negative when it is worse, nothing when the two
/// cannot be compared. Both must be measures of which one direction is better.
#[must_use]
pub fn improvement(
    measure: Measure,
    incumbent: Option<f64>,
    challenger: Option<f64>,
) -> Option<f64> {
    let (incumbent, challenger) = incumbent.zip(challenger)?;
    if incumbent == 0.0 {
        return None;
    }
    let gain = match measure.better() {
        Better::Higher => challenger - incumbent,
        Better::Lower | Better::Zero | Better::Neither => incumbent - challenger,
    };
    Some(gain / incumbent.abs())
}

/// Fills in which segments are judged, and where the candidate is better.
pub fn mark(gate: &Gate, comparisons: &mut [Comparison]) {
    for comparison in comparisons {
        let floor = if comparison.segment.is_empty() {
            gate.min_labels
        } else {
            gate.segment_min_labels
        };
        comparison.judged = comparison.labels >= floor;
        comparison.better = improvement(
            comparison.measure,
            comparison.champion,
            comparison.candidate,
        )
        .is_some_and(|gain| gain > 0.0);
    }
}

/// Accepts a candidate that is better overall by the share asked for, and on no judged segment worse than
/// tolerated. Too few labels, or nothing to compare, is a refusal.
#[must_use]
pub fn rule(gate: &Gate, comparisons: &[Comparison]) -> Ruling {
    let refuse = |reason| Ruling {
        accepted: false,
        reason,
    };
    let Some(overall) = comparisons.iter().find(|c| c.segment.is_empty()) else {
        return refuse(
            "there is no prediction that both versions made and whose label is known".to_owned(),
        );
    };
    if overall.labels < gate.min_labels {
        return refuse(format!(
            "{} labels, {} are needed",
            overall.labels, gate.min_labels
        ));
    }
    let measure = overall.measure;
    let Some(gain) = improvement(measure, overall.champion, overall.candidate) else {
        return refuse(format!(
            "{} is not defined for both versions",
            measure.as_str()
        ));
    };
    let values = format!(
        "{} {:.2} against the champion's {:.2}",
        measure.as_str(),
        overall.candidate.unwrap_or(f64::NAN),
        overall.champion.unwrap_or(f64::NAN)
    );
    if gain < gate.min_improvement {
        return refuse(format!(
            "{values}: {}, {:.1} % better is needed",
            share_words(gain),
            100.0 * gate.min_improvement
        ));
    }
    for segment in comparisons
        .iter()
        .filter(|c| !c.segment.is_empty() && c.judged)
    {
        let gain = improvement(measure, segment.champion, segment.candidate);
        if gain.is_none_or(|gain| gain < -gate.segment_tolerance) {
            return refuse(format!(
                "{values}, but on {} {}, at most {:.1} % worse is tolerated",
                segment.segment,
                gain.map_or_else(|| "it cannot be compared".to_owned(), share_words),
                100.0 * gate.segment_tolerance
            ));
        }
    }
    Ruling {
        accepted: true,
        reason: format!(
            "{values}: {}, and no segment is worse than tolerated",
            share_words(gain)
        ),
    }
}

fn share_words(gain: f64) -> String {
    let word = if gain >= 0.0 { "better" } else { "worse" };
    format!("{:.1} % {word}", 100.0 * gain.abs())
}

/// Champion and former champion over one window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WatchedWindow {
    pub start: DateTime<Utc>,
    pub end: DateTime<Utc>,
    pub champion: Option<f64>,
    pub former: Option<f64>,
    pub labels: u64,
    /// Whether the former champion is better by the watch's margin.
    pub better: bool,
}

impl WatchedWindow {
    /// Fills in whether the former champion is better by the margin.
    #[must_use]
    pub fn judged(mut self, watch: &Watch, measure: Measure) -> Self {
        self.better = self.labels >= watch.min_labels
            && improvement(measure, self.champion, self.former)
                .is_some_and(|gain| gain >= watch.margin);
        self
    }
}

/// Whether the newest windows, as many as the watch asks for, all say that the former champion is better.
/// Windows with too few labels are passed over.
#[must_use]
pub fn proposes_rollback(watch: &Watch, windows: &[WatchedWindow]) -> bool {
    let newest: Vec<&WatchedWindow> = windows
        .iter()
        .rev()
        .filter(|w| w.labels >= watch.min_labels)
        .take(watch.windows)
        .collect();
    newest.len() == watch.windows && newest.iter().all(|window| window.better)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::window::Grain;

    fn gate() -> Gate {
        Gate {
            measure: None,
            days: 7,
            label_wait_seconds: 86_400,
            min_labels: 500,
            min_improvement: 0.05,
            segment_tolerance: 0.05,
            segment_min_labels: 100,
        }
    }

    fn comparison(segment: &str, champion: f64, candidate: f64, labels: u64) -> Comparison {
        Comparison {
            segment: segment.to_owned(),
            measure: Measure::Mae,
            champion: Some(champion),
            candidate: Some(candidate),
            labels,
            judged: false,
            better: false,
        }
    }

    fn ruling(comparisons: &[Comparison]) -> Ruling {
        let mut marked = comparisons.to_vec();
        mark(&gate(), &mut marked);
        rule(&gate(), &marked)
    }

    #[test]
    fn a_candidate_must_win_overall_and_lose_on_no_segment() {
        let cases = [
            (
                "the march of the demo",
                vec![comparison("", 8.89, 9.25, 2_090)],
                false,
            ),
            (
                "the may of the demo",
                vec![comparison("", 15.12, 6.93, 2_057)],
                true,
            ),
            (
                "better, but not by enough",
                vec![comparison("", 10.0, 9.6, 1_000)],
                false,
            ),
            (
                "too few labels",
                vec![comparison("", 15.0, 5.0, 499)],
                false,
            ),
            ("nothing compared", vec![], false),
            (
                "worse on a slice",
                vec![
                    comparison("", 15.0, 7.0, 1_000),
                    comparison("o=JFK", 9.0, 9.6, 300),
                ],
                false,
            ),
            (
                "worse on a slice of few",
                vec![
                    comparison("", 15.0, 7.0, 1_000),
                    comparison("o=JFK", 9.0, 9.6, 99),
                ],
                true,
            ),
            (
                "a little worse on a slice",
                vec![
                    comparison("", 15.0, 7.0, 1_000),
                    comparison("o=JFK", 9.0, 9.4, 300),
                ],
                true,
            ),
        ];
        for (name, comparisons, accepted) in cases {
            let ruling = ruling(&comparisons);
            assert_eq!(ruling.accepted, accepted, "{name}: {}", ruling.reason);
        }
    }

    #[test]
    fn a_refusal_says_by_how_much() {
        let ruling = ruling(&[comparison("", 8.89, 9.25, 2_090)]);
        assert_eq!(
            ruling.reason,
            "mae 9.25 against the champion's 8.89: 4.0 % worse, 5.0 % better is needed"
        );
    }

    #[test]
    fn improvement_knows_which_direction_is_better() {
        assert_eq!(improvement(Measure::Mae, Some(10.0), Some(8.0)), Some(0.2));
        assert_eq!(
            improvement(Measure::RocAuc, Some(0.8), Some(0.6)).map(|g| (g * 100.0).round()),
            Some(-25.0)
        );
        assert_eq!(improvement(Measure::Mae, Some(0.0), Some(1.0)), None);
        assert_eq!(improvement(Measure::Mae, None, Some(1.0)), None);
    }

    #[test]
    fn a_watch_wants_its_windows_in_a_row() {
        let watch = Watch {
            measure: None,
            grain: Grain::Week,
            margin: 0.05,
            windows: 2,
            min_labels: 100,
            propose: "rollback".to_owned(),
        };
        let window = |champion: f64, former: f64, labels| {
            WatchedWindow {
                start: DateTime::UNIX_EPOCH,
                end: DateTime::UNIX_EPOCH,
                champion: Some(champion),
                former: Some(former),
                labels,
                better: false,
            }
            .judged(&watch, Measure::Mae)
        };
        let cases = [
            (
                vec![window(8.68, 6.75, 900), window(10.40, 9.82, 900)],
                true,
            ),
            (
                vec![window(7.94, 9.13, 900), window(8.68, 6.75, 900)],
                false,
            ),
            (vec![window(8.68, 6.75, 900)], false),
            (
                vec![
                    window(8.68, 6.75, 900),
                    window(7.0, 9.0, 50),
                    window(10.40, 9.82, 900),
                ],
                true,
            ),
            (vec![window(8.68, 6.75, 900), window(10.0, 9.6, 900)], false),
            (vec![], false),
        ];
        for (windows, expected) in cases {
            assert_eq!(proposes_rollback(&watch, &windows), expected, "{windows:?}");
        }
    }
}

//! What a monitor is compared with when that is no baseline but a part of the past that moves along.

use super::fields::{self, Fields, listed};
use super::model::GRAINS;
use super::problem::Sink;
use super::yaml::Node;
use crate::domain::reference::Past;
use crate::domain::window::Grain;

pub(super) const AGAINST_KEYS: &[&str] = &["rolling", "gap", "season", "weeks"];
pub(super) const SEASONS: &[(&str, Season)] =
    &[("hour", Season::Hour), ("weekday", Season::Weekday)];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Season {
    Hour,
    Weekday,
}

const DAY_SECONDS: i64 = 86_400;
/// Beyond a year a season is another one.
const MOST_WEEKS: u32 = 52;
const DEFAULT_WEEKS: u32 = 4;

/// Reads the `against` of a monitor with such windows; `None` when it is wrong, and `Some(None)` without one.
pub(super) fn read(
    monitor: &Fields,
    base_window: Grain,
    grain: Option<Grain>,
    sink: &mut Sink,
) -> Option<Option<Past>> {
    let Some(node) = monitor.get("against") else {
        return Some(None);
    };
    if monitor.get("baseline").is_some() {
        sink.note(
            node.place,
            "a monitor is compared with one thing: `baseline`, or `against` for a part of the past that moves along",
        );
        return None;
    }
    let f = Fields::read(node, "what a monitor is compared with", AGAINST_KEYS, sink)?;
    match (f.get("rolling"), f.get("season")) {
        (Some(rolling), None) => {
            f.refuse(&["weeks"], "it belongs to a `season`", sink);
            rolling_days(&f, rolling, base_window, sink).map(Some)
        }
        (None, Some(season)) => {
            f.refuse(&["gap"], "it belongs to `rolling`", sink);
            seasons(&f, season, grain, sink).map(Some)
        }
        _ => {
            sink.note(
                f.place,
                "exactly one of `rolling` (a number of days) and `season` (`hour`, `weekday` or both) is needed; a \
                 fixed window of the past is a baseline",
            );
            None
        }
    }
}

fn rolling_days(f: &Fields, node: &Node, base_window: Grain, sink: &mut Sink) -> Option<Past> {
    let length = fields::seconds(node, sink)?;
    if length % DAY_SECONDS != 0 {
        sink.note(
            node.place,
            "a rolling reference is a number of whole days, such as `28d`",
        );
        return None;
    }
    let gap_seconds = match f.get("gap") {
        None => 0,
        Some(node) => {
            let gap = fields::seconds(node, sink)?;
            let base = if base_window == Grain::Hour {
                3_600
            } else {
                DAY_SECONDS
            };
            if gap % base != 0 {
                sink.note(
                    node.place,
                    format!(
                        "the gap is a multiple of the model's base window, which is {}",
                        base_window.as_str()
                    ),
                );
                return None;
            }
            gap
        }
    };
    Some(Past::Rolling {
        days: u32::try_from(length / DAY_SECONDS).ok()?,
        gap_seconds,
    })
}

fn seasons(f: &Fields, node: &Node, grain: Option<Grain>, sink: &mut Sink) -> Option<Past> {
    let same = fields::items(node, sink, |n, s| {
        fields::word(n, s, "a season", SEASONS).map(|season| (season, n.place))
    })?;
    let weeks = f.optional("weeks", sink, fields::whole(1, MOST_WEEKS));
    if same.is_empty() {
        sink.note(
            node.place,
            format!(
                "a season is the same {} or both, in the weeks before",
                listed(SEASONS.iter().map(|(word, _)| *word))
            ),
        );
        return None;
    }
    let hour = same.iter().find(|(season, _)| *season == Season::Hour);
    match grain {
        Some(Grain::Week | Grain::Month) => {
            sink.note(
                node.place,
                format!(
                    "only windows of {} have a season",
                    listed(GRAINS[..2].iter().map(|(word, _)| *word))
                ),
            );
            return None;
        }
        Some(Grain::Day) => {
            if let Some((_, place)) = hour {
                sink.note(
                    *place,
                    "a window of a day has every hour in it; its season is the `weekday`",
                );
                return None;
            }
        }
        Some(Grain::Hour) | None => {}
    }
    Some(Past::Season {
        weeks: weeks.unwrap_or(DEFAULT_WEEKS),
        same_hour: hour.is_some(),
        same_weekday: same.iter().any(|(season, _)| *season == Season::Weekday),
    })
}

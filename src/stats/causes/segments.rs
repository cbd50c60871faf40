//! Segments in which the loss has changed more than elsewhere, and such as were not there before.

use std::collections::BTreeMap;

use super::decomposition::{Moments, Part};
use super::{FEWEST_ROWS, LabelledRows, NoCauses, bins_of, check};
use crate::stats::contingency::fisher;
use crate::stats::tails::{PValue, normal_two_sided};

/// Rows with this bin of one feature, and of a second one if there are two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Segment {
    /// Feature and bin.
    pub first: (usize, u16),
    pub second: Option<(usize, u16)>,
}

impl Segment {
    fn holds(&self, rows: &LabelledRows, row: usize) -> bool {
        let of = |(feature, bin): (usize, u16)| rows.features[feature][row] == bin;
        of(self.first) && self.second.is_none_or(of)
    }
}

/// A segment in which the loss has risen more than in the rest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SegmentChange {
    pub segment: Segment,
    /// Rows of the window in it, and their share.
    pub rows: u64,
    pub share: f64,
    /// Mean losses.
    pub reference: f64,
    pub current: f64,
    /// By how much more the mean loss has risen here than in the rest.
    pub excess: Part,
    /// What the segment adds to the change of the mean loss over all rows.
    pub contribution: f64,
    /// Of the excess, times the number of segments looked at.
    pub p_value: PValue,
}

/// At most so many segments are looked for: a list longer than that explains nothing.
const MOST_SEGMENTS: usize = 5;
const SIGNIFICANT: f64 = 0.01;

/// Finds the segments of one or two features in which the loss has risen more than in the rest, the clearest first.
///
/// Every bin and every pair of bins with 30 rows on both sides is looked at, and its p-value multiplied by twice the number of
/// those of its kind, so that a pair has to be much clearer than its parts to be named in their place. The rows of a segment that was
/// found are then left out and the rest is searched again, so that nothing is named for what it shares with what was
/// named before. Chance alone names something once in a hundred times.
///
/// # Errors
/// With other features, or fewer than 30 rows on a side.
pub fn find_segments(
    reference: &LabelledRows,
    current: &LabelledRows,
) -> Result<Vec<SegmentChange>, NoCauses> {
    check(reference, current)?;
    let all = current.len() as f64;
    let mut left = [
        (0..reference.len()).collect::<Vec<usize>>(),
        (0..current.len()).collect(),
    ];
    let mut found: Vec<SegmentChange> = Vec::new();
    while found.len() < MOST_SEGMENTS {
        let Some(mut change) = clearest(reference, current, &left) else {
            break;
        };
        change.share = change.rows as f64 / all;
        change.contribution = change.share * (change.current - change.reference);
        left[0].retain(|row| !change.segment.holds(reference, *row));
        left[1].retain(|row| !change.segment.holds(current, *row));
        found.push(change);
    }
    Ok(found)
}

type Cells = BTreeMap<Segment, (Moments, Moments)>;

/// The segment whose corrected p-value is least, if it is significant and for the worse.
fn clearest(
    reference: &LabelledRows,
    current: &LabelledRows,
    left: &[Vec<usize>; 2],
) -> Option<SegmentChange> {
    let total = |side: &LabelledRows, rows: &[usize]| {
        let mut moments = Moments::default();
        for row in rows {
            moments.push(side.losses[*row]);
        }
        moments
    };
    let all = (total(reference, &left[0]), total(current, &left[1]));
    let (singles, pairs) = cells(reference, current, left);
    let mut best: Option<SegmentChange> = None;
    for kind in [singles, pairs] {
        let tested: Vec<_> = (kind.into_iter())
            .filter(|(_, (before, after))| {
                let rest = (all.0.rows - before.rows).min(all.1.rows - after.rows);
                before.rows.min(after.rows).min(rest) >= FEWEST_ROWS
            })
            .collect();
        let tests = (2.0 * tested.len() as f64).ln();
        for (segment, (before, after)) in tested {
            let rest = (all.0.without(&before), all.1.without(&after));
            let rise = |pair: (&Moments, &Moments)| {
                let variance = pair.0.error(all.0.variance()) + pair.1.error(all.1.variance());
                (pair.1.mean() - pair.0.mean(), variance)
            };
            let (own, others) = (rise((&before, &after)), rise((&rest.0, &rest.1)));
            let (excess, variance) = (own.0 - others.0, own.1 + others.1);
            if excess <= 0.0 || variance <= 0.0 {
                continue;
            }
            let p = normal_two_sided(excess / variance.sqrt());
            let Some(p_value) = p.and_then(|p| PValue::from_ln(p.ln() + tests)) else {
                continue;
            };
            if p_value.value() < SIGNIFICANT && best.is_none_or(|best| p_value < best.p_value) {
                best = Some(SegmentChange {
                    segment,
                    rows: after.rows,
                    share: 0.0,
                    reference: before.mean(),
                    current: after.mean(),
                    excess: Part::new(excess, variance),
                    contribution: 0.0,
                    p_value,
                });
            }
        }
    }
    best
}

/// Sums of every bin, and of every pair of bins of two features, over the rows that are left.
fn cells(
    reference: &LabelledRows,
    current: &LabelledRows,
    left: &[Vec<usize>; 2],
) -> (Cells, Cells) {
    let features = reference.features.len();
    let bins: Vec<usize> = (0..features)
        .map(|f| bins_of(reference, current, f))
        .collect();
    let sides = [(reference, &left[0]), (current, &left[1])];
    let (mut singles, mut pairs) = (Cells::new(), Cells::new());
    for a in 0..features {
        let mut own = vec![(Moments::default(), Moments::default()); bins[a]];
        for (side, (rows, left)) in sides.iter().enumerate() {
            for row in *left {
                let cell = &mut own[usize::from(rows.features[a][*row])];
                let cell = if side == 0 { &mut cell.0 } else { &mut cell.1 };
                cell.push(rows.losses[*row]);
            }
        }
        for (bin, cell) in own.into_iter().enumerate() {
            singles.insert(
                Segment {
                    first: (a, bin as u16),
                    second: None,
                },
                cell,
            );
        }
        for b in a + 1..features {
            let mut own = vec![(Moments::default(), Moments::default()); bins[a] * bins[b]];
            for (side, (rows, left)) in sides.iter().enumerate() {
                for row in *left {
                    let (x, y) = (rows.features[a][*row], rows.features[b][*row]);
                    let cell = &mut own[usize::from(x) * bins[b] + usize::from(y)];
                    let cell = if side == 0 { &mut cell.0 } else { &mut cell.1 };
                    cell.push(rows.losses[*row]);
                }
            }
            for (at, cell) in own.into_iter().enumerate() {
                if cell.0.rows.min(cell.1.rows) >= FEWEST_ROWS {
                    let second = Some((b, (at % bins[b]) as u16));
                    pairs.insert(
                        Segment {
                            first: (a, (at / bins[b]) as u16),
                            second,
                        },
                        cell,
                    );
                }
            }
        }
    }
    (singles, pairs)
}

/// A segment that is there on one side and as good as not on the other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Presence {
    pub segment: Segment,
    /// Shares of the rows.
    pub reference: f64,
    pub current: f64,
    /// Fisher's exact test of equal shares, times the number of segments looked at.
    pub p_value: PValue,
}

impl Presence {
    /// New in the window, rather than vanished from it.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.current > self.reference
    }
}

/// A side has a segment as good as not if its share is less than this part of the other's.
const AS_GOOD_AS_NONE: f64 = 0.05;

/// Segments that are new in the window and such as have vanished, the largest first: bins, and pairs of bins of which neither is
/// new or vanished by itself.
///
/// # Errors
/// With other features, or fewer than 30 rows on a side.
pub fn new_and_vanished(
    reference: &LabelledRows,
    current: &LabelledRows,
) -> Result<Vec<Presence>, NoCauses> {
    check(reference, current)?;
    let (n, m) = (reference.len() as u64, current.len() as u64);
    let features = reference.features.len();
    let bins: Vec<usize> = (0..features)
        .map(|f| bins_of(reference, current, f))
        .collect();
    let mut looked_at = 0_usize;
    let mut found: Vec<Presence> = Vec::new();
    let mut look = |counts: &[[u64; 2]], segment: &dyn Fn(usize) -> Segment| {
        for (at, [before, after]) in counts.iter().enumerate() {
            if before + after == 0 {
                continue;
            }
            looked_at += 1;
            let (p, q) = (*before as f64 / n as f64, *after as f64 / m as f64);
            if p.min(q) < AS_GOOD_AS_NONE * p.max(q) {
                found.push(Presence {
                    segment: segment(at),
                    reference: p,
                    current: q,
                    p_value: fisher(*before, n - before, *after, m - after),
                });
            }
        }
    };
    let count = |cells: usize, of: &dyn Fn(&LabelledRows, usize) -> usize| {
        let mut counts = vec![[0_u64; 2]; cells];
        for (side, rows) in [reference, current].into_iter().enumerate() {
            for row in 0..rows.len() {
                counts[of(rows, row)][side] += 1;
            }
        }
        counts
    };
    for (a, own) in bins.iter().enumerate() {
        let of = |rows: &LabelledRows, row: usize| usize::from(rows.features[a][row]);
        look(&count(*own, &of), &|bin| Segment {
            first: (a, bin as u16),
            second: None,
        });
    }
    for a in 0..features {
        for b in a + 1..features {
            let of = |rows: &LabelledRows, row: usize| {
                usize::from(rows.features[a][row]) * bins[b] + usize::from(rows.features[b][row])
            };
            look(&count(bins[a] * bins[b], &of), &|at| Segment {
                first: (a, (at / bins[b]) as u16),
                second: Some((b, (at % bins[b]) as u16)),
            });
        }
    }
    let singles: Vec<Segment> = (found.iter())
        .map(|presence| presence.segment)
        .filter(|segment| segment.second.is_none())
        .collect();
    let tests = (looked_at.max(1) as f64).ln();
    let known = |part: (usize, u16)| {
        singles.contains(&Segment {
            first: part,
            second: None,
        })
    };
    found.retain_mut(|presence| {
        let p = PValue::from_ln(presence.p_value.ln() + tests).unwrap_or(PValue::ONE);
        presence.p_value = p;
        let segment = presence.segment;
        let own = segment
            .second
            .is_none_or(|second| !known(segment.first) && !known(second));
        own && p.value() < SIGNIFICANT
    });
    found.sort_by(|a, b| {
        let size = |of: &Presence| of.reference.max(of.current);
        size(b).total_cmp(&size(a)).then(a.segment.cmp(&b.segment))
    });
    Ok(found)
}

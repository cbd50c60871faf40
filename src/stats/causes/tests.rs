//! Causes that were put in and have to be found, with fixed seeds, and degenerate input.

use super::*;
use crate::stats::random::uniform;

/// Rows of three features with four bins; the first one's bins are drawn with these weights, and a row is wrong with the
/// probability that `wrong` gives for its bins.
fn rows(
    count: usize,
    seed: u64,
    weights: [f64; 4],
    wrong: impl Fn([u16; 3]) -> f64,
) -> LabelledRows {
    let mut random = uniform(seed);
    let mut features = vec![Vec::new(); 3];
    let mut losses = Vec::new();
    for _ in 0..count {
        let mut left = random();
        let first = weights.iter().position(|weight| {
            left -= weight;
            left < 0.0
        });
        let bins = [
            first.unwrap_or(3) as u16,
            (random() * 4.0) as u16,
            (random() * 4.0) as u16,
        ];
        for (feature, bin) in features.iter_mut().zip(bins) {
            feature.push(bin);
        }
        losses.push(f64::from(random() < wrong(bins)));
    }
    LabelledRows::new(features, losses).expect("sound rows")
}

const EVEN: [f64; 4] = [0.25; 4];

fn cells(reference: &LabelledRows, current: &LabelledRows) -> Vec<(Moments, Moments)> {
    let (before, after) = (reference.moments(0, 4), current.moments(0, 4));
    before.into_iter().zip(after).collect()
}

/// The first feature's bins lose 5, 10, 20 and 40 %.
fn by_bin(bins: [u16; 3]) -> f64 {
    [0.05, 0.1, 0.2, 0.4][usize::from(bins[0])]
}

#[test]
fn what_is_no_side_is_refused() {
    use NoCauses::*;
    assert_eq!(
        LabelledRows::new(vec![vec![0]], vec![]),
        Err(DifferentLengths)
    );
    assert_eq!(
        LabelledRows::new(vec![vec![0]], vec![f64::NAN]),
        Err(NotFinite)
    );
    let few = rows(10, 1, EVEN, by_bin);
    let many = rows(100, 1, EVEN, by_bin);
    assert_eq!(find_segments(&few, &many), Err(TooFewRows));
    assert_eq!(rank_features(&many, &few), Err(TooFewRows));
    assert_eq!(decompose(&[]), Err(TooFewRows));
    let other = LabelledRows::new(vec![vec![0; 50]], vec![0.0; 50]).expect("sound");
    assert_eq!(new_and_vanished(&many, &other), Err(DifferentFeatures));
}

#[test]
fn parts_add_up_and_name_the_cause() {
    let reference = rows(20_000, 1, EVEN, by_bin);
    let drifted = rows(10_000, 2, [0.1, 0.1, 0.2, 0.6], by_bin);
    let changed = rows(10_000, 3, EVEN, |bins| by_bin(bins) + 0.1);
    let both = rows(10_000, 4, [0.1, 0.1, 0.2, 0.6], |bins| by_bin(bins) + 0.1);
    for (side, input, concept) in [
        (&drifted, 0.1075, 0.0),
        (&changed, 0.0, 0.1),
        (&both, 0.1075, 0.1),
    ] {
        let of = decompose(&cells(&reference, side)).expect("enough rows");
        let sum = of.input.value + of.concept.value + of.outside.value;
        assert!((sum - of.total.value).abs() < 1e-12, "{of:?}");
        assert!((of.input.value - input).abs() < 0.015, "{of:?}");
        assert!((of.concept.value - concept).abs() < 0.015, "{of:?}");
        assert_eq!(of.outside_share, 0.0);
        let share = of.input_share().expect("a significant change");
        let truth = input / (input + concept);
        assert!(
            share.interval.0 < truth && truth < share.interval.1,
            "{share:?} {truth}"
        );
    }
    let same = decompose(&cells(&reference, &rows(10_000, 5, EVEN, by_bin))).expect("enough");
    assert_eq!(same.input_share(), None);
}

#[test]
fn rows_unlike_any_before_are_a_part_of_their_own() {
    let reference = rows(10_000, 1, [0.5, 0.5, 0.0, 0.0], by_bin);
    let current = rows(10_000, 2, [0.4, 0.4, 0.0, 0.2], by_bin);
    let of = decompose(&cells(&reference, &current)).expect("enough rows");
    assert!(
        (of.outside_share - 0.2).abs() < 0.02 && of.outside.value > 0.05,
        "{of:?}"
    );
    let sum = of.input.value + of.concept.value + of.outside.value;
    assert!((sum - of.total.value).abs() < 1e-12);
    let new = new_and_vanished(&reference, &current).expect("enough rows");
    assert_eq!(
        new.len(),
        1,
        "pairs with a new bin are not named again: {new:?}"
    );
    assert!(new[0].is_new() && new[0].segment.first == (0, 3));
    let gone = new_and_vanished(&current, &reference).expect("enough rows");
    assert!(gone.len() == 1 && !gone[0].is_new());
}

#[test]
fn a_pair_is_new_where_both_of_its_bins_were_known() {
    let reference = rows(8_000, 1, EVEN, by_bin);
    let keep: Vec<usize> = (0..reference.len())
        .filter(|row| (reference.features[0][*row], reference.features[1][*row]) != (1, 2))
        .collect();
    let of = |list: &Vec<u16>| keep.iter().map(|row| list[*row]).collect();
    let without = LabelledRows::new(
        reference.features.iter().map(of).collect(),
        keep.iter().map(|row| reference.losses[*row]).collect(),
    );
    let without = without.expect("sound rows");
    let new = new_and_vanished(&without, &rows(8_000, 7, EVEN, by_bin)).expect("enough rows");
    let pair = Segment {
        first: (0, 1),
        second: Some((1, 2)),
    };
    assert_eq!(new.iter().map(|of| of.segment).collect::<Vec<_>>(), [pair]);
}

#[test]
fn intervals_of_the_parts_hold_the_truth() {
    let weights = [0.15, 0.2, 0.3, 0.35];
    let input: f64 = (weights.iter().zip([0.05, 0.1, 0.2, 0.4]))
        .map(|(w, e)| (w - 0.25) * e)
        .sum();
    let (mut held, runs) = ([0; 2], 200);
    for run in 0..runs {
        let reference = rows(2_000, 2 * run + 1, EVEN, by_bin);
        let current = rows(1_000, 2 * run + 2, weights, |bins| by_bin(bins) + 0.05);
        let of = decompose(&cells(&reference, &current)).expect("enough rows");
        for (held, (part, truth)) in held.iter_mut().zip([(of.input, input), (of.concept, 0.05)]) {
            *held += i32::from(part.interval.0 <= truth && truth <= part.interval.1);
        }
    }
    for held in held {
        let share = f64::from(held) / runs as f64;
        assert!(share >= 0.92, "{share}");
    }
}

#[test]
fn features_are_ranked_by_what_they_explain() {
    let reference = rows(20_000, 1, EVEN, by_bin);
    // Rows move along the first feature, and the second one's last bin goes wrong.
    let current = rows(20_000, 2, [0.15, 0.2, 0.3, 0.35], |bins| {
        by_bin(bins) + if bins[1] == 3 { 0.2 } else { 0.0 }
    });
    let ranked = rank_features(&reference, &current).expect("enough rows");
    let order: Vec<usize> = ranked.iter().map(|cause| cause.feature).collect();
    assert_eq!(order, [1, 0, 2]);
    assert!(
        (ranked[0].unevenness - 0.0866).abs() < 0.02,
        "{:?}",
        ranked[0]
    );
    assert!(
        (ranked[1].input.value - 0.05).abs() < 0.015,
        "{:?}",
        ranked[1]
    );
    assert!(ranked[1].p_value.value() < 1e-6 && ranked[2].p_value.value() > 0.05);
}

#[test]
fn segments_are_found_once_and_chance_finds_none() {
    let reference = rows(20_000, 1, EVEN, by_bin);
    let current = rows(20_000, 2, EVEN, |bins| {
        let pair = bins[1] == 2 && bins[2] == 1;
        by_bin(bins) + if pair { 0.3 } else { 0.0 } + if bins[0] == 0 { 0.1 } else { 0.0 }
    });
    let found = find_segments(&reference, &current).expect("enough rows");
    let segments: Vec<Segment> = found.iter().map(|of| of.segment).collect();
    let pair = Segment {
        first: (1, 2),
        second: Some((2, 1)),
    };
    let single = Segment {
        first: (0, 0),
        second: None,
    };
    assert_eq!(segments.len(), 2, "{found:?}");
    assert!(
        segments.contains(&pair) && segments.contains(&single),
        "{found:?}"
    );
    let of_pair = found.iter().find(|of| of.segment == pair).expect("found");
    assert!((of_pair.excess.value - 0.27).abs() < 0.06, "{of_pair:?}");
    assert!(of_pair.contribution > 0.01 && of_pair.share > 0.03);
    let mut by_chance = 0;
    for run in 0..40 {
        let current = rows(4_000, 100 + run, EVEN, by_bin);
        by_chance += find_segments(&reference, &current)
            .expect("enough rows")
            .len();
    }
    assert!(by_chance <= 2, "{by_chance}");
}

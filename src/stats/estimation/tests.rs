//! Estimates against what labels say in made-up worlds, with fixed seeds, and degenerate input.

use super::label_shift::{JointCounts, LabelShift, NoLabelShift};
use super::*;
use crate::stats::quality::OutcomeValues;
use crate::stats::random::uniform;
use crate::stats::tails::PValue;

const FRESH: (f64, f64) = (0.0, 1.0);

/// Scores that say too little: the truth is their square.
fn scored(count: usize, seed: u64, power: f64) -> Vec<(f64, bool)> {
    let mut random = uniform(seed);
    let mut row = || {
        let score = random().powf(power);
        (score, random() < score * score)
    };
    (0..count).map(|_| row()).collect()
}

fn window(calibration: &Calibration, scored: &[(f64, bool)]) -> ScoreWindow {
    let mut window = ScoreWindow::of(calibration);
    for (score, _) in scored {
        window.push(calibration, *score, *score >= 0.5);
    }
    window
}

#[test]
fn isotonic_pools_what_falls_and_bridges_what_is_empty() {
    let cases: [(&[f64], &[f64], &[f64]); 5] = [
        (&[1.0, 2.0, 3.0], &[1.0, 1.0, 1.0], &[1.0, 2.0, 3.0]),
        (&[3.0, 2.0, 1.0], &[1.0, 1.0, 2.0], &[1.75, 1.75, 1.75]),
        (&[0.0, 9.0, 1.0], &[1.0, 0.0, 1.0], &[0.0, 0.0, 1.0]),
        (&[9.0, 5.0, 1.0], &[0.0, 1.0, 1.0], &[3.0, 3.0, 3.0]),
        (&[], &[], &[]),
    ];
    for (values, weights, expected) in cases {
        assert_eq!(isotonic(values, weights), expected, "{values:?}");
    }
}

#[test]
fn bins_hold_every_number_and_a_threshold_is_an_edge() {
    let bins = ScoreBins::fit(
        &(0..1000).map(|i| f64::from(i) / 1000.0).collect::<Vec<_>>(),
        Some(0.5),
    );
    assert!(bins.of(0.5_f64.next_down()) < bins.of(0.5));
    assert!(bins.of(f64::NEG_INFINITY) == 0 && bins.of(f64::INFINITY) == bins.len() - 1);
    assert!(ScoreBins::fit(&[], None).is_empty());
    let constant = ScoreBins::fit(&[0.3; 100], None);
    assert!(constant.of(0.2) < constant.of(0.3) && constant.of(0.3) < constant.of(0.4));
}

#[test]
fn what_teaches_nothing_is_refused() {
    assert_eq!(Calibration::fit(&[], None), Err(Undefined::NoScores));
    assert_eq!(
        Calibration::fit(&[(f64::NAN, true)], None),
        Err(Undefined::NoScores)
    );
    assert_eq!(
        Calibration::fit(&[(0.5, false)], None),
        Err(Undefined::NoPositives)
    );
    assert_eq!(
        Calibration::fit(&[(0.5, true)], None),
        Err(Undefined::NoNegatives)
    );
    let known = Calibration::fit(&scored(1_000, 1, 1.0), None).expect("both classes");
    let other = Calibration::fit(&scored(5_000, 1, 1.0), None).expect("both classes");
    let mut counted = window(&other, &scored(10, 2, 1.0));
    assert!(BinaryEstimates::new(&known, &counted, None, FRESH).is_err());
    assert!(counted.merge(&ScoreWindow::of(&known)).is_err());
    let empty = BinaryEstimates::new(&known, &ScoreWindow::of(&known), None, FRESH).expect("bins");
    assert_eq!(empty.accuracy(), Err(Undefined::NoOutcomes));
    assert_eq!(empty.precision(), Err(Undefined::NoPredictedPositives));
    assert_eq!(empty.recall(), Err(Undefined::NoPositives));
    assert_eq!(empty.roc_auc(), Err(Undefined::NoPositives));
    assert_eq!(empty.f1(), Err(Undefined::NeitherLabelledNorPredicted));
    let worth = OutcomeValues {
        true_positive: 1.0,
        false_positive: 0.0,
        true_negative: 0.0,
        false_negative: 0.0,
    };
    assert_eq!(
        empty.value_per_prediction(worth),
        Err(Undefined::NoOutcomes)
    );
}

#[test]
fn a_calibration_and_its_windows_survive_storage_and_merge() {
    let calibration = Calibration::fit(&scored(4_000, 3, 1.0), Some(0.5)).expect("both classes");
    let text = serde_json::to_string(&calibration).expect("numbers");
    let back: Calibration = serde_json::from_str(&text).expect("a calibration");
    assert!(back == calibration && back.is_readable());
    let rows = scored(900, 4, 1.3);
    let mut parts = window(&calibration, &rows[..300]);
    parts
        .merge(&window(&calibration, &rows[300..]))
        .expect("the same bins");
    assert_eq!(parts, window(&calibration, &rows));
    assert_eq!(parts.rows(), 900);
}

#[test]
fn intervals_hold_what_the_labels_say_under_covariate_shift() {
    let (mut held, mut runs) = (0, 0);
    for reference in 0..10 {
        let calibration =
            Calibration::fit(&scored(8_000, reference + 1, 1.0), Some(0.5)).expect("both");
        for run in 0..20 {
            let rows = scored(1_000, 1_000 * (reference + 1) + run, 0.6);
            let of = BinaryEstimates::new(&calibration, &window(&calibration, &rows), None, FRESH);
            let estimated = of.expect("the same bins").accuracy().expect("rows");
            let right = rows
                .iter()
                .filter(|(score, y)| (*score >= 0.5) == *y)
                .count();
            let right = right as f64 / rows.len() as f64;
            held += i32::from((estimated.interval.0..=estimated.interval.1).contains(&right));
            runs += 1;
        }
    }
    let share = f64::from(held) / f64::from(runs);
    assert!((0.92..=0.99).contains(&share), "{share}");
}

#[test]
fn estimates_say_when_not_to_lean_on_them() {
    // Scores up to one half were seen; the window has others.
    let seen: Vec<(f64, bool)> = scored(20_000, 1, 1.0)
        .into_iter()
        .filter(|(score, _)| *score < 0.5)
        .collect();
    let calibration = Calibration::fit(&seen, None).expect("both classes");
    let of = |rows: &[(f64, bool)], age: f64| {
        let counted = window(&calibration, rows);
        let of = BinaryEstimates::new(&calibration, &counted, None, (age, 100.0));
        of.expect("the same bins").trust().clone()
    };
    assert_eq!(of(&seen, 100.0), vec![]);
    assert_eq!(
        of(&seen, 101.0),
        vec![Distrust::OldCalibration { age: 101.0 }]
    );
    let outside = of(&scored(5_000, 2, 1.0), 0.0);
    assert!(
        matches!(outside[..], [Distrust::OffSupport { share }] if share > 0.4),
        "{outside:?}"
    );
}

#[test]
fn a_reference_that_changes_within_itself_is_called_miscalibrated() {
    // Every other row follows another law, so neither half calibrates the other.
    let mut rows = scored(20_000, 5, 1.0);
    assert!(
        Calibration::fit(&rows, None)
            .expect("both")
            .miscalibration()
            .is_none()
    );
    for row in rows.iter_mut().step_by(2) {
        row.1 = !row.1;
    }
    assert!(
        Calibration::fit(&rows, None)
            .expect("both")
            .miscalibration()
            .is_some()
    );
}

#[test]
fn several_classes_are_estimated_from_rows() {
    let mut random = uniform(9);
    let mut draw = || {
        let raw = [random(), random(), random()].map(|u| u * u + 0.01);
        let sum: f64 = raw.iter().sum();
        let row: Vec<f64> = raw.iter().map(|p| p / sum).collect();
        // What is said is less sure than what is so.
        let truth: Vec<f64> = row.iter().map(|p| p.powf(1.5)).collect();
        let mut left = random() * truth.iter().sum::<f64>();
        let label = truth.iter().position(|p| {
            left -= p;
            left < 0.0
        });
        (row, label.unwrap_or(2))
    };
    let rows: Vec<(Vec<f64>, usize)> = (0..9_000).map(|_| draw()).collect();
    let calibration = ClassCalibration::fit(&rows[..6_000], 3).expect("all classes");
    let highest = |row: &[f64]| {
        (0..3)
            .max_by(|a, b| row[*a].total_cmp(&row[*b]))
            .expect("three classes")
    };
    let mut counted = ClassWindow::of(&calibration);
    let mut half = ClassWindow::of(&calibration);
    for (at, (row, _)) in rows[6_000..].iter().enumerate() {
        let into = if at % 2 == 0 { &mut counted } else { &mut half };
        into.push(&calibration, row, highest(row), None);
    }
    counted.merge(&half).expect("the same bins");
    counted.push(&calibration, &[f64::NAN, 0.5, 0.5], 1, None);
    assert_eq!(counted.rows(), 3_000);
    let of = ClassEstimates::new(&calibration, &counted, FRESH).expect("the same bins");
    let right = rows[6_000..]
        .iter()
        .filter(|(row, label)| highest(row) == *label)
        .count();
    let right = right as f64 / 3_000.0;
    let accuracy = of.accuracy().expect("rows");
    assert!(
        accuracy.interval.0 < right && right < accuracy.interval.1,
        "{accuracy:?} {right}"
    );
    let all: f64 = (0..9).map(|at| of.count(at / 3, at % 3)).sum();
    assert!((all - 3_000.0).abs() < 1e-6 && of.trust().is_empty());
    for measure in [
        of.precision(),
        of.recall(),
        of.specificity(),
        of.f1(),
        of.roc_auc(),
    ] {
        let Estimated { value, interval } = measure.expect("all classes");
        assert!(
            interval.0 <= value && value <= interval.1 && value > 0.4,
            "{value}"
        );
    }
    assert_eq!(
        ClassCalibration::fit(&rows, 4).err(),
        Some(Undefined::ClassWithoutLabels)
    );
    assert_eq!(
        ClassCalibration::fit(&rows, 1).err(),
        Some(Undefined::BadParameter)
    );
    let empty = ClassEstimates::new(&calibration, &ClassWindow::of(&calibration), FRESH);
    assert_eq!(empty.expect("bins").accuracy(), Err(Undefined::NoOutcomes));
}

#[test]
fn label_shift_is_found_corrected_and_told_from_other_shifts() {
    let reference = scored(20_000, 1, 1.0);
    let calibration = Calibration::fit(&reference, Some(0.5)).expect("both classes");
    let group = |score: f64| (score * 8.0) as usize;
    let mut joint = JointCounts::new(8, 2);
    for (score, label) in &reference {
        joint.push(group(*score), usize::from(*label));
    }
    // Two thirds of the negatives are gone.
    let mut random = uniform(3);
    let shifted: Vec<(f64, bool)> = scored(12_000, 2, 1.0)
        .into_iter()
        .filter(|(_, y)| *y || random() < 1.0 / 3.0)
        .collect();
    let days = |rows: &[(f64, bool)]| -> Vec<Vec<u64>> {
        let chunks = rows.chunks(rows.len().div_ceil(8));
        chunks
            .map(|day| {
                let mut counts = vec![0; 8];
                day.iter().for_each(|(score, _)| counts[group(*score)] += 1);
                counts
            })
            .collect()
    };
    let shift = LabelShift::estimate(&joint, &days(&shifted)).expect("separated");
    let truth = shifted.iter().filter(|(_, y)| *y).count() as f64 / shifted.len() as f64;
    assert!(
        (shift.shares[1] - truth).abs() < 3.0 * shift.errors[1],
        "{shift:?} {truth}"
    );
    assert!(shift.errors[1] < 0.03 && !shift.is_clipped);
    assert!(
        shift.is_pure.is_some_and(|p| p.value() > 0.001),
        "{shift:?}"
    );
    let counted = window(&calibration, &shifted);
    let right = shifted
        .iter()
        .filter(|(score, y)| (*score >= 0.5) == *y)
        .count();
    let right = right as f64 / shifted.len() as f64;
    let error = |shift: Option<&LabelShift>| {
        let of = BinaryEstimates::new(&calibration, &counted, shift, FRESH).expect("bins");
        (of.accuracy().expect("rows").value - right).abs()
    };
    assert!(
        error(Some(&shift)) < error(None) / 2.0,
        "{} {}",
        error(Some(&shift)),
        error(None)
    );
    let covariate = LabelShift::estimate(&joint, &days(&scored(8_000, 7, 0.4)));
    assert!(
        covariate
            .expect("separated")
            .is_pure
            .is_some_and(|p| p.value() < 1e-6)
    );
    let sum: f64 = shift.corrected(&[0.5, 0.5]).iter().sum();
    assert!((sum - 1.0).abs() < 1e-12);
}

#[test]
fn groups_that_are_empty_on_both_sides_do_not_make_a_shift_look_pure() {
    // Four scores, in four groups or among ten.
    let rows = [[900, 100], [700, 300], [300, 700], [100, 900]];
    let purity = |groups: usize, places: [usize; 4], window: [u64; 4]| {
        let mut joint = JointCounts::new(groups, 2);
        let mut counts = vec![0; groups];
        for ((place, of_group), count) in places.into_iter().zip(rows).zip(window) {
            counts[place] = count;
            for (class, rows) in of_group.into_iter().enumerate() {
                (0..rows).for_each(|_| joint.push(place, class));
            }
        }
        let shift = LabelShift::estimate(&joint, &[counts]).expect("separated");
        shift.is_pure.map(PValue::value)
    };
    let impure = [300, 215, 215, 300];
    let alone = purity(4, [0, 1, 2, 3], impure).expect("more groups than classes");
    let among = purity(10, [1, 3, 6, 8], impure).expect("more groups than classes");
    assert!((alone - among).abs() < 1e-6, "{alone} {among}");
    assert!(alone < 0.01, "{alone}");
    // Two groups are met by two classes whatever they are.
    let mut two = JointCounts::new(10, 2);
    for (group, class, rows) in [(2, 0, 800), (2, 1, 200), (7, 0, 200), (7, 1, 800)] {
        (0..rows).for_each(|_| two.push(group, class));
    }
    let window = vec![0, 0, 300, 0, 0, 0, 0, 700, 0, 0];
    let shift = LabelShift::estimate(&two, &[window]).expect("separated");
    assert_eq!(shift.is_pure, None);
}

/// Solves `C w = μ` for three classes by Cramer's rule.
fn solved(c: [[f64; 3]; 3], mu: [f64; 3]) -> [f64; 3] {
    let determinant = |m: [[f64; 3]; 3]| {
        m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1])
            - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
            + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
    };
    [0, 1, 2].map(|class| {
        let mut replaced = c;
        for group in 0..3 {
            replaced[group][class] = mu[group];
        }
        determinant(replaced) / determinant(c)
    })
}

#[test]
fn the_shares_of_three_classes_are_those_of_the_equations_solved_directly() {
    // By prediction, then by class.
    let confusion = [[400_u64, 60, 20], [50, 250, 30], [10, 40, 140]];
    let mut joint = JointCounts::new(3, 3);
    for (group, classes) in confusion.iter().enumerate() {
        for (class, count) in classes.iter().enumerate() {
            (0..*count).for_each(|_| joint.push(group, class));
        }
    }
    let window = [500_u64, 1_100, 1_400];
    let shift = LabelShift::estimate(&joint, &[window.to_vec()]).expect("separated");
    let direct = solved(
        confusion.map(|row| row.map(|count| count as f64 / 1_000.0)),
        window.map(|count| count as f64 / 3_000.0),
    );
    for (class, expected) in direct.iter().enumerate() {
        let found = shift.ratios()[class];
        assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        let before: u64 = confusion.iter().map(|row| row[class]).sum();
        assert!((shift.before[class] - before as f64 / 1_000.0).abs() < 1e-12);
        assert!((shift.shares[class] - expected * shift.before[class]).abs() < 1e-9);
    }
    assert!((shift.shares.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    assert!(!shift.is_clipped && shift.is_pure.is_none());

    // Its errors are those of windows drawn again and again: three of four shares within one, nearly all within three.
    let mut random = uniform(21);
    let mut redrawn = vec![Vec::new(); 3];
    for _ in 0..300 {
        let mut again = JointCounts::new(3, 3);
        let mut draw = |weights: &[f64]| {
            let mut left = random() * weights.iter().sum::<f64>();
            let place = weights.iter().position(|weight| {
                left -= weight;
                left < 0.0
            });
            place.unwrap_or(weights.len() - 1)
        };
        let cells: Vec<f64> = confusion
            .iter()
            .flatten()
            .map(|count| *count as f64)
            .collect();
        for _ in 0..1_000 {
            let cell = draw(&cells);
            again.push(cell / 3, cell % 3);
        }
        let mut counts = vec![0; 3];
        (0..3_000).for_each(|_| counts[draw(&window.map(|count| count as f64))] += 1);
        let found = LabelShift::estimate(&again, &[counts]).expect("separated");
        for (all, share) in redrawn.iter_mut().zip(&found.shares) {
            all.push(*share);
        }
    }
    for (class, shares) in redrawn.iter().enumerate() {
        let mean = shares.iter().sum::<f64>() / 300.0;
        let spread = shares
            .iter()
            .map(|share| (share - mean).powi(2))
            .sum::<f64>()
            / 299.0;
        let ratio = spread.sqrt() / shift.errors[class];
        assert!((0.8..1.25).contains(&ratio), "class {class}: {ratio}");
    }
}

#[test]
fn three_classes_whose_shares_have_changed_are_estimated_anew() {
    let row = |random: &mut dyn FnMut() -> f64, shares: [f64; 3]| {
        let mut left = random();
        let label = shares.iter().position(|share| {
            left -= share;
            left < 0.0
        });
        let label = label.unwrap_or(2);
        // Some evidence for the class it is of, and noise for the others.
        let raw = [0, 1, 2].map(|class| {
            let noise = random() * random();
            if class == label {
                noise + 0.3
            } else {
                noise + 0.05
            }
        });
        let sum: f64 = raw.iter().sum();
        (raw.map(|p| p / sum).to_vec(), label)
    };
    let mut random = uniform(31);
    let reference: Vec<_> = (0..12_000)
        .map(|_| row(&mut random, [0.6, 0.3, 0.1]))
        .collect();
    let shifted: Vec<_> = (0..8_000)
        .map(|_| row(&mut random, [0.2, 0.2, 0.6]))
        .collect();
    let highest = |row: &[f64]| {
        (0..3)
            .max_by(|a, b| row[*a].total_cmp(&row[*b]))
            .expect("three classes")
    };
    let calibration = ClassCalibration::fit(&reference, 3).expect("all classes");
    let mut joint = JointCounts::new(3, 3);
    for (row, label) in &reference {
        joint.push(highest(row), *label);
    }
    let mut counts = vec![0; 3];
    shifted
        .iter()
        .for_each(|(row, _)| counts[highest(row)] += 1);
    let shift = LabelShift::estimate(&joint, &[counts]).expect("separated");
    for (class, share) in [0.2, 0.2, 0.6].iter().enumerate() {
        let away = (shift.shares[class] - share).abs();
        assert!(away < 4.0 * shift.errors[class], "{shift:?}");
    }
    let estimated = |shift: Option<&LabelShift>| {
        let mut window = ClassWindow::of(&calibration);
        for (row, _) in &shifted {
            window.push(&calibration, row, highest(row), shift);
        }
        let of = ClassEstimates::new(&calibration, &window, FRESH).expect("the same bins");
        of.accuracy().expect("rows").value
    };
    let right = shifted
        .iter()
        .filter(|(row, label)| highest(row) == *label)
        .count();
    let right = right as f64 / shifted.len() as f64;
    let (plain, corrected) = (estimated(None), estimated(Some(&shift)));
    assert!(
        (corrected - right).abs() < 0.01 && (plain - right).abs() > 2.0 * (corrected - right).abs(),
        "{plain} {corrected} {right}"
    );
}

#[test]
fn label_shift_is_refused_where_it_cannot_be_told() {
    let mut blind = JointCounts::new(2, 2);
    for row in 0..1_000 {
        // The prediction has nothing to do with the class.
        blind.push(row % 2, row / 2 % 2);
    }
    let refused = LabelShift::estimate(&blind, &[vec![500, 500]]);
    assert!(matches!(refused, Err(NoLabelShift::NotSeparated(least)) if least < 0.05));
    let mut sharp = JointCounts::new(2, 2);
    for row in 0..1_000 {
        sharp.push(row % 2, row % 2);
    }
    let of = |days: &[Vec<u64>]| LabelShift::estimate(&sharp, days).err();
    assert_eq!(of(&[vec![10, 10]]), Some(NoLabelShift::TooFewRows(50)));
    assert_eq!(of(&[vec![10, 10, 10]]), Some(NoLabelShift::DifferentGroups));
    assert_eq!(of(&[vec![900, 100]]), None);
    let mut one = JointCounts::new(2, 2);
    one.push(0, 0);
    let refused = LabelShift::estimate(&one, &[vec![500, 500]]);
    assert_eq!(refused, Err(NoLabelShift::ClassWithoutLabels));
}

/// Errors whose size depends on the first two of four columns.
fn hard_rows(count: usize, seed: u64, tilt: f64) -> (Vec<Column>, Vec<f64>) {
    let mut random = uniform(seed);
    let (mut x, mut kind, mut noise, mut gaps) = (vec![], vec![], vec![], vec![]);
    let mut errors = Vec::new();
    for _ in 0..count {
        let (u, code) = (random().powf(tilt), (random() * 5.0) as u32);
        let size = 1.0 + 4.0 * u + if code == 3 { 5.0 } else { 0.0 };
        errors.push(size * (random() * 2.0 - 1.0));
        x.push(u);
        kind.push(code);
        noise.push(random());
        gaps.push(if random() < 0.3 { f64::NAN } else { random() });
    }
    let columns = vec![
        Column::Numbers(x),
        Column::Categories(kind),
        Column::Numbers(noise),
        Column::Numbers(gaps),
    ];
    (columns, errors)
}

#[test]
fn losses_are_estimated_from_the_features_that_make_them() {
    let (columns, errors) = hard_rows(6_000, 1, 1.0);
    let options = BoostingOptions {
        trees: 60,
        rate: 0.1,
        ..BoostingOptions::default()
    };
    let model = LossModel::fit(&columns, &errors, &options).expect("enough rows");
    assert!(model.trees() >= 10, "{}", model.trees());
    let (shifted, truths) = hard_rows(4_000, 2, 0.3);
    let mut window = model.table().window();
    model.count(&mut window, &shifted).expect("the same bins");
    let of = model.table().estimate(&window, FRESH).expect("rows");
    let n = truths.len() as f64;
    let mae = truths.iter().map(|e| e.abs()).sum::<f64>() / n;
    let mean_before = errors.iter().map(|e| e.abs()).sum::<f64>() / errors.len() as f64;
    assert!(mae > mean_before + 0.4, "the shift makes rows harder");
    assert!(
        of.mean.interval.0 < mae && mae < of.mean.interval.1,
        "{of:?} {mae}"
    );
    let rmse = (truths.iter().map(|e| e * e).sum::<f64>() / n).sqrt();
    let root = of.root_mean_square();
    assert!((root.value - rmse).abs() < 0.15, "{root:?} {rmse}");
    // The same rows and options give the same model, and storage changes nothing.
    assert_eq!(
        model,
        LossModel::fit(&columns, &errors, &options).expect("enough rows")
    );
    let text = serde_json::to_string(&model).expect("numbers");
    assert_eq!(
        serde_json::from_str::<LossModel>(&text).expect("a model"),
        model
    );
    let reference: u64 = model.table().reference().iter().map(|cell| cell.rows).sum();
    assert_eq!(reference, 6_000);
    assert!(model.moments(&shifted, &truths[1..]).is_err());
}

#[test]
fn boosting_stops_where_there_is_nothing_to_learn() {
    let (columns, _) = hard_rows(2_000, 1, 1.0);
    let flat = LossModel::fit(&columns, &[2.0; 2_000], &BoostingOptions::default()).expect("rows");
    assert_eq!(flat.trees(), 0);
    assert!(flat.predict(&columns).iter().all(|loss| *loss == 2.0));
    let options = BoostingOptions::default();
    assert!(Boosting::fit(&columns, &[], &options).is_none());
    assert!(Boosting::fit(&columns, &[f64::NAN; 2_000], &options).is_none());
    let model = Boosting::fit(&columns, &[1.0; 2_000], &options).expect("rows");
    assert!(model.is_readable() && model.predict(&[], 10).is_empty());
    // A column that has become text, and a category nobody has seen, count as missing.
    let other = vec![
        Column::Categories(vec![7]),
        Column::Categories(vec![99]),
        Column::Numbers(vec![f64::NAN]),
        Column::Numbers(vec![f64::INFINITY]),
    ];
    assert_eq!(model.predict(&other, 10), [1.0]);
    assert!(LossModel::fit(&columns, &[1.0; 100], &options).is_err());
}

#[test]
fn a_table_of_losses_draws_thin_bins_to_the_mean() {
    let rows: Vec<(usize, [f64; 2])> = (0..1_000)
        .map(|i| (usize::from(i >= 995), [1.0 + f64::from(i % 2), 1.0]))
        .collect();
    let table = LossTable::fit(&rows, 3).expect("sound");
    let only = |bin: usize| {
        let mut window = table.window();
        (0..100).for_each(|_| window.push(bin).expect("a bin"));
        table.estimate(&window, FRESH).expect("rows")
    };
    let (common, empty) = (only(0), only(2));
    assert!((common.mean.value - 1.5).abs() < 0.01 && common.trust.is_empty());
    assert!((empty.mean.value - 1.5).abs() < 1e-9);
    assert_eq!(empty.trust, vec![Distrust::OffSupport { share: 1.0 }]);
    assert!(
        empty.mean.interval.1 - empty.mean.interval.0
            > common.mean.interval.1 - common.mean.interval.0
    );
    assert!(table.window().push(3).is_err());
    assert_eq!(
        table.estimate(&table.window(), FRESH),
        Err(Undefined::NoOutcomes)
    );
    assert!(LossTable::fit(&[], 3).is_err() && LossTable::fit(&[(3, [1.0; 2])], 3).is_err());
    assert!(LossTable::fit(&[(0, [-1.0, 1.0])], 3).is_err());
}

fn compared(estimated: f64, realised: f64) -> Compared {
    Compared {
        estimated: Estimated {
            value: estimated,
            interval: (estimated - 0.02, estimated + 0.02),
        },
        realised,
    }
}

#[test]
fn reliability_is_what_the_last_windows_say() {
    let mut of = Reliability::default();
    assert_eq!((of.within(5), of.coverage(5)), (None, None));
    assert_eq!(of.concept_change(0.0), ConceptChange::Unknown);
    for realised in [0.70, 0.79, 0.81, 0.805] {
        of.push(compared(0.8, realised));
    }
    of.push(compared(f64::NAN, 0.8));
    let (within, windows) = of.within(3).expect("windows");
    assert!((within - 0.01).abs() < 1e-12 && windows == 3);
    assert_eq!((of.streak(0.02), of.coverage(4)), (3, Some(0.75)));
    assert!((of.mean_absolute_error(2).expect("windows") - 0.0075).abs() < 1e-12);
    assert_eq!(of.concept_change(0.0), ConceptChange::Agrees);
    let text = serde_json::to_string(&of).expect("numbers");
    assert_eq!(
        serde_json::from_str::<Reliability>(&text).expect("windows"),
        of
    );
}

#[test]
fn an_estimate_that_stays_off_is_called_blinded() {
    let mut of = Reliability::default();
    of.push(compared(0.8, 0.8));
    of.push(compared(0.8, 0.75));
    assert!(
        matches!(of.concept_change(0.0), ConceptChange::Off { by } if (by - 0.05).abs() < 1e-12)
    );
    of.push(compared(0.8, 0.71));
    assert!(
        matches!(of.concept_change(0.0), ConceptChange::Blinded { windows: 2, by } if (by - 0.07).abs() < 1e-12)
    );
    // Off the other way is another matter.
    of.push(compared(0.8, 0.85));
    assert!(matches!(of.concept_change(0.0), ConceptChange::Off { by } if by < 0.0));
}

#[test]
fn what_is_off_no_further_than_it_is_wont_to_be_is_not_blinded() {
    let mut of = Reliability::default();
    // The standard error is said to be 0.0102 and is four times that.
    for at in 0..12 {
        let away = if at % 2 == 0 { 0.04 } else { -0.04 };
        of.push(compared(0.8, 0.8 + away));
    }
    for realised in [0.75, 0.74] {
        of.push(compared(0.8, realised));
    }
    assert_eq!(of.concept_change(0.0), ConceptChange::Agrees);
    for realised in [0.70, 0.69] {
        of.push(compared(0.8, realised));
    }
    assert!(matches!(
        of.concept_change(0.0),
        ConceptChange::Blinded { windows: 2, .. }
    ));
    assert_eq!(of.concept_change(0.2), ConceptChange::Agrees);
}

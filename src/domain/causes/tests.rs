//! Losses that were put in and have to be told as what they are.

use super::*;
use crate::domain::columns::Value;
use crate::stats::thinning::mixed;

/// A number from 0 to 1 that is different for each row and column, and the same in each run.
fn chance(row: u64, column: u64) -> f64 {
    (mixed(row.wrapping_mul(31) ^ mixed(column)) % 1_000_000) as f64 / 1e6
}

/// Rows with a route of three, a distance, and an error that grows with the distance and by `more` of the row.
fn side(rows: u64, seed: u64, long: f64, more: impl Fn(&str, f64) -> f64) -> Side {
    let routes = ["north", "south", "west"];
    let (mut route, mut distance, mut losses, mut times) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for row in 0..rows {
        let row = row + seed * 1_000_000;
        let of = routes[(mixed(row) % 3) as usize];
        let is_long = chance(row, 1) < long;
        let far = 100.0 + 900.0 * (f64::from(u8::from(is_long)) + chance(row, 2)) / 2.0;
        route.push(of);
        distance.push(far);
        losses.push(far / 100.0 * chance(row, 3) * 2.0 + more(of, far));
        times.push(i64::try_from(row).ok());
    }
    Side {
        columns: vec![
            Column::of("distance", distance.into_iter().map(Value::Number)),
            Column::of("route", route.into_iter().map(|r| Value::Text(r.into()))),
        ],
        losses,
        times,
    }
}

fn compared(side: &Side) -> Compared {
    let at = DateTime::<Utc>::UNIX_EPOCH;
    let rows = side.losses.len() as u64;
    Compared {
        from: at,
        to: at,
        predictions: rows * 2,
        labelled: rows,
        compared: rows,
        mean_loss: (rows > 0).then(|| side.losses.iter().sum::<f64>() / rows as f64),
    }
}

fn report(reference: &Side, current: &Side) -> CauseReport {
    let setting = Setting {
        model: "air-time".to_owned(),
        version: "v1".to_owned(),
        unit: "minutes".to_owned(),
        loss: LossKind::AbsoluteError,
        reference: compared(reference),
        current: compared(current),
        notes: Vec::new(),
    };
    find(setting, reference, current)
}

#[test]
fn more_difficult_rows_are_input_drift_and_the_feature_is_named() {
    let (before, after) = (
        side(4_000, 1, 0.3, |_, _| 0.0),
        side(2_000, 2, 0.9, |_, _| 0.0),
    );
    let told = report(&before, &after);
    assert_eq!(told.outcome, Outcome::Lost, "{told:?}");
    let share = told
        .change
        .and_then(|change| change.input_share)
        .expect("a share");
    assert!(share.value > 0.8 && share.low > 0.5, "{share:?}");
    assert!(
        told.summary[0].contains("mostly input drift") && told.summary[0].contains("minutes"),
        "{:?}",
        told.summary
    );
    assert_eq!(told.features[0].feature, "distance", "{:?}", told.features);
    assert!(
        told.features
            .iter()
            .all(|feature| feature.feature != "route")
    );
}

#[test]
fn other_answers_on_one_route_are_concept_change_and_the_segment_is_named() {
    let more = |route: &str, _: f64| if route == "west" { 3.0 } else { 0.0 };
    let (before, after) = (side(4_000, 1, 0.3, |_, _| 0.0), side(2_000, 2, 0.3, more));
    let told = report(&before, &after);
    assert_eq!(told.outcome, Outcome::Lost, "{told:?}");
    assert!(
        told.summary[0].contains("mostly concept change"),
        "{:?}",
        told.summary
    );
    assert_eq!(
        told.segments[0].segment, "route = west",
        "{:?}",
        told.segments
    );
    assert!(
        told.summary
            .iter()
            .any(|text| text.starts_with("It is worst where route = west")),
        "{:?}",
        told.summary
    );
    assert_eq!(told.features[0].feature, "route");
}

#[test]
fn a_route_that_was_not_there_before_is_new() {
    let before = side(4_000, 1, 0.3, |_, _| 0.0);
    let mut after = side(2_000, 2, 0.3, |_, _| 0.0);
    let routes: Vec<Value<'_>> = (0..2_000)
        .map(|row| Value::Text(if row % 4 == 0 { "east" } else { "north" }.into()))
        .collect();
    after.columns[1] = Column::of("route", routes);
    let told = report(&before, &after);
    let of = |segments: &[PresentSegment]| {
        let names: Vec<String> = segments.iter().map(|s| s.segment.clone()).collect();
        names
    };
    assert_eq!(of(&told.new_segments), ["route = east"]);
    assert_eq!(
        of(&told.vanished_segments),
        ["route = south", "route = west"]
    );
}

#[test]
fn the_same_rows_again_have_lost_nothing() {
    let (before, after) = (
        side(4_000, 1, 0.3, |_, _| 0.0),
        side(2_000, 2, 0.3, |_, _| 0.0),
    );
    let told = report(&before, &after);
    assert_eq!(told.outcome, Outcome::NoLoss, "{told:?}");
    assert!(told.summary[0].contains("labels show no loss of quality"));
    assert_eq!((told.features, told.segments), (Vec::new(), Vec::new()));
    let better = report(&after.clone(), &side(2_000, 3, 0.0, |_, _| -1.0));
    assert_eq!(better.outcome, Outcome::Improved);
}

#[test]
fn too_few_labels_are_counted_out() {
    let (before, after) = (side(400, 1, 0.3, |_, _| 0.0), side(40, 2, 0.3, |_, _| 0.0));
    let told = report(&before, &after);
    assert_eq!((told.outcome, told.change), (Outcome::TooFewLabels, None));
    let text = told.summary.join(" ");
    assert!(
        text.contains("The window has 40 labelled predictions of 80; at least 100"),
        "{text}"
    );
    assert!(
        text.contains("The reference has 400 labelled predictions of 800; at least 500"),
        "{text}"
    );
    let none = report(&before, &Side::default());
    assert_eq!(none.outcome, Outcome::TooFewLabels);
}

#[test]
fn the_loss_fits_the_measure_the_alert_is_about() {
    for (task, measure, expected) in [
        (Task::Regression, None, LossKind::AbsoluteError),
        (
            Task::Regression,
            Some(Measure::Rmse),
            LossKind::SquaredError,
        ),
        (Task::Binary, Some(Measure::RocAuc), LossKind::Brier),
        (Task::Binary, Some(Measure::F1), LossKind::Wrong),
        (Task::Multiclass, Some(Measure::LogLoss), LossKind::Wrong),
    ] {
        assert_eq!(LossKind::of(task, measure), expected, "{measure:?}");
    }
}

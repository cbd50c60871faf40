//! Reads what objective monitors and estimate monitors are told.

use super::fields::{self, Fields};
use super::problem::Sink;
use super::yaml::Node;
use crate::domain::model::Task;
use crate::domain::objective::ObjectiveChoice;

/// The keys that only an objective monitor has.
pub(super) const OBJECTIVE_KEYS: &[&str] = &["objective", "right_within"];

/// What an objective monitor of a model with that task holds labels against.
pub(super) fn objective(
    f: &Fields,
    task: Option<Task>,
    sink: &mut Sink,
) -> Option<ObjectiveChoice> {
    let share = f.required("objective", sink, objective_share);
    let right_within = f.optional("right_within", sink, fields::positive);
    match task {
        Some(Task::Regression) if f.get("right_within").is_none() => sink.note(
            f.place,
            "an objective of numbers needs `right_within`: how near to its label a number is right",
        ),
        Some(Task::Binary | Task::Multiclass) => {
            f.refuse(&["right_within"], "only numbers have a distance", sink);
        }
        Some(Task::Ranking | Task::Forecast) => sink.note(
            f.place,
            "a ranking or a forecast is not right or wrong by itself: there is no objective of these",
        ),
        _ => {}
    }
    Some(ObjectiveChoice {
        share: share?,
        right_within,
    })
}

fn objective_share(node: &Node, sink: &mut Sink) -> Option<f64> {
    let share = fields::share(node, sink)?;
    if !(LEAST_OBJECTIVE..1.0).contains(&share) {
        sink.note(
            node.place,
            format!("a share from {LEAST_OBJECTIVE} to below 1 is expected, such as 0.99: an objective without errors has no budget"),
        );
        return None;
    }
    Some(share)
}

/// Where more than half may be wrong, nothing burns fourteen times as fast.
const LEAST_OBJECTIVE: f64 = 0.5;

/// What an estimate is learnt from.
pub(super) fn note_what_estimates_need(f: &Fields, task: Option<Task>, sink: &mut Sink) {
    if let Some(Task::Ranking | Task::Forecast) = task {
        sink.note(
            f.place,
            "rankings and forecasts cannot be judged before their labels: there is no estimate of these",
        );
    }
    if f.get("baseline").is_none() {
        sink.note(
            f.place,
            "an estimate monitor needs a `baseline` with labels: what scores and features have meant",
        );
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::definitions::{SourceFile, parse};
    use crate::domain::model::Task;

    const SOUND: &str = "\
models:
  - name: fares
    task: regression
    baselines:
      training: {file: training.csv}
      reference: {from: 2026-01-01, to: 2026-02-01}
    monitors:
      - name: quality
        kind: quality
        window: day
        baseline: reference
        measures: [mae, error_rate_sequential, loss_sequential]
        sequential: {run_length: 50000, tolerance: 0.01, right_within: 5, loss_cap: 60}
      - {name: promise, kind: objective, window: hour, objective: 0.9, right_within: 5}
      - {name: outlook, kind: estimate, window: week, baseline: reference, tolerance: 0.2}
rules:
  - name: worse
    model: fares
    title: Worse
    severity: critical
    when: {monitor: quality, measure: error_rate_sequential, status: drift}
  - name: burning
    model: fares
    title: Burning
    severity: critical
    when: {monitor: promise, measure: fast_burn, status: drift}
  - name: spent
    model: fares
    title: Spent
    severity: warning
    when: {monitor: promise, measure: error_budget_left, below: 0.2}
  - name: worse-soon
    model: fares
    title: Worse soon
    severity: warning
    when: {monitor: outlook, measure: estimated_mae, status: drift, windows: 2}
";

    fn read(text: &str) -> Result<crate::domain::definitions::Definitions, Vec<String>> {
        let text = text.replacen("task: regression", "task: regression\n    window: hour", 1);
        let file = SourceFile {
            path: "a.yaml".to_owned(),
            text,
        };
        parse(&[file]).map_err(|problems| {
            (problems.into_iter())
                .map(|p| format!("{}: {}", p.line, p.cause))
                .collect()
        })
    }

    #[test]
    fn detectors_objectives_and_estimates_are_read_with_what_they_are_told() {
        let definitions = read(SOUND).expect("a sound file");
        let model = &definitions.models[0].value;
        let choice = &model.monitors[0].quality.sequential;
        assert_eq!(
            (choice.run_length, choice.tolerance),
            (Some(50_000.0), 0.01)
        );
        assert_eq!(
            (choice.right_within, choice.loss_cap),
            (Some(5.0), Some(60.0))
        );
        assert!(model.monitors[0].watches_labels());
        let objective = model.monitors[1].objective.as_ref().expect("an objective");
        assert_eq!((objective.share, objective.right_within), (0.9, Some(5.0)));
        assert_eq!(model.monitors[2].estimate_tolerance, Some(0.2));
        assert_eq!(model.monitors[2].measures(Task::Regression).len(), 3);
        let stored = serde_json::to_string(&model.monitors).expect("serialises");
        let again: Vec<crate::domain::definitions::MonitorDef> =
            serde_json::from_str(&stored).expect("reads");
        assert_eq!(again, model.monitors);
    }

    #[test]
    fn rules_look_back_as_far_as_labels_take() {
        let within = SOUND.replace("[mae, error_rate_sequential, loss_sequential]", "[mae]");
        let within = within.replace(
            "        sequential: {run_length: 50000, tolerance: 0.01, right_within: 5, loss_cap: 60}\n",
            "        labels_within: 36h\n",
        );
        let within = within.replace(
            "measure: error_rate_sequential, status: drift",
            "measure: mae, above: 3",
        );
        let learnt = [
            ("other".to_owned(), 1.0),
            ("reference".to_owned(), 400_000.0),
        ];
        for (text, known, expected) in [
            // Whatever it measures of labels, and whatever its baseline says.
            (within.as_str(), &learnt[..], [2, 168, 0]),
            (SOUND, &learnt, [5, 168, 0]),
            (SOUND, &[], [0, 168, 0]),
        ] {
            let definitions = read(text).expect("a sound file");
            let monitors = definitions.models[0].value.monitors.iter();
            let found: Vec<usize> = monitors.map(|m| m.windows_awaited(known)).collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn what_does_not_fit_is_named_with_its_place() {
        let cases = [
            (
                "        baseline: reference\n",
                "",
                "12: detectors of labels need a `baseline`",
            ),
            (
                "baseline: reference\n        measures",
                "baseline: training\n        measures",
                "13: a file does not say when its labels came",
            ),
            (
                ", right_within: 5, loss_cap: 60}",
                "}",
                "13: `error_rate_sequential` of numbers needs `sequential: {right_within: …}`",
            ),
            (
                "run_length: 50000",
                "run_length: 10",
                "14: a whole number from 1000",
            ),
            (
                "tolerance: 0.01",
                "tolerance: 0.6",
                "14: a tolerance below 0.5 is expected",
            ),
            (
                "[mae, error_rate_sequential, loss_sequential]",
                "[mae]",
                "14: `sequential` does not apply here",
            ),
            ("objective: 0.9, ", "", "15: a monitor needs `objective`"),
            (
                "objective: 0.9",
                "objective: 1",
                "15: a share from 0.5 to below 1 is expected",
            ),
            (
                "objective: 0.9, right_within: 5",
                "objective: 0.9",
                "15: an objective of numbers needs `right_within`",
            ),
            (
                "baseline: reference, tolerance: 0.2",
                "tolerance: 0.2",
                "16: an estimate monitor needs a `baseline` with labels",
            ),
            (
                "kind: estimate, window: week",
                "kind: estimate, window: week, objective: 0.9",
                "16: `objective` does not apply here: only objective monitors have it",
            ),
            (
                "severity: warning\n    when: {monitor: outlook",
                "severity: critical\n    when: {monitor: outlook",
                "37: `estimated_mae` is said without labels and cannot be `critical`",
            ),
            (
                "measure: error_rate_sequential, status: drift",
                "measure: mae, status: drift",
                "22: a quality monitor gives no status of its own",
            ),
            (
                "below: 0.2",
                "below: {times_baseline: 0.5}",
                "32: `times_baseline` is for measures of quality",
            ),
        ];
        for (old, new, expected) in cases {
            assert!(SOUND.contains(old), "the sound file has no {old:?}");
            let said = read(&SOUND.replacen(old, new, 1)).expect_err(new);
            assert!(
                said.iter().any(|cause| cause.starts_with(expected)),
                "{new}: {said:?} has no {expected:?}"
            );
        }
    }
}

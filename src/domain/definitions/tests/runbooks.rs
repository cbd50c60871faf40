//! Runbooks: their steps, what is wrong with them and where, and which takes the place of which.

use super::*;
use crate::domain::runbook::Action;

pub(super) const RUNBOOK: &str = "\
---
name: own
title: Our own way
first_step: Look.
---

# Meaning

Text with a fence that is no step:

```yaml
name: [
```

```step
name: approve
kind: approve
question: Shall we?
```

1. In a list:

   ```step
   name: retrain
   kind: trigger
   pipeline: retrain
   parameters: {days: 30}
   ```

```step
name: gate
kind: gate
label_wait: 36h
measure: mae
```

```step
name: promote
kind: promote
version: candidate
```

```step
name: watch
kind: watch
propose: rollback
```
";

pub(super) const PIPELINES: &str =
    "pipelines:\n  - {name: retrain, url: \"http://127.0.0.1:1/runs\"}\n";

#[test]
fn a_runbook_is_read_with_its_steps_in_order() {
    let definitions = parse(&[file("own.md", RUNBOOK), file("p.yaml", PIPELINES)])
        .unwrap_or_else(|problems| panic!("{}", check_report(&problems)));
    let runbook = &definitions.runbooks[0].value;
    assert_eq!(
        (runbook.name.as_str(), runbook.first_step.as_str()),
        ("own", "Look.")
    );
    assert!(runbook.text.starts_with("# Meaning"));
    let kinds: Vec<&str> = runbook.steps.iter().map(|s| s.action.kind()).collect();
    assert_eq!(kinds, ["approve", "trigger", "gate", "promote", "watch"]);
    let Action::Gate(gate) = &runbook.steps[2].action else {
        panic!("not a gate")
    };
    assert_eq!(
        (gate.label_wait_seconds, gate.measure),
        (36 * 3_600, Some(Measure::Mae))
    );
    let Action::Trigger { parameters, .. } = &runbook.steps[1].action else {
        panic!("not a trigger")
    };
    assert_eq!(parameters["days"], "30");
}

#[test]
fn a_broken_runbook_is_told_the_line_in_the_markdown() {
    let cases: &[(&str, &str, &[&str])] = &[
        (
            "title: Our own way",
            "titel: x",
            &[
                "2:1: the front matter needs `title`",
                "3:1: the front matter has no key `titel`; did you mean `title`?",
            ],
        ),
        (
            "kind: approve\n",
            "kind: aprove\n",
            &["17:7: `aprove` is not a kind of step; did you mean `approve`?"],
        ),
        (
            "question: Shall we?",
            "questoin: x",
            &[
                "16:1: an approve step needs `question`",
                "18:1: an approve step has no key `questoin`; did you mean `question`?",
            ],
        ),
        (
            "pipeline: retrain",
            "pipeline: retrian",
            &["26:14: there is no pipeline `retrian`; did you mean `retrain`?"],
        ),
        (
            "measure: mae",
            "measure: psi",
            &[
                "34:10: versions cannot be ranked by `psi`; use one of `mae`, `rmse`, `accuracy`, `precision`, `recall`, `f1`, `roc_auc`, `log_loss`, `median_absolute_error`, `error_p90`, `mape`, `smape`, `r2`, `specificity`, `balanced_accuracy`, `mcc`, `pr_auc`, `score_separation`, `brier`, `ece`, `lift`, `weighted_precision`, `weighted_f1`, `top_k_accuracy`, `ndcg`, `mean_average_precision`, `mean_reciprocal_rank`, `hit_rate`, `pinball_loss`, `interval_width`, `interval_score` and `mase`",
            ],
        ),
        (
            "label_wait: 36h",
            "label_wait: 36",
            &[
                "33:13: a length of time with its unit is expected, such as `30s`, `15m`, `24h` or `7d`, but this is a number",
            ],
        ),
        (
            "version: candidate",
            "version: candidat",
            &["40:10: `candidat` is not a version to promote; did you mean `candidate`?"],
        ),
        (
            "propose: rollback",
            "propose: rolback",
            &["46:10: there is no runbook `rolback`; did you mean `rollback`?"],
        ),
        (
            "name: gate\n",
            "name: approve\n",
            &["31:1: there is already a step `approve`, on line 16"],
        ),
        (
            "first_step: Look.\n---\n",
            "first_step: Look.\n",
            &["1:1: the front matter that begins here has no end: a line `---` is missing"],
        ),
        ("question: Shall we?", "question: [", &[]),
    ];
    for (old, new, expected) in cases {
        assert!(RUNBOOK.contains(old), "the runbook has no {old:?}");
        let text = RUNBOOK.replacen(old, new, 1);
        let problems = parse(&[file("own.md", &text), file("p.yaml", PIPELINES)])
            .expect_err("a broken runbook");
        if expected.is_empty() {
            assert!(check_report(&problems).contains("not valid YAML"));
            continue;
        }
        let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
        let expected: Vec<String> = expected.iter().map(|e| format!("own.md:{e}")).collect();
        assert_eq!(said, expected, "{old:?} -> {new:?}");
    }
}

#[test]
fn a_candidate_is_never_promoted_without_a_gate() {
    let text = RUNBOOK.replace(
        "kind: gate\nlabel_wait: 36h\nmeasure: mae",
        "kind: approve\nquestion: x",
    );
    let problems = parse(&[file("own.md", &text), file("p.yaml", PIPELINES)])
        .expect_err("a promotion without a gate");
    assert_eq!(
        check_report(&problems),
        "own.md:37:1: a candidate is promoted only after a `gate` step has accepted it; there is none \
         before this\n"
    );
}

#[test]
fn a_runbook_whose_measure_does_not_fit_is_refused_by_the_rule_that_names_it() {
    let text = SOUND
        .replace("    title: Bad", "    title: Bad\n    runbook: own")
        .replace("task: regression", "task: multiclass")
        .replace("measure: mae, above: 3", "measure: f1, below: 0.5");
    assert_eq!(
        causes(&[
            file("a.yaml", &text),
            file("own.md", RUNBOOK),
            file("p.yaml", PIPELINES)
        ]),
        [
            "a.yaml:15: the runbook `own` compares versions by `mae`, which a multiclass model does not have; \
             leave the measure out of its steps and they take the rule's"
        ]
    );
}

#[test]
fn markdown_without_front_matter_is_a_text_for_people() {
    let definitions =
        parse(&[file("README.md", "# Our models\n\n```step\n[\n```\n")]).expect("no problem");
    assert_eq!(definitions, Definitions::default());
}

#[test]
fn an_own_runbook_takes_the_place_of_a_shipped_one() {
    let own = RUNBOOK.replace("name: own", "name: rollback");
    let definitions = parse(&[file("own.md", &own), file("p.yaml", PIPELINES)])
        .expect("no problem")
        .with_shipped();
    let files: Vec<&str> = definitions
        .runbooks
        .iter()
        .filter(|runbook| runbook.value.name == "rollback")
        .map(|runbook| runbook.file.as_str())
        .collect();
    assert_eq!(files, ["own.md"]);
    assert_eq!(definitions.runbooks.len(), shipped::FILES.len());
}

//! Looks up what definitions name: models, monitors, baselines, receivers, runbooks, pipelines. What is itself
//! broken was reported where it stands; whoever names it is not blamed for that.

use super::fields::{Located, listed, suggestion};
use super::model::ModelDef;
use super::monitors::{MonitorDef, MonitorKind};
use super::problem::{Place, Problem, did_you_mean};
use super::rule::{ConditionDraft, MeasuredDraft, RuleDraft};
use super::runbook::RunbookDraft;
use super::shipped;
use super::{Contents, Defined, Entry};
use crate::domain::measurement::Measure;
use crate::domain::rule::{Condition, MeasuredCondition, Rule, Severity, Threshold};
use crate::domain::runbook::{Action, Runbook};

/// Checks every name that is used, and gives the rules with what they name put in.
pub(super) fn resolve(contents: &Contents, problems: &mut Vec<Problem>) -> Vec<Defined<Rule>> {
    note_twice(&contents.models, "model", problems);
    note_twice(&contents.rules, "rule", problems);
    note_twice(&contents.receivers, "receiver", problems);
    note_twice(&contents.pipelines, "pipeline", problems);
    note_twice(&contents.runbooks, "runbook", problems);
    note_second_project(contents, problems);
    for entry in &contents.projects {
        if let Some(draft) = &entry.value {
            check_receivers(&draft.receivers, &entry.file, contents, problems);
        }
    }
    for entry in &contents.runbooks {
        check_runbook(entry, contents, problems);
    }
    contents
        .rules
        .iter()
        .filter_map(|entry| {
            let value = resolve_rule(entry.value.as_ref()?, &entry.file, contents, problems)?;
            Some(Defined {
                file: entry.file.clone(),
                line: entry.place.line,
                value,
            })
        })
        .collect()
}

fn note(problems: &mut Vec<Problem>, file: &str, place: Place, cause: String) {
    problems.push(Problem {
        file: file.to_owned(),
        line: place.line,
        column: place.column,
        cause,
    });
}

fn note_twice<T>(entries: &[Entry<T>], what: &str, problems: &mut Vec<Problem>) {
    for (position, entry) in entries.iter().enumerate() {
        let Some(name) = &entry.name else { continue };
        let first = entries[..position]
            .iter()
            .find(|earlier| earlier.name() == Some(name.value.as_str()));
        if let Some(first) = first {
            let line = first
                .name
                .as_ref()
                .map_or(first.place.line, |n| n.place.line);
            note(
                problems,
                &entry.file,
                name.place,
                format!(
                    "there is already a {what} `{}`, at {}:{line}",
                    name.value, first.file
                ),
            );
        }
    }
}

fn note_second_project(contents: &Contents, problems: &mut Vec<Problem>) {
    let [first, others @ ..] = contents.projects.as_slice() else {
        return;
    };
    for entry in others {
        note(
            problems,
            &entry.file,
            entry.place,
            format!(
                "a directory describes one project, and it is described at {}:{}",
                first.file, first.place.line
            ),
        );
    }
}

/// How looking up a name went.
enum Found<'a, T> {
    /// Here it is.
    Sound(&'a T),
    /// It exists and has problems of its own.
    Broken,
    Missing,
}

fn find<'a, T>(entries: &'a [Entry<T>], name: &str) -> Found<'a, T> {
    let mut named = entries.iter().filter(|entry| entry.name() == Some(name));
    match named.next() {
        Some(entry) => entry.value.as_ref().map_or(Found::Broken, Found::Sound),
        // A nameless entry may be the one that is meant.
        None if entries.iter().any(|entry| entry.name.is_none()) => Found::Broken,
        None => Found::Missing,
    }
}

fn names<T>(entries: &[Entry<T>]) -> Vec<&str> {
    entries.iter().filter_map(Entry::name).collect()
}

fn missing(what: &str, name: &str, known: &[&str]) -> String {
    if known.is_empty() {
        return format!("there is no {what} `{name}`, and no {what} is defined at all");
    }
    let hint = suggestion(
        did_you_mean(name, known.iter().copied()),
        &listed(known.iter().copied()),
    );
    format!("there is no {what} `{name}`{hint}")
}

fn check_runbook(entry: &Entry<RunbookDraft>, contents: &Contents, problems: &mut Vec<Problem>) {
    let Some(draft) = &entry.value else { return };
    for pipeline in &draft.pipelines {
        if let Found::Missing = find(&contents.pipelines, &pipeline.value) {
            let known = names(&contents.pipelines);
            let cause = missing("pipeline", &pipeline.value, &known);
            note(problems, &entry.file, pipeline.place, cause);
        }
    }
    for proposed in &draft.proposed {
        if find_runbook(contents, &proposed.value).is_missing() {
            let cause = missing("runbook", &proposed.value, &runbook_names(contents));
            note(problems, &entry.file, proposed.place, cause);
        }
    }
}

/// A runbook that a rule names.
enum FoundRunbook<'a> {
    Own(&'a RunbookDraft),
    Shipped(&'a RunbookDraft),
    Broken,
    Missing,
}

impl FoundRunbook<'_> {
    fn is_missing(&self) -> bool {
        matches!(self, Self::Missing)
    }
}

fn find_runbook<'a>(contents: &'a Contents, name: &str) -> FoundRunbook<'a> {
    let is_shipped = |s: &&shipped::Shipped| s.draft.runbook.name == name;
    match find(&contents.runbooks, name) {
        Found::Sound(draft) => FoundRunbook::Own(draft),
        found => match (shipped::all().iter().find(is_shipped), found) {
            (Some(shipped), Found::Missing) => FoundRunbook::Shipped(&shipped.draft),
            (_, Found::Missing) => FoundRunbook::Missing,
            _ => FoundRunbook::Broken,
        },
    }
}

fn runbook_names(contents: &Contents) -> Vec<&str> {
    let shipped = shipped::all().iter().map(|s| s.draft.runbook.name.as_str());
    let mut known: Vec<&str> = names(&contents.runbooks)
        .into_iter()
        .chain(shipped)
        .collect();
    known.sort_unstable();
    known.dedup();
    known
}

fn check_receivers(
    named: &[Located<String>],
    file: &str,
    contents: &Contents,
    problems: &mut Vec<Problem>,
) {
    for receiver in named {
        if let Found::Missing = find(&contents.receivers, &receiver.value) {
            let known = names(&contents.receivers);
            let cause = missing("receiver", &receiver.value, &known);
            note(problems, file, receiver.place, cause);
        }
    }
}

fn resolve_rule(
    draft: &RuleDraft,
    file: &str,
    contents: &Contents,
    problems: &mut Vec<Problem>,
) -> Option<Rule> {
    check_receivers(&draft.receivers, file, contents, problems);
    let model = match find(&contents.models, &draft.model.value) {
        Found::Sound(model) => Some(model),
        Found::Broken => None,
        Found::Missing => {
            let known = names(&contents.models);
            let cause = missing("model", &draft.model.value, &known);
            note(problems, file, draft.model.place, cause);
            None
        }
    };
    if let Some(named) = &draft.runbook {
        check_rule_runbook(named, model, file, contents, problems);
    }
    let condition = match &draft.condition {
        ConditionDraft::Silence { after_seconds } => {
            if let Some(flag) = &draft.pages_on_drift {
                note(problems, file, flag.place, NOTHING_TO_ALLOW.to_owned());
            }
            Condition::Silence {
                after_seconds: *after_seconds,
            }
        }
        ConditionDraft::Measured(measured) => {
            let mut check = MeasuredCheck {
                model: model?,
                file,
                problems,
            };
            check.note_what_never_pages(draft, measured);
            Condition::Measured(check.resolve(measured)?)
        }
    };
    Some(Rule {
        name: draft.name.clone(),
        model: draft.model.value.clone(),
        title: draft.title.clone(),
        severity: draft.severity,
        condition,
        runbook: draft.runbook.as_ref().map(|named| named.value.clone()),
        receivers: draft.receivers.iter().map(|r| r.value.clone()).collect(),
    })
}

fn check_rule_runbook(
    named: &Located<String>,
    model: Option<&ModelDef>,
    file: &str,
    contents: &Contents,
    problems: &mut Vec<Problem>,
) {
    let draft = match find_runbook(contents, &named.value) {
        FoundRunbook::Own(draft) => draft,
        FoundRunbook::Shipped(draft) => {
            note_missing_pipelines_of_shipped(draft, named, file, contents, problems);
            draft
        }
        FoundRunbook::Broken => return,
        FoundRunbook::Missing => {
            let cause = missing("runbook", &named.value, &runbook_names(contents));
            note(problems, file, named.place, cause);
            return;
        }
    };
    let Some(model) = model else { return };
    for measure in step_measures(&draft.runbook) {
        if !Measure::of_quality(model.task).contains(&measure) {
            note(
                problems,
                file,
                named.place,
                format!(
                    "the runbook `{}` compares versions by `{}`, which a {} model does not have; leave the \
                     measure out of its steps and they take the rule's",
                    named.value,
                    measure.as_str(),
                    model.task.as_str(),
                ),
            );
        }
    }
}

fn note_missing_pipelines_of_shipped(
    draft: &RunbookDraft,
    named: &Located<String>,
    file: &str,
    contents: &Contents,
    problems: &mut Vec<Problem>,
) {
    for pipeline in &draft.pipelines {
        if let Found::Missing = find(&contents.pipelines, &pipeline.value) {
            note(
                problems,
                file,
                named.place,
                format!(
                    "the runbook `{}`, which comes with Bellwether, starts the pipeline `{}`; define it under \
                     `pipelines`, or write your own runbook of that name",
                    named.value, pipeline.value
                ),
            );
        }
    }
}

fn step_measures(runbook: &Runbook) -> Vec<Measure> {
    let of_step = |action: &Action| match action {
        Action::Gate(gate) => gate.measure,
        Action::Watch(watch) => watch.measure,
        _ => None,
    };
    runbook
        .steps
        .iter()
        .filter_map(|step| of_step(&step.action))
        .collect()
}

/// What a rule is told that allows what it does not do.
const NOTHING_TO_ALLOW: &str =
    "`pages_on_drift` is for rules on drift that are `critical`; this one does not page on drift";

/// The check of one rule's condition against its model.
struct MeasuredCheck<'a> {
    model: &'a ModelDef,
    file: &'a str,
    problems: &'a mut Vec<Problem>,
}

impl MeasuredCheck<'_> {
    fn note(&mut self, place: Place, cause: String) {
        note(self.problems, self.file, place, cause);
    }

    /// An estimate is a ticket: it says what labels would say, if nothing but the inputs has changed. And so is drift: it does
    /// not say that the model has become worse. Whoever wants to be paged by it nevertheless has to say so.
    fn note_what_never_pages(&mut self, rule: &RuleDraft, draft: &MeasuredDraft) {
        let pages = rule.severity == Severity::Critical;
        let estimate = draft
            .measures
            .iter()
            .find(|measure| measure.value.is_estimate());
        if let Some(measure) = estimate.filter(|_| pages) {
            let cause = format!(
                "`{}` is said without labels and cannot be `critical`: it opens a ticket (`warning` or `info`); pages \
                 are for labelled quality",
                measure.value.as_str()
            );
            self.note(measure.place, cause);
        }
        let drift = draft
            .measures
            .iter()
            .find(|measure| measure.value.is_mere_drift());
        match (drift.filter(|_| pages), &rule.pages_on_drift) {
            (Some(measure), None | Some(Located { value: false, .. })) => {
                let cause = format!(
                    "the rule `{}` would page because of `{}`, but drift alone does not say that the model has become \
                     worse: make it a ticket (`severity: warning`) and page on labelled quality, or say \
                     `pages_on_drift: true` if somebody is to be woken by it nevertheless",
                    rule.name,
                    measure.value.as_str()
                );
                self.note(measure.place, cause);
            }
            (None, Some(flag)) if flag.value => self.note(flag.place, NOTHING_TO_ALLOW.to_owned()),
            _ => {}
        }
    }

    fn resolve(&mut self, draft: &MeasuredDraft) -> Option<MeasuredCondition> {
        let model = self.model;
        let Some(monitor) = model.monitor(&draft.monitor.value) else {
            let known: Vec<&str> = model.monitors.iter().map(|m| m.name.as_str()).collect();
            let hint = suggestion(
                did_you_mean(&draft.monitor.value, known.iter().copied()),
                &listed(known.iter().copied()),
            );
            self.note(
                draft.monitor.place,
                format!(
                    "the model `{}` has no monitor `{}`{hint}",
                    model.name, draft.monitor.value
                ),
            );
            return None;
        };
        for measure in &draft.measures {
            if self.check_measure(measure, monitor) {
                self.check_threshold(measure.value, &draft.threshold, monitor);
            }
        }
        self.check_feature(draft, monitor);
        self.check_at_least(draft, monitor);
        Some(MeasuredCondition {
            monitor: monitor.name.clone(),
            grain: monitor.grain,
            measures: draft.measures.iter().map(|measure| measure.value).collect(),
            feature: draft.feature.as_ref().map(|feature| feature.value.clone()),
            segments: draft.segments,
            threshold: draft.threshold.value,
            at_least: draft.at_least.value,
            windows: draft.windows,
            resolve_windows: draft.resolve_windows,
            min_rows: draft.min_rows,
            min_coverage: draft.min_coverage,
        })
    }

    /// Whether the monitor gives the measure.
    fn check_measure(&mut self, measure: &Located<Measure>, monitor: &MonitorDef) -> bool {
        let task = self.model.task;
        let known = monitor.measures(task);
        if known.contains(&measure.value) {
            return true;
        }
        let name = measure.value.as_str();
        let known = listed(known.iter().map(|measure| measure.as_str()));
        let possible = monitor.kind.measures(task).contains(&measure.value);
        let cause = if possible && measure.value == Measure::LabelCompleteness {
            format!(
                "the quality monitor `{}` measures `{name}` only with `labels_within`",
                monitor.name
            )
        } else if possible {
            format!(
                "the quality monitor `{}` does not measure `{name}`; it measures {known}: name all that you \
                 want in its `measures`",
                monitor.name
            )
        } else if monitor.kind == MonitorKind::Quality && measure.value.is_quality() {
            format!(
                "`{name}` does not fit the {} model `{}`, whose quality is measured by {known}",
                task.as_str(),
                self.model.name
            )
        } else {
            format!(
                "the {} monitor `{}` does not measure `{name}`; it measures {known}",
                monitor.kind.as_str(),
                monitor.name
            )
        };
        self.note(measure.place, cause);
        false
    }

    /// A threshold has to have values on both of its sides.
    fn check_threshold(
        &mut self,
        measure: Measure,
        threshold: &Located<Threshold>,
        monitor: &MonitorDef,
    ) {
        let name = measure.as_str();
        let (lowest, highest) = bounds(measure);
        let cause = match threshold.value {
            Threshold::Above(limit) if limit >= highest => Some(format!(
                "`{name}` is never above {limit}: it lies between {lowest} and {highest}"
            )),
            Threshold::Above(limit) if limit < lowest => Some(format!(
                "`{name}` is always above {limit}: it is never below {lowest}"
            )),
            Threshold::Below(limit) if limit <= lowest => Some(format!(
                "`{name}` is never below {limit}: {lowest} is the least it can be"
            )),
            Threshold::Below(limit) if limit > highest => Some(format!(
                "`{name}` is always below {limit}: it is never above {highest}"
            )),
            Threshold::AboveTimesBaseline(_) | Threshold::BelowTimesBaseline(_) => {
                relative_fault(measure, monitor)
            }
            Threshold::OwnStatus => own_status_fault(measure, monitor),
            Threshold::Above(_) | Threshold::Below(_) => None,
        };
        if let Some(cause) = cause {
            self.note(threshold.place, cause);
        }
    }

    fn check_feature(&mut self, draft: &MeasuredDraft, monitor: &MonitorDef) {
        let Some(feature) = &draft.feature else {
            return;
        };
        if has_several_values(&draft.measures) {
            return;
        }
        if !matches!(monitor.kind, MonitorKind::Schema | MonitorKind::Drift) {
            self.note(
                feature.place,
                format!(
                    "the {} monitor `{}` measures the whole model, not single features",
                    monitor.kind.as_str(),
                    monitor.name
                ),
            );
            return;
        }
        // A schema that is inferred has features that are not written down.
        let whole = self
            .model
            .schema
            .as_ref()
            .filter(|schema| schema.from.is_none());
        if let Some(schema) = whole
            && !schema
                .features
                .iter()
                .any(|known| known.feature == feature.value)
        {
            let known: Vec<&str> = schema.features.iter().map(|f| f.feature.as_str()).collect();
            let hint = suggestion(
                did_you_mean(&feature.value, known.iter().copied()),
                &listed(known.iter().copied()),
            );
            self.note(
                feature.place,
                format!(
                    "the schema of the model `{}` has no feature `{}`{hint}",
                    self.model.name, feature.value
                ),
            );
        }
    }

    /// `at_least` asks for several values to be beyond the threshold; there have to be as many.
    fn check_at_least(&mut self, draft: &MeasuredDraft, monitor: &MonitorDef) {
        let several = matches!(monitor.kind, MonitorKind::Schema | MonitorKind::Drift)
            || has_several_values(&draft.measures);
        let per_feature = several && draft.feature.is_none();
        let most = draft.measures.len();
        if !per_feature && !draft.segments && draft.at_least.value > most {
            self.note(
                draft.at_least.place,
                format!(
                    "this rule looks at {most} {} a window, so {} can never be beyond the threshold",
                    if most == 1 { "value" } else { "values" },
                    draft.at_least.value
                ),
            );
        }
    }
}

/// Whether one of the measures has a value for each class, or for each field of groups.
fn has_several_values(measures: &[Located<Measure>]) -> bool {
    let mut measures = measures.iter().map(|measure| measure.value);
    measures.any(|measure| measure.is_of_classes() || measure.is_of_groups())
}

fn relative_fault(measure: Measure, monitor: &MonitorDef) -> Option<String> {
    if monitor.kind != MonitorKind::Quality || !measure.is_of_whole_model() {
        return Some(format!(
            "`times_baseline` is for measures of quality; a baseline has no `{}`",
            measure.as_str()
        ));
    }
    if !monitor.quality.is_usual(measure) {
        return Some(format!(
            "`times_baseline` does not fit: a baseline has `{}` with the usual parameter only",
            measure.as_str()
        ));
    }
    if bounds(measure).0 < 0.0 {
        return Some(format!(
            "`times_baseline` does not fit `{}`, which can be below 0; use a plain number",
            measure.as_str()
        ));
    }
    (monitor.baseline.is_none() && monitor.against.is_none()).then(|| {
        format!(
            "`times_baseline` needs a reference, and the monitor `{}` has none; give it `baseline` or `against`",
            monitor.name
        )
    })
}

fn own_status_fault(measure: Measure, monitor: &MonitorDef) -> Option<String> {
    match monitor.kind {
        MonitorKind::Schema => None,
        MonitorKind::Drift
            if monitor.thresholds.contains_key(&measure)
                || measure.usual_threshold().is_some()
                || measure.is_over_days() =>
        {
            None
        }
        MonitorKind::Drift => Some(format!(
            "the monitor `{}` has no threshold for `{name}`, so its status is never drift; set \
             `thresholds: {{{name}: …}}` there",
            monitor.name,
            name = measure.as_str()
        )),
        MonitorKind::Quality if measure.is_of_label_detector() => None,
        MonitorKind::Objective | MonitorKind::Estimate => None,
        MonitorKind::Traffic if measure == Measure::Volume => None,
        MonitorKind::Quality | MonitorKind::Traffic => Some(format!(
            "a {} monitor gives no status of its own; use `above` or `below`",
            monitor.kind.as_str()
        )),
    }
}

/// The least and the greatest a measure can be.
#[must_use]
pub fn bounds(measure: Measure) -> (f64, f64) {
    match measure {
        Measure::Bias | Measure::ValuePerPrediction | Measure::AndersonDarling | Measure::Shift => {
            (f64::NEG_INFINITY, f64::INFINITY)
        }
        Measure::R2 | Measure::ErrorBudgetLeft => (f64::NEG_INFINITY, 1.0),
        Measure::ReconstructionErrorChange | Measure::Volume => (-1.0, f64::INFINITY),
        // The discrepancy is estimated without bias, so it may fall below 0.
        Measure::CorrelationChange
        | Measure::CopulaCorrelationChange
        | Measure::MaximumMeanDiscrepancy => (-2.0, 2.0),
        Measure::RandomFeaturesMmd => (0.0, 4.0),
        Measure::Mcc
        | Measure::RocAucChange
        | Measure::MissingShareChange
        | Measure::UnseenWords
        | Measure::LanguageProfile
        | Measure::FutureShareChange => (-1.0, 1.0),
        Measure::Smape | Measure::Brier => (0.0, 2.0),
        Measure::Psi
        | Measure::Wasserstein
        | Measure::WassersteinNormalised
        | Measure::EnergyDistance
        | Measure::CramerVonMises
        | Measure::Chi2
        | Measure::GTest
        | Measure::MeanShift
        | Measure::Mae
        | Measure::Rmse
        | Measure::LogLoss
        | Measure::MedianAbsoluteError
        | Measure::ErrorP90
        | Measure::Mape
        | Measure::Lift
        | Measure::PinballLoss
        | Measure::IntervalWidth
        | Measure::IntervalScore
        | Measure::Mase
        | Measure::LossSequential
        | Measure::FastBurn
        | Measure::SlowBurn
        | Measure::EstimatedMae
        | Measure::EstimatedRmse
        | Measure::EstimateError
        | Measure::Traffic
        | Measure::LatencyP50
        | Measure::LatencyP95
        | Measure::LatencyP99 => (0.0, f64::INFINITY),
        Measure::MissingFeature
        | Measure::UnexpectedFeature
        | Measure::WrongType
        | Measure::NullShare
        | Measure::OutOfRange
        | Measure::UnseenCategory
        | Measure::TypeChange
        | Measure::RenamedFeature
        | Measure::UnitChange
        | Measure::NanShare
        | Measure::InfiniteShare
        | Measure::EmptyShare
        | Measure::Constant
        | Measure::Frozen
        | Measure::Granularity
        | Measure::OutOfOrder
        | Measure::DuplicateRows
        | Measure::DuplicateValues
        | Measure::DistinctValues
        | Measure::JensenShannon
        | Measure::KolmogorovSmirnov
        | Measure::Hellinger
        | Measure::TotalVariation
        | Measure::LInfinity
        | Measure::DomainClassifierAuc
        | Measure::TextLengthDistance
        | Measure::AgeDistance
        | Measure::HourProfile
        | Measure::WeekdayProfile
        | Measure::AttributionNdcg
        | Measure::Accuracy
        | Measure::Precision
        | Measure::Recall
        | Measure::F1
        | Measure::RocAuc
        | Measure::Specificity
        | Measure::BalancedAccuracy
        | Measure::PrAuc
        | Measure::ScoreSeparation
        | Measure::Ece
        | Measure::WeightedPrecision
        | Measure::WeightedF1
        | Measure::TopKAccuracy
        | Measure::Ndcg
        | Measure::MeanAveragePrecision
        | Measure::MeanReciprocalRank
        | Measure::HitRate
        | Measure::IntervalCoverage
        | Measure::ClassPrecision
        | Measure::ClassRecall
        | Measure::ClassF1
        | Measure::DemographicParityDifference
        | Measure::DemographicParityRatio
        | Measure::EqualOpportunityDifference
        | Measure::EqualOpportunityRatio
        | Measure::LabelCoverage
        | Measure::ErrorRateSequential
        | Measure::EstimatedAccuracy
        | Measure::EstimatedPrecision
        | Measure::EstimatedRecall
        | Measure::EstimatedF1
        | Measure::EstimatedRocAuc
        | Measure::LabelCompleteness
        | Measure::ErrorRate => (0.0, 1.0),
    }
}

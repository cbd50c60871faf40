//! From a column's counts to its measures, findings and summary.

use std::collections::BTreeMap;

use super::columns::{Compared, Fitted, Job, Plan};
use super::counting::{Tally, empty_profile};
use super::grouping::{Group, Grouping};
use super::measures::{self, Judgement};
use super::quality::LABEL;
use super::{FeatureSummary, Measurement, SchemaFinding, SideSummary, shape};
use crate::domain::drift::{Gates, Judged};
use crate::domain::measurement::{Measure, Segment, Status};
use crate::domain::schema::FeatureType;
use crate::domain::skew::{self, Finding, FindingKind};
use crate::domain::window::Window;
use crate::stats::profile::FeatureProfile;

/// Everything that is known of a feature on both sides.
struct Sides<'a> {
    job: &'a Job<'a>,
    plan: &'a Plan,
    fitted: &'a Fitted,
    current: &'a Tally,
    of_reference: BTreeMap<Group, &'a FeatureProfile>,
    of_current: BTreeMap<Group, &'a FeatureProfile>,
    whole_reference: FeatureProfile,
    whole_current: FeatureProfile,
    /// A profile without values.
    nothing: FeatureProfile,
    /// Why the column cannot be read, in the reference or in the current file.
    refused: [Option<&'a str>; 2],
}

/// The window in which a feature is drawn, and what it was chosen by.
type Drawn = Option<((bool, f64), Option<usize>)>;

/// All measures and findings of a column.
pub(super) fn compared(job: &Job<'_>, plan: &Plan, fitted: &Fitted, current: &Tally) -> Compared {
    let sides = Sides::of(job, plan, fitted, current);
    let mut measurements = Vec::new();
    let mut findings = Vec::new();
    let mut drawn: Drawn = None;
    let groups = (0..job.in_current.dimensions()).flat_map(|d| job.in_current.groups(d));
    for group in groups {
        let measured = sides.measured(&group);
        if group.segment.is_overall() {
            drawn = worth_drawing(drawn, &measured, group.window);
            findings.extend(sides.findings_in(&group));
        }
        measurements.extend(measured.into_iter().map(|m| sides.measurement(&group, m)));
    }
    let whole = sides.whole_findings();
    supersede(&mut findings, &whole);
    findings.extend(whole.into_iter().map(|finding| SchemaFinding {
        window: None,
        finding,
    }));
    Compared {
        measurements,
        findings,
        summary: sides.summary(drawn.and_then(|(_, window)| window)),
    }
}

impl<'a> Sides<'a> {
    fn of(job: &'a Job<'a>, plan: &'a Plan, fitted: &'a Fitted, current: &'a Tally) -> Self {
        let expected = fitted.yardstick.expectation.as_ref();
        let numeric = expected.is_none_or(|e| e.feature_type.is_numeric());
        let nothing = empty_profile(numeric, &fitted.yardstick);
        let refused = |table: &'a crate::formats::table::Table, at: Option<usize>| {
            at.and_then(|at| table.columns()[at].refused.as_deref())
        };
        Self {
            of_reference: by_group(job.in_reference, &fitted.counted.groups),
            of_current: by_group(job.in_current, &current.groups),
            whole_reference: fitted.whole(job).unwrap_or_else(|| nothing.clone()),
            whole_current: current
                .whole(job.in_current)
                .unwrap_or_else(|| nothing.clone()),
            nothing,
            refused: [
                refused(job.reference, plan.reference),
                refused(job.current, plan.current),
            ],
            job,
            plan,
            fitted,
            current,
        }
    }

    fn present(&self, group: &Group) -> &FeatureProfile {
        self.of_current.get(group).copied().unwrap_or(&self.nothing)
    }

    /// The reference's rows of a group's segment.
    fn before(&self, group: &Group) -> Option<&FeatureProfile> {
        let of_segment = Group {
            window: None,
            segment: group.segment.clone(),
        };
        self.of_reference.get(&of_segment).copied()
    }

    fn feature_type(&self) -> Option<FeatureType> {
        let expected = self.fitted.yardstick.expectation.as_ref();
        expected.map(|expected| expected.feature_type)
    }

    fn window(&self, group: &Group) -> Option<Window> {
        group.window.map(|at| self.job.in_current.windows[at])
    }

    fn measured(&self, group: &Group) -> Vec<Judged> {
        let settings = self.job.settings;
        // A label that is missing may still come, and the label coverage tells of it.
        let may_lack =
            |measure: &Measure| self.plan.name == LABEL && *measure == Measure::MissingShareChange;
        let measures = settings.measures.iter().copied();
        let judgement = Judgement {
            measures: measures.filter(|measure| !may_lack(measure)).collect(),
            gates: Gates {
                thresholds: &settings.thresholds,
                feature_type: self.feature_type(),
                min_rows: settings.min_rows,
                features: self.job.columns,
            },
        };
        let kind = self.nothing.kind();
        if let [Some(cause), _] | [_, Some(cause)] = self.refused {
            return judgement.nothing(kind, Status::Error, &format!("the column {cause}"));
        }
        let Some(reference) = self.before(group) else {
            let cause = if self.of_reference.is_empty() {
                "the reference has no rows"
            } else {
                "the reference has no rows of this segment"
            };
            return judgement.nothing(kind, Status::Insufficient, cause);
        };
        measures::compare(
            reference,
            self.present(group),
            self.fitted.yardstick.grid.as_ref(),
            &judgement,
            self.fitted.note.as_deref(),
        )
    }

    fn measurement(&self, group: &Group, measured: Judged) -> Measurement {
        let rows = |profile: &FeatureProfile| match measured.measure {
            Measure::MissingShareChange => profile.counts().rows,
            _ => profile.valid(),
        };
        Measurement {
            window: self.window(group),
            segment: group.segment.clone(),
            feature: self.plan.name.clone(),
            measure: measured.measure,
            value: measured.value,
            interval: measured.interval,
            p_value: measured.p_value,
            status: measured.status,
            reference_rows: self.before(group).map_or(0, rows),
            current_rows: rows(self.present(group)),
            recipe: measured.recipe,
        }
    }

    /// What the shares of a window's rows say.
    fn findings_in(&self, group: &Group) -> Vec<SchemaFinding> {
        let (Some(expected), [None, None]) = (&self.fitted.yardstick.expectation, self.refused)
        else {
            return Vec::new();
        };
        // Empty texts are counted for the file as a whole.
        let countable = group.window.is_none() && !expected.feature_type.is_numeric();
        let empty = countable.then_some((
            self.fitted.counted.habits.empty_texts,
            self.current.habits.empty_texts,
        ));
        let found = skew::of_window(
            expected,
            &self.whole_reference,
            self.present(group),
            empty,
            self.job.settings.tolerance,
        );
        let window = self.window(group);
        // A label that is missing may still come, and the label coverage tells of it.
        let may_lack = self.plan.name == LABEL;
        let found = found.into_iter();
        found
            .filter(|finding| !(may_lack && finding.kind == FindingKind::NullShare))
            .map(|finding| SchemaFinding { window, finding })
            .collect()
    }

    fn whole_findings(&self) -> Vec<Finding> {
        let feature = &self.plan.name;
        match (&self.fitted.yardstick.expectation, self.refused) {
            (_, [Some(cause), _]) => {
                vec![Finding::unreadable(
                    feature,
                    &format!("in the reference it {cause}"),
                )]
            }
            (_, [None, Some(cause)]) => {
                vec![Finding::unreadable(
                    feature,
                    &format!("in the current file it {cause}"),
                )]
            }
            (Some(expected), _) => skew::of_column(
                expected,
                (&self.whole_reference, &self.fitted.counted.habits),
                (&self.whole_current, &self.current.habits),
                self.job.settings.tolerance,
            ),
            (None, _) => Vec::new(),
        }
    }

    fn summary(&self, drawn: Option<usize>) -> FeatureSummary {
        let shown = match drawn {
            None => &self.whole_current,
            Some(_) => self.present(&Group {
                window: drawn,
                segment: Segment::overall(),
            }),
        };
        let yardstick = &self.fitted.yardstick;
        FeatureSummary {
            feature: self.plan.name.clone(),
            feature_type: self.feature_type(),
            dimensions: None,
            window: drawn.map(|at| self.job.in_current.windows[at]),
            cell_edges: yardstick
                .grid
                .as_ref()
                .map_or_else(Vec::new, |grid| grid.edges().to_vec()),
            shape: shape::of(&self.whole_reference, shown, yardstick.grid.as_ref()),
            reference: side(&self.whole_reference),
            current: side(&self.whole_current),
        }
    }
}

/// The window that has moved furthest; one with too few rows only when there is no other.
fn worth_drawing(drawn: Drawn, measured: &[Judged], window: Option<usize>) -> Drawn {
    let moved = (measured.iter()).find(|m| m.measure == Measure::TotalVariation);
    let Some((status, size)) = moved.and_then(|moved| Some((moved.status, moved.value?))) else {
        return drawn;
    };
    let worth = (status != Status::Insufficient, size);
    match drawn {
        Some((most, _)) if most >= worth => drawn,
        _ => Some((worth, window)),
    }
}

/// What one finding about the whole file says need not be said again for every window.
fn supersede(findings: &mut Vec<SchemaFinding>, whole: &[Finding]) {
    use FindingKind::{OutOfRange, TypeChange, UnitChange, UnseenCategory, WrongType};
    if whole.iter().any(|finding| finding.kind == TypeChange) {
        findings.retain(|found| !matches!(found.finding.kind, WrongType | UnseenCategory));
    }
    let converted: Vec<Option<Window>> = (findings.iter())
        .filter(|found| found.finding.kind == UnitChange)
        .map(|found| found.window)
        .collect();
    findings.retain(|found| found.finding.kind != OutOfRange || !converted.contains(&found.window));
}

fn by_group<'p>(
    grouping: &Grouping,
    counted: &'p [BTreeMap<u32, FeatureProfile>],
) -> BTreeMap<Group, &'p FeatureProfile> {
    let dimensions = counted.iter().enumerate();
    dimensions
        .flat_map(|(dimension, groups)| {
            groups
                .iter()
                .map(move |(code, profile)| (grouping.group(dimension, *code), profile))
        })
        .collect()
}

fn side(profile: &FeatureProfile) -> SideSummary {
    SideSummary {
        rows: profile.counts().rows,
        missing_share: profile.missing_share(),
        mean: profile.mean(),
        standard_deviation: profile.standard_deviation(),
        minimum: profile.minimum(),
        maximum: profile.maximum(),
        distinct: profile.distinct(),
    }
}

//! Why an alert opened, as far as the data say: which inputs moved, which segments suffer, what was changed
//! just before. The findings go into the alert, its messages and its runbook's diagnosis.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use super::{Error, configuration, registry};
use crate::domain::ids::VersionId;
use crate::domain::measurement::{Better, Measure, Status};
use crate::domain::message::{Cause, CauseKind};
use crate::domain::window::Grain;
use crate::storage::measurements::{self, Selection, StoredMeasurement};
use crate::storage::models::Model;
use crate::storage::{baselines, definitions, runs};

/// How far back changes are looked for.
const RECENT: TimeDelta = TimeDelta::days(14);
/// How many values of one kind are named.
const NAMED: usize = 5;
/// How many causes an alert names.
const CAUSES: usize = 3;
/// How many stored values a look-up reads at most.
const VALUES: i64 = 20_000;

/// What is known about the causes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct Explanation {
    /// The most likely first.
    pub causes: Vec<Cause>,
    pub next_step: String,
}

/// What an explanation looks at.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    pub model: &'a Model,
    pub version_id: VersionId,
    /// The measure the alert is about, for the segments.
    pub measure: Option<Measure>,
    /// Since when it is wrong, in event time.
    pub since: DateTime<Utc>,
    pub now: DateTime<Utc>,
}

/// The most likely causes: one of each kind first, then what is left by strength. Of drift that is a ranking of what moved,
/// what labels say of it, and what was changed.
pub async fn causes(conn: &mut PgConnection, scene: Scene<'_>) -> Result<Vec<Cause>, Error> {
    if scene.measure.is_some_and(Measure::is_drift) {
        return drift_ranking(conn, scene).await;
    }
    let mut kinds = [
        schema_findings(conn, scene).await?,
        recent_changes(conn, scene).await?,
        drifted_features(conn, scene).await?,
        worst_segments(conn, scene).await?,
    ]
    .map(Vec::into_iter);
    let mut causes = Vec::with_capacity(CAUSES);
    while causes.len() < CAUSES {
        let before = causes.len();
        for kind in &mut kinds {
            if causes.len() < CAUSES {
                causes.extend(kind.next());
            }
        }
        if causes.len() == before {
            break;
        }
    }
    Ok(causes)
}

/// What a ticket about drift says: the features that moved, those that moved most first; whether quality has moved with them; and
/// the newest change of ours.
async fn drift_ranking(conn: &mut PgConnection, scene: Scene<'_>) -> Result<Vec<Cause>, Error> {
    let mut ranking = drifted_features(conn, scene).await?;
    ranking.truncate(CAUSES);
    ranking.push(quality_standing(conn, scene).await?);
    ranking.extend(recent_changes(conn, scene).await?.into_iter().next());
    Ok(ranking)
}

/// Whether labels show that quality has fallen, in the newest window that has any.
async fn quality_standing(conn: &mut PgConnection, scene: Scene<'_>) -> Result<Cause, Error> {
    let measure = configuration::quality_choice(conn, scene.model)
        .await?
        .measures(scene.model.task)
        .first()
        .copied()
        .unwrap_or(Measure::of_quality(scene.model.task)[0]);
    let values = newest(conn, scene, &[measure]).await?;
    let judged = values
        .into_iter()
        .find(|v| v.segment.is_overall() && v.status != Status::Insufficient);
    let said = |title: &str, detail: String| Cause {
        kind: CauseKind::Quality,
        title: title.to_owned(),
        detail,
    };
    let Some((value, found)) = judged.as_ref().and_then(|v| Some((v.value?, v))) else {
        return Ok(said(
            "not known",
            "no window has enough labels yet: whether this matters cannot be told".to_owned(),
        ));
    };
    let window = format!(
        "{} of {}",
        found.window.grain.as_str(),
        found.window.start.format("%Y-%m-%d")
    );
    let name = measure.as_str();
    let Some(reference) = found.reference else {
        let detail =
            format!("{name} {value:.2}, {window}; there is no reference to hold it against");
        return Ok(said("not compared", detail));
    };
    let detail = format!("{name} {value:.2} against {reference:.2} in the reference, {window}");
    let (low, high) = found.interval.unwrap_or((value, value));
    let worse = match measure.better() {
        Better::Higher => high < reference,
        Better::Lower => low > reference,
        Better::Zero | Better::Neither => low.abs().min(high.abs()) > reference.abs(),
    };
    Ok(said(
        if worse {
            "has fallen as well"
        } else {
            "has not fallen"
        },
        detail,
    ))
}

/// The newest window's values of some measures, of the whole model or of one version.
async fn newest(
    conn: &mut PgConnection,
    scene: Scene<'_>,
    measures: &[Measure],
) -> Result<Vec<StoredMeasurement>, Error> {
    let names: Vec<String> = measures
        .iter()
        .map(|measure| measure.as_str().to_owned())
        .collect();
    let selection = Selection {
        version_id: Some(scene.version_id),
        measures: Some(&names),
        from: Some(scene.since.min(scene.now - RECENT) - TimeDelta::days(31)),
        ..Selection::default()
    };
    let values =
        measurements::of_newest_windows(conn, scene.model.model_id, selection, VALUES).await?;
    let newest = values
        .iter()
        .filter(|v| v.value.is_some())
        .map(|v| v.window.start)
        .max();
    Ok(values
        .into_iter()
        .filter(|v| Some(v.window.start) == newest && v.value.is_some())
        .collect())
}

/// Features whose distribution moved most, beyond what chance gives; or the finding that none did.
pub async fn drifted_features(
    conn: &mut PgConnection,
    scene: Scene<'_>,
) -> Result<Vec<Cause>, Error> {
    let shifted = shifted_features(conn, scene).await?;
    if !shifted.is_empty() {
        return Ok(shifted);
    }
    let mut values = newest(conn, scene, &[Measure::Psi]).await?;
    values.retain(|v| v.segment.is_overall() && v.feature != super::profiling::PREDICTION);
    if values.is_empty() {
        return Ok(Vec::new());
    }
    let compared = values.len();
    let excess = |v: &StoredMeasurement| v.value.unwrap_or(0.0) - noise_floor(v);
    values.sort_by(|a, b| excess(b).total_cmp(&excess(a)));
    let moved: Vec<Cause> = values
        .iter()
        .filter(|v| v.status == Status::Drift)
        .take(NAMED)
        .map(|v| Cause {
            kind: CauseKind::DriftedFeature,
            title: v.feature.clone(),
            detail: format!(
                "PSI {:.2} against {}, {:.2} expected by chance; {} of {}",
                v.value.unwrap_or(0.0),
                against(v),
                noise_floor(v),
                v.window.grain.as_str(),
                v.window.start.format("%Y-%m-%d")
            ),
        })
        .collect();
    if !moved.is_empty() {
        return Ok(moved);
    }
    Ok(vec![Cause {
        kind: CauseKind::DriftedFeature,
        title: "no input moved".to_owned(),
        detail: format!(
            "none of {compared} features is beyond its threshold: the relation between inputs and truth may have \
             changed instead"
        ),
    }])
}

/// What the default detector has found of inputs, in its own words; what moved most first, because how surprising a change is
/// says more about the traffic than about the change. Nothing where no monitor has it, or it has found nothing.
async fn shifted_features(conn: &mut PgConnection, scene: Scene<'_>) -> Result<Vec<Cause>, Error> {
    let mut values = newest(conn, scene, &[Measure::Shift]).await?;
    values.retain(|v| v.status == Status::Drift && v.feature != super::profiling::PREDICTION);
    let size = |v: &StoredMeasurement| v.value.map_or(0.0, f64::abs);
    values.sort_by(|a, b| size(b).total_cmp(&size(a)));
    Ok(values
        .iter()
        .take(NAMED)
        .map(|v| Cause {
            kind: CauseKind::DriftedFeature,
            title: v.feature.clone(),
            detail: format!(
                "{}; against {}, {} of {}",
                change(v),
                against(v),
                v.window.grain.as_str(),
                v.window.start.format(match v.window.grain {
                    Grain::Hour => "%Y-%m-%d %H:%M UTC",
                    Grain::Day | Grain::Week | Grain::Month => "%Y-%m-%d",
                })
            ),
        })
        .collect())
}

/// What has changed and since when. How often that is wrong and what would not be seen is said once, by the alert.
fn change(value: &StoredMeasurement) -> &str {
    let told = told(value).unwrap_or_default();
    told.split_once(';').map_or(told, |(change, _)| change)
}

/// What was found, in words.
fn told(value: &StoredMeasurement) -> Option<&str> {
    value
        .recipe
        .get("detail")
        .and_then(serde_json::Value::as_str)
}

/// What a value was taken against, in words.
fn against(value: &StoredMeasurement) -> &str {
    let named = value.recipe.pointer("/reference/text");
    named
        .and_then(serde_json::Value::as_str)
        .unwrap_or("the baseline")
}

fn noise_floor(value: &StoredMeasurement) -> f64 {
    value
        .recipe
        .get("noise_floor")
        .and_then(serde_json::Value::as_f64)
        .unwrap_or(0.0)
}

/// Segments whose quality suffers most against their own reference.
pub async fn worst_segments(
    conn: &mut PgConnection,
    scene: Scene<'_>,
) -> Result<Vec<Cause>, Error> {
    let measure = scene
        .measure
        .filter(|m| m.is_quality())
        .unwrap_or(Measure::of_quality(scene.model.task)[0]);
    let mut values = newest(conn, scene, &[measure]).await?;
    values.retain(|v| !v.segment.is_overall() && v.status != Status::Insufficient);
    let harm = |v: &StoredMeasurement| {
        let (value, reference) = (v.value.unwrap_or(0.0), v.reference.unwrap_or(f64::NAN));
        match measure.better() {
            Better::Higher => reference / value,
            _ => value / reference,
        }
    };
    values.retain(|v| harm(v).is_finite() && harm(v) > 1.0);
    values.sort_by(|a, b| harm(b).total_cmp(&harm(a)));
    Ok(values
        .iter()
        .take(NAMED)
        .map(|v| Cause {
            kind: CauseKind::Segment,
            title: format!("{} = {}", v.segment.name, v.segment.value),
            detail: format!(
                "{} {:.2}, {:.1} times its reference of {:.2}, over {} labels",
                measure.as_str(),
                v.value.unwrap_or(0.0),
                harm(v),
                v.reference.unwrap_or(0.0),
                v.current_rows
            ),
        })
        .collect())
}

/// Schema findings of the newest measured window: those that break the schema, then the others, the widest first.
pub async fn schema_findings(
    conn: &mut PgConnection,
    scene: Scene<'_>,
) -> Result<Vec<Cause>, Error> {
    let mut values = newest(conn, scene, &Measure::OF_SCHEMA).await?;
    values.retain(|v| v.segment.is_overall() && v.status == Status::Drift);
    let breaks = |v: &StoredMeasurement| v.measure.parse().is_ok_and(Measure::breaks_schema);
    let width = |v: &StoredMeasurement| v.value.unwrap_or(0.0);
    values.sort_by(|a, b| {
        let broken_first = breaks(b).cmp(&breaks(a));
        broken_first.then(width(b).total_cmp(&width(a)))
    });
    Ok(values
        .iter()
        .take(NAMED)
        .map(|v| Cause {
            kind: CauseKind::Schema,
            title: match v.feature.as_str() {
                "" => "all rows".to_owned(),
                feature => feature.to_owned(),
            },
            detail: schema_detail(v),
        })
        .collect())
}

/// A finding in words: what was seen where that is more than a share, else the share.
fn schema_detail(found: &StoredMeasurement) -> String {
    let (measure, day) = (
        found.measure.replace('_', " "),
        found.window.start.format("%Y-%m-%d"),
    );
    match (told(found), found.measure.parse::<Measure>()) {
        (Some(detail), Ok(known)) if known.is_told_where_found() => {
            format!("{measure}: {detail}; on {day}")
        }
        _ => format!(
            "{measure}: {:.1} % of {} rows on {day}",
            100.0 * found.value.unwrap_or(0.0),
            found.current_rows
        ),
    }
}

/// Promotions, new versions, new schemas and applied configuration of the fortnight before the trouble began
/// until now, the newest first.
pub async fn recent_changes(
    conn: &mut PgConnection,
    scene: Scene<'_>,
) -> Result<Vec<Cause>, Error> {
    let from = scene.since - RECENT;
    let model = scene.model;
    let mut changes: Vec<(DateTime<Utc>, String, String)> = Vec::new();
    for promotion in runs::promotions(conn, model.project_id, Some(model.model_id)).await? {
        let title = format!("{} was promoted", promotion.to_name);
        changes.push((promotion.promoted_at, title, promotion.reason));
    }
    for deployment in registry::deployed(conn, model).await? {
        let title = format!("{} became {}", deployment.version, deployment.role.as_str());
        changes.push((
            deployment.started_at,
            title,
            format!("in {}", deployment.environment),
        ));
    }
    if let Some((version, source, at)) = baselines::newest_schema(conn, model.model_id).await? {
        changes.push((at, format!("schema version {version}"), source));
    }
    if let Some(definition) =
        definitions::find(conn, model.project_id, "model", &model.name).await?
    {
        let title = "the model's configuration was applied".to_owned();
        changes.push((
            definition.applied_at,
            title,
            format!("{} at {}", definition.file, definition.revision),
        ));
    }
    changes.retain(|(at, _, _)| *at >= from && *at <= scene.now);
    changes.sort_by_key(|(at, _, _)| std::cmp::Reverse(*at));
    Ok(changes
        .into_iter()
        .take(NAMED)
        .map(|(at, title, detail)| Cause {
            kind: CauseKind::RecentChange,
            title,
            detail: format!("{}: {detail}", at.format("%Y-%m-%d %H:%M")),
        })
        .collect())
}

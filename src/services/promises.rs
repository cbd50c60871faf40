//! What a model's rules promise: how often each errs and what it would not miss, by what its windows have lately been like.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use super::{Error, configuration, registry};
use crate::domain::ids::AlertId;
use crate::domain::promise::{self, Known, PromiseOf};
use crate::domain::rule::{Condition, MeasuredCondition, Rule};
use crate::domain::window::Grain;
use crate::storage::alerts;
use crate::storage::measurements::{self, StoredMeasurement};
use crate::storage::models::Model;

/// How many values of a rule are looked at, at most.
const VALUES: i64 = 20_000;

/// A rule with what it promises.
#[derive(Debug, Clone, PartialEq)]
pub struct RulePromises {
    pub rule: Rule,
    pub promises: Vec<PromiseOf>,
    /// Its alert, while it is open.
    pub open: Option<AlertId>,
}

/// Every rule on a model by name, with what it promises at the traffic of its champion.
///
/// # Errors
/// When the database fails.
pub async fn of_model(
    conn: &mut PgConnection,
    model: &Model,
    now: DateTime<Utc>,
) -> Result<Vec<RulePromises>, Error> {
    let open = alerts::open_rules(conn, model.model_id).await?;
    let mut told = Vec::new();
    for rule in configuration::rules(conn, model).await? {
        let promises = of_rule(conn, model, &rule, now).await?;
        let alert = open.iter().find(|(name, _)| *name == rule.name);
        told.push(RulePromises {
            open: alert.map(|(_, alert_id)| *alert_id),
            promises,
            rule,
        });
    }
    told.sort_by(|a, b| a.rule.name.cmp(&b.rule.name));
    Ok(told)
}

/// What one rule promises.
///
/// # Errors
/// When the database fails.
pub async fn of_rule(
    conn: &mut PgConnection,
    model: &Model,
    rule: &Rule,
    now: DateTime<Utc>,
) -> Result<Vec<PromiseOf>, Error> {
    let known = match &rule.condition {
        Condition::Silence { .. } => Vec::new(),
        Condition::Measured(condition) => known(conn, model, condition, now).await?,
    };
    Ok(promise::of_rule(rule, &known, &model.unit))
}

async fn known(
    conn: &mut PgConnection,
    model: &Model,
    condition: &MeasuredCondition,
    now: DateTime<Utc>,
) -> Result<Vec<Known>, Error> {
    let Some(champion) = registry::champion(conn, model).await? else {
        return Ok(Vec::new());
    };
    let measures: Vec<String> = (condition.measures.iter())
        .map(|measure| measure.as_str().to_owned())
        .collect();
    let values = measurements::newest(
        conn,
        champion.version_id,
        &condition.monitor,
        &measures,
        now - recent(condition.grain),
        VALUES,
    )
    .await?;
    Ok(values.into_iter().filter_map(as_known).collect())
}

/// How old a window may be that says what a rule's windows are like. Labels may come weeks late; of hours there are too many to look
/// further back than it takes.
fn recent(grain: Grain) -> TimeDelta {
    TimeDelta::days(match grain {
        Grain::Hour => 14,
        Grain::Day => 60,
        Grain::Week => 120,
        Grain::Month => 400,
    })
}

/// Nothing of a value whose recipe is of a release that told less.
fn as_known(stored: StoredMeasurement) -> Option<Known> {
    Some(Known {
        measure: stored.measure.parse().ok()?,
        feature: stored.feature,
        segment: stored.segment,
        value: stored.value?,
        interval: stored.interval,
        reference: stored.reference,
        current_rows: stored.current_rows,
        reference_rows: stored.reference_rows,
        recipe: serde_json::from_value(stored.recipe).ok()?,
    })
}

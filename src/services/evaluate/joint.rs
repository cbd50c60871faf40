//! Columns together over days: the sums of a sample of the day's rows and of the thirteen days before it, beside the days of the
//! baseline.
//!
//! A day's sums are kept, so that its rows are read once, and say something still when the rows are gone. What is found anew is
//! explained by a classifier that tells the day's rows from the baseline's sample: which columns it leans on.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use chrono::NaiveTime;
use sqlx::PgConnection;

use super::rows;
use super::scene::Scene;
use super::subject::Subject;
use crate::domain::attributions::Attributions;
use crate::domain::drift::Judged;
use crate::domain::joint::{self, DaySums, JointReference};
use crate::domain::measurement::{Measure, Measurement, Segment, Status};
use crate::domain::row_measures::{About, Sides};
use crate::domain::sample::RowSample;
use crate::domain::schema::FeatureType;
use crate::domain::shift::{date_of, day_number};
use crate::services::Error;
use crate::services::joint_reference::type_of;
use crate::services::profiling::PREDICTION;
use crate::storage::joints::{self, StoredReference};
use crate::storage::samples;

/// What the monitor measures of columns together; nothing when it chose nothing of the kind.
pub(super) async fn measure(
    conn: &mut PgConnection,
    scene: &Scene<'_>,
    subject: &Subject<'_>,
) -> Result<Vec<Measurement>, Error> {
    let Some(baseline_id) = subject.baseline_id() else {
        return Ok(Vec::new());
    };
    if subject.monitor.joint_measures().next().is_none() {
        return Ok(Vec::new());
    }
    let all = |status: Status, cause: &str| -> Vec<Measurement> {
        let measures = subject.monitor.joint_measures();
        measures
            .map(|measure| subject.unsaid(measure, status, cause))
            .collect()
    };
    let Some(stored) = joints::reference(conn, baseline_id).await? else {
        let cause = "the baseline says nothing of its columns together; fit it again, on rows and not on statistics";
        return Ok(all(Status::Insufficient, cause));
    };
    let reference = match &stored.reference {
        Ok(bytes) => match JointReference::decode(bytes) {
            Ok(reference) => reference,
            Err(error) => {
                tracing::error!(%baseline_id, %error, "what a baseline says of its columns together is damaged");
                let cause = "what the baseline says of its columns together is damaged; fit the baseline again";
                return Ok(all(Status::Error, cause));
            }
        },
        Err(cause) => return Ok(all(Status::Insufficient, cause)),
    };
    let number = day_number(subject.window.start);
    let span = span_of(&stored);
    if span.as_ref().is_some_and(|days| days.contains(&number)) {
        return Ok(all(
            Status::Insufficient,
            "the day is part of the reference",
        ));
    }
    let (sample, sums) = today(conn, subject, &reference).await?;
    let mut days = earlier(conn, scene, subject, span, number).await?;
    if sums.rows() > 0 {
        let of = (subject.model.project_id, subject.model.model_id);
        let course = (subject.version_id, baseline_id);
        let blob = sums.encode();
        joints::put_day(conn, of, course, (date_of(number), &blob), subject.now).await?;
        days.insert(number, sums);
    }
    // Rows that are gone have left their sums.
    let rows = days.get(&number).map_or(0, DaySums::rows);
    if rows == 0 {
        return Ok(all(Status::Insufficient, "the day has no rows"));
    }
    let is_holiday = scene.holidays.contains(&number);
    let measures: Vec<Measure> = subject.monitor.joint_measures().collect();
    let circumstances = (subject.monitor.min_rows, is_holiday);
    let judged = joint::judged_today(&reference, &measures, &days, circumstances);
    // Day after day of the same finding would have the same said of it, by far the dearest part of it.
    let told_apart = if judged.iter().any(|(_, is_new)| *is_new) {
        told_apart(conn, subject).await?
    } else {
        None
    };
    let drawn = match sample.rows() {
        0 => "the day's rows are gone, their sums were kept".to_owned(),
        _ => format!("{} of the day", sample.note()),
    };
    let told = judged.into_iter().map(|(judged, is_new)| {
        let mut recipe = judged.recipe;
        recipe.method = format!("{}; {drawn}", recipe.method);
        recipe.reference = subject.fitted_reference();
        if let Some(classifier) = told_apart.as_ref().filter(|_| is_new) {
            joint::explain(&mut recipe, classifier);
        }
        Measurement {
            value: judged.value,
            interval: judged.interval,
            p_value: judged.p_value,
            status: judged.status,
            current_rows: rows,
            reference_rows: reference.rows(),
            baseline_id: Some(baseline_id),
            recipe,
            ..subject.blank(&Segment::overall(), "", judged.measure)
        }
    });
    Ok(told.collect())
}

fn span_of(stored: &StoredReference) -> Option<RangeInclusive<i64>> {
    let number = |day: chrono::NaiveDate| day_number(day.and_time(NaiveTime::MIN).and_utc());
    stored
        .span
        .map(|(first, last)| number(first)..=number(last))
}

/// The sums of this day, as they were counted before, and of the days before it that are no holidays and not the baseline's own.
/// What is damaged is left out.
async fn earlier(
    conn: &mut PgConnection,
    scene: &Scene<'_>,
    subject: &Subject<'_>,
    span: Option<RangeInclusive<i64>>,
    number: i64,
) -> Result<BTreeMap<i64, DaySums>, Error> {
    let Some(baseline_id) = subject.baseline_id() else {
        return Ok(BTreeMap::new());
    };
    let first = *joint::days_until(number, span.as_ref()).start();
    let course = (subject.version_id, baseline_id);
    let stored = joints::days(conn, course, (date_of(first), date_of(number))).await?;
    let mut days = BTreeMap::new();
    for (date, blob) in stored {
        let day = day_number(date.and_time(NaiveTime::MIN).and_utc());
        if day != number && scene.holidays.contains(&day) {
            continue;
        }
        match DaySums::decode(&blob) {
            Ok(sums) => {
                days.insert(day, sums);
            }
            Err(error) => {
                tracing::error!(%date, %error, "the sums of a day are damaged; it is left out");
            }
        }
    }
    Ok(days)
}

/// The day's rows that were drawn, and their sums.
async fn today(
    conn: &mut PgConnection,
    subject: &Subject<'_>,
    reference: &JointReference,
) -> Result<(RowSample, DaySums), Error> {
    let wanted: Vec<String> = reference.columns().map(str::to_owned).collect();
    let sample = rows::window_sample(conn, subject, &wanted).await?;
    let columns: Vec<Vec<f64>> = (sample.columns.iter())
        .map(|column| {
            let feature_type = type_of(&subject.yardstick, column);
            joint::numbers(column, feature_type.unwrap_or(FeatureType::Number))
        })
        .collect();
    let sums = reference.day(&columns).map_err(Error::internal)?;
    Ok((sample, sums))
}

/// What a classifier says that is to tell the day's rows from the baseline's sample, by all features that can be looked at
/// together; nothing where the baseline has no sample.
async fn told_apart(
    conn: &mut PgConnection,
    subject: &Subject<'_>,
) -> Result<Option<Judged>, Error> {
    let Some(baseline_id) = subject.baseline_id() else {
        return Ok(None);
    };
    let stored = samples::of_baseline(conn, baseline_id).await?;
    let Some(baseline) = stored.and_then(|bytes| RowSample::decode(&bytes).ok()) else {
        return Ok(None);
    };
    let features: Vec<(String, FeatureType)> = (baseline.columns.iter())
        .filter(|column| column.name != PREDICTION)
        .filter_map(|column| Some((column.name.clone(), type_of(&subject.yardstick, column)?)))
        .filter(|(_, feature_type)| About::feature_of(*feature_type).is_none())
        .collect();
    let names: Vec<String> = features.iter().map(|(name, _)| name.clone()).collect();
    let sides = Sides {
        reference: &baseline,
        current: &rows::window_sample(conn, subject, &names).await?,
        features: &features,
        attributions: &Attributions::default(),
        thresholds: &BTreeMap::new(),
        min_rows: subject.monitor.min_rows,
        looked_at: 1,
    };
    Ok(Some(sides.judge(
        About::Together,
        "",
        Measure::DomainClassifierAuc,
    )))
}

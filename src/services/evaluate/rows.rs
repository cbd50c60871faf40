//! Measures of rows: a sample of the window's predictions against the sample that the baseline keeps.
//!
//! They are of all rows of the window, not of its segments. What is read is bounded: the ids and times of so many chunks
//! at most, and of these the columns that are needed.

use sqlx::PgConnection;

use super::Subject;
use crate::domain::attributions::Attributions;
use crate::domain::measurement::{Measure, Measurement, Segment, Status};
use crate::domain::row_measures::{About, Sides, not_measured};
use crate::domain::sample::{Draw, RowSample, SAMPLE_ROWS, hash_of};
use crate::domain::schema::{self, FeatureType};
use crate::services::Error;
use crate::services::configuration;
use crate::services::profiling::PREDICTION;
use crate::services::row_sample::{Chunks, Span};
use crate::storage::samples;

/// What the monitor measures of rows; nothing when it chose nothing of the kind.
pub(super) async fn measure(
    conn: &mut PgConnection,
    subject: &Subject<'_>,
) -> Result<Vec<Measurement>, Error> {
    let chosen = |measure: &Measure| subject.monitor.measures.contains(measure);
    let Some(baseline_id) = subject.baseline_id() else {
        return Ok(Vec::new());
    };
    if !Measure::ALL
        .iter()
        .any(|measure| measure.is_of_rows() && chosen(measure))
    {
        return Ok(Vec::new());
    }
    let stored = samples::of_baseline(conn, baseline_id).await?;
    let reference = match stored.as_deref().map(RowSample::decode) {
        Some(Ok(sample)) => sample,
        Some(Err(error)) => {
            tracing::error!(%baseline_id, %error, "a baseline's sample is damaged");
            let cause = "the baseline's sample of rows is damaged; fit the baseline again";
            return Ok(without_sample(subject, Status::Error, cause));
        }
        None => {
            let cause =
                "the baseline has no sample of rows; fit it again, on rows and not on statistics";
            return Ok(without_sample(subject, Status::Insufficient, cause));
        }
    };
    let definition = configuration::model_definition(conn, subject.model).await?;
    let attributions = definition.map_or_else(Attributions::default, |model| model.attributions);
    let wanted = Wanted::of(subject, &reference, &attributions);
    let current = window_sample(conn, subject, &wanted.columns()).await?;
    let sides = Sides {
        reference: &reference,
        current: &current,
        features: &wanted.together,
        attributions: &attributions,
        thresholds: &subject.monitor.thresholds,
        min_rows: subject.monitor.min_rows,
        looked_at: wanted.measured.len(),
    };
    let mut values = Vec::new();
    for (about, feature) in &wanted.measured {
        for measure in about.measures().iter().filter(|measure| chosen(measure)) {
            let judged = sides.judge(*about, feature, *measure);
            values.push(Measurement {
                value: judged.value,
                interval: judged.interval,
                p_value: judged.p_value,
                status: judged.status,
                recipe: judged.recipe,
                current_rows: current.rows() as u64,
                reference_rows: reference.rows() as u64,
                baseline_id: Some(baseline_id),
                ..subject.blank(&Segment::overall(), feature, *measure)
            });
        }
    }
    Ok(values)
}

/// What is said where there is no sample to compare with: which features there are is not known then.
fn without_sample(subject: &Subject<'_>, status: Status, cause: &str) -> Vec<Measurement> {
    let chosen = subject
        .monitor
        .measures
        .iter()
        .filter(|measure| measure.is_of_rows());
    chosen
        .map(|measure| {
            let judged = not_measured(*measure, status, cause.to_owned());
            Measurement {
                status: judged.status,
                recipe: judged.recipe,
                baseline_id: subject.baseline_id(),
                ..subject.blank(&Segment::overall(), "", *measure)
            }
        })
        .collect()
}

/// What is measured of which features of the baseline's sample.
struct Wanted {
    together: Vec<(String, FeatureType)>,
    measured: Vec<(About, String)>,
    attributions: Vec<String>,
}

impl Wanted {
    fn of(subject: &Subject<'_>, reference: &RowSample, attributions: &Attributions) -> Self {
        let mut wanted = Self {
            together: Vec::new(),
            measured: Vec::new(),
            attributions: Vec::new(),
        };
        for column in reference
            .columns
            .iter()
            .filter(|column| column.name != PREDICTION)
        {
            let name = &column.name;
            let expected = subject.yardstick.expectation(name).map(|e| e.feature_type);
            let inferred = || schema::infer([column]).pop().map(|e| e.feature_type);
            let Some(feature_type) = expected.or_else(inferred) else {
                continue;
            };
            if attributions.feature_of(name).is_some() && feature_type.is_numeric() {
                wanted.attributions.push(name.clone());
                continue;
            }
            match About::feature_of(feature_type) {
                Some(about) => wanted.measured.push((about, name.clone())),
                None => wanted.together.push((name.clone(), feature_type)),
            }
        }
        wanted.measured.push((About::Together, String::new()));
        wanted.measured.push((About::Attributions, String::new()));
        let chosen = &subject.monitor.measures;
        let is_chosen = |about: About| about.measures().iter().any(|m| chosen.contains(m));
        wanted.measured.retain(|(about, _)| is_chosen(*about));
        if !is_chosen(About::Together) {
            wanted.together.clear();
        }
        if !is_chosen(About::Attributions) {
            wanted.attributions.clear();
        }
        wanted
    }

    /// The features that have to be read.
    fn columns(&self) -> Vec<String> {
        let single = self.measured.iter().map(|(_, name)| name);
        let single = single.filter(|name| !name.is_empty());
        let together = self.together.iter().map(|(name, _)| name);
        single
            .chain(together)
            .chain(&self.attributions)
            .cloned()
            .collect()
    }
}

/// Draws a sample of the window's predictions by their ids, and reads these columns of it, in this order.
pub(super) async fn window_sample(
    conn: &mut PgConnection,
    subject: &Subject<'_>,
    columns: &[String],
) -> Result<RowSample, Error> {
    let (version_id, window) = (subject.version_id, subject.window);
    let span = Span {
        version_id,
        from: window.start,
        to: window.end,
    };
    let chunks = Chunks::of(conn, span).await?;
    let mut draw = Draw::new(SAMPLE_ROWS);
    for at in 0..chunks.len() {
        for (id, place) in chunks.ids(conn, at).await? {
            draw.offer(hash_of(&id), place);
        }
    }
    let seen = draw.seen();
    chunks.sample(conn, draw.rows(), seen, columns).await
}

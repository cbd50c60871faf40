//! Why quality was lost, from the stored rows and labels: a sample of the labelled predictions of a window against one of
//! a reference span, with the arithmetic of `domain::causes`.
//!
//! Everything is computed when it is asked for, because labels go on coming for weeks after an alert. What is read and kept
//! is bounded: so many chunks and rows a side, and fewer rows the more features there are. The report says so.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use tokio::sync::Semaphore;

use super::profiling::{PREDICTION, Yardstick};
use super::quality::QualityOutcome;
use super::row_sample::{Chunks, Span};
use super::{Error, Services, configuration, registry};
use crate::domain::causes::{self, CauseReport, Compared, LossKind, Setting, Side};
use crate::domain::columns::{Column, Value};
use crate::domain::definitions::MonitorKind;
use crate::domain::ids::VersionId;
use crate::domain::measurement::Measure;
use crate::domain::sample::{Draw, hash_of};
use crate::domain::schema::FeatureType;
use crate::storage::models::{self, Model};
use crate::storage::{baselines, labels, windows};

/// Rows of a side that are compared, at most.
const MOST_ROWS: usize = 20_000;
/// Values of a side that are kept at most: 18 MB, and about twice that while causes are looked for.
const MOST_VALUES: usize = 2_000_000;
/// The window when nobody names one, and the span before it that is compared with.
const USUAL_WINDOW: TimeDelta = TimeDelta::days(7);
const USUAL_REFERENCE: TimeDelta = TimeDelta::days(28);

/// What is asked for; whatever is absent is chosen.
#[derive(Debug, Clone, Default)]
pub struct Question {
    /// The champion when absent.
    pub version: Option<String>,
    /// Which loss is looked at; the first measure of quality of the model's monitor when absent.
    pub measure: Option<Measure>,
    /// The window: the last seven days that have labels when absent.
    pub from: Option<DateTime<Utc>>,
    pub to: Option<DateTime<Utc>>,
    /// The span it is compared with: that of the quality monitor's baseline where it is of the same version, else the four
    /// weeks before the window.
    pub reference_from: Option<DateTime<Utc>>,
    pub reference_to: Option<DateTime<Utc>>,
}

/// How long a page with other things on it waits for a report.
const A_MOMENT: Duration = Duration::from_secs(2);
/// How many reports are remembered.
const REMEMBERED: usize = 64;

/// What a report was made of: the spans, and how often something in them has changed.
type Key = (Span, Span, LossKind, i64);

type Known = (Key, Arc<CauseReport>);

/// Reports of late, and the right to make one: one at a time, so that the memory this takes is that of one.
#[derive(Debug, Clone)]
pub struct Reports {
    known: Arc<Mutex<VecDeque<Known>>>,
    making: Arc<Semaphore>,
}

impl Default for Reports {
    fn default() -> Self {
        Self {
            known: Arc::default(),
            making: Arc::new(Semaphore::new(1)),
        }
    }
}

impl Reports {
    fn find(&self, key: &Key) -> Option<Arc<CauseReport>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known.iter().find(|(of, _)| of == key);
        found.map(|(_, report)| report.clone())
    }

    fn keep(&self, key: Key, report: Arc<CauseReport>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.push_front((key, report));
        known.truncate(REMEMBERED);
    }
}

/// Looks for the causes of a change of quality.
///
/// # Errors
/// Not found for an unknown version or a model without one; invalid for spans that are empty or overlap.
pub async fn look(
    services: &Services,
    model: &Model,
    question: &Question,
    now: DateTime<Utc>,
) -> Result<Arc<CauseReport>, Error> {
    let mut conn = services.pool.acquire().await?;
    let asked = Asked::of(&mut conn, model, question, now).await?;
    let mut revision = 0;
    for span in [asked.reference, asked.current] {
        let totals = windows::totals(&mut conn, span.version_id, span.from, span.to).await?;
        revision += totals.revision;
    }
    drop(conn);
    let key = (asked.reference, asked.current, asked.loss, revision);
    if let Some(known) = services.causes.find(&key) {
        return Ok(known);
    }
    let turn = services.causes.making.clone();
    let (services, model) = (services.clone(), model.clone());
    // A task of its own: whoever asked may lose patience, and finds it made when they come back.
    let making = tokio::spawn(async move {
        let _one_at_a_time = turn.acquire().await.map_err(Error::internal)?;
        if let Some(known) = services.causes.find(&key) {
            return Ok(known);
        }
        let report = Arc::new(made(&services, &model, asked).await?);
        services.causes.keep(key, report.clone());
        Ok(report)
    });
    making.await.map_err(Error::internal)?
}

/// The same for somebody who has other things to look at: nothing if it takes longer than a moment. It goes on, and is there
/// a little later.
///
/// # Errors
/// As [`look`].
pub async fn glance(
    services: &Services,
    model: &Model,
    question: &Question,
    now: DateTime<Utc>,
) -> Result<Option<Arc<CauseReport>>, Error> {
    let looking = look(services, model, question, now);
    tokio::time::timeout(A_MOMENT, looking)
        .await
        .ok()
        .transpose()
}

async fn made(services: &Services, model: &Model, asked: Asked) -> Result<CauseReport, Error> {
    let mut conn = services.pool.acquire().await?;
    let names = features(&mut conn, model, &asked).await?;
    let most = MOST_ROWS.min(MOST_VALUES / (names.len() + 1));
    let mut notes = asked.notes;
    let (of_reference, reference, note) = side(
        &mut conn,
        model,
        ("reference", asked.reference),
        (asked.loss, most, &names),
    )
    .await?;
    notes.extend(note);
    let (of_current, current, note) = side(
        &mut conn,
        model,
        ("window", asked.current),
        (asked.loss, most, &names),
    )
    .await?;
    notes.extend(note);
    drop(conn);
    let setting = Setting {
        model: model.name.clone(),
        version: asked.version,
        unit: model.unit.clone(),
        loss: asked.loss,
        reference: of_reference,
        current: of_current,
        notes,
    };
    // A second of arithmetic would hold up every other request of this thread.
    tokio::task::spawn_blocking(move || causes::find(setting, &reference, &current))
        .await
        .map_err(Error::internal)
}

/// The labelled rows of a span, what there is of them, and that they are a sample where they are.
async fn side(
    conn: &mut PgConnection,
    model: &Model,
    (name, span): (&str, Span),
    (loss, most, names): (LossKind, usize, &[String]),
) -> Result<(Compared, Side, Option<String>), Error> {
    let labelled = labelled(conn, model, span, loss, most).await?;
    let side = labelled.side(conn, names).await?;
    let compared = compared(conn, span, &labelled, &side).await?;
    let note = sampled(name, &labelled, &compared);
    Ok((compared, side, note))
}

/// A question with everything chosen.
struct Asked {
    version: String,
    loss: LossKind,
    reference: Span,
    current: Span,
    notes: Vec<String>,
}

impl Asked {
    async fn of(
        conn: &mut PgConnection,
        model: &Model,
        question: &Question,
        now: DateTime<Utc>,
    ) -> Result<Self, Error> {
        let (version_id, version) = version(conn, model, question.version.as_deref()).await?;
        let to = match question.to {
            Some(to) => to,
            None => {
                let newest = labels::newest_outcome(conn, version_id).await?;
                // The day after the newest label is the first that says nothing.
                newest.map_or(now, |newest| model.base_window.window_at(newest).end)
            }
        };
        let from = question.from.unwrap_or(to - USUAL_WINDOW);
        let current = span("to", version_id, from, to)?;
        let (reference, notes) = match (question.reference_from, question.reference_to) {
            (None, None) => usual_reference(conn, model, current).await?,
            (from, to) => {
                let to = to.unwrap_or(current.from);
                let from = from.unwrap_or(to - USUAL_REFERENCE);
                (span("reference_to", version_id, from, to)?, Vec::new())
            }
        };
        if reference.from < current.to && current.from < reference.to {
            let cause = "the reference must not overlap the window it is compared with";
            return Err(Error::invalid_field("reference_to", cause));
        }
        let measure = match question.measure {
            Some(measure) => Some(measure),
            None => configuration::quality_choice(conn, model)
                .await?
                .measures(model.task)
                .first()
                .copied(),
        };
        Ok(Self {
            version,
            loss: LossKind::of(model.task, measure),
            reference,
            current,
            notes,
        })
    }
}

async fn version(
    conn: &mut PgConnection,
    model: &Model,
    asked: Option<&str>,
) -> Result<(VersionId, String), Error> {
    let known = models::versions(conn, model.model_id).await?;
    let found = match asked {
        Some(name) => known.into_iter().find(|version| version.name == name),
        None => {
            let champion = registry::champion(conn, model).await?;
            let champion = champion.map(|champion| champion.version_id);
            known
                .into_iter()
                .find(|version| Some(version.version_id) == champion)
        }
    };
    found
        .map(|version| (version.version_id, version.name))
        .ok_or_else(|| match asked {
            Some(name) => Error::not_found(format!("version {name:?}")),
            None => Error::not_found("a champion of this model"),
        })
}

fn span(
    field: &'static str,
    version_id: VersionId,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Result<Span, Error> {
    if from >= to {
        return Err(Error::invalid_field(
            field,
            "must be after the beginning of the span",
        ));
    }
    Ok(Span {
        version_id,
        from,
        to,
    })
}

/// The window of the quality monitor's baseline where it is of this version and over by then, else the weeks before.
async fn usual_reference(
    conn: &mut PgConnection,
    model: &Model,
    current: Span,
) -> Result<(Span, Vec<String>), Error> {
    let monitors = configuration::monitors(conn, model).await?;
    let named = monitors
        .iter()
        .filter(|monitor| monitor.kind == MonitorKind::Quality)
        .find_map(|monitor| monitor.baseline.as_deref());
    let fitted = baselines::in_force(conn, model.model_id).await?;
    let window = fitted.into_iter().find_map(|baseline| {
        let (from, to) = baseline.window_from.zip(baseline.window_to)?;
        let fits = Some(baseline.name.as_str()) == named
            && baseline.version_id == Some(current.version_id)
            && to <= current.from;
        fits.then_some((baseline.name, from, to))
    });
    let (from, to, note) = match window {
        Some((name, from, to)) => (from, to, format!("compared with the baseline {name}")),
        None => (
            current.from - USUAL_REFERENCE,
            current.from,
            "compared with the four weeks before, of the same version".to_owned(),
        ),
    };
    let reference = Span {
        version_id: current.version_id,
        from,
        to,
    };
    Ok((reference, vec![note]))
}

/// The features to look at: what the schema knows, else what rows have; no texts, times or attributions.
async fn features(
    conn: &mut PgConnection,
    model: &Model,
    asked: &Asked,
) -> Result<Vec<String>, Error> {
    let yardstick = Yardstick::load(conn, model.model_id).await?;
    let sorts = |feature_type| {
        use FeatureType::{Text, Timestamp, Vector};
        !matches!(feature_type, Text | Timestamp | Vector)
    };
    let mut names: Vec<String> = (yardstick.expectations())
        .filter(|expected| sorts(expected.feature_type))
        .map(|expected| expected.feature.clone())
        .collect();
    if yardstick.expectations().next().is_none() {
        let chunks = Chunks::of(conn, asked.current).await?;
        names = chunks.features(conn).await?;
    }
    let definition = configuration::model_definition(conn, model).await?;
    let attributions = definition
        .map(|model| model.attributions)
        .unwrap_or_default();
    names.retain(|name| attributions.feature_of(name).is_none());
    names.sort_unstable();
    Ok(names)
}

/// The labelled rows of a span.
struct Labelled {
    chunks: Chunks,
    /// How many there are, in the chunks that were looked at.
    found: u64,
    drawn: Vec<u64>,
    /// The loss and the prediction of each row that was drawn, by its place.
    outcomes: HashMap<u64, (f64, Answer)>,
}

/// A prediction, as a feature of its row.
#[derive(Debug, Clone, PartialEq)]
enum Answer {
    Number(f64),
    Class(String),
    None,
}

async fn labelled(
    conn: &mut PgConnection,
    model: &Model,
    span: Span,
    loss: LossKind,
    most: usize,
) -> Result<Labelled, Error> {
    let chunks = Chunks::of(conn, span).await?;
    let mut draw = Draw::new(most);
    let mut outcomes = HashMap::new();
    for at in 0..chunks.len() {
        let places: HashMap<String, u64> = chunks.ids(conn, at).await?.into_iter().collect();
        let ids: Vec<&str> = places.keys().map(String::as_str).collect();
        let of = (span.version_id, span.from, span.to);
        for (id, outcome) in labels::outcomes_of(conn, of, &ids).await? {
            let answer = match (
                &outcome.predicted_class,
                outcome.score,
                outcome.predicted_value,
            ) {
                (_, Some(score), _) => Answer::Number(score),
                (Some(class), ..) => Answer::Class(class.clone()),
                (.., Some(value)) => Answer::Number(value),
                _ => Answer::None,
            };
            let outcome = QualityOutcome::of_stored(outcome);
            let (Some(place), Some(lost)) = (places.get(&id), outcome.loss(model, loss)) else {
                continue;
            };
            draw.offer(hash_of(&id), *place);
            outcomes.insert(*place, (lost, answer));
        }
    }
    let found = draw.seen();
    let drawn = draw.rows();
    Ok(Labelled {
        chunks,
        found,
        drawn,
        outcomes,
    })
}

impl Labelled {
    /// Reads the features of the drawn rows.
    async fn side(&self, conn: &mut PgConnection, names: &[String]) -> Result<Side, Error> {
        let read = self
            .chunks
            .sample(conn, self.drawn.clone(), self.found, names);
        let sample = read.await?;
        let (mut losses, mut answers) = (Vec::new(), Column::new(PREDICTION));
        for (loss, answer) in self
            .drawn
            .iter()
            .filter_map(|place| self.outcomes.get(place))
        {
            losses.push(*loss);
            answers.push(&match answer {
                Answer::Number(value) => Value::Number(*value),
                Answer::Class(class) => Value::Text(class.as_str().into()),
                Answer::None => Value::Null,
            });
        }
        let mut columns = sample.columns;
        columns.push(answers);
        Ok(Side {
            columns,
            losses,
            times: sample.times,
        })
    }
}

async fn compared(
    conn: &mut PgConnection,
    span: Span,
    labelled: &Labelled,
    side: &Side,
) -> Result<Compared, Error> {
    let totals = windows::totals(conn, span.version_id, span.from, span.to).await?;
    let count = side.losses.len();
    Ok(Compared {
        from: span.from,
        to: span.to,
        predictions: u64::try_from(totals.predictions).unwrap_or(0),
        labelled: labelled.found,
        compared: count as u64,
        mean_loss: (count > 0).then(|| side.losses.iter().sum::<f64>() / count as f64),
    })
}

/// That not everything was looked at, where it was not.
fn sampled(name: &str, labelled: &Labelled, compared: &Compared) -> Option<String> {
    let some = labelled.chunks.are_some();
    if !some && compared.compared == compared.labelled {
        return None;
    }
    let of = if some {
        ", themselves from about 260,000 of its predictions"
    } else {
        ""
    };
    Some(format!(
        "the {name} is a sample of {} of {} labelled predictions{of}, drawn by their ids: at most {MOST_ROWS} rows and {} million \
         values a side are kept",
        compared.compared,
        compared.labelled,
        MOST_VALUES / 1_000_000
    ))
}

//! What a model is compared with, on its page: the days of each baseline, whether they are of one kind, and what the drift
//! detector would see with them.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use chrono::{NaiveDate, NaiveTime};
use serde::Deserialize;
use sqlx::PgConnection;

use crate::domain::ids::ModelId;
use crate::domain::shift::{self, Unit, few_rows_words, unit_of};
use crate::services::access::Scope;
use crate::services::baselines::{self as service, Declared, ReferenceWindow};
use crate::services::{Error, Services, registry};
use crate::stats::detector::{
    FeatureReference, Footing, Reference, ScoreKind, Season, Settings, SmallestChange, Verdict,
};
use crate::storage::baselines::{self, Baseline};
use crate::storage::shifts::{self, StoredReference};
use crate::web::answer::Failure;
use crate::web::escape::path_segment;
use crate::web::tone::{Badge, Tone};
use crate::web::visitor::SignedForm;
use crate::web::wording;

/// How many days are named in a sentence.
const NAMED: usize = 8;
/// The windows for which the smallest change is shown.
fn lengths(unit: Unit) -> [(&'static str, f64); 3] {
    match unit {
        Unit::Hour => [("1 hour", 1.0 / 24.0), ("1 day", 1.0), ("7 days", 7.0)],
        Unit::Day => [("1 day", 1.0), ("7 days", 7.0), ("28 days", 28.0)],
    }
}

/// A baseline and what its days say of it.
#[derive(Debug, Clone)]
pub struct BaselineCard {
    pub name: String,
    pub source: String,
    pub state: Badge,
    pub sentences: Vec<String>,
    /// The smallest changes that are seen, judged by day and by hour.
    pub smallest: Vec<SmallestTable>,
    pub action: String,
}

/// The smallest change that is seen of each feature.
#[derive(Debug, Clone)]
pub struct SmallestTable {
    pub title: &'static str,
    /// Begins the table's id.
    pub id: &'static str,
    /// Within which time.
    pub lengths: [&'static str; 3],
    pub lines: Vec<SmallestLine>,
}

/// What would be seen of a feature within three lengths of time.
#[derive(Debug, Clone)]
pub struct SmallestLine {
    pub feature: String,
    pub what: String,
    /// With the length each is for.
    pub sizes: [(&'static str, String); 3],
}

/// Reads the baselines in force of a model.
pub async fn cards(
    conn: &mut PgConnection,
    model_id: ModelId,
    model_href: &str,
) -> sqlx::Result<Vec<BaselineCard>> {
    let mut cards = Vec::new();
    for baseline in baselines::in_force(conn, model_id).await? {
        let days = shifts::reference(conn, baseline.baseline_id, Unit::Day).await?;
        let hours = shifts::reference(conn, baseline.baseline_id, Unit::Hour).await?;
        cards.push(card(&baseline, [days.as_ref(), hours.as_ref()], model_href));
    }
    Ok(cards)
}

fn card(
    baseline: &Baseline,
    [days, hours]: [Option<&StoredReference>; 2],
    model_href: &str,
) -> BaselineCard {
    let source = match (
        baseline.window_from,
        baseline.window_to,
        &baseline.file_name,
    ) {
        (Some(from), Some(to), _) => format!("production, {}", wording::window(from, to)),
        (.., Some(file)) => format!("the file {file}"),
        _ => baseline.source.clone(),
    };
    let mut sentences = Vec::new();
    if let Some(reason) = &baseline.reason {
        sentences.push(format!("Chosen by {}: {reason}", baseline.created_by));
    }
    sentences.extend(baseline.cause.clone());
    let mut tables = Vec::new();
    let is_fitted = baseline.state == "fitted";
    for fitted in [days, hours].into_iter().flatten().filter(|_| is_fitted) {
        let reference = Reference::decode(&fitted.reference).ok();
        sentences.extend(match fitted.unit {
            Unit::Day => of_days(fitted),
            Unit::Hour => of_hours(fitted, reference.as_ref()),
        });
        sentences.extend(reference.as_ref().and_then(pattern));
        let dated = reference.filter(|_| fitted.span.is_some());
        tables.extend(dated.as_ref().and_then(smallest));
    }
    BaselineCard {
        name: baseline.name.clone(),
        source: format!("{source}, {} rows", wording::count(baseline.rows)),
        state: state(baseline, days),
        smallest: tables,
        sentences,
        action: format!("{model_href}/baselines/{}", path_segment(&baseline.name)),
    }
}

fn state(baseline: &Baseline, stored: Option<&StoredReference>) -> Badge {
    match (baseline.state.as_str(), stored) {
        ("fitted", Some(stored)) if !stored.unstable.is_empty() => {
            Badge::new("Not of one kind", Tone::Warning)
        }
        ("fitted", Some(stored)) if stored.footing == "days" => {
            Badge::new("Its days are of one kind", Tone::Good)
        }
        ("fitted", _) => Badge::new("Its days are not known", Tone::Info),
        (other, _) => Badge::state(other),
    }
}

/// What is known of the days, and how often the detector errs with them.
fn of_days(stored: &StoredReference) -> Vec<String> {
    let mut sentences = Vec::new();
    match stored.span {
        None => sentences.push(
            "Its rows have no times, so nothing is known of how days differ: drift is held against chance among rows and a \
             change of 0.1 standard deviations. Expect more false tickets than one a year on a busy model."
                .to_owned(),
        ),
        Some((first, last)) => {
            let span = format!("{} days from {} to {}", stored.days, date(first), date(last));
            sentences.push(if stored.footing == "days" {
                format!(
                    "{span}. With it expect {}, and fewer where days are alike.",
                    Verdict::by_chance(&Settings::default())
                )
            } else {
                format!(
                    "{span}: fewer than the 14 it takes to know how days differ. Drift is held against chance among rows and \
                     a change of 0.1 standard deviations; expect more false tickets than one a year."
                )
            });
        }
    }
    let holidays: Vec<String> = stored.holidays.iter().map(|d| day(*d)).collect();
    sentences.extend(listed("Fitted without the holidays", holidays));
    sentences.extend(of_some(stored));
    sentences
}

/// What is to be known of some days, or hours, of a baseline.
fn of_some(stored: &StoredReference) -> Vec<String> {
    let unit = stored.unit;
    let left_out: Vec<String> = (stored.left_out.iter())
        .map(|number| match unit {
            Unit::Day => date(*number),
            Unit::Hour => wording::date_time(unit.start_of(*number)),
        })
        .collect();
    let unstable = shift::days_of(unit, &stored.unstable);
    let unstable: Vec<String> = unstable.into_iter().map(date).collect();
    let mut sentences = Vec::new();
    sentences.extend(listed(
        "Left out, for a feature at least, as unlike all others:",
        left_out,
    ));
    sentences.extend(listed(
        "Held against the others, these days say that it drifts in itself:",
        unstable,
    ));
    if !stored.unusable.is_empty() {
        sentences.push(format!(
            "The {} of {} could not be counted alike: fit it again.",
            unit.plural(),
            stored.unusable.join(", ")
        ));
    }
    sentences
}

/// What is known of the hours, for monitors that judge these.
fn of_hours(stored: &StoredReference, reference: Option<&Reference>) -> Vec<String> {
    let Some((first, last)) = stored.span else {
        return Vec::new();
    };
    let time = |number: i64| wording::date_time(Unit::Hour.start_of(number));
    let span = format!(
        "For monitors with `window: hour`: {} hours of {} days from {} to {}",
        stored.counted,
        stored.days,
        time(first),
        time(last)
    );
    let mut sentences = vec![if stored.footing == "days" {
        format!(
            "{span}. Judged by the hour, too, expect {}.",
            Verdict::by_chance(&Settings::default())
        )
    } else {
        format!(
            "{span}: fewer than the 14 days it takes to know how hours and days differ; expect more false tickets than one a \
             year."
        )
    }];
    let features = reference.into_iter().flat_map(Reference::features);
    let most = features
        .map(FeatureReference::usual_rows)
        .fold(0.0, f64::max);
    sentences.extend(few_rows_words(Unit::Hour, most).map(|words| format!("But {words}.")));
    sentences.extend(of_some(stored));
    sentences
}

/// The pattern of the week, where features have one.
fn pattern(reference: &Reference) -> Option<String> {
    let features = reference.features().iter();
    let with = features
        .filter(|feature| feature.season() != Season::None)
        .count();
    (with > 0).then(|| {
        format!(
            "{with} of {} features have a pattern of {}, which is not taken for drift.",
            reference.features().len(),
            match unit_of(reference) {
                Unit::Day => "the week",
                Unit::Hour => "the day and the week by the hour",
            }
        )
    })
}

fn day(day: NaiveDate) -> String {
    wording::date(day.and_time(NaiveTime::MIN).and_utc())
}

/// The date of the day of that number.
fn date(number: i64) -> String {
    day(shift::date_of(number))
}

/// A sentence that names some; none where there are none.
fn listed(what: &str, mut names: Vec<String>) -> Option<String> {
    if names.len() > NAMED {
        let more = format!("{} more", names.len() - NAMED);
        names.truncate(NAMED);
        names.push(more);
    }
    (!names.is_empty()).then(|| format!("{what} {}.", names.join(", ")))
}

/// Nothing where no feature's days are known.
fn smallest(reference: &Reference) -> Option<SmallestTable> {
    let unit = unit_of(reference);
    let lengths = lengths(unit);
    let lines = lines(reference, lengths);
    let (title, id) = match unit {
        Unit::Day => (
            "The smallest change of each feature that would be seen",
            "smallest",
        ),
        Unit::Hour => ("The same, judged by the hour", "smallest-by-hour"),
    };
    (!lines.is_empty()).then(|| SmallestTable {
        title,
        id,
        lengths: lengths.map(|(name, _)| name),
        lines,
    })
}

fn lines(reference: &Reference, lengths: [(&'static str, f64); 3]) -> Vec<SmallestLine> {
    let features = reference.features().iter().enumerate();
    features
        .filter(|(_, feature)| feature.footing() == Footing::Days)
        .filter_map(|(place, feature)| {
            let all = reference.smallest_changes(place);
            let kind = match all.first() {
                Some(first) => first.score.clone(),
                None => feature.scores().next()?.0.clone(),
            };
            let of = |(name, days): (&'static str, f64)| {
                let found = all.iter().find(|c| c.score == kind && c.days == days);
                // Too few rows for it, or not looked for in so short a time.
                (name, found.map_or_else(|| "none".to_owned(), size))
            };
            Some(SmallestLine {
                feature: wording::feature(feature.name()).to_owned(),
                what: what(&kind),
                sizes: lengths.map(of),
            })
        })
        .collect()
}

/// What is watched, as a word before its sizes.
fn what(kind: &ScoreKind) -> String {
    match kind {
        ScoreKind::Category(name) => format!("share of {name:?}"),
        ScoreKind::Value(value) => format!("share of the value {value}"),
        ScoreKind::Missing => "share of missing values".to_owned(),
        ScoreKind::OtherCategories => "share of rare categories".to_owned(),
        ScoreKind::Unseen => "share of new categories".to_owned(),
        ScoreKind::Far => "share of values far outside of the range".to_owned(),
        _ => "centre, in standard deviations".to_owned(),
    }
}

fn size(change: &SmallestChange) -> String {
    match change.shares {
        Some((before, now)) => {
            format!("{} → {}", wording::percent(before), wording::percent(now))
        }
        None => format!("{:.2}", change.effect),
    }
}

/// Other days for a baseline, as the form sends them.
#[derive(Debug, Deserialize)]
pub struct OtherDays {
    from: NaiveDate,
    to: NaiveDate,
    reason: String,
}

/// `POST /models/{name}/baselines/{baseline}`: takes other days as the baseline.
pub async fn replace(
    State(services): State<Services>,
    Path((model, baseline)): Path<(String, String)>,
    form: SignedForm<OtherDays>,
) -> Result<Response, Failure> {
    let session = &form.visitor.0;
    if !session.principal().may(Scope::Operate) {
        return Err(Error::Forbidden("your role may look, not decide".to_owned()).into());
    }
    let now = services.clock.now();
    let at = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc();
    let mut tx = services.pool.begin().await?;
    let model = registry::model(&mut tx, session.project_id, &model).await?;
    let window = ReferenceWindow {
        name: &baseline,
        from: at(form.form.from),
        to: at(form.form.to),
        version: None,
        declared: Declared::ByPerson {
            reason: Some(&form.form.reason),
        },
    };
    service::declare_window(&mut tx, &model, window, &session.principal().actor, now).await?;
    tx.commit().await?;
    let back = format!("/models/{}#baselines", path_segment(&model.name));
    Ok(Redirect::to(&back).into_response())
}

//! What a model is compared with, on its page: the days of each baseline, whether they are of one kind, and what the drift
//! detector would see with them.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use chrono::{NaiveDate, NaiveTime};
use serde::Deserialize;
use sqlx::PgConnection;

use crate::domain::ids::ModelId;
use crate::services::access::Scope;
use crate::services::baselines::{self as service, Declared, ReferenceWindow};
use crate::services::{Error, Services, registry};
use crate::stats::detector::{
    Footing, Reference, ScoreKind, Season, Settings, SmallestChange, Verdict,
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
/// The windows for which the smallest change is shown, in days.
const DAYS: [f64; 3] = [1.0, 7.0, 28.0];

/// A baseline and what its days say of it.
#[derive(Debug, Clone)]
pub struct BaselineCard {
    pub name: String,
    pub source: String,
    pub state: Badge,
    pub sentences: Vec<String>,
    /// The smallest change that is seen, feature by feature.
    pub smallest: Vec<SmallestLine>,
    pub action: String,
}

/// What would be seen of a feature in 1, 7 and 28 days.
#[derive(Debug, Clone)]
pub struct SmallestLine {
    pub feature: String,
    pub what: String,
    pub days: [String; 3],
}

/// Reads the baselines in force of a model.
pub async fn cards(
    conn: &mut PgConnection,
    model_id: ModelId,
    model_href: &str,
) -> sqlx::Result<Vec<BaselineCard>> {
    let mut cards = Vec::new();
    for baseline in baselines::in_force(conn, model_id).await? {
        let stored = shifts::reference(conn, baseline.baseline_id).await?;
        cards.push(card(&baseline, stored.as_ref(), model_href));
    }
    Ok(cards)
}

fn card(baseline: &Baseline, stored: Option<&StoredReference>, model_href: &str) -> BaselineCard {
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
    let fitted = stored.filter(|_| baseline.state == "fitted");
    sentences.extend(fitted.into_iter().flat_map(of_days));
    let reference = fitted.and_then(|stored| Reference::decode(&stored.reference).ok());
    sentences.extend(reference.as_ref().and_then(pattern));
    let known = fitted.is_some_and(|stored| stored.span.is_some());
    BaselineCard {
        name: baseline.name.clone(),
        source: format!("{source}, {} rows", wording::count(baseline.rows)),
        state: state(baseline, stored),
        smallest: reference
            .filter(|_| known)
            .map(|reference| smallest(&reference))
            .unwrap_or_default(),
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
            let span = format!("{} days from {} to {}", stored.days, day(first), day(last));
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
    let named = [
        (&stored.holidays, "Fitted without the holidays"),
        (
            &stored.left_out,
            "Left out, for a feature at least, as unlike all others:",
        ),
        (
            &stored.unstable,
            "Held against the others, these days say that it drifts in itself:",
        ),
    ];
    for (days, what) in named {
        if !days.is_empty() {
            sentences.push(format!("{what} {}.", days_named(days)));
        }
    }
    if !stored.unusable.is_empty() {
        sentences.push(format!(
            "The days of {} could not be counted alike: fit it again.",
            stored.unusable.join(", ")
        ));
    }
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
            "{with} of {} features have a pattern of the week, which is not taken for drift.",
            reference.features().len()
        )
    })
}

fn day(day: NaiveDate) -> String {
    wording::date(day.and_time(NaiveTime::MIN).and_utc())
}

fn days_named(days: &[NaiveDate]) -> String {
    let mut names: Vec<String> = days.iter().take(NAMED).map(|d| day(*d)).collect();
    if days.len() > NAMED {
        names.push(format!("{} more", days.len() - NAMED));
    }
    names.join(", ")
}

fn smallest(reference: &Reference) -> Vec<SmallestLine> {
    let features = reference.features().iter().enumerate();
    features
        .filter(|(_, feature)| feature.footing() == Footing::Days)
        .filter_map(|(place, feature)| {
            let all = reference.smallest_changes(place);
            let kind = all.first()?.score.clone();
            let of = |days: f64| {
                let found = all.iter().find(|c| c.score == kind && c.days == days);
                found.map_or_else(|| "–".to_owned(), size)
            };
            Some(SmallestLine {
                feature: wording::feature(feature.name()).to_owned(),
                what: what(&kind),
                days: DAYS.map(of),
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

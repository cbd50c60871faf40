//! Measures of rows: of features together, of texts, of dates, of vectors, of attributions.
//!
//! They look at a [`RowSample`] of either side, because counts by feature do not tell what goes with what. What comes
//! out is judged like every other reading of drift. This is the one place that says which measure fits what, so that
//! the service and comparisons of files cannot disagree.

mod together;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::attributions::Attributions;
use super::columns::{Column, Value};
use super::drift::Judged;
use super::measurement::{ExplainedBy, Measure, Recipe, Status};
use super::sample::{RowSample, SEED};
use super::schema::{FeatureType, vector_length};
use crate::stats::attribution::{self, AttributedRows};
use crate::stats::contingency::ShareTest;
use crate::stats::dates::{self, ProfileChange};
use crate::stats::multivariate::{self, DomainClassifier, NotComparable, Rows};
use crate::stats::samples::{self, Sample};
use crate::stats::{Reading, distance, kolmogorov, text, uncertainty};

/// How many features an explanation names.
const NAMED: usize = 5;
/// An area under the ROC curve beyond 0.5 by so many standard errors comes about by chance once in a million times.
const ONE_IN_A_MILLION: f64 = 4.75;

/// What a measure of rows is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// Features together; measured under an empty name.
    Together,
    /// The attributions; measured under an empty name.
    Attributions,
    Text,
    Dates,
    Vectors,
}

impl About {
    /// What rows of a feature of this type can be asked about; nothing where counts say it all.
    #[must_use]
    pub fn feature_of(feature_type: FeatureType) -> Option<Self> {
        match feature_type {
            FeatureType::Text => Some(Self::Text),
            FeatureType::Timestamp => Some(Self::Dates),
            FeatureType::Vector => Some(Self::Vectors),
            FeatureType::Number
            | FeatureType::Integer
            | FeatureType::Boolean
            | FeatureType::Category => None,
        }
    }

    /// The measures, in the order they are written in.
    #[must_use]
    pub fn measures(self) -> &'static [Measure] {
        match self {
            Self::Together => &[
                Measure::DomainClassifierAuc,
                Measure::ReconstructionErrorChange,
                Measure::CorrelationChange,
            ],
            Self::Attributions => &[Measure::AttributionNdcg],
            Self::Text => &[
                Measure::TextLengthDistance,
                Measure::UnseenWords,
                Measure::LanguageProfile,
            ],
            Self::Dates => &[
                Measure::FutureShareChange,
                Measure::AgeDistance,
                Measure::HourProfile,
                Measure::WeekdayProfile,
            ],
            Self::Vectors => &[
                Measure::DomainClassifierAuc,
                Measure::MeanShift,
                Measure::MaximumMeanDiscrepancy,
            ],
        }
    }

    const ALL: [Self; 5] = [
        Self::Together,
        Self::Attributions,
        Self::Text,
        Self::Dates,
        Self::Vectors,
    ];
}

impl Measure {
    /// Whether the measure needs rows and is not to be had from counts.
    #[must_use]
    pub fn is_of_rows(self) -> bool {
        About::ALL.iter().any(|of| of.measures().contains(&self))
    }

    /// The threshold of a measure of rows where nobody sets one.
    #[must_use]
    pub fn usual_threshold(self) -> Option<f64> {
        match self {
            Self::DomainClassifierAuc => Some(0.55),
            Self::UnseenWords | Self::LanguageProfile => Some(0.1),
            Self::AttributionNdcg => Some(0.9),
            _ => None,
        }
    }
}

/// Two samples, and what is known of their features.
#[derive(Debug, Clone, Copy)]
pub struct Sides<'a> {
    pub reference: &'a RowSample,
    pub current: &'a RowSample,
    /// The features that are looked at together, and their types.
    pub features: &'a [(String, FeatureType)],
    /// Which columns are attributions.
    pub attributions: &'a Attributions,
    pub thresholds: &'a BTreeMap<Measure, f64>,
    pub min_rows: u64,
    /// How many features are looked at by their rows: each may be the one that chance makes stand out.
    pub looked_at: usize,
}

/// Why a measure says nothing of these samples.
#[derive(Debug, Clone, PartialEq, Eq)]
struct NotRead(String);

impl From<NotComparable> for NotRead {
    fn from(cause: NotComparable) -> Self {
        Self(cause.to_string())
    }
}

impl Sides<'_> {
    /// The value of a measure of a feature, or of features together, and how it stands.
    #[must_use]
    pub fn judge(&self, about: About, feature: &str, measure: Measure) -> Judged {
        let read = match about {
            About::Together => together::read(self, measure),
            About::Attributions => self.attributions(),
            About::Text => self.texts(feature, measure),
            About::Dates => self.dates(feature, measure),
            About::Vectors => self.vectors(feature, measure),
        };
        let threshold = self.thresholds.get(&measure).copied();
        let threshold = threshold.or_else(|| measure.usual_threshold());
        match read {
            Ok((mut reading, explained_by)) => {
                reading.method = format!("{}; {}", reading.method, self.note());
                let mut judged = Judged::of(measure, &reading, threshold, self.min_rows);
                judged.spare_chance(reading.p_value, self.looked_at);
                judged.recipe.explained_by = explained_by;
                judged
            }
            Err(NotRead(cause)) => not_measured(measure, Status::Insufficient, cause),
        }
    }

    fn note(&self) -> String {
        format!(
            "from samples: {} of the reference, {} of the current data, seed {SEED}",
            self.reference.note(),
            self.current.note()
        )
    }

    fn texts(&self, feature: &str, measure: Measure) -> Result<Read, NotRead> {
        let (before, now) = (
            texts(self.reference, feature)?,
            texts(self.current, feature)?,
        );
        let (before, now): (Vec<&str>, Vec<&str>) = (
            before.iter().map(AsRef::as_ref).collect(),
            now.iter().map(AsRef::as_ref).collect(),
        );
        if measure == Measure::TextLengthDistance {
            let lengths = |texts: &[&str]| text::lengths(texts.iter().copied());
            let what = "lengths in characters";
            return Ok((
                distribution(&lengths(&before), &lengths(&now), what)?,
                Vec::new(),
            ));
        }
        if measure == Measure::LanguageProfile {
            return Ok((languages(&before, &now)?, Vec::new()));
        }
        let test = text::unseen_words(&before, &now)
            .ok_or_else(|| NotRead("a side has no words".to_owned()))?;
        let reading = Reading {
            p_value: Some(test.p_value),
            interval: Some(test.interval),
            ..reading(
                test.difference,
                "share of words that half of the reference's texts do not have, in the current texts minus in the other half; \
                 words are runs of letters and digits, in lower case; the greater p-value of Welch's test over texts and \
                 of the test of two shares of words"
                    .to_owned(),
                (before.len(), now.len()),
            )
        };
        Ok((reading, Vec::new()))
    }

    fn dates(&self, feature: &str, measure: Measure) -> Result<Read, NotRead> {
        let (before, now) = (
            Dates::of(self.reference, feature)?,
            Dates::of(self.current, feature)?,
        );
        let reading = match measure {
            Measure::FutureShareChange | Measure::AgeDistance => {
                if before.ages.is_empty() || now.ages.is_empty() {
                    let cause = "the rows of a side have no time that dates could be held against";
                    return Err(NotRead(cause.to_owned()));
                }
                if measure == Measure::AgeDistance {
                    distribution(
                        &before.ages,
                        &now.ages,
                        "ages, the row's time minus the date",
                    )?
                } else {
                    let test = dates::future_share(&before.ages, &now.ages);
                    let test = test.ok_or(NotComparable::TooFewCurrentRows)?;
                    let what = "dates later than their row's time, window minus reference";
                    share(&test, what, (before.ages.len(), now.ages.len()))
                }
            }
            Measure::HourProfile => {
                if before.are_days() && now.are_days() {
                    return Err(NotRead("the dates have no time of day".to_owned()));
                }
                let (p, q) = (dates::by_hour(before.times), dates::by_hour(now.times));
                profile(&p, &q, "the 24 hours of the day in UTC")?
            }
            _ => {
                let (p, q) = (
                    dates::by_weekday(before.times),
                    dates::by_weekday(now.times),
                );
                profile(&p, &q, "the days of the week in UTC")?
            }
        };
        Ok((reading, Vec::new()))
    }

    fn vectors(&self, feature: &str, measure: Measure) -> Result<Read, NotRead> {
        let (before, now) = (
            vectors(self.reference, feature)?,
            vectors(self.current, feature)?,
        );
        if before.dimension != now.dimension {
            return Err(NotRead(format!(
                "vectors have {} numbers in the reference and {} now",
                before.dimension, now.dimension
            )));
        }
        let (p, q) = (&before.rows, &now.rows);
        let what = format!("vectors of {} numbers", before.dimension);
        let reading = match measure {
            Measure::MeanShift => {
                let shift = multivariate::mean_shift(p, q)?;
                Reading {
                    noise_floor: Some(shift.noise_floor),
                    interval: Some(shift.interval),
                    ..reading(shift.distance, what, (p.len(), q.len()))
                }
            }
            Measure::MaximumMeanDiscrepancy => {
                let discrepancy = multivariate::maximum_mean_discrepancy(p, q)?;
                let method = format!(
                    "{what}; mean of {} blocks of rows, Gaussian kernel of width {:.4}, the median distance in the \
                     reference",
                    discrepancy.blocks, discrepancy.bandwidth
                );
                Reading {
                    p_value: Some(discrepancy.p_value),
                    interval: Some(discrepancy.interval),
                    ..reading(discrepancy.squared, method, (p.len(), q.len()))
                }
            }
            _ => classified(
                &multivariate::domain_classifier(p, q)?,
                what,
                (p.len(), q.len()),
            ),
        };
        Ok((reading, Vec::new()))
    }

    fn attributions(&self) -> Result<Read, NotRead> {
        let (before, now) = (
            attributions(self.reference, self.attributions),
            attributions(self.current, self.attributions),
        );
        let names: Vec<&str> = before
            .keys()
            .copied()
            .filter(|name| now.contains_key(name))
            .collect();
        if names.len() < 2 {
            let cause = "fewer than two features have attributions on both sides";
            return Err(NotRead(cause.to_owned()));
        }
        let of = |side: &BTreeMap<&str, (f64, usize)>| -> Vec<f64> {
            names.iter().map(|name| side[name].0).collect()
        };
        let (p, q) = (of(&before), of(&now));
        let gain = attribution::ranking_gain(&p, &q).map_err(|cause| NotRead(cause.to_string()))?;
        let fewest = |side: &BTreeMap<&str, (f64, usize)>| {
            let rows = names.iter().map(|name| side[name].1);
            rows.min().unwrap_or(0)
        };
        let method = format!(
            "mean absolute attributions of {} features; NDCG",
            names.len()
        );
        let (p_sum, q_sum) = (p.iter().sum::<f64>(), q.iter().sum::<f64>());
        let moved = p.iter().zip(&q).map(|(p, q)| (q / q_sum - p / p_sum).abs());
        let moved: Vec<(usize, f64)> = moved.enumerate().collect();
        let rows = |sample| attributed_rows(sample, self.attributions, &names);
        let (before_rows, now_rows) = (rows(self.reference), rows(self.current));
        let of = |values| AttributedRows {
            features: names.len(),
            values,
        };
        let reading = Reading {
            interval: attribution::interval(of(&before_rows), of(&now_rows), gain),
            ..reading(gain, method, (fewest(&before), fewest(&now)))
        };
        Ok((reading, explained(&moved, |at| names[at].to_owned())))
    }
}

/// A reading, and the features it comes from.
type Read = (Reading, Vec<ExplainedBy>);

/// What stands for a measure that could not be had.
#[must_use]
pub fn not_measured(measure: Measure, status: Status, cause: String) -> Judged {
    Judged {
        measure,
        value: None,
        interval: None,
        p_value: None,
        status,
        recipe: Recipe {
            method: "from samples of rows".to_owned(),
            cause: Some(cause),
            ..Recipe::default()
        },
    }
}

fn reading(value: f64, method: String, (reference, current): (usize, usize)) -> Reading {
    Reading {
        value,
        p_value: None,
        interval: None,
        noise_floor: None,
        error_bound: None,
        method,
        bins: None,
        compared: None,
        outer_edges: Vec::new(),
        reference_values: reference as u64,
        current_values: current as u64,
    }
}

/// The Kolmogorov–Smirnov distance of some numbers.
fn distribution(reference: &[f64], current: &[f64], what: &str) -> Result<Reading, NotRead> {
    let (p, q) = (Sample::of(reference), Sample::of(current));
    let (n, m) = (p.len() as u64, q.len() as u64);
    let statistic = samples::kolmogorov_smirnov(&p, &q).ok_or(NotComparable::TooFewCurrentRows)?;
    Ok(Reading {
        p_value: kolmogorov::p_value(statistic, n, m).map(|(p, _)| p),
        interval: Some(uncertainty::kolmogorov_smirnov(statistic, n, m)),
        noise_floor: Some(distance::kolmogorov_smirnov_noise_floor(n, m)),
        ..reading(statistic, what.to_owned(), (p.len(), q.len()))
    })
}

fn share(test: &ShareTest, what: &str, sizes: (usize, usize)) -> Reading {
    let test_name = if test.exact {
        "Fisher's exact test"
    } else {
        "chi-square test of two shares"
    };
    Reading {
        p_value: Some(test.p_value),
        interval: Some(test.interval),
        ..reading(
            test.difference,
            format!("share of {what}; {test_name}"),
            sizes,
        )
    }
}

fn profile(reference: &[u64], current: &[u64], what: &str) -> Result<Reading, NotRead> {
    let ProfileChange {
        distance,
        interval,
        noise_floor,
        p_value,
    } = dates::compare_profiles(reference, current).ok_or(NotComparable::TooFewCurrentRows)?;
    let sizes = (reference.iter().sum::<u64>(), current.iter().sum::<u64>());
    Ok(Reading {
        p_value: Some(p_value),
        interval: Some(interval),
        noise_floor: Some(noise_floor),
        bins: Some(reference.len()),
        reference_values: sizes.0,
        current_values: sizes.1,
        ..reading(
            distance,
            format!("{what}; chi-square test over parts that expect 5"),
            (0, 0),
        )
    })
}

/// How many languages of a side the method names.
const LANGUAGES_NAMED: usize = 3;

fn languages(before: &[&str], now: &[&str]) -> Result<Reading, NotRead> {
    let (before, now) = (
        text::languages(before.iter().copied()),
        text::languages(now.iter().copied()),
    );
    let all: BTreeSet<&str> = before.keys().chain(now.keys()).copied().collect();
    let counts = |side: &BTreeMap<&str, u64>| -> Vec<u64> {
        let of = |language: &&str| side.get(*language).copied().unwrap_or(0);
        all.iter().map(of).collect()
    };
    let named = |side: &BTreeMap<&str, u64>| {
        let texts = side.values().sum::<u64>().max(1) as f64;
        let mut most: Vec<_> = side.iter().collect();
        most.sort_by_key(|(language, count)| (Reverse(**count), **language));
        let most = most.into_iter().take(LANGUAGES_NAMED);
        let most = most.map(|(language, count)| {
            let percent = 100.0 * *count as f64 / texts;
            format!("{language} {percent:.1} %")
        });
        most.collect::<Vec<_>>().join(", ")
    };
    let what = format!(
        "languages by letters and trigrams, unknown where a text has fewer than {} letters; most often {} in the \
         reference, {} now",
        text::FEWEST_LETTERS,
        named(&before),
        named(&now)
    );
    profile(&counts(&before), &counts(&now), &what)
}

fn classified(classifier: &DomainClassifier, what: String, sizes: (usize, usize)) -> Reading {
    Reading {
        p_value: Some(classifier.p_value),
        interval: Some(classifier.interval),
        noise_floor: Some(0.5 + ONE_IN_A_MILLION * classifier.null_error),
        ..reading(
            classifier.auc,
            format!(
                "{what}; logistic regression on them and their squares, each half judged by the other's; the noise \
                 level is exceeded once in a million times"
            ),
            sizes,
        )
    }
}

/// The largest parts of an explanation, as shares of the whole.
fn explained(parts: &[(usize, f64)], name: impl Fn(usize) -> String) -> Vec<ExplainedBy> {
    let whole: f64 = parts.iter().map(|(_, part)| part.abs()).sum();
    if !(whole.is_finite() && whole > 0.0) {
        return Vec::new();
    }
    let mut parts = parts.to_vec();
    parts.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()).then(a.0.cmp(&b.0)));
    let telling = parts
        .into_iter()
        .take(NAMED)
        .filter(|(_, part)| *part != 0.0);
    telling
        .map(|(at, part)| ExplainedBy {
            feature: name(at),
            share: part.abs() / whole,
        })
        .collect()
}

fn no_values(sample: &RowSample) -> NotRead {
    let rows = sample.rows();
    NotRead(format!("none of {rows} rows has a value"))
}

fn texts<'s>(
    sample: &'s RowSample,
    feature: &str,
) -> Result<Vec<std::borrow::Cow<'s, str>>, NotRead> {
    let values = sample.column(feature).into_iter().flat_map(Column::iter);
    let texts: Vec<_> = values
        .filter_map(|value| match value {
            Value::Text(text) => Some(text),
            _ => None,
        })
        .collect();
    if texts.is_empty() {
        return Err(no_values(sample));
    }
    Ok(texts)
}

struct Dates {
    times: Vec<i64>,
    /// In seconds, of those in rows with a time.
    ages: Vec<f64>,
}

impl Dates {
    fn of(sample: &RowSample, feature: &str) -> Result<Self, NotRead> {
        let column = sample.column(feature).ok_or_else(|| no_values(sample))?;
        let (mut times, mut ages) = (Vec::new(), Vec::new());
        for (value, row) in column.iter().zip(&sample.times) {
            let Some(time) = time_of(&value) else {
                continue;
            };
            times.push(time);
            ages.extend(row.map(|row| row as f64 - time as f64));
        }
        if times.is_empty() {
            return Err(no_values(sample));
        }
        Ok(Self { times, ages })
    }

    /// Whether all are midnights.
    fn are_days(&self) -> bool {
        self.times.iter().all(|time| time.rem_euclid(86_400) == 0)
    }
}

fn time_of(value: &Value<'_>) -> Option<i64> {
    match super::yardstick::read(value, Some(FeatureType::Timestamp), true) {
        super::yardstick::Reading::Number(seconds) => Some(seconds as i64),
        _ => None,
    }
}

struct Vectors {
    dimension: usize,
    rows: Rows,
}

/// The vectors of a side that are as long as most of them, and have finite numbers only.
fn vectors(sample: &RowSample, feature: &str) -> Result<Vectors, NotRead> {
    let values = sample.column(feature).into_iter().flat_map(Column::iter);
    let vectors: Vec<_> = values
        .filter_map(|value| match value {
            Value::Vector(vector) if vector_length(&vector).is_finite() => Some(vector),
            _ => None,
        })
        .collect();
    let mut lengths: BTreeMap<usize, usize> = BTreeMap::new();
    for vector in &vectors {
        *lengths.entry(vector.len()).or_default() += 1;
    }
    let most = lengths.into_iter().filter(|(length, _)| *length > 0);
    let Some((dimension, _)) = most.max_by_key(|(_, rows)| *rows) else {
        return Err(no_values(sample));
    };
    let values: Vec<f64> = (vectors.iter())
        .filter(|vector| vector.len() == dimension)
        .flat_map(|vector| vector.iter().map(|number| f64::from(*number)))
        .collect();
    Ok(Vectors {
        dimension,
        rows: Rows::of(&values, dimension),
    })
}

/// The attributions of some features, row by row; NaN where there is none.
fn attributed_rows(sample: &RowSample, declared: &Attributions, names: &[&str]) -> Vec<f64> {
    let columns: Vec<Vec<f64>> = names
        .iter()
        .map(|name| {
            let mut columns = sample.columns.iter();
            let column = columns.find(|column| declared.feature_of(&column.name) == Some(*name));
            let number = |value: Value<'_>| match value {
                Value::Number(number) => number,
                Value::Integer(number) => number as f64,
                _ => f64::NAN,
            };
            column.map_or_else(Vec::new, |column| column.iter().map(number).collect())
        })
        .collect();
    let row = |row: usize| columns.iter().map(move |column| column.get(row).copied());
    (0..sample.rows())
        .flat_map(row)
        .map(|value| value.unwrap_or(f64::NAN))
        .collect()
}

/// The mean absolute attribution of each feature that has any, and how many rows have it.
fn attributions<'a>(
    sample: &'a RowSample,
    declared: &'a Attributions,
) -> BTreeMap<&'a str, (f64, usize)> {
    let mut means = BTreeMap::new();
    for column in &sample.columns {
        let Some(feature) = declared.feature_of(&column.name) else {
            continue;
        };
        let numbers: Vec<f64> = column
            .iter()
            .filter_map(|value| match value {
                Value::Number(number) => Some(number.abs()),
                Value::Integer(number) => Some((number as f64).abs()),
                _ => None,
            })
            .filter(|number| number.is_finite())
            .collect();
        let mean = Sample::of(&numbers).mean();
        if let Some(mean) = mean {
            means.insert(feature, (mean, numbers.len()));
        }
    }
    means
}

#[cfg(test)]
mod tests;

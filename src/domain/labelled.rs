//! Labelled rows: what a prediction and its label say together, and the sample of them that a baseline keeps for
//! those who hold later labels against it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::columns::Column;
use crate::stats::detector::{Damaged, Form, decode, encode};
use crate::stats::quality::CompletenessCurve;

/// The most rows of a sample: a rate of 10 % is known to within 0.4 points then. A regression model of a hundred
/// features keeps about 18 MB, a classifier, which keeps no features, less than one.
pub const LABELLED_ROWS: usize = 20_000;

/// More features than this are not kept: those that come first by name are.
pub const MOST_FEATURES: usize = 100;

/// A reference whose labels have come to this share counts as mature.
const MATURE: f64 = 0.9;

const SAMPLE: Form = Form {
    family: 16,
    version: 1,
};

/// A sample with labels that were corrected, which come beside the rows.
const CORRECTED: Form = Form {
    family: 16,
    version: 2,
};

/// A prediction and its label.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Truth {
    Number {
        predicted: f64,
        label: f64,
    },
    Binary {
        score: Option<f64>,
        predicted: bool,
        label: bool,
    },
    Class {
        predicted: String,
        label: String,
        probabilities: Vec<(String, f64)>,
    },
}

impl Truth {
    /// Whether the prediction was wrong. A number is right within a distance, and without one it is neither.
    #[must_use]
    pub fn is_wrong(&self, right_within: Option<f64>) -> Option<bool> {
        match self {
            Self::Number { predicted, label } => {
                right_within.map(|within| (predicted - label).abs() > within)
            }
            Self::Binary {
                predicted, label, ..
            } => Some(predicted != label),
            Self::Class {
                predicted, label, ..
            } => Some(predicted != label),
        }
    }

    /// How bad it was: the absolute error of a number; the Brier score of a probability, from 0 to 1, of several classes
    /// half of their sum. Nothing without probabilities.
    #[must_use]
    pub fn loss(&self) -> Option<f64> {
        let loss = match self {
            Self::Number { predicted, label } => (predicted - label).abs(),
            Self::Binary { score, label, .. } => ((*score)? - f64::from(u8::from(*label))).powi(2),
            Self::Class {
                label,
                probabilities,
                ..
            } => {
                if probabilities.is_empty() {
                    return None;
                }
                let of =
                    |(class, p): &(String, f64)| (p - f64::from(u8::from(class == label))).powi(2);
                // A class without a probability has none.
                let named = probabilities.iter().any(|(class, _)| class == label);
                let unnamed = if named { 0.0 } else { 1.0 };
                (probabilities.iter().map(of).sum::<f64>() + unnamed) / 2.0
            }
        };
        loss.is_finite().then_some(loss)
    }
}

/// A labelled prediction, by when it was made and how long its label took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelledRow {
    pub predicted_at: Option<DateTime<Utc>>,
    /// Seconds from the prediction to its label, where that is known.
    pub lag: Option<f64>,
    pub truth: Truth,
    /// What its labels said that have been corrected since, by when they came.
    #[serde(skip)]
    pub earlier: Vec<EarlierTruth>,
}

/// What a label said before it was corrected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EarlierTruth {
    /// Seconds from the prediction to this label.
    pub lag: f64,
    pub truth: Truth,
}

impl LabelledRow {
    /// What its label said so many seconds after the prediction, if it had one then; what it says now where nobody knows when
    /// it came.
    #[must_use]
    pub fn within(&self, lag: f64) -> Option<&Truth> {
        if self.lag.is_none_or(|known| known <= lag) {
            return Some(&self.truth);
        }
        let known = self.earlier.iter().rfind(|earlier| earlier.lag <= lag)?;
        Some(&known.truth)
    }

    /// Seconds from the prediction to its first label.
    fn first_lag(&self) -> Option<f64> {
        let first = self.earlier.first().map(|earlier| earlier.lag);
        first.or(self.lag)
    }
}

/// Labelled rows of a baseline.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LabelledSample {
    /// Predictions of the baseline that could have a label, and how many have one.
    pub answered: u64,
    pub labels: u64,
    /// In the order of time, if the times are known.
    pub rows: Vec<LabelledRow>,
    /// Features of these rows, with one element per row; of regression models only.
    pub features: Vec<Column>,
}

impl LabelledSample {
    /// When the first labels of the rows came, where that is known of all: out of the sample, with as many predictions without
    /// a label as belong to it.
    #[must_use]
    pub fn curve(&self) -> Option<CompletenessCurve> {
        let lags: Option<Vec<f64>> = self.rows.iter().map(LabelledRow::first_lag).collect();
        let sampled = self.rows.len() as f64 / self.labels.max(1) as f64;
        let answered = (self.answered as f64 * sampled).round() as u64;
        let lags = lags?;
        let answered = answered.max(lags.len() as u64);
        CompletenessCurve::new(lags, answered).ok()
    }

    /// The time after which nine of ten labels that ever came had come, in seconds.
    #[must_use]
    pub fn mature_after(&self) -> Option<f64> {
        self.curve().map(|curve| curve.lag_of(MATURE))
    }

    /// As bytes with family, version and checksum.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let corrected: Vec<(usize, &[EarlierTruth])> = (self.rows.iter().enumerate())
            .filter(|(_, row)| !row.earlier.is_empty())
            .map(|(place, row)| (place, row.earlier.as_slice()))
            .collect();
        if corrected.is_empty() {
            encode(SAMPLE, self)
        } else {
            encode(CORRECTED, &(self, corrected))
        }
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are something else, of another version, or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let (mut sample, corrected): (Self, Vec<(usize, Vec<EarlierTruth>)>) =
            match decode(SAMPLE, bytes) {
                Err(Damaged::UnknownVersion(version)) if version == CORRECTED.version => {
                    decode(CORRECTED, bytes)?
                }
                read => (read?, Vec::new()),
            };
        for (place, earlier) in corrected {
            let row = sample.rows.get_mut(place).ok_or(Damaged::Malformed)?;
            row.earlier = earlier;
        }
        let whole = (sample.features.iter()).all(|column| column.len() == sample.rows.len());
        if whole {
            Ok(sample)
        } else {
            Err(Damaged::Malformed)
        }
    }
}

/// Which of so many rows, in their order, are kept if at most `most` may be: evenly spread.
#[must_use]
pub fn is_kept(place: usize, of: usize, most: usize) -> bool {
    of <= most || (place + 1) * most / of != place * most / of
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(predicted: f64, label: f64) -> Truth {
        Truth::Number { predicted, label }
    }

    fn class(predicted: &str, label: &str, probabilities: &[(&str, f64)]) -> Truth {
        Truth::Class {
            predicted: predicted.to_owned(),
            label: label.to_owned(),
            probabilities: (probabilities.iter())
                .map(|(class, p)| ((*class).to_owned(), *p))
                .collect(),
        }
    }

    #[test]
    fn what_is_right_and_how_bad_it_was() {
        let yes = |score| Truth::Binary {
            score,
            predicted: true,
            label: false,
        };
        let cases = [
            (number(10.0, 14.0), Some(false), Some(4.0)),
            (number(10.0, 15.5), Some(true), Some(5.5)),
            (number(f64::NAN, 1.0), Some(false), None),
            (yes(Some(0.8)), Some(true), Some(0.64)),
            (yes(None), Some(true), None),
            (
                class("a", "a", &[("a", 0.5), ("b", 0.5)]),
                Some(false),
                Some(0.25),
            ),
            (class("a", "c", &[("a", 1.0)]), Some(true), Some(1.0)),
            (class("a", "a", &[]), Some(false), None),
        ];
        for (truth, wrong, loss) in cases {
            assert_eq!(truth.is_wrong(Some(5.0)), wrong, "{truth:?}");
            let found = truth.loss();
            assert_eq!(found.is_some(), loss.is_some(), "{truth:?}");
            if let Some((found, loss)) = found.zip(loss) {
                assert!((found - loss).abs() < 1e-12, "{truth:?}: {found}");
            }
        }
        assert_eq!(number(1.0, 1.0).is_wrong(None), None);
    }

    #[test]
    fn a_sample_is_read_as_it_was_written_and_knows_when_its_labels_came() {
        let rows = (0..10).map(|i| LabelledRow {
            predicted_at: None,
            lag: Some(f64::from(i) * 60.0),
            truth: number(0.0, f64::from(i)),
            earlier: Vec::new(),
        });
        let sample = LabelledSample {
            answered: 40,
            labels: 20,
            rows: rows.collect(),
            features: Vec::new(),
        };
        let read = LabelledSample::decode(&sample.encode());
        assert_eq!(read.as_ref(), Ok(&sample));
        assert_eq!(sample.mature_after(), Some(480.0));
        let curve = sample.curve().expect("lags");
        assert!((curve.at_maturity() - 0.5).abs() < 1e-12);
        let mut damaged = sample.encode();
        damaged[9] ^= 1;
        assert_eq!(LabelledSample::decode(&damaged), Err(Damaged::Checksum));
        let mut unknown = sample;
        unknown.rows[3].lag = None;
        assert_eq!(unknown.mature_after(), None);
    }

    #[test]
    fn a_corrected_label_counts_as_it_was_when_the_time_for_labels_was_over() {
        let earlier = |lag, label| EarlierTruth {
            lag,
            truth: number(0.0, label),
        };
        let corrected = LabelledRow {
            predicted_at: None,
            lag: Some(900.0),
            truth: number(0.0, 3.0),
            earlier: vec![earlier(60.0, 1.0), earlier(300.0, 2.0)],
        };
        let cases = [
            (59.0, None),
            (60.0, Some(1.0)),
            (899.0, Some(2.0)),
            (900.0, Some(3.0)),
        ];
        for (lag, label) in cases {
            let expected = label.map(|label| number(0.0, label));
            assert_eq!(corrected.within(lag), expected.as_ref(), "{lag}");
        }
        let undated = LabelledRow {
            lag: None,
            earlier: Vec::new(),
            ..corrected.clone()
        };
        assert_eq!(undated.within(0.0), Some(&number(0.0, 3.0)));

        let sample = LabelledSample {
            answered: 2,
            labels: 2,
            rows: vec![corrected.clone(), corrected],
            features: Vec::new(),
        };
        assert_eq!(sample.mature_after(), Some(60.0), "it was labelled then");
        assert_eq!(LabelledSample::decode(&sample.encode()), Ok(sample));
    }

    #[test]
    fn rows_are_kept_evenly() {
        let kept = |of, most| (0..of).filter(|place| is_kept(*place, of, most)).count();
        assert_eq!((kept(10, 20), kept(100, 20), kept(0, 3)), (10, 20, 0));
        assert_eq!(kept(30_000, 20_000), 20_000);
    }
}

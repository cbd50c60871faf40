//! What recipes say of measures of quality, so that somebody can compute a value again: averaging, the positive class, bins, how
//! many places.

use super::gathered::CALIBRATION_BINS;
use crate::domain::estimate::POSITIVE_FROM;
use crate::domain::measurement::Measure;
use crate::domain::quality::{ClassValues, PredictionValues, QualityChoice};

/// How many pairs of label and prediction are told apart in a sentence.
const MOST_PAIRS: usize = 10;

/// Of a measure of yes or no; nothing of one that the task does not have.
pub(super) fn of_binary(
    measure: Measure,
    positive: &str,
    choice: &QualityChoice,
) -> Option<String> {
    let by_class = || {
        format!(
            "the positive class is \"{positive}\", and a prediction without a class is positive from a score of {POSITIVE_FROM} on"
        )
    };
    let by_score = |how: &str| format!("{how}; the score is the probability of \"{positive}\"");
    Some(match measure {
        Measure::Accuracy
        | Measure::Precision
        | Measure::Recall
        | Measure::F1
        | Measure::Specificity
        | Measure::BalancedAccuracy
        | Measure::Mcc => by_class(),
        Measure::RocAuc => by_score("pairs with equal scores count half"),
        Measure::PrAuc => by_score("average precision, in steps and not by trapezoids"),
        Measure::LogLoss => by_score(LOG_LOSS),
        Measure::ScoreSeparation => by_score(
            "the largest difference of the shares of positives and negatives above one score",
        ),
        Measure::Brier => by_score("the mean squared difference of score and label"),
        Measure::Ece => by_score(&format!(
            "over {CALIBRATION_BINS} bins of equal width of the score, weighted by their outcomes"
        )),
        Measure::Lift => format!(
            "of the {:.4} of predictions with the highest scores, their number rounded up; the positive class is \"{positive}\"",
            choice.top_share
        ),
        Measure::ValuePerPrediction => {
            format!("{}; {}", worth(choice.values.as_ref()?), by_class())
        }
        _ => return None,
    })
}

fn worth(values: &PredictionValues) -> String {
    let values = match values {
        PredictionValues::Binary(values) => values,
        PredictionValues::Classes(values) => return worth_of_classes(values),
    };
    format!(
        "a true positive is worth {}, a false positive {}, a true negative {}, a false negative {}",
        values.true_positive, values.false_positive, values.true_negative, values.false_negative
    )
}

fn worth_of_classes(values: &ClassValues) -> String {
    let mut said = format!(
        "a right prediction is worth {}, a wrong one {}",
        values.right, values.wrong
    );
    let pairs = values.by_label.iter().flat_map(|(label, of)| {
        of.iter()
            .map(move |(predicted, worth)| (label, predicted, worth))
    });
    for (label, predicted, worth) in pairs.clone().take(MOST_PAIRS) {
        said += &format!(", \"{predicted}\" for the label \"{label}\" {worth}");
    }
    let others = pairs.count().saturating_sub(MOST_PAIRS);
    if others > 0 {
        said += &format!(", and {others} more pairs what `by_label` says");
    }
    said
}

const LOG_LOSS: &str = "natural logarithms, probabilities clipped by 2.2e-16";

/// Of a measure of one of several classes.
pub(super) fn of_multiclass(measure: Measure, choice: &QualityChoice) -> Option<String> {
    Some(match measure {
        Measure::Precision | Measure::Recall | Measure::F1 => {
            "the mean over the classes, each of which counts the same (macro), 0 where it is not defined of one".to_owned()
        }
        Measure::BalancedAccuracy => {
            "the mean recall of the classes that have labels".to_owned()
        }
        Measure::WeightedPrecision | Measure::WeightedF1 => {
            "the mean over the classes, each as often as it is the label (weighted)".to_owned()
        }
        Measure::RocAuc => {
            "the mean over the classes, one against the rest, each of which counts the same; pairs with equal probabilities count half".to_owned()
        }
        Measure::LogLoss => LOG_LOSS.to_owned(),
        Measure::Brier => "the sum of squares over all classes, from 0 to 2".to_owned(),
        Measure::Ece => format!(
            "of the most probable class, over {CALIBRATION_BINS} bins of equal width, weighted by their outcomes"
        ),
        Measure::ValuePerPrediction => worth(choice.values.as_ref()?),
        Measure::TopKAccuracy => format!("among the {} most probable classes", choice.top_k),
        measure if measure.is_of_classes() => "this class against the rest".to_owned(),
        _ => return None,
    })
}

/// Of a measure of errors of numbers.
pub(super) fn of_errors(measure: Measure) -> Option<String> {
    let said = match measure {
        Measure::Bias => "the mean of prediction minus label",
        Measure::ErrorP90 => "nine in ten errors are no larger, their signs left out",
        Measure::Mape => "over the labels that are not zero, as a share",
        Measure::Smape => {
            "twice the error over the sizes of prediction and label, 0 where both are zero; from 0 to 2"
        }
        Measure::R2 => "against the mean of these labels",
        _ => return None,
    };
    Some(said.to_owned())
}

//! What is said of an estimate: in words, with what it promises and what it cannot see.

use super::{
    BLIND_SPOT, Circumstances, ConceptChange, Distrust, EstimateRecipe, Estimated, IMPURE, Promise,
    Reliability, WINDOWS_TOLD, is_error,
};
use crate::domain::measurement::Measure;

pub(super) fn distrust_words(distrust: &Distrust) -> String {
    match distrust {
        Distrust::OffSupport { share } => {
            format!(
                "{:.0} % of the predictions are where the baseline has hardly any",
                100.0 * share
            )
        }
        Distrust::OldCalibration { age } => {
            format!("the baseline is {:.0} days old", age / 86_400.0)
        }
        Distrust::Miscalibrated { error } => {
            format!(
                "calibrated scores miss the truth by {error:.3} on held-out rows of the baseline"
            )
        }
    }
}

pub(super) fn name(measure: Measure) -> &'static str {
    measure
        .as_str()
        .strip_prefix("estimated_")
        .unwrap_or(measure.as_str())
}

pub(super) fn in_words(measure: Measure, value: f64, unit: &str) -> String {
    if is_error(measure) && !unit.is_empty() {
        format!("{value:.2} {unit}")
    } else {
        format!("{value:.3}")
    }
}

pub(super) fn reliability_words(measure: Measure, reliability: &Reliability, unit: &str) -> String {
    match reliability.within(WINDOWS_TOLD) {
        Some((x, 1)) => format!(
            "it was within {} of the truth in the one window whose labels are in",
            in_words(measure, x, unit)
        ),
        Some((x, n)) => format!(
            "it has been within {} of the truth for the last {n} windows whose labels are in",
            in_words(measure, x, unit)
        ),
        None => "no window's labels have come to check it by yet".to_owned(),
    }
}

pub(super) fn words(
    measure: Measure,
    estimated: Estimated,
    recipe: &EstimateRecipe,
    around: &Circumstances<'_>,
    change: ConceptChange,
) -> String {
    let said = |value| in_words(measure, value, around.unit);
    let mut parts = vec![match around.reference {
        Some(reference) => format!(
            "{} is estimated at {} without labels, {} in the baseline",
            name(measure),
            said(estimated.value),
            said(reference)
        ),
        None => format!(
            "{} is estimated at {} without labels",
            name(measure),
            said(estimated.value)
        ),
    }];
    if let Some(corrected) = recipe.corrected {
        let impure = recipe.label_shift_p.is_some_and(|p| p < IMPURE);
        parts.push(if impure {
            "more than the classes' shares has changed, so the correction for them is not to be used".to_owned()
        } else {
            let most = recipe.class_shares.first().map_or_else(String::new, |share| {
                format!(
                    " ({} from {:.0} to {:.0} %, {:.0} to {:.0} %)",
                    share.class,
                    100.0 * share.before,
                    100.0 * share.now,
                    100.0 * share.interval.0,
                    100.0 * share.interval.1
                )
            });
            format!("{} if only the classes' shares have changed{most}", said(corrected.value))
        });
    }
    parts.push(reliability_words(measure, around.reliability, around.unit));
    if let ConceptChange::Blinded { by, .. } = change {
        parts.push(format!(
            "lately it was {} too {}",
            said(by.abs()),
            if by > 0.0 { "high" } else { "low" }
        ));
    }
    let promise = promise(measure, recipe, around.unit);
    parts.extend([promise.errs, promise.sees, BLIND_SPOT.to_owned()]);
    parts.join("; ")
}

pub(super) fn promise(measure: Measure, recipe: &EstimateRecipe, unit: &str) -> Promise {
    let list = |of: &dyn Fn(&(f64, f64)) -> String| {
        recipe.smallest.iter().map(of).collect::<Vec<_>>().join("/")
    };
    Promise {
        errs: "by chance a drop is called in at most one window of 40".to_owned(),
        sees: format!(
            "smallest change for the worse seen in {} days with a chance of 90 %: {}",
            list(&|(days, _)| format!("{days:.0}")),
            list(&|(_, by)| in_words(measure, *by, unit))
        ),
    }
}

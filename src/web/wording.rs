//! Numbers, times and names as people read them. Everything here is pure: the present instant is an
//! argument, and a page asks for display-ready text before its template runs.

use chrono::{DateTime, Datelike, TimeDelta, Utc};

use crate::domain::measurement::Measure;
use crate::domain::telemetry;

/// `6 May 2013`.
#[must_use]
pub fn date(at: DateTime<Utc>) -> String {
    at.format("%-d %b %Y").to_string()
}

/// `6 May 2013, 14:05`; pages say once that times are UTC.
#[must_use]
pub fn date_time(at: DateTime<Utc>) -> String {
    at.format("%-d %b %Y, %H:%M").to_string()
}

/// A window by its first and last day, as short as its length allows.
#[must_use]
pub fn window(start: DateTime<Utc>, end: DateTime<Utc>) -> String {
    let length = end - start;
    if length < TimeDelta::hours(1) {
        return start.format("%-d %b %Y, %H:%M").to_string();
    }
    if length == TimeDelta::hours(1) {
        return start.format("%-d %b %Y, %H:00").to_string();
    }
    if length <= TimeDelta::days(1) {
        return date(start);
    }
    let last = end - TimeDelta::microseconds(1);
    if start.year() == last.year() && start.month() == last.month() {
        format!("{}–{}", start.format("%-d"), last.format("%-d %b %Y"))
    } else if start.year() == last.year() {
        format!("{} – {}", start.format("%-d %b"), last.format("%-d %b %Y"))
    } else {
        format!("{} – {}", date(start), date(last))
    }
}

/// A window by its start alone, for narrow columns.
#[must_use]
pub fn window_short(start: DateTime<Utc>, end: DateTime<Utc>) -> String {
    if end - start <= TimeDelta::hours(1) {
        start.format("%-d %b %H:00").to_string()
    } else {
        start.format("%-d %b").to_string()
    }
}

/// How long ago: `3 h ago`, `just now`, `in 2 d`.
#[must_use]
pub fn ago(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let passed = now - at;
    if passed.abs() < TimeDelta::minutes(1) {
        "just now".to_owned()
    } else if passed > TimeDelta::zero() {
        format!("{} ago", length(passed))
    } else {
        format!("in {}", length(-passed))
    }
}

/// A length of time in its largest sensible unit.
#[must_use]
pub fn length(of: TimeDelta) -> String {
    let of = of.abs();
    if of < TimeDelta::seconds(1) {
        format!("{} ms", of.num_milliseconds())
    } else if of < TimeDelta::minutes(1) {
        format!("{} s", of.num_seconds())
    } else if of < TimeDelta::hours(1) {
        format!("{} min", of.num_minutes())
    } else if of < TimeDelta::hours(48) {
        format!("{} h", of.num_hours())
    } else {
        format!("{} d", of.num_days())
    }
}

/// A whole number with thin groups of thousands.
#[must_use]
pub fn count(n: i64) -> String {
    let digits = n.unsigned_abs().to_string();
    let mut out = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if n < 0 {
        out.insert(0, '−');
    }
    out
}

/// A number with as many places as help to compare it.
#[must_use]
pub fn number(v: f64) -> String {
    let magnitude = v.abs();
    let text = if !v.is_finite() {
        return "not a number".to_owned();
    } else if magnitude >= 1000.0 {
        // Beyond a thousand, fractions no longer help.
        return count(v.round() as i64);
    } else if magnitude >= 100.0 {
        format!("{magnitude:.1}")
    } else if magnitude >= 1.0 || magnitude == 0.0 {
        format!("{magnitude:.2}")
    } else {
        format!("{magnitude:.3}")
    };
    if v < 0.0 { format!("−{text}") } else { text }
}

/// A share as percent.
#[must_use]
pub fn percent(share: f64) -> String {
    let value = share * 100.0;
    let magnitude = value.abs();
    if !value.is_finite() {
        "not a number".to_owned()
    } else if magnitude >= 10.0 || magnitude == 0.0 || (magnitude - 100.0).abs() < 1e-9 {
        format!("{value:.0} %")
    } else if magnitude >= 0.1 {
        format!("{value:.1} %")
    } else {
        format!("{value:.2} %")
    }
}

/// How a value stands to what it is compared with: `+78 %`, `−4 %`.
#[must_use]
pub fn change(value: f64, reference: f64) -> Option<String> {
    if reference == 0.0 || !value.is_finite() || !reference.is_finite() {
        return None;
    }
    let share = (value - reference) / reference.abs() * 100.0;
    Some(if share.abs() < 0.5 {
        "±0 %".to_owned()
    } else if share > 0.0 {
        format!("+{share:.0} %")
    } else {
        format!("−{:.0} %", -share)
    })
}

/// How values of a measure are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    Number,
    Percent,
    Count,
    Milliseconds,
}

/// The scale of a measure by its machine name; one that is not known is a number.
#[must_use]
pub fn scale(measure: &str) -> Scale {
    match measure.parse() {
        Ok(
            Measure::MissingFeature
            | Measure::UnexpectedFeature
            | Measure::WrongType
            | Measure::NullShare
            | Measure::OutOfRange
            | Measure::UnseenCategory
            | Measure::TypeChange
            | Measure::NanShare
            | Measure::InfiniteShare
            | Measure::EmptyShare
            | Measure::Frozen
            | Measure::OutOfOrder
            | Measure::DuplicateRows
            | Measure::DuplicateValues
            | Measure::Accuracy
            | Measure::Precision
            | Measure::Recall
            | Measure::Specificity
            | Measure::BalancedAccuracy
            | Measure::WeightedPrecision
            | Measure::TopKAccuracy
            | Measure::HitRate
            | Measure::IntervalCoverage
            | Measure::ClassPrecision
            | Measure::ClassRecall
            | Measure::Mape
            | Measure::DemographicParityDifference
            | Measure::EqualOpportunityDifference
            | Measure::LabelCoverage
            | Measure::LabelCompleteness
            | Measure::ErrorRateSequential
            | Measure::ErrorBudgetLeft
            | Measure::EstimatedAccuracy
            | Measure::EstimatedPrecision
            | Measure::EstimatedRecall
            | Measure::Volume
            | Measure::ErrorRate,
        ) => Scale::Percent,
        Ok(Measure::Traffic) => Scale::Count,
        Ok(Measure::LatencyP50 | Measure::LatencyP95 | Measure::LatencyP99) => Scale::Milliseconds,
        // Measures of telemetry have a table of their own.
        Err(_)
            if telemetry::table()
                .measure(measure)
                .is_some_and(|of| of.unit == "ratio") =>
        {
            Scale::Percent
        }
        _ => Scale::Number,
    }
}

/// Whether a measure by its machine name is 1 or 0, so that its value says nothing its presence does not.
#[must_use]
pub fn is_sign(measure: &str) -> bool {
    measure.parse().is_ok_and(Measure::is_sign)
}

/// A value of a measure without its unit.
#[must_use]
pub fn value(measure: &str, v: f64) -> String {
    match scale(measure) {
        Scale::Number => number(v),
        Scale::Percent => percent(v),
        Scale::Count => count(v.round() as i64),
        Scale::Milliseconds => format!("{} ms", number(v)),
    }
}

/// The same, or a dash when there is none.
#[must_use]
pub fn value_or_dash(measure: &str, v: Option<f64>) -> String {
    v.map_or_else(|| "–".to_owned(), |v| value(measure, v))
}

/// The unit of a measure on a model whose label has `unit`.
#[must_use]
pub fn unit(measure: &str, unit: &str) -> String {
    match measure.parse::<Measure>() {
        Ok(Measure::Shift) => "standard deviations".to_owned(),
        Ok(measure) if measure.has_unit() => unit.to_owned(),
        _ => String::new(),
    }
}

/// A measure as a heading.
#[must_use]
pub fn measure_title(measure: &str) -> &str {
    match measure {
        "missing_feature" => "missing feature",
        "unexpected_feature" => "unexpected feature",
        "wrong_type" => "wrong type",
        "null_share" => "nulls",
        "out_of_range" => "out of range",
        "unseen_category" => "unseen category",
        "type_change" => "type change",
        "renamed_feature" => "renamed",
        "unit_change" => "unit change",
        "nan_share" => "NaN",
        "infinite_share" => "infinite",
        "empty_share" => "empty texts",
        "constant" => "constant",
        "frozen" => "frozen",
        "granularity" => "coarser steps",
        "out_of_order" => "out of order",
        "duplicate_rows" => "repeated rows",
        "duplicate_values" => "repeated values",
        "distinct_values" => "number of values",
        "psi" => "PSI",
        "jensen_shannon" => "Jensen–Shannon distance",
        "kolmogorov_smirnov" => "Kolmogorov–Smirnov",
        "hellinger" => "Hellinger distance",
        "total_variation" => "Total variation",
        "l_infinity" => "Largest change of a share",
        "wasserstein" => "Wasserstein distance",
        "wasserstein_normalised" => "Wasserstein distance, in deviations",
        "energy_distance" => "Energy distance",
        "cramer_von_mises" => "Cramér–von Mises",
        "anderson_darling" => "Anderson–Darling",
        "chi2" => "Chi-square",
        "g_test" => "G-test",
        "missing_share_change" => "Change of missing values",
        "shift" => "Shift, in deviations",
        "domain_classifier_auc" => "Domain classifier, area under the curve",
        "reconstruction_error_change" => "Change of the reconstruction error",
        "correlation_change" => "Change of a correlation",
        "copula_correlation_change" => "Change of a rank correlation over days",
        "random_features_mmd" => "Rows as a whole over days, MMD",
        "mean_shift" => "Shift of the mean vector",
        "maximum_mean_discrepancy" => "Maximum mean discrepancy",
        "text_length_distance" => "Distance of the lengths of texts",
        "unseen_words" => "Unseen words",
        "language_profile" => "Languages",
        "future_share_change" => "Change of dates in the future",
        "age_distance" => "Distance of the ages of dates",
        "hour_profile" => "Hours of the day",
        "weekday_profile" => "Days of the week",
        "attribution_ndcg" => "Order of attributions, NDCG",
        "mae" => "Mean absolute error",
        "rmse" => "Root mean squared error",
        "bias" => "Bias",
        "accuracy" => "Accuracy",
        "precision" => "Precision",
        "recall" => "Recall",
        "f1" => "F1",
        "roc_auc" => "ROC AUC",
        "log_loss" => "Log loss",
        "median_absolute_error" => "Median absolute error",
        "error_p90" => "Absolute error, 90th percentile",
        "mape" => "Mean absolute percentage error",
        "smape" => "Symmetric percentage error",
        "r2" => "R²",
        "specificity" => "Specificity",
        "balanced_accuracy" => "Balanced accuracy",
        "mcc" => "Matthews correlation",
        "pr_auc" => "Average precision",
        "score_separation" => "Separation of scores",
        "brier" => "Brier score",
        "ece" => "Calibration error",
        "lift" => "Lift",
        "value_per_prediction" => "Value per prediction",
        "weighted_precision" => "Precision, weighted",
        "weighted_f1" => "F1, weighted",
        "top_k_accuracy" => "Top-k accuracy",
        "ndcg" => "NDCG",
        "mean_average_precision" => "Mean average precision",
        "mean_reciprocal_rank" => "Mean reciprocal rank",
        "hit_rate" => "Hit rate",
        "pinball_loss" => "Pinball loss",
        "interval_coverage" => "Coverage of intervals",
        "interval_width" => "Width of intervals",
        "interval_score" => "Interval score",
        "mase" => "Mean absolute scaled error",
        "class_precision" => "Precision by class",
        "class_recall" => "Recall by class",
        "class_f1" => "F1 by class",
        "demographic_parity_difference" => "Demographic parity, difference",
        "demographic_parity_ratio" => "Demographic parity, ratio",
        "equal_opportunity_difference" => "Equal opportunity, difference",
        "equal_opportunity_ratio" => "Equal opportunity, ratio",
        "error_rate_sequential" => "Error rate, label by label",
        "loss_sequential" => "Loss, label by label",
        "roc_auc_change" => "ROC AUC, change over days",
        "fast_burn" => "Fast burn of the error budget",
        "slow_burn" => "Slow burn of the error budget",
        "error_budget_left" => "Error budget left",
        "estimated_mae" => "Estimated mean absolute error",
        "estimated_rmse" => "Estimated root mean squared error",
        "estimated_accuracy" => "Estimated accuracy",
        "estimated_precision" => "Estimated precision",
        "estimated_recall" => "Estimated recall",
        "estimated_f1" => "Estimated F1",
        "estimated_roc_auc" => "Estimated ROC AUC",
        "estimate_error" => "Error of the estimate",
        "label_coverage" => "Label coverage",
        "label_completeness" => "Label completeness",
        "traffic" => "Predictions",
        "volume" => "Volume against the season",
        "error_rate" => "Error rate",
        "latency_p50" => "Latency, median",
        "latency_p95" => "Latency, 95th percentile",
        "latency_p99" => "Latency, 99th percentile",
        other => other,
    }
}

/// A measure where room is scarce.
#[must_use]
pub fn measure_short(measure: &str) -> &str {
    match measure {
        "mae" => "MAE",
        "rmse" => "RMSE",
        "mase" => "MASE",
        "mean_average_precision" => "MAP",
        "mean_reciprocal_rank" => "MRR",
        "jensen_shannon" => "JS",
        "kolmogorov_smirnov" => "KS",
        "domain_classifier_auc" => "Classifier AUC",
        "reconstruction_error_change" => "Reconstruction",
        "correlation_change" => "Correlation",
        "copula_correlation_change" => "Rank correlation",
        "random_features_mmd" => "Rows as a whole",
        "text_length_distance" => "Text length",
        "future_share_change" => "Future dates",
        "age_distance" => "Age of dates",
        "attribution_ndcg" => "Attributions",
        other => measure_title(other),
    }
}

/// A feature as people call it.
#[must_use]
pub fn feature(name: &str) -> &str {
    match name {
        "prediction()" => "the prediction itself",
        "latency()" => "latency",
        "" => "all features together",
        other => other,
    }
}

/// A state word with its underscores opened.
#[must_use]
pub fn words(machine: &str) -> String {
    machine.replace('_', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("a valid instant")
    }

    #[test]
    fn numbers_have_the_places_that_help() {
        for (v, text) in [
            (9.0, "9.00"),
            (16.0349, "16.03"),
            (-0.0312, "−0.031"),
            (12_345.6, "12,346"),
            (-1_000.0, "−1,000"),
            (123.45, "123.5"),
            (0.0, "0.00"),
            (f64::NAN, "not a number"),
        ] {
            assert_eq!(number(v), text);
        }
        for (v, text) in [
            (1.0, "100 %"),
            (0.0, "0 %"),
            (0.971, "97 %"),
            (0.034, "3.4 %"),
            (0.0004, "0.04 %"),
        ] {
            assert_eq!(percent(v), text);
        }
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(change(16.03, 9.0).as_deref(), Some("+78 %"));
        assert_eq!(change(8.0, 9.0).as_deref(), Some("−11 %"));
        assert_eq!(change(8.0, 0.0), None);
    }

    #[test]
    fn times_are_as_long_as_they_need_to_be() {
        let now = at("2013-05-08T12:00:00Z");
        for (then, text) in [
            ("2013-05-08T11:59:30Z", "just now"),
            ("2013-05-08T11:15:00Z", "45 min ago"),
            ("2013-05-07T12:00:00Z", "24 h ago"),
            ("2013-05-01T12:00:00Z", "7 d ago"),
            ("2013-05-08T14:00:00Z", "in 2 h"),
        ] {
            assert_eq!(ago(at(then), now), text);
        }
        for (start, end, text) in [
            (
                "2013-05-06T00:00:00Z",
                "2013-05-13T00:00:00Z",
                "6–12 May 2013",
            ),
            (
                "2013-04-29T00:00:00Z",
                "2013-05-06T00:00:00Z",
                "29 Apr – 5 May 2013",
            ),
            (
                "2012-12-31T00:00:00Z",
                "2013-01-07T00:00:00Z",
                "31 Dec 2012 – 6 Jan 2013",
            ),
            ("2013-05-06T00:00:00Z", "2013-05-07T00:00:00Z", "6 May 2013"),
            (
                "2013-05-06T09:00:00Z",
                "2013-05-06T10:00:00Z",
                "6 May 2013, 09:00",
            ),
        ] {
            assert_eq!(window(at(start), at(end)), text);
        }
    }
}

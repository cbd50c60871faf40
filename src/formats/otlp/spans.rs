//! Spans that call generative models, as samples of telemetry: how long, how many tokens, whether it failed. There is
//! no prediction in them that a label could ever judge. A span counts in the step in which it ended; sent again it
//! replaces itself, because its id is part of the sample's.

use super::Telling;
use super::message::{Origin, Span, attribute, instant, number_of, text_of};
use super::points::{Series, first_text, source_of};
use crate::domain::telemetry::{
    CALL_DURATION, CALL_FAILURES, CALL_INPUT_TOKENS, CALL_OUTPUT_TOKENS, Counting, Reading, Sample,
    Spread, table,
};

/// Bounds of durations in seconds, as the semantic conventions advise for calls of generative models.
const BOUNDS: [f64; 14] = [
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
];

/// What a span tells; nothing if it calls no model.
pub(super) fn samples(origin: &Origin<'_>, span: &Span<'_>) -> Vec<Telling> {
    let calls = &table().calls;
    let is_call = (calls.operation.iter()).any(|name| attribute(&span.attributes, name).is_some());
    let Some(at) = instant(span.ended_at).filter(|_| is_call) else {
        return Vec::new();
    };
    let of = |names: &[String]| {
        let mut found = names
            .iter()
            .filter_map(|name| attribute(&span.attributes, name));
        found.find_map(number_of)
    };
    let mut models: Vec<String> = (attribute(&span.attributes, "bellwether.model").into_iter())
        .chain(attribute(&origin.resource, "bellwether.model"))
        .filter_map(text_of)
        .map(std::borrow::Cow::into_owned)
        .collect();
    models.extend(first_text(&span.attributes, &calls.model));
    models.extend(
        attribute(&origin.resource, "service.name")
            .and_then(text_of)
            .map(std::borrow::Cow::into_owned),
    );
    let seconds = span.ended_at.saturating_sub(span.started_at) as f64 / 1e9;
    let mut buckets = vec![0; BOUNDS.len() + 1];
    buckets[BOUNDS.partition_point(|bound| *bound < seconds)] = 1;
    let duration = Reading::Spread(
        Counting::Delta,
        Spread {
            count: 1,
            sum: seconds,
            bounds: BOUNDS.to_vec(),
            buckets,
        },
    );
    let counted = |number: Option<f64>| {
        let number = number.filter(|number| number.is_finite() && *number >= 0.0);
        number.map(|number| Reading::Count(Counting::Delta, number))
    };
    let failed = span.failed.then_some(1.0).or(Some(0.0));
    let mut series = Series::default();
    series.add(&format!("{:032x}", span.trace_id));
    series.add(&format!("{:016x}", span.span_id));
    let series = series.number();
    [
        (CALL_DURATION, Some(duration)),
        (CALL_FAILURES, counted(failed)),
        (CALL_INPUT_TOKENS, counted(of(&calls.input_tokens))),
        (CALL_OUTPUT_TOKENS, counted(of(&calls.output_tokens))),
    ]
    .into_iter()
    .filter_map(|(measure, reading)| {
        let sample = Sample {
            measure,
            series,
            source: source_of(&span.attributes, &origin.resource),
            at,
            started_at: None,
            reading: reading?,
        };
        Some(Telling {
            models: models.clone(),
            sample,
        })
    })
    .collect()
}

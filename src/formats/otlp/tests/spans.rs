use super::*;

fn spans(of: &[(&str, &str)], spans: Vec<Span>) -> Vec<u8> {
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: resource(of),
            scope_spans: vec![ScopeSpans {
                scope: scope("lib"),
                spans,
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    };
    request.encode_to_vec()
}

fn span(attributes: &[(&str, Option<AnyValue>)]) -> Span {
    Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        name: "work".to_owned(),
        start_time_unix_nano: NANOS,
        end_time_unix_nano: NANOS + 250_000_000,
        attributes: pairs(attributes),
        ..Span::default()
    }
}

#[test]
fn a_span_with_an_answer_is_a_prediction_that_took_as_long_as_the_span() {
    let mut failed = span(&[
        ("bellwether.prediction_id", text("b")),
        ("bellwether.feature.x", double(2.0)),
    ]);
    failed.status = Some(Status {
        code: 2,
        message: "out of memory".to_owned(),
    });
    let good = span(&[
        ("bellwether.prediction", double(7.0)),
        ("bellwether.feature.x", double(1.0)),
    ]);
    let body = spans(&[("service.name", "fares")], vec![good, failed, span(&[])]);
    let (sorted, batches) = read(Signal::Traces, Encoding::Protobuf, &body, Task::Regression);
    let batch = &predictions(&batches[0]).batch;
    let ids: Vec<&str> = batch.prediction_ids.iter().collect();
    assert_eq!(
        ids,
        ["01010101010101010101010101010101-0202020202020202", "b"]
    );
    assert_eq!(batch.latency_ms, [Some(250.0), Some(250.0)]);
    let errors: Vec<Option<&str>> = batch.errors.iter().collect();
    assert_eq!(errors, [None, Some("out of memory")]);
    assert_eq!(sorted.unused.total(), 1);
}

#[test]
fn events_of_a_span_are_the_same_events_as_log_records() {
    use opentelemetry_proto::tonic::trace::v1::span::Event;

    let told = |name: &str, attributes: &[(&str, Option<AnyValue>)]| Event {
        time_unix_nano: NANOS + 1_000_000,
        name: name.to_owned(),
        attributes: pairs(attributes),
        ..Event::default()
    };
    let mut batch_job = span(&[("bellwether.version", text("v7"))]);
    batch_job.events = vec![
        told("exception", &[("exception.message", text("a warning"))]),
        told(
            "bellwether.prediction",
            &[
                ("bellwether.prediction", double(7.0)),
                ("bellwether.feature.x", double(1.0)),
            ],
        ),
        told(
            "bellwether.prediction",
            &[
                ("bellwether.prediction_id", text("mine")),
                ("bellwether.prediction", double(8.0)),
                ("bellwether.version", text("v8")),
            ],
        ),
        told(
            "bellwether.label",
            &[
                ("bellwether.prediction_id", text("mine")),
                ("bellwether.label", double(8.5)),
            ],
        ),
        told(
            "bellwether.prediction",
            &[("bellwether.predicton", double(1.0))],
        ),
    ];
    let mut both = span(&[("bellwether.prediction", double(3.0))]);
    both.span_id = vec![3; 8];
    both.events = vec![told(
        "bellwether.prediction",
        &[("bellwether.prediction", double(4.0))],
    )];
    let body = spans(
        &[("service.name", "fares")],
        vec![batch_job, span(&[]), both],
    );
    let (sorted, batches) = read(Signal::Traces, Encoding::Protobuf, &body, Task::Regression);
    let decoded = predictions(&batches[0]);
    let ids: Vec<&str> = decoded.batch.prediction_ids.iter().collect();
    assert_eq!(
        ids,
        [
            "01010101010101010101010101010101-0202020202020202-1",
            "mine",
            "01010101010101010101010101010101-0303030303030303",
            "01010101010101010101010101010101-0303030303030303-0",
        ]
    );
    let versions: Vec<Option<&str>> = decoded.batch.versions.iter().collect();
    assert_eq!(versions, [Some("v7"), Some("v8"), Some("v1"), Some("v1")]);
    let answers: Vec<Option<f64>> = decoded.batch.outputs.iter().map(|of| of.value).collect();
    assert_eq!(answers, [Some(7.0), Some(8.0), Some(3.0), Some(4.0)]);
    assert_eq!(
        decoded.batch.predicted_at[0].timestamp_nanos_opt(),
        Some(i64::try_from(NANOS + 1_000_000).expect("small"))
    );
    // The one with a name that is misspelt costs itself.
    assert_eq!(decoded.rejects.total(), 1);
    assert_eq!(decoded.rejects.first()[0].line, 5);
    let labelled = labels(&batches[1]);
    assert_eq!(labelled.batch.prediction_ids, ["mine"]);
    // Three spans and five of their events; one span is of no use.
    assert_eq!((sorted.received, sorted.unused.total()), (8, 1));

    let json = format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"fares"}}}}]}},
        "scopeSpans":[{{"spans":[{{"traceId":"{}","spanId":"{}","events":[null,{{"name":"other"}},
        {{"timeUnixNano":"{NANOS}","name":"bellwether.prediction","attributes":[
        {{"key":"bellwether.prediction","value":{{"doubleValue":7}}}}]}}]}}]}}]}}]}}"#,
        "01".repeat(16),
        "02".repeat(8),
    );
    let (_, batches) = read(
        Signal::Traces,
        Encoding::Json,
        json.as_bytes(),
        Task::Regression,
    );
    let ids: Vec<&str> = predictions(&batches[0])
        .batch
        .prediction_ids
        .iter()
        .collect();
    assert_eq!(ids, ["01010101010101010101010101010101-0202020202020202-1"]);
}

#[test]
fn calls_of_generative_models_are_telemetry_under_all_conventions() {
    for (operation, model, input) in [
        (
            "gen_ai.operation.name",
            "gen_ai.request.model",
            "gen_ai.usage.input_tokens",
        ),
        (
            "openinference.span.kind",
            "llm.model_name",
            "llm.token_count.prompt",
        ),
        (
            "traceloop.span.kind",
            "gen_ai.response.model",
            "gen_ai.usage.prompt_tokens",
        ),
    ] {
        let of = [
            (operation, text("chat")),
            (model, text("gpt")),
            (input, int(30)),
        ];
        let body = spans(&[("service.name", "bot")], vec![span(&of)]);
        let (sorted, _) = read(Signal::Traces, Encoding::Protobuf, &body, Task::Regression);
        assert_eq!(sorted.unused.total(), 0);
        let told: Vec<&str> = sorted.samples.iter().map(|t| t.sample.measure).collect();
        assert_eq!(
            told,
            [
                "traced_call_duration",
                "traced_call_failures",
                "traced_input_tokens"
            ]
        );
        assert_eq!(sorted.samples[0].models, ["gpt", "bot"]);
        assert!(matches!(
            &sorted.samples[0].sample.reading,
            Reading::Spread(Counting::Delta, spread) if spread.sum == 0.25 && spread.count == 1
        ));
        let tokens = &sorted.samples[2].sample.reading;
        assert_eq!(*tokens, Reading::Count(Counting::Delta, 30.0));
    }
}

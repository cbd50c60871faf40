use super::*;

fn metrics_of(of: &[(&str, &str)], metrics: Vec<metrics::Metric>) -> Vec<u8> {
    let request = ExportMetricsServiceRequest {
        resource_metrics: vec![metrics::ResourceMetrics {
            resource: resource(of),
            scope_metrics: vec![metrics::ScopeMetrics {
                scope: scope("collector"),
                metrics,
                ..metrics::ScopeMetrics::default()
            }],
            ..metrics::ResourceMetrics::default()
        }],
    };
    request.encode_to_vec()
}

fn number(value: f64, attributes: &[(&str, Option<AnyValue>)]) -> metrics::NumberDataPoint {
    metrics::NumberDataPoint {
        attributes: pairs(attributes),
        start_time_unix_nano: NANOS - 1_000_000_000,
        time_unix_nano: NANOS,
        value: Some(metrics::number_data_point::Value::AsDouble(value)),
        ..metrics::NumberDataPoint::default()
    }
}

fn metric(name: &str, data: metrics::metric::Data) -> metrics::Metric {
    metrics::Metric {
        name: name.to_owned(),
        data: Some(data),
        ..metrics::Metric::default()
    }
}

fn gauge(points: Vec<metrics::NumberDataPoint>) -> metrics::metric::Data {
    metrics::metric::Data::Gauge(metrics::Gauge {
        data_points: points,
    })
}

fn sum(temporality: i32, monotonic: bool, value: f64) -> metrics::metric::Data {
    metrics::metric::Data::Sum(metrics::Sum {
        data_points: vec![number(value, &[])],
        aggregation_temporality: temporality,
        is_monotonic: monotonic,
    })
}

#[test]
fn metrics_that_are_known_are_samples_and_the_rest_is_counted_by_name() {
    let histogram = metrics::HistogramDataPoint {
        time_unix_nano: NANOS,
        count: 3,
        sum: Some(900.0),
        bucket_counts: vec![1, 1, 1],
        explicit_bounds: vec![100.0, 500.0],
        ..metrics::HistogramDataPoint::default()
    };
    let exponential = metrics::ExponentialHistogramDataPoint {
        time_unix_nano: NANOS,
        count: 4,
        sum: Some(8.0),
        scale: 0,
        zero_count: 1,
        positive: Some(metrics::exponential_histogram_data_point::Buckets {
            offset: 0,
            bucket_counts: vec![1, 2],
        }),
        ..metrics::ExponentialHistogramDataPoint::default()
    };
    let mut stale = number(0.0, &[]);
    stale.flags = 1;
    let body = metrics_of(
        &[("service.name", "fares"), ("host.name", "node-1")],
        vec![
            metric(
                "DCGM_FI_DEV_GPU_UTIL",
                gauge(vec![
                    number(50.0, &[("gpu", text("0"))]),
                    number(1e18, &[]),
                    stale,
                ]),
            ),
            metric("bentoml_service_request_total", sum(2, true, 10.0)),
            metric("bentoml_service_request_total", sum(1, true, 4.0)),
            metric("vllm:num_requests_running", sum(2, false, 3.0)),
            metric(
                "http.server.duration",
                metrics::metric::Data::Histogram(metrics::Histogram {
                    data_points: vec![histogram],
                    aggregation_temporality: 1,
                }),
            ),
            metric(
                "gen_ai.server.request.duration",
                metrics::metric::Data::ExponentialHistogram(metrics::ExponentialHistogram {
                    data_points: vec![exponential],
                    aggregation_temporality: 2,
                }),
            ),
            metric(
                "jvm.memory.used",
                gauge(vec![number(1.0, &[]), number(2.0, &[])]),
            ),
            metric(
                "gen_ai.client.token.usage",
                gauge(vec![number(1.0, &[("gen_ai.token.type", text("other"))])]),
            ),
        ],
    );
    let (sorted, _) = read(Signal::Metrics, Encoding::Protobuf, &body, Task::Regression);
    assert_eq!(sorted.received, 11);
    let unused: Vec<((Unused, &str), u64)> = (sorted.unused.0.iter())
        .map(|((reason, name), count)| ((*reason, name.as_str()), *count))
        .collect();
    assert_eq!(
        unused,
        [
            ((Unused::UnknownMetric, "gen_ai.client.token.usage"), 1),
            ((Unused::UnknownMetric, "jvm.memory.used"), 2),
            ((Unused::NoValue, "DCGM_FI_DEV_GPU_UTIL"), 2)
        ]
    );
    let told: Vec<(&str, &Reading)> = (sorted.samples.iter())
        .map(|t| (t.sample.measure, &t.sample.reading))
        .collect();
    assert_eq!(told[0], ("gpu_utilization", &Reading::Level(0.5)));
    let requests = Reading::Count(Counting::Cumulative, 10.0);
    assert_eq!(told[1], ("requests", &requests));
    assert_eq!(told[2], ("requests", &Reading::Count(Counting::Delta, 4.0)));
    assert_eq!(told[3], ("requests_running", &Reading::Level(3.0)));
    let Reading::Spread(Counting::Delta, spread) = told[4].1 else {
        panic!("{told:?}");
    };
    // Milliseconds are told as seconds.
    assert_eq!((spread.sum, &spread.bounds[..]), (0.9, &[0.1, 0.5][..]));
    let Reading::Spread(Counting::Cumulative, spread) = told[5].1 else {
        panic!("{told:?}");
    };
    assert_eq!(spread.bounds, [1.0, 2.0, 4.0]);
    assert_eq!(spread.buckets, [1, 1, 2, 0]);
    let first = &sorted.samples[0];
    assert_eq!(first.sample.source, "0");
    assert_eq!(first.models, ["fares"]);
    assert_eq!(first.sample.at, now());
}

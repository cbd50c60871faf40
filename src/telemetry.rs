//! The service's own logs, traces and metrics.
//!
//! There is one [`Meter`]: what it counts is shown as Prometheus text and, when a collector is configured, also pushed over
//! OTLP, so the two can never disagree. Instruments carry the prefix `bellwether_`; the Prometheus text adds `_total` and the
//! unit. Traces are only ever pushed.
//!
//! OTLP goes out through a blocking client on threads of the SDK's own. It must keep working, and must be able to flush,
//! when the service's runtime is overloaded or already stopping; an exporter on that runtime could not.

use std::io::IsTerminal;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{
    ExporterBuildError, MetricExporter, Protocol, SpanExporter, WithExportConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::SdkTracerProvider;
use prometheus::{Registry, TextEncoder};
use thiserror::Error;
use tracing::Dispatch;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, Layer, Registry as Spans};
use url::Url;

use crate::config::{LogFormat, TelemetryConfig};

/// The name the service goes by in traces and metrics.
const SERVICE_NAME: &str = "bellwether";

/// Telemetry could not be started.
#[derive(Debug, Error)]
pub enum TelemetryError {
    /// The log filter does not parse.
    #[error("read the log filter {filter:?}")]
    Filter {
        /// The filter as configured.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// The exporter to the collector could not be made.
    #[error("prepare the export to {endpoint}")]
    Export {
        /// The collector's address for the signal.
        endpoint: String,
        /// Why not.
        #[source]
        source: ExporterBuildError,
    },
    /// The Prometheus registry refused the metrics.
    #[error("prepare the metrics page")]
    Prometheus(#[source] OTelSdkError),
    /// Another subscriber was installed before.
    #[error("install the log subscriber")]
    Install(#[source] tracing::dispatcher::SetGlobalDefaultError),
}

/// Running telemetry. Keep it for as long as the service runs and end it with [`Telemetry::shutdown`].
#[derive(Debug, Clone)]
pub struct Telemetry {
    meters: SdkMeterProvider,
    tracers: Option<SdkTracerProvider>,
    registry: Registry,
}

/// Starts telemetry and makes it the process's own.
///
/// # Errors
/// When the configuration cannot be used, or another subscriber is installed already.
pub fn init(config: &TelemetryConfig) -> Result<Telemetry, TelemetryError> {
    let (telemetry, subscriber) = start(config)?;
    tracing::dispatcher::set_global_default(subscriber).map_err(TelemetryError::Install)?;
    Ok(telemetry)
}

/// Telemetry and the subscriber that feeds it, not yet installed.
fn start(config: &TelemetryConfig) -> Result<(Telemetry, Dispatch), TelemetryError> {
    // Whoever comes first installs the process's TLS provider; it is the same one everywhere here.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let registry = Registry::new();
    let endpoint = config.otlp_endpoint.as_ref();
    let meters = meters(endpoint, &registry)?;
    let tracers = endpoint.map(tracers).transpose()?;
    let subscriber = subscriber(config, tracers.as_ref())?;
    let telemetry = Telemetry {
        meters,
        tracers,
        registry,
    };
    Ok((telemetry, subscriber))
}

impl Telemetry {
    /// The meter that modules make their instruments from.
    #[must_use]
    pub fn meter(&self) -> Meter {
        self.meters.meter(SERVICE_NAME)
    }

    /// All metrics in the Prometheus text format.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        if let Err(error) = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "the metrics could not be written as text");
        }
        text
    }

    /// Sends what has not been sent and stops, within the given time. What a collector does not take by then is lost: its
    /// outage must not hold up the end of the service.
    pub async fn shutdown(self, within: Duration) {
        let (done, finished) = tokio::sync::oneshot::channel();
        // A thread and not a blocking task, because the runtime would wait for the latter for as long as it takes.
        std::thread::spawn(move || {
            let traces = self
                .tracers
                .map(|tracers| tracers.shutdown_with_timeout(within));
            let metrics = self.meters.shutdown_with_timeout(within);
            // The receiver is gone when time ran out, and then nobody waits for the answer.
            let _ = done.send(traces.unwrap_or(Ok(())).and(metrics));
        });
        match tokio::time::timeout(within, finished).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => {
                tracing::warn!(%error, "the last traces and metrics could not be sent");
            }
            Ok(Err(_)) | Err(_) => {
                tracing::warn!("the last traces and metrics could not be sent in time");
            }
        }
    }
}

fn resource() -> Resource {
    Resource::builder()
        .with_service_name(SERVICE_NAME)
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build()
}

fn meters(endpoint: Option<&Url>, registry: &Registry) -> Result<SdkMeterProvider, TelemetryError> {
    let prometheus = opentelemetry_prometheus::exporter()
        .with_registry(registry.clone())
        .scope_info_enabled(false)
        .build()
        .map_err(TelemetryError::Prometheus)?;
    let mut provider = SdkMeterProvider::builder()
        .with_resource(resource())
        .with_reader(prometheus);
    if let Some(base) = endpoint {
        let endpoint = signal_endpoint(base, "v1/metrics");
        let exporter = MetricExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(&endpoint)
            .build()
            .map_err(|source| TelemetryError::Export { endpoint, source })?;
        provider = provider.with_reader(PeriodicReader::builder(exporter).build());
    }
    Ok(provider.build())
}

fn tracers(base: &Url) -> Result<SdkTracerProvider, TelemetryError> {
    let endpoint = signal_endpoint(base, "v1/traces");
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(&endpoint)
        .build()
        .map_err(|source| TelemetryError::Export { endpoint, source })?;
    Ok(SdkTracerProvider::builder()
        .with_resource(resource())
        .with_batch_exporter(exporter)
        .build())
}

/// The exporters take an endpoint as it is, so the path of the signal has to be added to the base address here.
fn signal_endpoint(base: &Url, path: &str) -> String {
    format!("{}/{path}", base.as_str().trim_end_matches('/'))
}

fn subscriber(
    config: &TelemetryConfig,
    tracers: Option<&SdkTracerProvider>,
) -> Result<Dispatch, TelemetryError> {
    let filter =
        EnvFilter::try_new(&config.log_filter).map_err(|source| TelemetryError::Filter {
            filter: config.log_filter.clone(),
            source,
        })?;
    // Standard output belongs to the answers of commands, so logs go to standard error.
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match config.log_format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    // Only our own spans are exported: the exporter's client makes spans too, and would feed on itself.
    let spans = tracers.map(|tracers| {
        tracing_opentelemetry::layer()
            .with_tracer(tracers.tracer(SERVICE_NAME))
            .with_filter(Targets::new().with_target(SERVICE_NAME, LevelFilter::INFO))
    });
    Ok(Dispatch::new(
        Spans::default().with(lines.with_filter(filter)).with(spans),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::mpsc;

    fn config(otlp_endpoint: Option<Url>) -> TelemetryConfig {
        TelemetryConfig {
            otlp_endpoint,
            log_format: LogFormat::Text,
            log_filter: "off".to_owned(),
        }
    }

    /// Answers every request with 200 and passes on its path and the length of its body.
    fn collector() -> (Url, mpsc::Receiver<(String, usize)>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let sender = sender.clone();
                std::thread::spawn(move || answer(stream.unwrap(), &sender));
            }
        });
        (url, receiver)
    }

    fn answer(stream: TcpStream, received: &mpsc::Sender<(String, usize)>) {
        let mut reader = BufReader::new(stream);
        let mut request = String::new();
        reader.read_line(&mut request).unwrap();
        let path = request
            .split_whitespace()
            .nth(1)
            .unwrap_or_default()
            .to_owned();
        let mut length = 0;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).unwrap();
            if let Some(value) = header.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if header.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        // Told before it is answered: whoever waits for the answer finds the request here. A test
        // that has seen enough drops its end.
        let _ = received.send((path, body.len()));
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        reader.get_mut().write_all(answer.as_bytes()).unwrap();
    }

    #[tokio::test]
    async fn a_counter_shows_in_the_metrics_page() {
        let (telemetry, _subscriber) = start(&config(None)).unwrap();
        let counter = telemetry
            .meter()
            .u64_counter("bellwether_intake_rows")
            .with_description("Rows taken in")
            .build();
        counter.add(3, &[KeyValue::new("kind", "prediction")]);
        let text = telemetry.render();
        assert!(
            text.contains("# HELP bellwether_intake_rows_total Rows taken in"),
            "{text}"
        );
        assert!(
            text.contains("bellwether_intake_rows_total{kind=\"prediction\"} 3"),
            "{text}"
        );
        assert!(text.contains("service_name=\"bellwether\""), "{text}");
    }

    #[tokio::test]
    async fn spans_and_metrics_arrive_at_the_collector_before_the_end() {
        let (url, received) = collector();
        let (telemetry, subscriber) = start(&config(Some(url))).unwrap();
        telemetry
            .meter()
            .u64_counter("bellwether_intake_rows")
            .build()
            .add(1, &[]);
        tracing::dispatcher::with_default(&subscriber, || {
            tracing::info_span!("alert.step", alert = 7).in_scope(|| tracing::info!("stepped"));
        });
        telemetry.shutdown(Duration::from_secs(10)).await;
        let mut arrived: Vec<(String, usize)> = received.try_iter().collect();
        arrived.sort();
        let paths: Vec<&str> = arrived.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["/v1/metrics", "/v1/traces"]);
        assert!(arrived.iter().all(|(_, length)| *length > 0), "{arrived:?}");
    }

    #[tokio::test]
    async fn a_collector_that_never_answers_does_not_hold_up_the_end() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = Url::parse(&format!("http://{}", silent.local_addr().unwrap())).unwrap();
        let (telemetry, subscriber) = start(&config(Some(url))).unwrap();
        tracing::dispatcher::with_default(&subscriber, || {
            tracing::info_span!("alert.step").in_scope(|| ());
        });
        let before = std::time::Instant::now();
        telemetry.shutdown(Duration::from_millis(200)).await;
        assert!(
            before.elapsed() < Duration::from_secs(5),
            "took {:?}",
            before.elapsed()
        );
    }

    #[test]
    fn an_endpoint_with_a_path_keeps_it() {
        let base = Url::parse("https://collector.example.org/tenant/").unwrap();
        assert_eq!(
            signal_endpoint(&base, "v1/traces"),
            "https://collector.example.org/tenant/v1/traces"
        );
    }
}

"""Real clients, as users run them: OpenTelemetry's Python SDK and BentoML's own monitor.

    clients.py logs|traces|metrics http|grpc ADDRESS TOKEN [gzip] [ROWS]
    clients.py bento ADDRESS TOKEN [ROWS]

They speak of the models "fares" (regression, version v1) and "churn" (binary), and end with the number of what they
sent. Whatever a client complains about goes to its standard error, and a client that was refused says so.
"""

import json
import sys
import time

ROWS = 40


def exporter(signal, protocol, address, token, compressed):
    """The exporter of a signal, set up by arguments; environment variables do the same."""
    headers = {"authorization": f"Bearer {token}"}
    if protocol == "http":
        from opentelemetry.exporter.otlp.proto.http import Compression
        from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        more = {"endpoint": f"{address}/v1/{signal}", "headers": headers}
        more["compression"] = Compression.Gzip if compressed else Compression.NoCompression
    else:
        from grpc import Compression
        from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        more = {"endpoint": address, "headers": headers, "insecure": True}
        more["compression"] = Compression.Gzip if compressed else Compression.NoCompression
    makers = {"logs": OTLPLogExporter, "traces": OTLPSpanExporter, "metrics": OTLPMetricExporter}
    return makers[signal](**more)


def resource():
    from opentelemetry.sdk.resources import Resource

    return Resource.create({"service.name": "fares", "host.name": "node-1"})


def logs(made, protocol, rows):
    """Predictions and their labels as events."""
    from opentelemetry._logs import LogRecord
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

    provider = LoggerProvider(resource=resource())
    provider.add_log_record_processor(BatchLogRecordProcessor(made))
    logger = provider.get_logger("shop")
    for row in range(rows):
        name = f"{protocol}-{row}"
        now = time.time_ns()
        attributes = {
            "bellwether.prediction_id": name,
            "bellwether.prediction": 10.0 + row,
            "bellwether.feature.distance": 100 + row,
            "bellwether.feature.carrier": "UA" if row % 2 else "B6",
            "bellwether.latency_ms": 3.5,
        }
        logger.emit(LogRecord(timestamp=now, event_name="bellwether.prediction", attributes=attributes))
        attributes = {"bellwether.prediction_id": name, "bellwether.label": 11.0 + row}
        logger.emit(LogRecord(timestamp=now, event_name="bellwether.label", attributes=attributes))
    logger.emit(LogRecord(timestamp=time.time_ns(), event_name="shop.opened", body="nobody needs this"))
    provider.force_flush()
    provider.shutdown()


def traces(made, protocol, rows):
    """Spans that are predictions, calls of a generative model, and others."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=resource())
    provider.add_span_processor(BatchSpanProcessor(made))
    tracer = provider.get_tracer("shop")
    for row in range(rows):
        with tracer.start_as_current_span("POST /predict"):
            with tracer.start_as_current_span("predict") as span:
                span.set_attribute("bellwether.prediction_id", f"span-{protocol}-{row}")
                span.set_attribute("bellwether.prediction", 20.0 + row)
                span.set_attribute("bellwether.feature.distance", 200 + row)
            with tracer.start_as_current_span("chat fares") as span:
                span.set_attribute("gen_ai.operation.name", "chat")
                span.set_attribute("gen_ai.request.model", "fares")
                span.set_attribute("gen_ai.usage.input_tokens", 30)
                span.set_attribute("gen_ai.usage.output_tokens", 12)
    provider.force_flush()
    provider.shutdown()


def metrics(made, protocol, rows):
    """A level, a counter and a histogram that are known, and one that is not."""
    from opentelemetry.metrics import Observation
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    reader = PeriodicExportingMetricReader(made, export_interval_millis=3_600_000)
    provider = MeterProvider(resource=resource(), metric_readers=[reader])
    meter = provider.get_meter("server")
    attributes = {"protocol": protocol}
    observe = [lambda _: [Observation(0.25, attributes)]]
    meter.create_observable_gauge("system.cpu.utilization", callbacks=observe, unit="1")
    counted = meter.create_counter("bentoml_service_request_total")
    took = meter.create_histogram("http.server.request.duration", unit="s")
    other = meter.create_counter("shop.visits")
    for row in range(rows):
        counted.add(1, attributes)
        took.record(0.01 * row, attributes)
        other.add(1)
    provider.force_flush()
    provider.shutdown()


def bento(address, token, rows=ROWS):
    """BentoML's own monitor, as `bentoml.monitor` makes it from its settings inside a service."""
    import os

    # Its option `headers` does not reach the exporter over HTTP; the environment does.
    os.environ["OTEL_EXPORTER_OTLP_HEADERS"] = f"authorization=Bearer%20{token}"
    from bentoml._internal.context import server_context
    from bentoml._internal.monitoring.otlp import OTLPMonitor

    server_context.bento_name = "shop"
    server_context.bento_version = "not available"
    monitor = OTLPMonitor("churn", endpoint=f"{address}/v1/logs", meta_sample_rate=0.1)
    for row in range(int(rows)):
        monitor.start_record()
        monitor.log(20 + row, name="age", role="feature", data_type="numerical")
        monitor.log("pro" if row % 2 else "free", name="plan", role="feature", data_type="categorical")
        monitor.log(row / 100, name="probability", role="prediction", data_type="numerical")
        monitor.stop_record()
    monitor.logger_provider.force_flush()
    return rows


def main(arguments):
    if arguments[0] == "bento":
        return bento(*arguments[1:])
    signal, protocol, address, token = arguments[:4]
    compressed = "gzip" in arguments[4:]
    numbers = [int(word) for word in arguments[4:] if word.isdigit()]
    rows = numbers[0] if numbers else ROWS
    made = exporter(signal, protocol, address, token, compressed)
    {"logs": logs, "traces": traces, "metrics": metrics}[signal](made, protocol, rows)
    return rows


if __name__ == "__main__":
    print(main(sys.argv[1:]))

-- Rows of release 0012: a level and a histogram, what is not used, and a response that waits for its request.

CREATE TABLE telemetry_samples_20260301 PARTITION OF telemetry_samples
    FOR VALUES FROM ('2026-03-01 00:00+00') TO ('2026-03-02 00:00+00');
INSERT INTO telemetry_samples
SELECT project_id, model_id, 'gpu_utilization', 1, '2026-03-01 10:00+00', NULL, 'pod-1', 'level', 0.4, NULL, NULL, NULL
FROM models;
INSERT INTO telemetry_samples
SELECT project_id, model_id, 'request_duration', 2, '2026-03-01 10:00+00', '2026-03-01 09:00+00', 'pod-1', 'cumulative',
       1.5, 3, '{0.1,1}', '{1,1,1}'
FROM models;
INSERT INTO unused_telemetry
SELECT project_id, 'metrics', 'unknown_metric', 'jvm.memory.used', 3, '2026-03-01', '2026-03-01' FROM projects LIMIT 1;
INSERT INTO inference_halves
SELECT project_id, model_id, 'one', 'response', '\x00', '2026-03-01' FROM models;

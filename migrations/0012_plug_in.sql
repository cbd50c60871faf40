-- What is already there can be plugged in without code: telemetry that OpenTelemetry carries, and the two halves of
-- an inference that a serving platform logs one by one.

-- Samples of telemetry about a model in service, as they were sent. Counters stay what they were (`counting`), and
-- become rates when they are read, so that a sample which is sent twice or late changes nothing else.
CREATE TABLE telemetry_samples (
    project_id     uuid NOT NULL,
    model_id       uuid NOT NULL,
    measure        text NOT NULL,
    -- Tells the series of a measure apart: a hash of where it comes from and all its attributes.
    series         bigint NOT NULL,
    sampled_at     timestamptz NOT NULL,
    started_at     timestamptz,
    source         text NOT NULL,
    counting       text NOT NULL,
    -- A level, a count, or the sum of a histogram.
    value          double precision NOT NULL,
    -- Histograms: how many observations, upper bounds, observations below each and above all.
    observations   bigint,
    bounds         double precision[],
    buckets        bigint[],
    PRIMARY KEY (model_id, measure, series, sampled_at),
    CONSTRAINT telemetry_samples_counting_known CHECK (counting IN ('level', 'delta', 'cumulative')),
    CONSTRAINT telemetry_samples_buckets_fit CHECK (cardinality(buckets) = cardinality(bounds) + 1)
) PARTITION BY RANGE (sampled_at);

-- What was sent and is not used, by name and reason: counted, and named once.
CREATE TABLE unused_telemetry (
    project_id     uuid NOT NULL REFERENCES projects,
    signal         text NOT NULL,
    reason         text NOT NULL,
    name           text NOT NULL,
    count          bigint NOT NULL,
    first_seen_at  timestamptz NOT NULL,
    last_seen_at   timestamptz NOT NULL,
    PRIMARY KEY (project_id, signal, reason, name),
    CONSTRAINT unused_telemetry_signal_known CHECK (signal IN ('logs', 'traces', 'metrics', 'events'))
);

-- Requests and responses of an inference arrive as events, in any order, and are landed as they are.
ALTER TABLE landed_batches DROP CONSTRAINT landed_batches_kind_known;
ALTER TABLE landed_batches ADD CONSTRAINT landed_batches_kind_known
    CHECK (kind IN ('predictions', 'labels', 'events'));

-- Halves of inferences. One that waits for its other half has a body; of a pair that was joined the body is gone, and
-- the row stays for as long as a half would wait, so that one that is sent again is known.
CREATE TABLE inference_halves (
    project_id     uuid NOT NULL,
    model_id       uuid NOT NULL REFERENCES models,
    pair           text NOT NULL,
    half           text NOT NULL,
    body           bytea,
    received_at    timestamptz NOT NULL,
    PRIMARY KEY (model_id, pair, half),
    CONSTRAINT inference_halves_half_known CHECK (half IN ('request', 'response'))
);
-- A half is compressed as it comes, or small.
ALTER TABLE inference_halves ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE INDEX inference_halves_by_age ON inference_halves (received_at);

-- A half that waited too long for the other one is given up, and counted.
ALTER TABLE intake_counts DROP CONSTRAINT intake_counts_outcome_known;
ALTER TABLE intake_counts ADD CONSTRAINT intake_counts_outcome_known
    CHECK (outcome IN ('received', 'accepted', 'duplicate', 'conflicting', 'rejected', 'expired'));

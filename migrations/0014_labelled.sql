-- What labels say as they come: detectors that take each labelled prediction in once, objectives with a budget of
-- errors, and estimates that speak before there are labels and are held against them afterwards.

-- Labelled rows of a baseline, as bytes that `domain::labelled` reads and writes: what detectors and estimators take
-- for well.
CREATE TABLE labelled_samples (
    baseline_id      uuid PRIMARY KEY REFERENCES baselines,
    project_id       uuid NOT NULL,
    model_id         uuid NOT NULL,
    labels           bigint NOT NULL,
    -- By this time after a prediction nine of ten labels that ever came had come; nothing where the rows do not say
    -- when their labels came.
    lag_seconds      double precision,
    sample           bytea NOT NULL,
    fitted_at        timestamptz NOT NULL
);

-- The windows a detector has taken in, each once, in the order in which it did (`place`), with its state after.
CREATE TABLE sequential_cohorts (
    model_version_id uuid NOT NULL,
    monitor          text NOT NULL,
    measure          text NOT NULL,
    window_start     timestamptz NOT NULL,
    project_id       uuid NOT NULL,
    model_id         uuid NOT NULL,
    window_end       timestamptz NOT NULL,
    -- What the detector was told to watch; with another reference or another choice it begins anew.
    course           text NOT NULL,
    place            bigint NOT NULL,
    labels           bigint NOT NULL,
    -- The sum of the labels' losses; of rates, the number of events.
    losses           double precision NOT NULL,
    state            bytea NOT NULL,
    measured_at      timestamptz NOT NULL,
    PRIMARY KEY (model_version_id, monitor, measure, window_start),
    CONSTRAINT sequential_cohorts_in_order UNIQUE (model_version_id, monitor, measure, place)
);

-- The labels of a base window by when they were observed, for an objective: counted anew whenever the window changes.
CREATE TABLE objective_counts (
    model_version_id uuid NOT NULL,
    monitor          text NOT NULL,
    window_start     timestamptz NOT NULL,
    project_id       uuid NOT NULL,
    model_id         uuid NOT NULL,
    -- Of the base window when it was counted, and what a right prediction was then.
    revision         bigint NOT NULL,
    course           text NOT NULL,
    last_observed_at timestamptz NOT NULL,
    counts           bytea NOT NULL,
    PRIMARY KEY (model_version_id, monitor, window_start)
);
CREATE INDEX objective_counts_observed ON objective_counts (model_version_id, monitor, last_observed_at);

-- What was learnt from the labelled rows of a baseline, to say what those of a window will be.
CREATE TABLE estimators (
    baseline_id      uuid PRIMARY KEY REFERENCES baselines,
    project_id       uuid NOT NULL,
    model_id         uuid NOT NULL,
    estimator        bytea NOT NULL,
    fitted_at        timestamptz NOT NULL
);

-- Estimates beside what the labels said once they were in.
CREATE TABLE estimate_checks (
    model_version_id uuid NOT NULL,
    monitor          text NOT NULL,
    measure          text NOT NULL,
    window_start     timestamptz NOT NULL,
    project_id       uuid NOT NULL,
    model_id         uuid NOT NULL,
    baseline_id      uuid NOT NULL,
    estimated        double precision NOT NULL,
    low              double precision NOT NULL,
    high             double precision NOT NULL,
    realised         double precision NOT NULL,
    labels           bigint NOT NULL,
    PRIMARY KEY (model_version_id, monitor, measure, window_start)
);

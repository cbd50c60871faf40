-- Columns can keep their distributions while the way they go together changes. A baseline's days say how that differs
-- by itself; a day of production is a few sums of a sample of its rows, which add up to windows of any length.

-- What was fitted on the days of a baseline, as bytes that `stats::multivariate::days` reads and writes; nothing, and
-- why, where there is nothing to fit.
CREATE TABLE joint_references (
    baseline_id      uuid PRIMARY KEY REFERENCES baselines,
    project_id       uuid NOT NULL,
    model_id         uuid NOT NULL,
    first_day        date,
    last_day         date,
    reference        bytea,
    cause            text,
    fitted_at        timestamptz NOT NULL,
    CONSTRAINT joint_references_dated CHECK ((first_day IS NULL) = (last_day IS NULL)),
    CONSTRAINT joint_references_told CHECK ((reference IS NULL) <> (cause IS NULL))
);

-- A day of a version in the bins of a baseline.
CREATE TABLE joint_days (
    model_version_id uuid NOT NULL,
    baseline_id      uuid NOT NULL,
    day              date NOT NULL,
    project_id       uuid NOT NULL,
    model_id         uuid NOT NULL,
    sums             bytea NOT NULL,
    measured_at      timestamptz NOT NULL,
    PRIMARY KEY (model_version_id, baseline_id, day)
);

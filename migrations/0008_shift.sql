-- The default drift detector takes days for the unit of chance: a baseline's days, counted in frozen bins, say how
-- days differ by themselves, and a day of production is judged with the 27 before it.

-- What was fitted on the days of a baseline, as bytes that `stats::detector` reads and writes, and what people ask
-- about it. Rows without times are one day that is nowhere: then there is no first and no last.
CREATE TABLE shift_references (
    baseline_id      uuid PRIMARY KEY REFERENCES baselines,
    project_id       uuid NOT NULL,
    model_id         uuid NOT NULL,
    first_day        date,
    last_day         date,
    days             integer NOT NULL,
    footing          text NOT NULL,
    left_out         date[] NOT NULL,
    unstable         date[] NOT NULL,
    -- Features whose days could not be counted alike.
    unusable         text[] NOT NULL,
    reference        bytea NOT NULL,
    fitted_at        timestamptz NOT NULL,
    CONSTRAINT shift_references_footing_known CHECK (footing IN ('days', 'rows')),
    CONSTRAINT shift_references_dated CHECK ((first_day IS NULL) = (last_day IS NULL))
);

-- A day of a version in the bins of a baseline, so that later days read no profile of it again, and what was going on
-- after it.
CREATE TABLE shift_days (
    model_version_id uuid NOT NULL,
    baseline_id      uuid NOT NULL,
    day              date NOT NULL,
    project_id       uuid NOT NULL,
    model_id         uuid NOT NULL,
    tallies          bytea NOT NULL,
    state            jsonb NOT NULL,
    measured_at      timestamptz NOT NULL,
    PRIMARY KEY (model_version_id, baseline_id, day)
);

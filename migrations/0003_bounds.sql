-- What waits has an end, and what grows has a bound: labels of unknown predictions are given up after a while, an
-- alert about long ago is told to nobody, and features and values of segments beyond a model's caps are counted
-- instead of kept.

-- A label whose prediction has not come within the set time. It still joins should the prediction come.
ALTER TABLE labels ADD COLUMN expired_at timestamptz;
DROP INDEX labels_waiting;
CREATE INDEX labels_not_joined ON labels (model_id) WHERE NOT joined;
CREATE INDEX labels_waiting ON labels (received_at) WHERE NOT joined AND expired_at IS NULL;

-- Whether the alert opened because of a window that had ended long before: nobody was told of it.
ALTER TABLE alerts ADD COLUMN late boolean NOT NULL DEFAULT false;

-- The features a model has been sent, up to its cap. They are entered under the model's lock.
CREATE TABLE model_features (
    project_id     uuid NOT NULL,
    model_id       uuid NOT NULL,
    feature        text NOT NULL,
    first_seen_at  timestamptz NOT NULL,
    PRIMARY KEY (model_id, feature)
);
INSERT INTO model_features
SELECT project_id, model_id, name, MIN(day)
FROM chunk_columns
WHERE kind = 'feature'
GROUP BY project_id, model_id, name;

-- What went over a cap, per day: values dropped, or rows refused. `subject_id` is the model, or the project for
-- models that were not registered. The first row of a day goes with an audit event, so each is told of once.
CREATE TABLE overflow_counts (
    project_id     uuid NOT NULL,
    subject_id     uuid NOT NULL,
    kind           text NOT NULL,
    day            timestamptz NOT NULL,
    rows           bigint NOT NULL,
    PRIMARY KEY (project_id, subject_id, kind, day),
    CONSTRAINT overflow_counts_kind_known CHECK (kind IN ('models', 'versions', 'features', 'segment_values'))
);

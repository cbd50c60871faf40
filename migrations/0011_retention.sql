-- What is kept, for how long, and what is gone. Raw rows, profiles and measurements are forgotten separately, by
-- policy of their project; raw rows may be archived first, given back from the archive, and erased by their ids.
--
-- What is gone is said by marks that only ever move forward. A day is first closed, so that nothing more comes into
-- it, then archived if that is wanted, and then dropped; whoever reads can tell a day without rows from one whose rows
-- are gone.

-- `…_days` are the project's own wishes; null is what the service does by default.
CREATE TABLE project_retention (
    project_id              uuid PRIMARY KEY REFERENCES projects,
    raw_days                integer,
    profile_days            integer,
    measurement_days        integer,
    archive                 boolean,
    -- No prediction of before is taken in any more.
    raw_closed_before       timestamptz,
    raw_gone_before         timestamptz,
    profiles_gone_before    timestamptz,
    measurements_gone_before timestamptz,
    -- Up to where keys of predictions that are gone have been swept out.
    keys_swept_before       timestamptz,
    -- Why something that is past could not be removed yet.
    problem                 text,
    problem_at              timestamptz,
    CONSTRAINT project_retention_days_positive
        CHECK (raw_days > 0 AND profile_days > 0 AND measurement_days > 0),
    CONSTRAINT project_retention_closed_before_gone CHECK (raw_gone_before <= raw_closed_before)
);
INSERT INTO project_retention (project_id) SELECT project_id FROM projects;

-- Days whose raw rows were given back from the archive, and until when they stay.
CREATE TABLE restored_days (
    project_id     uuid NOT NULL,
    model_id       uuid NOT NULL,
    day            timestamptz NOT NULL,
    restored_at    timestamptz NOT NULL,
    restored_by    text NOT NULL,
    keep_until     timestamptz NOT NULL,
    PRIMARY KEY (model_id, day)
);

-- Predictions that were erased, by a keyed hash of their ids: what is sent again under such an id is refused.
CREATE TABLE erased_predictions (
    project_id     uuid NOT NULL,
    model_id       uuid NOT NULL,
    id_hash        bytea NOT NULL,
    erased_at      timestamptz NOT NULL,
    PRIMARY KEY (model_id, id_hash)
);

-- Files of rows that were imported, by what they hold. `records` says how far the rows of a file have been taken, so
-- that an import that was interrupted goes on from there.
CREATE TABLE imported_files (
    project_id     uuid NOT NULL,
    model_id       uuid NOT NULL,
    kind           text NOT NULL,
    version        text NOT NULL,
    sha256         bytea NOT NULL,
    name           text NOT NULL,
    format         text NOT NULL,
    bytes          bigint NOT NULL,
    records        bigint NOT NULL,
    received       bigint NOT NULL,
    kept           bigint NOT NULL,
    rejected       bigint NOT NULL,
    state          text NOT NULL,
    imported_by    text NOT NULL,
    started_at     timestamptz NOT NULL,
    changed_at     timestamptz NOT NULL,
    PRIMARY KEY (model_id, kind, version, sha256),
    CONSTRAINT imported_files_kind_known CHECK (kind IN ('predictions', 'labels')),
    CONSTRAINT imported_files_state_known CHECK (state IN ('sending', 'complete'))
);
CREATE INDEX imported_files_by_time ON imported_files (model_id, changed_at DESC);

-- How often the body of a landed batch was written anew, so that whoever has read it before knows.
ALTER TABLE landed_batches ADD COLUMN revision integer NOT NULL DEFAULT 0;

-- What columns of a model mean is said in its file, which requests of the intake depend on now.
CREATE CONSTRAINT TRIGGER definitions_count_change
    AFTER INSERT OR DELETE OR UPDATE ON definitions
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION count_change();
CREATE CONSTRAINT TRIGGER project_retention_count_change
    AFTER INSERT OR UPDATE OF raw_closed_before ON project_retention
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION count_change();
CREATE CONSTRAINT TRIGGER restored_days_count_change
    AFTER INSERT OR DELETE ON restored_days
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION count_change();

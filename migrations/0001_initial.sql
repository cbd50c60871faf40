-- The first schema. Every table that holds users' data carries its project, so that access can be
-- checked on the row and a later distribution by model needs no rewrite.
--
-- Raw rows (predictions, feature_chunks, outcomes, profiles) are partitioned by the UTC day of the
-- event; measurements, of which there are few per window, by month, because pages read long spans of
-- them at once. Partitions are made by storage::partitions before they are needed: there is no default
-- partition, which would have to be scanned whenever a partition is attached.
--
-- No foreign key points at or from the partitioned tables, and no default reads the clock: every time is
-- an argument.

-- ── people, access, audit ────────────────────────────────────────────────────────────────────────────

CREATE TABLE projects (
    project_id     uuid PRIMARY KEY,
    name           text NOT NULL,
    auto_register  boolean NOT NULL,
    created_at     timestamptz NOT NULL,
    CONSTRAINT projects_name_unique UNIQUE (name)
);

CREATE TABLE people (
    person_id      uuid PRIMARY KEY,
    email          text NOT NULL,
    display_name   text NOT NULL,
    password_hash  text NOT NULL,
    created_at     timestamptz NOT NULL,
    disabled_at    timestamptz,
    CONSTRAINT people_email_unique UNIQUE (email)
);

CREATE TABLE memberships (
    project_id     uuid NOT NULL REFERENCES projects,
    person_id      uuid NOT NULL REFERENCES people,
    role           text NOT NULL,
    created_at     timestamptz NOT NULL,
    PRIMARY KEY (project_id, person_id),
    CONSTRAINT memberships_role_known CHECK (role IN ('viewer', 'operator', 'admin'))
);

CREATE TABLE sessions (
    session_hash   bytea PRIMARY KEY,
    person_id      uuid NOT NULL REFERENCES people,
    project_id     uuid NOT NULL REFERENCES projects,
    csrf_token     text NOT NULL,
    created_at     timestamptz NOT NULL,
    last_seen_at   timestamptz NOT NULL,
    expires_at     timestamptz NOT NULL
);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

-- Failed sign-ins, kept to slow down guessing; a row per e-mail address tried.
CREATE TABLE sign_in_failures (
    email          text PRIMARY KEY,
    failures       integer NOT NULL,
    last_failed_at timestamptz NOT NULL
);

CREATE TABLE tokens (
    token_id       uuid PRIMARY KEY,
    project_id     uuid NOT NULL REFERENCES projects,
    name           text NOT NULL,
    secret_hash    bytea NOT NULL,
    scopes         text[] NOT NULL,
    created_by     text NOT NULL,
    created_at     timestamptz NOT NULL,
    expires_at     timestamptz,
    last_used_at   timestamptz,
    revoked_at     timestamptz,
    CONSTRAINT tokens_scopes_known CHECK (scopes <@ ARRAY['ingest', 'read', 'operate', 'admin'])
);
CREATE INDEX tokens_by_project ON tokens (project_id);
-- Audit rows name a token by its name, so no two that work may share one.
CREATE UNIQUE INDEX tokens_name_unique ON tokens (project_id, name) WHERE revoked_at IS NULL;

CREATE TABLE audit_events (
    audit_event_id uuid PRIMARY KEY,
    project_id     uuid REFERENCES projects,
    at             timestamptz NOT NULL,
    actor          text NOT NULL,
    action         text NOT NULL,
    object_kind    text NOT NULL,
    object_id      text NOT NULL,
    detail         jsonb NOT NULL
);
CREATE INDEX audit_events_by_project ON audit_events (project_id, at DESC);

-- One row: the instant a service on the replay clock has reached, so that a restart goes on from there.
CREATE TABLE replay_clock (
    singleton      boolean PRIMARY KEY,
    reached_at     timestamptz NOT NULL,
    CONSTRAINT replay_clock_one_row CHECK (singleton)
);

-- Secrets of the service itself, made at its first start: the key that one-run callback tokens are derived
-- from, so that a request repeated after a crash carries the same token.
CREATE TABLE service_keys (
    name           text PRIMARY KEY,
    secret         bytea NOT NULL
);

-- ── configuration as code ────────────────────────────────────────────────────────────────────────────

-- One row per object brought in by `bellwether apply`, with the file and revision it came from. `body` is
-- the parsed definition; models, pipelines and runbooks are also unfolded into their own tables.
CREATE TABLE definitions (
    project_id     uuid NOT NULL REFERENCES projects,
    kind           text NOT NULL,
    name           text NOT NULL,
    file           text NOT NULL,
    line           integer NOT NULL,
    revision       text NOT NULL,
    body           jsonb NOT NULL,
    applied_at     timestamptz NOT NULL,
    applied_by     text NOT NULL,
    PRIMARY KEY (project_id, kind, name),
    CONSTRAINT definitions_kind_known CHECK (kind IN ('model', 'rule', 'receiver', 'pipeline', 'runbook'))
);

-- ── models ───────────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE models (
    model_id       uuid PRIMARY KEY,
    project_id     uuid NOT NULL REFERENCES projects,
    name           text NOT NULL,
    task           text NOT NULL,
    description    text NOT NULL,
    owner          text NOT NULL,
    unit           text NOT NULL,
    positive_class text,
    base_window    text NOT NULL,
    segments       text[] NOT NULL,
    created_at     timestamptz NOT NULL,
    CONSTRAINT models_name_unique UNIQUE (project_id, name),
    CONSTRAINT models_task_known CHECK (task IN ('regression', 'binary', 'multiclass')),
    CONSTRAINT models_base_window_known CHECK (base_window IN ('hour', 'day'))
);

CREATE TABLE model_versions (
    model_version_id  uuid PRIMARY KEY,
    project_id        uuid NOT NULL REFERENCES projects,
    model_id          uuid NOT NULL REFERENCES models,
    name              text NOT NULL,
    parent_version_id uuid REFERENCES model_versions,
    lineage           jsonb NOT NULL,
    created_at        timestamptz NOT NULL,
    created_by        text NOT NULL,
    CONSTRAINT model_versions_name_unique UNIQUE (model_id, name)
);

-- A row per stay of a version in a role: history is kept by ending the row and adding the next.
CREATE TABLE deployments (
    deployment_id    uuid PRIMARY KEY,
    project_id       uuid NOT NULL REFERENCES projects,
    model_id         uuid NOT NULL REFERENCES models,
    model_version_id uuid NOT NULL REFERENCES model_versions,
    environment      text NOT NULL,
    role             text NOT NULL,
    traffic_share    double precision NOT NULL,
    started_at       timestamptz NOT NULL,
    ended_at         timestamptz,
    CONSTRAINT deployments_role_known CHECK (role IN ('champion', 'challenger', 'canary', 'shadow')),
    CONSTRAINT deployments_share_in_range CHECK (traffic_share BETWEEN 0 AND 1)
);
CREATE UNIQUE INDEX deployments_one_champion ON deployments (model_id, environment)
    WHERE role = 'champion' AND ended_at IS NULL;
CREATE UNIQUE INDEX deployments_one_role_per_version ON deployments (model_version_id, environment)
    WHERE ended_at IS NULL;

-- ── schemas and baselines ────────────────────────────────────────────────────────────────────────────

-- A schema is what is expected of the features. Changes add a version; the newest is in force.
CREATE TABLE schemas (
    schema_id      uuid PRIMARY KEY,
    project_id     uuid NOT NULL REFERENCES projects,
    model_id       uuid NOT NULL REFERENCES models,
    version        integer NOT NULL,
    source         text NOT NULL,
    created_at     timestamptz NOT NULL,
    created_by     text NOT NULL,
    CONSTRAINT schemas_version_unique UNIQUE (model_id, version)
);

CREATE TABLE schema_features (
    schema_id        uuid NOT NULL REFERENCES schemas,
    feature          text NOT NULL,
    feature_type     text NOT NULL,
    required         boolean NOT NULL,
    minimum          double precision,
    maximum          double precision,
    categories       text[],
    max_null_share   double precision NOT NULL,
    PRIMARY KEY (schema_id, feature),
    CONSTRAINT schema_features_type_known
        CHECK (feature_type IN ('number', 'integer', 'boolean', 'category', 'text', 'timestamp'))
);

CREATE TABLE baselines (
    baseline_id    uuid PRIMARY KEY,
    project_id     uuid NOT NULL REFERENCES projects,
    model_id       uuid NOT NULL REFERENCES models,
    name           text NOT NULL,
    source         text NOT NULL,
    window_from    timestamptz,
    window_to      timestamptz,
    file_name      text,
    file_sha256    bytea,
    model_version_id uuid REFERENCES model_versions,
    state          text NOT NULL,
    cause          text,
    rows           bigint NOT NULL,
    inferred       jsonb,
    created_at     timestamptz NOT NULL,
    created_by     text NOT NULL,
    fitted_at      timestamptz,
    retired_at     timestamptz,
    CONSTRAINT baselines_source_known CHECK (source IN ('file', 'window')),
    CONSTRAINT baselines_state_known CHECK (state IN ('waiting', 'fitted', 'failed'))
);
CREATE UNIQUE INDEX baselines_one_in_force ON baselines (model_id, name) WHERE retired_at IS NULL;

-- The fixed cells that numeric features of a model are counted in (design: edges from the baseline's
-- quantiles). One grid is in force per model; a new one makes the profiles be counted again from the
-- feature chunks.
CREATE TABLE grids (
    grid_id        uuid PRIMARY KEY,
    project_id     uuid NOT NULL REFERENCES projects,
    model_id       uuid NOT NULL REFERENCES models,
    baseline_id    uuid NOT NULL REFERENCES baselines,
    created_at     timestamptz NOT NULL,
    retired_at     timestamptz
);
CREATE UNIQUE INDEX grids_one_in_force ON grids (model_id) WHERE retired_at IS NULL;

CREATE TABLE grid_features (
    grid_id        uuid NOT NULL REFERENCES grids,
    feature        text NOT NULL,
    kind           text NOT NULL,
    edges          double precision[] NOT NULL,
    decile_edges   double precision[] NOT NULL,
    PRIMARY KEY (grid_id, feature),
    CONSTRAINT grid_features_kind_known CHECK (kind IN ('numeric', 'categorical'))
);

-- What a baseline looks like on the grid in force: one profile per segment and feature.
CREATE TABLE baseline_profiles (
    baseline_id    uuid NOT NULL REFERENCES baselines,
    segment_name   text NOT NULL,
    segment_value  text NOT NULL,
    feature        text NOT NULL,
    profile        bytea NOT NULL,
    PRIMARY KEY (baseline_id, segment_name, segment_value, feature)
);

-- Quality of the version in force over the baseline's window, what rules mean by "of baseline".
CREATE TABLE baseline_qualities (
    baseline_id    uuid NOT NULL REFERENCES baselines,
    segment_name   text NOT NULL,
    segment_value  text NOT NULL,
    measure        text NOT NULL,
    value          double precision NOT NULL,
    labels         bigint NOT NULL,
    PRIMARY KEY (baseline_id, segment_name, segment_value, measure)
);

-- ── intake ───────────────────────────────────────────────────────────────────────────────────────────

-- What was acknowledged. `body` is the decoded batch in our own framing (family, version, checksum) and is
-- dropped once the batch is settled; the counts stay.
CREATE TABLE landed_batches (
    batch_id         uuid PRIMARY KEY,
    project_id       uuid NOT NULL,
    model_id         uuid NOT NULL,
    kind             text NOT NULL,
    format           text NOT NULL,
    state            text NOT NULL,
    body             bytea,
    received_rows    bigint NOT NULL,
    rejected_rows    bigint NOT NULL,
    accepted_rows    bigint,
    duplicate_rows   bigint,
    conflicting_rows bigint,
    received_at      timestamptz NOT NULL,
    settled_at       timestamptz,
    attempts         integer NOT NULL,
    not_before       timestamptz NOT NULL,
    cause            text,
    CONSTRAINT landed_batches_kind_known CHECK (kind IN ('predictions', 'labels')),
    CONSTRAINT landed_batches_state_known CHECK (state IN ('landed', 'settled', 'failed'))
);
CREATE INDEX landed_batches_to_settle ON landed_batches (model_id, batch_id) WHERE state = 'landed';
CREATE INDEX landed_batches_by_model ON landed_batches (model_id, received_at DESC);

-- A sample of refused rows, for the people who have to mend the sender; the counts are in intake_counts.
CREATE TABLE rejected_rows (
    batch_id       uuid NOT NULL REFERENCES landed_batches,
    line           bigint NOT NULL,
    field          text NOT NULL,
    reason         text NOT NULL,
    cause          text NOT NULL,
    PRIMARY KEY (batch_id, line, field)
);

-- The conservation law, per model: received = accepted + duplicate + conflicting + rejected by reason, once
-- everything landed is settled.
CREATE TABLE intake_counts (
    project_id     uuid NOT NULL,
    model_id       uuid NOT NULL,
    kind           text NOT NULL,
    outcome        text NOT NULL,
    reason         text NOT NULL,
    rows           bigint NOT NULL,
    PRIMARY KEY (project_id, model_id, kind, outcome, reason),
    CONSTRAINT intake_counts_outcome_known
        CHECK (outcome IN ('received', 'accepted', 'duplicate', 'conflicting', 'rejected'))
);

-- One row per prediction id and version, outside the day partitions: the same id must be found again
-- whatever day it claims to belong to, and a label arrives with the id alone.
CREATE TABLE prediction_keys (
    model_id         uuid NOT NULL,
    prediction_id    text NOT NULL,
    model_version_id uuid NOT NULL,
    predicted_at     timestamptz NOT NULL,
    content_hash     bytea NOT NULL,
    PRIMARY KEY (model_id, prediction_id, model_version_id)
);

CREATE TABLE predictions (
    project_id       uuid NOT NULL,
    model_id         uuid NOT NULL,
    model_version_id uuid NOT NULL,
    predicted_at     timestamptz NOT NULL,
    prediction_id    text NOT NULL,
    value            double precision,
    class            text,
    score            double precision,
    probabilities    jsonb,
    segments         text[] NOT NULL,
    latency_ms       double precision,
    error            text,
    deployment       text,
    chunk_id         uuid NOT NULL,
    chunk_position   integer NOT NULL,
    PRIMARY KEY (model_version_id, prediction_id, predicted_at)
) PARTITION BY RANGE (predicted_at);
CREATE INDEX predictions_by_time ON predictions (model_version_id, predicted_at);

-- Feature values by column: one row per feature and up to 1,000 predictions, addressed by
-- (chunk_id, chunk_position). `numbers` holds what is numeric, `texts` what is not; a position null in both
-- was null or absent, told apart by `absent`.
CREATE TABLE feature_chunks (
    project_id       uuid NOT NULL,
    model_id         uuid NOT NULL,
    model_version_id uuid NOT NULL,
    day              timestamptz NOT NULL,
    chunk_id         uuid NOT NULL,
    feature          text NOT NULL,
    value_type       text NOT NULL,
    numbers          double precision[],
    texts            text[],
    absent           integer[] NOT NULL,
    PRIMARY KEY (model_version_id, chunk_id, feature, day),
    CONSTRAINT feature_chunks_type_known
        CHECK (value_type IN ('number', 'integer', 'boolean', 'text', 'timestamp', 'mixed'))
) PARTITION BY RANGE (day);

CREATE TABLE labels (
    project_id     uuid NOT NULL,
    model_id       uuid NOT NULL,
    prediction_id  text NOT NULL,
    value          double precision,
    class          text,
    observed_at    timestamptz NOT NULL,
    received_at    timestamptz NOT NULL,
    batch_id       uuid NOT NULL,
    joined         boolean NOT NULL,
    PRIMARY KEY (model_id, prediction_id)
);
CREATE INDEX labels_waiting ON labels (model_id, received_at) WHERE NOT joined;

-- Labels that a correction replaced.
CREATE TABLE label_revisions (
    project_id     uuid NOT NULL,
    model_id       uuid NOT NULL,
    prediction_id  text NOT NULL,
    value          double precision,
    class          text,
    observed_at    timestamptz NOT NULL,
    received_at    timestamptz NOT NULL,
    batch_id       uuid NOT NULL,
    replaced_at    timestamptz NOT NULL,
    replaced_by    uuid NOT NULL
);
CREATE INDEX label_revisions_by_prediction ON label_revisions (model_id, prediction_id);

-- A prediction together with its label: what quality is computed from.
CREATE TABLE outcomes (
    project_id       uuid NOT NULL,
    model_id         uuid NOT NULL,
    model_version_id uuid NOT NULL,
    predicted_at     timestamptz NOT NULL,
    prediction_id    text NOT NULL,
    segments         text[] NOT NULL,
    predicted_value  double precision,
    predicted_class  text,
    score            double precision,
    probabilities    jsonb,
    label_value      double precision,
    label_class      text,
    observed_at      timestamptz NOT NULL,
    PRIMARY KEY (model_version_id, predicted_at, prediction_id)
) PARTITION BY RANGE (predicted_at);

-- ── profiles, windows, measurements ──────────────────────────────────────────────────────────────────

-- Mergeable summary of one base window of one feature; the prediction itself is the feature 'prediction()'
-- and the latency 'latency()', names no user feature can have.
CREATE TABLE profiles (
    project_id       uuid NOT NULL,
    model_id         uuid NOT NULL,
    model_version_id uuid NOT NULL,
    window_start     timestamptz NOT NULL,
    segment_name     text NOT NULL,
    segment_value    text NOT NULL,
    feature          text NOT NULL,
    grid_id          uuid,
    rows             bigint NOT NULL,
    profile          bytea NOT NULL,
    PRIMARY KEY (model_version_id, window_start, segment_name, segment_value, feature)
) PARTITION BY RANGE (window_start);

-- A row per version and base window that has seen anything. `revision` grows with every change, `pending`
-- says that some monitor has yet to measure it.
CREATE TABLE window_states (
    model_version_id uuid NOT NULL,
    window_start     timestamptz NOT NULL,
    project_id       uuid NOT NULL,
    model_id         uuid NOT NULL,
    predictions      bigint NOT NULL,
    errors           bigint NOT NULL,
    labels           bigint NOT NULL,
    revision         bigint NOT NULL,
    pending          boolean NOT NULL,
    last_event_at    timestamptz NOT NULL,
    last_changed_at  timestamptz NOT NULL,
    PRIMARY KEY (model_version_id, window_start)
);
CREATE INDEX window_states_pending ON window_states (model_id, window_start) WHERE pending;

-- Which revision of a monitor's window has been measured.
CREATE TABLE measured_windows (
    project_id       uuid NOT NULL,
    model_id         uuid NOT NULL,
    model_version_id uuid NOT NULL,
    monitor          text NOT NULL,
    grain            text NOT NULL,
    window_start     timestamptz NOT NULL,
    revision         bigint NOT NULL,
    measured_at      timestamptz NOT NULL,
    PRIMARY KEY (model_version_id, monitor, window_start),
    CONSTRAINT measured_windows_grain_known CHECK (grain IN ('hour', 'day', 'week', 'month'))
);

-- One computed value. Measuring a window again sets `superseded_at` on the earlier rows and adds new ones;
-- the earlier ones stay for audit.
CREATE TABLE measurements (
    measurement_id   uuid NOT NULL,
    project_id       uuid NOT NULL,
    model_id         uuid NOT NULL,
    model_version_id uuid NOT NULL,
    monitor          text NOT NULL,
    grain            text NOT NULL,
    window_start     timestamptz NOT NULL,
    window_end       timestamptz NOT NULL,
    segment_name     text NOT NULL,
    segment_value    text NOT NULL,
    feature          text NOT NULL,
    measure          text NOT NULL,
    value            double precision,
    low              double precision,
    high             double precision,
    p_value          double precision,
    reference        double precision,
    status           text NOT NULL,
    current_rows     bigint NOT NULL,
    reference_rows   bigint NOT NULL,
    baseline_id      uuid,
    recipe           jsonb NOT NULL,
    measured_at      timestamptz NOT NULL,
    superseded_at    timestamptz,
    PRIMARY KEY (model_version_id, window_start, measurement_id),
    CONSTRAINT measurements_status_known CHECK (status IN ('ok', 'drift', 'insufficient', 'error')),
    CONSTRAINT measurements_grain_known CHECK (grain IN ('hour', 'day', 'week', 'month'))
) PARTITION BY RANGE (window_start);
CREATE INDEX measurements_in_force
    ON measurements (model_version_id, monitor, measure, window_start)
    WHERE superseded_at IS NULL;

-- ── alerts and deliveries ────────────────────────────────────────────────────────────────────────────

-- The lifecycle state per rule and model; `alert_id` names the open alert, if any.
CREATE TABLE rule_states (
    project_id     uuid NOT NULL,
    model_id       uuid NOT NULL,
    rule           text NOT NULL,
    state          jsonb NOT NULL,
    alert_id       uuid,
    version        bigint NOT NULL,
    stepped_at     timestamptz NOT NULL,
    PRIMARY KEY (model_id, rule)
);

CREATE TABLE alerts (
    alert_id         uuid PRIMARY KEY,
    project_id       uuid NOT NULL REFERENCES projects,
    model_id         uuid NOT NULL REFERENCES models,
    model_version_id uuid REFERENCES model_versions,
    rule             text NOT NULL,
    severity         text NOT NULL,
    summary          text NOT NULL,
    condition        text NOT NULL,
    since            timestamptz NOT NULL,
    fired_at         timestamptz NOT NULL,
    last_seen_at     timestamptz NOT NULL,
    resolved_at      timestamptz,
    value            double precision,
    threshold        double precision,
    evidence         jsonb NOT NULL,
    explanation      jsonb NOT NULL,
    runbook          text,
    version          bigint NOT NULL,
    CONSTRAINT alerts_severity_known CHECK (severity IN ('info', 'warning', 'critical'))
);
CREATE INDEX alerts_open ON alerts (project_id, model_id) WHERE resolved_at IS NULL;
CREATE INDEX alerts_by_time ON alerts (project_id, fired_at DESC);

-- Every step of an alert's life, numbered without gaps.
CREATE TABLE alert_events (
    alert_id       uuid NOT NULL REFERENCES alerts,
    sequence       integer NOT NULL,
    at             timestamptz NOT NULL,
    kind           text NOT NULL,
    text           text NOT NULL,
    detail         jsonb NOT NULL,
    actor          text NOT NULL,
    PRIMARY KEY (alert_id, sequence)
);

-- The outbox: inserted in the transaction that decided to tell somebody.
CREATE TABLE deliveries (
    delivery_id      uuid PRIMARY KEY,
    project_id       uuid NOT NULL REFERENCES projects,
    model_id         uuid REFERENCES models,
    alert_id         uuid REFERENCES alerts,
    receiver         text NOT NULL,
    channel          text NOT NULL,
    reason           text NOT NULL,
    severity         text NOT NULL,
    message          jsonb NOT NULL,
    state            text NOT NULL,
    created_at       timestamptz NOT NULL,
    not_before       timestamptz NOT NULL,
    lease_token      uuid,
    lease_expires_at timestamptz,
    attempts         integer NOT NULL,
    delivered_at     timestamptz,
    cause            text,
    CONSTRAINT deliveries_channel_known CHECK (channel IN ('email', 'webhook')),
    CONSTRAINT deliveries_state_known CHECK (state IN ('waiting', 'delivered', 'failed'))
);
CREATE INDEX deliveries_due ON deliveries (not_before) WHERE state = 'waiting';
CREATE INDEX deliveries_by_project ON deliveries (project_id, created_at DESC);

CREATE TABLE delivery_attempts (
    delivery_id    uuid NOT NULL REFERENCES deliveries,
    attempt        integer NOT NULL,
    started_at     timestamptz NOT NULL,
    finished_at    timestamptz,
    outcome        text NOT NULL,
    detail         text NOT NULL,
    PRIMARY KEY (delivery_id, attempt),
    CONSTRAINT delivery_attempts_outcome_known CHECK (outcome IN ('started', 'delivered', 'retry', 'permanent'))
);

-- ── response ─────────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE runs (
    run_id         uuid PRIMARY KEY,
    project_id     uuid NOT NULL REFERENCES projects,
    model_id       uuid NOT NULL REFERENCES models,
    alert_id       uuid REFERENCES alerts,
    runbook        text NOT NULL,
    title          text NOT NULL,
    definition     jsonb NOT NULL,
    parameters     jsonb NOT NULL,
    state          text NOT NULL,
    outcome        text NOT NULL,
    started_by     text NOT NULL,
    started_at     timestamptz NOT NULL,
    finished_at    timestamptz,
    version        bigint NOT NULL,
    CONSTRAINT runs_state_known
        CHECK (state IN ('running', 'waiting', 'watching', 'succeeded', 'refused', 'failed', 'cancelled'))
);
CREATE INDEX runs_open ON runs (project_id, model_id) WHERE finished_at IS NULL;
CREATE INDEX runs_by_alert ON runs (alert_id);

CREATE TABLE run_steps (
    run_id         uuid NOT NULL REFERENCES runs,
    position       integer NOT NULL,
    name           text NOT NULL,
    kind           text NOT NULL,
    state          text NOT NULL,
    detail         jsonb NOT NULL,
    started_at     timestamptz,
    finished_at    timestamptz,
    PRIMARY KEY (run_id, position),
    CONSTRAINT run_steps_kind_known CHECK (kind IN ('diagnose', 'approve', 'trigger', 'gate', 'promote', 'watch')),
    CONSTRAINT run_steps_state_known
        CHECK (state IN ('pending', 'running', 'waiting', 'succeeded', 'refused', 'failed', 'skipped'))
);

CREATE TABLE approvals (
    approval_id    uuid PRIMARY KEY,
    project_id     uuid NOT NULL REFERENCES projects,
    run_id         uuid NOT NULL REFERENCES runs,
    position       integer NOT NULL,
    question       text NOT NULL,
    requested_at   timestamptz NOT NULL,
    decision       text,
    decided_at     timestamptz,
    decided_by     uuid REFERENCES people,
    reason         text,
    CONSTRAINT approvals_one_per_step UNIQUE (run_id, position),
    CONSTRAINT approvals_decision_known CHECK (decision IN ('approved', 'declined'))
);
CREATE INDEX approvals_open ON approvals (project_id) WHERE decision IS NULL;

CREATE TABLE pipeline_runs (
    pipeline_run_id  uuid PRIMARY KEY,
    project_id       uuid NOT NULL REFERENCES projects,
    model_id         uuid NOT NULL REFERENCES models,
    run_id           uuid NOT NULL REFERENCES runs,
    position         integer NOT NULL,
    pipeline         text NOT NULL,
    run_key          text NOT NULL,
    parameters       jsonb NOT NULL,
    state            text NOT NULL,
    external_id      text,
    status_url       text,
    link             text,
    expected_at      timestamptz,
    requested_at     timestamptz NOT NULL,
    not_before       timestamptz NOT NULL,
    lease_expires_at timestamptz,
    attempts         integer NOT NULL,
    started_at       timestamptz,
    finished_at      timestamptz,
    cause            text,
    CONSTRAINT pipeline_runs_key_unique UNIQUE (run_key),
    CONSTRAINT pipeline_runs_step_unique UNIQUE (run_id, position),
    CONSTRAINT pipeline_runs_state_known
        CHECK (state IN ('requested', 'sending', 'running', 'succeeded', 'failed', 'unknown'))
);
CREATE INDEX pipeline_runs_open ON pipeline_runs (not_before) WHERE finished_at IS NULL;

CREATE TABLE candidates (
    candidate_id     uuid PRIMARY KEY,
    project_id       uuid NOT NULL REFERENCES projects,
    model_id         uuid NOT NULL REFERENCES models,
    model_version_id uuid NOT NULL REFERENCES model_versions,
    run_id           uuid NOT NULL REFERENCES runs,
    pipeline_run_id  uuid REFERENCES pipeline_runs,
    delivered_at     timestamptz NOT NULL,
    CONSTRAINT candidates_one_per_version UNIQUE (model_version_id, run_id)
);

CREATE TABLE gate_results (
    gate_result_id   uuid PRIMARY KEY,
    project_id       uuid NOT NULL REFERENCES projects,
    model_id         uuid NOT NULL REFERENCES models,
    run_id           uuid NOT NULL REFERENCES runs,
    position         integer NOT NULL,
    candidate_version_id uuid NOT NULL REFERENCES model_versions,
    champion_version_id  uuid NOT NULL REFERENCES model_versions,
    window_from      timestamptz NOT NULL,
    window_to        timestamptz NOT NULL,
    verdict          text NOT NULL,
    reason           text NOT NULL,
    comparisons      jsonb NOT NULL,
    decided_at       timestamptz NOT NULL,
    CONSTRAINT gate_results_one_per_step UNIQUE (run_id, position),
    CONSTRAINT gate_results_verdict_known CHECK (verdict IN ('accepted', 'refused'))
);

CREATE TABLE promotions (
    promotion_id     uuid PRIMARY KEY,
    project_id       uuid NOT NULL REFERENCES projects,
    model_id         uuid NOT NULL REFERENCES models,
    run_id           uuid REFERENCES runs,
    environment      text NOT NULL,
    from_version_id  uuid REFERENCES model_versions,
    to_version_id    uuid NOT NULL REFERENCES model_versions,
    promoted_at      timestamptz NOT NULL,
    promoted_by      text NOT NULL,
    reason           text NOT NULL
);
CREATE INDEX promotions_by_model ON promotions (model_id, promoted_at DESC);

-- Measures of texts, dates and features together need rows, which profiles do not have. So a baseline keeps a sample of
-- its own rows when it is fitted: bytes with a version and a checksum, as profiles are. Baselines fitted before have
-- none until they are fitted again, and whoever asks for such a measure is told.
CREATE TABLE baseline_samples (
    baseline_id  uuid NOT NULL,
    project_id   uuid NOT NULL,
    model_id     uuid NOT NULL,
    sample       bytea NOT NULL,
    CONSTRAINT baseline_samples_pkey PRIMARY KEY (baseline_id),
    CONSTRAINT baseline_samples_baseline_id_fkey FOREIGN KEY (baseline_id) REFERENCES baselines
);

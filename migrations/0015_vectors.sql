-- Features that are vectors, such as embeddings: what drifts in them are the numbers together, which need the rows.
-- And what a baseline knows of its windows, and proposals that are accepted and not in force yet.

ALTER TABLE schema_features
    DROP CONSTRAINT schema_features_type_known,
    ADD CONSTRAINT schema_features_type_known
        CHECK (feature_type IN ('number', 'integer', 'boolean', 'category', 'text', 'timestamp', 'vector'));

-- The numbers of a column's vectors, one behind the other; `small_units` has how many of them each row has.
ALTER TABLE chunk_columns
    ADD COLUMN reals real[],
    DROP CONSTRAINT chunk_columns_type_known,
    ADD CONSTRAINT chunk_columns_type_known
        CHECK (value_type IN ('number', 'integer', 'boolean', 'text', 'timestamp', 'vector', 'mixed'));

-- Of each feature of the baseline, in how many hours, days, weeks and months it has values, and in how many of these a
-- single one: what tells a stuck sensor from the weekday in the rows of one day.
ALTER TABLE baseline_samples ADD COLUMN stillness jsonb;

-- Accepting a proposal answers at once; counting the stored rows by what is accepted takes its time. Until that is done,
-- in one transaction with the new version, the proposal is `accepting` and the schema before it is in force.
ALTER TABLE schema_proposals
    DROP CONSTRAINT schema_proposals_state_known,
    ADD CONSTRAINT schema_proposals_state_known
        CHECK (state IN ('proposed', 'accepting', 'accepted', 'declined', 'superseded'));
CREATE INDEX schema_proposals_accepting ON schema_proposals (decided_at) WHERE state = 'accepting';

-- A schema does not just change: somebody, or the service itself, proposes a change, it can be read before it is in
-- force, and who decided and why is kept. Whatever puts a version of a schema into force has a row here, also where
-- proposing and accepting are one step (a file that is applied, a baseline that is fitted).

-- `changes` has for each changed feature what was expected before (`from`) and what is to be expected (`to`), and what
-- that would have meant for the rows of the last days. A proposal goes out of force (superseded) when another one
-- takes its place, or changes what it was made against.
CREATE TABLE schema_proposals (
    proposal_id      uuid PRIMARY KEY,
    project_id       uuid NOT NULL REFERENCES projects,
    model_id         uuid NOT NULL REFERENCES models,
    origin           text NOT NULL,
    source           text NOT NULL,
    reason           text NOT NULL,
    base_version     integer NOT NULL,
    changes          jsonb NOT NULL,
    notes            text[] NOT NULL,
    state            text NOT NULL,
    proposed_at      timestamptz NOT NULL,
    proposed_by      text NOT NULL,
    decided_at       timestamptz,
    decided_by       text,
    decision_reason  text,
    accepted_version integer,
    CONSTRAINT schema_proposals_origin_known CHECK (origin IN ('file', 'baseline', 'import', 'api', 'observed')),
    CONSTRAINT schema_proposals_state_known CHECK (state IN ('proposed', 'accepted', 'declined', 'superseded')),
    CONSTRAINT schema_proposals_decided_once CHECK ((state = 'proposed') = (decided_at IS NULL)),
    CONSTRAINT schema_proposals_accepted_has_version CHECK ((state = 'accepted') = (accepted_version IS NOT NULL))
);
CREATE INDEX schema_proposals_of_model ON schema_proposals (model_id, proposed_at DESC);
-- The service has one opinion at a time.
CREATE UNIQUE INDEX schema_proposals_one_observed ON schema_proposals (model_id)
    WHERE origin = 'observed' AND state = 'proposed';

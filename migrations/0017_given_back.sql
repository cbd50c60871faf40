-- Rows that come back from the archive are counted apart from those that senders send: they were received once, and that
-- account would no longer be one of what came in.
ALTER TABLE intake_counts DROP CONSTRAINT intake_counts_outcome_known;
ALTER TABLE intake_counts ADD CONSTRAINT intake_counts_outcome_known
    CHECK (outcome IN ('received', 'accepted', 'duplicate', 'conflicting', 'rejected', 'expired', 'restored'));

-- An erasure is done in the database first and in the archive after it. That the archive is still to be done outlasts a
-- crash between the two, so that the audit says of each erasure once that it was.
ALTER TABLE erased_predictions ADD COLUMN archive_pending boolean NOT NULL DEFAULT false;

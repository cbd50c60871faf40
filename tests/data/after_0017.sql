-- Rows that were given back, and an erasure that is still to be done in the archive.
INSERT INTO intake_counts (project_id, model_id, kind, outcome, reason, rows)
SELECT project_id, model_id, 'predictions', 'restored', '', 5 FROM models LIMIT 1;
UPDATE erased_predictions SET archive_pending = true;

-- A label that comes is looked up among the revisions of its prediction by when it was observed: whoever sends one id again
-- and again would otherwise have all its revisions read for each label. A batch that was set aside stays until somebody
-- has it settled or given up, and is found by that.

DROP INDEX label_revisions_by_prediction;
CREATE INDEX label_revisions_by_prediction ON label_revisions (model_id, prediction_id, observed_at);
CREATE INDEX landed_batches_failed ON landed_batches (model_id) WHERE state = 'failed';

-- What senders make up beyond a cap is told of: one alert for each cap of a project, which is about no model, and
-- receivers of the project itself. Categories that are counted together and texts that are too long are counted as
-- what goes over the other caps is.

ALTER TABLE projects ADD COLUMN receivers text[] NOT NULL DEFAULT '{}';

-- Without a model, it is an alert of the project.
ALTER TABLE alerts ALTER COLUMN model_id DROP NOT NULL;
CREATE UNIQUE INDEX alerts_of_projects_open ON alerts (project_id, rule) WHERE model_id IS NULL AND resolved_at IS NULL;

ALTER TABLE overflow_counts DROP CONSTRAINT overflow_counts_kind_known;
ALTER TABLE overflow_counts ADD CONSTRAINT overflow_counts_kind_known
    CHECK (kind IN ('models', 'versions', 'features', 'segment_values', 'categories', 'texts'));
CREATE INDEX overflow_counts_by_day ON overflow_counts (day);

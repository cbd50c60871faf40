-- When predictions came last of a base window, so that one of the future, made by a clock that runs ahead, does not pass for
-- a sign of life until then. `last_changed_at` does not say it: labels and baselines change a window, too.
ALTER TABLE window_states ADD COLUMN last_arrived_at timestamptz;
UPDATE window_states SET last_arrived_at = last_changed_at WHERE predictions > 0;

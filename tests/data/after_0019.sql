-- When the predictions of a base window came.

UPDATE window_states SET last_arrived_at = last_changed_at - interval '1 minute' WHERE predictions > 0;

-- A task that only models after this migration have. The model is given back its own, because its other rows go by it.
UPDATE models SET task = 'ranking';
UPDATE models SET task = 'forecast';
UPDATE models SET task = 'regression';

-- Two requests that shared a batch, and what came of their order.
UPDATE landed_batches SET request_rows = '[3, 2]';
UPDATE window_states SET followers = 3, out_of_order = 1;

-- A task that only models after this migration have. The model is given back its own, because its other rows go by it.
UPDATE models SET task = 'ranking';
UPDATE models SET task = 'forecast';
UPDATE models SET task = 'regression';

-- Two requests that shared a batch, and what came of their order.
UPDATE landed_batches SET request_rows = '[3, 2]';
UPDATE window_states SET followers = 3, out_of_order = 1;

-- Three rows in a window, two of which hold the same.
UPDATE window_states SET repeats = '\x01000300000000000000010000000000000002000000020000000000000001000000';
UPDATE baseline_samples SET repeated_rows = 1, counted_rows = 3;

-- A task that only models after this migration have. The model is given back its own, because its other rows go by it.
UPDATE models SET task = 'ranking';
UPDATE models SET task = 'forecast';
UPDATE models SET task = 'regression';

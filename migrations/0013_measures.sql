-- Models that rank and models that forecast. Their predictions are kept in the columns there are: of a ranking the
-- query is the class, the rank the value and the item's score the score; of a forecast the quantiles are kept where
-- others have probabilities, and how wrong the naive forecast was where others have a score.
ALTER TABLE models DROP CONSTRAINT models_task_known;
ALTER TABLE models ADD CONSTRAINT models_task_known
    CHECK (task IN ('regression', 'binary', 'multiclass', 'ranking', 'forecast'));

-- Whether rows are sent in the order of their times is a matter of the request that sent them. Small requests share
-- a batch, so a batch remembers how many rows each of them sent, in their order; nothing where one sent them all.
ALTER TABLE landed_batches ADD COLUMN request_rows jsonb;

-- Rows that the same request sent another one right before: those that can be out of order.
ALTER TABLE window_states ADD COLUMN followers bigint NOT NULL DEFAULT 0;
UPDATE window_states SET followers = predictions;

-- A summary of a base window's rows by what they hold, as bytes that `stats::repeats` reads and writes, and what is
-- usual: how many rows of a baseline repeat an earlier one, and of how many.
ALTER TABLE window_states ADD COLUMN repeats bytea;
ALTER TABLE baseline_samples ADD COLUMN repeated_rows bigint;
ALTER TABLE baseline_samples ADD COLUMN counted_rows bigint;

-- A baseline may stand for what another tool kept of its data, where the data themselves are gone.
ALTER TABLE baselines DROP CONSTRAINT baselines_source_known;
ALTER TABLE baselines ADD CONSTRAINT baselines_source_known CHECK (source IN ('file', 'window', 'statistics'));

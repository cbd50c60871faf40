-- Models that rank and models that forecast. Their predictions are kept in the columns there are: of a ranking the
-- query is the class, the rank the value and the item's score the score; of a forecast the quantiles are kept where
-- others have probabilities, and how wrong the naive forecast was where others have a score.
ALTER TABLE models DROP CONSTRAINT models_task_known;
ALTER TABLE models ADD CONSTRAINT models_task_known
    CHECK (task IN ('regression', 'binary', 'multiclass', 'ranking', 'forecast'));

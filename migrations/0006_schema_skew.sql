-- What the service's schema monitors have to know to find what comparisons of files find.
--
-- A feature may be there in some environments only: a field that the test system does not send. Where a version is
-- deployed in none of them, that its rows lack the feature is no finding. No environments means all of them.
--
-- How many rows were earlier than the one received before them shows only while they are received.

ALTER TABLE schema_features ADD COLUMN environments text[];
ALTER TABLE window_states ADD COLUMN out_of_order bigint NOT NULL DEFAULT 0;

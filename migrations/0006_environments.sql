-- A feature may be there in some environments only: a label that is delayed in production, a field the test system
-- does not send. Where a version is deployed in none of them, that its rows lack the feature is no finding. No
-- environments means all of them.

ALTER TABLE schema_features ADD COLUMN environments text[];

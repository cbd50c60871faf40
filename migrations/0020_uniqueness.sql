-- What a schema says of how often values repeat each other, and how many may lie outside a feature's range or categories, which only
-- monitors said for all features alike. What is not said is absent: nothing is inferred of rows that were looked at before.
ALTER TABLE schema_features ADD COLUMN max_duplicate_share double precision
    CONSTRAINT schema_features_max_duplicate_share CHECK (max_duplicate_share BETWEEN 0 AND 1);
ALTER TABLE schema_features ADD COLUMN min_distinct bigint
    CONSTRAINT schema_features_min_distinct CHECK (min_distinct >= 0);
ALTER TABLE schema_features ADD COLUMN max_distinct bigint
    CONSTRAINT schema_features_max_distinct CHECK (max_distinct >= COALESCE(min_distinct, 0));
ALTER TABLE schema_features ADD COLUMN max_outside_share double precision
    CONSTRAINT schema_features_max_outside_share CHECK (max_outside_share BETWEEN 0 AND 1);

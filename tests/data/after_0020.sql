-- A key, and a feature with a few values some of which may be others.

INSERT INTO schema_features (schema_id, feature, feature_type, required, max_null_share, max_duplicate_share)
SELECT schema_id, 'ticket', 'integer', true, 0, 0 FROM schemas ORDER BY schema_id LIMIT 1;
INSERT INTO schema_features (schema_id, feature, feature_type, required, max_null_share, min_distinct, max_distinct,
                             max_outside_share)
SELECT schema_id, 'terminal', 'category', false, 1, 1, 6, 0.1 FROM schemas ORDER BY schema_id LIMIT 1;

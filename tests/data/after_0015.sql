-- A feature of vectors, in the schema and in a chunk; how often a feature stands still; an accepted proposal.

INSERT INTO schema_features (schema_id, feature, feature_type, required, minimum, maximum, max_null_share)
SELECT schema_id, 'embedding', 'vector', true, 2, 2, 0 FROM schemas ORDER BY schema_id LIMIT 1;
INSERT INTO chunk_columns (project_id, model_id, model_version_id, day, chunk, kind, name, value_type, base, scale,
                           small_units, reals, absent)
SELECT project_id, model_id, model_version_id, day, chunk, 'feature', 'embedding', 'vector', 0, 0, '{2,NULL}',
       '{0.25,-1.5}', '{1}'
FROM prediction_chunks WHERE rows = 2 ORDER BY model_version_id, day, chunk LIMIT 1;
UPDATE baseline_samples SET stillness = '{"distance": {"day": {"windows": 14, "still": 0}}}';
INSERT INTO schema_proposals
SELECT '00000000-0000-7000-8000-0000000015aa', project_id, model_id, 'api', 'a person', 'they fly further', 1, '[]', '{}',
       'accepting', '2026-03-05', 'ada', '2026-03-06', 'grace', 'so they do', NULL
FROM models ORDER BY model_id LIMIT 1;

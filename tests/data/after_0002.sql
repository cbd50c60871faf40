-- Rows in the tables that migration 0002 adds, beside those it made of the rows before it.

INSERT INTO prediction_chunks VALUES
    ('00000000-0000-7000-8000-000000000001', '00000000-0000-7000-8000-000000000010',
     '00000000-0000-7000-8000-000000000011', '2026-03-02', 2, 2, '2026-03-02 13:00', '2026-03-02 14:00');
INSERT INTO chunk_columns (project_id, model_id, model_version_id, day, chunk, kind, name, value_type, base, scale,
                           small_units, medium_units, texts, categories, absent)
SELECT '00000000-0000-7000-8000-000000000001', '00000000-0000-7000-8000-000000000010',
       '00000000-0000-7000-8000-000000000011', '2026-03-02', 2, c.*
FROM (VALUES
    ('row', 'prediction_id', 'text', 0, 0, NULL::smallint[], NULL::integer[], '{p2,p3}'::text[], NULL::text[],
     '{}'::integer[]),
    ('row', 'predicted_at', 'timestamp', 1772456400, -6, '{0,3600}', NULL, NULL, NULL, '{}'),
    ('row', 'value', 'number', 0, 1, NULL, '{415,9000001}', NULL, NULL, '{}'),
    ('segment', 'origin', 'text', 0, 0, '{1,1}', NULL, NULL, '{JFK}', '{}'),
    ('feature', 'distance', 'number', 0, 0, '{300,NULL}', NULL, NULL, NULL, '{1}')
) AS c;
INSERT INTO prediction_keys
SELECT prediction_id_hash('00000000-0000-7000-8000-000000000010', id), version_number, 2, 7, 9557, position
FROM model_versions, (VALUES ('p2', 0::smallint), ('p3', 1::smallint)) AS p (id, position)
WHERE name = 'v1';

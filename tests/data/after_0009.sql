-- A run of one key beside those that migration 0009 made of the keys before it.

INSERT INTO prediction_key_runs (model_id, run, keys, first_day)
VALUES ('00000000-0000-7000-8000-000000000010', nextval('prediction_key_run'), 1, 9557);
INSERT INTO prediction_key_pages (model_id, run, first_hash, keys)
SELECT '00000000-0000-7000-8000-000000000010', currval('prediction_key_run'),
       prediction_id_hash('00000000-0000-7000-8000-000000000010', 'p4'),
       '\x00'::bytea || int8send(prediction_id_hash('00000000-0000-7000-8000-000000000010', 'p4')) || int4send(7)
           || int4send(version_number) || int4send(3) || int2send(9557::smallint) || int2send(0::smallint)
FROM model_versions WHERE name = 'v1';

-- Predictions by column. A row per prediction and two indexes beside it took more time and room than its thirty
-- feature values; now a prediction costs one narrow row in prediction_keys, which finds it again by its id, and
-- its share of the arrays of a chunk. docs/decisions/0006 has the measurements.
--
-- Whatever the arrays' form, the views `predictions` and `feature_values` give them back row by row.

-- Acknowledged predictions that the release before kept row by row and has not settled yet could not be read.
DO $$
BEGIN
    IF EXISTS (SELECT FROM landed_batches WHERE kind = 'predictions' AND state = 'landed') THEN
        RAISE EXCEPTION 'some predictions are not settled yet'
            USING HINT = 'start the release before this one, let it settle them, and upgrade then';
    END IF;
END $$;

-- Versions get a short number, because every prediction's key names one.
ALTER TABLE model_versions ADD COLUMN version_number integer GENERATED ALWAYS AS IDENTITY;
ALTER TABLE model_versions ADD CONSTRAINT model_versions_number_unique UNIQUE (version_number);

-- Up to some thousand predictions of one version and day.
CREATE TABLE prediction_chunks (
    project_id       uuid NOT NULL,
    model_id         uuid NOT NULL,
    model_version_id uuid NOT NULL,
    day              timestamptz NOT NULL,
    chunk            integer NOT NULL,
    rows             integer NOT NULL,
    first_at         timestamptz NOT NULL,
    last_at          timestamptz NOT NULL,
    PRIMARY KEY (model_version_id, day, chunk)
) PARTITION BY RANGE (day);

-- One column of a chunk: of each prediction (`row`: prediction_id, predicted_at, value, class, score,
-- probabilities, latency_ms, error, deployment), a segment sent with it, or a feature. Of the arrays exactly one
-- is there; an element is null where the value is null or, if its position (from 0) is in `absent`, where the
-- row does not have the feature.
--
-- Numbers, flags and times are whole units where nothing is lost by it: (base + unit) / 10^scale, of times in
-- microseconds since 1970. Texts of which few are different are places (from 1) in `categories`; mixed columns
-- hold each value as JSON in `texts`.
CREATE TABLE chunk_columns (
    project_id       uuid NOT NULL,
    model_id         uuid NOT NULL,
    model_version_id uuid NOT NULL,
    day              timestamptz NOT NULL,
    chunk            integer NOT NULL,
    kind             text NOT NULL,
    name             text NOT NULL,
    value_type       text NOT NULL,
    base             bigint NOT NULL,
    scale            smallint NOT NULL,
    small_units      smallint[],
    medium_units     integer[],
    large_units      bigint[],
    numbers          double precision[],
    uuids            uuid[],
    texts            text[],
    categories       text[],
    absent           integer[] NOT NULL,
    PRIMARY KEY (model_version_id, day, chunk, kind, name),
    CONSTRAINT chunk_columns_kind_known CHECK (kind IN ('row', 'segment', 'feature')),
    CONSTRAINT chunk_columns_type_known
        CHECK (value_type IN ('number', 'integer', 'boolean', 'text', 'timestamp', 'mixed'))
) PARTITION BY RANGE (day);

-- The hash by which prediction_keys finds a prediction id of a model.
CREATE FUNCTION prediction_id_hash(model_id uuid, prediction_id text) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT ('x' || encode(substring(sha256(uuid_send(model_id) || convert_to(prediction_id, 'UTF8')) FROM 1 FOR 8),
                          'hex'))::bit(64)::bigint
$$;

-- Where each prediction is: chunk and position (from 0) of a version and day (days since 2000-01-01). Two ids may
-- share a hash; the chunk has the id itself. `content_hash` tells a repeated delivery from a conflicting one.
CREATE TABLE new_prediction_keys (
    id_hash          bigint NOT NULL,
    version_number   integer NOT NULL,
    chunk            integer NOT NULL,
    content_hash     integer,
    day              smallint NOT NULL,
    position         smallint NOT NULL
);

-- ── what is there already ────────────────────────────────────────────────────────────────────────────

DO $$
DECLARE
    d date;
    parent text;
BEGIN
    FOR d IN SELECT DISTINCT (predicted_at AT TIME ZONE 'UTC')::date FROM predictions LOOP
        FOREACH parent IN ARRAY ARRAY['prediction_chunks', 'chunk_columns'] LOOP
            EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
                           parent || '_' || to_char(d, 'YYYYMMDD'), parent,
                           d::text || ' 00:00:00+00', (d + 1)::text || ' 00:00:00+00');
        END LOOP;
    END LOOP;
END $$;

CREATE TEMPORARY TABLE numbered ON COMMIT DROP AS
SELECT model_version_id, day, chunk_id,
       (ROW_NUMBER() OVER (PARTITION BY model_version_id, day ORDER BY chunk_id))::integer AS chunk
FROM (SELECT DISTINCT model_version_id, chunk_id,
             date_trunc('day', predicted_at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' AS day
      FROM predictions) AS chunks;

INSERT INTO prediction_chunks
SELECT p.project_id, p.model_id, n.model_version_id, n.day, n.chunk, COUNT(*), MIN(p.predicted_at),
       MAX(p.predicted_at)
FROM numbered n JOIN predictions p USING (model_version_id, chunk_id)
GROUP BY p.project_id, p.model_id, n.model_version_id, n.day, n.chunk;

INSERT INTO chunk_columns (project_id, model_id, model_version_id, day, chunk, kind, name, value_type, base, scale,
                           large_units, numbers, texts, absent)
SELECT c.project_id, c.model_id, c.model_version_id, c.day, c.chunk, 'row', v.name, v.value_type, 0, 0,
       v.large_units, v.numbers, v.texts, '{}'
FROM (
    SELECT p.project_id, p.model_id, n.model_version_id, n.day, n.chunk,
           array_agg(p.prediction_id ORDER BY p.chunk_position) AS prediction_id,
           array_agg((EXTRACT(EPOCH FROM p.predicted_at) * 1000000)::bigint ORDER BY p.chunk_position)
               AS predicted_at,
           array_agg(p.value ORDER BY p.chunk_position) AS value,
           array_agg(p.class ORDER BY p.chunk_position) AS class,
           array_agg(p.score ORDER BY p.chunk_position) AS score,
           array_agg(p.probabilities::text ORDER BY p.chunk_position) AS probabilities,
           array_agg(p.latency_ms ORDER BY p.chunk_position) AS latency_ms,
           array_agg(p.error ORDER BY p.chunk_position) AS error,
           array_agg(p.deployment ORDER BY p.chunk_position) AS deployment
    FROM numbered n JOIN predictions p USING (model_version_id, chunk_id)
    GROUP BY p.project_id, p.model_id, n.model_version_id, n.day, n.chunk
) AS c
CROSS JOIN LATERAL (VALUES
    ('prediction_id', 'text', NULL::bigint[], NULL::double precision[], c.prediction_id),
    ('predicted_at', 'timestamp', c.predicted_at, NULL, NULL),
    ('value', 'number', NULL, c.value, NULL),
    ('class', 'text', NULL, NULL, c.class),
    ('score', 'number', NULL, c.score, NULL),
    ('probabilities', 'text', NULL, NULL, c.probabilities),
    ('latency_ms', 'number', NULL, c.latency_ms, NULL),
    ('error', 'text', NULL, NULL, c.error),
    ('deployment', 'text', NULL, NULL, c.deployment)
) AS v (name, value_type, large_units, numbers, texts)
WHERE array_length(array_remove(v.large_units, NULL), 1) > 0
   OR array_length(array_remove(v.numbers, NULL), 1) > 0
   OR array_length(array_remove(v.texts, NULL), 1) > 0;

-- Values of the segments declared so far; later ones are read from the features.
INSERT INTO chunk_columns (project_id, model_id, model_version_id, day, chunk, kind, name, value_type, base, scale,
                           texts, absent)
SELECT p.project_id, p.model_id, n.model_version_id, n.day, n.chunk, 'segment', s.name, 'text', 0, 0,
       array_agg(NULLIF(p.segments[s.place], '') ORDER BY p.chunk_position), '{}'
FROM numbered n
JOIN predictions p USING (model_version_id, chunk_id)
JOIN models m ON m.model_id = p.model_id
CROSS JOIN LATERAL unnest(m.segments) WITH ORDINALITY AS s (name, place)
GROUP BY p.project_id, p.model_id, n.model_version_id, n.day, n.chunk, s.name;

INSERT INTO chunk_columns (project_id, model_id, model_version_id, day, chunk, kind, name, value_type, base, scale,
                           numbers, texts, absent)
SELECT f.project_id, f.model_id, f.model_version_id, n.day, n.chunk, 'feature', f.feature,
       CASE WHEN f.value_type IN ('number', 'text') THEN f.value_type ELSE 'mixed' END, 0, 0,
       f.numbers, f.texts, f.absent
FROM numbered n JOIN feature_chunks f USING (model_version_id, chunk_id);

INSERT INTO new_prediction_keys
SELECT prediction_id_hash(p.model_id, p.prediction_id), v.version_number, n.chunk, NULL,
       ((n.day AT TIME ZONE 'UTC')::date - DATE '2000-01-01')::smallint, p.chunk_position
FROM numbered n
JOIN predictions p USING (model_version_id, chunk_id)
JOIN model_versions v USING (model_version_id);

DROP TABLE prediction_keys;
DROP TABLE predictions;
DROP TABLE feature_chunks;
ALTER TABLE new_prediction_keys RENAME TO prediction_keys;
-- Hashes hardly ever repeat, so looking for repetitions in full pages is in vain.
CREATE INDEX prediction_keys_by_id ON prediction_keys (id_hash) WITH (deduplicate_items = off);

-- ── the same in plain SQL ────────────────────────────────────────────────────────────────────────────

-- What a column holds as numbers: numbers, whole numbers, flags as 0 and 1, times in microseconds since 1970.
CREATE FUNCTION column_numbers(c chunk_columns) RETURNS double precision[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN c.numbers IS NOT NULL THEN c.numbers
        WHEN c.small_units IS NULL AND c.medium_units IS NULL AND c.large_units IS NULL THEN NULL
        ELSE ARRAY(
            SELECT CASE WHEN c.scale >= 0
                        THEN (c.base + unit)::double precision / 10::double precision ^ c.scale
                        ELSE (c.base + unit)::double precision * 10::double precision ^ -c.scale END
            FROM unnest(c.small_units::bigint[] || c.medium_units::bigint[] || c.large_units)
                WITH ORDINALITY AS u (unit, position)
            ORDER BY position)
        END
$$;

-- What a column holds as texts, whatever its type.
CREATE FUNCTION column_texts(c chunk_columns) RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN c.uuids IS NOT NULL THEN c.uuids::text[]
        WHEN c.categories IS NOT NULL THEN ARRAY(
            SELECT c.categories[place]
            FROM unnest(c.small_units) WITH ORDINALITY AS p (place, position)
            ORDER BY position)
        WHEN c.texts IS NOT NULL THEN c.texts
        WHEN c.value_type = 'boolean' THEN ARRAY(
            SELECT (number <> 0)::text
            FROM unnest(column_numbers(c)) WITH ORDINALITY AS n (number, position)
            ORDER BY position)
        WHEN c.value_type = 'timestamp' THEN ARRAY(
            SELECT to_timestamp(number / 1000000)::text
            FROM unnest(column_numbers(c)) WITH ORDINALITY AS n (number, position)
            ORDER BY position)
        ELSE column_numbers(c)::text[]
        END
$$;

-- Predictions row by row. Ask for a version and a span of `day`, or all of it is read.
CREATE VIEW predictions AS
SELECT c.project_id, c.model_id, c.model_version_id, c.day, c.chunk, (r.position - 1)::integer AS position,
       r.prediction_id, TIMESTAMPTZ 'epoch' + r.micros * INTERVAL '1 microsecond' AS predicted_at, r.value,
       r.class, r.score, r.probabilities::jsonb AS probabilities, r.latency_ms, r.error, r.deployment
FROM prediction_chunks c
LEFT JOIN chunk_columns i ON (i.model_version_id, i.day, i.chunk, i.kind, i.name)
                           = (c.model_version_id, c.day, c.chunk, 'row', 'prediction_id')
LEFT JOIN chunk_columns a ON (a.model_version_id, a.day, a.chunk, a.kind, a.name)
                           = (c.model_version_id, c.day, c.chunk, 'row', 'predicted_at')
LEFT JOIN chunk_columns v ON (v.model_version_id, v.day, v.chunk, v.kind, v.name)
                           = (c.model_version_id, c.day, c.chunk, 'row', 'value')
LEFT JOIN chunk_columns k ON (k.model_version_id, k.day, k.chunk, k.kind, k.name)
                           = (c.model_version_id, c.day, c.chunk, 'row', 'class')
LEFT JOIN chunk_columns s ON (s.model_version_id, s.day, s.chunk, s.kind, s.name)
                           = (c.model_version_id, c.day, c.chunk, 'row', 'score')
LEFT JOIN chunk_columns p ON (p.model_version_id, p.day, p.chunk, p.kind, p.name)
                           = (c.model_version_id, c.day, c.chunk, 'row', 'probabilities')
LEFT JOIN chunk_columns l ON (l.model_version_id, l.day, l.chunk, l.kind, l.name)
                           = (c.model_version_id, c.day, c.chunk, 'row', 'latency_ms')
LEFT JOIN chunk_columns e ON (e.model_version_id, e.day, e.chunk, e.kind, e.name)
                           = (c.model_version_id, c.day, c.chunk, 'row', 'error')
LEFT JOIN chunk_columns d ON (d.model_version_id, d.day, d.chunk, d.kind, d.name)
                           = (c.model_version_id, c.day, c.chunk, 'row', 'deployment')
CROSS JOIN LATERAL unnest(column_texts(i), column_numbers(a), column_numbers(v), column_texts(k),
                          column_numbers(s), column_texts(p), column_numbers(l), column_texts(e),
                          column_texts(d))
    WITH ORDINALITY AS r (prediction_id, micros, value, class, score, probabilities, latency_ms, error,
                          deployment, position);

-- Feature values row by row: `number` where the feature is one, `text` always, both null where the value is null
-- or absent. Ask for a version, a span of `day` and a feature, or all of it is read.
CREATE VIEW feature_values AS
SELECT c.project_id, c.model_id, c.model_version_id, c.day, c.chunk, (r.position - 1)::integer AS position,
       c.name AS feature, c.value_type, r.number, r.text, (r.position - 1)::integer = ANY (c.absent) AS absent
FROM chunk_columns c
CROSS JOIN LATERAL unnest(CASE WHEN c.value_type IN ('number', 'integer', 'boolean') THEN column_numbers(c) END,
                          column_texts(c))
    WITH ORDINALITY AS r (number, text, position)
WHERE c.kind = 'feature';

-- The segments sent with predictions, row by row, null where a row was sent without.
CREATE VIEW segment_values AS
SELECT c.project_id, c.model_id, c.model_version_id, c.day, c.chunk, (r.position - 1)::integer AS position,
       c.name AS segment, r.text AS value
FROM chunk_columns c
CROSS JOIN LATERAL unnest(column_texts(c)) WITH ORDINALITY AS r (text, position)
WHERE c.kind = 'segment';

-- Arrays are compressed by lz4 where this Postgres has it, which is several times faster than its own method.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['small_units', 'medium_units', 'large_units', 'numbers', 'uuids', 'texts',
                                'categories'] LOOP
        EXECUTE format('ALTER TABLE chunk_columns ALTER COLUMN %I SET COMPRESSION lz4', name);
    END LOOP;
EXCEPTION
    WHEN feature_not_supported THEN NULL;
END $$;
-- A landed body is compressed already.
ALTER TABLE landed_batches ALTER COLUMN body SET STORAGE EXTERNAL;

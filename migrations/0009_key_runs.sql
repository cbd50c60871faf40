-- Keys of predictions in sorted runs. A row and an index entry per prediction were most of what Postgres did while
-- predictions were settled, took 80 bytes for each, and cost the more the more there were, because hashes fall all over an
-- index. Now a pack's keys are one run, in pages of some dozen keys; runs are merged into longer ones in the background; and
-- a filter for each run says of nearly every id that is not in it that it is not.

CREATE SEQUENCE prediction_key_run;

CREATE TABLE prediction_key_runs (
    model_id  uuid     NOT NULL,
    run       bigint   NOT NULL,
    keys      bigint   NOT NULL,
    -- The earliest day of its predictions (days since 2000-01-01).
    first_day smallint NOT NULL,
    -- Which hashes may be in the run (storage/keys/filter.rs); computed from the pages where there is none.
    filter    bytea,
    PRIMARY KEY (model_id, run)
);
-- Compressing it would be in vain.
ALTER TABLE prediction_key_runs ALTER COLUMN filter SET STORAGE EXTERNAL;

-- Keys in the order of their hashes (storage/keys/page.rs); equal hashes share a page.
CREATE TABLE prediction_key_pages (
    model_id   uuid   NOT NULL,
    run        bigint NOT NULL,
    first_hash bigint NOT NULL,
    keys       bytea  NOT NULL,
    PRIMARY KEY (model_id, run, first_hash)
);

-- ── what is there already ────────────────────────────────────────────────────────────────────────────

INSERT INTO prediction_key_runs (model_id, run, keys, first_day)
SELECT model_id, nextval('prediction_key_run'), keys, first_day
FROM (
    SELECT v.model_id, COUNT(*) AS keys, MIN(k.day) AS first_day
    FROM prediction_keys k JOIN model_versions v USING (version_number)
    GROUP BY v.model_id
) AS models;

-- The first byte 0 says that no checksum follows; the highest bit of the position, that the content's hash is unknown.
INSERT INTO prediction_key_pages (model_id, run, first_hash, keys)
SELECT k.model_id, r.run, MIN(k.id_hash),
       '\x00'::bytea || string_agg(
           int8send(k.id_hash) || int4send(COALESCE(k.content_hash, 0)) || int4send(k.version_number)
           || int4send(k.chunk) || int2send(k.day)
           || int2send(CASE WHEN k.content_hash IS NULL THEN k.position - 32768 ELSE k.position END::smallint),
           ''::bytea ORDER BY k.id_hash)
FROM (
    SELECT v.model_id, k.*,
           (DENSE_RANK() OVER (PARTITION BY v.model_id ORDER BY k.id_hash) - 1) / 80 AS page
    FROM prediction_keys k JOIN model_versions v USING (version_number)
) AS k
JOIN prediction_key_runs r USING (model_id)
GROUP BY k.model_id, r.run, k.page;

DROP TABLE prediction_keys;

-- ── the same in plain SQL ────────────────────────────────────────────────────────────────────────────

-- The keys of a page: behind a byte for the format, 24 bytes each, and 4 for a checksum in format 1.
CREATE FUNCTION page_keys(keys bytea)
    RETURNS TABLE (id_hash bigint, content_hash integer, version_number integer, chunk integer, day smallint,
                   "position" integer)
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT ('x' || encode(substring(k FROM 1 FOR 8), 'hex'))::bit(64)::bigint,
           CASE WHEN get_byte(k, 22) < 128 THEN ('x' || encode(substring(k FROM 9 FOR 4), 'hex'))::bit(32)::integer END,
           ('x' || encode(substring(k FROM 13 FOR 4), 'hex'))::bit(32)::integer,
           ('x' || encode(substring(k FROM 17 FOR 4), 'hex'))::bit(32)::integer,
           (('x' || encode(substring(k FROM 21 FOR 2), 'hex'))::bit(16)::integer::bit(32) << 16)::integer >> 16,
           (get_byte(k, 22) & 127) * 256 + get_byte(k, 23)
    FROM (SELECT substring(keys FROM 2 + 24 * n FOR 24) AS k
          FROM generate_series(0, (octet_length(keys) - 1) / 24 - 1) AS n) AS k
$$;

-- Every key, one by one. All of it is read: ask for a model, or use prediction_places.
CREATE VIEW prediction_keys AS
SELECT p.model_id, k.*
FROM prediction_key_pages p CROSS JOIN LATERAL page_keys(p.keys) AS k;

-- Where the predictions with an id are, of every version of a model; very rarely also where another id's are.
CREATE FUNCTION prediction_places(model_id uuid, prediction_id text)
    RETURNS TABLE (version_number integer, day timestamptz, chunk integer, "position" integer)
    LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT k.version_number, (DATE '2000-01-01' + k.day)::timestamp AT TIME ZONE 'UTC', k.chunk, k.position
    FROM prediction_key_runs r
    CROSS JOIN LATERAL (
        SELECT p.keys
        FROM prediction_key_pages p
        WHERE p.model_id = r.model_id AND p.run = r.run
          AND p.first_hash <= prediction_id_hash($1, $2)
        ORDER BY p.first_hash DESC
        LIMIT 1
    ) AS p
    CROSS JOIN LATERAL page_keys(p.keys) AS k
    WHERE r.model_id = $1 AND k.id_hash = prediction_id_hash($1, $2)
$$;

-- The default drift detector takes hours for the unit of chance, too, where a monitor's windows are hours. What it keeps
-- of days it keeps of hours in the same tables, which keep their names: a row says which of the two it is.

-- Dates become the instants at which days begin in UTC, whatever time zone this session has.
SET LOCAL TIME ZONE 'UTC';

-- A baseline has a reference of its days, and one of its hours where its model counts by hour.
ALTER TABLE shift_references
    ADD COLUMN grain text NOT NULL DEFAULT 'day',
    -- How many days, or hours, were counted; `days` stays the number of days they are of.
    ADD COLUMN counted integer NOT NULL DEFAULT 0,
    ALTER COLUMN first_day TYPE timestamptz USING first_day::timestamptz,
    ALTER COLUMN last_day TYPE timestamptz USING last_day::timestamptz,
    ALTER COLUMN left_out TYPE timestamptz[] USING left_out::timestamptz[],
    ALTER COLUMN unstable TYPE timestamptz[] USING unstable::timestamptz[];
ALTER TABLE shift_references RENAME COLUMN first_day TO first_at;
ALTER TABLE shift_references RENAME COLUMN last_day TO last_at;
UPDATE shift_references SET counted = days;
ALTER TABLE shift_references
    ALTER COLUMN grain DROP DEFAULT,
    ALTER COLUMN counted DROP DEFAULT,
    DROP CONSTRAINT shift_references_pkey,
    ADD PRIMARY KEY (baseline_id, grain),
    ADD CONSTRAINT shift_references_grain_known CHECK (grain IN ('hour', 'day'));

-- A day, or an hour, of a version in the bins of a baseline. The counts of hours are read for a week and kept as long as the profiles
-- they come from, of which they are a small part.
ALTER TABLE shift_days
    ADD COLUMN grain text NOT NULL DEFAULT 'day',
    ALTER COLUMN day TYPE timestamptz USING day::timestamptz;
ALTER TABLE shift_days RENAME COLUMN day TO window_start;
ALTER TABLE shift_days
    ALTER COLUMN grain DROP DEFAULT,
    DROP CONSTRAINT shift_days_pkey,
    ADD PRIMARY KEY (model_version_id, baseline_id, grain, window_start),
    ADD CONSTRAINT shift_days_grain_known CHECK (grain IN ('hour', 'day'));

-- A project that keeps raw rows for a month, of which some days are gone; one of them was given back.

UPDATE project_retention
SET raw_days = 30, raw_closed_before = '2026-02-02', raw_gone_before = '2026-02-01', profiles_gone_before = '2025-02-01',
    measurements_gone_before = '2024-01-01', keys_swept_before = '2026-02-01'
WHERE project_id = '00000000-0000-7000-8000-000000000001';
INSERT INTO restored_days VALUES
    ('00000000-0000-7000-8000-000000000001', '00000000-0000-7000-8000-000000000010', '2026-01-15', '2026-03-01',
     'token:ops', '2026-04-01');
INSERT INTO erased_predictions VALUES
    ('00000000-0000-7000-8000-000000000001', '00000000-0000-7000-8000-000000000010', '\x0102', '2026-03-01');
INSERT INTO imported_files VALUES
    ('00000000-0000-7000-8000-000000000001', '00000000-0000-7000-8000-000000000010', 'predictions', '', '\x0102',
     'batch-7.csv', 'csv', 1200, 20, 20, 19, 1, 'sending', 'token:loader', '2026-03-01', '2026-03-01');

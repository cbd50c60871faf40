-- What the detector keeps of a baseline and of a judged day.

INSERT INTO shift_references VALUES
    ((SELECT baseline_id FROM baselines ORDER BY baseline_id LIMIT 1), '00000000-0000-7000-8000-000000000001',
     '00000000-0000-7000-8000-000000000010', '2026-01-01', '2026-01-28', 28, 'days', '{2026-01-13}', '{}', '{}',
     '\x425702', '2026-03-01');
INSERT INTO shift_days
SELECT model_version_id, (SELECT baseline_id FROM shift_references), '2026-03-03',
       '00000000-0000-7000-8000-000000000001', model_id, '\x425703',
       '{"episode": {"Open": {"opened": 20515, "since": 20514, "last": 20515, "quiet": 0}}, "features": ["distance"]}',
       '2026-03-04'
FROM model_versions ORDER BY model_version_id LIMIT 1;

-- What is kept of columns together: a baseline's days, and a day of production.

INSERT INTO joint_references (baseline_id, project_id, model_id, first_day, last_day, reference, fitted_at)
SELECT baseline_id, project_id, model_id, first_day, last_day, '\x425714', '2026-03-01' FROM shift_references;
INSERT INTO joint_days
SELECT model_version_id, (SELECT baseline_id FROM joint_references), '2026-03-03', '00000000-0000-7000-8000-000000000001',
       model_id, '\x425715', '2026-03-04'
FROM model_versions ORDER BY model_version_id LIMIT 1;

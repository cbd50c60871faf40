-- What is kept of labelled rows, of detectors that watch them, of objectives and of estimates.

INSERT INTO labelled_samples
SELECT baseline_id, project_id, model_id, 5000, 86400, '\x425710', '2026-03-01' FROM shift_references;
INSERT INTO estimators
SELECT baseline_id, project_id, model_id, '\x425713', '2026-03-02' FROM shift_references;
INSERT INTO sequential_cohorts
SELECT model_version_id, 'quality', 'error_rate_sequential', '2026-03-03', '00000000-0000-7000-8000-000000000001', model_id,
       '2026-03-04', 'a rate', 1, 200, 12, '\x425711', '2026-03-05'
FROM model_versions ORDER BY model_version_id LIMIT 1;
INSERT INTO objective_counts
SELECT model_version_id, 'objective', '2026-03-03', '00000000-0000-7000-8000-000000000001', model_id, 4, 'within 15',
       '2026-03-04', '\x425712'
FROM model_versions ORDER BY model_version_id LIMIT 1;
INSERT INTO estimate_checks
SELECT model_version_id, 'estimate', 'estimated_accuracy', '2026-03-03', '00000000-0000-7000-8000-000000000001', model_id,
       (SELECT baseline_id FROM estimators), 0.91, 0.88, 0.94, 0.9, 200
FROM model_versions ORDER BY model_version_id LIMIT 1;

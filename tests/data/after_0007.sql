-- The sample of the baseline that the first rows have.

INSERT INTO baseline_samples (baseline_id, project_id, model_id, sample)
SELECT baseline_id, project_id, model_id, '\x05' FROM baselines WHERE baseline_id = '00000000-0000-7000-8000-000000000021';

-- What the detector keeps of a baseline's hours and of a judged hour.

INSERT INTO shift_references (baseline_id, grain, project_id, model_id, first_at, last_at, days, counted, footing,
                              left_out, unstable, unusable, reference, fitted_at, holidays)
SELECT baseline_id, 'hour', project_id, model_id, first_at, last_at + interval '23 hours', days, 24 * days, footing,
       '{2026-01-13 04:00:00+00}', '{}', '{}', '\x425702', fitted_at, holidays
FROM shift_references;
INSERT INTO shift_days (model_version_id, baseline_id, grain, window_start, project_id, model_id, tallies, state, measured_at)
SELECT model_version_id, baseline_id, 'hour', window_start + interval '5 hours', project_id, model_id, tallies,
       '{"episode": "Closed", "features": []}', measured_at
FROM shift_days;

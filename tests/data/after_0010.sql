-- A reference that was fitted without a holiday, and a baseline that somebody put in the place of another.

UPDATE shift_references SET holidays = '{2026-01-01}';
UPDATE baselines SET reason = 'the new tariff is here to stay'
WHERE baseline_id = (SELECT baseline_id FROM shift_references);

-- Changes that migration 0004 counts.

UPDATE models SET description = 'Minutes in the air' WHERE model_id = '00000000-0000-7000-8000-000000000010';
UPDATE tokens SET revoked_at = '2026-05-01' WHERE revoked_at IS NULL;

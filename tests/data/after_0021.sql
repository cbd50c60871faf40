-- An alert of the project itself, and who is told of it.

UPDATE projects SET receivers = '{operations}';
INSERT INTO overflow_counts VALUES
    ('00000000-0000-7000-8000-000000000001', '00000000-0000-7000-8000-000000000010', 'categories', '2026-03-02', 12);
INSERT INTO alerts (alert_id, project_id, model_id, model_version_id, rule, severity, summary, condition, since,
                    fired_at, last_seen_at, value, threshold, evidence, explanation, runbook, version)
VALUES ('00000000-0000-7000-8000-0000000022a1', '00000000-0000-7000-8000-000000000001', NULL, NULL,
        'limit(categories)', 'info', 'More categories than a feature has room for', '12 rows', '2026-03-02',
        '2026-03-02 20:00', '2026-03-02 20:00', 12, NULL, '[]', '{}', NULL, 1);

-- A feature that only production sends.

INSERT INTO schema_features VALUES
    ('00000000-0000-7000-8000-000000000020', 'delay', 'number', true, NULL, NULL, NULL, 0, '{production}');

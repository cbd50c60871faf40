-- A feature that only production sends, and rows that came in another order than they were made.

INSERT INTO schema_features VALUES
    ('00000000-0000-7000-8000-000000000020', 'delay', 'number', true, NULL, NULL, NULL, 0, '{production}');
UPDATE window_states SET out_of_order = 3;

-- Rows in what migration 0003 adds.

INSERT INTO labels (project_id, model_id, prediction_id, value, class, observed_at, received_at, batch_id, joined,
                    expired_at)
VALUES ('00000000-0000-7000-8000-000000000001', '00000000-0000-7000-8000-000000000010', 'nobody', 1, NULL,
        '2026-03-02 20:00', '2026-03-02 20:00', '00000000-0000-7000-8000-0000000000ff', false, '2026-04-02');
INSERT INTO model_features VALUES
    ('00000000-0000-7000-8000-000000000001', '00000000-0000-7000-8000-000000000010', 'seats', '2026-03-02')
ON CONFLICT DO NOTHING;
INSERT INTO overflow_counts VALUES
    ('00000000-0000-7000-8000-000000000001', '00000000-0000-7000-8000-000000000010', 'features', '2026-03-02', 7);

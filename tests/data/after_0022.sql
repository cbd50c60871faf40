-- A label that was corrected, and a batch that was set aside.

INSERT INTO label_revisions (project_id, model_id, prediction_id, value, class, observed_at, received_at, batch_id,
                             replaced_at, replaced_by)
VALUES ('00000000-0000-7000-8000-000000000001', '00000000-0000-7000-8000-000000000010', 'corrected again', 7, NULL,
        '2026-03-02', '2026-03-02', '00000000-0000-7000-8000-0000000022b1', '2026-03-03',
        '00000000-0000-7000-8000-0000000022b2');

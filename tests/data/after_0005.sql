-- Rows in the table that migration 0005 adds.

INSERT INTO schema_proposals VALUES
    ('00000000-0000-7000-8000-000000000070', '00000000-0000-7000-8000-000000000001',
     '00000000-0000-7000-8000-000000000010', 'observed', 'the last 7 days', 'origin: new category LGA', 1,
     '[{"feature": "origin",
        "from": {"feature": "origin", "feature_type": "category", "required": true, "minimum": null, "maximum": null,
                 "categories": ["EWR", "JFK"], "max_null_share": 0.1},
        "to": {"feature": "origin", "feature_type": "category", "required": true, "minimum": null, "maximum": null,
               "categories": ["EWR", "JFK", "LGA"], "max_null_share": 0.1},
        "effects": [{"part": "categories", "rows": 200, "flagged_now": 12, "flagged_then": 0}]}]',
     '{}', 'proposed', '2026-03-04', 'bellwether', NULL, NULL, NULL, NULL);

//! What a service that went wrong would have left in the tables, for the checker to find.

use crate::checker::{
    ACKNOWLEDGED_IS_STORED, ALERTS_ARE_TOLD, COUNTS_EQUAL_A_RECOUNT, IDS_ARE_UNIQUE,
    LABELS_ARE_JOINED, PIPELINES_RUN_ONCE, ROWS_ARE_CONSERVED,
};

/// A way in which a service could have gone wrong: what it does to the tables, and which rule it breaks.
#[derive(Debug, Clone, Copy)]
pub struct Damage {
    pub sql: &'static str,
    pub rule: &'static str,
}

/// One row too few, too many or altered, for each thing that is checked.
pub const DAMAGES: &[Damage] = &[
    Damage {
        sql: "DELETE FROM chunk_columns WHERE (model_version_id, day, chunk) =
                  (SELECT model_version_id, day, chunk FROM prediction_chunks ORDER BY last_at DESC LIMIT 1)",
        rule: ACKNOWLEDGED_IS_STORED,
    },
    Damage {
        sql: "UPDATE chunk_columns
              SET base = base + 1,
                  numbers = CASE WHEN numbers IS NOT NULL THEN ARRAY(SELECT n + 1 FROM unnest(numbers) AS n) END
              WHERE kind = 'row' AND name = 'value'",
        rule: ACKNOWLEDGED_IS_STORED,
    },
    Damage {
        sql: "DELETE FROM label_revisions",
        rule: ACKNOWLEDGED_IS_STORED,
    },
    Damage {
        sql: "INSERT INTO prediction_chunks
              SELECT project_id, model_id, model_version_id, day, chunk + 1000, rows, first_at, last_at
              FROM prediction_chunks;
              INSERT INTO chunk_columns
              SELECT project_id, model_id, model_version_id, day, chunk + 1000, kind, name, value_type, base, scale,
                     small_units, medium_units, large_units, numbers, uuids, texts, categories, absent, reals
              FROM chunk_columns",
        rule: IDS_ARE_UNIQUE,
    },
    Damage {
        sql: "UPDATE profiles p SET profile = q.profile, rows = q.rows FROM profiles q
              WHERE p.feature = 'distance' AND q.feature = 'distance' AND q.segment_name = '' AND p.segment_name <> ''",
        rule: COUNTS_EQUAL_A_RECOUNT,
    },
    Damage {
        sql: "DELETE FROM profiles WHERE feature = 'carrier' AND segment_name = ''",
        rule: COUNTS_EQUAL_A_RECOUNT,
    },
    Damage {
        sql: "UPDATE window_states SET predictions = predictions + 1 WHERE predictions > 0",
        rule: COUNTS_EQUAL_A_RECOUNT,
    },
    Damage {
        sql: "UPDATE intake_counts SET rows = rows + 1 WHERE outcome = 'duplicate'",
        rule: ROWS_ARE_CONSERVED,
    },
    Damage {
        sql: "UPDATE intake_counts SET reason = 'given_up'
              WHERE outcome = 'rejected'
                AND reason = (SELECT MIN(reason) FROM intake_counts WHERE outcome = 'rejected')",
        rule: ROWS_ARE_CONSERVED,
    },
    Damage {
        sql: "DELETE FROM landed_batches
              WHERE batch_id = (SELECT batch_id FROM landed_batches
                                WHERE batch_id NOT IN (SELECT batch_id FROM rejected_rows)
                                ORDER BY batch_id DESC LIMIT 1)",
        rule: ROWS_ARE_CONSERVED,
    },
    Damage {
        sql: "DELETE FROM outcomes WHERE prediction_id = (SELECT MAX(prediction_id) FROM outcomes)",
        rule: LABELS_ARE_JOINED,
    },
    Damage {
        sql: "UPDATE measurements SET value = value + 0.5 WHERE measure = 'mae'",
        rule: LABELS_ARE_JOINED,
    },
    Damage {
        sql: "UPDATE deliveries SET alert_id = NULL
              WHERE delivery_id = (SELECT delivery_id FROM deliveries LIMIT 1)",
        rule: ALERTS_ARE_TOLD,
    },
    Damage {
        sql: "UPDATE alert_events SET sequence = sequence + 1000",
        rule: ALERTS_ARE_TOLD,
    },
    Damage {
        sql: "UPDATE deliveries SET state = 'waiting'
              WHERE delivery_id = (SELECT delivery_id FROM deliveries LIMIT 1)",
        rule: ALERTS_ARE_TOLD,
    },
    Damage {
        sql: "UPDATE pipeline_runs SET run_key = 'another'
              WHERE run_key = (SELECT run_key FROM pipeline_runs LIMIT 1)",
        rule: PIPELINES_RUN_ONCE,
    },
];

/// The same of what is plugged in and kept for a time.
pub const DAMAGES_OF_KEPT: &[Damage] = &[
    Damage {
        sql: "DELETE FROM telemetry_samples
         WHERE (series, sampled_at) IN (SELECT series, sampled_at FROM telemetry_samples LIMIT 1)",
        rule: "the tables are whole",
    },
    Damage {
        sql: "UPDATE labels SET value = value + 1",
        rule: "the tables are whole",
    },
    Damage {
        sql: "UPDATE inference_halves SET body = '\\x00'
         WHERE (pair, half) IN (SELECT pair, half FROM inference_halves LIMIT 1)",
        rule: "halves are joined",
    },
    Damage {
        sql: "UPDATE intake_counts SET rows = rows + 1 WHERE outcome = 'accepted' AND kind = 'events'",
        rule: "rows are conserved",
    },
    Damage {
        sql: "UPDATE intake_counts SET rows = rows + 1000 WHERE outcome = 'restored'",
        rule: "restored rows count as restored",
    },
    Damage {
        sql: "DELETE FROM audit_events WHERE action = 'archive.erased'",
        rule: "an erasure is audited once",
    },
];

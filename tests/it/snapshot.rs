//! What is stored of a model, in a form that two deliveries of the same rows must agree on to the last digit: no
//! ids, no times of ours, no order.

use bellwether::services::recount;
use bellwether::stats::profile::{Counts, FeatureProfile};
use sqlx::PgPool;

use crate::app::TestApp;

/// One profile: whose, what it counts, and its bytes, which hold mean, deviation and quantiles too.
#[derive(Debug, PartialEq)]
pub struct ProfileSnapshot {
    pub place: (String, String, String, String, String),
    pub rows: i64,
    pub counts: Counts,
    pub valid: u64,
    pub cells: Option<Vec<u64>>,
    pub categories: Vec<(String, u64)>,
    pub range: (Option<f64>, Option<f64>),
    pub bytes: Vec<u8>,
}

/// Everything that must be equal.
#[derive(Debug, PartialEq)]
pub struct Snapshot {
    pub predictions: Vec<String>,
    pub profiles: Vec<ProfileSnapshot>,
    pub outcomes: Vec<String>,
    pub windows: Vec<String>,
    pub measurements: Vec<String>,
}

impl Snapshot {
    /// Checks that both are equal; a failure shows the first difference and not two pages.
    #[track_caller]
    pub fn assert_equals(&self, expected: &Self, of_what: &str) {
        assert_same(
            "predictions",
            &self.predictions,
            &expected.predictions,
            of_what,
        );
        assert_same("outcomes", &self.outcomes, &expected.outcomes, of_what);
        assert_same("windows", &self.windows, &expected.windows, of_what);
        assert_same("profiles", &self.profiles, &expected.profiles, of_what);
        assert_same(
            "measurements",
            &self.measurements,
            &expected.measurements,
            of_what,
        );
    }
}

#[track_caller]
fn assert_same<T: PartialEq + std::fmt::Debug>(of: &str, got: &[T], expected: &[T], of_what: &str) {
    for (got, expected) in got.iter().zip(expected) {
        assert_eq!(got, expected, "{of}, {of_what}");
    }
    let longer = if got.len() > expected.len() {
        got
    } else {
        expected
    };
    let unmatched = longer.get(got.len().min(expected.len()));
    assert_eq!(got.len(), expected.len(), "{of}, {of_what}: {unmatched:?}");
}

/// What is stored of the model.
pub async fn snapshot(app: &TestApp, model: &str) -> Snapshot {
    let pool = &app.services.pool;
    let text = |sql: &'static str| rows(pool, model, sql);
    Snapshot {
        predictions: text(
            "SELECT concat_ws('|', v.name, p.predicted_at, p.prediction_id, p.value, p.class, p.score,
                              p.probabilities, p.latency_ms, p.error, p.deployment)
             FROM predictions p JOIN model_versions v USING (model_version_id)
             JOIN models m ON m.model_id = p.model_id WHERE m.name = $1 ORDER BY 1",
        )
        .await,
        profiles: profiles(app, model).await,
        outcomes: text(
            "SELECT concat_ws('|', v.name, o.predicted_at, o.prediction_id, o.segments, o.predicted_value,
                              o.predicted_class, o.score, o.probabilities, o.label_value, o.label_class,
                              o.observed_at)
             FROM outcomes o JOIN model_versions v USING (model_version_id)
             JOIN models m ON m.model_id = o.model_id WHERE m.name = $1 ORDER BY 1",
        )
        .await,
        windows: text(
            "SELECT concat_ws('|', v.name, w.window_start, w.predictions, w.errors, w.labels, w.last_event_at)
             FROM window_states w JOIN model_versions v USING (model_version_id)
             JOIN models m ON m.model_id = w.model_id WHERE m.name = $1 ORDER BY 1",
        )
        .await,
        // How rows came is what `out_of_order` measures.
        measurements: text(
            "SELECT concat_ws('|', v.name, x.monitor, x.grain, x.window_start, x.segment_name, x.segment_value,
                              x.feature, x.measure, x.value, x.low, x.high, x.p_value, x.reference, x.status,
                              x.current_rows, x.reference_rows, x.recipe)
             FROM measurements x JOIN model_versions v USING (model_version_id)
             JOIN models m ON m.model_id = x.model_id
             WHERE m.name = $1 AND x.superseded_at IS NULL AND x.measure <> 'out_of_order' ORDER BY 1",
        )
        .await,
    }
}

async fn rows(pool: &PgPool, model: &str, sql: &'static str) -> Vec<String> {
    sqlx::query_scalar(sql)
        .bind(model)
        .fetch_all(pool)
        .await
        .expect("rows")
}

/// A model's profiles, by place.
pub async fn profiles(app: &TestApp, model: &str) -> Vec<ProfileSnapshot> {
    type Row = (String, String, String, String, String, i64, Vec<u8>);
    let stored: Vec<Row> = sqlx::query_as(
        "SELECT v.name, p.window_start::text, p.segment_name, p.segment_value, p.feature, p.rows, p.profile
         FROM profiles p JOIN model_versions v USING (model_version_id)
         JOIN models m ON m.model_id = p.model_id WHERE m.name = $1 ORDER BY 1, 2, 3, 4, 5",
    )
    .bind(model)
    .fetch_all(&app.services.pool)
    .await
    .expect("profiles");
    stored
        .into_iter()
        .map(|(version, start, name, value, feature, rows, bytes)| {
            let profile = FeatureProfile::decode(&bytes).expect("a sound profile");
            ProfileSnapshot {
                place: (version, start, name, value, feature),
                rows,
                counts: *profile.counts(),
                valid: profile.valid(),
                cells: profile.cells().map(<[u64]>::to_vec),
                categories: profile
                    .categories()
                    .map(|(category, count)| (category.to_owned(), count))
                    .collect(),
                range: (profile.minimum(), profile.maximum()),
                bytes,
            }
        })
        .collect()
}

/// Counts the model's profiles again from its rows and checks that nothing has changed.
pub async fn assert_profiles_equal_a_recount(app: &TestApp, name: &str) {
    let before = profiles(app, name).await;
    assert!(!before.is_empty(), "{name} has no profiles");
    let model = app.model(name).await;
    let mut tx = app.services.pool.begin().await.expect("a transaction");
    recount::count_again(
        &mut tx,
        &model,
        app.services.bounds,
        app.services.clock.now(),
    )
    .await
    .expect("counts again");
    tx.commit().await.expect("commits");
    let after = profiles(app, name).await;
    assert_same("profiles counted again", &after, &before, name);
}

//! Counting values into profiles: which type a feature should have, which cells its numbers fall into, which
//! categories are known. Settling, fitting baselines and counting again all go through [`Yardstick`], so a
//! value counts the same wherever it comes from.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::Error;
use crate::domain::batch::{Column, Output, Value};
use crate::domain::ids::{GridId, ModelId, VersionId};
use crate::domain::measurement::Segment;
use crate::domain::model::Task;
use crate::domain::schema::{FeatureExpectation, FeatureType};
use crate::domain::window::Grain;
use crate::stats::grid::Grid;
use crate::stats::profile::{Counts, FeatureProfile, ProfileError};
use crate::storage::baselines::{self, Schema, StoredGrid};
use crate::storage::models::{self, Model};
use crate::storage::predictions::{self, FeatureChunk, StoredPrediction};
use crate::storage::profiles::{self, ProfileKey, StoredProfile};
use crate::storage::windows;

/// The name under which the prediction itself is profiled; no feature can have it.
pub const PREDICTION: &str = "prediction()";
/// The name under which the latency is profiled; no feature can have it.
pub const LATENCY: &str = "latency()";

/// What the values of a model are counted against.
#[derive(Debug, Clone, Default)]
pub struct Yardstick {
    pub grid_id: Option<GridId>,
    features: HashMap<String, FeatureYardstick>,
}

#[derive(Debug, Clone, Default)]
struct FeatureYardstick {
    expectation: Option<FeatureExpectation>,
    categories: Option<HashSet<String>>,
    grid: Option<Grid>,
}

impl Yardstick {
    /// What is in force for a model.
    ///
    /// # Errors
    /// When the stored grid cannot be read.
    pub async fn load(conn: &mut PgConnection, model_id: ModelId) -> Result<Self, Error> {
        let schema = baselines::schema(conn, model_id).await?;
        let grid = baselines::grid(conn, model_id).await?;
        Self::new(schema.as_ref(), grid.as_ref())
    }

    /// From a schema and a grid.
    ///
    /// # Errors
    /// When the grid's edges are not in order.
    pub fn new(schema: Option<&Schema>, grid: Option<&StoredGrid>) -> Result<Self, Error> {
        let mut features: HashMap<String, FeatureYardstick> = HashMap::new();
        for expectation in schema.iter().flat_map(|s| &s.features) {
            let entry = features.entry(expectation.feature.clone()).or_default();
            entry.categories = expectation
                .categories
                .as_ref()
                .map(|known| known.iter().cloned().collect());
            entry.expectation = Some(expectation.clone());
        }
        for feature in grid
            .iter()
            .flat_map(|g| &g.features)
            .filter(|f| f.kind == "numeric")
        {
            let cells = Grid::from_edges(feature.edges.clone(), feature.decile_edges.clone())
                .map_err(Error::internal)?;
            features.entry(feature.feature.clone()).or_default().grid = Some(cells);
        }
        Ok(Self {
            grid_id: grid.map(|g| g.grid_id),
            features,
        })
    }

    /// What is expected of a feature.
    #[must_use]
    pub fn expectation(&self, feature: &str) -> Option<&FeatureExpectation> {
        self.features.get(feature)?.expectation.as_ref()
    }

    /// Everything that is expected, by name of the feature.
    pub fn expectations(&self) -> impl Iterator<Item = &FeatureExpectation> {
        self.features
            .values()
            .filter_map(|f| f.expectation.as_ref())
    }

    /// The columns, and one of absent values for each expected feature that no row has.
    #[must_use]
    pub fn with_expected(&self, mut columns: Vec<Column>, rows: usize) -> Vec<Column> {
        for expectation in self.expectations() {
            if !columns.iter().any(|c| c.name == expectation.feature) {
                columns.push(Column {
                    name: expectation.feature.clone(),
                    values: vec![Value::Absent; rows],
                });
            }
        }
        columns
    }

    /// The cells a feature's numbers are counted in.
    #[must_use]
    pub fn grid(&self, feature: &str) -> Option<&Grid> {
        self.features.get(feature)?.grid.as_ref()
    }

    /// Counts the values of a feature. The schema says whether they are numbers or categories; without one the
    /// first telling value does. That a row lacks a feature counts only where the feature is expected: which rows
    /// share a batch with one that brings something else is chance, and must not show in the counts.
    ///
    /// # Errors
    /// When the profile counts something of another kind.
    pub fn profile<'v>(
        &self,
        feature: &str,
        values: impl Iterator<Item = &'v Value> + Clone,
    ) -> Result<FeatureProfile, Error> {
        let yardstick = self.features.get(feature);
        let grid = yardstick.and_then(|y| y.grid.as_ref());
        let expected = yardstick
            .and_then(|y| y.expectation.as_ref())
            .map(|e| e.feature_type);
        let numeric = match expected {
            Some(feature_type) => feature_type.is_numeric(),
            None => grid.is_some() || values.clone().find_map(is_numeric).unwrap_or(true),
        };
        let mut profile = if numeric {
            FeatureProfile::numeric(grid)
        } else {
            FeatureProfile::categorical()
        };
        for value in values {
            match read(value, expected, numeric) {
                Reading::Absent if expected.is_none() => {}
                Reading::Absent => profile.observe_absent(),
                Reading::Null => profile.observe_null(),
                Reading::Mismatch => profile.observe_mismatch(),
                Reading::Number(number) => {
                    profile
                        .observe_number(number, grid)
                        .map_err(Error::internal)?;
                    if yardstick.is_some_and(|y| y.is_out_of_range(number)) {
                        profile.note_out_of_range();
                    }
                }
                Reading::Category(category) => {
                    profile
                        .observe_category(&category)
                        .map_err(Error::internal)?;
                    if yardstick.is_some_and(|y| y.is_unseen(&category)) {
                        profile.note_unseen();
                    }
                }
            }
        }
        Ok(profile)
    }
}

impl FeatureYardstick {
    fn is_out_of_range(&self, number: f64) -> bool {
        self.expectation.as_ref().is_some_and(|e| {
            e.minimum.is_some_and(|minimum| number < minimum)
                || e.maximum.is_some_and(|maximum| number > maximum)
        })
    }

    fn is_unseen(&self, category: &str) -> bool {
        self.categories
            .as_ref()
            .is_some_and(|known| !known.contains(category))
    }
}

enum Reading<'v> {
    Absent,
    Null,
    Mismatch,
    Number(f64),
    Category(std::borrow::Cow<'v, str>),
}

/// Whether a value tells that its feature is numeric; nothing for null and absent.
fn is_numeric(value: &Value) -> Option<bool> {
    match value {
        Value::Absent | Value::Null => None,
        Value::Number(_) | Value::Integer(_) | Value::Timestamp(_) => Some(true),
        Value::Boolean(_) | Value::Text(_) => Some(false),
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "profiles count in doubles; rows keep the integer"
)]
fn read<'v>(value: &'v Value, expected: Option<FeatureType>, numeric: bool) -> Reading<'v> {
    use FeatureType::{Boolean, Category, Integer, Number, Text, Timestamp};
    let any_number = matches!(expected, Some(Number) | None) && numeric;
    match value {
        Value::Absent => Reading::Absent,
        Value::Null => Reading::Null,
        Value::Number(n) if any_number => Reading::Number(*n),
        Value::Number(n) if expected == Some(Integer) && (n.fract() == 0.0 || !n.is_finite()) => {
            Reading::Number(*n)
        }
        Value::Integer(n) if any_number || expected == Some(Integer) => Reading::Number(*n as f64),
        Value::Integer(n) if expected == Some(Category) => Reading::Category(n.to_string().into()),
        Value::Boolean(b)
            if matches!(expected, Some(Boolean | Category)) || (expected.is_none() && !numeric) =>
        {
            Reading::Category(if *b { "true" } else { "false" }.into())
        }
        Value::Text(t)
            if matches!(expected, Some(Category | Text)) || (expected.is_none() && !numeric) =>
        {
            Reading::Category(t.as_str().into())
        }
        Value::Text(t) if expected == Some(Timestamp) => DateTime::parse_from_rfc3339(t)
            .map_or(Reading::Mismatch, |at| {
                Reading::Number(at.timestamp() as f64)
            }),
        Value::Timestamp(at) if expected == Some(Timestamp) || any_number => {
            Reading::Number(at.timestamp() as f64)
        }
        _ => Reading::Mismatch,
    }
}

/// The prediction as a value to be profiled.
#[must_use]
pub fn output_value(task: Task, output: &Output) -> Value {
    match task {
        Task::Regression => output.value.map_or(Value::Null, Value::Number),
        Task::Binary => match (output.score, &output.class) {
            (Some(score), _) => Value::Number(score),
            (None, Some(class)) => Value::Text(class.clone()),
            (None, None) => Value::Null,
        },
        Task::Multiclass => output.class.clone().map_or(Value::Null, Value::Text),
    }
}

/// A version, a base window, a segment: what one set of profiles is about.
pub type GroupKey = (VersionId, DateTime<Utc>, Segment);

/// Rows of a batch by what they count for.
pub type Groups = BTreeMap<GroupKey, Vec<usize>>;

/// The overall segment and one per declared segment that the row has a value of.
pub fn segments_of<'a>(
    declared: &'a [String],
    values: &'a [String],
) -> impl Iterator<Item = Segment> + 'a {
    let named = declared
        .iter()
        .zip(values)
        .filter(|(_, value)| !value.is_empty());
    std::iter::once(Segment::overall()).chain(named.map(|(name, value)| Segment {
        name: name.clone(),
        value: value.clone(),
    }))
}

/// Counts rows into fresh profiles, one per group and column.
///
/// # Errors
/// As for [`Yardstick::profile`].
pub fn count(
    yardstick: &Yardstick,
    groups: &Groups,
    columns: &[Column],
) -> Result<Vec<(ProfileKey, FeatureProfile)>, Error> {
    let mut counted = Vec::with_capacity(groups.len() * columns.len());
    for ((version_id, window_start, segment), rows) in groups {
        for column in columns {
            let profile =
                yardstick.profile(&column.name, rows.iter().map(|row| &column.values[*row]))?;
            if profile.counts().rows == 0 {
                continue;
            }
            let key = ProfileKey {
                version_id: *version_id,
                window_start: *window_start,
                segment: segment.clone(),
                feature: column.name.clone(),
            };
            counted.push((key, profile));
        }
    }
    Ok(counted)
}

/// Merges profiles into those stored. The caller holds the model's lock.
///
/// # Errors
/// When a stored profile is damaged or counts something of another kind.
pub async fn merge(
    conn: &mut PgConnection,
    model: &Model,
    grid_id: Option<GridId>,
    counted: Vec<(ProfileKey, FeatureProfile)>,
) -> Result<(), Error> {
    let mut merged: BTreeMap<ProfileKey, FeatureProfile> = counted.into_iter().collect();
    let mut windows: Vec<(VersionId, DateTime<Utc>)> = merged
        .keys()
        .map(|key| (key.version_id, key.window_start))
        .collect();
    windows.dedup();
    for (version_id, start) in windows {
        let end = start + chrono::TimeDelta::microseconds(1);
        for stored in profiles::between(conn, version_id, start, end, grid_id).await? {
            if let Some(profile) = merged.get_mut(&stored.key) {
                let sum = FeatureProfile::decode(&stored.profile).map_err(Error::internal)?;
                *profile = merged_profile(sum, profile)?;
            }
        }
    }
    let rows: Vec<StoredProfile> = merged
        .into_iter()
        .map(|(key, profile)| StoredProfile {
            key,
            rows: profile.counts().rows,
            profile: profile.encode(),
        })
        .collect();
    profiles::put(conn, model.project_id, model.model_id, grid_id, &rows).await?;
    Ok(())
}

fn merged_profile(
    mut sum: FeatureProfile,
    added: &FeatureProfile,
) -> Result<FeatureProfile, Error> {
    match sum.merge(added) {
        Ok(()) => Ok(sum),
        // Without a schema the kind is that of the first telling value, and nulls tell nothing.
        Err(ProfileError::DifferentKinds) if is_untold(&sum) => {
            let mut told = added.clone();
            note_untold(&mut told, sum.counts());
            Ok(told)
        }
        Err(ProfileError::DifferentKinds) if is_untold(added) => {
            note_untold(&mut sum, added.counts());
            Ok(sum)
        }
        // A column may even change from numbers to text; what came first stays.
        Err(ProfileError::DifferentKinds) => {
            for _ in 0..added.counts().rows {
                sum.observe_mismatch();
            }
            Ok(sum)
        }
        Err(error) => Err(Error::internal(error)),
    }
}

/// Whether no row had a value that says what kind the feature is of.
fn is_untold(profile: &FeatureProfile) -> bool {
    let counts = profile.counts();
    counts.rows == counts.absent + counts.nulls
}

fn note_untold(profile: &mut FeatureProfile, counts: &Counts) {
    for _ in 0..counts.absent {
        profile.observe_absent();
    }
    for _ in 0..counts.nulls {
        profile.observe_null();
    }
}

/// Counts all of a model's windows again from its stored rows: the schema or the grid has changed.
///
/// # Errors
/// When the database fails or a stored value cannot be counted.
pub async fn count_again(
    conn: &mut PgConnection,
    model: &Model,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    models::lock(conn, model.model_id).await?;
    let yardstick = Yardstick::load(conn, model.model_id).await?;
    for window in windows::all(conn, model.model_id).await? {
        let span = model.base_window.window_at(window.window_start);
        profiles::clear(conn, window.version_id, span.start).await?;
        let stored = load_rows(conn, model, window.version_id, span.start, span.end).await?;
        let mut groups = Groups::new();
        for (row, segments) in stored.segments.iter().enumerate() {
            for segment in segments_of(&model.segments, segments) {
                groups
                    .entry((window.version_id, span.start, segment))
                    .or_default()
                    .push(row);
            }
        }
        let columns = yardstick.with_expected(stored.columns, stored.segments.len());
        let counted = count(&yardstick, &groups, &columns)?;
        merge(conn, model, yardstick.grid_id, counted).await?;
    }
    windows::touch_all(conn, model.model_id, now).await?;
    Ok(())
}

/// Stored predictions with their feature values, column by column; prediction and latency are columns too.
#[derive(Debug, Clone, Default)]
pub struct StoredRows {
    pub segments: Vec<Vec<String>>,
    pub columns: Vec<Column>,
}

/// Reads the rows of a version in `[from, to)` back from their chunks.
///
/// # Errors
/// When the database fails.
pub async fn load_rows(
    conn: &mut PgConnection,
    model: &Model,
    version_id: VersionId,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Result<StoredRows, Error> {
    let stored = predictions::between(conn, version_id, from, to).await?;
    let first_day = Grain::Day.window_at(from).start;
    let chunks = predictions::chunks_between(conn, version_id, first_day, to).await?;
    Ok(assemble(model.task, stored, &chunks))
}

fn assemble(task: Task, stored: Vec<StoredPrediction>, chunks: &[FeatureChunk]) -> StoredRows {
    let features: std::collections::BTreeSet<&str> =
        chunks.iter().map(|chunk| chunk.feature.as_str()).collect();
    let by_place: HashMap<_, _> = chunks
        .iter()
        .map(|chunk| ((chunk.chunk_id, chunk.feature.as_str()), chunk))
        .collect();
    let mut columns: Vec<Column> = features
        .into_iter()
        .map(|feature| Column {
            name: feature.to_owned(),
            values: stored
                .iter()
                .map(|row| match by_place.get(&(row.chunk_id, feature)) {
                    Some(chunk) => chunk_value(chunk, row.chunk_position),
                    None => Value::Absent,
                })
                .collect(),
        })
        .collect();
    let output = |row: &StoredPrediction| Output {
        value: row.value,
        class: row.class.clone(),
        score: row.score,
        probabilities: Vec::new(),
    };
    columns.push(Column {
        name: PREDICTION.to_owned(),
        values: stored
            .iter()
            .map(|row| output_value(task, &output(row)))
            .collect(),
    });
    columns.push(latency_column(stored.iter().map(|row| row.latency_ms)));
    StoredRows {
        segments: stored.into_iter().map(|row| row.segments).collect(),
        columns,
    }
}

/// Latencies as a column to be profiled; most senders report none, so a row without one does not count.
pub fn latency_column(latencies: impl Iterator<Item = Option<f64>>) -> Column {
    Column {
        name: LATENCY.to_owned(),
        values: latencies
            .map(|latency| latency.map_or(Value::Absent, Value::Number))
            .collect(),
    }
}

/// Splits one feature's values into the arrays a chunk stores.
#[must_use]
pub fn chunk_of(values: &[&Value]) -> ChunkValues {
    let word = |value: &Value| match value {
        Value::Absent | Value::Null => None,
        Value::Number(_) => Some("number"),
        Value::Integer(_) => Some("integer"),
        Value::Boolean(_) => Some("boolean"),
        Value::Text(_) => Some("text"),
        Value::Timestamp(_) => Some("timestamp"),
    };
    let mut words: Vec<&str> = values.iter().filter_map(|value| word(value)).collect();
    words.sort_unstable();
    words.dedup();
    let value_type = match words.as_slice() {
        [] => "number",
        [one] => one,
        _ => "mixed",
    };
    let absent = (0_i32..)
        .zip(values)
        .filter(|(_, v)| ***v == Value::Absent)
        .map(|(i, _)| i)
        .collect();
    let text = |value: &&Value| match (value_type, value) {
        ("text", Value::Text(text)) => Some(text.clone()),
        (_, Value::Absent | Value::Null) => None,
        // Integers beyond 2^53 and mixed columns keep every digit and type as JSON.
        (_, value) => serde_json::to_string(value).ok(),
    };
    let numbers = |value: &&Value| match value {
        Value::Number(n) => Some(*n),
        _ => None,
    };
    if value_type == "number" {
        return ChunkValues {
            value_type,
            numbers: Some(values.iter().map(numbers).collect()),
            texts: None,
            absent,
        };
    }
    ChunkValues {
        value_type,
        numbers: None,
        texts: Some(values.iter().map(text).collect()),
        absent,
    }
}

/// A feature's values as a chunk stores them.
#[derive(Debug, Clone, PartialEq)]
pub struct ChunkValues {
    pub value_type: &'static str,
    pub numbers: Option<Vec<Option<f64>>>,
    pub texts: Option<Vec<Option<String>>>,
    pub absent: Vec<i32>,
}

fn chunk_value(chunk: &FeatureChunk, position: i32) -> Value {
    if chunk.absent.contains(&position) {
        return Value::Absent;
    }
    let index = usize::try_from(position).unwrap_or(usize::MAX);
    if let Some(number) = chunk
        .numbers
        .as_ref()
        .and_then(|numbers| numbers.get(index).copied().flatten())
    {
        return Value::Number(number);
    }
    match chunk
        .texts
        .as_ref()
        .and_then(|texts| texts.get(index).cloned().flatten())
    {
        Some(text) if chunk.value_type == "text" => Value::Text(text),
        Some(json) => serde_json::from_str(&json).unwrap_or(Value::Null),
        None => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::ChunkId;

    fn expectation(feature: &str, feature_type: FeatureType) -> FeatureExpectation {
        FeatureExpectation {
            feature: feature.to_owned(),
            feature_type,
            required: true,
            minimum: None,
            maximum: None,
            categories: None,
            max_null_share: 0.0,
        }
    }

    fn yardstick(expectation: FeatureExpectation) -> Yardstick {
        let schema = Schema {
            schema_id: crate::domain::ids::SchemaId::new(DateTime::UNIX_EPOCH),
            version: 1,
            features: vec![expectation],
        };
        Yardstick::new(Some(&schema), None).expect("no grid to be wrong")
    }

    #[test]
    fn values_are_counted_by_what_the_schema_expects() {
        let text = Value::Text("NW".into());
        let cases = [
            (FeatureType::Number, Value::Number(1.5), 0),
            (FeatureType::Number, Value::Integer(2), 0),
            (FeatureType::Number, text.clone(), 1),
            (FeatureType::Integer, Value::Number(2.0), 0),
            (FeatureType::Integer, Value::Number(2.5), 1),
            (FeatureType::Category, Value::Integer(7), 0),
            (FeatureType::Category, Value::Number(7.5), 1),
            (FeatureType::Boolean, Value::Boolean(true), 0),
            (FeatureType::Boolean, Value::Integer(1), 1),
            (
                FeatureType::Timestamp,
                Value::Text("2013-03-01T00:00:00Z".into()),
                0,
            ),
            (FeatureType::Timestamp, text, 1),
        ];
        for (feature_type, value, mismatched) in cases {
            let profile = yardstick(expectation("f", feature_type))
                .profile("f", [&value].into_iter())
                .expect("counts");
            assert_eq!(
                profile.counts().mismatched,
                mismatched,
                "{value:?} as {feature_type:?}"
            );
            assert_eq!(profile.counts().rows, 1);
        }
    }

    #[test]
    fn range_and_known_categories_are_noted() {
        let mut number = expectation("f", FeatureType::Number);
        number.minimum = Some(0.0);
        number.maximum = Some(10.0);
        let values = [
            Value::Number(-1.0),
            Value::Number(0.0),
            Value::Number(10.0),
            Value::Number(11.0),
        ];
        let profile = yardstick(number)
            .profile("f", values.iter())
            .expect("counts");
        assert_eq!(profile.counts().out_of_range, 2);

        let mut category = expectation("f", FeatureType::Category);
        category.categories = Some(vec!["JFK".into()]);
        let values = [Value::Text("JFK".into()), Value::Text("SFO".into())];
        let profile = yardstick(category)
            .profile("f", values.iter())
            .expect("counts");
        assert_eq!(profile.counts().unseen, 1);
    }

    #[test]
    fn every_value_survives_its_chunk() {
        let instant = DateTime::from_timestamp(1_362_096_000, 0).expect("valid");
        let columns: [Vec<Value>; 5] = [
            vec![
                Value::Number(1.5),
                Value::Null,
                Value::Absent,
                Value::Number(f64::INFINITY),
            ],
            vec![Value::Integer(i64::MAX), Value::Absent, Value::Integer(-1)],
            vec![
                Value::Text("a".into()),
                Value::Text(String::new()),
                Value::Null,
            ],
            vec![
                Value::Text("NW".into()),
                Value::Number(320.0),
                Value::Boolean(true),
                Value::Timestamp(instant),
            ],
            vec![Value::Null, Value::Absent],
        ];
        for values in columns {
            let stored = chunk_of(&values.iter().collect::<Vec<_>>());
            let chunk = FeatureChunk {
                version_id: VersionId::new(instant),
                day: instant,
                chunk_id: ChunkId::new(instant),
                feature: "f".into(),
                value_type: stored.value_type.to_owned(),
                numbers: stored.numbers,
                texts: stored.texts,
                absent: stored.absent,
            };
            let back: Vec<Value> = (0_i32..)
                .zip(&values)
                .map(|(i, _)| chunk_value(&chunk, i))
                .collect();
            assert_eq!(back, values);
        }
    }
}

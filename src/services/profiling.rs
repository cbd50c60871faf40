//! Counting values into profiles: which type a feature should have, which cells its numbers fall into, which
//! categories are known. Settling, fitting baselines and counting again all go through [`Yardstick`], so a
//! value counts the same wherever it comes from.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::Error;
use crate::domain::batch::Output;
use crate::domain::columns::{Column, TextColumn, Value};
use crate::domain::ids::{BaselineId, GridId, ModelId, VersionId};
use crate::domain::measurement::Segment;
use crate::domain::model::Task;
use crate::domain::schema::{FeatureExpectation, FeatureType};
use crate::domain::yardstick::FeatureYardstick;
use crate::stats::grid::Grid;
use crate::stats::profile::{Counts, FeatureProfile, ProfileError};
use crate::storage::baselines::{self, Schema, StoredGrid};
use crate::storage::models::Model;
use crate::storage::predictions::{Chunk, ColumnKind};
use crate::storage::profiles::{self, ProfileKey, StoredProfile};

/// The name under which the prediction itself is profiled; no feature can have it.
pub const PREDICTION: &str = "prediction()";
/// The name under which the latency is profiled; no feature can have it.
pub const LATENCY: &str = "latency()";

/// What the values of a model are counted against.
#[derive(Debug, Clone, Default)]
pub struct Yardstick {
    pub grid_id: Option<GridId>,
    /// The baseline that the grid was fitted on.
    pub grid_of: Option<BaselineId>,
    features: HashMap<String, FeatureYardstick>,
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
            let feature = FeatureYardstick::new(Some(expectation.clone()), None);
            features.insert(expectation.feature.clone(), feature);
        }
        for feature in grid
            .iter()
            .flat_map(|g| &g.features)
            .filter(|f| f.kind == "numeric")
        {
            let cells = Grid::from_edges(feature.edges.clone(), feature.decile_edges.clone())
                .map_err(Error::internal)?;
            let entry = features.entry(feature.feature.clone()).or_default();
            entry.grid = Some(cells);
        }
        Ok(Self {
            grid_id: grid.map(|g| g.grid_id),
            grid_of: grid.map(|g| g.baseline_id),
            features,
        })
    }

    /// What is expected of a feature.
    #[must_use]
    pub fn expectation(&self, feature: &str) -> Option<&FeatureExpectation> {
        self.features.get(feature)?.expectation.as_ref()
    }

    /// Whether nothing says what the values of a feature are to be.
    #[must_use]
    pub fn is_free(&self, feature: &str) -> bool {
        let known = self.features.get(feature);
        known.is_none_or(FeatureYardstick::is_free)
    }

    /// Whether drift shows in the counts of a feature: of the latency it is no drift, and of vectors counts have nothing
    /// but the lengths.
    #[must_use]
    pub fn shows_drift(&self, feature: &str) -> bool {
        let expected = self.expectation(feature);
        feature != LATENCY && expected.is_none_or(|e| e.feature_type != FeatureType::Vector)
    }

    /// Everything that is expected, by name of the feature.
    pub fn expectations(&self) -> impl Iterator<Item = &FeatureExpectation> {
        self.features
            .values()
            .filter_map(|f| f.expectation.as_ref())
    }

    /// A column of absent values for each expected feature that none of the columns is of.
    #[must_use]
    pub fn lacking(&self, columns: &[Column], rows: usize) -> Vec<Column> {
        let lacking = self
            .expectations()
            .filter(|e| !columns.iter().any(|column| column.name == e.feature));
        lacking
            .map(|expectation| {
                let mut absent = Column::new(expectation.feature.clone());
                absent.resize(rows);
                absent
            })
            .collect()
    }

    /// The cells a feature's numbers are counted in.
    #[must_use]
    pub fn grid(&self, feature: &str) -> Option<&Grid> {
        self.features.get(feature)?.grid.as_ref()
    }

    /// Counts the values that rows of a batch have of a feature, as [`FeatureYardstick::profile`] does.
    ///
    /// # Errors
    /// When the profile counts something of another kind.
    pub fn profile(&self, column: &Column, rows: &[usize]) -> Result<FeatureProfile, Error> {
        let unknown = FeatureYardstick::default();
        let yardstick = self.features.get(&column.name).unwrap_or(&unknown);
        yardstick.profile(column, rows).map_err(Error::internal)
    }
}

/// The prediction as a value to be profiled.
#[must_use]
pub fn output_value(task: Task, output: &Output) -> Value<'_> {
    match task {
        Task::Regression | Task::Forecast => output.value.map_or(Value::Null, Value::Number),
        // The place says nothing where every list has all of them.
        Task::Ranking => output
            .score
            .or(output.value)
            .map_or(Value::Null, Value::Number),
        Task::Binary => match (output.score, &output.class) {
            (Some(score), _) => Value::Number(score),
            (None, Some(class)) => Value::Text(class.into()),
            (None, None) => Value::Null,
        },
        Task::Multiclass => match &output.class {
            Some(class) => Value::Text(class.into()),
            None => Value::Null,
        },
    }
}

/// A version, a base window, a segment: what one set of profiles is about.
pub type GroupKey = (VersionId, DateTime<Utc>, Segment);

/// Rows of a batch by what they count for.
pub type Groups = BTreeMap<GroupKey, Vec<usize>>;

/// The value each row has of a declared segment: what was sent with it as the segment, else its feature of that
/// name.
#[must_use]
pub fn segment_texts(sent: Option<&Column>, feature: Option<&Column>, rows: usize) -> TextColumn {
    let mut texts = TextColumn::default();
    for row in 0..rows {
        let value = segment_text(sent, row).or_else(|| segment_text(feature, row));
        texts.push(value.as_deref().filter(|value| !value.is_empty()));
    }
    texts
}

fn segment_text(column: Option<&Column>, row: usize) -> Option<Cow<'_, str>> {
    match column?.get(row) {
        Value::Text(text) => Some(text),
        Value::Integer(n) => Some(n.to_string().into()),
        Value::Number(n) => Some(n.to_string().into()),
        Value::Boolean(b) => Some(if b { "true" } else { "false" }.into()),
        Value::Timestamp(_) | Value::Vector(_) | Value::Null | Value::Absent => None,
    }
}

/// The values a chunk's rows have of the segments declared now, in the model's order.
#[must_use]
pub fn chunk_segments(chunk: &Chunk, model: &Model) -> Vec<TextColumn> {
    let of_segment = |name: &String| {
        let sent = chunk.column(ColumnKind::Segment, name);
        segment_texts(sent, chunk.column(ColumnKind::Feature, name), chunk.rows())
    };
    model.segments.iter().map(of_segment).collect()
}

/// The values a row has of the declared segments, as outcomes keep them: empty where it has none.
#[must_use]
pub fn segment_values(segments: &[TextColumn], row: usize) -> Vec<String> {
    let values = segments.iter().map(|texts| texts.get(row));
    values
        .map(|value| value.unwrap_or_default().to_owned())
        .collect()
}

/// The overall segment and one per declared segment that a row with these values has a value of.
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

/// Puts rows into groups: each base window's own, and those of each value of each declared segment. `version`
/// gives a row's version, `segments` are in the order of the model's.
#[must_use]
pub fn group(
    model: &Model,
    rows: &[usize],
    version: impl Fn(usize) -> VersionId,
    predicted_at: impl Fn(usize) -> DateTime<Utc>,
    segments: &[TextColumn],
) -> Groups {
    let mut windows: BTreeMap<(VersionId, DateTime<Utc>), Vec<usize>> = BTreeMap::new();
    for &row in rows {
        let start = model.base_window.window_at(predicted_at(row)).start;
        windows.entry((version(row), start)).or_default().push(row);
    }
    let mut groups = Groups::new();
    for ((version_id, start), rows) in windows {
        let of_window = by_segment(model, segments, rows);
        groups.extend(
            of_window
                .into_iter()
                .map(|(segment, rows)| ((version_id, start, segment), rows)),
        );
    }
    groups
}

/// Rows by segment: all of them, and those of each value of each declared segment.
#[must_use]
pub fn by_segment(
    model: &Model,
    segments: &[TextColumn],
    rows: Vec<usize>,
) -> Vec<(Segment, Vec<usize>)> {
    let mut groups = Vec::new();
    for (name, texts) in model.segments.iter().zip(segments) {
        let mut by_value = vec![Vec::new(); texts.texts().len()];
        for &row in &rows {
            if let Some(of_value) = by_value.get_mut(texts.codes()[row] as usize) {
                of_value.push(row);
            }
        }
        let of_values = texts
            .texts()
            .zip(by_value)
            .filter(|(_, rows)| !rows.is_empty());
        groups.extend(of_values.map(|(value, rows)| {
            let segment = Segment {
                name: name.clone(),
                value: value.to_owned(),
            };
            (segment, rows)
        }));
    }
    groups.push((Segment::overall(), rows));
    groups
}

/// Groups in parts of at most so many profiles where each group has a profile of so many columns; of one group at least.
#[must_use]
pub fn parts(groups: Groups, columns: usize, profiles: usize) -> Vec<Groups> {
    let most = (profiles / columns.max(1)).max(1);
    let mut parts = Vec::with_capacity(groups.len().div_ceil(most));
    let mut groups = groups.into_iter();
    loop {
        let part: Groups = groups.by_ref().take(most).collect();
        if part.is_empty() {
            return parts;
        }
        parts.push(part);
    }
}

/// Counts rows into fresh profiles, one per group and column.
///
/// # Errors
/// As for [`Yardstick::profile`].
pub fn count(
    yardstick: &Yardstick,
    groups: &Groups,
    columns: &[&Column],
) -> Result<Vec<(ProfileKey, FeatureProfile)>, Error> {
    let mut counted = Vec::with_capacity(groups.len() * columns.len());
    for ((version_id, window_start, segment), rows) in groups {
        for column in columns {
            let profile = yardstick.profile(column, rows)?;
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

/// Adds counted profiles to others in memory.
///
/// # Errors
/// When they do not fit together.
pub fn gather(
    yardstick: &Yardstick,
    gathered: &mut BTreeMap<ProfileKey, FeatureProfile>,
    counted: Vec<(ProfileKey, FeatureProfile)>,
) -> Result<(), Error> {
    for (key, profile) in counted {
        match gathered.remove(&key) {
            Some(sum) => {
                let sum = merged_profile(sum, &profile, yardstick.is_free(&key.feature))?;
                gathered.insert(key, sum)
            }
            None => gathered.insert(key, profile),
        };
    }
    Ok(())
}

/// What merging profiles into those stored has shown.
#[derive(Debug, Default)]
pub struct Merged {
    /// The windows of which a stored profile is damaged: it stays as it is, so that nobody takes the new rows for all
    /// rows, until the caller has the window counted again (`recount::rebuild`).
    pub damaged: BTreeSet<(VersionId, DateTime<Utc>)>,
    /// How many more rows than before have a category that is counted together with others, over all features.
    pub beyond: u64,
}

impl Merged {
    /// Adds what merging others has shown.
    pub fn add(&mut self, other: Self) {
        self.damaged.extend(other.damaged);
        self.beyond += other.beyond;
    }
}

/// Merges profiles into those stored. The caller holds the model's lock.
///
/// # Errors
/// When the database fails.
pub async fn merge(
    conn: &mut PgConnection,
    model: &Model,
    yardstick: &Yardstick,
    counted: impl IntoIterator<Item = (ProfileKey, FeatureProfile)>,
) -> Result<Merged, Error> {
    let grid_id = yardstick.grid_id;
    let mut merged: BTreeMap<ProfileKey, FeatureProfile> = counted.into_iter().collect();
    let mut windows: BTreeMap<(VersionId, DateTime<Utc>), Vec<Segment>> = BTreeMap::new();
    for key in merged.keys() {
        let segments = windows
            .entry((key.version_id, key.window_start))
            .or_default();
        // Keys are in the order of their segments.
        if segments.last() != Some(&key.segment) {
            segments.push(key.segment.clone());
        }
    }
    let mut damaged = BTreeSet::new();
    let mut known = 0;
    for (window, segments) in windows {
        let segments: Vec<&Segment> = segments.iter().collect();
        for stored in profiles::of_segments(conn, window, &segments, grid_id).await? {
            let Some(profile) = merged.get_mut(&stored.key) else {
                continue;
            };
            let sum = FeatureProfile::decode(&stored.profile)
                .map_err(Error::internal)
                .and_then(|sum| {
                    known += rest_of_feature(&stored.key, &sum);
                    merged_profile(sum, profile, yardstick.is_free(&stored.key.feature))
                });
            match sum {
                Ok(sum) => *profile = sum,
                Err(error) => {
                    tracing::error!(key = ?stored.key, error = &error as &dyn std::error::Error, "a stored profile is damaged");
                    merged.remove(&stored.key);
                    damaged.insert(window);
                }
            }
        }
    }
    let rest: u64 = (merged.iter())
        .map(|(key, profile)| rest_of_feature(key, profile))
        .sum();
    store(conn, model, grid_id, merged).await?;
    Ok(Merged {
        damaged,
        beyond: rest.saturating_sub(known),
    })
}

/// The rows of a feature whose category has no count of its own; each row once, so not those of segments.
fn rest_of_feature(key: &ProfileKey, profile: &FeatureProfile) -> u64 {
    if key.segment.is_overall() && key.feature != PREDICTION {
        profile.rest()
    } else {
        0
    }
}

/// Stores profiles in the place of those of the same key. The caller holds the model's lock.
///
/// # Errors
/// When the database fails.
pub async fn store(
    conn: &mut PgConnection,
    model: &Model,
    grid_id: Option<GridId>,
    counted: BTreeMap<ProfileKey, FeatureProfile>,
) -> Result<(), Error> {
    let rows: Vec<StoredProfile> = counted
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

/// The sum of two profiles of a feature, of which nothing says what its values are to be if it `is_free`.
fn merged_profile(
    mut sum: FeatureProfile,
    added: &FeatureProfile,
    is_free: bool,
) -> Result<FeatureProfile, Error> {
    let differ = sum.kind() != added.kind() || sum.has_no_kind() || added.has_no_kind();
    if is_free && differ && !is_untold(&sum) && !is_untold(added) {
        sum = sum.without_kind();
        sum.merge(&added.without_kind()).map_err(Error::internal)?;
        return Ok(sum);
    }
    match sum.merge(added) {
        Ok(()) => Ok(sum),
        // Nulls tell nothing of the kind.
        Err(ProfileError::DifferentKinds) if is_untold(&sum) => {
            let mut told = added.clone();
            note_untold(&mut told, sum.counts());
            Ok(told)
        }
        Err(ProfileError::DifferentKinds) if is_untold(added) => {
            note_untold(&mut sum, added.counts());
            Ok(sum)
        }
        // What is expected may change from numbers to text within a window; what came first stays.
        Err(ProfileError::DifferentKinds) => {
            sum.observe_mismatch(added.counts().rows);
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
    profile.observe_absent(counts.absent);
    profile.observe_null(counts.nulls);
}

/// Latencies as a column to be profiled; most senders report none, so a row without one does not count.
pub fn latency_column(latencies: impl Iterator<Item = Option<f64>>) -> Column {
    let values = latencies.map(|latency| latency.map_or(Value::Absent, Value::Number));
    Column::of(LATENCY, values)
}

#[cfg(test)]
mod tests {
    use super::*;

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
            (FeatureType::Category, Value::Number(7.5), 0),
            (FeatureType::Boolean, Value::Boolean(true), 0),
            (FeatureType::Boolean, Value::Integer(1), 0),
            (FeatureType::Boolean, Value::Integer(2), 1),
            (
                FeatureType::Timestamp,
                Value::Text("2013-03-01T00:00:00Z".into()),
                0,
            ),
            (FeatureType::Timestamp, text, 1),
        ];
        for (feature_type, value, mismatched) in cases {
            let column = Column::of("f", [value.clone()]);
            let profile = yardstick(FeatureExpectation::of_type("f", feature_type))
                .profile(&column, &[0])
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
        let mut number = FeatureExpectation::of_type("f", FeatureType::Number);
        number.minimum = Some(0.0);
        number.maximum = Some(10.0);
        let values = [
            Value::Number(-1.0),
            Value::Number(0.0),
            Value::Number(10.0),
            Value::Number(11.0),
        ];
        let profile = yardstick(number)
            .profile(&Column::of("f", values), &[0, 1, 2, 3])
            .expect("counts");
        assert_eq!(profile.counts().out_of_range, 2);

        let mut category = FeatureExpectation::of_type("f", FeatureType::Category);
        category.categories = Some(vec!["JFK".into()]);
        let values = [Value::Text("JFK".into()), Value::Text("SFO".into())];
        let profile = yardstick(category)
            .profile(&Column::of("f", values), &[0, 1])
            .expect("counts");
        assert_eq!(profile.counts().unseen, 1);
    }
}

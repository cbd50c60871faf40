//! Which metrics and attributes are known, under all the names that programs give them. The names are data
//! (`table.toml`), because conventions rename them faster than code should change.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde::Deserialize;

/// What spans that call generative models give.
pub const CALL_DURATION: &str = "traced_call_duration";
/// Calls that ended with an error.
pub const CALL_FAILURES: &str = "traced_call_failures";
/// Tokens that were sent.
pub const CALL_INPUT_TOKENS: &str = "traced_input_tokens";
/// Tokens that came back.
pub const CALL_OUTPUT_TOKENS: &str = "traced_output_tokens";

/// How values of several series become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Combine {
    /// Their mean: utilisation of several machines.
    Mean,
    /// Their sum: memory, requests.
    Sum,
    /// The largest.
    Max,
}

/// What can be told about a model in service.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasureInfo {
    pub name: String,
    pub title: String,
    /// Of the values as kept: `ratio`, `By`, `s`, `1`, `W`, `Cel`, `{token}`.
    pub unit: String,
    pub combine: Combine,
}

/// A metric's name elsewhere.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alias {
    pub metric: String,
    pub measure: String,
    /// What its values are multiplied with. Never guessed from a unit or a suffix.
    #[serde(default = "one")]
    pub scale: f64,
    /// Attributes that a point must have for this alias to hold.
    #[serde(default)]
    pub when: HashMap<String, String>,
}

fn one() -> f64 {
    1.0
}

/// Attributes of spans that call generative models.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calls {
    /// Says that a span is such a call, and what kind.
    pub operation: Vec<String>,
    pub model: Vec<String>,
    pub input_tokens: Vec<String>,
    pub output_tokens: Vec<String>,
}

/// All that is known.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    pub measure: Vec<MeasureInfo>,
    pub alias: Vec<Alias>,
    pub calls: Calls,
    /// Attributes that name the model, the most telling first.
    pub model: Vec<String>,
    /// Attributes that say where a series comes from.
    pub source: Vec<String>,
    #[serde(skip)]
    by_metric: HashMap<String, Vec<usize>>,
}

impl Table {
    fn parse(text: &str) -> Result<Self, toml::de::Error> {
        let mut table: Self = toml::from_str(text)?;
        for (position, alias) in table.alias.iter().enumerate() {
            let places = table.by_metric.entry(alias.metric.clone()).or_default();
            places.push(position);
        }
        Ok(table)
    }

    /// What is known of a measure.
    #[must_use]
    pub fn measure(&self, name: &str) -> Option<&MeasureInfo> {
        self.measure.iter().find(|measure| measure.name == name)
    }

    /// The aliases of a metric. Counters are looked for with and without `_total`.
    pub fn aliases<'t>(&'t self, metric: &str) -> impl Iterator<Item = &'t Alias> {
        let known = self.by_metric.get(metric).or_else(|| {
            self.by_metric
                .get(metric.strip_suffix("_total").unwrap_or(metric))
                .or_else(|| self.by_metric.get(&format!("{metric}_total")))
        });
        let places = known.map_or(&[][..], Vec::as_slice);
        places.iter().map(|place| &self.alias[*place])
    }
}

/// The table that is built in.
pub fn table() -> &'static Table {
    static TABLE: LazyLock<Table> = LazyLock::new(|| {
        Table::parse(include_str!("table.toml")).expect("a test has read the same file")
    });
    &TABLE
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_table_can_be_read_and_agrees_with_itself() {
        let table = table();
        let names: BTreeSet<&str> = table.measure.iter().map(|m| m.name.as_str()).collect();
        assert_eq!(names.len(), table.measure.len(), "a measure is there twice");
        let units = [
            "ratio",
            "By",
            "s",
            "1",
            "W",
            "Cel",
            "{token}",
            "{request}",
            "{cpu}",
        ];
        for measure in &table.measure {
            assert!(units.contains(&measure.unit.as_str()), "{}", measure.name);
            assert!(!measure.title.is_empty());
        }
        let mut used = BTreeSet::new();
        let mut seen = BTreeSet::new();
        for alias in &table.alias {
            assert!(names.contains(alias.measure.as_str()), "{}", alias.measure);
            assert!(alias.scale.is_finite() && alias.scale > 0.0);
            used.insert(alias.measure.as_str());
            let mut when: Vec<_> = alias.when.iter().collect();
            when.sort();
            assert!(
                seen.insert((&alias.metric, format!("{when:?}"))),
                "{} twice",
                alias.metric
            );
        }
        used.extend([
            CALL_DURATION,
            CALL_FAILURES,
            CALL_INPUT_TOKENS,
            CALL_OUTPUT_TOKENS,
        ]);
        assert_eq!(
            used, names,
            "a measure that nothing gives, or the other way round"
        );
    }

    #[test]
    fn names_of_servers_are_known_with_their_scales() {
        for (metric, measure, scale) in [
            ("system.cpu.utilization", "cpu_utilization", 1.0),
            ("DCGM_FI_DEV_GPU_UTIL", "gpu_utilization", 0.01),
            ("DCGM_FI_DEV_GPU_UTIL_RATIO", "gpu_utilization", 0.01),
            ("DCGM_FI_PROF_GR_ENGINE_ACTIVE", "gpu_engine_active", 1.0),
            ("DCGM_FI_DEV_FB_USED", "gpu_memory_used", 1_048_576.0),
            ("vllm:kv_cache_usage_perc", "kv_cache_utilization", 1.0),
            ("vllm:gpu_cache_usage_perc", "kv_cache_utilization", 1.0),
            ("nv_inference_request_duration_us", "request_seconds", 1e-6),
            ("http.server.request.duration", "request_duration", 1.0),
            ("bentoml_service_request_total", "requests", 1.0),
            ("bentoml_service_request", "requests", 1.0),
        ] {
            let found: Vec<_> = table().aliases(metric).collect();
            assert_eq!(found.len(), 1, "{metric}");
            assert_eq!(
                (found[0].measure.as_str(), found[0].scale),
                (measure, scale)
            );
        }
        assert_eq!(table().aliases("jvm.memory.used").count(), 0);
    }
}

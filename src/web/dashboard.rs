//! What the fleet and model pages show, as data: the files in `dashboards/`, compiled in. A page that
//! people may want to arrange in their own way is described, not programmed.

use std::sync::LazyLock;

use serde::Deserialize;

use crate::domain::measurement::Measure;

/// The arrangement of the model page.
pub static MODEL: LazyLock<ModelDashboard> = LazyLock::new(|| {
    serde_saphyr::from_str(include_str!("../../dashboards/model.yaml"))
        .expect("dashboards/model.yaml is compiled in and parsed by a test")
});

/// The arrangement of the fleet page.
pub static FLEET: LazyLock<FleetDashboard> = LazyLock::new(|| {
    serde_saphyr::from_str(include_str!("../../dashboards/fleet.yaml"))
        .expect("dashboards/fleet.yaml is compiled in and parsed by a test")
});

/// Panels from top to bottom.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelDashboard {
    pub panels: Vec<Panel>,
}

/// One panel of the model page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Panel {
    pub kind: PanelKind,
    pub title: String,
    #[serde(default)]
    pub measures: Vec<Measure>,
    #[serde(default)]
    pub beside: Vec<Measure>,
    #[serde(default)]
    pub show: Show,
}

/// What a panel is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PanelKind {
    Series,
    /// Values with the sentence that says what they mean.
    Verdicts,
    Heatmap,
    Findings,
    Segments,
    Parts,
    Versions,
    Alerts,
}

/// Which alerts a panel shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Show {
    Open,
    #[default]
    Recent,
}

/// Columns from left to right.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FleetDashboard {
    pub columns: Vec<Column>,
}

/// One column of the fleet page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    pub kind: ColumnKind,
    pub title: String,
    #[serde(default)]
    pub measures: Vec<Measure>,
    #[serde(default = "default_windows")]
    pub windows: usize,
}

/// What a column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnKind {
    Quality,
    Champion,
    Drift,
    Schema,
    Traffic,
    Errors,
    Labels,
    Seen,
}

fn default_windows() -> usize {
    16
}

/// The machine names of measures, for a query.
#[must_use]
pub fn names(measures: &[Measure]) -> Vec<String> {
    measures.iter().map(|m| m.as_str().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_dashboards_parse_and_show_every_kind() {
        for kind in [
            PanelKind::Series,
            PanelKind::Heatmap,
            PanelKind::Findings,
            PanelKind::Segments,
            PanelKind::Parts,
            PanelKind::Versions,
            PanelKind::Alerts,
            PanelKind::Verdicts,
        ] {
            assert!(MODEL.panels.iter().any(|p| p.kind == kind), "{kind:?}");
        }
        for kind in [
            ColumnKind::Quality,
            ColumnKind::Champion,
            ColumnKind::Drift,
            ColumnKind::Schema,
            ColumnKind::Traffic,
            ColumnKind::Errors,
            ColumnKind::Labels,
            ColumnKind::Seen,
        ] {
            assert!(FLEET.columns.iter().any(|c| c.kind == kind), "{kind:?}");
        }
    }

    #[test]
    fn a_word_that_is_not_known_is_an_error() {
        let unknown = "panels:\n  - kind: pie\n    title: No\n";
        assert!(serde_saphyr::from_str::<ModelDashboard>(unknown).is_err());
        let measure = "panels:\n  - kind: series\n    title: No\n    measures: [vibes]\n";
        assert!(serde_saphyr::from_str::<ModelDashboard>(measure).is_err());
    }
}

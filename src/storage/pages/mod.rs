//! What the pages read. These are queries shaped by what a person wants to see at once, not by an
//! aggregate: they join freely, change nothing, and always name the project, so that a row of another
//! project cannot be reached by guessing its id.

mod alerts;
mod deliveries;
mod fleet;
mod frame;
mod model;
mod runs;
mod settings;

pub use alerts::{AlertEvent, AlertRow, alert, alert_events, alerts, alerts_of_model};
pub use deliveries::{
    AttemptRow, DeliveryRow, attempts, deliveries, deliveries_of_alert, delivery,
};
pub use fleet::{
    DetectorRow, FeatureCount, FleetModel, ServedValue, drifted_features, fleet, label_detectors,
    schema_findings, served_values,
};
pub use frame::{Durability, Frame, durability, frame};
pub use model::{
    DeploymentRow, Finding, HeatValue, Measured, ModelEvent, ModelRow, SegmentValue, SeriesValue,
    VerdictRow, VersionRow, deployments, events, findings, heat_values, measured, model_by_name,
    part_series, rules, runbooks, segment_values, series, verdicts, versions,
};
pub use runs::{
    ApprovalRow, PipelineRunRow, RunRow, StepRow, approvals, pipeline_runs, run, runs_of_alert,
    runs_of_model, steps,
};
pub use settings::{DefinitionRow, definitions};

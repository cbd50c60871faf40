//! One file per page: its view, its handler, and how the one is made from what the handler reads.

pub mod alert;
pub mod alerts;
pub mod baselines;
pub mod causes;
pub mod deliveries;
pub mod fleet;
pub mod intake;
pub mod model;
pub mod rules;
pub mod runs;
pub mod schema;
pub mod settings;
pub mod sign_in;
pub mod telemetry;

#[cfg(test)]
mod tests;

//! Bellwether watches machine-learning models in production: predictions and labels come in; schema skew,
//! drift and quality are measured in Postgres; people see health on pages and get alerts that say what to
//! do; runbooks diagnose, ask for approval, retrain, compare the candidate, promote it and watch it.
//!
//! The way of the data is the way through the modules: `http` and `cli` translate the outside world through
//! `formats` into `domain::batch`; `services` land, settle, evaluate, alert, deliver and respond; `storage`
//! holds all SQL. `tests/it/architecture.rs` checks which module may use which.

pub mod app;
pub mod archive;
pub mod cli;
pub mod config;
pub mod domain;
pub mod faults;
pub mod formats;
pub mod http;
pub mod notify;
pub mod outbound;
pub mod pipelines;
pub mod scheduler;
pub mod services;
pub mod stats;
pub mod storage;
pub mod telemetry;
pub mod web;

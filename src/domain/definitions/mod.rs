//! x
pub(crate) mod problem;
mod yaml;

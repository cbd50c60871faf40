//! The JSON API: translates between HTTP and `services`, and holds no rules.

pub mod auth;
pub mod headers;
pub mod problem;

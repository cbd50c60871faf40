//! Scenario, reference, browser and architecture tests, in one binary because each further one would link the
//! whole library again.

mod app;
mod architecture;
mod browser;
mod demo;
mod exactly_once;
mod fares;
mod reference;
mod snapshot;

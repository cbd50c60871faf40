//! Scenario, reference and architecture tests in one binary.

mod architecture;
mod browser;
mod reference;

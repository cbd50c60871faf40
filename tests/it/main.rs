//! The scenario tests, in one binary because each further one would link the whole library again.

mod architecture;
mod browser;

//! What Bellwether knows: ids, time, batches, models, measurements, rules and their lifecycle, runbooks and
//! gates. Everything here is pure and synchronous: no I/O, no clock, no database. A decision is a function
//! from values to values and carries its reason as data, so that live work, tests and simulations share it.

pub mod access;
pub mod alert;
pub mod archive;
pub mod area;
pub mod attributions;
pub mod batch;
pub mod causes;
pub mod clock;
pub mod columns;
pub mod definitions;
pub mod drift;
pub mod erasure;
pub mod estimate;
pub mod gate;
pub mod ids;
pub mod inference;
pub mod joint;
pub mod labelled;
pub mod mapping;
pub mod measurement;
pub mod message;
pub mod model;
pub mod names;
pub mod objective;
pub mod packing;
pub mod pipeline;
pub mod proposal;
pub mod quality;
pub mod reference;
pub mod retention;
pub mod row_hashes;
pub mod row_measures;
pub mod rule;
pub mod runbook;
pub mod sample;
pub mod schema;
pub mod sequential;
pub mod shift;
pub mod skew;
pub mod telemetry;
pub mod times;
pub mod window;
pub mod yardstick;

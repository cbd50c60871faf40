//! Scenario, reference, browser and architecture tests, in one binary because each further one would link the
//! whole library again.

mod alerts;
mod app;
mod architecture;
mod backpressure;
mod baselines;
mod browser;
mod caps;
mod cloudevents;
mod compare;
mod damage;
mod demo;
mod exactly_once;
mod fares;
mod floods;
mod fuzz;
mod late_data;
mod messages;
mod migrations;
mod otlp;
mod poison;
mod proxy;
mod quality;
mod recipes;
mod reference;
mod references;
mod response;
mod row_measures;
mod schema_import;
mod schema_skew;
mod schemas;
mod served;
mod shift;
mod snapshot;
mod tasks;

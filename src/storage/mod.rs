//! Everything that is kept: all SQL, one file per aggregate, and the Postgres server itself when none is given.

pub mod cluster;

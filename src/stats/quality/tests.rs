//! What all measures have in common: golden values, and an answer to every degenerate input.

mod degenerate;
mod golden;

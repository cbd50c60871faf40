//! One decoder per wire format.

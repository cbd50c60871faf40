//! Transactions and the order of work: every change goes through here, whoever asks for it.

pub mod access;
pub mod error;
pub mod request_id;

//! Rigs that tests share.

pub mod fault_server;

//! Test servers shared by unit and integration tests.

pub mod fault_server;
#[cfg(test)]
pub(crate) mod sample_plan;
#[cfg(test)]
pub(crate) mod sample_request;
#[cfg(test)]
pub(crate) mod step_harness;

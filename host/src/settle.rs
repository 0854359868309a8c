//! Waiting for a condition.

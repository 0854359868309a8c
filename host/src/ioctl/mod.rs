//! Kernel calls.

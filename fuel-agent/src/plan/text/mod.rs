//! A plan for people and for programs: step texts, disk maps, the listing, JSON, and how two plans differ.

pub(super) mod describe;
pub mod diff;
pub(super) mod format;
pub(super) mod json;
mod listing;
pub(super) mod map;
mod render;
mod width;

pub use width::Width;

//! The agent: `provision.json` in, a machine that boots its own system out.
//!
//! ```text
//!  provision.json ──request::load──▶ Request ───┐
//!  /sys or a file ──inventory::probe▶ Inventory ┼─ plan::plan ─▶ Plan ── sequence: apply ──▶ Report
//!  images ──────────source::look────▶ Sources ──┘   (pure)                  │
//!                                                                   events: bars, lines, JSON, log
//! ```
//!
//! Arrows point one way. `model` is the ground floor, known to all; then `request`, `inventory` <- `plan` <- `sequence`;
//! `plan`, `stream` <- `apply` <- `sequence` <- the sub-commands. `plan` touches nothing; `apply` decides nothing. `tests/boundaries.rs` holds that.

pub mod apply;
pub mod cli;
pub mod cloud;
pub mod events;
pub mod http;
pub mod inventory;
pub mod model;
pub mod plan;
pub mod pool;
pub mod report;
pub mod request;
pub mod run;
pub mod sequence;
pub mod settings;
pub mod source;
pub mod stream;
#[cfg(any(test, feature = "fixtures"))]
pub mod testing;
pub mod tools;
mod wrap;

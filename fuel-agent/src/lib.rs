//! The agent: installs the system that `provision.json` describes, so that the machine boots it.
//!
//! ```text
//!  provision.json ──request::load──▶ Request ───┐
//!  /sys or a file ──inventory::probe▶ Inventory ┼─ plan::plan ─▶ Plan ── sequence: apply ──▶ Report
//!  images ──source::probe_images────▶ Sources ──┘   (pure)                  │
//!                                                                   events: bars, lines, JSON, log
//! ```
//!
//! The rooms, from the bottom up; each imports only what stands above it in this list, and `tests/boundaries` holds
//! that.
//!
//! ```text
//!   tools       the programs that the agent starts
//!   model       the ground floor, pure: storage, inventory, addresses, plan and step, stages, errors, report data
//!   wrap, pool  text in lines; a fixed number of buffers
//!   request     `provision.json`, in every dialect, to one Request
//!   inventory   what the machine has
//!   events      progress and warnings, and their sinks
//!   http        HTTP, and nothing else
//!   source      what an image is, and where its bytes come from
//!   settings    all layers of settings as one
//!   cloud       the data for cloud-init
//!   plan        the decision, pure; which disk is meant
//!   stream      the data path: decode, verify, write
//!   apply       effects, without decisions
//!   report      what happened
//!   sequence    the stages in their order
//!   cli, run    the command line and its sub-commands
//!   testing     rigs that tests share
//! ```
//!
//! Where new code goes: docs/design.md.

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

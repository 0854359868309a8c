//! Composes the ramdisk: one reproducible archive of the static agent, Debian packages and kernel modules.
//!
//! ```text
//!   machine's apt ──sources──> private apt ──resolve──> Lock ──fetch──> package files ──unpack──> trees
//!                                                                                                  │
//!   recipe (which files) ── elf (which libraries) ── modules (which drivers) ── files/ (init) ──> Tree
//!                                                                                                  │
//!                                           vmlinuz, ramdisk.img, ramdisk.manifest.json <── archive ┘
//! ```
//!
//! - [`compose`]: the build; [`inspect`]: content of a finished ramdisk
//! - `resolve`: chooses exact package files, by `apt-sources`
//! - [`recipe`], `elf`, `modules`, `unpack`: choose files of the packages
//! - `tree`, `archive`, `manifest`, `bom`: the output
//!
//! No program of the packages is ever executed.

mod archive;
mod authorities;
mod base;
mod bom;
pub mod cli;
pub mod compose;
mod elf;
pub mod error;
mod host_key;
pub mod inspect;
mod manifest;
mod modules;
pub mod recipe;
mod resolve;
mod tools;
mod tree;
mod unpack;

/// Debian's name of the ramdisk's architecture, the only one supported.
const ARCHITECTURE: &str = "amd64";

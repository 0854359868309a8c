//! Composes the ramdisk: the static agent, Debian packages and kernel modules to one reproducible archive.
//!
//! ```text
//!   machine's apt ──sources──> private apt ──resolve──> Lock ──fetch──> package files ──unpack──> trees
//!                                                                                                  │
//!   recipe (which files) ── elf (which libraries) ── modules (which drivers) ── files/ (init) ──> Tree
//!                                                                                                  │
//!                                           vmlinuz, ramdisk.img, ramdisk.manifest.json <── archive ┘
//! ```
//!
//! - [`compose`]: the walk; [`inspect`]: what is in a finished ramdisk
//! - [`apt`]: Debian's archive through apt, with a state of its own
//! - [`lock`], [`resolve`]: which package files, once and for all
//! - [`recipe`], [`elf`], [`modules`], [`unpack`]: which of their files
//! - [`tree`], [`archive`], [`manifest`]: the bytes that come out
//!
//! Nothing of the packages is ever executed here.

pub mod apt;
pub mod archive;
pub mod base;
pub mod cli;
pub mod compose;
pub mod elf;
pub mod error;
pub mod inspect;
pub mod lock;
pub mod manifest;
pub mod modules;
pub mod recipe;
pub mod resolve;
mod tools;
pub mod tree;
pub mod unpack;

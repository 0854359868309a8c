//! The command line; the doc comments are the help.

mod build;
mod keys;
mod pack;
mod publish;

pub(crate) use build::Build;
#[cfg(test)]
pub(crate) use build::Distribution;
pub(crate) use keys::{Keygen, Sign, Verify};
pub(crate) use pack::{Kind, Pack, Packing, What};
pub(crate) use publish::{Inspect, Printed, Publish};

use clap::{Parser, Subcommand};

/// Makes operating-system images that `provision` writes.
#[derive(Debug, Parser)]
#[command(name = "image-builder", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Builds an image from a distribution's packages.
    Build(Box<Build>),
    /// Packs a disk or filesystem image: raw, qcow2, VMDK, gz, xz, zst, bz2, or a block device.
    Pack(Box<Pack>),
    /// Prints what a packed image is, and checks it.
    Inspect(Inspect),
    /// Makes a key pair for signing manifests.
    Keygen(Keygen),
    /// Signs a manifest, as minisign would.
    Sign(Sign),
    /// Checks the signature of a manifest.
    Verify(Verify),
    /// Lays out a packed image in a folder that any web server can serve.
    Publish(Publish),
}

//! The command line; the doc comments are the help texts.

mod build;
mod keys;
mod pack;
mod publish;

pub(crate) use build::Build;
#[cfg(test)]
pub(crate) use build::Distribution;
pub(crate) use keys::{Keygen, Sign, Verify};
pub(crate) use pack::{ImageOptions, Kind, Pack, Packing};
pub(crate) use publish::{Inspect, OutputFormat, Publish};

use clap::{Parser, Subcommand};

/// Makes operating-system images that `provision` writes.
#[derive(Debug, Parser)]
#[command(name = "image-builder", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// The sub-command.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The sub-commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Builds an image from a distribution's packages.
    Build(Box<Build>),
    /// Packs a disk or filesystem image: raw, qcow2, VMDK, gz, xz, zst, bz2, or a block device.
    Pack(Box<Pack>),
    /// Prints the properties of a packed image, and checks it.
    Inspect(Inspect),
    /// Makes a key pair to sign images with.
    Keygen(Keygen),
    /// Signs an image or any other file, compatibly with minisign.
    Sign(Sign),
    /// Checks the signature of an image or any other file.
    Verify(Verify),
    /// Copies a packed image into a folder that a web server serves.
    Publish(Publish),
}

//! Options of `inspect` and `publish`.

use std::path::PathBuf;

use clap::Args;

/// Formats of printed results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum OutputFormat {
    /// Lines of text.
    Text,
    /// One JSON object.
    Json,
}

/// Options of `inspect`.
#[derive(Args, Debug)]
pub(crate) struct Inspect {
    /// The manifest, or an image that it lists.
    pub(crate) image: PathBuf,
    /// Output format.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: OutputFormat,
    /// Read all of the images and check the digests of every chunk and of the whole.
    #[arg(long)]
    pub(crate) check: bool,
    /// Require a signature by this public key: its base64 line, or a file with it; may be given more than once, then
    /// any of them is accepted.
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Vec<String>,
}

/// Options of `publish`.
#[derive(Args, Debug)]
pub(crate) struct Publish {
    /// The manifest, or an image that it lists.
    pub(crate) image: PathBuf,
    /// Folder that the web server serves; NAME/RELEASE/, NAME/latest and index.json are written to it.
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,
    /// Require a signature by this public key: its base64 line, or a file with it; may be given more than once, then
    /// any of them is accepted.
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Vec<String>,
}

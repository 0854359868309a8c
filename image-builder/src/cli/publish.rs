//! Options of `inspect` and `publish`.

use std::path::PathBuf;

use clap::Args;

/// How something is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Printed {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Options of `inspect`.
#[derive(Args, Debug)]
pub(crate) struct Inspect {
    /// The manifest, or an image that it lists.
    pub(crate) image: PathBuf,
    /// How it is printed.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Printed,
    /// Read the images through: every chunk's digests, and those of the whole.
    #[arg(long)]
    pub(crate) check: bool,
    /// A public key that must have signed it: its base64 line, or a file that holds it; may be given more than once.
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Vec<String>,
}

/// Options of `publish`.
#[derive(Args, Debug)]
pub(crate) struct Publish {
    /// The manifest, or an image that it lists.
    pub(crate) image: PathBuf,
    /// Folder that a web server serves; it gets NAME/RELEASE/, NAME/latest and index.json.
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,
    /// A public key that must have signed it: its base64 line, or a file that holds it; may be given more than once.
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Vec<String>,
}

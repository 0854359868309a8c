//! Options of `keygen`, `sign` and `verify`.

use std::path::PathBuf;

use clap::Args;

/// Options of `keygen`.
#[derive(Args, Debug)]
pub(crate) struct Keygen {
    /// File to write the secret key to; the public key gets the same name with `.pub` appended. Neither may exist.
    pub(crate) key: PathBuf,
    /// File whose first line is the password to encrypt the secret key with; by default it is not encrypted.
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
}

/// Options of `sign`.
#[derive(Args, Debug)]
pub(crate) struct Sign {
    /// An image or a manifest: signs the manifest, and the metadata (NAME.yaml) beside it. An image without a manifest:
    /// signs the metadata that names it. Any other file: signs the file. The signature of FILE is written to
    /// FILE.minisig.
    pub(crate) image: PathBuf,
    /// The secret key, made by `keygen` or minisign.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// File whose first line is the password of the secret key.
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
}

/// Options of `verify`.
#[derive(Args, Debug)]
pub(crate) struct Verify {
    /// What was signed, named as for `sign`.
    pub(crate) image: PathBuf,
    /// Public key: its base64 line, or a file with it; may be given more than once, then any of them is accepted.
    #[arg(long, value_name = "KEY", required = true)]
    pub(crate) key: Vec<String>,
    /// Refuse releases with a smaller number.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) min_release: u64,
}

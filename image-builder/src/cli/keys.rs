//! Options of `keygen`, `sign` and `verify`.

use std::path::PathBuf;

use clap::Args;

/// Options of `keygen`.
#[derive(Args, Debug)]
pub(crate) struct Keygen {
    /// File that gets the secret key; the public key goes beside it, with `.pub` at its end. Neither may be there yet.
    pub(crate) key: PathBuf,
    /// File whose first line is the password that the secret key is locked with; none leaves it unlocked.
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
}

/// Options of `sign`.
#[derive(Args, Debug)]
pub(crate) struct Sign {
    /// The manifest, or an image that it lists. The signature goes beside it: NAME.manifest.json.minisig.
    pub(crate) image: PathBuf,
    /// The secret key, as `keygen` or minisign made it.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// File whose first line is the password of the secret key.
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
}

/// Options of `verify`.
#[derive(Args, Debug)]
pub(crate) struct Verify {
    /// The manifest, or an image that it lists.
    pub(crate) image: PathBuf,
    /// A public key: its base64 line, or a file that holds it; may be given more than once.
    #[arg(long, value_name = "KEY", required = true)]
    pub(crate) key: Vec<String>,
    /// Refuse a release with a smaller number.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) min_release: u64,
}

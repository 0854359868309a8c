//! The installed system's tree, mounted for writing files into it.

use std::path::PathBuf;

/// The installed system's filesystems, mounted below one folder in the order of their depth.
#[derive(Debug)]
pub struct Target {
    /// Where `/` of the installed system is now.
    pub root: PathBuf,
    /// Mount points below it, in the order they were mounted; unmounted in reverse.
    pub mounts: Vec<PathBuf>,
}

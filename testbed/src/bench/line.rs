//! Lines of shell that prepare something: they end with 0, or that is an error with what they said.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use host::exec::{Cmd, Exec, System, Tool};

/// How long preparing one thing may take on a slow machine.
const PATIENCE: Duration = Duration::from_mins(30);

/// The line as a start of bash in which any failure is one of the whole.
pub(super) fn command(line: &str) -> Cmd {
    Cmd::new(Tool::Bash)
        .args(["-euo", "pipefail", "-c"])
        .arg(line)
}

/// Runs a line in `folder`; gives back what it printed.
pub(super) fn output(system: &mut System, folder: &Path, line: &str) -> Result<String> {
    let cmd = command(line).directory(folder).timeout(PATIENCE);
    Ok(system.run(&cmd)?.stdout)
}

/// Runs a line in `folder`.
pub(super) fn run(system: &mut System, folder: &Path, line: &str) -> Result<()> {
    output(system, folder, line).map(|_| ())
}

//! Lines of shell that prepare something: they end with 0, or that is an error with what they said.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use host::exec::{Cmd, Exec, ExecError, System};

use crate::tools::Tool;

/// How long preparing one thing may take on a slow machine.
const PATIENCE: Duration = Duration::from_mins(30);

/// The line as a start of bash in which any failure is one of the whole.
pub fn command(line: &str) -> Cmd {
    Cmd::new(Tool::Bash)
        .args(["-euo", "pipefail", "-c"])
        .arg(line)
}

/// Runs a line in `folder`; gives back what it printed.
pub fn output(system: &mut System, folder: &Path, line: &str) -> Result<String> {
    let cmd = command(line).directory(folder).timeout(PATIENCE);
    match system.run(&cmd) {
        Ok(output) => Ok(output.stdout),
        // the line itself may be a page long, and stands in the sources
        Err(ExecError::Failed {
            status, last_line, ..
        }) => bail!("exit status {status}: {last_line}"),
        Err(error) => Err(error.into()),
    }
}

/// Runs a line in `folder`.
pub fn run(system: &mut System, folder: &Path, line: &str) -> Result<()> {
    output(system, folder, line).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use host::cancel::Cancel;

    #[test]
    fn a_line_that_fails_is_told_by_its_last_word() {
        let mut system = System::new(Cancel::new());
        let folder = tempfile::tempdir().unwrap();
        let said = output(&mut system, folder.path(), "pwd").unwrap();
        assert!(said.trim().ends_with(folder.path().to_str().unwrap()));
        let script = "echo much; echo 'no room' >&2; exit 4";
        let error = run(&mut system, folder.path(), script).unwrap_err();
        assert_eq!(error.to_string(), "exit status 4: no room");
    }
}

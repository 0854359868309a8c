//! Shell scripts of the testbed itself: any exit status but 0 is an error with the last line of output.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use host::exec::{Cmd, Exec, ExecError, System};

use crate::tools::Tool;

/// Long enough for packing an image on a slow machine.
const TIMEOUT: Duration = Duration::from_mins(30);

/// A bash that runs the script and fails with the first command of it that fails, also within a pipe.
pub fn command(script: &str) -> Cmd {
    Cmd::new(Tool::Bash)
        .args(["-euo", "pipefail", "-c"])
        .arg(script)
}

/// Runs the script in `folder`; its standard output.
pub fn output(system: &mut System, folder: &Path, script: &str) -> Result<String> {
    let cmd = command(script).directory(folder).timeout(TIMEOUT);
    match system.run(&cmd) {
        Ok(output) => Ok(output.stdout),
        // without the script, which may be a page long
        Err(ExecError::Failed {
            status, last_line, ..
        }) => bail!("exit status {status}: {last_line}"),
        Err(error) => Err(error.into()),
    }
}

/// Runs the script in `folder`.
pub fn run(system: &mut System, folder: &Path, script: &str) -> Result<()> {
    output(system, folder, script).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use host::cancel::Cancel;

    #[test]
    fn an_error_has_the_exit_status_and_the_last_line() {
        let mut system = System::new(Cancel::new());
        let folder = tempfile::tempdir().unwrap();
        let text = output(&mut system, folder.path(), "pwd").unwrap();
        assert!(text.trim().ends_with(folder.path().to_str().unwrap()));
        let script = "echo much; echo 'no room' >&2; exit 4";
        let error = run(&mut system, folder.path(), script).unwrap_err();
        assert_eq!(error.to_string(), "exit status 4: no room");
    }
}

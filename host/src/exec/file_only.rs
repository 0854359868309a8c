//! An [`Exec`] for regular files that stand for disks: programs that act on this machine's own devices are refused.

use std::path::PathBuf;

use super::{Cmd, Exec, ExecError, Output, Program};

/// Runs tools that work on files. Refuses those that find devices by themselves ([`Program::on_devices`]): they would
/// act on devices of this machine.
#[derive(Clone, Debug)]
pub(crate) struct FileOnlyExec<E>(pub E);

impl<E: Exec> Exec for FileOnlyExec<E> {
    fn run(&mut self, cmd: &Cmd) -> Result<Output, ExecError> {
        if !cmd.program.finds_devices {
            return self.0.run(cmd);
        }
        Err(ExecError::Io {
            command: cmd.to_string(),
            source: std::io::Error::new(
                std::io::ErrorKind::PermissionDenied,
                "it would act on this machine, and the disks of this run are regular files",
            ),
        })
    }

    fn find(&self, program: Program) -> Option<PathBuf> {
        self.0.find(program)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Script;

    #[test]
    fn what_would_act_on_this_machine_is_not_started() {
        let script = Script::new();
        let mut exec = FileOnlyExec(script.clone());
        let lvm = Program::new("lvm", "lvm2").on_devices();
        let refused = exec.run(&Cmd::new(lvm).arg("os")).unwrap_err().to_string();
        assert_eq!(refused, "cannot run `lvm os`");
        exec.run(&Cmd::new(Program::new("mkswap", "util-linux")))
            .unwrap();
        assert_eq!(script.transcript(), "mkswap\n");
    }
}

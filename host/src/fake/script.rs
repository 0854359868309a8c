//! Programs that are recorded, not started.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::exec::{Cmd, Exec, ExecError, Output, Program};

/// An [`Exec`] that starts nothing: it records commands, returns prepared answers, and fails where a test wants it to.
/// Clones share the record.
#[derive(Clone, Debug, Default)]
pub struct Script(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    transcript: Vec<Cmd>,
    answers: Vec<Answer>,
    failing_at: Option<usize>,
    missing: Vec<Program>,
}

#[derive(Debug)]
struct Answer {
    prefix: String,
    status: i32,
    stdout: String,
    stderr: String,
    once: bool,
}

impl Script {
    /// Answers every command with an empty success.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_answer(self, prefix: &str, status: i32, text: &str, once: bool) -> Self {
        let (stdout, stderr) = if status == 0 { (text, "") } else { ("", text) };
        self.state().answers.push(Answer {
            prefix: prefix.to_owned(),
            status,
            stdout: stdout.to_owned(),
            stderr: stderr.to_owned(),
            once,
        });
        self
    }

    /// Fails the `n`th command, counted from 0, with exit status 1.
    #[must_use]
    pub fn failing_at(self, n: usize) -> Self {
        self.state().failing_at = Some(n);
        self
    }

    /// Answers commands whose line starts with `prefix` with `stdout`.
    #[must_use]
    pub fn answering(self, prefix: &str, stdout: &str) -> Self {
        self.with_answer(prefix, 0, stdout, false)
    }

    /// Answers the next such command only; one-time answers come before permanent ones, in the given order.
    #[must_use]
    pub fn answering_once(self, prefix: &str, stdout: &str) -> Self {
        self.with_answer(prefix, 0, stdout, true)
    }

    /// Ends such commands with `status` and `stderr`: a failure, unless the command accepts that status.
    #[must_use]
    pub fn exiting(self, prefix: &str, status: i32, stderr: &str) -> Self {
        self.with_answer(prefix, status, stderr, false)
    }

    /// Ends the next such command only with `status` and `stderr`.
    #[must_use]
    pub fn exiting_once(self, prefix: &str, status: i32, stderr: &str) -> Self {
        self.with_answer(prefix, status, stderr, true)
    }

    /// Behaves as if `program` were not installed.
    #[must_use]
    pub fn without(self, program: impl Into<Program>) -> Self {
        self.state().missing.push(program.into());
        self
    }

    /// Every command so far, a line each.
    pub fn transcript(&self) -> String {
        let lines = self.commands().into_iter();
        lines.fold(String::new(), |text, cmd| text + &cmd.to_string() + "\n")
    }

    /// Every command so far.
    pub(crate) fn commands(&self) -> Vec<Cmd> {
        self.state().transcript.clone()
    }
}

impl State {
    fn answer(&mut self, line: &str) -> Output {
        let fits = |answer: &&Answer| line.starts_with(&answer.prefix);
        let once = self
            .answers
            .iter()
            .position(|answer| answer.once && fits(&answer));
        if let Some(at) = once {
            let answer = self.answers.remove(at);
            return output(&answer);
        }
        self.answers
            .iter()
            .find(fits)
            .map(output)
            .unwrap_or_default()
    }
}

fn output(answer: &Answer) -> Output {
    Output {
        status: answer.status,
        stdout: answer.stdout.clone(),
        stderr: answer.stderr.clone(),
        truncated: false,
    }
}

impl Exec for Script {
    fn run(&mut self, cmd: &Cmd) -> Result<Output, ExecError> {
        let mut state = self.state();
        if state.missing.contains(&cmd.program) {
            return Err(ExecError::Missing {
                program: cmd.program,
            });
        }
        let n = state.transcript.len();
        state.transcript.push(cmd.clone());
        let command = cmd.to_string();
        let failed = |command, status, stderr: String| ExecError::Failed {
            command,
            status,
            last_line: stderr.lines().last().unwrap_or_default().to_owned(),
            stderr,
            stdout: String::new(),
        };
        if state.failing_at == Some(n) {
            return Err(failed(command, 1, "injected".to_owned()));
        }
        let output = state.answer(&command);
        if cmd.accepted.contains(&output.status) {
            Ok(output)
        } else {
            Err(failed(command, output.status, output.stderr))
        }
    }

    fn find(&self, program: Program) -> Option<PathBuf> {
        let installed = !self.state().missing.contains(&program);
        installed.then(|| PathBuf::from("/usr/sbin").join(program.name()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_for_one_time_come_first_and_in_order() {
        let mut script = Script::new()
            .answering("blkid", "always")
            .answering_once("blkid -p", "first")
            .exiting_once("blkid", 2, "second");
        let kept = script.clone();
        let cmd = Cmd::new(Program::new("blkid", "util-linux"))
            .arg("-p")
            .accept(&[0, 2]);
        let mut ask = || {
            script
                .run(&cmd)
                .map(|output| (output.status, output.stdout))
        };
        assert_eq!(ask().unwrap(), (0, "first".to_owned()));
        assert_eq!(ask().unwrap(), (2, String::new()));
        assert_eq!(ask().unwrap(), (0, "always".to_owned()));
        assert_eq!(kept.transcript(), "blkid -p\n".repeat(3));
    }

    #[test]
    fn a_status_that_is_not_accepted_is_a_failure() {
        let mut script = Script::new().exiting("mdadm", 3, "first line\nno such array");
        let error = script
            .run(&Cmd::new(Program::new("mdadm", "mdadm")))
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "`mdadm` exited with status 3: no such array"
        );
    }
}

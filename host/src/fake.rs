//! The same doors without a machine: for tests of those who go through them.

use std::path::PathBuf;

use crate::exec::{Cmd, Exec, ExecError, Output, Tool};

/// An [`Exec`] that starts nothing: it writes down what it was asked, answers as told, and fails where told.
#[derive(Debug, Default)]
pub struct Script {
    transcript: Vec<Cmd>,
    answers: Vec<(String, Output)>,
    failing_at: Option<usize>,
    missing: Vec<Tool>,
}

impl Script {
    /// Answers every command with an empty success.
    pub fn new() -> Self {
        Self::default()
    }

    /// Fails the `n`th command, counted from 0, with exit status 1.
    #[must_use]
    pub fn failing_at(mut self, n: usize) -> Self {
        self.failing_at = Some(n);
        self
    }

    /// Answers commands whose line starts with `prefix` with `stdout`.
    #[must_use]
    pub fn answering(mut self, prefix: &str, stdout: &str) -> Self {
        self.answers.push((
            prefix.to_owned(),
            Output {
                stdout: stdout.to_owned(),
                ..Output::default()
            },
        ));
        self
    }

    /// Behaves as if `tool` were not installed.
    #[must_use]
    pub fn without(mut self, tool: Tool) -> Self {
        self.missing.push(tool);
        self
    }

    /// Every command so far, a line each.
    pub fn transcript(&self) -> String {
        self.transcript.iter().fold(String::new(), |text, cmd| {
            text + &cmd.to_string()
                + "
"
        })
    }

    /// Every command so far.
    pub fn commands(&self) -> &[Cmd] {
        &self.transcript
    }
}

impl Exec for Script {
    fn run(&mut self, cmd: &Cmd) -> Result<Output, ExecError> {
        if self.missing.contains(&cmd.tool) {
            return Err(ExecError::Missing { tool: cmd.tool });
        }
        let n = self.transcript.len();
        self.transcript.push(cmd.clone());
        if self.failing_at == Some(n) {
            let (command, last_line) = (cmd.to_string(), "injected".to_owned());
            return Err(ExecError::Failed {
                command,
                status: 1,
                stderr: last_line.clone(),
                last_line,
            });
        }
        let line = cmd.to_string();
        let answer = self
            .answers
            .iter()
            .find(|(prefix, _)| line.starts_with(prefix.as_str()));
        Ok(answer.map(|(_, output)| output.clone()).unwrap_or_default())
    }

    fn find(&self, tool: Tool) -> Option<PathBuf> {
        (!self.missing.contains(&tool)).then(|| PathBuf::from("/usr/sbin").join(tool.name()))
    }
}

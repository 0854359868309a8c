//! Errors, their kinds by who can fix them, and the exit status of each.

use std::fmt;

use serde::Serialize;

/// Who can fix it; decides the exit status and nothing else. Numbers are contract and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A defect of the agent, or a machine that it cannot run on: no memory, no room in its folder.
    Internal = 1,
    /// The command line is wrong.
    Usage = 2,
    /// A bad `provision.json`.
    Request = 3,
    /// No such disk, too small, ambiguous.
    Hardware = 4,
    /// Protected, held, kept data would go, another agent is running.
    Refused = 5,
    /// Source, digest, signature, network.
    Image = 6,
    /// A program that the agent needs is missing or failed.
    Tool = 7,
    /// A disk failed to read, write or flush.
    Disk = 8,
    /// Installed, but the orchestrator did not accept the completion.
    Notify = 9,
    /// Something is pending; the report has what.
    Incomplete = 10,
    /// Interrupted, after clean-up.
    Interrupted = 130,
}

impl Kind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 11] = [
        Self::Internal,
        Self::Usage,
        Self::Request,
        Self::Hardware,
        Self::Refused,
        Self::Image,
        Self::Tool,
        Self::Disk,
        Self::Notify,
        Self::Incomplete,
        Self::Interrupted,
    ];

    /// The exit status of `provision`.
    pub const fn exit_status(self) -> u8 {
        match self {
            Self::Internal => 1,
            Self::Usage => 2,
            Self::Request => 3,
            Self::Hardware => 4,
            Self::Refused => 5,
            Self::Image => 6,
            Self::Tool => 7,
            Self::Disk => 8,
            Self::Notify => 9,
            Self::Incomplete => 10,
            Self::Interrupted => 130,
        }
    }

    /// What the status means, for the manual.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Internal => "internal: a defect of the agent, or no room for it to work in",
            Self::Usage => "usage: the command line, or a setting",
            Self::Request => "request: a bad provision.json",
            Self::Hardware => "hardware: no such disk, too small, ambiguous",
            Self::Refused => {
                "refused: protected, held, kept data would go, another agent is running"
            }
            Self::Image => "image: source, digest, signature, network",
            Self::Tool => "tool: a program is missing or failed",
            Self::Disk => "disk: reading, writing or flushing failed",
            Self::Notify => "installed, but the orchestrator did not accept the completion",
            Self::Incomplete => "incomplete: something is pending, reasons in the report",
            Self::Interrupted => "interrupted, after clean-up",
        }
    }
}

/// An error on its way to the person who can fix it: what was being done, why it failed, what to try.
///
/// Modules have error enums of their own; each is turned into this one at the module's edge.
#[derive(Debug)]
pub struct Error {
    /// Decides the exit status.
    pub kind: Kind,
    /// What could not be done, or what is not so: lower case, names in backticks, no full stop.
    pub what: String,
    /// What to try, as an order to the reader.
    pub hint: Option<String>,
    /// The disk or partition concerned, by a name that a person finds.
    pub device: Option<String>,
    /// Whether running the same request again makes sense.
    pub retryable: bool,
    /// Why: its chain is printed, never repeated in `what`.
    pub source: Option<Box<dyn std::error::Error + Send + Sync + 'static>>,
}

impl Error {
    /// An error without cause or hint, not retryable.
    pub fn new(kind: Kind, what: impl Into<String>) -> Self {
        Self {
            kind,
            what: what.into(),
            hint: None,
            device: None,
            retryable: false,
            source: None,
        }
    }

    /// Adds what to try.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Names the device concerned.
    #[must_use]
    pub fn device(mut self, device: impl fmt::Display) -> Self {
        self.device = Some(device.to_string());
        self
    }

    /// Marks the error as transient: the same request may succeed next time.
    #[must_use]
    pub fn retryable(mut self) -> Self {
        self.retryable = true;
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync + 'static>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The causes, outermost first, without repetition.
    pub fn causes(&self) -> Vec<String> {
        host::error::causes(self)
    }

    /// What, and the causes, on one line.
    pub fn one_line(&self) -> String {
        host::error::one_line(self)
    }
}

impl fmt::Display for Error {
    /// One line: what, without the causes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|e| {
            let e: &(dyn std::error::Error + 'static) = e;
            e
        })
    }
}

/// How `main` prints an error: `error:`, `cause:`, `hint:` lines.
pub fn render(error: &Error) -> String {
    host::error::render(error, error.hint.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_statuses_are_the_contract() {
        let statuses: Vec<u8> = Kind::ALL.iter().map(|kind| kind.exit_status()).collect();
        assert_eq!(statuses, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 130]);
    }

    #[test]
    fn an_error_prints_what_why_and_what_to_try() {
        let error = Error::new(Kind::Disk, "cannot write the partition table of /dev/sda")
            .because(std::io::Error::other("no space"))
            .hint("check the cabling");
        insta::assert_snapshot!(render(&error), @r"
        error: cannot write the partition table of /dev/sda
          cause: no space
          hint: check the cabling
        ");
    }
}

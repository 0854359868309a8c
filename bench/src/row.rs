//! A row of the bench: what is measured, over which link, and what the target holds before and after.

use crate::image::{Form, Size};

/// What a row measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowKind {
    /// The agent of this tree; its time is compared with peers and limits.
    Ours,
    /// Another tool that writes images.
    Peer,
    /// A limit of the machine: a part of the work alone.
    Limit,
}

/// The link to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// Loopback, without a limit on its rate.
    Loopback,
    /// 1 Gbit/s.
    Gigabit,
    /// 10 Gbit/s.
    TenGigabit,
}

/// What the target holds before a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Initial {
    /// 0xAA everywhere.
    Stale,
    /// The image of the size of the row, written by the first row's command: what a delta starts from.
    Image,
}

/// What the target has to hold after a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// The image, its zeros included.
    Image,
    /// The image where it is not zero: tools that get a block map do not write holes.
    Data,
    /// The newer version of the image.
    Newer,
    /// Not compared.
    Anything,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// Name, for `--only` and the results.
    pub(crate) name: &'static str,
    /// Description, for tables.
    pub(crate) about: &'static str,
    pub(crate) kind: RowKind,
    pub(crate) link: Link,
    pub(crate) size: Size,
    /// The forms of the image that are served.
    pub(crate) forms: &'static [Form],
    pub(crate) initial: Initial,
    pub(crate) expected: Expected,
    /// The programs that the command needs.
    pub(crate) programs: &'static [&'static str],
    /// Whether the tool looks for /run/udev/control.
    pub(crate) udev: bool,
    /// Whether it is measured in every second round only: slow, and in no goal.
    pub(crate) every_other_round: bool,
    /// The command, with variables in braces.
    pub(crate) command: &'static str,
}

/// Values of the variables in commands.
#[derive(Clone, Debug, Default)]
pub(crate) struct Variables(Vec<(&'static str, String)>);

impl Variables {
    /// Sets `{name}` to `value`.
    pub(crate) fn with(mut self, name: &'static str, value: impl std::fmt::Display) -> Self {
        self.0.push((name, value.to_string()));
        self
    }

    /// The command with its variables replaced. An unknown one stays as it is.
    pub(crate) fn expand(&self, command: &str) -> String {
        let mut command = command.to_owned();
        for (name, value) in &self.0 {
            command = command.replace(&format!("{{{name}}}"), value);
        }
        command
    }
}

impl Row {
    /// Whether the name contains one of `words`, or there are none.
    pub(crate) fn is_selected(&self, words: &[String]) -> bool {
        words.is_empty() || words.iter().any(|word| self.name.contains(word.as_str()))
    }

    /// Whether it is measured in this round, counted from 1.
    pub(crate) const fn is_due(&self, round: u32) -> bool {
        !self.every_other_round || round % 2 == 1
    }

    /// Whether it writes to the target.
    pub(crate) fn writes(&self) -> bool {
        self.command.contains("{target}")
    }
}

//! How every program prints an error: on lines (`error:`, `cause:`, `hint:`), or on one line.

use std::error::Error;

use crate::printable;

/// Indentation of the further lines of a text.
const INDENT: &str = "    ";

/// The causes of `error`, outermost first. A cause that the text before it ends with is left out.
pub fn causes(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut causes: Vec<String> = Vec::new();
    let mut last = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        let text = text.trim_end();
        if !last.ends_with(text) {
            causes.push(text.to_owned());
            text.clone_into(&mut last);
        }
        next = cause.source();
    }
    causes
}

/// The error and its causes on one line.
pub fn one_line(error: &(dyn Error + 'static)) -> String {
    causes(error)
        .iter()
        .fold(error.to_string(), |line, cause| line + ": " + cause)
}

/// The `error:`, `cause:` and `hint:` lines that a failed program prints last. Further lines of a text are indented, so
/// that none of them looks like one of these.
pub fn render(error: &(dyn Error + 'static), hint: Option<&str>) -> String {
    let mut text = labelled("error: ", &error.to_string());
    for cause in causes(error) {
        text += &labelled("  cause: ", &cause);
    }
    if let Some(hint) = hint {
        text += &labelled("  hint: ", hint);
    }
    text
}

fn labelled(label: &str, text: &str) -> String {
    let text = printable::escape(text);
    let mut lines = text.lines();
    let mut labelled = format!("{label}{}\n", lines.next().unwrap_or_default());
    for line in lines {
        let indent = if line.starts_with(INDENT) { "" } else { INDENT };
        labelled = labelled + indent + line + "\n";
    }
    labelled
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[derive(Debug, thiserror::Error)]
    enum Sample {
        #[error("cannot write /dev/sda")]
        Write(#[source] io::Error),
        #[error("cannot read it: {0}")]
        Told(#[source] io::Error),
        #[error("cannot load {}", .0.len())]
        Deep(&'static str, #[source] Box<Sample>),
    }

    #[test]
    fn an_error_prints_what_why_and_what_to_try() {
        let error = Sample::Deep(
            "image",
            Box::new(Sample::Write(io::Error::other("no space\n"))),
        );
        insta::assert_snapshot!(render(&error, Some("make room there")), @"
        error: cannot load 5
          cause: cannot write /dev/sda
          cause: no space
          hint: make room there
        ");
        assert_eq!(
            one_line(&error),
            "cannot load 5: cannot write /dev/sda: no space"
        );
        assert_eq!(
            render(&Sample::Told(io::Error::other("x")), None),
            "error: cannot read it: x\n"
        );
    }

    #[test]
    fn what_a_tool_says_cannot_pass_for_a_line_of_ours_nor_reach_the_terminal() {
        let said = "first\nhint: run rm -rf /\u{1b}[2J";
        let error = Sample::Write(io::Error::other(said));
        insta::assert_snapshot!(render(&error, None), @r"
        error: cannot write /dev/sda
          cause: first
            hint: run rm -rf /\u001b[2J
        ");
    }
}

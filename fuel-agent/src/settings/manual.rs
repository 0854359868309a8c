//! The settings as text: for `provision run --help` and for docs/commands.md.

use std::fmt::Write as _;

use super::keys;
use crate::wrap;

/// All settings for `provision run --help`, within 80 columns.
pub fn help() -> String {
    let mut text =
        "Settings, for `--set KEY=VALUE`, as `provision.KEY=VALUE` on the command line of\n\
                    the kernel, and as `KEY=VALUE` in /etc/provision.conf:\n"
            .to_owned();
    for key in keys::all() {
        let default = match key.default {
            "" => String::new(),
            default => format!(" [default: {default}]"),
        };
        let _ = write!(text, "\n  {}={}\n", key.name, key.value);
        for line in wrap::lines(
            &format!("{}{default}", key.help).replace(['`', '*'], ""),
            70,
        ) {
            let _ = writeln!(text, "          {line}");
        }
    }
    text
}

/// The list of settings for docs/commands.md, within 120 columns.
pub fn list() -> String {
    let mut text = String::new();
    for key in keys::all() {
        let default = match key.default {
            "" => String::new(),
            code if code.contains(' ') => format!(" (default: {code})"),
            code => format!(" (default: `{code}`)"),
        };
        let item = format!("`{}={}`{default}: {}", key.name, key.value, key.help);
        for (number, line) in wrap::lines(&item, 118).iter().enumerate() {
            let start = if number == 0 { "- " } else { "  " };
            let _ = writeln!(text, "{start}{line}");
        }
    }
    text
}

//! `/etc/provision.conf`: `KEY=VALUE` lines, `#` comments.

use std::io::ErrorKind;
use std::path::Path;

use super::{Entry, Place};
use crate::model::error::{Error, Kind};

/// The entries of the file; none if it does not exist.
pub fn read(path: &Path) -> Result<Vec<Entry>, Error> {
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&text, path),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => {
            let what = format!("cannot read the settings in {}", path.display());
            Err(Error::new(Kind::Usage, what).because(error))
        }
    }
}

/// Parses the file's text; `path` is for messages.
pub fn parse(text: &str, path: &Path) -> Result<Vec<Entry>, Error> {
    let mut entries = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let place = Place::File(path.to_owned(), number);
        let mut entry = Entry::parse(line, place);
        let plain = |c: char| c.is_ascii_alphanumeric() || "._".contains(c);
        if entry.key.is_empty() || !entry.key.chars().all(plain) || entry.value.is_none() {
            let what = format!("a line is not a setting ({})", entry.place);
            return Err(
                Error::new(Kind::Usage, what).hint("write KEY=VALUE, or `#` before a comment")
            );
        }
        entry.value = entry.value.map(|value| unquoted(value.trim()).to_owned());
        entries.push(entry);
    }
    Ok(entries)
}

/// The value without a pair of quotes around all of it.
fn unquoted(value: &str) -> &str {
    for quote in ['"', '\''] {
        let inner = value
            .strip_prefix(quote)
            .and_then(|rest| rest.strip_suffix(quote));
        if let Some(inner) = inner {
            return inner;
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_quotes_and_spaces_are_understood() {
        let text = "# ours\n\n end = reboot \nprovision.success.header=\"A: b\"\nsuccess.body='{\"a\": 1}'\nprotect=\n";
        let entries = parse(text, Path::new("conf")).unwrap();
        let read: Vec<_> = entries
            .iter()
            .map(|entry| (entry.key.as_str(), entry.value.as_deref().unwrap()))
            .collect();
        assert_eq!(
            read,
            [
                ("end", "reboot"),
                ("success.header", "A: b"),
                ("success.body", "{\"a\": 1}"),
                ("protect", "")
            ]
        );
    }

    #[test]
    fn a_bad_line_is_named_by_file_and_number() {
        for text in ["\nreboot", "\n=x", "\na b=c"] {
            let error = parse(text, Path::new("/etc/provision.conf")).unwrap_err();
            assert_eq!(error.kind, Kind::Usage);
            assert_eq!(
                error.what, "a line is not a setting (/etc/provision.conf:2)",
                "{text}"
            );
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_empty() {
        assert_eq!(read(Path::new("/nonexistent/provision.conf")).unwrap(), []);
    }
}

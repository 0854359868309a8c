//! Debian's control format: `Field: value` paragraphs, as in package lists and deb822 sources.

/// One paragraph: its fields in order. Continuation lines are part of the value, joined by newlines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stanza {
    fields: Vec<(String, String)>,
}

impl Stanza {
    /// The value of `field`; field names are compared without case.
    pub fn field(&self, field: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(field))
            .map(|(_, value)| value.as_str())
    }

    /// The value of `field`, split at white space; empty where there is none.
    pub(crate) fn words(&self, field: &str) -> Vec<&str> {
        self.field(field)
            .map(|value| value.split_whitespace().collect())
            .unwrap_or_default()
    }

    /// Sets `field`, in place where it exists.
    pub(crate) fn set(&mut self, field: &str, value: String) {
        match self
            .fields
            .iter_mut()
            .find(|(name, _)| name.eq_ignore_ascii_case(field))
        {
            Some((_, old)) => *old = value,
            None => self.fields.push((field.to_owned(), value)),
        }
    }

    /// The paragraph's text, with a newline at its end.
    pub(crate) fn render(&self) -> String {
        self.fields
            .iter()
            .fold(String::new(), |text, (name, value)| {
                format!("{text}{name}: {}\n", value.replace('\n', "\n "))
            })
    }
}

/// Reads paragraphs. Comment lines (`#`) and lines that are not a field are skipped, as apt does.
pub fn parse_stanzas(text: &str) -> Vec<Stanza> {
    let mut stanzas = Vec::new();
    let mut current = Stanza::default();
    for line in text.lines() {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            if !current.fields.is_empty() {
                stanzas.push(std::mem::take(&mut current));
            }
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = current.fields.last_mut() {
                value.push('\n');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            current
                .fields
                .push((name.trim().to_owned(), value.trim().to_owned()));
        }
    }
    if !current.fields.is_empty() {
        stanzas.push(current);
    }
    stanzas
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_end_at_blank_lines_and_keep_continuations() {
        let stanzas = parse_stanzas(
            "# a comment\nPackage: a\nDescription: first\n second\n\n\nPackage: b\n# inside\nDepends: c",
        );
        assert_eq!(stanzas.len(), 2);
        assert_eq!(stanzas[0].field("package"), Some("a"));
        assert_eq!(stanzas[0].field("Description"), Some("first\nsecond"));
        assert_eq!(stanzas[1].field("Depends"), Some("c"));
        assert_eq!(stanzas[1].field("Version"), None);
    }

    #[test]
    fn a_rendered_paragraph_reads_back_the_same() {
        let text = "Types: deb\nSigned-By:\n -----BEGIN\n .\n abc\n";
        let stanzas = parse_stanzas(text);
        assert_eq!(parse_stanzas(&stanzas[0].render()), stanzas);
    }
}

//! The kernel's command line, parsed as the kernel does.

use super::{Entry, Place};

/// The entries with the prefix `provision.`, in order.
pub fn entries(text: &str) -> Vec<Entry> {
    words(text)
        .iter()
        .filter(|word| word.starts_with("provision."))
        .map(|word| Entry::parse(word, Place::Kernel))
        .collect()
}

/// Splits a kernel command line at white space outside of double quotes. As in the kernel's `next_arg`, a pair of
/// quotes around the whole word or around the value is removed and others stay: `provision.success.body={"a":1}` is
/// unchanged. Words after `--` are for init and ignored.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for c in text.chars().chain([' ']) {
        if c == '"' {
            quoted = !quoted;
        }
        if c.is_ascii_whitespace() && (!quoted || c == '\n') {
            if word == "--" {
                return words;
            }
            if !word.is_empty() {
                words.push(unquoted(&word));
            }
            word.clear();
        } else {
            word.push(c);
        }
    }
    if !word.trim().is_empty() {
        words.push(unquoted(word.trim_end())); // an odd number of quotes: the kernel takes the rest too
    }
    words
}

fn unquoted(word: &str) -> String {
    if let Some(inner) = word.strip_prefix('"') {
        return inner.strip_suffix('"').unwrap_or(inner).to_owned();
    }
    match word.split_once('=') {
        Some((key, value)) if value.starts_with('"') => {
            let inner = &value[1..];
            format!("{key}={}", inner.strip_suffix('"').unwrap_or(inner))
        }
        _ => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, Option<String>)> {
        entries(text)
            .into_iter()
            .map(|entry| (entry.key, entry.value))
            .collect()
    }

    #[test]
    fn only_our_own_words_are_taken() {
        let text = "BOOT_IMAGE=/k root=/dev/sda1 ro provision.reinstall provision.url=http://a/b?c=d quiet\n";
        assert_eq!(
            pairs(text),
            [
                ("reinstall".to_owned(), None),
                ("url".to_owned(), Some("http://a/b?c=d".to_owned()))
            ]
        );
    }

    #[test]
    fn quotes_are_understood_as_the_kernel_understands_them() {
        for (text, value) in [
            (r#"provision.success.header="A: b c""#, "A: b c"),
            (r#""provision.success.header=A: b c""#, "A: b c"),
            (r#"provision.success.header={"a":"b c"}"#, r#"{"a":"b c"}"#),
            (r#"provision.success.header="open end"#, "open end"),
        ] {
            assert_eq!(
                pairs(text),
                [("success.header".to_owned(), Some(value.to_owned()))],
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_for_init_is_not_ours() {
        assert_eq!(pairs("a -- provision.url=x"), []);
    }
}

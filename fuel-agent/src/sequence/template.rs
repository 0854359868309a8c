//! `{names}` in URLs, headers and bodies: filled in, escaped for the place they stand in.

use std::collections::BTreeMap;

/// Values by name.
pub type Facts = BTreeMap<&'static str, String>;

/// Where a template's text ends up; decides how values are escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a URL, or in a form: everything but letters, digits and `-._~:` is percent-encoded.
    Url,
    /// In a header: control characters become spaces.
    Header,
    /// Inside of a JSON text: as inside of its strings. `{report}` is JSON itself.
    Json,
    /// Anywhere else: as it is.
    Text,
}

/// A name that nothing stands for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{{{0}}}` stands for nothing")]
pub struct UnknownName(pub String);

/// The template with its names filled in. A name is lower-case letters and `_` between braces, or between `%7B` and
/// `%7D` where braces cannot be passed on (kernel command lines go through shells and templates); any other brace is
/// itself, so that JSON needs no escaping.
pub fn render(template: &str, facts: &Facts, place: Place) -> Result<String, UnknownName> {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, name, after)) = next_name(rest) {
        text.push_str(before);
        let value = facts
            .get(name)
            .ok_or_else(|| UnknownName(name.to_owned()))?;
        text.push_str(&escaped(name, value, place));
        rest = after;
    }
    text.push_str(rest);
    Ok(text)
}

/// What is before the first name, the name, and what is after it.
fn next_name(text: &str) -> Option<(&str, &str, &str)> {
    text.match_indices(['{', '%']).find_map(|(at, _)| {
        let (before, rest) = text.split_at(at);
        let (name, after) = name_at(rest)?;
        Some((before, name, after))
    })
}

/// The name that `text` begins with, and what is after it.
fn name_at(text: &str) -> Option<(&str, &str)> {
    let of = |open: &str, close: &str| {
        let (start, rest) = text.split_at_checked(open.len())?;
        let end = rest.find(|c: char| !(c.is_ascii_lowercase() || c == '_'))?;
        let (name, rest) = rest.split_at(end);
        let (last, after) = rest.split_at_checked(close.len())?;
        let is_one = start.eq_ignore_ascii_case(open) && last.eq_ignore_ascii_case(close);
        (is_one && !name.is_empty()).then_some((name, after))
    };
    of("{", "}").or_else(|| of("%7B", "%7D"))
}

fn escaped(name: &str, value: &str, place: Place) -> String {
    match place {
        Place::Url => percent(value),
        Place::Header => value.replace(|c: char| c.is_control(), " "),
        Place::Json if name == "report" => value.to_owned(),
        Place::Json => {
            let quoted = serde_json::Value::from(value).to_string();
            quoted[1..quoted.len() - 1].to_owned()
        }
        Place::Text => value.to_owned(),
    }
}

fn percent(value: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push('%');
            text.push(char::from(HEX[usize::from(byte >> 4)]));
            text.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts::from([
            ("mac", "52:54:00:12:34:56".to_owned()),
            ("error", "cannot \"read\"\nü".to_owned()),
            ("report", r#"{"a":1}"#.to_owned()),
        ])
    }

    #[test]
    fn values_are_escaped_for_their_place() {
        for (template, place, text) in [
            (
                "http://h/{mac}?e={error}",
                Place::Url,
                "http://h/52:54:00:12:34:56?e=cannot%20%22read%22%0A%C3%BC",
            ),
            ("{mac}", Place::Header, "52:54:00:12:34:56"),
            ("{error}", Place::Header, "cannot \"read\" ü"),
            (
                r#"{"error": "{error}", "report": {report}, "x": {}}"#,
                Place::Json,
                r#"{"error": "cannot \"read\"\nü", "report": {"a":1}, "x": {}}"#,
            ),
            ("{error}", Place::Text, "cannot \"read\"\nü"),
            (
                "http://h/%7Bmac%7D?a=%7b%20&e=%7berror%7d%",
                Place::Url,
                "http://h/52:54:00:12:34:56?a=%7b%20&e=cannot%20%22read%22%0A%C3%BC%",
            ),
            ("{%7Bmac%7D}{", Place::Text, "{52:54:00:12:34:56}{"),
        ] {
            assert_eq!(render(template, &facts(), place).unwrap(), text);
        }
    }

    #[test]
    fn braces_that_are_no_name_are_themselves() {
        for text in [
            "{",
            "}",
            "{}",
            "{ mac }",
            "{\"mac\"}",
            "{Mac}",
            "a{",
            "{{}}",
            "%7B",
            "%7Bmac}",
            "{mac%7D",
            "%7B%7D",
            "%7Bmac",
            "%ü{",
        ] {
            assert_eq!(render(text, &facts(), Place::Text).unwrap(), text);
        }
    }

    #[test]
    fn a_name_that_stands_for_nothing_is_an_error() {
        let error = render("{hostnme}", &facts(), Place::Url).unwrap_err();
        assert_eq!(error.to_string(), "`{hostnme}` stands for nothing");
        let error = render("%7Bhostnme%7D", &facts(), Place::Url).unwrap_err();
        assert_eq!(error.to_string(), "`{hostnme}` stands for nothing");
    }
}

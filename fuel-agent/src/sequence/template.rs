//! `{names}` in URLs, headers and bodies: filled in, escaped for the place they stand in.

use std::collections::BTreeMap;

/// What names stand for.
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

/// The template with its names filled in. A name is lower-case letters and `_` between braces; any other brace is
/// itself, so that JSON needs no escaping.
pub fn render(template: &str, facts: &Facts, place: Place) -> Result<String, UnknownName> {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        let name = after
            .split_once('}')
            .map(|(name, _)| name)
            .filter(|name| is_name(name));
        let Some(name) = name else {
            text.push('{');
            rest = after;
            continue;
        };
        let value = facts
            .get(name)
            .ok_or_else(|| UnknownName(name.to_owned()))?;
        text.push_str(&escaped(name, value, place));
        rest = &after[name.len() + 1..];
    }
    text.push_str(rest);
    Ok(text)
}

fn is_name(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '_')
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
        ] {
            assert_eq!(render(text, &facts(), Place::Text).unwrap(), text);
        }
    }

    #[test]
    fn a_name_that_stands_for_nothing_is_an_error() {
        let error = render("{hostnme}", &facts(), Place::Url).unwrap_err();
        assert_eq!(error.to_string(), "`{hostnme}` stands for nothing");
    }
}

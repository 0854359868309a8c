//! Text that others wrote, made safe to show: on a terminal, on a serial console, in a log that programs read.
//!
//! An answer of a server, a disk's label or a tool's error output may hold escape sequences that retitle a terminal, a
//! line end that forges a log line, or bidirectional overrides that make a path read backwards. They are escaped where
//! text leaves the program, once, and not at each of the places that it comes from.
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)
)]

use std::borrow::Cow;
use std::fmt::Write as _;

/// `text` with every character that a terminal acts upon as `\uXXXX`, which is how JSON writes it too; line ends and
/// tabs stay.
pub fn escape(text: &str) -> Cow<'_, str> {
    escape_all(text, |character| {
        is_active(character) && !matches!(character, '\n' | '\t')
    })
}

/// The same for what has to stay on one line: a line end inside it is escaped too. One at its end is cut off.
pub fn escape_line(text: &str) -> Cow<'_, str> {
    escape_all(text.trim_end_matches(['\n', '\r']), is_active)
}

/// C0 and C1 controls, line and paragraph separators, and the marks, embeddings, overrides and isolates of UAX #9.
fn is_active(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

fn escape_all(text: &str, is_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len().saturating_add(16));
    for character in text.chars() {
        match character {
            _ if !is_escaped(character) => safe.push(character),
            '\n' => safe.push_str("\\n"),
            '\t' => safe.push_str("\\t"),
            _ => {
                // All of them are in the basic plane: four digits, as in JSON.
                let _ = write!(safe, "\\u{:04x}", u32::from(character));
            }
        }
    }
    Cow::Owned(safe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_terminal_acts_upon_is_shown_as_its_number() {
        for (text, expected) in [
            ("disk 1: äöü, 漢字, 🦀", "disk 1: äöü, 漢字, 🦀"),
            ("\u{1b}]0;owned\u{7}", "\\u001b]0;owned\\u0007"),
            ("\u{9b}31m", "\\u009b31m"),
            ("a\r\u{7f}b", "a\\u000d\\u007fb"),
            ("/srv/\u{202e}gpj.exe", "/srv/\\u202egpj.exe"),
            ("one\n\ttwo", "one\n\ttwo"),
        ] {
            assert_eq!(escape(text), expected);
        }
    }

    #[test]
    fn a_line_stays_one() {
        for (text, expected) in [
            ("plain", "plain"),
            (
                "x\n2026-01-01T00:00:00Z closeup: done",
                "x\\n2026-01-01T00:00:00Z closeup: done",
            ),
            ("ends\r\n", "ends"),
            ("a\tb", "a\\tb"),
            ("a\u{2028}b\u{85}c", "a\\u2028b\\u0085c"),
        ] {
            assert_eq!(escape_line(text), expected);
        }
    }

    proptest! {
        #[test]
        fn nothing_active_is_left_and_the_rest_is_as_it_was(text in any::<String>()) {
            prop_assert!(!escape_line(&text).contains(is_active));
            let kept: String = text.chars().filter(|&it| !is_active(it)).collect();
            if kept == text {
                prop_assert_eq!(escape(&text), text.as_str());
            }
        }

        #[test]
        fn json_stays_the_json_that_it_was(text in any::<String>()) {
            let json = serde_json::to_string(&text).unwrap();
            let read: String = serde_json::from_str(&escape_line(&json)).unwrap();
            prop_assert_eq!(read, text);
        }
    }
}

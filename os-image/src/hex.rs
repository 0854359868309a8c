//! Digests as text: lower-case hexadecimal.

use std::fmt::Write;

/// `bytes` as lower-case hexadecimal.
pub fn text(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // writing to a string cannot fail
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// Reads exactly `N` bytes of hexadecimal, in lower or upper case; `None` for anything else.
pub fn parse<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != N * 2 {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(bytes)
}

const fn value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_back(bytes: [u8; 32]) {
            prop_assert_eq!(parse(&text(&bytes)), Some(bytes));
            prop_assert_eq!(parse(&text(&bytes).to_uppercase()), Some(bytes));
        }
    }

    #[test]
    fn what_is_no_hexadecimal_of_that_length_is_nothing() {
        for text in ["", "0", "000", "0g", "+1", "é", "0x"] {
            assert_eq!(parse::<1>(text), None, "{text}");
        }
        assert_eq!(parse::<1>("fF"), Some([0xff]));
    }
}

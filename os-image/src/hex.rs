//! Digests as text: lower-case hexadecimal.

use std::fmt::Write;

/// `bytes` as lower-case hexadecimal.
pub fn text(bytes: &[u8]) -> String {
    bytes.iter().fold(
        String::with_capacity(bytes.len().saturating_mul(2)),
        |mut text, byte| {
            // writing to a string cannot fail
            let _ = write!(text, "{byte:02x}");
            text
        },
    )
}

/// Reads exactly `N` bytes of hexadecimal, in lower or upper case; `None` for anything else.
pub fn parse<const N: usize>(text: &str) -> Option<[u8; N]> {
    let (pairs, []) = text.as_bytes().as_chunks() else {
        return None;
    };
    let pairs: &[[u8; 2]; N] = pairs.try_into().ok()?;
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = value(*high)? << 4 | value(*low)?;
    }
    Some(bytes)
}

fn value(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
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

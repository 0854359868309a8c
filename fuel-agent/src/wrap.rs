//! Wraps text at spaces.

/// The text in lines of at most `width` columns; a longer word gets a line of its own.
pub(crate) fn lines(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_whole_and_lines_short() {
        assert_eq!(lines("a bc def", 4), ["a bc", "def"]);
        assert_eq!(
            lines("a longer-than-that b", 4),
            ["a", "longer-than-that", "b"]
        );
        assert_eq!(lines("", 4), [""]);
    }
}

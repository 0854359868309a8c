//! Endless texts, and texts that ask for too much memory.

use std::io::{self, Cursor, Read};

use super::*;

/// Reads as `head`, followed by `body` repeated for ever; counts the bytes read.
struct Endless<'a> {
    head: Cursor<&'a str>,
    body: &'a [u8],
    taken: &'a mut u64,
}

impl Read for Endless<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut n = self.head.read(buffer)?;
        while n == 0 || n + self.body.len() <= buffer.len() {
            let now = self.body.len().min(buffer.len() - n);
            buffer[n..n + now].copy_from_slice(&self.body[..now]);
            n += now;
        }
        *self.taken += u64::try_from(n).unwrap();
        Ok(n)
    }
}

/// The number of bytes read of an endless text, and the error.
fn endless(head: &str, body: &str) -> (String, u64) {
    let mut taken = 0;
    let reader = Endless {
        head: Cursor::new(head),
        body: body.as_bytes(),
        taken: &mut taken,
    };
    let limits = Limits {
        text: 1 << 20,
        ..Limits::default()
    };
    let error = Manifest::read(reader, &limits).unwrap_err();
    (error.to_string(), taken)
}

#[test]
fn a_text_that_never_ends_is_given_up_early() {
    let whole = text(&sample());
    let (before, _) = whole.split_once("{\"raw_offset\"").unwrap();
    let chunk = whole
        .lines()
        .find(|line| line.contains("raw_offset\":0,"))
        .unwrap();
    for (head, body, expected) in [
        (
            r#"{"name": ""#,
            "a",
            "a single value of more than 4096 bytes",
        ),
        (
            r#"{"name": ""#,
            r"\n",
            "a single value of more than 4096 bytes",
        ),
        (
            r#"{"release": 1"#,
            "0",
            "a single value of more than 4096 bytes",
        ),
        (r#"{"x": "#, "[", "values nested more than 32 deep"),
        (r#"{"x": "#, r#"{"a":"#, "values nested more than 32 deep"),
        (
            r#"{"features": ["lvm""#,
            r#","lvm""#,
            "a list of at most 64 words",
        ),
        (
            before,
            chunk,
            "at images[0].chunks[1]: `raw_offset` is 0, but",
        ),
    ] {
        let (error, taken) = endless(head, body);
        assert!(error.contains(expected), "{head}: {error}");
        assert!(taken <= 256 << 10, "{head}: {taken} bytes were read");
    }
    for (head, body) in [
        (" ", " "),
        (r#"{"a":1"#, r#","a":1"#),
        (r#"{"x": [1"#, ",1"),
    ] {
        let (error, taken) = endless(head, body);
        assert!(error.contains("more than 1048576 bytes"), "{head}: {error}");
        assert!(taken <= 2 << 20, "{head}: {taken} bytes were read");
    }
}

#[test]
fn a_million_small_chunks_are_refused_before_memory_grows() {
    let (head, _) = text(&sample())
        .split_once("\"raw_size\"")
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    let tail = format!(
        r#""raw_size": {}, "packed_size": 9, "raw_sha256": "{z}", "packed_sha256": "{z}",
        "chunk_size": 1048576, "chunks": ["#,
        1_u64 << 40,
        z = "00".repeat(32)
    );
    let (error, taken) = endless(&(head + &tail), "{}");
    assert!(
        error.contains(
            "the index of 1048576 chunks needs 75497472 bytes, but only 8388608 are allowed"
        ),
        "{error}"
    );
    assert!(taken <= 128 << 10, "{taken} bytes were read");
}

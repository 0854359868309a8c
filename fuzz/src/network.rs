//! What servers send: heads of responses, metadata, manifests, signatures; and how texts of others are shown.

use os_image::manifest::{Limits, Manifest};
use os_image::metadata::Metadata;
use os_image::signature::{TrustedKey, verify};

/// A public key, as a setting has it.
const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

/// Status in the first two bytes, whether the body's length is known in the third, then header lines.
pub(crate) fn head(input: &[u8]) {
    let Some((&[high, low, known], lines)) = input.split_first_chunk() else {
        return;
    };
    let status = u16::from_be_bytes([high, low]);
    let length = (known != 0).then(|| u64::from(known));
    fuel_agent::http::fuzzing::head(status, length, lines);
}

pub(crate) fn metadata(input: &[u8]) {
    match Metadata::parse(&String::from_utf8_lossy(input)) {
        Ok(metadata) => {
            let _ = metadata.image("root.img.gz");
            if let Ok(text) = metadata.render() {
                assert!(Metadata::parse(&text).is_ok(), "what is written is read");
            }
        }
        Err(error) => drop(host::error::one_line(&error)),
    }
}

pub(crate) fn manifest(input: &[u8]) {
    match Manifest::read(input, &Limits::default()) {
        Ok(manifest) => {
            for image in &manifest.images {
                let covered: u64 = image
                    .index
                    .iter()
                    .map(|chunk| u64::from(chunk.raw_length))
                    .sum();
                assert_eq!(covered, image.raw_size, "chunks without gaps");
            }
            let mut text = Vec::new();
            if manifest.write(&mut text).is_ok() {
                let again = Manifest::read(text.as_slice(), &Limits::default());
                assert!(
                    again.is_ok_and(|again| again == manifest),
                    "what is written is read"
                );
            }
        }
        Err(error) => drop(host::error::one_line(&error)),
    }
}

/// A signature's text over a fixed document: none is made up that a key would have made.
pub(crate) fn signature(input: &[u8]) {
    let text = &*String::from_utf8_lossy(input);
    let _ = TrustedKey::parse(text);
    let Ok(key) = TrustedKey::parse(KEY) else {
        panic!("the key is one");
    };
    match verify(&b"document"[..], text, &[key]) {
        Ok(_) => panic!("a signature was made up"),
        Err(error) => drop(host::error::one_line(&error)),
    }
}

/// What reaches a terminal or a log does not steer it.
pub(crate) fn escape(input: &[u8]) {
    let text = &*String::from_utf8_lossy(input);
    let steers = |c: char| c.is_control() || "\u{202a}\u{202e}\u{2066}\u{2069}".contains(c);
    let line = host::printable::escape_line(text);
    assert!(!line.contains(steers), "{line:?}");
    let lines = host::printable::escape(text);
    assert!(
        !lines.contains(|c| c != '\n' && c != '\t' && steers(c)),
        "{lines:?}"
    );
}

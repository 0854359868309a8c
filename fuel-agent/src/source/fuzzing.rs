//! A door for the fuzzer: what the first bytes of an image hold.

use super::check::{check_content, check_head};
use super::prefix::{self, Beginning};
use crate::model::request::Container;

/// Identifies the content of a file that begins with `bytes`; all of it is there if `whole`.
pub fn content(container: Container, bytes: &[u8], whole: bool) {
    let size = whole.then(|| u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    let _ = prefix::content(Beginning { bytes, size }, container);
    let _ = prefix::identify(bytes);
    let _ = (
        check_head(bytes, container, "ext4"),
        check_content(bytes, "ext4"),
    );
}

//! What a raw image is, and whether all of it is there.

use anyhow::Result;
pub(crate) use os_image::content::{Content, Disk, Filesystem, HEAD_LENGTH, look};

use crate::error::refused;

/// Looks at the first [`HEAD_LENGTH`] bytes of an image of `size` bytes; refuses one that says itself that it is
/// longer.
pub(crate) fn of(head: &[u8], size: u64) -> Result<Content> {
    let content = look(head, size);
    match content.size() {
        Some(says) if says > size => Err(refused(
            format!("the image has {size} bytes, but says that it has {says}: it is truncated"),
            "fetch or copy it again",
        )),
        _ => Ok(content),
    }
}

//! Detects the content of a raw image, and whether it is complete.

use anyhow::Result;
pub(crate) use os_image::content::{Content, Disk, Filesystem, HEAD_LENGTH, look};

use crate::error::refused;

/// The content of an image of `size` bytes by its first [`HEAD_LENGTH`] bytes; refuses one whose superblock or
/// partition table declares a larger size.
pub(crate) fn of(head: &[u8], size: u64) -> Result<Content> {
    let content = look(head, size);
    match content.size() {
        Some(declared) if declared > size => Err(refused(
            format!("the image has {size} bytes, but declares {declared}: it is truncated"),
            "fetch or copy it again",
        )),
        _ => Ok(content),
    }
}

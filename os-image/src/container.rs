//! The format of a file by its first bytes. File names and HTTP headers are never used.

use std::fmt;

/// Number of leading bytes that the functions here need.
pub const HEAD_LENGTH: usize = 512;

/// The largest supported window of a zstd frame, which is memory, as a power of two. It is also the default limit of
/// the `zstd` program (`--long=27`).
pub const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// The same in bytes; also the largest dictionary that an xz block may declare.
pub const WINDOW_MAX: u64 = 1 << ZSTD_WINDOW_LOG_MAX;

/// The format of a file by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileFormat {
    /// gzip format (RFC 1952).
    Gzip,
    /// zstd (RFC 8878), also where a skippable frame comes first.
    Zstd,
    /// xz.
    Xz,
    /// bzip2.
    Bzip2,
    /// lz4, frame format.
    Lz4,
    /// QEMU's copy-on-write image.
    Qcow2,
    /// VMware's disk image.
    Vmdk,
    /// zip.
    Zip,
    /// A tar archive.
    Tar,
    /// A format that is recognised but not supported, by its name: another disk image format, an archive.
    Foreign(&'static str),
    /// An HTML page: what a captive portal or an error handler answers in place of a file.
    WebPage,
    /// None of these: presumably the bytes of a disk or a filesystem.
    Raw,
}

/// Magic bytes at the very beginning.
const MAGIC: [(&[u8], FileFormat); 9] = [
    (&[0x1f, 0x8b], FileFormat::Gzip),
    (&[0x28, 0xb5, 0x2f, 0xfd], FileFormat::Zstd),
    (&[0xfd, b'7', b'z', b'X', b'Z', 0], FileFormat::Xz),
    (b"BZh", FileFormat::Bzip2),
    (&[0x04, 0x22, 0x4d, 0x18], FileFormat::Lz4),
    (&[b'Q', b'F', b'I', 0xfb], FileFormat::Qcow2),
    (b"KDMV", FileFormat::Vmdk),
    (b"# Disk Descriptor", FileFormat::Vmdk),
    (b"PK\x03\x04", FileFormat::Zip),
];

/// Magic bytes of unsupported formats: offset, bytes, name of the format.
const FOREIGN: [(usize, &[u8], &str); 20] = [
    (0, b"<<< ", "VDI"),
    (64, &[0x7f, 0x10, 0xda, 0xbe], "VDI"),
    (0, b"vhdxfile", "VHDX"),
    (0, b"conectix", "VHD"),
    (0, b"cxsparse", "VHD"),
    (0, b"COWD", "VMDK of ESX 3"),
    (0, b"QED\0", "QED"),
    (0, b"WithoutFreeSpace", "Parallels"),
    (0, b"WithouFreSpacExt", "Parallels"),
    (0, &[0x3a, 0xff, 0x26, 0xed], "Android sparse image"),
    (0, b"partclone-image", "partclone"),
    (0, b"\0ntfsclone-image", "ntfsclone"),
    (0, b"7z\xbc\xaf\x27\x1c", "7z"),
    (0, b"Rar!\x1a\x07", "rar"),
    (0, b"LZIP", "lzip"),
    (0, b"\x89LZO\0", "lzop"),
    (0, &[0x1f, 0x9d], "compress"),
    (0, b"MSWIM\0\0\0", "WIM"),
    (0, b"070701", "cpio"),
    (0, b"!<arch>\n", "ar"),
];

impl FileFormat {
    /// The format of a file that begins with `head`: its first [`HEAD_LENGTH`] bytes, fewer only if the file is
    /// shorter.
    pub fn by(head: &[u8]) -> Self {
        if let Some((_, found)) = MAGIC.iter().find(|(magic, _)| head.starts_with(magic)) {
            return *found;
        }
        if is_skippable_frame(head) {
            return Self::Zstd;
        }
        let is_there = |(at, magic, _): &&(usize, &[u8], &str)| {
            head.get(*at..).is_some_and(|rest| rest.starts_with(magic))
        };
        if let Some((.., name)) = FOREIGN.iter().find(is_there) {
            return Self::Foreign(name);
        }
        if head.get(257..262) == Some(b"ustar") {
            return Self::Tar;
        }
        if is_web_page(head) {
            return Self::WebPage;
        }
        Self::Raw
    }

    /// The memory in bytes that unpacking a file of this format needs, by its first bytes `head`: the zstd window or
    /// the xz dictionary. `None` where they do not contain it.
    pub fn window(self, head: &[u8]) -> Option<u64> {
        match self {
            Self::Zstd => zstd_window(head),
            Self::Xz => xz_dictionary(head),
            _ => None,
        }
    }

    /// The name of the format for messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Xz => "xz",
            Self::Bzip2 => "bzip2",
            Self::Lz4 => "lz4",
            Self::Qcow2 => "qcow2",
            Self::Vmdk => "vmdk",
            Self::Zip => "zip",
            Self::Tar => "tar",
            Self::Foreign(name) => name,
            Self::WebPage => "web page",
            Self::Raw => "raw",
        }
    }
}

impl fmt::Display for FileFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// `0x184D2A50` to `0x184D2A5F`, little endian: zstd's frames for data that is not the file's.
fn is_skippable_frame(head: &[u8]) -> bool {
    matches!(head, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}

fn is_web_page(head: &[u8]) -> bool {
    let text = head.trim_ascii_start();
    let begins = |word: &[u8]| {
        text.get(..word.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(word))
    };
    begins(b"<!doctype html") || begins(b"<html")
}

/// Size of the window, in bytes, of the zstd frame that begins with `head`.
///
/// `None` where `head` is too short, or is not the header of a frame with data (a skippable frame, say).
pub(crate) fn zstd_window(head: &[u8]) -> Option<u64> {
    let rest = head.strip_prefix(&[0x28, 0xb5, 0x2f, 0xfd])?;
    let (descriptor, rest) = rest.split_first()?;
    let single_segment = descriptor & 0b10_0000 != 0;
    if !single_segment {
        let (exponent, mantissa) = (u32::from(rest.first()? >> 3), rest.first()? & 0b111);
        // in eighths of a power of two, from 1 KiB up
        let eighths = u64::from(mantissa | 0b1000);
        return eighths.checked_shl(exponent.checked_add(7)?);
    }
    // the whole content is the window: its size follows the dictionary's identifier
    let dictionary = match descriptor & 0b11 {
        0b11 => 4,
        short => usize::from(short),
    };
    let size = rest.get(dictionary..)?;
    let length = 1_usize << (descriptor >> 6);
    let value = size
        .get(..length)?
        .iter()
        .rev()
        .fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    // two bytes hold the size minus 256: smaller sizes are written in one byte
    value.checked_add(if length == 2 { 256 } else { 0 })
}

/// Size of the dictionary, in bytes, of the first block of the xz stream that begins with `head`.
///
/// `None` where `head` is too short, the stream has no block, or its filters are not understood: the decoder
/// has its own limit. Layout by "The .xz File Format" 1.2.1, sections 2.1.1, 3.1 and 5.3.1.
pub(crate) fn xz_dictionary(head: &[u8]) -> Option<u64> {
    let block = head
        .strip_prefix(&[0xfd, b'7', b'z', b'X', b'Z', 0])?
        .get(6..)?;
    let (size, flags) = (*block.first()?, *block.get(1)?);
    if size == 0 {
        // an index: there is no block
        return None;
    }
    let mut rest = block.get(2..)?;
    for is_there in [flags & 0x40 != 0, flags & 0x80 != 0] {
        if is_there {
            (_, rest) = xz_integer(rest)?;
        }
    }
    for _ in 0..=(flags & 0b11) {
        let (filter, after) = xz_integer(rest)?;
        let (length, after) = xz_integer(after)?;
        let length = usize::try_from(length).ok()?;
        if filter == LZMA2 {
            return lzma2_dictionary(*after.first()?);
        }
        rest = after.get(length..)?;
    }
    None
}

/// xz's id of the LZMA2 filter, the only one that needs much memory.
const LZMA2: u64 = 0x21;

fn lzma2_dictionary(bits: u8) -> Option<u64> {
    match bits {
        40 => Some(u64::from(u32::MAX)),
        bits if bits < 40 => {
            (2 | u64::from(bits & 1)).checked_shl(u32::from(bits / 2).checked_add(11)?)
        }
        _ => None,
    }
}

/// An integer of xz, seven bits a byte, and what follows it.
fn xz_integer(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (mut value, mut rest) = (0, bytes);
    for shift in (0..63).step_by(7) {
        let byte;
        (byte, rest) = rest.split_first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value, rest));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_their_first_bytes() {
        let mut tar = vec![b'x'; 512];
        tar[257..262].copy_from_slice(b"ustar");
        for (head, found) in [
            (&b"\x1f\x8b\x08\x00"[..], FileFormat::Gzip),
            (b"\x28\xb5\x2f\xfd\x04", FileFormat::Zstd),
            (b"\x50\x2a\x4d\x18\x04\0\0\0", FileFormat::Zstd),
            (b"\x5f\x2a\x4d\x18\x04\0\0\0", FileFormat::Zstd),
            (b"\x60\x2a\x4d\x18\x04\0\0\0", FileFormat::Raw),
            (b"\xfd7zXZ\0", FileFormat::Xz),
            (b"BZh9", FileFormat::Bzip2),
            (b"\x04\x22\x4d\x18", FileFormat::Lz4),
            (b"QFI\xfb\0\0\0\x03", FileFormat::Qcow2),
            (b"PK\x03\x04", FileFormat::Zip),
            (
                b"<<< Oracle VM VirtualBox Disk Image >>>\n",
                FileFormat::Foreign("VDI"),
            ),
            (b"vhdxfileQ\0E\0", FileFormat::Foreign("VHDX")),
            (b"conectix\0\0\0\x02", FileFormat::Foreign("VHD")),
            (b"7z\xbc\xaf\x27\x1c\0\x04", FileFormat::Foreign("7z")),
            (b"<<<", FileFormat::Raw),
            (&tar, FileFormat::Tar),
            (b"\n <!DOCTYPE HTML><title>404</title>", FileFormat::WebPage),
            (b"<html><body>log in</body>", FileFormat::WebPage),
            (&[0; 512], FileFormat::Raw),
            (b"XFSB", FileFormat::Raw),
            (b"\x1f", FileFormat::Raw),
            (b"", FileFormat::Raw),
        ] {
            assert_eq!(FileFormat::by(head), found, "{head:?}");
        }
    }

    #[test]
    fn windows_are_read_from_the_frame_header() {
        const M: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
        let head = |rest: &[u8]| [&M[..], rest].concat();
        for (rest, window) in [
            (&[0x04, 0x00][..], Some(1 << 10)),
            (&[0x04, 17 << 3], Some(1 << 27)),
            (&[0x04, 17 << 3 | 1], Some((1 << 27) + (1 << 24))),
            (&[0x04, 0xff], Some((1 << 41) + (1 << 38) * 7)),
            (&[0x20, 7], Some(7)),
            (&[0x60, 1, 0], Some(257)),
            (&[0xa0, 0, 0, 0, 0x10], Some(1 << 28)),
            (&[0xe0, 0, 0, 0, 0, 0, 0, 0, 0x80], Some(1 << 63)),
            (&[0x23, 9, 9, 9, 9, 5], Some(5)),
            (&[0x04], None),
            (&[0xe0, 1, 2], None),
            (&[], None),
        ] {
            assert_eq!(zstd_window(&head(rest)), window, "{rest:?}");
        }
        assert_eq!(zstd_window(b"\x50\x2a\x4d\x18\x04\0\0\0"), None);
    }

    #[test]
    fn dictionaries_are_read_from_the_first_block_of_xz() {
        let head = |rest: &[u8]| [&b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4\x46"[..], rest].concat();
        for (rest, dictionary) in [
            // as `xz -6` writes it: 8 MiB
            (&[2, 0, 0x21, 1, 22][..], Some(8 << 20)),
            // as `xz -T2` does, both sizes before it
            (
                &[4, 0xc0, 0x80, 0x80, 0x10, 0x80, 0x80, 0x30, 0x21, 1, 22],
                Some(8 << 20),
            ),
            // behind a filter for programs, without and with properties
            (&[3, 1, 0x04, 0, 0x21, 1, 20], Some(4 << 20)),
            (&[3, 1, 0x04, 4, 0, 0, 0, 0, 0x21, 1, 31], Some(192 << 20)),
            (&[2, 0, 0x21, 1, 30], Some(128 << 20)),
            (&[2, 0, 0x21, 1, 0], Some(4096)),
            (&[2, 0, 0x21, 1, 1], Some(6144)),
            (&[2, 0, 0x21, 1, 40], Some(u64::from(u32::MAX))),
            (&[2, 0, 0x21, 1, 41], None),
            // an index, another filter, an endless integer, and ends in the middle
            (&[0, 1, 2], None),
            (&[2, 0, 0x03, 1, 0], None),
            (
                &[
                    2, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1,
                ],
                None,
            ),
            (&[2, 0, 0x21, 1], None),
            (&[2], None),
            (&[], None),
        ] {
            assert_eq!(xz_dictionary(&head(rest)), dictionary, "{rest:?}");
        }
        assert_eq!(
            FileFormat::Xz.window(&head(&[2, 0, 0x21, 1, 22])),
            Some(8 << 20)
        );
        assert_eq!(FileFormat::Raw.window(&head(&[2, 0, 0x21, 1, 22])), None);
    }
}

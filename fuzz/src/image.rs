//! Images: containers, archives, disks of virtual machines.

use fuel_agent::model::request::Container;
use os_image::archive::Archive;
use os_image::disk::{DiskImage, DiskImageError, Qcow2, Vmdk};

use crate::{choice, length};

/// Bytes that are read of what an input unpacks to: a short input may stand for terabytes.
const MOST: u64 = 8 << 20;

fn container(choice: u8) -> Container {
    match choice % 6 {
        0 => Container::Raw,
        1 => Container::Gzip,
        2 => Container::Zstd,
        3 => Container::Xz,
        4 => Container::Bzip2,
        _ => Container::Qcow2,
    }
}

/// The first byte chooses the container, and whether the file ends there.
pub(crate) fn prefix(input: &[u8]) {
    let Some((first, file)) = choice(input) else {
        return;
    };
    fuel_agent::source::fuzzing::content(container(first), file, first & 0x80 == 0);
    let _ = os_image::content::look(file, length(file));
    let _ = os_image::container::FileFormat::by(file).window(file);
}

/// The first byte chooses the container, the second how many bytes arrive at a time.
pub(crate) fn decode(input: &[u8]) {
    let Some((&[first, part], file)) = input.split_first_chunk() else {
        return;
    };
    let container = match container(first) {
        // not a stream: a target of its own
        Container::Qcow2 => Container::Raw,
        stream => stream,
    };
    fuel_agent::stream::fuzzing::unpack(container, file, usize::from(part) * 16 + 1, 8);
}

pub(crate) fn tar(input: &[u8]) {
    let mut archive = Archive::new(input);
    let mut entries = 0_u64;
    loop {
        match archive.advance() {
            Ok(None) => return,
            Ok(Some(entry)) => {
                entries += 1;
                assert!(entries * 512 <= length(input), "an entry needs a header");
                let name = entry.name.as_bytes();
                assert!(!name.starts_with(b"/") && !name.contains(&0), "{name:?}");
                assert!(
                    name.split(|byte| *byte == b'/').all(|part| part != b".."),
                    "{name:?}"
                );
            }
            Err(error) => return drop(host::error::one_line(&error)),
        }
        let mut end = 0;
        loop {
            match archive.data() {
                Ok(None) => break,
                Ok(Some((at, bytes))) => {
                    assert!(at >= end, "data overlaps");
                    end = at + length(bytes);
                }
                Err(error) => return drop(host::error::one_line(&error)),
            }
        }
    }
}

pub(crate) fn qcow2(input: &[u8]) {
    pieces(Qcow2::open(input.to_vec()));
}

pub(crate) fn vmdk(input: &[u8]) {
    pieces(Vmdk::open(input.to_vec()));
}

/// The first pieces, the last one, and some between them.
fn pieces(image: Result<impl DiskImage, DiskImageError>) {
    let mut image = match image {
        Ok(image) => image,
        Err(error) => return drop(host::error::one_line(&error)),
    };
    assert!(image.size() <= os_image::disk::SIZE_MAX);
    let piece = u64::from(image.piece_size());
    assert!(piece.is_power_of_two() && piece <= 2 << 20, "{piece}");
    let count = image.pieces();
    let first = count.min(MOST / piece).min(64);
    let middle = count / 2;
    for number in (0..first).chain([middle, count.saturating_sub(1)]) {
        let mut buffer = vec![0; image.piece_length(number)];
        if let Err(error) = image.piece(number, &mut buffer) {
            return drop(host::error::one_line(&error));
        }
    }
}

//! `inspect`: prints a packed image's manifest, and checks the data files against it.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::sync::mpsc::sync_channel;
use std::thread;

use anyhow::{Context, Result, anyhow};
use host::cancel::Cancel;
use host::units::Bytes;
use os_image::codec::Unpacker;
use os_image::hex;
use os_image::index::Chunk;
use os_image::manifest::Image;
use serde_json::{Value, json};

use crate::error::refused;
use crate::file_digest::{Digesting, FileDigest, WithMd5};
use crate::signed_manifest::{Signed, SignedManifest};
use crate::{pack, pipeline};

/// Text lines of a key and its value.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn put(&mut self, key: &str, value: impl std::fmt::Display) {
        // writing to a string cannot fail
        let _ = writeln!(self.0, "{key:<13} {value}");
    }
}

/// The manifest as text, without its chunks.
pub(crate) fn text(signed_manifest: &SignedManifest) -> String {
    let manifest = &signed_manifest.manifest;
    let os = &manifest.os;
    let or_unknown = |text: String| {
        let known = !text.trim().is_empty();
        if known { text } else { String::from("unknown") }
    };
    let system = [&os.name, &os.version, &os.codename].map(String::as_str);
    let mut lines = Lines::default();
    lines.put(
        "name",
        format_args!("{}, release {}", manifest.name, manifest.release),
    );
    lines.put("system", or_unknown(system.join(" ").trim().to_owned()));
    lines.put("runs on", &manifest.architecture);
    lines.put("boots from", or_unknown(manifest.firmware.join(", ")));
    lines.put("features", or_unknown(manifest.features.join(", ")));
    match signed_manifest.signed {
        Signed::No => lines.put("signature", "none"),
        Signed::Unchecked => lines.put("signature", "present, not checked: no --key was given"),
        Signed::By(key) => lines.put("signature", format_args!("valid, by key {key}")),
    }
    for image in &manifest.images {
        lines.0.push('\n');
        put_image(image, &mut lines);
    }
    lines.0
}

fn put_image(image: &Image, lines: &mut Lines) {
    let zero = image.index.iter().filter(|chunk| chunk.zero).count();
    let size = Bytes(image.index.chunk_size().into());
    lines.put("file", &image.file);
    lines.put("content", content(image));
    lines.put("raw", sized(image.raw_size));
    lines.put("  sha256", hex::text(&image.raw_sha256));
    if let Some(md5) = &image.raw_md5 {
        lines.put("  md5", hex::text(md5));
    }
    lines.put("packed", sized(image.packed_size));
    lines.put("  sha256", hex::text(&image.packed_sha256));
    lines.put(
        "chunks",
        format_args!("{} of {size}, {zero} of them zero", image.index.len()),
    );
}

/// Whole disk or filesystem, mount point and UUID.
fn content(image: &Image) -> String {
    let sectors = image.sector_size;
    let filesystem = image.filesystem.as_ref();
    match (&image.mount, filesystem) {
        (None, _) => format!("a whole disk, sectors of {sectors} bytes"),
        (Some(mount), Some(filesystem)) if filesystem.uuid.is_empty() => {
            format!("{} for {mount}", filesystem.kind)
        }
        (Some(mount), Some(filesystem)) => {
            format!("{} for {mount}, UUID {}", filesystem.kind, filesystem.uuid)
        }
        (Some(mount), None) => format!("a filesystem for {mount}"),
    }
}

/// The size in bytes and, rounded down, in MiB.
fn sized(bytes: u64) -> String {
    let hundredths = bytes.saturating_mul(100) >> 20;
    format!(
        "{bytes} bytes, {}.{:02} MiB",
        hundredths / 100,
        hundredths % 100
    )
}

/// The manifest as JSON, without its chunks, and the result of checking its signature.
pub(crate) fn json(signed_manifest: &SignedManifest) -> Value {
    let manifest = &signed_manifest.manifest;
    let image = |image: &Image| {
        let filesystem = image.filesystem.as_ref();
        json!({
            "file": image.file,
            "mount": image.mount,
            "whole_disk": image.whole_disk,
            "filesystem": filesystem.map(|fs| json!({"type": fs.kind, "uuid": fs.uuid})),
            "sector_size": image.sector_size,
            "raw_size": image.raw_size,
            "packed_size": image.packed_size,
            "raw_sha256": hex::text(&image.raw_sha256),
            "packed_sha256": hex::text(&image.packed_sha256),
            "raw_md5": image.raw_md5.map(|md5| hex::text(&md5)),
            "chunk_size": image.index.chunk_size(),
            "chunk_count": image.index.len(),
            "zero_chunk_count": image.index.iter().filter(|chunk| chunk.zero).count(),
        })
    };
    let key = match signed_manifest.signed {
        Signed::By(key) => Some(key.to_string()),
        Signed::No | Signed::Unchecked => None,
    };
    json!({
        "version": os_image::manifest::VERSION,
        "name": manifest.name,
        "release": manifest.release,
        "os": {
            "family": manifest.os.family,
            "name": manifest.os.name,
            "version": manifest.os.version,
            "codename": manifest.os.codename,
        },
        "architecture": manifest.architecture,
        "firmware": manifest.firmware,
        "features": manifest.features,
        "signed": signed_manifest.signed != Signed::No,
        "verified_by": key,
        "images": manifest.images.iter().map(image).collect::<Vec<_>>(),
    })
}

/// Reads all of every data file and checks the digests of each chunk and of the whole, packed and unpacked.
pub(crate) fn check(signed_manifest: &SignedManifest, cancel: &Cancel) -> Result<()> {
    signed_manifest.check_lengths()?;
    for image in &signed_manifest.manifest.images {
        let path = signed_manifest.data_file(&image.file);
        check_image(image, &path, cancel)
            .with_context(|| format!("{} does not match its manifest", path.display()))?;
    }
    Ok(())
}

/// Buffers for a chunk, packed and unpacked.
#[derive(Debug, Default)]
struct Slot {
    packed: Vec<u8>,
    raw: Vec<u8>,
}

fn check_image(image: &Image, path: &std::path::Path, cancel: &Cancel) -> Result<()> {
    let file = File::open(path).context("cannot open it")?;
    let threads = pipeline::cores();
    let slots = std::iter::repeat_with(Slot::default).take(pipeline::slots(threads));
    let count = u64::try_from(image.index.len())?;
    let bar = pack::bar(image.raw_size);
    let md5 = if image.raw_md5.is_some() {
        WithMd5::Yes
    } else {
        WithMd5::No
    };
    let (to_digest, passing) = sync_channel::<(Slot, crossbeam_channel::Sender<Slot>)>(1);
    let (raw, packed) = thread::scope(|scope| {
        let whole = scope.spawn(move || {
            let mut raw = Digesting::new(io::sink(), md5);
            let mut packed = Digesting::new(io::sink(), WithMd5::No);
            for (slot, give_back) in passing {
                // sinks take everything
                let _ = raw.write_all(&slot.raw).and(packed.write_all(&slot.packed));
                drop(give_back.send(slot));
            }
            (raw.finish().1, packed.finish().1)
        });
        let read = pipeline::in_order(
            count,
            slots.collect(),
            threads,
            cancel,
            || Unpacker::new().context("cannot start zstd"),
            |unpacker, number, slot: &mut Slot| {
                let chunk = image.index.chunk(usize::try_from(number)?);
                let chunk = chunk.ok_or_else(|| anyhow!("the image has no chunk {number}"))?;
                read_chunk(&file, &chunk, unpacker, slot).with_context(|| {
                    format!("chunk {number}, at {} of the file", chunk.packed_offset)
                })
            },
            |slot, (), give_back| {
                bar.inc(u64::try_from(slot.raw.len())?);
                let ended = |_| anyhow!("the digest thread has ended");
                to_digest.send((slot, give_back.clone())).map_err(ended)
            },
        );
        drop(to_digest);
        let whole = whole
            .join()
            .map_err(|_| anyhow!("the digest thread has panicked"));
        read.and(whole)
    })?;
    bar.finish_and_clear();
    compare(image, &raw, &packed)
}

fn read_chunk(file: &File, chunk: &Chunk, unpacker: &mut Unpacker, slot: &mut Slot) -> Result<()> {
    slot.packed.resize(usize::try_from(chunk.packed_length)?, 0);
    slot.raw.resize(usize::try_from(chunk.raw_length)?, 0);
    file.read_exact_at(&mut slot.packed, chunk.packed_offset)
        .context("cannot read it")?;
    unpacker.unpack(chunk, &slot.packed, &mut slot.raw)?;
    Ok(())
}

fn compare(image: &Image, raw: &FileDigest, packed: &FileDigest) -> Result<()> {
    let same = [
        (
            "the sha256 of the raw image",
            raw.sha256 == image.raw_sha256,
        ),
        (
            "the sha256 of the file",
            packed.sha256 == image.packed_sha256,
        ),
        ("the md5 of the raw image", raw.md5 == image.raw_md5),
    ];
    match same.iter().find(|(_, same)| !same) {
        None => Ok(()),
        Some((what, _)) => Err(refused(
            format!("the manifest has a wrong value for {what}"),
            "pack the image again: its chunks are valid, but the manifest is not",
        )),
    }
}

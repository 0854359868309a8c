//! Writing a manifest: the same manifest gives the same bytes, with one chunk a line.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use super::{Image, Manifest, VERSION};
use crate::hex;
use crate::index::Chunk;

impl Manifest {
    /// Writes it as JSON that [`Manifest::read`] accepts, or fails with the reason why it would not.
    pub fn write(&self, mut writer: impl Write) -> io::Result<()> {
        self.check().map_err(|(at, fault)| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("{at}: {fault}"))
        })?;
        let head = json!({
            "version": VERSION,
            "name": self.name,
            "release": self.release,
            "os": {
                "family": self.os.family,
                "name": self.os.name,
                "version": self.os.version,
                "codename": self.os.codename,
            },
            "architecture": self.architecture,
            "firmware": self.firmware,
            "features": self.features,
        });
        open(&mut writer, &head, "")?;
        writer.write_all(b"  \"images\": [")?;
        for (i, image) in self.images.iter().enumerate() {
            writer.write_all(if i == 0 { b"\n    " } else { b",\n    " })?;
            write_image(image, &mut writer)?;
        }
        writer.write_all(b"\n  ]\n}\n")?;
        writer.flush()
    }
}

/// Writes `head` without its closing brace; its keys are indented by `indent` and two spaces.
fn open(writer: &mut impl Write, head: &Value, indent: &str) -> io::Result<()> {
    writer.write_all(b"{\n")?;
    for (key, value) in head.as_object().into_iter().flatten() {
        writeln!(writer, "{indent}  {}: {value},", Value::from(key.as_str()))?;
    }
    Ok(())
}

fn write_image(image: &Image, writer: &mut impl Write) -> io::Result<()> {
    let mut head = Map::new();
    let mut put = |key: &str, value: Value| {
        head.insert(key.to_owned(), value);
    };
    put("file", image.file.as_str().into());
    put("mount", image.mount.as_deref().into());
    put("whole_disk", image.whole_disk.into());
    let filesystem = image
        .filesystem
        .as_ref()
        .map(|filesystem| json!({"type": filesystem.kind, "uuid": filesystem.uuid}));
    put("filesystem", filesystem.into());
    put("sector_size", image.sector_size.into());
    put("raw_size", image.raw_size.into());
    put("packed_size", image.packed_size.into());
    put("raw_sha256", hex::text(&image.raw_sha256).into());
    put("packed_sha256", hex::text(&image.packed_sha256).into());
    if let Some(md5) = &image.raw_md5 {
        put("raw_md5", hex::text(md5).into());
    }
    put("chunk_size", image.index.chunk_size().into());
    open(writer, &head.into(), "    ")?;
    writer.write_all(b"      \"chunks\": [")?;
    for (i, chunk) in image.index.iter().enumerate() {
        writer.write_all(if i == 0 { b"\n" } else { b",\n" })?;
        write_chunk(&chunk, writer)?;
    }
    writer.write_all(b"\n      ]\n    }")
}

fn write_chunk(chunk: &Chunk, writer: &mut impl Write) -> io::Result<()> {
    write!(
        writer,
        "        {{\"raw_offset\":{},\"raw_length\":{},\"packed_offset\":{},\"packed_length\":{},\
         \"raw_blake3\":\"{}\",\"packed_blake3\":\"{}\",\"zero\":{}}}",
        chunk.raw_offset,
        chunk.raw_length,
        chunk.packed_offset,
        chunk.packed_length,
        hex::text(&chunk.raw_digest),
        hex::text(&chunk.packed_digest),
        chunk.zero,
    )
}

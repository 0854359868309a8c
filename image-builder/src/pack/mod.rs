//! `pack`: makes a packed image and its manifest from a disk or filesystem image.
//!
//! ```text
//!   source         the raw bytes: read in place, or unpacked first
//!   probe          their content, by the first bytes
//!   system         the operating system in them, by its files
//!   describe       properties for the manifest: from the options, or as found
//!   unused_blocks  the unused blocks of filesystems
//!   chunks         packs everything on all cores
//!   gzip           the gzip file, for agents that do not support zstd
//! ```

mod chunks;
mod describe;
mod gzip;
mod probe;
mod source;
mod system;
mod unused_blocks;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use host::cancel::Cancel;
use host::exec::Exec;
use indicatif::{ProgressBar, ProgressStyle};
use os_image::container::FileFormat;
use os_image::index::{CHUNK_SIZE_MAX, chunk_size_for};
use os_image::manifest::{Image, Manifest, manifest_file_name, signature_file_name};
use sbom::{Bom, Component, Kind as ComponentKind};
use tracing::info;

pub(crate) use chunks::Done;
use chunks::Job;
use describe::{Described, describe};

use crate::cli::{ImageOptions, Pack, Packing};
use crate::error::refused;
use crate::file_digest::WithMd5;
use crate::output::Outputs;
use crate::{metadata, pipeline};

/// Default of the smallest chunk size: smaller chunks pack worse, larger ones transfer more for a small change.
const CHUNK_SIZE: u32 = 2 << 20;
/// gzip's level.
const GZIP_LEVEL: u32 = 6;

/// The files that were made.
#[derive(Debug)]
pub(crate) struct Packed {
    /// Folder of the files.
    pub(crate) folder: PathBuf,
    /// Their manifest.
    pub(crate) manifest: Manifest,
    /// Names of the files and their sizes in bytes.
    pub(crate) files: Vec<(String, u64)>,
}

/// Additional output files.
#[derive(Clone, Copy, Debug, Default)]
struct Forms<'a> {
    /// Whether the gzip file is made.
    gz: bool,
    /// The packages to list in Fuel's YAML, which is made if this is given.
    yaml: Option<&'a [String]>,
}

/// Packs the image that `options` name.
pub(crate) fn pack(options: &Pack, exec: &mut dyn Exec, cancel: &Cancel) -> Result<Packed> {
    let name = name(options);
    check_name(&name)?;
    let mut outputs = Outputs::new(&options.out)?;
    let work = options.work.as_ref().unwrap_or(&options.out);
    std::fs::create_dir_all(work).with_context(|| format!("cannot create {}", work.display()))?;
    let format = options.format.map(Into::into);
    let source = source::open(&options.source, format, work, cancel)
        .with_context(|| format!("cannot pack {}", options.source.display()))?;
    let content = probe::of(&source.head(&(0..source.size))?, source.size)?;
    let described = describe(&options.image, &content, &source.path, exec)?;
    let free = if options.skip_free {
        info!("listing unused blocks");
        unused_blocks::extents(&source, &content, exec)?
    } else {
        Vec::new()
    };
    let raw = Raw {
        name: &name,
        source: &source,
        free: &free,
    };
    let packages = options.fuel_yaml.then_some(&[][..]);
    let forms = Forms {
        gz: options.gz,
        yaml: packages,
    };
    let packed = write(
        &raw,
        described,
        forms,
        &options.packing,
        &mut outputs,
        cancel,
    )?;
    source.check_unchanged()?;
    outputs.place()?;
    Ok(packed)
}

/// A filesystem made by `build`, with its properties.
#[derive(Debug)]
pub(crate) struct Built<'a> {
    /// Name of the image.
    pub(crate) name: &'a str,
    /// Path of the filesystem.
    pub(crate) raw: &'a Path,
    /// Its properties.
    pub(crate) options: ImageOptions,
    /// Packages in it, for Fuel's YAML.
    pub(crate) packages: &'a [String],
    /// Options of packing.
    pub(crate) packing: &'a Packing,
    /// Output folder.
    pub(crate) out: &'a Path,
    /// What it is made of, for its bill of materials.
    pub(crate) components: Vec<Component>,
    /// Properties of the bill.
    pub(crate) properties: Vec<(String, String)>,
    /// Time of the image, in seconds since 1970.
    pub(crate) time: u32,
}

impl Built<'_> {
    /// The bill of materials of the image that `manifest` describes.
    fn bom(&self, manifest: &Manifest) -> Bom {
        let image = manifest.images.first();
        let subject = Component {
            sha256: image.map(|image| os_image::hex::text(&image.packed_sha256)),
            properties: self.properties.clone(),
            ..Component::new(
                ComponentKind::OperatingSystem,
                self.name,
                &manifest.release.to_string(),
            )
        };
        let parts = self.components.iter().map(Component::reference).collect();
        Bom {
            dependencies: BTreeMap::from([(subject.reference(), parts)]),
            subject,
            components: self.components.clone(),
            time: Some(self.time),
        }
    }
}

/// Packs a built filesystem, with all additional files.
pub(crate) fn pack_built(
    built: &Built<'_>,
    exec: &mut dyn Exec,
    cancel: &Cancel,
) -> Result<Packed> {
    let mut outputs = Outputs::new(built.out)?;
    let source = source::open(built.raw, Some(FileFormat::Raw), built.out, cancel)?;
    let content = probe::of(&source.head(&(0..source.size))?, source.size)?;
    let described = describe(&built.options, &content, built.raw, exec)?;
    let raw = Raw {
        name: built.name,
        source: &source,
        free: &[],
    };
    let forms = Forms {
        gz: true,
        yaml: Some(built.packages),
    };
    let packed = write(&raw, described, forms, built.packing, &mut outputs, cancel)?;
    let bom = built.bom(&packed.manifest).render();
    outputs.write(&format!("{}.cdx.json", built.name), |out| {
        out.write_all(bom.as_bytes())
    })?;
    outputs.place()?;
    Ok(packed)
}

/// The image to be packed.
struct Raw<'a> {
    name: &'a str,
    source: &'a source::Source,
    free: &'a [std::ops::Range<u64>],
}

/// The name of the image: `--name`, or the source's name up to its first dot.
fn name(options: &Pack) -> String {
    if let Some(name) = &options.name {
        return name.clone();
    }
    let file = options
        .source
        .file_name()
        .unwrap_or_default()
        .to_string_lossy();
    let stem = file.split('.').next().unwrap_or_default();
    stem.to_owned()
}

/// Refuses a name that the manifest or Fuel does not allow.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > 100 || name.starts_with('-') || !name.chars().all(good) {
        return Err(refused(
            format!("`{name}` cannot name an image: letters, digits, `-` and `_` only"),
            "give another name with --name",
        ));
    }
    Ok(())
}

fn chunk_size(packing: &Packing, size: u64) -> Result<u32> {
    let smallest = match packing.chunk_size {
        None => CHUNK_SIZE,
        Some(size) => u32::try_from(size.0).unwrap_or(u32::MAX),
    };
    let fits = chunk_size_for(size, smallest);
    match (packing.chunk_size, fits) {
        (None, Some(chunk_size)) => Ok(chunk_size),
        (Some(_), Some(chunk_size)) if chunk_size == smallest => Ok(chunk_size),
        (Some(asked), Some(larger)) => Err(refused(
            format!("with chunks of {asked} the index would exceed 8 MiB"),
            format!("use `--chunk-size {}MiB` or more", larger >> 20),
        )),
        (Some(size), None) if size.0 > CHUNK_SIZE_MAX.into() => Err(refused(
            format!("the chunk size is {size}, but at most 16 MiB is supported"),
            "use a smaller `--chunk-size`",
        )),
        (_, None) => Err(refused(
            format!("an image of {size} bytes is too large: its index would exceed 8 MiB"),
            "shrink the image to 1.7 TiB or less, which is the maximum with the largest chunks (16 MiB)",
        )),
    }
}

/// Packs `raw` into the files of `outputs`: the data file, the gzip file, the manifest and the YAML, in this order.
fn write(
    raw: &Raw<'_>,
    described: Described,
    forms: Forms<'_>,
    packing: &Packing,
    outputs: &mut Outputs,
    cancel: &Cancel,
) -> Result<Packed> {
    let (source, name) = (raw.source, raw.name);
    let file = format!("{name}.img.zst");
    let (manifest_file, gz_file) = (manifest_file_name(&file), format!("{name}.img.gz"));
    // an earlier manifest, its signature and its bill of materials do not match the new file
    outputs.replaces(&manifest_file);
    outputs.replaces(&signature_file_name(&manifest_file));
    outputs.replaces(&format!("{name}.cdx.json"));
    let threads = packing.threads.map_or_else(pipeline::cores, usize::from);
    let job = Job {
        file: &source.file,
        size: source.size,
        free: raw.free,
        chunk_size: chunk_size(packing, source.size)?,
        level: packing.level,
        gzip_level: GZIP_LEVEL,
        md5: if forms.yaml.is_some() {
            WithMd5::Yes
        } else {
            WithMd5::No
        },
        threads,
    };
    info!(
        "packing {} bytes in chunks of {} MiB",
        source.size,
        job.chunk_size >> 20
    );
    let data = outputs.create(&file)?;
    let gzip = forms.gz.then(|| outputs.create(&gz_file)).transpose()?;
    let bar = bar(source.size);
    let done = job.run(&data, gzip.as_ref(), cancel, &bar)?;
    bar.finish_and_clear();
    let mut files = vec![(file.clone(), done.packed.size)];
    files.extend(done.gzip.as_ref().map(|gzip| (gz_file, gzip.size)));
    let yaml = forms.yaml.map(|packages| {
        metadata::fuel_yaml(
            name,
            packages,
            &described.os,
            described.filesystem.as_ref(),
            &done,
        )
    });
    let manifest = manifest(name, packing.release, described, file, done);
    outputs.write(&manifest_file, |out| manifest.write(out))?;
    if let Some(yaml) = yaml.transpose().context("cannot write the YAML")? {
        let yaml_file = format!("{name}.yaml");
        outputs.replaces(&signature_file_name(&yaml_file));
        outputs.write(&yaml_file, |out| out.write_all(yaml.as_bytes()))?;
    }
    Ok(Packed {
        folder: outputs.folder().to_owned(),
        manifest,
        files,
    })
}

fn manifest(name: &str, release: u64, described: Described, file: String, done: Done) -> Manifest {
    Manifest {
        name: name.to_owned(),
        release,
        os: described.os,
        architecture: described.architecture,
        firmware: described.firmware,
        features: described.features,
        images: vec![Image {
            file,
            whole_disk: described.mount.is_none(),
            mount: described.mount,
            filesystem: described.filesystem,
            sector_size: described.sector_size,
            raw_size: done.raw.size,
            packed_size: done.packed.size,
            raw_sha256: done.raw.sha256,
            packed_sha256: done.packed.sha256,
            raw_md5: done.raw.md5,
            index: done.index,
        }],
    }
}

/// A progress bar on standard error; hidden where that is not a terminal.
pub(crate) fn bar(total: u64) -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{bar:40} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}",
    );
    let bar = ProgressBar::new(total);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

//! A FAT filesystem written in process, without mounts or external programs, for sectors of 512 and 4096 bytes.
//!
//! The same input gives the same bytes: timestamps are fixed and the volume id is a parameter. Earlier content of the
//! disk is never part of the filesystem, although only the used sectors are written.

mod walk;

use std::collections::BTreeMap;
use std::io;

use hadris_fat::format::{
    FatFormatOptions, FatTypeSelection, FatVolumeFormatter, MediaType, SectorSize,
};
use hadris_fat::sync::{Read, Seek, SeekFrom, Write};
use hadris_fat::time::{FatDateTime, TimeProvider};
use hadris_fat::{FatVolume, FatVolumeWriteExt};

use self::walk::{content, damaged, folder_of, walk};
use crate::File;

/// Parameters of a new filesystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format<'a> {
    /// Size in bytes.
    pub size: u64,
    /// Logical sector size of the disk in bytes: the kernel refuses a filesystem with smaller sectors.
    pub sector_size: u32,
    /// Volume label, at most 11 characters.
    pub label: &'a str,
    /// Volume id, displayed as the UUID `1234-ABCD`.
    pub volume_id: u32,
    /// The use of the filesystem, which decides the preferred FAT width.
    pub purpose: Purpose,
}

/// The use of a FAT filesystem; decides which of the three FAT widths is tried first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A few small files: the narrowest width that fits.
    Data,
    /// Read by firmware: FAT32 if it is large enough, as the UEFI specification requires for fixed disks.
    EfiSystem,
}

/// Why a FAT filesystem could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum FatError {
    /// Sectors are neither 512 nor 4096 bytes long, or the size is too small or too large.
    #[error("no FAT filesystem fits into {size} bytes with sectors of {sector_size}")]
    NoFormat {
        /// The available size in bytes.
        size: u64,
        /// The sector size in bytes.
        sector_size: u32,
    },
    /// A path that FAT cannot hold.
    #[error("`{0}` is not a valid path in a FAT filesystem")]
    Path(String),
    /// The disk failed, the filesystem is full, or it is damaged.
    #[error("{doing}: {source}")]
    Volume {
        /// The failed operation: `cannot …`.
        doing: String,
        /// Error of the library or of the disk.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It contradicts itself.
    #[error("the filesystem is damaged: `/{path}` {problem}")]
    Damaged {
        /// The file or folder.
        path: String,
        /// What is wrong with it, as a predicate.
        problem: &'static str,
    },
    /// A file reads back differently from what was written.
    #[error("`{0}` reads back differently")]
    Differs(String),
}

fn failed(doing: impl Into<String>) -> impl FnOnce(hadris_fat::Error) -> FatError {
    let doing = doing.into();
    move |source| FatError::Volume {
        doing,
        source: source.to_string().into(),
    }
}

/// A clock fixed at 2000-01-01, so that images are reproducible.
#[derive(Debug)]
struct Fixed;

static FIXED: Fixed = Fixed;

impl TimeProvider for Fixed {
    fn now(&self) -> FatDateTime {
        FatDateTime::new(2000, 1, 1, 0, 0, 0)
    }
}

/// Minimal distance of the number of clusters from the limits between FAT widths: readers differ on the exact limits.
const MARGIN: u32 = 16;

/// Formats `volume` and writes the files, creating their folders.
pub fn write<V: Read + Write + Seek>(
    volume: V,
    format: &Format<'_>,
    files: &[File],
) -> Result<(), FatError> {
    let options = options(format)?;
    let volume = FatVolumeFormatter::format(volume, options)
        .map_err(failed("cannot make the filesystem"))?
        .into_inner();
    update(volume, files)
}

/// Whether the files fit, calculated without making the filesystem.
pub fn fits(format: &Format<'_>, files: &[File]) -> Result<bool, FatError> {
    let options = options(format)?;
    let params = FatVolumeFormatter::calculate_params(&options).map_err(|_| no_format(format))?;
    let sectors = usize::from(params.sectors_per_cluster);
    let cluster = sectors.saturating_mul(params.sector_size).max(1);
    let mut folders: BTreeMap<&str, usize> = BTreeMap::new();
    let mut clusters = 0_usize;
    for file in files {
        clusters = clusters.saturating_add(file.content.len().div_ceil(cluster));
        let mut path = file.path.as_str();
        // The file is an entry of its folder, which is an entry of its own parent.
        loop {
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
            let is_new = !folders.contains_key(folder);
            let used = folders.entry(folder).or_insert(2);
            *used = used.saturating_add(entries(name));
            if folder.is_empty() || !is_new {
                break;
            }
            path = folder;
        }
    }
    for (folder, entries) in folders {
        let room = entries.saturating_mul(32);
        if folder.is_empty() && params.root_entry_count > 0 {
            if entries > usize::from(params.root_entry_count) {
                return Ok(false);
            }
        } else {
            clusters = clusters.saturating_add(room.div_ceil(cluster));
        }
    }
    Ok(u32::try_from(clusters).is_ok_and(|clusters| clusters <= params.cluster_count))
}

/// Maximum number of folder entries of a name: a short one, and one for each 13 characters of a long name.
fn entries(name: &str) -> usize {
    name.chars().count().div_ceil(13).saturating_add(1)
}

/// Makes a small filesystem in memory.
pub fn image(format: &Format<'_>, files: &[File]) -> Result<Vec<u8>, FatError> {
    let size = usize::try_from(format.size).map_err(|_| no_format(format))?;
    let mut bytes = vec![0; size];
    write(io::Cursor::new(bytes.as_mut_slice()), format, files)?;
    Ok(bytes)
}

/// Reads all files of a filesystem, in the order in which they are stored.
pub fn read<V: Read + Seek>(mut volume: V) -> Result<Vec<File>, FatError> {
    // files of a sound filesystem have no cluster in common
    let mut left = volume
        .seek(SeekFrom::End(0))
        .map_err(|error| FatError::Volume {
            doing: "cannot find the end of the filesystem".to_owned(),
            source: format!("{error:?}").into(),
        })?;
    let volume = open(volume)?;
    let mut files = Vec::new();
    walk(&volume, &mut |path, entry| {
        left = left
            .checked_sub(entry.len())
            .ok_or_else(|| damaged(path, "is longer than the room for it"))?;
        let content = content(&volume, path, entry)?;
        files.push(File::new(path, content));
        Ok(())
    })?;
    Ok(files)
}

/// Reads the filesystem back and checks that it holds exactly these files.
pub fn check<V: Read + Seek>(volume: V, files: &[File]) -> Result<(), FatError> {
    let found = read(volume)?;
    let odd = found
        .iter()
        .find(|file| !files.contains(file))
        .or_else(|| files.iter().find(|file| !found.contains(file)));
    match odd {
        Some(file) => Err(FatError::Differs(file.path.clone())),
        None => Ok(()),
    }
}

/// Writes files into an existing filesystem, replacing those of the same name.
pub fn update<V: Read + Write + Seek>(volume: V, files: &[File]) -> Result<(), FatError> {
    let volume = open(volume)?;
    for file in files {
        write_file(&volume, file)?;
    }
    volume
        .sync()
        .map_err(failed("cannot finish the filesystem"))
}

/// Appends `suffix` to the name of every file that `chosen` selects by path, and returns their paths. Firmware does not
/// find such a file any more, but its content stays.
pub fn set_aside<V: Read + Write + Seek>(
    volume: V,
    suffix: &str,
    chosen: impl Fn(&str) -> bool,
) -> Result<Vec<String>, FatError> {
    let volume = open(volume)?;
    let mut paths = Vec::new();
    walk(&volume, &mut |path, _| {
        if chosen(path) {
            paths.push(path.to_owned());
        }
        Ok(())
    })?;
    for path in &paths {
        let doing = || failed(format!("cannot rename `{path}`"));
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let folder = if folder.is_empty() {
            volume.root_dir()
        } else {
            volume.open_dir_path(folder).map_err(doing())?
        };
        let aside = format!("{name}{suffix}");
        if let Some(old) = folder.find(&aside).map_err(doing())? {
            volume.delete(&old).map_err(doing())?;
        }
        if let Some(entry) = folder.find(name).map_err(doing())? {
            volume.rename(&entry, &folder, &aside).map_err(doing())?;
        }
    }
    volume
        .sync()
        .map_err(failed("cannot finish the filesystem"))?;
    Ok(paths)
}

fn no_format(format: &Format<'_>) -> FatError {
    FatError::NoFormat {
        size: format.size,
        sector_size: format.sector_size,
    }
}

/// The first FAT width and cluster size that fit, in the order of preference. The library's own choice fails for some
/// sizes.
fn options(format: &Format<'_>) -> Result<FatFormatOptions, FatError> {
    let sector = match format.sector_size {
        512 => SectorSize::S512,
        4096 => SectorSize::S4096,
        _ => return Err(no_format(format)),
    };
    let widths = match format.purpose {
        Purpose::Data => [
            FatTypeSelection::Fat12,
            FatTypeSelection::Fat16,
            FatTypeSelection::Fat32,
        ],
        Purpose::EfiSystem => [
            FatTypeSelection::Fat32,
            FatTypeSelection::Fat16,
            FatTypeSelection::Fat12,
        ],
    };
    for width in widths {
        // 4 KiB clusters first: the size of a page, and the usual choice of mkfs.fat; then smaller, then larger ones
        for cluster in [4096, 2048, 1024, 512, 8192, 16384, 32768] {
            let sectors = u32::checked_div(cluster, format.sector_size);
            let Some(Ok(sectors)) = sectors.map(u8::try_from) else {
                continue;
            };
            let mut options = FatFormatOptions::new(format.size)
                .volume_label(format.label)
                .sector_size(sector)
                .fat_type(width)
                .media_type(MediaType::FixedDisk)
                .volume_id(format.volume_id);
            if sectors == 0 {
                continue;
            }
            options.sectors_per_cluster = Some(sectors);
            let fits = FatVolumeFormatter::calculate_params(&options)
                .is_ok_and(|fit| clear_of_borders(fit.cluster_count));
            if fits {
                return Ok(options);
            }
        }
    }
    Err(no_format(format))
}

fn clear_of_borders(clusters: u32) -> bool {
    clusters >= MARGIN
        && [4085_u32, 65525]
            .iter()
            .all(|border| clusters.abs_diff(*border) > MARGIN)
}

/// Rewinds the disk and opens the filesystem on it.
fn open<V: Read + Seek>(mut volume: V) -> Result<FatVolume<V>, FatError> {
    volume
        .seek(SeekFrom::Start(0))
        .map_err(|error| FatError::Volume {
            doing: "cannot go to the start of the filesystem".to_owned(),
            source: format!("{error:?}").into(),
        })?;
    FatVolume::builder(volume)
        .time_provider(&FIXED)
        .open()
        .map_err(failed("cannot open the filesystem"))
}

fn write_file<V: Read + Write + Seek>(volume: &FatVolume<V>, file: &File) -> Result<(), FatError> {
    let path = &file.path;
    let doing = || failed(format!("cannot write `{path}`"));
    let mut folder = volume.root_dir();
    let mut names = path.split('/').peekable();
    while let Some(name) = names.next() {
        if name.is_empty() || name == "." || name == ".." {
            return Err(FatError::Path(path.clone()));
        }
        let found = folder.find(name).map_err(doing())?;
        if names.peek().is_some() {
            folder = match found {
                Some(entry) => folder_of(volume, &entry, name, doing())?,
                None => volume.create_dir(&folder, name).map_err(doing())?,
            };
            continue;
        }
        if let Some(old) = found {
            volume.delete(&old).map_err(doing())?;
        }
        let entry = volume.create_file(&folder, name).map_err(doing())?;
        let mut writer = volume.write_file(&entry).map_err(doing())?;
        let mut rest = file.content.as_slice();
        while !rest.is_empty() {
            let written = writer.write(rest).map_err(doing())?;
            rest = rest.get(written..).unwrap_or_default();
        }
        writer.finish().map_err(doing())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;

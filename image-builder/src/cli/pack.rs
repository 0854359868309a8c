//! Options of `pack`, and those that `build` shares with it.

use std::path::PathBuf;

use clap::Args;
use host::units::Bytes;
use os_image::container::FileFormat;

/// Format of the input, which overrides detection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// The bytes of a disk or filesystem.
    Raw,
    /// QEMU's disk image.
    Qcow2,
    /// VMware's disk image.
    Vmdk,
    /// gzip.
    Gz,
    /// xz.
    Xz,
    /// zstd.
    Zst,
    /// bzip2.
    Bz2,
}

impl From<Format> for FileFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Raw => Self::Raw,
            Format::Qcow2 => Self::Qcow2,
            Format::Vmdk => Self::Vmdk,
            Format::Gz => Self::Gzip,
            Format::Xz => Self::Xz,
            Format::Zst => Self::Zstd,
            Format::Bz2 => Self::Bzip2,
        }
    }
}

/// Kind of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// A whole disk, with its partition table.
    Disk,
    /// One filesystem.
    Filesystem,
}

/// Options of `pack`.
#[derive(Args, Debug)]
pub(crate) struct Pack {
    /// The image, or a block device that is not in use.
    pub(crate) source: PathBuf,
    /// Format of the source; by default it is detected from the first bytes.
    #[arg(long, value_enum)]
    pub(crate) format: Option<Format>,
    /// Output folder for NAME.img.zst and NAME.manifest.json.
    #[arg(long, value_name = "DIR", default_value = "target/images")]
    pub(crate) out: PathBuf,
    /// Name of the image, without dots; by default the name of the source up to its first dot.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Record unused blocks of the filesystem (ext2, ext3, ext4, xfs), or of each filesystem on a disk, as zero.
    ///
    /// Data of deleted files is then not part of the image. The filesystem is first checked with `e2fsck` or
    /// `xfs_repair`, which write nothing; one that is not clean is refused.
    ///
    /// Whole disks require root: their partitions become read-only loop devices.
    #[arg(long)]
    pub(crate) skip_free: bool,
    /// Also write NAME.img.gz, for agents that do not support zstd.
    #[arg(long)]
    pub(crate) gz: bool,
    /// Also write NAME.yaml, the metadata with md5 that Fuel's agents need.
    #[arg(long)]
    pub(crate) fuel_yaml: bool,
    /// Folder for the unpacked image while it is packed; by default the output folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) work: Option<PathBuf>,
    /// Properties of the image.
    #[command(flatten)]
    pub(crate) image: ImageOptions,
    /// Options of packing.
    #[command(flatten)]
    pub(crate) packing: Packing,
}

/// Properties of an image, which override what is found in it.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Properties of the image (by default as found in it)")]
pub(crate) struct ImageOptions {
    /// Whether it is a whole disk or a filesystem.
    #[arg(long, value_enum)]
    pub(crate) kind: Option<Kind>,
    /// Mount point of its filesystem.
    #[arg(long, value_name = "PATH", default_value = "/")]
    pub(crate) mount: String,
    /// Sector size of the disks that it can be written to.
    #[arg(long, value_name = "BYTES", value_parser = ["512", "4096"])]
    pub(crate) sector_size: Option<String>,
    /// Family of its operating system, like debian.
    #[arg(long, value_name = "WORD")]
    pub(crate) os_family: Option<String>,
    /// Name of its operating system, like "Debian GNU/Linux".
    #[arg(long, value_name = "TEXT")]
    pub(crate) os_name: Option<String>,
    /// Version of its operating system, like 12.
    #[arg(long, value_name = "TEXT")]
    pub(crate) os_version: Option<String>,
    /// Codename of its operating system, like bookworm.
    #[arg(long, value_name = "WORD")]
    pub(crate) os_codename: Option<String>,
    /// Machine architecture, like aarch64.
    #[arg(long, value_name = "WORD")]
    pub(crate) architecture: Option<String>,
    /// Firmware that it can boot from: bios, uefi; may be given more than once.
    #[arg(long, value_name = "WORD", value_delimiter = ',')]
    pub(crate) firmware: Vec<String>,
    /// Feature of its operating system: lvm, md, cloud-init, grub-pc, grub-efi, ...; may be given more than once.
    #[arg(long = "feature", value_name = "WORD", value_delimiter = ',')]
    pub(crate) features: Vec<String>,
}

/// Options of packing, for `pack` and `build`.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Packing")]
pub(crate) struct Packing {
    /// Release number of the image, which must grow: nodes may refuse a smaller one.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) release: u64,
    /// zstd compression level, 1 to 19.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(i32).range(1..=19))]
    pub(crate) level: i32,
    /// Chunk size: 1, 2, 4, 8 or 16 MiB; by default 2 MiB, or more if the index would exceed 8 MiB.
    #[arg(long, value_name = "SIZE")]
    pub(crate) chunk_size: Option<Bytes>,
    /// Number of threads; by default one per core. The result does not depend on it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
}

impl Default for Packing {
    fn default() -> Self {
        Self {
            release: 1,
            level: 9,
            chunk_size: None,
            threads: None,
        }
    }
}

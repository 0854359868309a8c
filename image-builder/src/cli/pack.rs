//! Options of `pack`, and those that `build` shares with it.

use std::path::PathBuf;

use clap::Args;
use host::units::Bytes;
use os_image::container::FileFormat;

/// What the input may be, where its first bytes are not to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// The bytes of a disk or filesystem.
    Raw,
    /// QEMU's.
    Qcow2,
    /// VMware's.
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

/// What an image is of.
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
    /// What it is wrapped in; by default its first bytes say it.
    #[arg(long, value_enum)]
    pub(crate) format: Option<Format>,
    /// Folder that gets NAME.img.zst and NAME.manifest.json.
    #[arg(long, value_name = "DIR", default_value = "target/images")]
    pub(crate) out: PathBuf,
    /// Name of the image, without dots; by default the name of the source up to its first dot.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Record the blocks that the filesystem (ext2, ext3, ext4, xfs), or each one on a disk, does not use as zero.
    ///
    /// For a whole disk it takes root: its partitions become read-only loop devices.
    ///
    /// Data of deleted files is not in the image then. Refused where the filesystem is not clean: it is
    /// checked first with `e2fsck` or `xfs_repair`, which write nothing.
    #[arg(long)]
    pub(crate) skip_free: bool,
    /// Also write NAME.img.gz, for agents that know no zstd.
    #[arg(long)]
    pub(crate) gz: bool,
    /// Also write NAME.yaml, the metadata with md5 that Fuel's agents ask for.
    #[arg(long)]
    pub(crate) fuel_yaml: bool,
    /// Folder for an unpacked image while it is packed; by default that of --out.
    #[arg(long, value_name = "DIR")]
    pub(crate) work: Option<PathBuf>,
    /// What it is.
    #[command(flatten)]
    pub(crate) what: What,
    /// How it is packed.
    #[command(flatten)]
    pub(crate) packing: Packing,
}

/// What an image is: everything that its bytes do not say, or say wrong.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "What the image is (by default what is found in it)")]
pub(crate) struct What {
    /// A whole disk or a filesystem.
    #[arg(long, value_enum)]
    pub(crate) kind: Option<Kind>,
    /// Where its filesystem belongs.
    #[arg(long, value_name = "PATH", default_value = "/")]
    pub(crate) mount: String,
    /// Bytes in a sector of the disks that it is for: 512 or 4096.
    #[arg(long, value_name = "BYTES", value_parser = ["512", "4096"])]
    pub(crate) sector_size: Option<String>,
    /// Family of its system, like debian.
    #[arg(long, value_name = "WORD")]
    pub(crate) os_family: Option<String>,
    /// Name of its system, like "Debian GNU/Linux".
    #[arg(long, value_name = "TEXT")]
    pub(crate) os_name: Option<String>,
    /// Version of its system, like 12.
    #[arg(long, value_name = "TEXT")]
    pub(crate) os_version: Option<String>,
    /// Codename of its system, like bookworm.
    #[arg(long, value_name = "WORD")]
    pub(crate) os_codename: Option<String>,
    /// What it runs on, like aarch64.
    #[arg(long, value_name = "WORD")]
    pub(crate) architecture: Option<String>,
    /// Firmware that it can boot from: bios, uefi; may be given more than once.
    #[arg(long, value_name = "WORD", value_delimiter = ',')]
    pub(crate) firmware: Vec<String>,
    /// What its system can do: lvm, md, cloud-init, grub-pc, grub-efi, ...; may be given more than once.
    #[arg(long = "feature", value_name = "WORD", value_delimiter = ',')]
    pub(crate) features: Vec<String>,
}

/// How an image is packed.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "How it is packed")]
pub(crate) struct Packing {
    /// Number of this release of the image, which grows: nodes may refuse an older one.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) release: u64,
    /// Level of zstd, 1 to 19.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(i32).range(1..=19))]
    pub(crate) level: i32,
    /// Size of the chunks: 1, 2, 4, 8 or 16 MiB; by default 2 MiB, and more where the index would not fit in 8 MiB.
    #[arg(long, value_name = "SIZE")]
    pub(crate) chunk_size: Option<Bytes>,
    /// How many threads pack; by default one for every core. The result is the same.
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

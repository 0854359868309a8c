//! The request as planning needs it: nothing left to guess, whatever the dialect it came in.
//!
//! Disks are named by selectors, not by nodes; everything on them refers to (disk, partition number), array or logical
//! volume by index. Which real disk is meant is decided in `inventory::select`, where its extents lie in `plan`.

use std::fmt;
use std::net::IpAddr;

use host::units::Bytes;
use serde::{Deserialize, Serialize};

/// Which kind of `provision.json` it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// What Fuel's orchestrator sends.
    Nailgun,
    /// The same with an explicit layout.
    NailgunSimple,
    /// Disks and images only.
    Ironic,
}

/// A text that must not reach a log, an error or a report: it prints as `***`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Something wrong with the input: where, what, and what would be right. All of them are reported at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// JSON path, like `ks_meta.pm_data.ks_spaces[0].volumes[3].size`.
    pub path: String,
    /// What is wrong.
    pub what: String,
    /// What would be right.
    pub hint: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.what)
    }
}

/// A request that has been checked in itself: it may still not fit this node.
#[derive(Clone, Debug)]
pub struct Request {
    /// The dialect it was written in.
    pub dialect: Dialect,
    /// Lower-case hexadecimal sha256 of the input in canonical form (keys sorted, no spaces): its identity.
    pub digest: String,
    /// What the disks shall look like.
    pub storage: Storage,
    /// What is written onto filesystems.
    pub images: Vec<ImageSpec>,
    /// How the system shall start.
    pub boot: BootSpec,
    /// Who the node is; `None` where the dialect does not say (ironic).
    pub node: Option<NodeSpec>,
    /// Where the cloud-init data goes, if any goes anywhere; its content is made from `node`, or is the ready-made image that
    /// was found on the node ([`Context::ready_configdrive`](super::Context)) where `node` is `None`.
    pub configdrive: Option<BlockRef>,
    /// What is odd but accepted, as upstream accepts it.
    pub warnings: Vec<String>,
    /// What can be planned, as upstream plans it, but what `run` will not do (exit 3): upstream would fail half way, with the
    /// data already gone.
    pub refusals: Vec<Problem>,
}

/// The storage part of a request. References are indexes into these lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Storage {
    /// Disks that take part, in the order they are worked on.
    pub disks: Vec<DiskSpec>,
    /// md arrays.
    pub raids: Vec<RaidSpec>,
    /// LVM physical volumes.
    pub physical_volumes: Vec<PhysicalVolumeSpec>,
    /// LVM volume groups.
    pub volume_groups: Vec<VolumeGroupSpec>,
    /// LVM logical volumes.
    pub logical_volumes: Vec<LogicalVolumeSpec>,
    /// Filesystems and swap, in the order they are made and stand in fstab.
    pub filesystems: Vec<FilesystemSpec>,
    /// Nodes that an explicit layout uses but does not make, like a partition of a disk that it does not list. Each has its
    /// entry in [`Request::refusals`].
    pub undefined: Vec<String>,
}

impl Storage {
    /// Whether anything on the disks is to be kept: then no partition table, array, group or volume is made anew.
    pub fn keeps_anything(&self) -> bool {
        self.disks
            .iter()
            .flat_map(|disk| &disk.partitions)
            .any(|partition| partition.keep_data)
            || self.volume_groups.iter().any(|group| group.keep_data)
            || self.logical_volumes.iter().any(|volume| volume.keep_data)
            || self
                .filesystems
                .iter()
                .any(|filesystem| filesystem.keep_data)
            || self.raids.iter().any(|raid| raid.keep_data)
            || self.physical_volumes.iter().any(|volume| volume.keep_data)
    }
}

/// A disk as the request names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskSpec {
    /// Which disk is meant.
    pub selector: DiskSelector,
    /// Where in the request it stands, as a JSON path.
    pub path: String,
    /// The partition table.
    pub table: Table,
    /// Whether boot code goes onto it.
    pub bootloader: bool,
    /// Its partitions, in order of creation.
    pub partitions: Vec<PartitionSpec>,
}

/// How a request says which disk it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskSelector {
    /// Fuel's rule: any of the `extra` links that is a by-id link, else (without `extra`) the `id` as a link; else, or if the
    /// links match several and the name just one, the kernel name.
    Fuel {
        /// Links without `/dev/`, as in `extra`.
        extra: Vec<String>,
        /// Link or kernel name without `/dev/`; used when `extra` is empty.
        id: String,
        /// Kernel name without `/dev/`, may hold a slash.
        name: String,
    },
    /// Exactly this node (`nailgun_simple`).
    Node(String),
}

/// Kind of partition table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Table {
    /// GUID partition table.
    Gpt,
    /// MBR, which parted calls msdos.
    Msdos,
}

/// What a partition is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// GRUB's core image on a GPT disk of a BIOS node.
    BiosGrub,
    /// EFI system partition; on a BIOS node just the space for one.
    Esp,
    /// A filesystem mounted on `/boot`.
    Boot,
    /// A filesystem, or whatever its user makes of it.
    Data,
    /// Member of an md array.
    Raid,
    /// LVM physical volume.
    Pv,
    /// Swap space.
    Swap,
    /// The cloud-init data.
    Configdrive,
}

/// A partition as the request wants it. Its place is exact: Fuel's layout does not depend on the real disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionSpec {
    /// Its number in the table.
    pub number: u32,
    /// Where it starts on the disk.
    pub start: Bytes,
    /// How long it is.
    pub size: Bytes,
    /// What it is for.
    pub role: Role,
    /// GPT partition type as the request gives it; may be something that is no GUID (kept as upstream keeps it, refused by `run`).
    pub type_guid: Option<String>,
    /// Flags of the explicit layout (`bios_grub`, `legacy_boot`, `boot`, `raid`, `lvm`).
    pub flags: Vec<String>,
    /// `primary` or `logical`.
    pub logical: bool,
    /// Whether what is in it stays.
    pub keep_data: bool,
}

/// Something that can hold a filesystem, a physical volume or an array member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BlockRef {
    /// A partition: index of its disk, number in the table.
    Partition {
        /// Index into the disks.
        disk: usize,
        /// Number in the partition table.
        number: u32,
    },
    /// An md array, by index.
    Raid(usize),
    /// A logical volume, by index.
    Logical(usize),
    /// A node that the request names without making it, by index into [`Storage::undefined`]: planned, never run.
    Undefined(usize),
}

/// An md array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaidSpec {
    /// Node it gets, like `/dev/md0`.
    pub device: String,
    /// Level as upstream names it: `mirror`, `raid1`, `1`, `stripe`, `raid0`, `0`.
    pub level: String,
    /// `default` or `0.90`, `1.0`, `1.2`.
    pub metadata: String,
    /// Its members.
    pub members: Vec<BlockRef>,
    /// Its spares (parsed by upstream, never given to mdadm there; given here).
    pub spares: Vec<BlockRef>,
    /// Whether what is on it stays.
    pub keep_data: bool,
}

/// An LVM physical volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhysicalVolumeSpec {
    /// What it is made on.
    pub on: BlockRef,
    /// Size of each metadata area.
    pub metadata_size: Bytes,
    /// Number of metadata areas.
    pub metadata_copies: u32,
    /// Whether what is on it stays.
    pub keep_data: bool,
}

/// An LVM volume group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeGroupSpec {
    /// Its name.
    pub name: String,
    /// Its physical volumes, by index.
    pub physical_volumes: Vec<usize>,
    /// Whether what is in it stays.
    pub keep_data: bool,
}

/// An LVM logical volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogicalVolumeSpec {
    /// Its volume group, by name.
    pub volume_group: String,
    /// Its name.
    pub name: String,
    /// Size asked for; LVM rounds up to extents.
    pub size: Bytes,
    /// Whether what is in it stays.
    pub keep_data: bool,
}

impl LogicalVolumeSpec {
    /// The node it gets: `-` in names is doubled.
    pub fn device(&self) -> String {
        format!(
            "/dev/mapper/{}-{}",
            self.volume_group.replace('-', "--"),
            self.name.replace('-', "--")
        )
    }
}

/// Where a filesystem is mounted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mount {
    /// An absolute path.
    Path(String),
    /// Swap space.
    Swap,
}

impl Mount {
    /// From the text of a request: `swap`, else a path.
    pub(super) fn from_text(text: &str) -> Self {
        match text {
            "swap" => Self::Swap,
            path => Self::Path(path.to_owned()),
        }
    }

    /// As it stands in the request and in fstab's second field.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Path(path) => path,
            Self::Swap => "swap",
        }
    }
}

/// A filesystem or swap space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilesystemSpec {
    /// What it is made on.
    pub on: BlockRef,
    /// Where it is mounted; `None` is formatted but not mounted.
    pub mount: Option<Mount>,
    /// Its type as in `mkfs.TYPE`; unknown types are planned, `run` refuses them.
    pub kind: String,
    /// Its label; cut to what the type can hold when it is made.
    pub label: String,
    /// More options for mkfs, split at spaces (explicit layout only).
    pub options: String,
    /// Whether what is in it stays.
    pub keep_data: bool,
}

/// How an image's bytes are wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Container {
    /// Not at all.
    Raw,
    /// gzip, any number of members.
    Gzip,
    /// zstd, any number of frames.
    Zstd,
    /// xz, any number of streams.
    Xz,
    /// bzip2, any number of streams.
    Bzip2,
    /// QEMU's disk image, without a backing file.
    Qcow2,
}

/// An image and where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSpec {
    /// The mount point it is for.
    pub mount: Mount,
    /// The filesystem it replaces, by index.
    pub filesystem: usize,
    /// `http://`, `https://` or `file://`.
    pub url: String,
    /// Filesystem type inside it; `ext2`, `ext3`, `ext4`, `xfs` are grown afterwards. [`ARCHIVE`] has none inside.
    pub format: String,
    /// How it is wrapped, by the request; its content has to agree.
    pub container: Container,
}

impl ImageSpec {
    /// Whether it may be a packed image: nothing else has a manifest. An archive never is one.
    pub fn may_be_packed(&self) -> bool {
        self.container == Container::Zstd && self.format != ARCHIVE
    }
}

/// The format of an image that is no filesystem but what goes into one: it is unpacked into the one that the layout names.
pub const ARCHIVE: &str = "tar";

/// How the installed system starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootSpec {
    /// Kernel command line as upstream stores it: one leading space, then the request's.
    pub kernel_params: String,
    /// Version of GRUB that upstream would use, by its guess of the operating system.
    pub grub_version: u32,
    /// What upstream guesses the operating system to be, as (name, major, minor).
    pub system: (String, String, String),
    /// The profile, as given.
    pub profile: String,
}

/// Who the node is and everything that Fuel's templates told cloud-init.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSpec {
    /// Fully qualified.
    pub hostname: String,
    /// The interface that boots and is managed.
    pub admin: AdminInterface,
    /// Name servers, quotes taken off, split at commas and spaces.
    pub name_servers: Vec<String>,
    /// Search domains, quotes taken off.
    pub search_domain: String,
    /// (MAC, name) for udev.
    pub interface_names: Vec<(String, String)>,
    /// Address of the orchestrator.
    pub master_ip: String,
    /// Time zone, like `America/Los_Angeles`.
    pub timezone: String,
    /// Keys that may log in as root, in order, quotes taken off, empty ones dropped.
    pub authorized_keys: Vec<String>,
    /// Accounts.
    pub accounts: Vec<Account>,
    /// Puppet.
    pub puppet: Puppet,
    /// The message bus.
    pub mcollective: Mcollective,
    /// Package sources, passed through.
    pub repos: serde_json::Value,
}

/// The interface that is managed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminInterface {
    /// Its name in the installed system.
    pub name: String,
    /// Its address on the wire, lower case.
    pub mac: String,
    /// Its static address.
    pub address: IpAddr,
    /// Its netmask, as given.
    pub netmask: String,
    /// Length of the network prefix.
    pub prefix: u8,
    /// Default gateway; `None` where the request has none.
    pub gateway: Option<IpAddr>,
}

/// An account of the installed system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Login name.
    pub name: String,
    /// Home folder.
    pub homedir: String,
    /// Password in clear, where given: it is hashed when the configdrive is made.
    pub password: Option<Secret>,
    /// A ready crypt(3) hash, where given and no password is.
    pub hashed_password: Option<Secret>,
    /// Tails of sudoers rules.
    pub sudo: Vec<String>,
    /// Keys that may log in.
    pub ssh_keys: Vec<String>,
    /// Login shell.
    pub shell: String,
}

/// Puppet's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Puppet {
    /// Its server.
    pub master: String,
    /// Whether its agent runs.
    pub enable: bool,
}

/// mcollective's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mcollective {
    /// Pre-shared key.
    pub pskey: Secret,
    /// Virtual host.
    pub vhost: String,
    /// Server.
    pub host: String,
    /// User.
    pub user: String,
    /// Password.
    pub password: Secret,
    /// `rabbitmq` or `stomp`.
    pub connector: String,
    /// Whether it runs.
    pub enable: bool,
    /// The node's name on the bus.
    pub identity: String,
}

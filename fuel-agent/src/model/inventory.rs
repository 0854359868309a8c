//! What a node has, as far as planning may use it: a value, read from the machine or from a file (room `inventory`).

use std::path::PathBuf;

use host::units::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::index::{InventoryDiskIndex, indexed_lists};
use super::node::Firmware;
use super::partition_type::PartitionType;

/// Everything that planning may use of a machine. Its JSON form is contract (DESIGN.md, Inventory JSON).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Inventory {
    /// Whole disks, in kernel order.
    pub disks: Vec<Disk>,
    /// Firmware that the node was started by.
    #[serde(default)]
    pub firmware: Firmware,
    /// Like `x86_64`.
    #[serde(default)]
    pub architecture: String,
    /// Size of the memory.
    #[serde(default)]
    pub memory_bytes: Bytes,
    /// Network interfaces that the kernel has.
    #[serde(default)]
    pub interfaces: Vec<Interface>,
    /// What is stacked on the disks now: arrays, volume groups, crypt.
    #[serde(default)]
    pub stacks: Vec<Stack>,
    /// Filesystems that cloud-init of an installed system takes for its data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seeds: Vec<Seed>,
}

indexed_lists!(Inventory {
    disks: [InventoryDiskIndex] Disk,
});

/// A filesystem whose label says that it holds data for cloud-init.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seed {
    /// Device node that it is on: a partition, a whole disk, a volume, a drive.
    pub path: String,
    /// Label, as it is written there.
    pub label: String,
    /// The whole disks below, by path; none for a medium in a drive.
    #[serde(default)]
    pub disks: Vec<String>,
}

impl Seed {
    /// Whether cloud-init looks for this label: that of its source NoCloud, or of ConfigDrive.
    pub fn is_label(label: &str) -> bool {
        ["cidata", "config-2"]
            .iter()
            .any(|seed| label.eq_ignore_ascii_case(seed))
    }
}

/// A whole disk.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, and a key of the contract"
)]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Disk {
    /// Its node, like `/dev/sda`. Required.
    pub path: String,
    /// Its size. Required.
    pub size_bytes: Bytes,
    /// 512 or 4096; 512 where unknown.
    pub logical_sector_size: u32,
    /// At least the logical one.
    pub physical_sector_size: u32,
    /// All links under `/dev/disk`, and `/dev/mapper` names.
    pub links: Vec<String>,
    /// Model, as udev or sysfs has it; empty if unknown.
    pub model: String,
    /// Serial number; empty if unknown.
    pub serial: String,
    /// World-wide name.
    pub wwn: String,
    /// Vendor; empty if unknown.
    pub vendor: String,
    /// `sata`, `nvme`, `scsi`, `virtio`, `usb`, …
    pub transport: String,
    /// Whether the kernel counts it as rotational.
    pub rotational: bool,
    /// Whether it is a removable medium or on a removable bus.
    pub removable: bool,
    /// Whether the kernel has it read-only.
    pub read_only: bool,
    /// What holds it or its partitions now, by kernel name.
    pub holders: Vec<String>,
    /// Whether it, or anything stacked on it, is mounted or is active swap.
    pub mounted: bool,
    /// Whether the running system was started from it.
    pub booted_from: bool,
    /// Whether it is a multipath map (device-mapper).
    pub multipath: bool,
    /// Kind of partition table found, if any: `gpt`, `dos`.
    pub table: Option<String>,
    /// Partitions that the kernel has, or those of its table where it has none.
    pub partitions: Vec<ExistingPartition>,
    /// A signature on the disk as a whole, if any (`LVM2_member`, `linux_raid_member`, `crypto_LUKS`, `ext4`, …).
    pub signature: Option<String>,
    /// What could not be found out about it, because a tool died or the disk did not answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unexamined: Vec<Unexamined>,
}

/// A question about a disk that got no answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Unexamined {
    /// What was asked: `mdadm`, `lvm`, `blkid`, `partition table`.
    pub by: String,
    /// What happened, for people.
    pub why: String,
}

impl Unexamined {
    /// mdadm was asked for the arrays that a disk belongs to.
    pub const MDADM: &'static str = "mdadm";
    /// LVM was asked for the volume groups that a disk belongs to.
    pub const LVM: &'static str = "lvm";
}

/// A partition that is already there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExistingPartition {
    /// Number in the table.
    pub number: u32,
    /// Device node of the partition, below /dev.
    pub path: String,
    /// Offset of its first byte on the disk.
    pub start_bytes: Bytes,
    /// Length in bytes.
    pub size_bytes: Bytes,
    /// Its GPT type, or its MBR type as `0x..`, as udev's `ID_PART_ENTRY_TYPE` has it.
    #[serde(rename = "type_guid")]
    pub partition_type: Option<PartitionType>,
    /// What is in it, as blkid names it.
    pub signature: Option<String>,
    /// Label of what is in it.
    pub label: Option<String>,
    /// UUID of what is in it.
    pub uuid: Option<String>,
}

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Kernel name, such as `eth0`.
    pub name: String,
    /// MAC address.
    pub mac: String,
}

/// A device built on disks or partitions: an array, a volume group, a crypt mapping, a btrfs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stack {
    /// What it is built with.
    pub kind: StackKind,
    /// Its name: `/dev/md127`, a volume group's name, a mapping's name, a filesystem's UUID.
    pub name: String,
    /// Devices it is built on: disks, partitions, or other stacks.
    pub members: Vec<PathBuf>,
    /// The whole disks below all that, by path.
    pub disks: Vec<String>,
    /// Whether the kernel has it active, and so holds the devices below it.
    pub active: bool,
    /// Kernel names of the devices that it provides now, as they stand in [`Disk::holders`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<String>,
}

/// Kind of a [`Stack`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StackKind {
    /// md array, assembled or not.
    Raid,
    /// LVM volume group, active or not.
    VolumeGroup,
    /// dm-crypt mapping.
    Crypt,
    /// btrfs over several devices.
    Btrfs,
    /// Another device-mapper map.
    Mapping,
}

/// Two signatures at once, an old one not wiped when the new one was made: blkid does not report which.
pub(crate) const AMBIVALENT: &str = "ambivalent";

/// Signatures of members of arrays that mdadm examines, as blkid names them.
pub(crate) const RAID_MEMBERS: [&str; 4] = [
    "linux_raid_member",
    "isw_raid_member",
    "ddf_raid_member",
    AMBIVALENT,
];

/// Signature of a physical volume, as blkid names it.
pub(crate) const PHYSICAL_VOLUME: &str = "LVM2_member";

impl Inventory {
    /// Lower-case hexadecimal sha256 over what a plan was made for: each disk by path, size, serial number and
    /// world-wide name, with its partitions. Equal before and after a confirmation, it is still the machine that was
    /// confirmed.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        let mut part = |text: &str| {
            hash.update(text.len().to_le_bytes());
            hash.update(text);
        };
        for disk in &self.disks {
            part("disk");
            for text in [&disk.path, &disk.serial, &disk.wwn] {
                part(text);
            }
            part(&disk.size_bytes.0.to_string());
            for partition in &disk.partitions {
                let (start, size) = (partition.start_bytes.0, partition.size_bytes.0);
                part(&format!("{} {start} {size}", partition.number));
                part(partition.uuid.as_deref().unwrap_or_default());
            }
        }
        let digest = hash.finalize();
        digest
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<Vec<_>>()
            .concat()
    }
}

//! What a node has, as planning may know it: a value, from the machine or from a file (the room `inventory` reads both).

use std::path::PathBuf;

use host::units::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::node::Firmware;
use super::partition_type::PartitionType;

/// Everything that planning may know of a machine. Its JSON form is contract (DESIGN.md, Inventory JSON).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Inventory {
    /// Whole disks, in kernel order.
    pub disks: Vec<Disk>,
    /// How it boots.
    #[serde(default)]
    pub firmware: Firmware,
    /// Like `x86_64`.
    #[serde(default)]
    pub architecture: String,
    /// Size of the memory.
    #[serde(default)]
    pub memory_bytes: Bytes,
    /// Network interfaces.
    #[serde(default)]
    pub interfaces: Vec<Interface>,
    /// What is stacked on the disks now: arrays, volume groups, crypt.
    #[serde(default)]
    pub stacks: Vec<Stack>,
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
    /// Model.
    pub model: String,
    /// Serial number.
    pub serial: String,
    /// World-wide name.
    pub wwn: String,
    /// Vendor.
    pub vendor: String,
    /// `sata`, `nvme`, `scsi`, `virtio`, `usb`, …
    pub transport: String,
    /// Whether it turns.
    pub rotational: bool,
    /// Whether it is a removable medium or on a removable bus.
    pub removable: bool,
    /// Whether the kernel says that it cannot be written.
    pub read_only: bool,
    /// What holds it or its partitions now, by kernel name.
    pub holders: Vec<String>,
    /// Whether it, or anything stacked on it, is mounted or is active swap.
    pub mounted: bool,
    /// Whether the running system was started from it.
    pub booted_from: bool,
    /// Whether it is a multipath map.
    pub multipath: bool,
    /// Kind of partition table found, if any: `gpt`, `dos`.
    pub table: Option<String>,
    /// Partitions found.
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
    /// Its node.
    pub path: String,
    /// Where it starts on the disk.
    pub start_bytes: Bytes,
    /// How long it is.
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
    /// Its name.
    pub name: String,
    /// Its address on the wire.
    pub mac: String,
}

/// Something that lies across disks or partitions: an array, a volume group, a crypt mapping, a btrfs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stack {
    /// What kind.
    pub kind: StackKind,
    /// Its name: `/dev/md127`, a volume group's name, a mapping's name, a filesystem's UUID.
    pub name: String,
    /// The nodes it lies on: disks, partitions, or other stacks.
    pub members: Vec<PathBuf>,
    /// The whole disks below all that, by path.
    pub disks: Vec<String>,
    /// Whether the kernel has it now, and so holds what it lies on.
    pub active: bool,
    /// Kernel names of the devices that it provides now, as they stand in [`Disk::holders`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<String>,
}

/// Kind of a [`Stack`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StackKind {
    /// md array.
    Raid,
    /// LVM volume group.
    VolumeGroup,
    /// dm-crypt mapping.
    Crypt,
    /// btrfs over several devices.
    Btrfs,
    /// Another device-mapper map.
    Mapping,
}

/// Two signatures at once, an old one not wiped by whoever made the new one: blkid does not say which.
pub(crate) const AMBIVALENT: &str = "ambivalent";

/// Signatures of members of arrays that mdadm knows, as blkid names them.
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
    /// world-wide
    /// name, with its partitions. Equal before and after a question to a person, it is still the machine they said yes
    /// to.
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

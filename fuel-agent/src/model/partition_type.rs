//! GPT partition types, as the UEFI and Discoverable Partitions specifications list them.

/// GPT type of GRUB's core image.
pub const BIOS_GRUB: &str = "21686148-6449-6E6F-744E-656564454649";
/// GPT type of an EFI system partition.
pub const ESP: &str = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B";
/// GPT type of a member of an md array.
pub const RAID: &str = "A19D880F-05FC-4D3B-A006-743F0F84911E";
/// GPT type of an LVM physical volume.
pub const LVM: &str = "E6D6D379-F507-44C2-A23C-238F2A3DF928";
/// GPT type of swap space.
pub const SWAP: &str = "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F";
/// GPT type that is written where a plan says none: a Linux filesystem.
pub const DATA: &str = "0FC63DAF-8483-4772-8E79-3D69D8477DE4";

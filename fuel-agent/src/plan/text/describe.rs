//! Each step as one line for people: names and sizes as they will be.

use host::units::{Bytes, Extent};

use super::format;
use crate::model::filesystem::ImageFormat;
use crate::model::index::{
    DiskIndex, LogicalVolumeIndex, PhysicalVolumeIndex, RaidIndex, VolumeGroupIndex,
};
use crate::model::node::Firmware;
use crate::model::plan::{ImageTarget, Plan, PlannedFilesystem, PlannedImage};
use crate::model::sources::PackedFacts;
use crate::model::step::{Arm, Configure, ImageStep, Make, Release, Step};
use crate::model::storage::{BlockRef, Table};

/// The step in words, for the plan and the report.
pub(in crate::plan) fn step(step: &Step, plan: &Plan) -> String {
    let device = |disk: DiskIndex| plan[disk].device.as_str();
    match step {
        Step::Release(release) => let_go(release),
        Step::Disarm { disk, areas } => disarm(plan, device(*disk), areas),
        Step::Make(make) => made(make, plan),
        Step::ActivateKept => activate_kept(plan),
        Step::Image(ImageStep::Write {
            image,
            with_previous,
        }) => write_image(plan, &plan[*image], *with_previous),
        Step::Image(ImageStep::Unpack(image)) => unpack_archive(plan, &plan[*image]),
        Step::Image(ImageStep::Grow(filesystem)) => grow(&plan[*filesystem]),
        Step::Image(ImageStep::ReadTable(disk)) => {
            format!(
                "have the kernel read the partition table of {}",
                plan[*disk].device
            )
        }
        Step::Configure(configure) => configured(configure, plan),
        Step::Verify => {
            "flush, then read back tables, signatures and digests, and find the root".to_owned()
        }
        Step::Arm(Arm::BootCode(disk)) => boot_code(plan, device(*disk)),
        Step::Arm(Arm::Stamp(disk)) => format!("write the identity stamp to {}", device(*disk)),
    }
}

fn let_go(release: &Release) -> String {
    match release {
        Release::StopRaid { device, members } => stop_raid(device, members),
        Release::DeactivateVolumeGroup { name } => format!("deactivate volume group `{name}`"),
        Release::CloseMapping { name } => format!("close mapping `{name}`"),
    }
}

fn made(make: &Make, plan: &Plan) -> String {
    match make {
        Make::Wipe { disk, .. } => format!("wipe old signatures on {}", plan[*disk].device),
        Make::Table(disk) => write_table(plan, *disk),
        Make::Raid(raid) => make_raid(plan, *raid),
        Make::PhysicalVolume(volume) => make_physical_volume(plan, *volume),
        Make::VolumeGroup(group) => make_volume_group(plan, *group),
        Make::LogicalVolume(volume) => make_logical_volume(plan, *volume),
        Make::Filesystem(filesystem) => make_filesystem(&plan[*filesystem]),
    }
}

fn configured(configure: &Configure, plan: &Plan) -> String {
    match configure {
        Configure::MoveContent { from, to, path } => {
            let (from, to) = (&plan[*from], &plan[*to]);
            format!(
                "move `{path}` out of {} into {}",
                format::purpose(from.mount.as_ref()),
                place(to)
            )
        }
        Configure::Fstab => "write /etc/fstab".to_owned(),
        Configure::Identity => write_identity(plan),
        Configure::BootConfig => {
            "write grub.cfg, GRUB's modules and the kernel parameters".to_owned()
        }
        Configure::LoadKernel => {
            "take the installed kernel into memory, to be started without the firmware".to_owned()
        }
        Configure::Configdrive(on) => {
            format!("write the cloud-init data to {}", plan.node_of(*on))
        }
    }
}

fn grow(filesystem: &PlannedFilesystem) -> String {
    format!(
        "grow {} to {}",
        place(filesystem),
        format::short(filesystem.size)
    )
}

fn boot_code(plan: &Plan, device: &str) -> String {
    match plan.firmware {
        Firmware::Bios if plan.gpt_active => {
            format!("install boot code on {device}, its protective entry active")
        }
        Firmware::Bios => format!("install boot code on {device}"),
        Firmware::Uefi => format!("install GRUB on {device}: EFI system partition, boot list"),
    }
}

fn stop_raid(device: &str, members: &[String]) -> String {
    format!("stop array {device} on {}", members.join(", "))
}

fn disarm(plan: &Plan, device: &str, areas: &[Extent]) -> String {
    let more = match areas.len() {
        0 => String::new(),
        1 => ", 1 old boot area".to_owned(),
        count => format!(", {count} old boot areas"),
    };
    let list = match plan.firmware {
        Firmware::Bios => "",
        Firmware::Uefi => ", boot list",
    };
    format!("disarm {device}: boot code{list}, identity stamp{more}")
}

fn write_table(plan: &Plan, disk: DiskIndex) -> String {
    let disk = &plan[disk];
    let kind = match disk.table {
        Table::Gpt => "GPT",
        Table::Msdos => "MBR",
    };
    format!(
        "write a {kind} with {} to {}",
        counted(disk.partitions.len(), "partition"),
        disk.device
    )
}

fn make_raid(plan: &Plan, raid: RaidIndex) -> String {
    let raid = &plan[raid];
    format!(
        "make {} {} of {}",
        raid.level,
        raid.device,
        nodes(plan, &raid.members)
    )
}

fn make_physical_volume(plan: &Plan, volume: PhysicalVolumeIndex) -> String {
    let volume = &plan[volume];
    let (copies, size) = (volume.metadata_copies, volume.metadata_size);
    format!(
        "make physical volume {} (metadata {copies} x {size})",
        plan.node_of(volume.on)
    )
}

fn make_volume_group(plan: &Plan, group: VolumeGroupIndex) -> String {
    let group = &plan[group];
    let on: Vec<BlockRef> = group
        .physical_volumes
        .iter()
        .map(|volume| plan[*volume].on)
        .collect();
    format!("make volume group `{}` of {}", group.name, nodes(plan, &on))
}

fn make_logical_volume(plan: &Plan, volume: LogicalVolumeIndex) -> String {
    let volume = &plan[volume].spec;
    format!(
        "make logical volume `{}/{}` of {}",
        volume.volume_group, volume.name, volume.size
    )
}

fn activate_kept(plan: &Plan) -> String {
    let raids = plan.raids.iter().map(|raid| raid.device.clone());
    let groups = plan
        .volume_groups
        .iter()
        .map(|group| format!("`{}`", group.name));
    let all: Vec<String> = raids.chain(groups).collect();
    format!("activate what is there: {}", all.join(", "))
}

fn make_filesystem(filesystem: &PlannedFilesystem) -> String {
    let label = if filesystem.label.is_empty() {
        String::new()
    } else {
        format!(" `{}`", filesystem.label)
    };
    let size = format::short(filesystem.size);
    let device = &filesystem.device;
    if filesystem.kind.is_swap() {
        return format!("make swap space{label} on {device}, {size}");
    }
    if filesystem.mount.is_none() {
        return format!(
            "make {}{label} on {device}, {size}, not mounted",
            filesystem.kind
        );
    }
    format!(
        "make {}{label} for {}, {size}",
        filesystem.kind,
        place(filesystem)
    )
}

fn write_image(plan: &Plan, image: &PlannedImage, with_previous: bool) -> String {
    let when = if with_previous {
        "at the same time, "
    } else {
        ""
    };
    let facts = &image.facts;
    let line = format!("{when}write {}", from_to(plan, image, "to"));
    match &facts.packed {
        Some(packed) => line + &packed_image(packed, facts.raw_size_bytes),
        None => line,
    }
}

fn unpack_archive(plan: &Plan, image: &PlannedImage) -> String {
    format!("unpack {}", from_to(plan, image, "into"))
}

/// Where it comes from and goes to, and what is known of it.
fn from_to(plan: &Plan, image: &PlannedImage, to: &str) -> String {
    let target = match image.onto {
        ImageTarget::Filesystem(filesystem) => place(&plan[filesystem]),
        ImageTarget::Disk(disk) => plan[disk].device.clone(),
    };
    let facts = &image.facts;
    let size = facts
        .raw_size_bytes
        .map_or_else(|| "size unknown".to_owned(), format::short);
    let digest = match (&facts.raw_sha256, &facts.raw_blake3, &facts.raw_md5) {
        (Some(digest), _, _) => format!("sha256 {}", head(digest)),
        (None, Some(digest), _) => format!("blake3 {}", head(digest)),
        (None, None, Some(digest)) => format!("md5 {}", head(digest)),
        (None, None, None) => "no digest known".to_owned(),
    };
    let content = match &image.format {
        ImageFormat::Unspecified => "as it is",
        format => format.as_str(),
    };
    format!(
        "{} {to} {target}: {content} in {}, {size}, {digest}, trusted by: {}",
        &image.url,
        format::container(image.container),
        facts.trust().name()
    )
}

/// What a packed image is, and what writing it costs.
fn packed_image(packed: &PackedFacts, raw_size: Option<Bytes>) -> String {
    let signed = packed
        .signed_by
        .as_ref()
        .map_or_else(String::new, |key| format!(", signed by {key}"));
    let (name, release) = (&packed.name, packed.release);
    let (fetch, data) = (
        format::short(packed.fetch_bytes),
        format::short(packed.data_bytes),
    );
    let read = format::short(raw_size.unwrap_or_default());
    format!(
        "; packed `{name}` release {release}{signed}; in full {fetch} fetched and {data} written, or {read} read and \
         only what differs"
    )
}

fn write_identity(plan: &Plan) -> String {
    let name = plan.node.as_ref().map_or("", |node| node.hostname.as_str());
    format!("write host name `{name}`, network names and the admin interface")
}

fn place(filesystem: &PlannedFilesystem) -> String {
    format!(
        "{} ({})",
        format::purpose(filesystem.mount.as_ref()),
        filesystem.device
    )
}

fn nodes(plan: &Plan, on: &[BlockRef]) -> String {
    on.iter()
        .map(|on| plan.node_of(*on))
        .collect::<Vec<_>>()
        .join(", ")
}

fn head(digest: &str) -> String {
    let head: String = digest.chars().take(8).collect();
    format!("{head}…")
}

fn counted(count: usize, noun: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{s}")
}

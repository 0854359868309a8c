//! The Plan JSON: a contract (DESIGN.md). Keys are added, never changed.

use host::units::Bytes;
use serde_json::{Value, json};

use crate::model::node::Firmware;
use crate::model::sources::PackedFacts;
use crate::model::storage::{BlockRef, Mount, Table};

use super::format;
use crate::model::plan::{Plan, PlannedDisk, PlannedImage, PlannedPartition, RefusedBy};
use crate::model::step::PlannedStep;

/// The plan as the contract has it.
pub(in crate::plan) fn plan(plan: &Plan) -> Value {
    json!({
        "disks": list(&plan.disks, disk),
        "raids": raids(plan),
        "physical_volumes": physical_volumes(plan),
        "volume_groups": volume_groups(plan),
        "logical_volumes": logical_volumes(plan),
        "filesystems": filesystems(plan),
        "images": images(plan),
        "configdrive": plan.configdrive.map(|on| json!({"device": plan.node_of(on)})),
        "phone_home": plan.phone_home,
        "first_boot": plan.first_boot.lines(),
        "keeps_partitions": plan.keeps_partitions,
        "warnings": plan.warnings,
        "refusals": refusals(plan),
        "firmware": match plan.firmware {
            Firmware::Bios => "bios",
            Firmware::Uefi => "uefi",
        },
        "request_sha256": plan.request_digest,
        "generation": plan.generation,
        "steps": list(&plan.steps, step),
    })
}

fn step(planned: &PlannedStep) -> Value {
    let mut value = json!({
        "number": planned.number,
        "stage": planned.stage.name(),
        "what": planned.what,
        "destroys": planned.destroys,
    });
    if let (true, Some(object)) = (planned.step.goes_with_previous(), value.as_object_mut()) {
        object.insert("with_previous".to_owned(), Value::Bool(true));
    }
    value
}

fn list<T>(items: &[T], item: impl Fn(&T) -> Value) -> Value {
    Value::Array(items.iter().map(item).collect())
}

fn disk(disk: &PlannedDisk) -> Value {
    json!({
        "device": disk.device,
        "disk_id": disk.disk_id,
        "model": disk.model,
        "size_bytes": disk.size,
        "sector_bytes": disk.sector_size,
        "table": match disk.table {
            Table::Gpt => "gpt",
            Table::Msdos => "msdos",
        },
        "bootloader": disk.bootloader,
        "partitions": list(&disk.partitions, partition),
    })
}

fn partition(partition: &PlannedPartition) -> Value {
    let mib = Bytes::as_whole_mib;
    json!({
        "number": partition.number,
        "device": partition.device,
        "start_mib": mib(partition.extent.start),
        "size_mib": mib(partition.extent.length),
        "start_bytes": partition.extent.start,
        "size_bytes": partition.extent.length,
        "role": format::role(partition.role),
        "type_guid": partition.partition_type,
        "name": partition.name,
        "legacy_boot": partition.legacy_boot,
        "keep_data": partition.keep_data,
    })
}

fn images(plan: &Plan) -> Value {
    list(&plan.images, |image| {
        let filesystem = plan.filled_by(image);
        let mount = filesystem.and_then(|filesystem| filesystem.mount.as_ref());
        let mut value = json!({
            "url": &image.url,
            "device": plan.device_of(image),
            "mount": mount.map(Mount::as_str),
            "format": image.format,
            "container": format::container(image.container),
            "size_bytes": image.facts.size_bytes,
            "raw_size_bytes": image.facts.raw_size_bytes,
            "raw_md5": image.facts.raw_md5,
            "raw_sha256": image.facts.raw_sha256,
            "trust": image.facts.trust(),
        });
        if let (Some(packed), Some(object)) = (&image.facts.packed, value.as_object_mut()) {
            object.insert("packed".to_owned(), packed_image(image, packed));
        }
        value
    })
}

/// Cost of writing it: in full, and where what the disk holds is read first. How much of the latter must be written is
/// not known before that.
fn packed_image(image: &PlannedImage, packed: &PackedFacts) -> Value {
    json!({
        "name": packed.name,
        "release": packed.release,
        "manifest_sha256": packed.manifest_sha256,
        "signed_by": packed.signed_by,
        "architecture": packed.architecture,
        "firmware": packed.firmware,
        "features": packed.features,
        "chunk_size_bytes": packed.chunk_size_bytes,
        "chunks": packed.chunks,
        "full": {"fetch_bytes": packed.fetch_bytes, "write_bytes": packed.data_bytes},
        "delta": {
            "read_bytes": image.facts.raw_size_bytes,
            "fetch_bytes_most": packed.fetch_bytes,
            "write_bytes_most": packed.data_bytes,
        },
    })
}

fn raids(plan: &Plan) -> Value {
    let nodes = |on: &[BlockRef]| list(on, |on| json!(plan.node_of(*on)));
    list(&plan.raids, |raid| {
        json!({
            "device": raid.device,
            "level": raid.level,
            "metadata": raid.metadata.as_str(),
            "members": nodes(&raid.members),
            "spares": nodes(&raid.spares),
            "keep_data": raid.keep_data,
        })
    })
}

fn physical_volumes(plan: &Plan) -> Value {
    list(&plan.physical_volumes, |volume| {
        json!({
            "device": plan.node_of(volume.on),
            "metadata_mib": volume.metadata_size.as_whole_mib(),
            "metadata_bytes": volume.metadata_size,
            "metadata_copies": volume.metadata_copies,
        })
    })
}

fn volume_groups(plan: &Plan) -> Value {
    list(&plan.volume_groups, |group| {
        let volumes = group.physical_volumes.iter();
        let devices: Vec<String> = volumes
            .map(|volume| plan.node_of(plan[*volume].on))
            .collect();
        json!({"name": group.name, "devices": devices, "keep_data": group.keep_data})
    })
}

fn logical_volumes(plan: &Plan) -> Value {
    list(&plan.logical_volumes, |volume| {
        json!({
            "volume_group": volume.spec.volume_group,
            "name": volume.spec.name,
            "size_mib": volume.spec.size.as_whole_mib(),
            "size_bytes": volume.spec.size,
            "device": volume.device,
            "keep_data": volume.spec.keep_data,
        })
    })
}

fn filesystems(plan: &Plan) -> Value {
    list(&plan.filesystems, |filesystem| {
        json!({
            "device": filesystem.device,
            "mount": filesystem.mount.as_ref().map(Mount::as_str),
            "type": filesystem.kind,
            "label": filesystem.label,
            "options": filesystem.options,
            "keep_data": filesystem.keep_data,
        })
    })
}

fn refusals(plan: &Plan) -> Value {
    list(&plan.refusals, |refusal| {
        json!({
            "what": refusal.what,
            "hint": refusal.hint,
            "exit_status": refusal.kind.exit_status(),
            "by": match refusal.by {
                RefusedBy::Plan => "plan",
                RefusedBy::Run => "run",
            },
        })
    })
}

//! Packed images in plans: their manifests against layout, node and settings; and what they cost.

use super::*;
use crate::model::error::Kind;
use crate::model::inventory::{Disk, Inventory};
use crate::model::plan::RefusedBy;
use crate::model::sources::{ImageContent, PackedFacts};
use crate::model::trust::{ImagePolicy, MinRelease};
use crate::testing::sample_request::{
    URL, empty_disk, known, lvm_request, mib, node, other_warnings,
};
use host::units::Bytes;

/// UUID of the filesystem in the image.
const TWIN: &str = "6f0f7c3e-1d0d-4f60-8b62-0a9e5f2b7c11";

fn manifest() -> PackedFacts {
    PackedFacts {
        manifest: "ubuntu.manifest.json".to_owned(),
        found_at: String::new(),
        manifest_sha256: "ab".repeat(32),
        signed_by: None,
        name: "ubuntu".to_owned(),
        release: 7,
        architecture: "x86_64".to_owned(),
        firmware: vec!["bios".to_owned()],
        features: vec!["lvm".to_owned(), "cloud-init".to_owned()],
        filesystem: Some("ext4".to_owned()),
        filesystem_uuid: Some(TWIN.to_owned()),
        whole_disk: false,
        sector_size_bytes: Bytes(512),
        chunk_size_bytes: Bytes(2 << 20),
        chunks: 1536,
        fetch_bytes: mib(450),
        data_bytes: mib(1440),
    }
}

fn machine() -> Inventory {
    let architecture = "x86_64".to_owned();
    Inventory {
        architecture,
        ..node(vec![empty_disk("/dev/sda", 20480)])
    }
}

fn planned(change: impl FnOnce(&mut PackedFacts), options: &Options, node: &Inventory) -> Plan {
    let mut packed = manifest();
    change(&mut packed);
    let mut sources: Sources = known();
    for facts in sources.images.values_mut() {
        facts.packed = Some(packed.clone());
    }
    plan(
        &lvm_request(),
        node,
        &sources,
        options,
        &mut CountedIds::default(),
    )
    .unwrap()
}

/// The plan where the images hold this, by their first bytes.
fn holding(content: &ImageContent, sector: u32) -> Plan {
    let mut sources: Sources = known();
    for facts in sources.images.values_mut() {
        facts.content = Some(content.clone());
    }
    let disk = Disk {
        logical_sector_size: sector,
        ..empty_disk("/dev/sda", 20480)
    };
    let ids = &mut CountedIds::default();
    let node = node(vec![disk]);
    plan(&lvm_request(), &node, &sources, &Options::default(), ids).unwrap()
}

#[expect(clippy::too_many_lines, reason = "most of them are the table")]
#[test]
fn an_image_whose_first_bytes_are_of_something_else_is_refused_by_name_with_a_hint() {
    let filesystem = |kind: &str, sector_max: u64, size: Option<Bytes>| ImageContent::Filesystem {
        filesystem: kind.to_owned(),
        sector_size_max_bytes: Bytes(sector_max),
        size_bytes: size,
    };
    let disk = ImageContent::Disk {
        table: "gpt".to_owned(),
        sector_size_bytes: Bytes(512),
        bios: true,
        uefi: true,
        size_bytes: None,
    };
    let file = |name: &str| ImageContent::File {
        format: name.to_owned(),
    };
    for (content, sector, expected, hint) in [
        (
            file("qcow2"),
            512,
            "holds qcow2 where",
            "the qcow2 image itself",
        ),
        (file("gzip"), 512, "holds gzip where", "unpack it once"),
        (file("VHDX"), 512, "holds VHDX where", "qemu-img convert"),
        (
            disk,
            512,
            "is the image of a whole disk",
            "an image of the filesystem",
        ),
        (
            filesystem("xfs", 512, None),
            512,
            "holds `xfs`, the request says",
            "set its `format` to `xfs`",
        ),
        (
            filesystem("LVM2_member", 4096, None),
            512,
            "holds `LVM2_member`",
            "blkid -p",
        ),
        (ImageContent::Unknown, 512, "holds no `ext4`", "blkid -p"),
        (
            ImageContent::Archive,
            512,
            "is a tar archive",
            "format: tar",
        ),
        (
            filesystem("ext4", 1024, None),
            4096,
            "for sectors of 1 KiB at most",
            "such disks",
        ),
        (
            filesystem("ext4", 4096, Some(mib(1 << 20))),
            512,
            "it is cut off",
            "all of its filesystem",
        ),
    ] {
        let plan = holding(&content, sector);
        let mut refusals = plan.refusals.iter();
        let refusal = refusals.find(|it| it.what.contains(expected));
        let refusal = refusal.unwrap_or_else(|| panic!("{content:?}: {:?}", plan.refusals));
        assert_eq!(refusal.kind, Kind::Image);
        assert!(refusal.what.contains(URL), "{}", refusal.what);
        assert!(refusal.hint.contains(hint), "{}", refusal.hint);
    }
    for (content, sector) in [
        (filesystem("ext4", 4096, None), 4096),
        (filesystem("ext2", 1024, None), 512),
    ] {
        assert_eq!(holding(&content, sector).refusals, []);
    }
}

#[test]
fn an_image_that_does_not_fit_the_layout_or_the_node_is_refused_with_a_hint() {
    type Change = fn(&mut PackedFacts);
    let table: [(Change, &str); 6] = [
        (
            |it| it.architecture = "aarch64".to_owned(),
            "runs on aarch64, but this node is x86_64",
        ),
        (
            |it| it.firmware = vec!["uefi".to_owned()],
            "boots from uefi, but this node has bios",
        ),
        (
            |it| it.features = vec!["cloud-init".to_owned()],
            "the layout has logical volumes, but the system in",
        ),
        (
            |it| it.features = vec!["lvm".to_owned()],
            "the layout has cloud-init data, but the system in",
        ),
        (
            |it| it.filesystem = Some("xfs".to_owned()),
            "holds `xfs`, but the request says `ext4`",
        ),
        (|it| it.whole_disk = true, "is the image of a whole disk"),
    ];
    for (change, what) in table {
        let plan = planned(change, &Options::default(), &machine());
        let [refusal] = plan.refusals.as_slice() else {
            panic!("{what}: {:?}", plan.refusals)
        };
        assert_eq!((refusal.kind, refusal.by), (Kind::Image, RefusedBy::Run));
        assert!(refusal.what.contains(what), "{}", refusal.what);
        assert!(!refusal.hint.is_empty());
    }
    let plan = planned(|_| (), &Options::default(), &machine());
    assert_eq!(other_warnings(&plan), [""; 0]);
    assert_eq!(plan.refusals, []);
}

#[test]
fn a_manifest_that_says_nothing_is_believed_to_and_warned_of() {
    let silent = |it: &mut PackedFacts| (it.features, it.firmware) = (Vec::new(), Vec::new());
    let plan = planned(silent, &Options::default(), &machine());
    assert_eq!(plan.refusals, []);
    assert_eq!(
        other_warnings(&plan),
        [format!(
            "the manifest of {URL} does not say what its system can do"
        )]
    );
}

#[test]
fn what_the_ramdisk_requires_is_refused_where_it_is_not_so() {
    let strict = Options {
        images: ImagePolicy {
            require_signature: true,
            min_release: MinRelease {
                any: 8,
                ..MinRelease::default()
            },
            ..ImagePolicy::default()
        },
        ..Options::default()
    };
    let refusals = |change: fn(&mut PackedFacts)| {
        let plan = planned(change, &strict, &machine());
        let refusals = plan.refusals.iter();
        refusals
            .map(|refusal| refusal.what.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        refusals(|_| ()),
        [format!(
            "{URL} has to be signed by a key that is trusted here, and no trusted key has signed its manifest"
        )]
    );
    assert_eq!(
        refusals(|it| it.signed_by = Some("57DD08A3D74587E8".to_owned())),
        [format!(
            "{URL} is release 7 of `ubuntu`, and 8 is the oldest that is written here"
        )]
    );
    let good = refusals(|it| (it.signed_by, it.release) = (Some("57DD08A3D74587E8".to_owned()), 8));
    assert_eq!(good, Vec::<String>::new());
    for (sources, why) in [
        (
            known(),
            "no trusted key has signed metadata with its digest",
        ),
        (Sources::default(), "its signature is unknown"),
    ] {
        let mut ids = CountedIds::default();
        let plan = plan(&lvm_request(), &machine(), &sources, &strict, &mut ids).unwrap();
        assert_eq!(
            plan.refusals[0].what,
            format!("{URL} has to be signed by a key that is trusted here, and {why}")
        );
    }
}

#[test]
fn a_plan_says_what_a_full_write_and_a_delta_would_cost() {
    let signed = |it: &mut PackedFacts| it.signed_by = Some("57DD08A3D74587E8".to_owned());
    let plan = planned(signed, &Options::default(), &machine());
    let step = plan
        .steps
        .iter()
        .find(|step| step.what.starts_with("write http"));
    insta::assert_snapshot!(step.unwrap().what, @"write http://10.20.0.2:8080/targetimages/ubuntu.img.gz to / (/dev/mapper/os-root): ext4 in gzip, 3 GiB, md5 5d41402a…, trusted by: signature; packed `ubuntu` release 7, signed by 57DD08A3D74587E8; in full 450 MiB fetched and 1440 MiB written, or 3 GiB read and only what differs");
    let json = plan.to_json();
    let packed = &json["images"][0]["packed"];
    let bytes = |count: u64| count << 20;
    assert_eq!(packed["full"]["fetch_bytes"], bytes(450));
    assert_eq!(packed["full"]["write_bytes"], bytes(1440));
    assert_eq!(packed["delta"]["read_bytes"], bytes(3072));
    assert_eq!(packed["delta"]["fetch_bytes_most"], bytes(450));
    assert_eq!(packed["signed_by"], "57DD08A3D74587E8");
}

#[test]
fn an_image_that_another_disk_holds_already_is_refused_before_anything_is_written() {
    let mut machine = machine();
    let mut spare = empty_disk("/dev/sdb", 20480);
    spare
        .partitions
        .push(crate::model::inventory::ExistingPartition {
            number: 3,
            path: "/dev/sdb3".to_owned(),
            uuid: Some(TWIN.to_owned()),
            ..Default::default()
        });
    // the same on the disk that is written to goes anyway
    machine.disks[0].partitions = spare.partitions.clone();
    let plan = planned(|_| (), &Options::default(), &machine);
    assert_eq!(plan.refusals, []);
    machine.disks.push(spare);
    let plan = planned(|_| (), &Options::default(), &machine);
    let [refusal] = plan.refusals.as_slice() else {
        panic!("{:?}", plan.refusals)
    };
    assert_eq!((refusal.kind, refusal.by), (Kind::Refused, RefusedBy::Run));
    assert!(
        refusal.what.contains(&format!(
            "the UUID {TWIN} of the filesystem in {URL} is that of /dev/sdb3"
        )),
        "{}",
        refusal.what
    );
    let unknown = |it: &mut PackedFacts| it.filesystem_uuid = None;
    let plan = planned(unknown, &Options::default(), &machine);
    assert_eq!(plan.refusals, []);
}

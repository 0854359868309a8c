//! Whole plans: their steps, and what they refuse.

mod archives;
mod images;
mod packed;
mod refusals;
mod seeds;
mod stacks;
mod tampering;

use super::*;
use crate::testing::sample_request::{
    empty_disk, installed, lvm_request, node, other_warnings, plan_of, steps_of,
};

fn refusals(plan: &Plan) -> Vec<String> {
    plan.refusals
        .iter()
        .map(|refusal| format!("{:?} {:?}: {}", refusal.by, refusal.kind, refusal.what))
        .collect()
}

#[test]
fn fuels_usual_layout_takes_these_steps() {
    let plan = plan_of(&lvm_request(), &node(vec![empty_disk("/dev/sda", 20480)])).unwrap();
    assert_eq!(refusals(&plan), Vec::<String>::new());
    assert_eq!(other_warnings(&plan), Vec::<String>::new());
    insta::assert_snapshot!(steps_of(&plan), @r"
     1 release     disarm /dev/sda: boot code, identity stamp
     2 partition   wipe old signatures on /dev/sda
     3 partition   write a GPT with 6 partitions to /dev/sda
     4 lvm         make physical volume /dev/sda4 (metadata 2 x 28 MiB)
     5 lvm         make volume group `os` of /dev/sda4
     6 lvm         make logical volume `os/root` of 4 GiB
     7 lvm         make logical volume `os/swap` of 900 MiB
     8 filesystem  make ext2 for /boot (/dev/sda3), 200 MiB
     9 filesystem  make xfs for /var/lib/data (/dev/sda5), 2 GiB
    10 filesystem  make swap space on /dev/mapper/os-swap, 900 MiB
    11 image       write http://10.20.0.2:8080/targetimages/ubuntu.img.gz to / (/dev/mapper/os-root): ext4 in gzip, 3 GiB, md5 5d41402a…, trusted by: same-server
    12 image       grow / (/dev/mapper/os-root) to 4 GiB
    13 configure   move `boot` out of / into /boot (/dev/sda3)
    14 configure   move `var/lib/data` out of / into /var/lib/data (/dev/sda5)
    15 configure   write /etc/fstab
    16 configure   write grub.cfg, GRUB's modules and the kernel parameters
    17 configdrive write the cloud-init data to /dev/sda6
    18 verify      flush, then read back tables, signatures and digests, and find the root
    19 bootloader  install boot code on /dev/sda
    20 commit      write the identity stamp to /dev/sda
    ");
    insta::assert_debug_snapshot!(plan.tools(), @r"
    [
        Blkid,
        E2fsck,
        GrubMkimage,
        Lvm,
        MkfsExt2,
        MkfsXfs,
        Mkswap,
        Resize2fs,
    ]
    ");
}

#[test]
fn a_kernel_that_is_to_start_by_kexec_is_loaded_while_its_files_are_mounted() {
    let options = Options {
        kexec: true,
        ..Options::default()
    };
    let inventory = node(vec![empty_disk("/dev/sda", 20480)]);
    let mut ids = CountedIds::default();
    let plan = plan(
        &lvm_request(),
        &inventory,
        &Sources::default(),
        &options,
        &mut ids,
    )
    .unwrap();
    let steps = steps_of(&plan);
    let place = |text: &str| steps.lines().position(|line| line.contains(text));
    let load = place("configure   take the installed kernel into memory").unwrap();
    assert!(place("grub.cfg").unwrap() < load && load < place("verify").unwrap());
}

#[test]
fn a_second_run_over_the_first_lets_its_volumes_go() {
    let request = lvm_request();
    let mut disk = empty_disk("/dev/sda", 20480);
    installed(&request, 0, &mut disk);
    let core = crate::model::partition_type::BIOS_GRUB.to_string();
    disk.partitions[0].partition_type = Some(core.as_str().into());
    let mut inventory = node(vec![disk]);
    inventory.stacks.push(crate::model::inventory::Stack {
        kind: crate::model::inventory::StackKind::VolumeGroup,
        name: "os".to_owned(),
        members: vec!["/dev/sda4".into()],
        disks: vec!["/dev/sda".to_owned()],
        active: false,
        nodes: Vec::new(),
    });
    let plan = plan_of(&request, &inventory).unwrap();
    assert_eq!(refusals(&plan), Vec::<String>::new());
    insta::assert_snapshot!(steps_of(&plan).lines().take(4).collect::<Vec<_>>().join("\n"), @r"
    1 release     deactivate volume group `os`
    2 release     disarm /dev/sda: boot code, identity stamp, 1 old boot area
    3 partition   wipe old signatures on /dev/sda
    4 partition   write a GPT with 6 partitions to /dev/sda
    ");
}

//! Requests that no plan can be made of.

use super::*;

fn errors(change: impl FnOnce(&mut Request, &mut Inventory)) -> Vec<String> {
    let (mut request, mut inventory) = (lvm_request(), machine());
    change(&mut request, &mut inventory);
    let errors = plan_of(&request, &inventory).unwrap_err();
    errors
        .into_iter()
        .map(|error| render(&Error::from(error)))
        .collect()
}

#[test]
fn contradictions_are_reported_all_at_once() {
    let errors = errors(|request, inventory| {
        let storage = &mut request.storage;
        storage.disks[0].partitions[2].start = mib(100);
        storage.disks[0].partitions[3].number = 129;
        storage.disks[0].partitions[4].size = Bytes::ZERO;
        storage.disks[0].partitions[5].size = Bytes(mib(20).0 + 512);
        storage
            .filesystems
            .push(filesystem(part(0, 3), None, "ext4"));
        storage.logical_volumes[1].volume_group = "none".to_owned();
        inventory.disks[0].logical_sector_size = 4096;
    });
    insta::assert_snapshot!(errors.join(""), @r"
    error: partition 5 of /dev/sda cannot have 0 B at 5549 MiB
      hint: give it a size above zero that ends on the disk
    error: partitions 2 and 3 of /dev/sda overlap: 26 MiB to 226 MiB and 100 MiB to 300 MiB
      hint: begin partition 3 at 226 MiB or later
    error: partition number 129 of /dev/sda is not between 1 and 128
      hint: number the partitions of a disk from 1 to 128, each once
    error: partition 6 of /dev/sda is not aligned to sectors of 4 KiB
      hint: begin and end it at multiples of 4 KiB, best at whole MiB
    error: logical volume `swap` refers to volume group `none`, which is not in the request
      hint: declare volume group `none`, or do not refer to it
    error: physical volume refers to partition 4 of disk 0, which is not in the request
      hint: declare partition 4 of disk 0, or do not refer to it
    error: /dev/sda3 is used twice: as filesystem for /boot and as filesystem without mount point
      hint: drop one of the two
    ");
}

#[test]
fn a_disk_that_is_not_there_is_told_with_those_that_are() {
    let errors = errors(|request, _| {
        request.storage.disks[0].selector = DiskSelector::Node("/dev/vda".to_owned());
    });
    insta::assert_snapshot!(errors.join(""), @r"
    error: no disk of this node is the one of `ks_spaces[sda]`: looked for /dev/vda; the node has
        /dev/sda (20 GiB, TEST 9000, serial SN-sda, links disk/by-id/ata-sda)
      hint: give an id or a name that this node has (`provision inventory`), or look why the disk is not there
    ");
}

#[test]
fn a_request_without_disks_is_no_plan() {
    let mut request = lvm_request();
    request.storage = Storage::default();
    request.images.clear();
    request.configdrive = None;
    assert_eq!(
        plan_of(&request, &machine()).unwrap_err(),
        [PlanError::NoDisks]
    );
}

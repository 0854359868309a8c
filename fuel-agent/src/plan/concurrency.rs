//! Which images are written at the same time: two at most, and none that would take memory or a disk's heads from
//! another. An archive goes alone.

use std::collections::BTreeSet;

use host::units::Bytes;

use crate::model::index::{DiskIndex, ImageIndex};
use crate::model::inventory::Inventory;
use crate::model::request::Container;

use super::{extents, wipe};
use crate::model::plan::{ImageTarget, Plan, PlannedImage};
use crate::model::step::{ImageStep, Step};

/// The largest chunks of packed images that are written two at a time: three of them are the least that one works with.
const CHUNK_MOST: Bytes = Bytes(4 << 20);

/// The most chunks of such an image: its index stays within 4 MiB.
const CHUNKS_MOST: usize = 1 << 15;

/// The steps that write all images. Each image that can goes with the first after it that can too; what goes together
/// stands together, otherwise the order is that of the request.
pub(super) fn writes(plan: &Plan, inventory: &Inventory) -> Vec<Step> {
    let images = plan.images().map(|(image, _)| image);
    let mut waiting: Vec<ImageIndex> = images.rev().collect();
    let mut steps = Vec::with_capacity(waiting.len());
    while let Some(image) = waiting.pop() {
        if plan[image].is_archive() {
            steps.push(Step::Image(ImageStep::Unpack(image)));
            continue;
        }
        steps.push(Step::Image(ImageStep::Write {
            image,
            with_previous: false,
        }));
        let goes = |other: &ImageIndex| go_together(plan, inventory, image, *other);
        if let Some(place) = waiting.iter().rposition(goes) {
            steps.push(Step::Image(ImageStep::Write {
                image: waiting.remove(place),
                with_previous: true,
            }));
        }
    }
    steps
}

fn go_together(plan: &Plan, inventory: &Inventory, one: ImageIndex, other: ImageIndex) -> bool {
    let (one, other) = (&plan[one], &plan[other]);
    one.onto != other.onto
        && !other.is_archive()
        && !needs_all_memory(one)
        && !needs_all_memory(other)
        && turning(plan, inventory, one).is_disjoint(&turning(plan, inventory, other))
}

/// Whether its buffers, or a window that its file may declare, leave no room for those of another.
fn needs_all_memory(image: &PlannedImage) -> bool {
    match (&image.facts.packed, image.container) {
        (Some(packed), _) => packed.chunk_size_bytes > CHUNK_MOST || packed.chunks > CHUNKS_MOST,
        (None, Container::Raw | Container::Gzip | Container::Bzip2) => false,
        (None, Container::Zstd | Container::Xz | Container::Qcow2) => true,
    }
}

/// The disks beneath its device that turn: two images at once would have their heads go to and fro.
fn turning(plan: &Plan, inventory: &Inventory, image: &PlannedImage) -> BTreeSet<DiskIndex> {
    let turns = |disk: &DiskIndex| {
        let node = &plan[*disk].device;
        let mut disks = inventory.disks.iter();
        disks.any(|disk| disk.rotational && disk.path == *node)
    };
    let beneath = match image.onto {
        ImageTarget::Filesystem(filesystem) => extents::backing_extents(plan, plan[filesystem].on),
        ImageTarget::Disk(disk) => vec![(disk, wipe::whole(&plan[disk]))],
    };
    beneath
        .into_iter()
        .map(|(disk, _)| disk)
        .filter(turns)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::sources::{PackedFacts, SourceFacts};
    use crate::model::storage::{Role, Storage};
    use crate::testing::sample_request::{
        self, add, disk_spec, empty_disk, filesystem, node, part, plan_of, request,
    };

    const MOUNTS: [&str; 3] = ["/", "/srv", "/var"];

    /// Images on three partitions: the first two on one disk, the third on another.
    fn planned(turning: bool) -> (Plan, Inventory) {
        let (mut first, mut second) = (disk_spec("sda"), disk_spec("sdb"));
        add(&mut first, 24, Role::BiosGrub);
        add(&mut first, 4096, Role::Data);
        add(&mut first, 4096, Role::Data);
        add(&mut second, 4096, Role::Data);
        let places = [part(0, 2), part(0, 3), part(1, 1)];
        let mut request = request(Storage {
            disks: vec![first, second],
            filesystems: (places.into_iter().zip(MOUNTS))
                .map(|(on, mount)| filesystem(on, Some(mount), "ext4"))
                .collect(),
            ..Storage::default()
        });
        request.images = (0..3)
            .map(|n| sample_request::image(MOUNTS[n], n))
            .collect();
        let mut disks = vec![empty_disk("/dev/sda", 20480), empty_disk("/dev/sdb", 20480)];
        disks[0].rotational = turning;
        let inventory = node(disks);
        (plan_of(&request, &inventory).unwrap(), inventory)
    }

    /// Indexes of what is written, those at the same time in brackets together.
    fn order(plan: &Plan, inventory: &Inventory) -> String {
        let steps = writes(plan, inventory);
        let groups = steps.chunk_by(|_, next| next.goes_with_previous());
        groups.fold(String::new(), |text, group| {
            let images = group.iter().map(|step| match step {
                Step::Image(ImageStep::Write { image, .. }) => image.0.to_string(),
                other => panic!("{other:?}"),
            });
            text + "(" + &images.collect::<Vec<_>>().join(" ") + ")"
        })
    }

    #[test]
    fn two_are_written_at_the_same_time_and_no_more() {
        let (plan, inventory) = planned(false);
        assert_eq!(order(&plan, &inventory), "(0 1)(2)");
    }

    #[test]
    fn a_disk_that_turns_is_given_one_at_a_time() {
        let (plan, inventory) = planned(true);
        assert_eq!(order(&plan, &inventory), "(0 2)(1)");
    }

    #[test]
    fn what_needs_all_memory_is_written_alone() {
        let (mut plan, inventory) = planned(false);
        for container in [Container::Zstd, Container::Xz, Container::Qcow2] {
            plan.images[1].container = container;
            assert_eq!(order(&plan, &inventory), "(0 2)(1)", "{container:?}");
        }
        for (chunk, chunks, order_of_all) in [
            (CHUNK_MOST, CHUNKS_MOST, "(0 1)(2)"),
            (CHUNK_MOST.saturating_add(CHUNK_MOST), 1, "(0 2)(1)"),
            (Bytes::MIB, CHUNKS_MOST + 1, "(0 2)(1)"),
        ] {
            plan.images[1].facts = SourceFacts {
                packed: Some(PackedFacts {
                    chunk_size_bytes: chunk,
                    chunks,
                    ..PackedFacts::default()
                }),
                ..SourceFacts::default()
            };
            assert_eq!(order(&plan, &inventory), order_of_all, "{chunk} {chunks}");
        }
    }

    #[test]
    fn the_plan_says_what_goes_together_and_grows_everything_afterwards() {
        let (plan, _) = planned(true);
        let steps = plan.steps.iter();
        let of_images = steps.filter(|step| step.stage == crate::model::stage::Stage::Image);
        let lines: Vec<&str> = of_images.map(|step| step.what.as_str()).collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        write http://10.20.0.2:8080/targetimages/ubuntu.img.gz to / (/dev/sda2): ext4 in gzip, 3 GiB, md5 5d41402a…, trusted by: same-server
        at the same time, write http://10.20.0.2:8080/targetimages/ubuntu.img.gz to /var (/dev/sdb1): ext4 in gzip, 3 GiB, md5 5d41402a…, trusted by: same-server
        write http://10.20.0.2:8080/targetimages/ubuntu.img.gz to /srv (/dev/sda3): ext4 in gzip, 3 GiB, md5 5d41402a…, trusted by: same-server
        grow / (/dev/sda2) to 4 GiB
        grow /srv (/dev/sda3) to 4 GiB
        grow /var (/dev/sdb1) to 4 GiB
        ");
        let json = plan.to_json();
        let marks = json["steps"].as_array().unwrap().iter();
        let marked = marks.filter(|step| step["with_previous"] == true).count();
        assert_eq!(marked, 1);
    }
}

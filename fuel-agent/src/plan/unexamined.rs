//! Disks of which a tool could not read what is on them: they are left out, the node can still be installed.

use crate::model::error::Kind;
use crate::model::index::InventoryDiskIndex;
use crate::model::inventory::{
    AMBIVALENT, Disk, Inventory, PHYSICAL_VOLUME, RAID_MEMBERS, Unexamined,
};

use super::diagnostics::Diagnostics;
use super::text::format;

/// Warns of disks of this node that could not be examined, and refuses where a disk that was not chosen may be harmed
/// for that.
///
/// A chosen disk with a damaged anchor of an array is overwritten where no other disk carries an anchor of that kind:
/// then nothing of this node can belong to the array.
pub(super) fn check(
    chosen: &[InventoryDiskIndex],
    inventory: &Inventory,
    diagnostics: &mut Diagnostics,
) {
    for (index, disk) in inventory.disks() {
        for question in &disk.unexamined {
            if chosen.contains(&index) {
                of_chosen(disk, question, chosen, inventory, diagnostics);
            } else {
                of_other(index, question, chosen, inventory, diagnostics);
            }
        }
    }
}

fn of_chosen(
    disk: &Disk,
    question: &Unexamined,
    chosen: &[InventoryDiskIndex],
    inventory: &Inventory,
    diagnostics: &mut Diagnostics,
) {
    let device = &disk.path;
    let what = format!("{device} could not be examined: {}", question.why);
    let Some(kinds) = kinds(question) else {
        let hint = "look whether the disk answers (`dmesg`), or choose another disk";
        diagnostics.refuse_run(Kind::Refused, what, hint);
        return;
    };
    let is_other = |index: InventoryDiskIndex| {
        let paths = inventory.other_paths(index);
        !chosen.contains(&index) && !paths.iter().any(|path| chosen.contains(path))
    };
    let others = inventory.disks().filter(|(index, _)| is_other(*index));
    let related: Vec<&str> = others
        .map(|(_, other)| other)
        .filter(|other| may_belong_together(disk, other, kinds))
        .map(|other| other.path.as_str())
        .collect();
    if related.is_empty() {
        diagnostics.warn(format!("{what}; what is on it is overwritten"));
    } else {
        let others = format::list(related);
        let hint = format!(
            "name {others} as well, which may belong to the same thing, or run `wipefs --all {device}` where nothing \
             on it is needed"
        );
        diagnostics.refuse_run(Kind::Refused, what, hint);
    }
}

fn of_other(
    index: InventoryDiskIndex,
    question: &Unexamined,
    chosen: &[InventoryDiskIndex],
    inventory: &Inventory,
    diagnostics: &mut Diagnostics,
) {
    let disk = &inventory[index];
    let device = &disk.path;
    let what = format!("{device} could not be examined: {}", question.why);
    let kinds = kinds(question).unwrap_or_default();
    let is_path = inventory
        .other_paths(index)
        .iter()
        .any(|path| chosen.contains(path));
    let related: Vec<&str> = chosen
        .iter()
        .map(|index| &inventory[*index])
        .filter(|other| !is_path && may_belong_together(disk, other, kinds))
        .map(|other| other.path.as_str())
        .collect();
    if related.is_empty() {
        diagnostics.warn(format!("{what}; it is left alone"));
    } else {
        let hint = format!(
            "it may belong together with {}: name it as well, or run `wipefs --all {device}` where nothing on it is \
             needed",
            format::list(related)
        );
        diagnostics.refuse_run(Kind::Refused, what, hint);
    }
}

/// The signatures that a question was about; `None` where it was about the disk as such.
fn kinds(question: &Unexamined) -> Option<&'static [&'static str]> {
    match question.by.as_str() {
        Unexamined::MDADM => Some(&RAID_MEMBERS),
        Unexamined::LVM => Some(&[PHYSICAL_VOLUME, AMBIVALENT]),
        _ => None,
    }
}

/// Whether two disks carry the same signature of these kinds; several at once may be any of them.
fn may_belong_together(a: &Disk, b: &Disk, kinds: &[&str]) -> bool {
    let on = |disk: &Disk| -> Vec<String> {
        let parts = disk
            .partitions
            .iter()
            .filter_map(|part| part.signature.clone());
        let all = disk.signature.iter().cloned().chain(parts);
        all.filter(|kind| kinds.contains(&kind.as_str())).collect()
    };
    let (a, b) = (on(a), on(b));
    let any = |kinds: &[String]| kinds.iter().any(|kind| kind == AMBIVALENT);
    a.iter().any(|kind| b.contains(kind))
        || (any(&a) && !b.is_empty())
        || (any(&b) && !a.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::sample_request::{empty_disk, lvm_request, node, other_warnings, plan_of};

    fn damaged(path: &str, by: &str) -> Disk {
        Disk {
            signature: Some("isw_raid_member".to_owned()),
            unexamined: vec![Unexamined {
                by: by.to_owned(),
                why: "`mdadm` was ended by signal 6".to_owned(),
            }],
            ..empty_disk(path, 20 << 10)
        }
    }

    fn member(path: &str, kind: &str) -> Disk {
        Disk {
            signature: Some(kind.to_owned()),
            ..empty_disk(path, 20 << 10)
        }
    }

    /// Warnings and refusals of a plan for `/dev/sda` alone.
    fn found(disks: Vec<Disk>) -> (Vec<String>, Vec<String>) {
        let plan = plan_of(&lvm_request(), &node(disks)).unwrap();
        let warnings = other_warnings(&plan);
        let refusals = plan.refusals.into_iter().map(|refusal| {
            assert_eq!(refusal.kind, Kind::Refused);
            format!("{}; {}", refusal.what, refusal.hint)
        });
        (warnings, refusals.collect())
    }

    #[test]
    fn a_disk_that_cannot_be_examined_costs_itself_alone() {
        let disks = vec![
            empty_disk("/dev/sda", 20 << 10),
            damaged("/dev/sdb", "mdadm"),
        ];
        let (warnings, refusals) = found(disks);
        assert_eq!(refusals, [""; 0]);
        insta::assert_snapshot!(warnings.join("\n"), @"/dev/sdb could not be examined: `mdadm` was ended by signal 6; it is left alone");
        // chosen itself, and nothing else can belong to what is on it
        let (warnings, refusals) = found(vec![
            damaged("/dev/sda", "mdadm"),
            member("/dev/sdb", "linux_raid_member"),
        ]);
        assert_eq!(refusals, [""; 0]);
        insta::assert_snapshot!(warnings.join("\n"), @"/dev/sda could not be examined: `mdadm` was ended by signal 6; what is on it is overwritten");
    }

    #[test]
    fn what_may_belong_to_a_disk_that_was_not_chosen_is_refused() {
        let (_, refusals) = found(vec![
            damaged("/dev/sda", "mdadm"),
            member("/dev/sdb", "isw_raid_member"),
        ]);
        insta::assert_snapshot!(refusals.join("\n"), @"/dev/sda could not be examined: `mdadm` was ended by signal 6; name /dev/sdb as well, which may belong to the same thing, or run `wipefs --all /dev/sda` where nothing on it is needed");
        let (_, refusals) = found(vec![
            member("/dev/sda", "isw_raid_member"),
            damaged("/dev/sdb", "mdadm"),
        ]);
        insta::assert_snapshot!(refusals.join("\n"), @"/dev/sdb could not be examined: `mdadm` was ended by signal 6; it may belong together with /dev/sda: name it as well, or run `wipefs --all /dev/sdb` where nothing on it is needed");
        let (_, refusals) = found(vec![
            member("/dev/sda", AMBIVALENT),
            damaged("/dev/sdb", "mdadm"),
        ]);
        assert_eq!(refusals.len(), 1);
    }

    #[test]
    fn a_disk_that_does_not_answer_is_not_written_to() {
        let (_, refusals) = found(vec![damaged("/dev/sda", "blkid")]);
        insta::assert_snapshot!(refusals.join("\n"), @"/dev/sda could not be examined: `mdadm` was ended by signal 6; look whether the disk answers (`dmesg`), or choose another disk");
        let (_, refusals) = found(vec![
            empty_disk("/dev/sda", 20 << 10),
            damaged("/dev/sdb", "blkid"),
        ]);
        assert_eq!(refusals, [""; 0]);
    }
}

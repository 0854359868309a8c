//! md arrays.

use std::path::{Path, PathBuf};

use host::exec::Cmd;
use uuid::Uuid;

use super::clear::clear;
use super::context::Context;
use super::outcome::Outcome;
use crate::model::error::Error;
use crate::model::index::RaidIndex;
use crate::model::plan::PlannedRaid;
use crate::model::storage::{BlockRef, RaidLevel};
use crate::tools::Tool;

/// Why there is no md where disks are files.
pub(super) const ON_FILES: &str = "an array needs a block device";

/// Status of `mdadm --zero-superblock` where there is none.
const NO_SUPERBLOCK: i32 = 2;

pub(super) fn make(context: &mut Context<'_>, raid: RaidIndex) -> Result<Outcome, Error> {
    if let Some(skipped) = context.skipped_on_files(ON_FILES) {
        return Ok(skipped);
    }
    let planned = &context.plan[raid];
    let members = nodes(context, &planned.members)?;
    let spares = nodes(context, &planned.spares)?;
    for node in members.iter().chain(&spares) {
        context.await_node(node)?;
        clear_superblock(context, node)?;
    }
    // udev may have the members open; mdadm needs them exclusively.
    context.settle()?;
    let cmd = create(planned, &members, &spares);
    context
        .run(&cmd, || format!("cannot make the array {}", planned.device))
        .map_err(|error| error.device(&planned.device))?;
    let device = Path::new(&planned.device);
    context.await_node(device)?;
    clear(context, device)?;
    Ok(Outcome::Changed)
}

pub(super) fn nodes(context: &Context<'_>, on: &[BlockRef]) -> Result<Vec<PathBuf>, Error> {
    on.iter().map(|member| context.node(*member)).collect()
}

/// Takes from a device what would make it a member of an array again.
fn clear_superblock(context: &mut Context<'_>, node: &Path) -> Result<(), Error> {
    let cmd = Cmd::new(Tool::Mdadm)
        .args(["--zero-superblock", "--force"])
        .arg(node)
        .accept(&[0, NO_SUPERBLOCK]);
    context.state.touched = true;
    let cleared = context.run(&cmd, || {
        format!("cannot clear the md superblock of {}", node.display())
    });
    cleared
        .map(drop)
        .map_err(|error| error.device(node.display()))
}

/// Without prompts: `--run` answers, `--bitmap` leaves nothing to ask. A mirror resyncs in the background and is whole
/// for readers at once, so the run does not wait for it; `--assume-clean` would let the members differ where nothing is
/// written, and a later check would call that damage.
fn create(raid: &PlannedRaid, members: &[PathBuf], spares: &[PathBuf]) -> Cmd {
    let mut cmd = Cmd::new(Tool::Mdadm)
        .arg("--create")
        .arg(&raid.device)
        .args(["--run", "--force"])
        .arg(format!("--metadata={}", raid.metadata))
        .arg(format!("--level={}", level(raid.level)))
        .arg(format!("--raid-devices={}", members.len()));
    if !spares.is_empty() {
        cmd = cmd.arg(format!("--spare-devices={}", spares.len()));
    }
    cmd
        // Assembled under the same name on whatever the node will be called.
        .arg("--homehost=any")
        .arg(format!("--name={}", name(&raid.device)))
        .arg(format!("--uuid={}", identifier(raid.uuid)))
        .arg("--bitmap=none")
        .args(members)
        .args(spares)
}

/// As mdadm's own documentation has it.
const fn level(level: RaidLevel) -> &'static str {
    match level {
        RaidLevel::Raid0 => "0",
        RaidLevel::Raid1 => "1",
    }
}

/// `0` of `/dev/md0`, `data` of `/dev/md/data`: the name that assembles it under that node.
fn name(device: &str) -> &str {
    let name = device.strip_prefix("/dev/").unwrap_or(device);
    let name = name.strip_prefix("md").unwrap_or(name);
    name.trim_start_matches(['/', '_'])
}

/// As mdadm writes it: four words of 32 bits.
fn identifier(uuid: Uuid) -> String {
    let text = uuid.simple().to_string();
    let words: Vec<&str> = (0..4)
        .filter_map(|word| text.get(word * 8..word * 8 + 8))
        .collect();
    words.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::error::Kind;
    use crate::model::index::DiskIndex;
    use crate::model::step::{Make, Step};
    use crate::testing::step_harness::{StepHarness, sized};

    fn harness() -> StepHarness {
        let mut harness = StepHarness::new();
        let partition = |number| BlockRef::Partition {
            disk: DiskIndex(0),
            number,
        };
        harness.plan.raids = vec![PlannedRaid {
            device: "/dev/md0".to_owned(),
            level: RaidLevel::Raid1,
            metadata: crate::model::storage::RaidMetadata::Default,
            members: vec![partition(3), partition(4)],
            spares: vec![partition(5)],
            uuid: Uuid::from_u128(0x1234),
            keep_data: false,
        }];
        harness
    }

    #[test]
    fn a_mirror_is_made_without_a_question() {
        let mut harness = harness();
        harness.one(&Step::Make(Make::Raid(RaidIndex(0)))).unwrap();
        insta::assert_snapshot!(harness.script.transcript(), @"
        mdadm --zero-superblock --force /dev/sda3
        mdadm --zero-superblock --force /dev/sda4
        mdadm --zero-superblock --force /dev/sda5
        udevadm settle --timeout=60
        mdadm --create /dev/md0 --run --force --metadata=default --level=1 --raid-devices=2 --spare-devices=1 --homehost=any --name=0 --uuid=00000000:00000000:00000000:00001234 --bitmap=none /dev/sda3 /dev/sda4 /dev/sda5
        ");
    }

    #[test]
    fn whatever_fails_is_told() {
        for n in 0..5 {
            let mut harness = harness();
            harness.script = harness.script.failing_at(n);
            let error = harness
                .one(&Step::Make(Make::Raid(RaidIndex(0))))
                .unwrap_err();
            assert_eq!(error.kind, Kind::Tool, "{n}");
        }
    }

    #[test]
    fn levels_have_one_name_for_mdadm() {
        assert_eq!(level(RaidLevel::Raid1), "1");
        assert_eq!(level(RaidLevel::Raid0), "0");
    }

    #[test]
    fn an_array_is_named_after_its_node() {
        for (device, expected) in [
            ("/dev/md0", "0"),
            ("/dev/md127", "127"),
            ("/dev/md/data", "data"),
            ("/dev/md_d1", "d1"),
        ] {
            assert_eq!(name(device), expected);
        }
    }

    #[test]
    fn on_files_it_is_skipped() {
        let mut harness = harness();
        harness.disks = sized().as_file();
        let outcome = harness.one(&Step::Make(Make::Raid(RaidIndex(0)))).unwrap();
        assert!(matches!(outcome, Outcome::Skipped { .. }));
    }
}

//! Which programs the steps need: looked for before anything is touched.

use crate::model::node::Firmware;
use crate::tools::Tool;

use crate::model::plan::Plan;
use crate::model::step::Step;

/// Each tool once, in the order of [`Tool`].
pub(super) fn tools(plan: &Plan) -> Vec<Tool> {
    let mut tools: Vec<Tool> = plan
        .steps
        .iter()
        .flat_map(|planned| of(&planned.step, plan))
        .collect();
    tools.sort_unstable();
    tools.dedup();
    tools
}

fn of(step: &Step, plan: &Plan) -> Vec<Tool> {
    match step {
        Step::StopRaid { .. } | Step::MakeRaid { .. } => vec![Tool::Mdadm],
        Step::DeactivateVolumeGroup { .. }
        | Step::MakePhysicalVolume { .. }
        | Step::MakeVolumeGroup { .. }
        | Step::MakeLogicalVolume { .. } => vec![Tool::Lvm],
        Step::CloseMapping { .. } => vec![Tool::Dmsetup],
        Step::ActivateKept => {
            let raid = (!plan.raids.is_empty()).then_some(Tool::Mdadm);
            let lvm = (!plan.volume_groups.is_empty()).then_some(Tool::Lvm);
            raid.into_iter().chain(lvm).collect()
        }
        Step::MakeFilesystem { filesystem } => (plan.filesystems[*filesystem].kind.capabilities())
            .map(|known| known.maker.tool)
            .into_iter()
            .chain([Tool::Blkid])
            .collect(),
        Step::WriteImage { .. } | Step::Verify => vec![Tool::Blkid],
        Step::GrowFilesystem { filesystem } => growers(plan, *filesystem),
        Step::InstallBootcode { .. } => match plan.firmware {
            Firmware::Bios | Firmware::Uefi => vec![Tool::GrubMkimage],
        },
        Step::Disarm { .. }
        | Step::Wipe { .. }
        | Step::WriteTable { .. }
        | Step::UnpackArchive { .. }
        | Step::MoveContent { .. }
        | Step::WriteFstab
        | Step::WriteIdentity
        | Step::WriteBootConfig
        | Step::LoadKernel
        | Step::WriteConfigdrive { .. }
        | Step::WriteStamp { .. } => Vec::new(),
    }
}

/// By the type that the image holds, which may be another than the layout's.
fn growers(plan: &Plan, filesystem: usize) -> Vec<Tool> {
    let kind = plan.kind_of(&plan.filesystems[filesystem]);
    let growth = kind.growth();
    growth.map_or(Vec::new(), |growth| growth.tools().to_vec())
}

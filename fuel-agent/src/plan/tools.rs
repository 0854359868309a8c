//! Which programs the steps need: looked for before anything is touched.

use crate::model::index::FilesystemIndex;
use crate::model::node::Firmware;
use crate::tools::Tool;

use crate::model::plan::Plan;
use crate::model::step::{Arm, ImageStep, Make, Release, Step};

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
        Step::Release(Release::StopRaid { .. }) => vec![Tool::Mdadm],
        Step::Release(Release::DeactivateVolumeGroup { .. }) => vec![Tool::Lvm],
        Step::Release(Release::CloseMapping { .. }) => vec![Tool::Dmsetup],
        Step::Make(make) => makers(make, plan),
        Step::ActivateKept => {
            let raid = (!plan.raids.is_empty()).then_some(Tool::Mdadm);
            let lvm = (!plan.volume_groups.is_empty()).then_some(Tool::Lvm);
            raid.into_iter().chain(lvm).collect()
        }
        Step::Image(ImageStep::Write { image, .. }) => {
            let filesystem = plan[*image].filesystem();
            filesystem.map(|_| Tool::Blkid).into_iter().collect()
        }
        Step::Verify => vec![Tool::Blkid],
        Step::Image(ImageStep::Grow(filesystem)) => growers(plan, *filesystem),
        Step::Arm(Arm::BootCode(_)) => match plan.firmware {
            Firmware::Bios | Firmware::Uefi => vec![Tool::GrubMkimage],
        },
        Step::Disarm { .. }
        | Step::Image(ImageStep::Unpack(_) | ImageStep::ReadTable(_))
        | Step::Configure(_)
        | Step::Arm(Arm::Stamp(_)) => Vec::new(),
    }
}

fn makers(make: &Make, plan: &Plan) -> Vec<Tool> {
    match make {
        Make::Raid(_) => vec![Tool::Mdadm],
        Make::PhysicalVolume(_) | Make::VolumeGroup(_) | Make::LogicalVolume(_) => vec![Tool::Lvm],
        Make::Filesystem(filesystem) => (plan[*filesystem].kind.capabilities())
            .map(|known| known.maker.tool)
            .into_iter()
            .chain([Tool::Blkid])
            .collect(),
        Make::Wipe { .. } | Make::Table(_) => Vec::new(),
    }
}

/// By the type that the image holds, which may be another than the layout's.
fn growers(plan: &Plan, filesystem: FilesystemIndex) -> Vec<Tool> {
    let kind = plan.kind_of(&plan[filesystem]);
    let growth = kind.growth();
    growth.map_or(Vec::new(), |growth| growth.tools().to_vec())
}

//! GRUB's configuration: grub.cfg and its modules for the next boot, /etc/default/grub for the system's own
//! `update-grub`.
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::indexing_slicing)
)]

mod defaults;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod kernels;
mod kexec;
mod menu;
mod parameters;

use std::collections::BTreeMap;
use std::path::Path;

use super::context::{BootFolder, Context};
use super::outcome::Outcome;
use super::target_tree;
use super::target_tree::TargetTree;
use crate::events::Event;
use crate::model::error::{Error, Kind};
use crate::model::grub::Platform;
use crate::model::index::FilesystemIndex;
use crate::model::plan::Plan;
use crate::model::stage::Stage;
use crate::model::storage::{BlockRef, Mount};
pub(super) use kexec::load as load_next;
use menu::Menu;
use parameters::Parameters;

/// How many seconds the menu waits once the installed system has written it anew, as Fuel has it.
const TIMEOUT: u32 = 10;
/// Seconds that the menu waits: a node that has just been installed is not watched, and a key that is held down is
/// seen.
const FIRST_TIMEOUT: u32 = 1;

pub(super) fn write(context: &mut Context<'_>) -> Result<Outcome, Error> {
    let tree = match target_tree::open(context)? {
        Ok(tree) => tree,
        Err(skipped) => return Ok(skipped),
    };
    let plan = context.plan;
    let folder = BootFolder::of(plan, &context.state.filesystem_uuids, &tree)?;
    let root = root_argument(plan, &context.state.filesystem_uuids)?;
    let parameters = Parameters::parse(&plan.boot.kernel_params);
    if let Some(message) = parameters.other_root(&root, &root_names(plan, &root)) {
        let stage = Some(Stage::Configure);
        context.events.emit(&Event::Warning { stage, message });
    }
    let menu = Menu {
        title: title(&tree)?,
        kernels: kernels::find(&tree, plan_has_boot(plan))?,
        root,
        uuid: folder.uuid.clone(),
        timeout: FIRST_TIMEOUT,
        parameters: &parameters,
    };
    tree.write(
        &format!("{}/grub.cfg", folder.in_tree),
        menu.render(),
        0o644,
    )?;
    modules(
        &tree,
        &folder,
        &context.options.grub,
        Platform::of(plan.firmware),
    )?;
    defaults::write(&tree, &parameters, TIMEOUT)?;
    context.state.boot_folder = Some(folder);
    Ok(Outcome::Changed)
}

impl BootFolder {
    fn of(
        plan: &Plan,
        uuids: &BTreeMap<FilesystemIndex, String>,
        tree: &TargetTree,
    ) -> Result<Self, Error> {
        let separate = plan_has_boot(plan);
        let mount = if separate { "/boot" } else { "/" };
        let red_hat = tree.has_folder("boot/grub2")?
            || tree.has_any(&["usr/sbin/grub2-mkconfig", "sbin/grub2-mkconfig"])?;
        let name = if red_hat { "grub2" } else { "grub" };
        let above = if separate { "" } else { "/boot" };
        Ok(Self {
            uuid: uuid_of(plan, uuids, mount)?,
            path: format!("{above}/{name}"),
            in_tree: format!("boot/{name}"),
        })
    }

    /// Where the boot configuration was written to by this run.
    pub(super) fn find(context: &Context<'_>) -> Result<Self, Error> {
        context.state.boot_folder.clone().ok_or_else(|| {
            let what = "boot code without a boot configuration would start nothing";
            Error::new(Kind::Internal, what)
        })
    }
}

fn plan_has_boot(plan: &Plan) -> bool {
    index_of(plan, "/boot").is_some()
}

fn index_of(plan: &Plan, mount: &str) -> Option<FilesystemIndex> {
    let mount = Mount::Path(mount.to_owned());
    let mut filesystems = plan.filesystems();
    let found = filesystems.find(|(_, filesystem)| filesystem.mount.as_ref() == Some(&mount));
    found.map(|(index, _)| index)
}

fn uuid_of(
    plan: &Plan,
    uuids: &BTreeMap<FilesystemIndex, String>,
    mount: &str,
) -> Result<String, Error> {
    let index = index_of(plan, mount).ok_or_else(|| {
        Error::new(
            Kind::Request,
            format!("no filesystem is mounted on {mount}"),
        )
    })?;
    uuids.get(&index).cloned().ok_or_else(|| {
        let what = format!("the UUID of the filesystem for {mount} is not known");
        Error::new(Kind::Internal, what)
    })
}

/// The `root=` parameter of the kernel: the mapper's name of a logical volume, for LVM activates by it; else the UUID.
pub fn root_argument(
    plan: &Plan,
    uuids: &BTreeMap<FilesystemIndex, String>,
) -> Result<String, Error> {
    let uuid = uuid_of(plan, uuids, "/")?;
    let on = index_of(plan, "/").map(|root| plan[root].on);
    Ok(match on {
        Some(BlockRef::Logical(volume)) => plan[volume].device.clone(),
        _ => format!("UUID={uuid}"),
    })
}

/// Other names of the same root, which a request may use.
fn root_names(plan: &Plan, root: &str) -> Vec<String> {
    let mut names = vec![root.to_owned()];
    if let Some(filesystem) = index_of(plan, "/").map(|root| &plan[root]) {
        names.push(filesystem.device.clone());
        if let BlockRef::Logical(volume) = filesystem.on {
            let spec = &plan[volume].spec;
            names.push(format!("/dev/{}/{}", spec.volume_group, spec.name));
        }
    }
    names
}

fn title(tree: &TargetTree) -> Result<String, Error> {
    for path in ["etc/os-release", "usr/lib/os-release"] {
        let text = tree.read(path)?.unwrap_or_default();
        let name = text
            .lines()
            .find_map(|line| line.strip_prefix("PRETTY_NAME="));
        if let Some(name) = name {
            return Ok(target_tree::one_line(name.trim().trim_matches(['"', '\''])));
        }
    }
    Ok("Linux".to_owned())
}

/// The modules that belong to the agent's core image: whatever grub.cfg comes later can load what it needs. A core
/// image left in the image by its own GRUB is removed: it would make an upgrade of GRUB's package install boot code
/// where the image was made.
fn modules(
    tree: &TargetTree,
    folder: &BootFolder,
    grub: &Path,
    platform: Platform,
) -> Result<(), Error> {
    crate::inventory::grub::present(platform, grub)?;
    let to = format!("{}/{}", folder.in_tree, platform.name());
    let wanted = |name: &str| {
        let end = Path::new(name).extension().and_then(|end| end.to_str());
        matches!(end, Some("mod" | "lst" | "o" | "sh"))
    };
    tree.copy_in(&grub.join(platform.name()), &to, wanted)?;
    for left in ["core.img", "boot.img", "core.efi", "grub.efi"] {
        tree.remove(&format!("{to}/{left}"))?;
    }
    let environment = format!("{}/grubenv", folder.in_tree);
    if tree.length_of(&environment)? != Some(ENVIRONMENT) {
        let head = "# GRUB Environment Block\n";
        let length = usize::try_from(ENVIRONMENT).unwrap_or(1024);
        tree.write(&environment, format!("{head:#<length$}"), 0o644)?;
    }
    Ok(())
}

/// GRUB writes into it in place, so it has this size from the start.
const ENVIRONMENT: u64 = 1024;

#[cfg(test)]
mod real_grub;
#[cfg(test)]
mod tests;

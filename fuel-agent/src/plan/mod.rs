//! The planner: a pure function of request, inventory and sources, whose value lists everything that will happen.

pub mod approve;
pub mod check;
pub mod ids;
pub mod layout;
pub mod select;
pub mod write;

mod boot;
mod concurrency;
mod configdrive;
mod content;
mod destroys;
mod diagnostics;
mod disks;
mod error;
mod extents;
mod filesystem;
mod image;
mod keep;
mod lvm;
mod options;
mod packed;
mod query;
mod raid;
mod release;
mod seeds;
mod steps;
mod text;
mod tools;
mod unexamined;
mod wipe;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub use error::PlanError;
pub use ids::{CountedIds, Ids};
pub use options::Options;
pub use text::Width;
pub use text::diff;

use crate::model::first_boot::FirstBoot;
use crate::model::inventory::Inventory;
use crate::model::node::Firmware;
use crate::model::plan::Plan;
use crate::model::request::Request;
use crate::model::sources::Sources;
use crate::request::system;
use diagnostics::Diagnostics;

/// The request with what follows from the operating system decided again, now that the YAML of the image for `/` names
/// it.
fn as_its_image_says(request: &Request, sources: &Sources) -> Request {
    let mut images = request.images.iter();
    let root = images.find(|image| image.mount.as_str() == "/");
    let facts = root.and_then(|image| sources.images.get(&image.url));
    let mut request = request.clone();
    system::refine(&mut request, facts.and_then(|facts| facts.system.as_ref()));
    request
}

/// Makes the plan: a pure function. All problems are reported at once; a plan that `run` refuses is a plan all the
/// same, with its refusals in it.
pub fn plan(
    request: &Request,
    inventory: &Inventory,
    sources: &Sources,
    options: &Options,
    ids: &mut dyn Ids,
) -> Result<Plan, Vec<PlanError>> {
    let request = &as_its_image_says(request, sources);
    let mut diagnostics = Diagnostics::of(request);
    let storage = &request.storage;
    let chosen = disks::choose(request, inventory, options, &mut diagnostics);
    let mut plan = empty(request, inventory.firmware, ids);
    plan.phone_home.clone_from(&options.phone_home);
    plan.first_boot = configdrive::first_boot(&plan, options, &mut diagnostics);
    plan.kexec = options.kexec;
    plan.gpt_active = options.gpt_active && plan.firmware == Firmware::Bios;
    for (spec, index) in storage.disks.iter().zip(&chosen) {
        let real = index.map(|index| &inventory[index]);
        plan.disks.push(layout::disk(
            spec,
            real,
            inventory.firmware,
            ids,
            &mut diagnostics,
        ));
    }
    raid::arrays(&storage.raids, ids, &mut plan, &mut diagnostics);
    lvm::volumes(storage, &mut plan, &mut diagnostics);
    filesystem::filesystems(storage, ids, &mut plan);
    image::images(
        &request.images,
        sources,
        options,
        &mut plan,
        &mut diagnostics,
    );
    packed::check(&plan, inventory, options, &mut diagnostics);
    filesystem::used_once(&plan, &mut diagnostics);
    if !diagnostics.errors.is_empty() {
        return Err(diagnostics.errors);
    }
    keep::find_others(&mut plan, inventory);
    if !plan.keeps_partitions {
        lvm::fits(&plan, &mut diagnostics);
    }
    filesystem::sane(&plan, &mut diagnostics);
    configdrive::fits(&plan, &mut diagnostics);
    boot::bootable(&plan, &mut diagnostics);
    raid::taken_names(&plan, inventory, &mut diagnostics);
    keep::check(&plan, inventory, &mut diagnostics);
    seeds::check(&plan, inventory, options, &mut diagnostics);
    let release = release::steps(&plan, inventory, &mut diagnostics);
    plan.warnings = diagnostics.warnings;
    plan.refusals = diagnostics.refusals;
    plan.steps = steps::steps(&plan, inventory, release);
    let broken = check::violations(&plan, inventory);
    if broken.is_empty() {
        Ok(plan)
    } else {
        Err(broken.into_iter().map(PlanError::Broken).collect())
    }
}

/// What follows from the request alone, before anything is laid out.
fn empty(request: &Request, firmware: Firmware, ids: &mut dyn Ids) -> Plan {
    Plan {
        dialect: request.dialect,
        request_digest: request.digest.clone(),
        generation: request.generation.clone(),
        instance_id: ids.uuid(),
        firmware,
        disks: Vec::new(),
        raids: Vec::new(),
        physical_volumes: Vec::new(),
        volume_groups: Vec::new(),
        logical_volumes: Vec::new(),
        filesystems: Vec::new(),
        images: Vec::new(),
        configdrive: request.configdrive,
        phone_home: None,
        first_boot: FirstBoot::default(),
        kexec: false,
        gpt_active: false,
        undefined: request.storage.undefined.clone(),
        boot: request.boot.clone(),
        node: request.node.clone(),
        keeps_partitions: request.storage.keeps_anything(),
        warnings: Vec::new(),
        refusals: Vec::new(),
        steps: Vec::new(),
    }
}

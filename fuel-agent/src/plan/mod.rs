//! The planner: a pure function of request, inventory and sources, whose value says everything that will happen.

pub mod check;
pub mod diff;
pub mod ids;
pub mod layout;

mod boot;
mod content;
mod describe;
mod destroys;
mod disks;
mod error;
mod extents;
mod filesystem;
mod image;
mod json;
mod keep;
mod listing;
mod lvm;
mod map;
mod notes;
mod options;
mod packed;
mod page;
mod query;
mod raid;
mod release;
mod render;
mod steps;
mod together;
mod tools;
mod wipe;
mod words;

#[cfg(test)]
mod properties;
#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;

pub use disks::refusals;
pub use error::PlanError;
pub use ids::{CountedIds, Ids};
pub use options::Options;
pub use page::Page;
pub use words::printable_url;

use crate::inventory::Inventory;
use crate::model::node::Firmware;
use crate::model::plan::Plan;
use crate::model::request::Request;
use crate::model::sources::Sources;
use crate::request::system;
use host::units::{Bytes, Extent};
use notes::Notes;

/// Where the identity stamp lies on every disk that gets boot code: in the gap between the partition table and the
/// first MiB, where no partition of ours ever starts.
pub const STAMP: Extent = Extent {
    start: Bytes(512 << 10),
    length: Bytes(64 << 10),
};

/// The request with what follows from the operating system decided again, now that the YAML of the image for `/` says which.
fn as_its_image_says(request: &Request, sources: &Sources) -> Request {
    let mut images = request.images.iter();
    let root = images.find(|image| image.mount.as_str() == "/");
    let facts = root.and_then(|image| sources.images.get(&image.url));
    let mut request = request.clone();
    system::refine(&mut request, facts.and_then(|facts| facts.system.as_ref()));
    request
}

/// Makes the plan: a pure function. All problems are reported at once; a plan that `run` refuses is a plan all the same, with
/// its refusals in it.
pub fn plan(
    request: &Request,
    inventory: &Inventory,
    sources: &Sources,
    options: &Options,
    ids: &mut dyn Ids,
) -> Result<Plan, Vec<PlanError>> {
    let request = &as_its_image_says(request, sources);
    let mut notes = Notes::of(request);
    let storage = &request.storage;
    let chosen = disks::choose(request, inventory, options, &mut notes);
    let mut plan = empty(request, inventory.firmware, ids);
    plan.phone_home.clone_from(&options.phone_home);
    plan.kexec = options.kexec;
    for (spec, index) in storage.disks.iter().zip(&chosen) {
        let real = index.map(|index| &inventory.disks[index]);
        plan.disks.push(layout::disk(
            spec,
            real,
            inventory.firmware,
            ids,
            &mut notes,
        ));
    }
    raid::arrays(&storage.raids, ids, &mut plan, &mut notes);
    lvm::volumes(storage, &mut plan, &mut notes);
    filesystem::filesystems(storage, ids, &mut plan);
    image::images(&request.images, sources, options, &mut plan, &mut notes);
    packed::check(&plan, inventory, options, &mut notes);
    filesystem::used_once(&plan, &mut notes);
    if !notes.errors.is_empty() {
        return Err(notes.errors);
    }
    keep::find_others(&mut plan, inventory);
    if !plan.keeps_partitions {
        lvm::fits(&plan, &mut notes);
    }
    filesystem::sane(&plan, &storage.filesystems, &mut notes);
    boot::bootable(&plan, &mut notes);
    raid::taken_names(&plan, inventory, &mut notes);
    keep::check(&plan, inventory, &mut notes);
    let release = release::steps(&plan, inventory, &mut notes);
    plan.warnings = notes.warnings;
    plan.refusals = notes.refusals;
    plan.steps = steps::steps(&plan, inventory, release);
    let broken = check::broken(&plan, inventory);
    if broken.is_empty() {
        Ok(plan)
    } else {
        Err(broken.into_iter().map(PlanError::Broken).collect())
    }
}

/// What the request says by itself, before anything is laid out.
fn empty(request: &Request, firmware: Firmware, ids: &mut dyn Ids) -> Plan {
    Plan {
        dialect: request.dialect,
        request_digest: request.digest.clone(),
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
        kexec: false,
        undefined: request.storage.undefined.clone(),
        boot: request.boot.clone(),
        node: request.node.clone(),
        keeps_partitions: request.storage.keeps_anything(),
        warnings: Vec::new(),
        refusals: Vec::new(),
        steps: Vec::new(),
    }
}

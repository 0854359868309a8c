//! `ks_spaces` to a layout, by upstream's rules.

mod boot;
mod journals;
mod keep;
mod lvm;
mod spaces;
mod walk;

use host::units::Bytes;

use super::layout::Layout;
use super::reader::{Diagnostics, JsonCursor};
use super::system;
use crate::model::operating_system::OperatingSystem;

/// Size of the partition for the cloud-init data.
pub(super) const CONFIGDRIVE: Bytes = Bytes(20 << 20);

/// The layout that `pm_data.ks_spaces` describes; where it breaks the schema, there is none.
pub(super) fn lay_out(
    pm_data: &JsonCursor<'_>,
    system: &OperatingSystem,
    configdrive: bool,
    diagnostics: &mut Diagnostics,
) -> Option<Layout> {
    let at = pm_data.require("ks_spaces", "the disks and volume groups", diagnostics)?;
    let before = diagnostics.len();
    let spaces = spaces::read(&at, diagnostics);
    if diagnostics.len() > before {
        return None;
    }
    let options = walk::LayoutOptions {
        configdrive,
        raid_metadata: system::raid_metadata(system),
        path: at.path(),
    };
    Some(walk::lay_out(&spaces, options, diagnostics))
}

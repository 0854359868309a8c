//! `ks_spaces` to a layout, by upstream's rules.

mod boot;
mod journals;
mod keep;
mod lvm;
mod spaces;
mod walk;

use host::units::Bytes;

use super::layout::Layout;
use super::reader::{At, Findings};
use super::system::{self, System};

/// Size of the partition for the cloud-init data.
pub(super) const CONFIGDRIVE: Bytes = Bytes(20 << 20);

/// The layout that `pm_data.ks_spaces` describes; where it breaks the schema, there is none.
pub(super) fn lay_out(
    pm_data: &At<'_>,
    system: &System,
    configdrive: bool,
    findings: &mut Findings,
) -> Option<Layout> {
    let at = pm_data.require("ks_spaces", "the disks and volume groups", findings)?;
    let before = findings.len();
    let spaces = spaces::read(&at, findings);
    if findings.len() > before {
        return None;
    }
    let wishes = walk::Wishes {
        configdrive,
        raid_metadata: system::raid_metadata(system),
        path: at.path(),
    };
    Some(walk::lay_out(&spaces, wishes, findings))
}

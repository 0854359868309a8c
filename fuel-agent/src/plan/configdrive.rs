//! Whether the cloud-init data fits the partition that is there for it.

use ::configdrive::LABEL_NOCLOUD;
use ::configdrive::fat::{self, Format, Purpose};
use host::units::Bytes;

use super::Options;
use super::diagnostics::Diagnostics;
use crate::cloud;
use crate::model::error::Kind;
use crate::model::first_boot::FirstBoot;
use crate::model::plan::Plan;
use crate::model::storage::BlockRef;

/// What the installed system will change of itself. Data that was made elsewhere says that for itself.
pub(super) fn first_boot(
    plan: &Plan,
    options: &Options,
    diagnostics: &mut Diagnostics,
) -> FirstBoot {
    if plan.configdrive.is_none() {
        return FirstBoot::default();
    }
    if plan.node.is_none() {
        if options.first_boot.wipe_configdrive {
            diagnostics.warn(
                "`configdrive.after_first_boot=wipe` has no effect: the cloud-init data of this request is ready-made",
            );
        }
        return FirstBoot::default();
    }
    if let Some(url) = &plan.phone_home
        && url
            .reveal()
            .get(..5)
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case("http:"))
    {
        diagnostics.warn(format!(
            "the installed system calls {url} (`phone_home`) by plain http: any host on the way can read and change \
             the host keys that it sends"
        ));
    }
    options
        .first_boot
        .of(plan.dialect, cloud::is_of_red_hat(plan))
}

/// Refuses data that would be found too large only when the disks are wiped already. A configdrive that was made
/// elsewhere is checked with the request.
pub(super) fn fits(plan: &Plan, diagnostics: &mut Diagnostics) {
    let (Some(on @ BlockRef::Partition { disk, .. }), Some(_)) = (plan.configdrive, &plan.node)
    else {
        return;
    };
    let Some(size) = plan.size_of(on) else {
        return;
    };
    let format = Format {
        size: size.0,
        sector_size: u32::try_from(plan[disk].sector_size.0).unwrap_or(u32::MAX),
        label: LABEL_NOCLOUD,
        volume_id: 0,
        purpose: Purpose::Data,
    };
    let Ok(files) = cloud::measured(plan) else {
        return;
    };
    let length: usize = files.iter().map(|file| file.content.len()).sum();
    let length = Bytes(u64::try_from(length).unwrap_or(u64::MAX));
    let (what, hint) = match fat::fits(&format, &files) {
        Ok(true) => return,
        Ok(false) => (
            format!(
                "the cloud-init data has {length}, more than fits into the {size} of {}",
                plan.node_of(on)
            ),
            "shorten keys, accounts and settings of the request, or make that partition larger",
        ),
        Err(_) => (
            format!(
                "no filesystem for the cloud-init data can be made on {}, which has {size}",
                plan.node_of(on)
            ),
            "give the cloud-init partition 20 MiB",
        ),
    };
    diagnostics.does_not_fit(Kind::Request, what, hint);
}

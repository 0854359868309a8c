//! Comparing the images of a node that is installed by its stamp with its disks; writes nothing.

use std::path::Path;

use host::Host;
use host::blockdev::Access;

use super::context::Options;
use crate::events::Events;
use crate::http::Client;
use crate::model::error::{Error, Kind};
use crate::model::filesystem::FilesystemType;
use crate::model::index::FilesystemIndex;
use crate::model::plan::{ImageTarget, Plan, PlannedImage};
use crate::model::report::{ComparedChunks, ReverifiedImage};
use crate::model::step::{Configure, Step};
use crate::model::storage::{BlockRef, Mount};
use crate::stream::packed::{self, Packed};

/// Compares every image of the plan that can be compared. An image that should be comparable and is not (its manifest
/// cannot be had, its disk cannot be opened) has an error; `None` as its result means that it cannot be compared at all,
/// which [`ReverifiedImage::not_compared`] explains.
pub fn reverify(
    plan: &Plan,
    host: &Host,
    options: &Options,
    events: &dyn Events,
) -> Result<Vec<(ReverifiedImage, Option<Error>)>, Error> {
    let client = Client::new(&options.http, host.cancel.clone())?;
    let each = plan.images.iter().map(|image| {
        let mut found = ReverifiedImage {
            url: image.url.to_string(),
            place: place(plan, image),
            left_as_written: is_left_as_written(plan, image),
            compared: None,
            not_compared: None,
        };
        match comparable(plan, image) {
            Err(why) => {
                found.not_compared = Some(why.to_owned());
                Ok((found, None))
            }
            Ok((disk, number)) => {
                match compare(image, disk, number, host, options, &client, events) {
                    Ok(compared) => {
                        found.compared = Some(compared);
                        Ok((found, None))
                    }
                    Err(error) if error.kind == Kind::Interrupted => Err(error),
                    Err(error) => {
                        found.not_compared = Some(error.one_line());
                        Ok((found, Some(error)))
                    }
                }
            }
        }
    });
    each.collect()
}

/// The disk and the partition that hold an image, or why it cannot be compared.
fn comparable<'p>(plan: &'p Plan, image: &PlannedImage) -> Result<(&'p Path, u32), &'static str> {
    if image.facts.packed.is_none() {
        return Err("it is not a packed image");
    }
    let ImageTarget::Filesystem(filesystem) = image.onto else {
        return Err("it is the image of a whole disk");
    };
    match plan[filesystem].on {
        BlockRef::Partition { disk, number } => Ok((Path::new(&plan[disk].device), number)),
        BlockRef::Raid(_) | BlockRef::Logical(_) | BlockRef::Undefined(_) => {
            Err("it lies on an array or a volume group, which is not started for that")
        }
    }
}

fn compare(
    image: &PlannedImage,
    disk: &Path,
    number: u32,
    host: &Host,
    options: &Options,
    client: &Client,
    events: &dyn Events,
) -> Result<ComparedChunks, Error> {
    let opened = host
        .devices
        .partition(disk, number)
        .and_then(|node| Ok((host.devices.open(&node, Access::Read)?, node)));
    let (device, node) = opened.map_err(|source| {
        let what = format!("cannot read partition {number} of {}", disk.display());
        super::context::disk_error(what, disk)(source)
    })?;
    let Some(facts) = image.facts.packed.as_ref() else {
        return Err(Error::new(Kind::Internal, "it is not a packed image"));
    };
    let packed = Packed {
        facts,
        ranges: image.facts.ranges,
        rules: &options.packed,
        at_once: 1,
        discards: true,
    };
    let (url, node) = (image.url.reveal(), node.display().to_string());
    packed::reverify(url, packed, device.as_ref(), &node, client, events).map_err(Error::from)
}

fn place(plan: &Plan, image: &PlannedImage) -> String {
    let mount = plan.filled_by(image).and_then(|it| it.mount.as_ref());
    let place = mount.map_or_else(|| plan.device_of(image), Mount::as_str);
    place.to_owned()
}

/// Where an installation writes files of its own.
const CONFIGURED: [&str; 3] = ["/boot", "/etc", "/var"];

/// Whether no later step of the installation changes what the image brought: it is not grown, it is not the root nor a
/// place of configuration, and nothing is moved into it or out of it. What the running system writes is not known here.
pub(crate) fn is_left_as_written(plan: &Plan, image: &PlannedImage) -> bool {
    let Some(filesystem) = image.filesystem() else {
        return true;
    };
    let kind = image.format.filesystem();
    let is_grown = kind.and_then(FilesystemType::growth).is_some();
    let mount = Path::new(plan[filesystem].mount.as_ref().map_or("", Mount::as_str));
    let is_configured =
        mount == Path::new("/") || CONFIGURED.iter().any(|folder| mount.starts_with(folder));
    !is_grown && !is_configured && !plan.steps.iter().any(|it| moves(&it.step, filesystem))
}

fn moves(step: &Step, filesystem: FilesystemIndex) -> bool {
    match step {
        Step::Configure(Configure::MoveContent { from, to, .. }) => {
            [*from, *to].contains(&filesystem)
        }
        Step::Configure(
            Configure::Fstab
            | Configure::Identity
            | Configure::BootConfig
            | Configure::LoadKernel
            | Configure::Configdrive(_),
        )
        | Step::Release(_)
        | Step::Disarm { .. }
        | Step::Make(_)
        | Step::ActivateKept
        | Step::Image(_)
        | Step::Verify
        | Step::Arm(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::index::DiskIndex;
    use crate::model::sources::PackedFacts;
    use crate::testing::sample_plan;
    use crate::testing::step_harness::StepHarness;

    /// The sample plan with a packed image of this type for `mount`, on a partition.
    fn plan(mount: &str, format: &str) -> Plan {
        let mut plan = sample_plan::plan();
        let filesystem = &mut plan.filesystems[1];
        filesystem.on = BlockRef::Partition {
            disk: DiskIndex(0),
            number: 3,
        };
        filesystem.mount = Some(Mount::Path(mount.to_owned()));
        plan.images[0].format = format.into();
        plan.images[0].url = "file:///nonexistent/usr.img.zst".into();
        plan.images[0].facts.packed = Some(PackedFacts::default());
        plan
    }

    fn found(plan: &Plan) -> (ReverifiedImage, Option<Error>) {
        let harness = StepHarness::new();
        let host = host::fake::host(&harness.script, &harness.disks, &harness.mounts);
        let found = reverify(plan, &host, &harness.options(), &harness.recorded);
        found.unwrap().remove(0)
    }

    #[test]
    fn only_what_an_installation_leaves_alone_can_be_expected_to_be_equal() {
        for (mount, format, expected) in [
            ("/usr", "squashfs", true),
            ("/usr", "erofs", true),
            ("/usr", "", true),
            ("/usr", "ext4", false),
            ("/srv", "xfs", false),
            ("/", "squashfs", false),
            ("/boot", "vfat", false),
            ("/boot/efi", "vfat", false),
            ("/etc", "squashfs", false),
            ("/bootstrap", "squashfs", true),
        ] {
            let plan = plan(mount, format);
            let image = &plan.images[0];
            assert_eq!(
                is_left_as_written(&plan, image),
                expected,
                "{mount} {format}"
            );
        }
        let mut plan = plan("/usr", "squashfs");
        let moves = Step::Configure(Configure::MoveContent {
            from: FilesystemIndex(1),
            to: FilesystemIndex(0),
            path: "boot".to_owned(),
        });
        plan.steps = vec![crate::model::step::PlannedStep {
            number: 1,
            stage: crate::model::stage::Stage::Configure,
            step: moves,
            what: String::new(),
            destroys: Vec::new(),
        }];
        assert!(!is_left_as_written(&plan, &plan.images[0]));
    }

    #[test]
    fn what_cannot_be_compared_says_why_and_is_an_error_only_where_it_should_be_comparable() {
        let (image, error) = found(&plan("/usr", "squashfs"));
        let error = error.expect("there is no manifest");
        assert_eq!(image.not_compared, Some(error.one_line()));
        assert_eq!((image.place.as_str(), image.compared), ("/usr", None));
        assert!(!image.differs());

        let mut stream = plan("/usr", "squashfs");
        stream.images[0].facts.packed = None;
        let mut stacked = plan("/usr", "squashfs");
        stacked.filesystems[1].on = BlockRef::Logical(crate::model::index::LogicalVolumeIndex(0));
        for (plan, why) in [(stream, "not a packed image"), (stacked, "volume group")] {
            let (image, error) = found(&plan);
            assert!(error.is_none());
            let text = image.to_string();
            assert!(
                text.starts_with("/usr was not compared with file:///"),
                "{text}"
            );
            assert!(text.contains(why), "{text}");
        }
    }
}

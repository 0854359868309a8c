//! Archives in plans: the filesystem is made first, and nothing is grown.

use super::*;
use crate::model::filesystem::ImageFormat;
use crate::model::index::FilesystemIndex;
use crate::model::sources::{PackedFacts, SourceFacts};
use crate::model::stage::Stage;
use crate::model::step::{ImageStep, Step};
use crate::model::trust::ImagePolicy;
use crate::testing::sample_request::{
    URL, empty_disk, known, lvm_request, mib, node, other_warnings,
};
use crate::tools::Tool;

/// Fuel's usual layout with an archive for `/`.
fn archive_request() -> Request {
    let mut request = lvm_request();
    request.images[0].format = ImageFormat::Archive;
    request
}

fn planned(request: &Request, change: impl FnOnce(&mut SourceFacts)) -> Plan {
    let mut sources = known();
    change(sources.images.get_mut(URL).unwrap());
    let machine = node(vec![empty_disk("/dev/sda", 20480)]);
    let options = Options::default();
    plan(
        request,
        &machine,
        &sources,
        &options,
        &mut CountedIds::default(),
    )
    .unwrap()
}

#[test]
fn the_filesystem_of_an_archive_is_made_and_it_is_unpacked_into_that() {
    let plan = planned(&archive_request(), |_| {});
    assert_eq!(refusals(&plan), Vec::<String>::new());
    assert_eq!(other_warnings(&plan), Vec::<String>::new());
    let steps = plan.steps.iter();
    let of_filesystems = steps.filter(|it| [Stage::Filesystem, Stage::Image].contains(&it.stage));
    let lines: Vec<&str> = of_filesystems.map(|it| it.what.as_str()).collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    make ext2 for /boot (/dev/sda3), 200 MiB
    make xfs for /var/lib/data (/dev/sda5), 2 GiB
    make ext4 for / (/dev/mapper/os-root), 4 GiB
    make swap space on /dev/mapper/os-swap, 900 MiB
    unpack http://10.20.0.2:8080/targetimages/ubuntu.img.gz into / (/dev/mapper/os-root): tar in gzip, 3 GiB, md5 5d41402a…, trusted by: same-server
    ");
    assert!(!plan.tools().contains(&Tool::Resize2fs));
    assert!(plan.tools().contains(&Tool::MkfsExt4));
    let json = plan.to_json();
    assert_eq!(json["images"][0]["format"], "tar");
    assert_eq!(json["filesystems"][2]["type"], "ext4");
    let root = &plan.filesystems[2];
    assert!(plan.is_made(root) && plan.image_over(root).is_none());
    assert_eq!(plan.kind_of(root).as_str(), "ext4");
}

#[test]
fn an_archive_that_is_longer_than_its_volume_may_fit_all_the_same() {
    let plan = planned(&archive_request(), |facts| {
        facts.raw_size_bytes = Some(mib(5000));
    });
    assert_eq!(refusals(&plan), Vec::<String>::new());
    let warning = "http://10.20.0.2:8080/targetimages/ubuntu.img.gz is an archive of 5000 MiB, and \
                   /dev/mapper/os-root has 4 GiB: its files may not fit";
    assert_eq!(other_warnings(&plan), [warning]);
}

#[test]
fn what_an_archive_goes_into_must_not_be_kept_or_be_too_small() {
    let mut request = archive_request();
    request.storage.filesystems[2].keep_data = true;
    let kept = planned(&request, |_| {});
    let refused = refusals(&kept);
    let conflict = "/dev/mapper/os-root (/) is to be kept, but an image would overwrite it";
    assert!(
        refused.iter().any(|it| it.ends_with(conflict)),
        "{refused:?}"
    );
    let mut request = archive_request();
    request.storage.filesystems[2].kind = "xfs".into();
    request.storage.logical_volumes[0].size = mib(200);
    let small = refusals(&planned(&request, |_| {}));
    let room = "Run Request: /dev/mapper/os-root has 200 MiB, too little for xfs";
    assert!(small.iter().any(|it| it == room), "{small:?}");
}

#[test]
fn an_archive_is_neither_packed_nor_signed() {
    let packed = planned(&archive_request(), |facts| {
        facts.packed = Some(PackedFacts::default());
    });
    let what = "is a packed image, but the request says that it is a tar archive";
    let refused = refusals(&packed);
    assert!(refused.iter().any(|it| it.ends_with(what)), "{refused:?}");
    let sources = known();
    let machine = node(vec![empty_disk("/dev/sda", 20480)]);
    let options = Options {
        images: ImagePolicy {
            require_signature: true,
            ..ImagePolicy::default()
        },
        ..Options::default()
    };
    let ids = &mut CountedIds::default();
    let refused = refusals(&plan(&archive_request(), &machine, &sources, &options, ids).unwrap());
    assert!(
        refused[0].contains("no trusted key has signed metadata with its digest"),
        "{refused:?}"
    );
}

#[test]
fn archives_are_unpacked_one_at_a_time() {
    let mut request = archive_request();
    let mut boot = request.images[0].clone();
    boot.filesystem = FilesystemIndex(0);
    request.images.push(boot);
    let plan = planned(&request, |_| {});
    let unpacks = plan
        .steps
        .iter()
        .filter(|it| matches!(it.step, Step::Image(ImageStep::Unpack(_))));
    assert_eq!(unpacks.count(), 2);
    assert!(!plan.steps.iter().any(|it| it.step.goes_with_previous()));
}

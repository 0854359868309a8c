use super::*;
use crate::model::index::FilesystemIndex;
use crate::model::step::{Configure, Step};
use crate::testing::step_harness::{StepHarness, sized};

/// The root with its image, and /tmp on the last partition. The fake mounts mount nothing: what the step finds in its
/// folders is what the test put there.
fn harness() -> StepHarness {
    let mut harness = StepHarness::new();
    let mut tmp = harness.plan.filesystems[0].clone();
    tmp.mount = Some(Mount::Path("/tmp".to_owned()));
    harness.plan.filesystems.push(tmp);
    for name in ["content-from", "content-to"] {
        fs::create_dir(harness.work.path().join(name)).unwrap();
    }
    harness
}

fn step() -> Step {
    let path = "tmp".to_owned();
    Step::Configure(Configure::MoveContent {
        from: FilesystemIndex(1),
        to: FilesystemIndex(3),
        path,
    })
}

fn mode(harness: &StepHarness) -> u32 {
    let goal = harness.work.path().join("content-to");
    fs::metadata(goal).unwrap().permissions().mode() & 0o7777
}

#[test]
fn both_are_mounted_as_what_they_are_and_unmounted() {
    let mut harness = harness();
    let source = harness.work.path().join("content-from/tmp");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "text").unwrap();
    fs::set_permissions(&source, fs::Permissions::from_mode(0o1770)).unwrap();
    assert_eq!(harness.one(&step()).unwrap(), Outcome::Changed);
    let folder = harness.work.path().display().to_string();
    let mounts = harness.mounts.transcript().replace(&folder, "WORK");
    insta::assert_snapshot!(mounts, @"
    mount -t ext4 -o rw /dev/mapper/os-root WORK/content-from
    mount -t ext2 -o rw /dev/sda3 WORK/content-to
    umount WORK/content-to
    umount WORK/content-from
    ");
    let moved = harness.work.path().join("content-to/file");
    assert_eq!(fs::read_to_string(moved).unwrap(), "text");
    assert_eq!(mode(&harness), 0o1770);
    assert!(source.is_dir(), "it is the mount point");
}

#[test]
fn a_filesystem_for_a_folder_that_the_image_has_not_is_usable() {
    let mut harness = harness();
    assert_eq!(harness.one(&step()).unwrap(), Outcome::Changed);
    assert_eq!(mode(&harness), 0o1777);
}

#[test]
fn whatever_fails_is_told_and_nothing_stays_mounted() {
    for n in 0..4 {
        let mut harness = harness();
        harness.mounts = harness.mounts.failing_at(n);
        assert_eq!(harness.one(&step()).unwrap_err().kind, Kind::Disk, "{n}");
        let transcript = harness.mounts.transcript();
        let count = |word: &str| transcript.lines().filter(|l| l.starts_with(word)).count();
        let failed = usize::from(n < 2);
        assert_eq!(count("mount"), count("umount") + failed, "{transcript}");
    }
    let mut harness = harness();
    fs::write(harness.work.path().join("content-from/tmp"), "a file").unwrap();
    assert_eq!(harness.one(&step()).unwrap_err().kind, Kind::Disk);
}

#[test]
fn links_lead_where_they_will_lead_in_the_installed_system() {
    let work = tempfile::tempdir().unwrap();
    let root = work.path().join("root");
    fs::create_dir_all(root.join("run/lock")).unwrap();
    for (link, to) in [("var", "/run"), ("out", "/etc"), ("up", "../..")] {
        std::os::unix::fs::symlink(to, root.join(link)).unwrap();
    }
    let real = root.canonicalize().unwrap();
    assert_eq!(
        folder(&root, "var/lock").unwrap(),
        Some(real.join("run/lock"))
    );
    assert_eq!(folder(&root, "out").unwrap(), None);
    assert_eq!(folder(&root, "up").unwrap(), Some(real));
}

#[test]
fn on_files_it_is_skipped() {
    let mut harness = harness();
    harness.disks = sized().as_file();
    assert!(matches!(
        harness.one(&step()).unwrap(),
        Outcome::Skipped { .. }
    ));
}

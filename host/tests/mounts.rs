//! A filesystem really mounted, on a loop device; needs root.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use host::cancel::Cancel;
use host::exec::{Cmd, Exec, Program, System};
use host::ioctl::flags;
use host::ioctl::loops::{LoopDevice, LoopOptions};
use host::mount::{KernelMounts, MountMode, Mounts, probe, unmount_below};
use host::tree::Tree;

/// A loop device with an ext4; `None`, after printing that the test is skipped, where there are no loop devices.
fn ext4() -> Option<LoopDevice> {
    let file = tempfile::tempfile().unwrap();
    file.set_len(16 << 20).unwrap();
    let device = match LoopDevice::attach(&file, LoopOptions::default()) {
        Ok(device) => device,
        Err(error) => {
            host::fake::skipped(format_args!("no loop device: {error}"));
            return None;
        }
    };
    let mkfs = Cmd::new(Program::new("mkfs.ext4", "e2fsprogs"))
        .args(["-q", "-F"])
        .arg(device.path());
    System::new(Cancel::new()).run(&mkfs).unwrap();
    Some(device)
}

/// Unmounts, also when the test fails.
struct Mounted(tempfile::TempDir);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = KernelMounts.unmount(self.0.path());
    }
}

#[test]
fn what_is_written_is_there_after_the_next_mount_and_nothing_of_it_can_be_run() {
    let Some(device) = ext4() else { return };
    let folder = Mounted(tempfile::tempdir().unwrap());
    let target = folder.0.path();
    let mut mounts = KernelMounts;
    mounts
        .mount(device.path(), target, "ext4", MountMode::Write)
        .unwrap();
    let program = target.join("true");
    fs::copy("/bin/true", &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mut system = System::new(Cancel::new()).with_path(target);
    system
        .run(&Cmd::new(Program::new("true", "coreutils")))
        .unwrap_err();
    let found = mounts.mounted().unwrap();
    let ours = found.iter().filter(|(_, at)| at == target);
    assert_eq!(
        ours.map(|(source, _)| source.as_str()).collect::<Vec<_>>(),
        [device.path().to_str().unwrap()]
    );
    mounts.unmount(target).unwrap();
    assert!(!program.exists());

    mounts
        .mount(device.path(), target, "ext4", MountMode::ReadOnly)
        .unwrap();
    assert_eq!(fs::read(&program).unwrap(), fs::read("/bin/true").unwrap());
    fs::write(target.join("new"), "x").unwrap_err();
    mounts.unmount(target).unwrap();
    mounts.unmount(target).unwrap_err();
}

#[test]
fn a_mount_has_the_flags_that_disarm_what_is_on_it() {
    let Some(device) = ext4() else { return };
    let folder = Mounted(tempfile::tempdir().unwrap());
    let target = folder.0.path();
    for (mode, first) in [(MountMode::Write, "rw"), (MountMode::ReadOnly, "ro")] {
        let mut mounts = KernelMounts;
        mounts.mount(device.path(), target, "ext4", mode).unwrap();
        let listed = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let fields = listed
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>());
        let mut ours = fields.filter(|fields| fields[4] == target.to_str().unwrap());
        let options: Vec<&str> = ours.next().unwrap()[5].split(',').collect();
        for flag in [first, "nodev", "nosuid", "noexec", "nosymfollow"] {
            assert!(options.contains(&flag), "{flag}: {options:?}");
        }
        mounts.unmount(target).unwrap();
    }
}

#[test]
fn every_type_that_can_be_probed_is() {
    for (kind, size) in [("ext2", 16), ("ext3", 16), ("ext4", 16), ("xfs", 300)] {
        let file = tempfile::tempfile().unwrap();
        file.set_len(size << 20).unwrap();
        let device = match LoopDevice::attach(&file, LoopOptions::default()) {
            Ok(device) => device,
            Err(error) => {
                host::fake::skipped(format_args!("no loop device: {error}"));
                return;
            }
        };
        let program = match kind {
            "ext2" => "mkfs.ext2",
            "ext3" => "mkfs.ext3",
            "ext4" => "mkfs.ext4",
            _ => "mkfs.xfs",
        };
        let mkfs = Cmd::new(Program::new(program, "e2fsprogs, xfsprogs")).arg("-q");
        System::new(Cancel::new())
            .run(&mkfs.arg(device.path()))
            .unwrap();
        let folder = Mounted(tempfile::tempdir().unwrap());
        let probed = probe(&mut KernelMounts, device.path(), folder.0.path(), kind);
        probed.unwrap_or_else(|error| panic!("{kind}: {error}"));
    }
}

/// All bytes of a device.
fn bytes(device: &LoopDevice) -> Vec<u8> {
    fs::read(device.path()).unwrap()
}

#[test]
fn probing_writes_nothing_and_finds_what_is_damaged() {
    let Some(device) = ext4() else { return };
    let folder = Mounted(tempfile::tempdir().unwrap());
    let target = folder.0.path();
    // As after a power cut: the journal is to be replayed, which a mount does even where it is read-only.
    let mut debugfs = System::new(Cancel::new());
    let dirty = Cmd::new(Program::new("debugfs", "e2fsprogs"))
        .args(["-w", "-R", "feature needs_recovery"])
        .arg(device.path());
    debugfs.run(&dirty).unwrap();
    let before = bytes(&device);
    probe(&mut KernelMounts, device.path(), target, "ext4").unwrap();
    assert!(bytes(&device) == before, "nothing was written");
    let refused = probe(&mut KernelMounts, device.path(), target, "vfat").unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::Unsupported);
    // the descriptors of the block groups, whose checksums do not fit any more
    let file = fs::File::options().write(true).open(device.path()).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0xff; 1024], 2048).unwrap();
    file.sync_all().unwrap();
    drop(file);
    let damaged = bytes(&device);
    probe(&mut KernelMounts, device.path(), target, "ext4").unwrap_err();
    assert!(bytes(&device) == damaged, "nothing was written");
    let mounted = KernelMounts.mounted().unwrap();
    assert!(mounted.iter().all(|(_, at)| at != target));
}

#[test]
fn links_of_a_mount_are_followed_in_its_tree_and_by_nothing_else() {
    let Some(device) = ext4() else { return };
    let folder = Mounted(tempfile::tempdir().unwrap());
    let target = folder.0.path();
    let mut mounts = KernelMounts;
    mounts
        .mount(device.path(), target, "ext4", MountMode::Write)
        .unwrap();
    fs::create_dir_all(target.join("usr/etc")).unwrap();
    symlink("usr/etc", target.join("etc")).unwrap();
    symlink("/usr/etc/hosts", target.join("hosts")).unwrap();
    let tree = Tree::open(target).unwrap();
    tree.write("etc/hosts", "127.0.0.1 localhost\n", 0o644)
        .unwrap();
    assert!(target.join("usr/etc/hosts").is_file());
    let read = tree.read("hosts").unwrap();
    assert_eq!(read.as_deref(), Some("127.0.0.1 localhost\n"));
    assert_eq!(tree.real_path("etc").unwrap(), target.join("usr/etc"));
    for path in ["hosts", "etc/hosts"] {
        let error = fs::read(target.join(path)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(nix::libc::ELOOP), "{path}");
    }
    drop(tree);
    mounts.unmount(target).unwrap();
}

#[test]
fn a_link_is_not_followed_when_unmounting() {
    let Some(device) = ext4() else { return };
    let folder = Mounted(tempfile::tempdir().unwrap());
    let beside = tempfile::tempdir().unwrap();
    let link = beside.path().join("link");
    symlink(folder.0.path(), &link).unwrap();
    let mut mounts = KernelMounts;
    mounts
        .mount(device.path(), folder.0.path(), "ext4", MountMode::Write)
        .unwrap();
    mounts.unmount(&link).unwrap_err();
    mounts.unmount(folder.0.path()).unwrap();
}

#[test]
fn the_flag_that_forbids_changes_is_set_and_cleared() {
    let Some(device) = ext4() else { return };
    let folder = Mounted(tempfile::tempdir().unwrap());
    let mut mounts = KernelMounts;
    mounts
        .mount(device.path(), folder.0.path(), "ext4", MountMode::Write)
        .unwrap();
    let path = folder.0.path().join("file");
    fs::write(&path, "x").unwrap();
    let file = fs::File::open(&path).unwrap();
    assert!(!flags::set_immutable(&file, true).unwrap());
    fs::write(&path, "y").unwrap_err();
    assert!(flags::set_immutable(&file, false).unwrap());
    fs::write(&path, "y").unwrap();
}

/// A bind mount, which has the number of the device that it lies on: no walk by device numbers would stop there.
struct Bound(std::path::PathBuf);

impl Drop for Bound {
    fn drop(&mut self) {
        let _ = nix::mount::umount(&self.0);
    }
}

#[test]
fn a_folder_is_not_removed_across_what_is_mounted_in_it() {
    let place = tempfile::tempdir().unwrap();
    let (kept, work) = (place.path().join("kept"), place.path().join("work"));
    let mounted = work.join("target/root");
    for folder in [&kept, &mounted] {
        fs::create_dir_all(folder).unwrap();
    }
    fs::write(kept.join("data"), "kept").unwrap();
    let bound = nix::mount::mount(
        Some(&kept),
        &mounted,
        None::<&str>,
        nix::mount::MsFlags::MS_BIND,
        None::<&str>,
    );
    if let Err(error) = bound {
        host::fake::skipped(format_args!("nothing can be mounted here: {error}"));
        return;
    }
    let bound = Bound(mounted.clone());
    let error = host::remove_tree::remove_folder(&work).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("something is mounted at {}", mounted.display())
    );
    assert_eq!(fs::read(kept.join("data")).unwrap(), b"kept");
    drop(bound);
    host::remove_tree::remove_folder(&work).unwrap();
    assert!(kept.join("data").exists() && !work.exists());
}

#[test]
fn whatever_is_mounted_below_a_folder_is_unmounted_and_nothing_beside_it() {
    let (Some(device), Some(other)) = (ext4(), ext4()) else {
        return;
    };
    let (folder, beside) = (
        Mounted(tempfile::tempdir().unwrap()),
        Mounted(tempfile::tempdir().unwrap()),
    );
    let mut mounts = KernelMounts;
    let mut put = |device: &Path, at: &Path| {
        mounts.mount(device, at, "ext4", MountMode::Write).unwrap();
    };
    put(device.path(), folder.0.path());
    put(other.path(), beside.0.path());
    let left = unmount_below(folder.0.path(), &mut KernelMounts).unwrap();
    assert!(left.is_empty(), "{left:?}");
    let mounted = KernelMounts.mounted().unwrap();
    let is_mounted = |at: &Path| mounted.iter().any(|(_, target)| target == at);
    assert!(!is_mounted(folder.0.path()) && is_mounted(beside.0.path()));
    KernelMounts.unmount(beside.0.path()).unwrap();
}

//! `--skip-free`: unused blocks become zero, and used ones stay as they were.

use std::fs;
use std::path::{Path, PathBuf};

use crate::lab::{Lab, is_root, noise, tool};

/// Content of a deleted file.
const SECRET: &[u8] = b"the content of a deleted file, not overwritten";

/// Whether a file contains the secret.
fn holds_secret(path: &Path) -> bool {
    let secret = std::str::from_utf8(SECRET).unwrap();
    let found = std::process::Command::new("grep")
        .args(["-qaF", secret])
        .arg(path)
        .status();
    found.unwrap().success()
}

/// Packs `name` without and with `--skip-free`; returns both, unpacked.
fn both(lab: &Lab, name: &str) -> (PathBuf, PathBuf) {
    let unpacked = |out: &str, more: &[&str]| {
        lab.pack(name, out, more);
        let raw = lab.text(&format!("{out}.unpacked"));
        tool(
            "zstd",
            &[
                "-dq",
                &lab.text(&format!("{out}/system.img.zst")),
                "-o",
                &raw,
            ],
        );
        PathBuf::from(raw)
    };
    (unpacked("whole", &[]), unpacked("used", &["--skip-free"]))
}

/// The error for an image whose unused blocks cannot be listed.
fn refused(lab: &Lab, name: &str) -> String {
    let options = ["--out", "out", "--architecture", "x86_64", "--skip-free"];
    let error = lab.refused(&[&["pack", name][..], &options].concat());
    assert_eq!(lab.names("out"), Vec::<String>::new());
    error
}

#[test]
fn an_ext4_loses_its_deleted_files_and_nothing_else() {
    let lab = Lab::new();
    let image = lab.ext4("system.raw");
    let path = image.to_str().unwrap();
    let secret: Vec<u8> = SECRET.iter().copied().cycle().take(1 << 20).collect();
    fs::write(lab.path("secret"), secret).unwrap();
    let write = format!("write {} gone", lab.text("secret"));
    tool("debugfs", &["-w", "-R", &write, path]);
    tool("debugfs", &["-w", "-R", "rm gone", path]);
    let (whole, used) = both(&lab, "system.raw");
    tool("cmp", &[whole.to_str().unwrap(), path]);
    assert!(holds_secret(&whole) && !holds_secret(&used));
    let used = used.to_str().unwrap();
    tool("e2fsck", &["-f", "-n", used]);
    let file = tool("debugfs", &["-R", "cat /sbin/lvm", used]).stdout;
    assert!(file == noise(3_000_000, 7));
}

#[test]
fn an_ext4_that_is_not_clean_is_refused() {
    let lab = Lab::new();
    let image = lab.ext4("system.raw");
    let good = fs::read(&image).unwrap();
    for (request, expected) in [
        ("feature needs_recovery", "its journal was not replayed"),
        ("set_super_value state 0", "e2fsck finds errors"),
        ("set_super_value free_blocks_count 7", "e2fsck finds errors"),
        ("set_bg 0 free_blocks_count 7", "e2fsck finds errors"),
        ("freeb 2000 50", "e2fsck finds errors"),
    ] {
        fs::write(&image, &good).unwrap();
        tool("debugfs", &["-w", "-R", request, image.to_str().unwrap()]);
        let error = refused(&lab, "system.raw");
        assert!(
            error.contains("the filesystem is not clean"),
            "{request}: {error}"
        );
        assert!(
            error.contains(expected) || error.contains("not clean: "),
            "{request}: {error}"
        );
    }
}

#[test]
fn what_has_no_list_of_free_blocks_is_refused() {
    let lab = Lab::new();
    for (name, tool_name, args) in [
        ("vfat.raw", "mkfs.fat", &["-F", "32"][..]),
        ("disk.raw", "sgdisk", &["-n1:0:0"]),
        (
            "bigalloc.raw",
            "mke2fs",
            &["-q", "-t", "ext4", "-F", "-O", "bigalloc"],
        ),
    ] {
        let path = lab.text(name);
        fs::File::create(&path).unwrap().set_len(64 << 20).unwrap();
        tool(tool_name, &[args, &[&path]].concat());
        let error = refused(&lab, name);
        assert!(error.contains("--skip-free"), "{name}: {error}");
    }
}

/// A disk with an ESP, an ext4 and an XFS that have deleted something, and a partition of the same bytes without a
/// filesystem.
fn disk(lab: &Lab, name: &str) -> PathBuf {
    use std::os::unix::fs::FileExt;
    const MIB: u64 = 1 << 20;
    let ext4 = lab.ext4("inner.raw");
    let secret: Vec<u8> = SECRET.iter().copied().cycle().take(1 << 20).collect();
    fs::write(lab.path("secret"), &secret).unwrap();
    let write = format!("write {} gone", lab.text("secret"));
    tool("debugfs", &["-w", "-R", &write, ext4.to_str().unwrap()]);
    tool("debugfs", &["-w", "-R", "rm gone", ext4.to_str().unwrap()]);
    let ext4 = fs::read(ext4).unwrap();
    let xfs = lab.text("inner.xfs");
    fs::File::create(&xfs).unwrap().set_len(320 * MIB).unwrap();
    tool("mkfs.xfs", &["-q", &xfs]);
    let path = lab.path(name);
    let disk = fs::File::create(&path).unwrap();
    let length = u64::try_from(ext4.len()).unwrap();
    disk.set_len(length + 400 * MIB).unwrap();
    let parts = [
        "-n1:2048:+8M".to_owned(),
        "-t1:ef00".to_owned(),
        format!("-n2:0:+{}M", length / MIB),
        "-n3:0:+320M".to_owned(),
        "-n4:0:+8M".to_owned(),
        lab.text(name),
    ];
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    tool("sgdisk", &parts);
    disk.write_all_at(&ext4, 9 * MIB).unwrap();
    tool(
        "dd",
        &[
            &format!("if={xfs}"),
            &format!("of={}", lab.text(name)),
            "bs=1M",
            &format!("seek={}", 9 + length / MIB),
            "conv=notrunc,sparse",
            "status=none",
        ],
    );
    // a fresh XFS uses nothing there
    let xfs = 9 * MIB + length;
    disk.write_all_at(&secret, xfs + 40 * MIB).unwrap();
    disk.write_all_at(&secret, xfs + 320 * MIB).unwrap();
    path
}

#[test]
fn on_a_whole_disk_each_filesystem_loses_its_own_and_the_rest_stays() {
    use std::os::unix::fs::FileExt;
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let path = disk(&lab, "system.raw");
    let (whole, used) = both(&lab, "system.raw");
    tool("cmp", &[whole.to_str().unwrap(), path.to_str().unwrap()]);
    let (before, after) = (
        fs::File::open(&whole).unwrap(),
        fs::File::open(&used).unwrap(),
    );
    let size = before.metadata().unwrap().len();
    assert_eq!(after.metadata().unwrap().len(), size);
    let (mut a, mut b) = (vec![0; 1024], vec![0; 1024]);
    let (mut gone, mut at) = (0, 0);
    while at + 1024 <= size {
        before.read_exact_at(&mut a, at).unwrap();
        after.read_exact_at(&mut b, at).unwrap();
        if a != b {
            assert!(
                b.iter().all(|byte| *byte == 0),
                "changed to something else at {at}"
            );
            gone += 1;
        }
        at += 1024;
    }
    assert!(
        (2048..2150).contains(&gone),
        "{gone} blocks, and 1 MiB was deleted on each"
    );
    // a partition without a filesystem stays as it is
    assert!(holds_secret(&used));
    let inner = lab.text("inner.used");
    let from = format!("if={}", used.display());
    let length = fs::metadata(lab.path("inner.raw")).unwrap().len() >> 20;
    tool(
        "dd",
        &[
            &from,
            &format!("of={inner}"),
            "bs=1M",
            "skip=9",
            &format!("count={length}"),
            "status=none",
        ],
    );
    tool("e2fsck", &["-f", "-n", &inner]);
    assert!(!holds_secret(Path::new(&inner)));
}

#[test]
fn a_whole_disk_with_a_filesystem_that_is_not_clean_is_refused() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let path = disk(&lab, "system.raw");
    // the state of the ext4's superblock
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0, 0], (9 << 20) + 1024 + 58).unwrap();
    let error = refused(&lab, "system.raw");
    assert!(
        error.contains("the filesystem is not clean")
            && error.contains("in the partition at byte 9437184"),
        "{error}"
    );
}

/// Mounts `image` in a namespace of its own and runs a shell script there, with the folder as `$1` and `$2` as given.
fn mounted(lab: &Lab, image: &Path, script: &str, more: &Path) -> bool {
    fs::create_dir_all(lab.path("mnt")).unwrap();
    let script = format!(
        "mount -o loop {} \"$1\" || exit 77; {script}; status=$?; umount \"$1\"; exit $status",
        image.display()
    );
    let output = std::process::Command::new("unshare")
        .args(["-m", "--propagation", "private", "sh", "-c", &script, "sh"])
        .arg(lab.path("mnt"))
        .arg(more)
        .output()
        .unwrap();
    assert!(
        [Some(0), Some(77)].contains(&output.status.code()),
        "{output:?}"
    );
    output.status.success()
}

#[test]
fn an_xfs_loses_its_deleted_files_and_nothing_else() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let image = lab.path("system.raw");
    fs::File::create(&image)
        .unwrap()
        .set_len(320 << 20)
        .unwrap();
    tool("mkfs.xfs", &["-q", image.to_str().unwrap()]);
    let secret: Vec<u8> = SECRET.iter().copied().cycle().take(4 << 20).collect();
    fs::create_dir(lab.path("in")).unwrap();
    fs::write(lab.path("in/gone"), secret).unwrap();
    fs::write(lab.path("in/kept"), noise(5_000_000, 11)).unwrap();
    if !mounted(
        &lab,
        &image,
        "cp \"$2\"/* \"$1\" && sync && rm \"$1\"/gone",
        &lab.path("in"),
    ) {
        return; // this kernel has no xfs
    }
    let (whole, used) = both(&lab, "system.raw");
    assert!(holds_secret(&whole) && !holds_secret(&used));
    tool("xfs_repair", &["-n", "-f", used.to_str().unwrap()]);
    assert!(mounted(
        &lab,
        &used,
        "cmp \"$1\"/kept \"$2\"/kept",
        &lab.path("in")
    ));

    // a copy of a mounted one: its free lists lack what is in its log
    let dirty = lab.path("dirty.raw");
    let script = format!("touch \"$1\"/a && sync && cp \"$2\" {}", dirty.display());
    assert!(mounted(&lab, &image, &script, &image));
    let error = refused(&lab, "dirty.raw");
    assert!(error.contains("the filesystem is not clean"), "{error}");
}

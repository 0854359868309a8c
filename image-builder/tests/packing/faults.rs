//! Refused inputs and options; no files are left behind.

use std::fs;
use std::process::{Command, Stdio};

use crate::lab::{Lab, is_root, names, noise, program, tool};

#[test]
fn what_is_no_image_is_refused_and_leaves_nothing() {
    let lab = Lab::new();
    let raw = fs::read(lab.ext4("system.raw")).unwrap();
    let gz = tool("gzip", &["-kc", &lab.text("system.raw")]).stdout;
    let xz = tool("xz", &["-kc", "-0", &lab.text("system.raw")]).stdout;
    let zst = tool("zstd", &["-kcq", &lab.text("system.raw")]).stdout;
    let bz2 = tool("bzip2", &["-kc", &lab.text("system.raw")]).stdout;
    let cut = |bytes: &[u8]| bytes[..bytes.len() / 2].to_vec();
    let trailing = |bytes: &[u8]| [bytes, b"garbage that is none"].concat();
    let mut tar = vec![0_u8; 1024];
    tar[257..262].copy_from_slice(b"ustar");
    for (what, bytes, expected) in [
        ("empty", Vec::new(), "the image is empty"),
        ("odd", raw[..513].to_vec(), "not a whole number of sectors"),
        ("short", raw[..8 << 20].to_vec(), "it is truncated"),
        (
            "noise",
            noise(1 << 20, 1),
            "neither a disk with a partition table nor a known filesystem",
        ),
        (
            "page",
            b"<!doctype html><title>404</title>".to_vec(),
            "it is a web page",
        ),
        ("tar", tar, "it is a tar file"),
        ("zip", b"PK\x03\x04 and so on".to_vec(), "it is a zip file"),
        ("cut.gz", cut(&gz), "cannot unpack"),
        ("cut.xz", cut(&xz), "cannot unpack"),
        ("cut.zst", cut(&zst), "cannot unpack"),
        ("cut.bz2", cut(&bz2), "cannot unpack"),
        ("trailing.gz", trailing(&gz), "cannot unpack"),
        ("trailing.xz", trailing(&xz), "cannot unpack"),
        ("trailing.zst", trailing(&zst), "cannot unpack"),
        ("trailing.bz2", trailing(&bz2), "cannot unpack"),
        (
            "wide.zst",
            b"\x28\xb5\x2f\xfd\x04\xff and more of that".to_vec(),
            "cannot unpack",
        ),
        (
            "qcow2",
            b"QFI\xfb\x00\x00\x00\x03".to_vec(),
            "cannot unpack",
        ),
        (
            "descriptor.vmdk",
            b"# Disk DescriptorFile\nversion=1\n".to_vec(),
            "is only a descriptor of other files",
        ),
    ] {
        fs::write(lab.path(what), bytes).unwrap();
        let error = lab.refused(&["pack", what, "--out", "out", "--architecture", "x86_64"]);
        assert!(error.contains(expected), "{what}: {error}");
        assert_eq!(lab.names("out"), Vec::<String>::new(), "{what}");
    }
}

#[test]
fn disks_and_filesystems_that_declare_a_larger_size_are_refused() {
    let lab = Lab::new();
    for (name, size, program, args) in [
        ("gpt", 64, "sgdisk", &["-n1:2048:0"][..]),
        ("ext2", 64, "mke2fs", &["-q", "-F"]),
        ("xfs", 320, "mkfs.xfs", &["-q"]),
        ("vfat", 64, "mkfs.fat", &["-F", "32"]),
        ("swap", 64, "mkswap", &["-q"]),
    ] {
        let path = lab.text(name);
        let file = fs::File::create(&path).unwrap();
        file.set_len(size << 20).unwrap();
        tool(program, &[args, &[&path]].concat());
        let pack = ["pack", name, "--out", "out", "--architecture", "x86_64"];
        lab.succeed(&pack);
        file.set_len((size << 20) - 4096).unwrap();
        let error = lab.refused(&pack);
        assert!(error.contains("it is truncated"), "{name}: {error}");
    }
}

#[test]
fn options_that_cannot_be_are_refused_with_a_hint() {
    let lab = Lab::new();
    lab.ext4("system.raw");
    fs::copy(lab.path("system.raw"), lab.path("a b.raw")).unwrap();
    let base = ["--out", "out", "--architecture", "x86_64"];
    for (args, expected) in [
        (
            &["system.raw", "--name", "a.b"][..],
            "`a.b` cannot name an image",
        ),
        (&["a b.raw"], "give another name with --name"),
        (
            &["system.raw", "--chunk-size", "3 MiB"],
            "`chunk_size` is 3145728",
        ),
        (
            &["system.raw", "--chunk-size", "32 MiB"],
            "the chunk size is 32 MiB, but at most 16 MiB is supported",
        ),
        (
            &["system.raw", "--mount", "srv"],
            "`srv` is not an absolute path",
        ),
        (
            &["system.raw", "--feature", "a b"],
            "`a b` cannot be `features`",
        ),
        (
            &["system.raw", "--os-name", "a\nb"],
            "os: text of more than",
        ),
        (&["nothing.raw"], "cannot open nothing.raw"),
        (&["/dev/null"], "is neither a file nor a block device"),
        (
            &["system.raw", "--format", "qcow2"],
            "magic number is wrong",
        ),
    ] {
        let error = lab.refused(&[&["pack"][..], args, &base].concat());
        assert!(error.contains(expected), "{args:?}: {error}");
        assert_eq!(lab.names("out"), Vec::<String>::new(), "{args:?}");
    }
    fs::write(lab.path("tree/lib64/ld-linux-x86-64.so.2"), "").unwrap();
    fs::remove_dir_all(lab.path("tree")).unwrap();
    fs::create_dir(lab.path("tree")).unwrap();
    let empty = lab.path("empty.raw");
    fs::File::create(&empty).unwrap().set_len(8 << 20).unwrap();
    tool("mke2fs", &["-q", "-F", empty.to_str().unwrap()]);
    let error = lab.refused(&["pack", "empty.raw", "--out", "out"]);
    assert!(error.contains("give it with --architecture"), "{error}");
}

#[test]
fn a_full_disk_is_an_error_and_nothing_stays_on_it() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    lab.ext4("system.raw");
    fs::create_dir(lab.path("small")).unwrap();
    // a namespace of its own: the mount ends with the shell
    let script = r#"mount -t tmpfs -o size=1m none "$1" || exit 77
        "$2" pack "$3" --out "$1" --architecture x86_64; echo "status $?"; ls -A "$1""#;
    let output = Command::new("unshare")
        .args(["-m", "--propagation", "private", "sh", "-c", script, "sh"])
        .arg(lab.path("small"))
        .arg(program())
        .arg(lab.path("system.raw"))
        .output()
        .unwrap();
    if output.status.code() == Some(77) {
        return;
    }
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "status 1\n",
        "{error}"
    );
    assert!(error.contains("No space left on device"), "{error}");
    assert!(error.contains("hint: free space there"), "{error}");
}

#[test]
fn what_is_interrupted_leaves_nothing_and_the_earlier_image_stays() {
    let lab = Lab::new();
    let raw = lab.ext4("system.raw");
    lab.pack("system.raw", "out", &[]);
    let before = lab.names("out");
    // minutes of work at this level
    fs::write(
        lab.path("big.raw"),
        [fs::read(raw).unwrap(), noise(64 << 20, 5)].concat(),
    )
    .unwrap();
    let mut child = Command::new(program())
        .args([
            "pack",
            "big.raw",
            "--out",
            "out",
            "--name",
            "system",
            "--level",
            "19",
            "--threads",
            "1",
        ])
        .current_dir(lab.path(""))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let out = lab.path("out");
    let begun = || names(&out).iter().any(|name| name.ends_with(".partial"));
    let limit = std::time::Duration::from_mins(2);
    host::wait::until(limit, || Ok(begun().then_some(()))).expect("it begins");
    tool("kill", &["-TERM", &child.id().to_string()]);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(lab.names("out"), before);
    lab.succeed(&["inspect", "out/system.img.zst", "--check"]);
}

#[test]
fn a_new_image_takes_the_old_signature_away() {
    let lab = Lab::new();
    lab.ext4("system.raw");
    lab.pack("system.raw", "out", &["--gz"]);
    fs::write(lab.path("out/system.manifest.json.minisig"), "old").unwrap();
    lab.pack("system.raw", "out", &["--release", "2"]);
    assert_eq!(
        lab.names("out"),
        ["system.img.gz", "system.img.zst", "system.manifest.json"]
    );
}

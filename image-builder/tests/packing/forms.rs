//! Input formats and output files.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Stdio;

use crate::lab::{Lab, is_root, noise, tool};

#[test]
fn the_same_image_gives_the_same_files_whatever_the_number_of_threads() {
    let lab = Lab::new();
    lab.ext4("system.raw");
    for threads in ["1", "2", "7"] {
        let more = [
            "--gz",
            "--fuel-yaml",
            "--chunk-size",
            "1 MiB",
            "--threads",
            threads,
        ];
        lab.pack("system.raw", threads, &more);
    }
    let names = lab.names("1");
    assert_eq!(
        names,
        [
            "system.img.gz",
            "system.img.zst",
            "system.manifest.json",
            "system.yaml"
        ]
    );
    for name in names {
        let read = |folder: &str| fs::read(lab.path(folder).join(&name)).unwrap();
        assert!(read("1") == read("2") && read("1") == read("7"), "{name}");
    }
}

#[test]
fn any_zstd_and_any_gzip_gives_the_image_back() {
    let lab = Lab::new();
    let raw = fs::read(lab.ext4("system.raw")).unwrap();
    lab.pack("system.raw", "out", &["--gz"]);
    for (program, file) in [
        ("zstd", "out/system.img.zst"),
        ("gzip", "out/system.img.gz"),
    ] {
        tool(program, &["-t", &lab.text(file)]);
        let back = tool(program, &["-dc", &lab.text(file)]).stdout;
        assert!(back == raw, "{program}");
    }
}

#[test]
fn whatever_an_image_is_wrapped_in_it_is_the_same_packed_image() {
    let lab = Lab::new();
    let raw = lab.text("system.raw");
    lab.ext4("system.raw");
    lab.pack(&raw, "raw", &[]);
    let read = |folder: &str, name: &str| fs::read(lab.path(folder).join(name)).unwrap();
    let packers: [(&str, &str, &[&str]); 4] = [
        ("gz", "gzip", &["-kc"]),
        ("xz", "xz", &["-kc", "-0", "-T2", "--block-size=4MiB"]),
        ("zst", "zstd", &["-kc", "-q"]),
        ("bz2", "bzip2", &["-kc"]),
    ];
    for (suffix, program, args) in packers {
        let packed = tool(program, &[args, &[&raw]].concat()).stdout;
        // members, streams and frames one after the other are one image
        let (head, tail) = packed.split_at(packed.len());
        fs::write(lab.path(&format!("system.{suffix}")), [head, tail].concat()).unwrap();
    }
    for (suffix, format, options) in [
        ("qcow2", "qcow2", ["-c", "-o", "compression_type=zstd"]),
        ("vmdk", "vmdk", ["-q", "-o", "subformat=streamOptimized"]),
    ] {
        let image = lab.text(&format!("system.{suffix}"));
        let convert = ["convert", "-f", "raw", "-O", format];
        tool(
            "qemu-img",
            &[&convert[..], &options, &[&raw, &image]].concat(),
        );
    }
    for suffix in ["gz", "xz", "zst", "bz2", "qcow2", "vmdk"] {
        lab.pack(&format!("system.{suffix}"), suffix, &[]);
        for name in ["system.img.zst", "system.manifest.json"] {
            assert!(read(suffix, name) == read("raw", name), "{suffix}: {name}");
        }
        assert_eq!(
            lab.names(suffix).len(),
            2,
            "{suffix}: the work file is gone"
        );
    }
}

#[test]
fn parts_one_after_the_other_are_one_image() {
    let lab = Lab::new();
    let raw = fs::read(lab.ext4("system.raw")).unwrap();
    lab.pack("system.raw", "raw", &[]);
    let half = raw.len() / 2;
    fs::write(lab.path("a"), &raw[..half]).unwrap();
    fs::write(lab.path("b"), &raw[half..]).unwrap();
    for (suffix, program) in [
        ("gz", "gzip"),
        ("xz", "xz"),
        ("zst", "zstd"),
        ("bz2", "bzip2"),
    ] {
        let part = |name: &str| tool(program, &["-c", "-1", &lab.text(name)]).stdout;
        let name = format!("system.{suffix}");
        fs::write(lab.path(&name), [part("a"), part("b")].concat()).unwrap();
        lab.pack(&name, suffix, &[]);
        let read = |folder: &str| fs::read(lab.path(folder).join("system.img.zst")).unwrap();
        assert!(read(suffix) == read("raw"), "{suffix}");
    }
}

#[test]
fn properties_are_found_in_a_filesystem_and_overridden_by_options() {
    let lab = Lab::new();
    lab.ext4("system.raw");
    lab.succeed(&["pack", "system.raw", "--out", "out"]);
    let json = |folder: &str| -> serde_json::Value {
        let text = lab.succeed(&[
            "inspect",
            &format!("{folder}/system.img.zst"),
            "--format",
            "json",
        ]);
        serde_json::from_str(&text).unwrap()
    };
    let found = json("out");
    assert_eq!(found["os"]["name"], "Debian GNU/Linux");
    assert_eq!(found["os"]["codename"], "bookworm");
    assert_eq!(found["architecture"], "x86_64");
    assert_eq!(found["features"][0], "lvm");
    assert_eq!(found["images"][0]["filesystem"]["type"], "ext4");
    let uuid = tool(
        "blkid",
        &["-p", "-o", "value", "-s", "UUID", &lab.text("system.raw")],
    )
    .stdout;
    let uuid = String::from_utf8(uuid).unwrap();
    assert_eq!(found["images"][0]["filesystem"]["uuid"], uuid.trim());
    let more = [
        "--os-version",
        "12.9",
        "--firmware",
        "bios,uefi",
        "--feature",
        "md",
        "--mount",
        "/srv",
        "--release",
        "42",
    ];
    lab.pack("system.raw", "other", &more);
    let other = json("other");
    assert_eq!(
        (&other["os"]["version"], &other["os"]["family"]),
        (&"12.9".into(), &"debian".into())
    );
    assert_eq!(other["firmware"], serde_json::json!(["bios", "uefi"]));
    assert_eq!(other["features"], serde_json::json!(["md"]));
    assert_eq!(
        (&other["images"][0]["mount"], &other["release"]),
        (&"/srv".into(), &42.into())
    );
}

#[test]
fn disks_are_known_by_their_table_and_filesystems_by_their_superblock() {
    let lab = Lab::new();
    let make = |name: &str, size: u64| {
        fs::File::create(lab.path(name))
            .unwrap()
            .set_len(size << 20)
            .unwrap();
        lab.text(name)
    };
    let gpt = make("gpt.raw", 64);
    tool("sgdisk", &["-n1:2048:+8M", "-t1:ef00", "-n2:0:0", &gpt]);
    let dos = make("dos.raw", 64);
    fs::write(lab.path("dos.sfdisk"), "start=2048, type=83\n").unwrap();
    let script = fs::File::open(lab.path("dos.sfdisk")).unwrap();
    let sfdisk = std::process::Command::new("/sbin/sfdisk")
        .args(["-q", "--label", "dos", &dos])
        .stdin(script)
        .stdout(Stdio::null())
        .status();
    assert!(sfdisk.unwrap().success());
    tool(
        "mkfs.xfs",
        &["-q", "-s", "size=4096", &make("xfs.raw", 320)],
    );
    tool("mkfs.fat", &["-F", "32", &make("vfat.raw", 64)]);
    tool("mkswap", &["-q", &make("swap.raw", 8)]);
    tool("mke2fs", &["-q", "-t", "ext2", "-F", &make("ext2.raw", 8)]);
    tool("mke2fs", &["-q", "-t", "ext3", "-F", &make("ext3.raw", 16)]);
    for (name, expected) in [
        ("gpt", "a whole disk, sectors of 512 bytes"),
        ("dos", "a whole disk, sectors of 512 bytes"),
        ("xfs", "xfs for /, UUID "),
        ("vfat", "vfat for /, UUID "),
        ("swap", "swap for /, UUID "),
        ("ext2", "ext2 for /, UUID "),
        ("ext3", "ext3 for /, UUID "),
    ] {
        lab.pack(&format!("{name}.raw"), "out", &[]);
        let text = lab.succeed(&["inspect", &format!("out/{name}.manifest.json"), "--check"]);
        assert!(text.contains(expected), "{name}: {text}");
        let kinds = [("vfat", "vfat"), ("xfs", "xfs"), ("swap", "swap")];
        if let Some((_, kind)) = kinds.iter().find(|(known, _)| *known == name) {
            let raw = lab.text(&format!("{name}.raw"));
            let uuid = tool("blkid", &["-p", "-o", "value", "-s", "UUID", &raw]).stdout;
            let uuid = String::from_utf8(uuid).unwrap();
            assert!(
                text.contains(&format!("{kind} for /, UUID {}", uuid.trim())),
                "{text}"
            );
        }
    }
    let text = lab.succeed(&["inspect", "out/gpt.img.zst"]);
    assert!(text.contains("boots from    uefi"), "{text}");
}

#[test]
fn a_block_device_is_packed_like_its_file_unless_it_is_in_use() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let raw = lab.ext4("system.raw");
    lab.pack("system.raw", "file", &[]);
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&raw)
        .unwrap();
    let options = host::ioctl::loops::LoopOptions::default();
    let Ok(device) = host::ioctl::loops::LoopDevice::attach(&file, options) else {
        return;
    };
    let path = device.path().to_str().unwrap().to_owned();
    lab.pack(&path, "device", &["--name", "system", "--skip-free"]);
    lab.pack(&path, "plain", &["--name", "system"]);
    let read = |folder: &str| fs::read(lab.path(folder).join("system.img.zst")).unwrap();
    assert!(read("plain") == read("file"));
    // an exclusive open has the effect of a mount
    let holder = fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_EXCL)
        .open(&path)
        .unwrap();
    let error = lab.refused(&["pack", &path, "--out", "busy", "--name", "x"]);
    assert!(
        error.contains("is in use: mounted, or part of md"),
        "{error}"
    );
    drop(holder);
    // and the file is in use as long as the device is there
    let error = lab.refused(&[
        "pack",
        "system.raw",
        "--out",
        "busy",
        "--architecture",
        "x86_64",
        "--skip-free",
    ]);
    assert!(error.contains("is in use as loop"), "{error}");
    assert_eq!(lab.names("busy"), Vec::<String>::new());
}

#[test]
fn holes_and_zeros_are_the_same() {
    let lab = Lab::new();
    let sparse = fs::File::create(lab.path("sparse.raw")).unwrap();
    sparse.set_len(40 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, &noise(5000, 3), 17 << 20).unwrap();
    fs::write(
        lab.path("full.raw"),
        fs::read(lab.path("sparse.raw")).unwrap(),
    )
    .unwrap();
    for name in ["sparse", "full"] {
        lab.pack(
            &format!("{name}.raw"),
            name,
            &["--kind", "disk", "--name", "x"],
        );
    }
    let read = |folder: &str| fs::read(lab.path(folder).join("x.img.zst")).unwrap();
    assert!(read("sparse") == read("full"));
    let text = lab.succeed(&["inspect", "full/x.img.zst", "--check"]);
    assert!(text.contains("20 of 2 MiB, 19 of them zero"), "{text}");
}

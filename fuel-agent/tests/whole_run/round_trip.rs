//! Trees that GNU tar archives, in each of its forms, and what comes out of the archive here: by GNU tar's own eyes the
//! same.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use fuel_agent::events::Silence;
use fuel_agent::http::{Client, HttpSettings};
use fuel_agent::model::request::Container;
use fuel_agent::stream::{Expected, Unpacking, unpack_archive};
use host::cancel::Cancel;
use host::extract::{DeviceNode, Metadata, Unpacker};

use super::lab::tool;

/// A capability, `cap_net_raw` as `setcap` stores it.
const CAPABILITY: &[u8] = &[
    1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

/// `user::rwx,user:54321:r-x,group::r-x,mask::rwx,other::---`, as the kernel has it.
const LIST: &[u8] = &[
    2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 5, 0, 0x31, 0xd4, 0, 0, 4, 0, 5, 0, 255, 255,
    255, 255, 16, 0, 7, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255,
];

fn belongings(mode: u32) -> Metadata<'static> {
    Metadata {
        mode,
        user: 3_000_000_000,
        group: 100,
        modified: (1_600_000_000, 123_456_789),
        attributes: Vec::new(),
    }
}

fn with(mode: u32, attributes: &[(&'static str, &'static [u8])]) -> Metadata<'static> {
    let attributes = attributes.iter();
    Metadata {
        attributes: attributes
            .map(|(name, value)| (OsStr::new(*name), *value))
            .collect(),
        ..belongings(mode)
    }
}

/// One of everything that a system has, and of what is hard to archive.
fn everything(root: &Path) -> io::Result<()> {
    let path = Path::new;
    let lists = [
        ("system.posix_acl_default", LIST),
        ("system.posix_acl_access", LIST),
    ];
    let note = [("trusted.note", &b"x"[..])];
    let mut make = Unpacker::open(root)?;
    make.folder(path(""), &belongings(0o751))?;
    make.folder(path("etc"), &with(0o755, &lists))?;
    files(&mut make)?;
    files_with_holes(&mut make)?;
    make.hard_link(path("data2"), path("data"))?;
    let far = "../far".repeat(30);
    make.symlink(path("link"), OsStr::new(&far), &with(0o777, &note))?;
    for (name, special) in [
        ("null", DeviceNode::Character(1, 3)),
        ("disk", DeviceNode::Block(259, 1_048_575)),
        ("pipe", DeviceNode::Pipe),
    ] {
        make.special(path(name), special, &with(0o4622, &note))?;
    }
    make.folder(path("old"), &with(0o1777, &[("user.note", b"")]))?;
    make.close()
}

fn files(make: &mut Unpacker) -> io::Result<()> {
    let data: Vec<u8> = (0..3_000_001_u32)
        .map(|n| u8::try_from(n * 7 % 251).unwrap_or(0))
        .collect();
    let long = "d".repeat(120) + "/" + &"e".repeat(200);
    let note: (&str, &[u8]) = ("user.note=%", b"a\0b\n");
    let old = Metadata {
        modified: (-1_000_000, 0),
        ..belongings(0o644)
    };
    let listed = with(0o770, &[("system.posix_acl_access", LIST)]);
    let able = with(0o755, &[("security.capability", CAPABILITY), note]);
    let files: [(&str, Metadata<'_>, &[u8]); 8] = [
        ("etc/passwd", belongings(0o644), b"root:x:0:0\n"),
        ("etc/listed", listed, b"x"),
        ("empty", belongings(0o000), b""),
        ("su", belongings(0o4755), b"\x7fELF"),
        ("ping", able, b"x"),
        ("data", belongings(0o600), &data),
        (&long, belongings(0o640), b"long"),
        ("line\nend \u{fc}", old, b"odd"),
    ];
    for (name, belongings, data) in &files {
        let file = make.file(Path::new(name), data.len().try_into().unwrap_or(0))?;
        file.write_at(data, 0)?;
        make.complete(&file, belongings)?;
    }
    Ok(())
}

/// Files in more pieces than fit a header, in none, and in a few.
fn files_with_holes(make: &mut Unpacker) -> io::Result<()> {
    for (name, pieces, size) in [
        ("holes", 60_u64, 300 << 16),
        ("one-hole", 0, 8 << 20),
        ("few", 2, 1 << 20),
    ] {
        let file = make.file(Path::new(name), size)?;
        for piece in 0..pieces {
            file.write_at(&[b'#'; 5000], piece * (4 << 16) + 4096)?;
        }
        make.complete(&file, &belongings(0o644))?;
    }
    Ok(())
}

/// A tree as GNU tar sees it, in one order and without what differs by itself.
pub(crate) fn seen(tree: &Path, archive: &Path, format: &[&str]) -> Vec<u8> {
    let (tree, archive_path) = (tree.to_str().unwrap(), archive.to_str().unwrap());
    let names = "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime";
    let all = [
        "--create",
        "--sort=name",
        "--numeric-owner",
        names,
        "-C",
        tree,
        "-f",
        archive_path,
        ".",
    ];
    let all: Vec<&str> = format
        .iter()
        .chain(&all)
        .filter(|it| **it != names || format.contains(&"--format=posix"))
        .copied()
        .collect();
    tool("tar", &all);
    fs::read(archive).unwrap()
}

fn unpack(archive: &Path, root: &Path) {
    let client = Client::new(&HttpSettings::default(), Cancel::new()).unwrap();
    unpack_archive(Unpacking {
        volume: host::units::Bytes(1 << 40),
        url: &format!("file://{}", archive.display()),
        container: Container::Raw,
        expected: Expected::default(),
        allow_unverified: true,
        root,
        device: "a folder",
        client: &client,
        events: &Silence,
    })
    .unwrap();
}

#[test]
fn what_gnu_tar_archives_is_unpacked_as_gnu_tar_sees_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("tree")).unwrap();
    if let Err(error) = everything(&path("tree")) {
        host::fake::skipped(format_args!("not everything can be made here: {error}"));
        return;
    }
    let attributes = ["--format=posix", "--xattrs", "--xattrs-include=*"];
    let forms: [&[&str]; 7] = [
        &["--format=gnu", "--sparse"],
        &["--format=oldgnu", "--sparse"],
        &["--format=posix", "--sparse", "--sparse-version=0.0"],
        &["--format=posix", "--sparse", "--sparse-version=0.1"],
        &["--format=posix", "--sparse", "--sparse-version=1.0"],
        &["--format=posix"],
        // lists as text, with numbers where an id has no name
        &["--format=posix", "--acls"],
    ];
    for (n, form) in forms.iter().enumerate() {
        let is_posix = form[0] == "--format=posix";
        let form: Vec<&str> = if is_posix {
            form[1..].iter().chain(&attributes).copied().collect()
        } else {
            form.to_vec()
        };
        seen(&path("tree"), &path("archive"), &form);
        let made = path(&format!("made{n}"));
        fs::create_dir(&made).unwrap();
        unpack(&path("archive"), &made);
        let comparable: &[&str] = if is_posix {
            &attributes
        } else {
            &["--format=gnu"]
        };
        let (before, after) = (
            seen(&path("tree"), &path("before"), comparable),
            seen(&made, &path("after"), comparable),
        );
        assert!(before == after, "{form:?}");
        if form.contains(&"--sparse") {
            for name in ["holes", "one-hole", "few"] {
                let blocks = |root: &Path| fs::metadata(root.join(name)).unwrap().blocks();
                assert_eq!(blocks(&made), blocks(&path("tree")), "{name} {form:?}");
            }
        }
    }
}

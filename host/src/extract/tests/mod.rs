//! Things made below a folder that stands for a root, with files beside it that must stay untouched.

mod properties;

use super::*;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};

struct Place {
    folder: tempfile::TempDir,
    unpacker: Unpacker,
}

impl Place {
    /// A root to unpack into, and a file beside it that must not change.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("root/lost+found")).unwrap();
        fs::create_dir(folder.path().join("outside")).unwrap();
        fs::write(folder.path().join("outside/victim"), "untouched").unwrap();
        let unpacker = Unpacker::open(&folder.path().join("root")).unwrap();
        Self { folder, unpacker }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("root").join(name)
    }

    fn file(&mut self, name: &str, data: &str) -> io::Result<()> {
        let size = data.len().try_into().unwrap();
        let file = self.unpacker.file(Path::new(name), size)?;
        file.write_at(data.as_bytes(), 0)?;
        self.unpacker.complete(&file, &mine(0o640))
    }

    fn folder(&mut self, name: &str) -> io::Result<()> {
        self.unpacker.folder(Path::new(name), &mine(0o750))
    }

    fn symlink(&mut self, name: &str, to: &str) -> io::Result<()> {
        self.unpacker
            .symlink(Path::new(name), OsStr::new(to), &mine(0o777))
    }

    fn hard_link(&mut self, name: &str, to: &str) -> io::Result<()> {
        self.unpacker.hard_link(Path::new(name), Path::new(to))
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn is_untouched(&self) -> bool {
        let outside = self.folder.path().join("outside");
        fs::read_to_string(outside.join("victim")).unwrap() == "untouched"
            && fs::read_dir(outside).unwrap().count() == 1
    }
}

/// Metadata of a file owned by the user that runs the tests.
fn mine(mode: u32) -> Metadata<'static> {
    Metadata {
        mode,
        user: unistd::geteuid().as_raw(),
        group: unistd::getegid().as_raw(),
        modified: (1_000_000_000, 5),
        attributes: Vec::new(),
    }
}

fn why(result: io::Result<()>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn things_are_made_with_what_belongs_to_them() {
    let mut place = Place::new();
    place.unpacker.folder(Path::new(""), &mine(0o711)).unwrap();
    place.folder("etc").unwrap();
    place.file("etc/passwd", "root").unwrap();
    place.symlink("etc/link", "/nowhere").unwrap();
    place.hard_link("etc/again", "etc/passwd").unwrap();
    place
        .unpacker
        .special(Path::new("pipe"), DeviceNode::Pipe, &mine(0o4622))
        .unwrap();
    place.file("made/on/the/way", "x").unwrap();
    let found = |name: &str| fs::symlink_metadata(place.path(name)).unwrap();
    for (name, mode) in [
        ("etc", 0o750),
        ("etc/passwd", 0o640),
        ("pipe", 0o4622),
        ("made/on", 0o755),
    ] {
        assert_eq!(found(name).permissions().mode() & 0o7777, mode, "{name}");
    }
    assert!(found("pipe").file_type().is_fifo());
    assert_eq!(found("etc/again").ino(), found("etc/passwd").ino());
    assert_eq!(
        fs::read_link(place.path("etc/link")).unwrap(),
        Path::new("/nowhere")
    );
    for name in ["etc/passwd", "etc/link", "pipe"] {
        assert_eq!(
            (found(name).mtime(), found(name).mtime_nsec()),
            (1_000_000_000, 5),
            "{name}"
        );
    }
    assert_eq!(place.read("made/on/the/way"), "x");
}

#[test]
fn folders_have_their_times_whatever_was_made_in_them_and_when() {
    let mut place = Place::new();
    place.unpacker.folder(Path::new(""), &mine(0o755)).unwrap();
    place.folder("a").unwrap();
    place.folder("a/b").unwrap();
    place.file("a/b/file", "x").unwrap();
    place.file("c", "x").unwrap();
    // back into folders that were left
    place.file("a/b/more", "x").unwrap();
    place.hard_link("a/link", "c").unwrap();
    place.symlink("b", "x").unwrap();
    let root = place.path("");
    place.unpacker.close().unwrap();
    for name in ["", "a", "a/b"] {
        let found = fs::metadata(root.join(name)).unwrap();
        assert_eq!(
            (found.mtime(), found.mtime_nsec()),
            (1_000_000_000, 5),
            "{name:?}"
        );
    }
}

#[test]
fn nothing_is_made_through_a_symbolic_link() {
    let mut place = Place::new();
    let outside = place.folder.path().join("outside");
    place.symlink("up", "../outside").unwrap();
    place.symlink("away", outside.to_str().unwrap()).unwrap();
    place.folder("real").unwrap();
    place.symlink("inside", "real").unwrap();
    for link in ["up", "away", "inside"] {
        let victim = format!("{link}/victim");
        let below = format!("is below `{link}`, which is a symbolic link");
        assert_eq!(why(place.file(&victim, "x")), below);
        assert_eq!(why(place.folder(&victim)), below);
        assert_eq!(why(place.symlink(&victim, "x")), below);
        let made = place
            .unpacker
            .special(Path::new(&victim), DeviceNode::Pipe, &mine(0o600));
        assert_eq!(why(made), below);
        assert_eq!(
            why(place.folder(link)),
            "is a folder and would replace a symbolic link"
        );
        let through = format!("is a link into `{link}`, which leads through a symbolic link");
        assert_eq!(why(place.hard_link("stolen", &victim)), through);
        // the link itself is a file like others
        place.file(link, "replaced").unwrap();
        assert_eq!(place.read(link), "replaced");
    }
    assert!(place.is_untouched());
}

#[test]
fn a_name_that_leads_elsewhere_is_refused() {
    let mut place = Place::new();
    let victim = place.folder.path().join("outside/victim");
    for name in [
        "../outside/victim",
        "/etc/passwd",
        "a/../../outside/victim",
        "./a",
        victim.to_str().unwrap(),
    ] {
        assert_eq!(
            why(place.file(name, "x")),
            "has a path that leads out of the root",
            "{name}"
        );
        assert_eq!(
            why(place.hard_link("a", name)),
            "has a path that leads out of the root",
            "{name}"
        );
    }
    assert!(place.file("", "x").is_err());
    assert!(place.is_untouched() && !place.path("a").exists());
}

#[test]
fn a_link_swapped_in_for_a_folder_that_is_open_is_not_followed() {
    let mut place = Place::new();
    place.file("a/b", "x").unwrap();
    place.unpacker.folders.root().unwrap();
    fs::remove_dir_all(place.path("a")).unwrap();
    symlink(place.folder.path().join("outside"), place.path("a")).unwrap();
    assert!(place.file("a/victim", "x").is_err());
    assert!(place.is_untouched());
}

#[test]
fn what_comes_later_takes_the_place_of_what_was_there() {
    let mut place = Place::new();
    place.file("a", "first").unwrap();
    place.file("twin", "kept").unwrap();
    place.hard_link("other", "twin").unwrap();
    place.file("a", "2").unwrap();
    place.file("twin", "new").unwrap();
    assert_eq!(
        (place.read("a"), place.read("twin"), place.read("other")),
        ("2".into(), "new".into(), "kept".into())
    );
    place.folder("a").unwrap();
    place.symlink("a", "empty folders are replaced").unwrap();
    place.folder("full").unwrap();
    place.file("full/file", "x").unwrap();
    place.folder("full").unwrap();
    assert_eq!(place.read("full/file"), "x");
    let full = "would replace a folder that is not empty";
    assert_eq!(why(place.file("full", "x")), full);
    assert_eq!(why(place.symlink("full", "x")), full);
    assert_eq!(
        why(place.file("twin/below", "x")),
        "is below `twin`, which is not a folder"
    );
}

#[test]
fn a_hard_link_needs_a_file_that_is_there() {
    let mut place = Place::new();
    place.folder("folder").unwrap();
    place.file("file", "x").unwrap();
    assert_eq!(
        why(place.hard_link("a", "gone")),
        "is a link to `gone`, which does not exist"
    );
    assert_eq!(
        why(place.hard_link("a", "file/gone")),
        "is a link to `file/gone`, which does not exist"
    );
    assert_eq!(why(place.hard_link("a", "folder")), "is a link to a folder");
    assert_eq!(
        why(place.hard_link("file", "file")),
        "is a link to itself or to the root"
    );
    assert_eq!(
        why(place.hard_link("a", "")),
        "is a link to itself or to the root"
    );
    place.hard_link("again", "file").unwrap();
    place.hard_link("again", "file").unwrap();
    assert_eq!(fs::metadata(place.path("file")).unwrap().nlink(), 2);
    // a link to a link is a second name of the link
    place.symlink("link", "file").unwrap();
    place.hard_link("link2", "link").unwrap();
    assert!(
        fs::symlink_metadata(place.path("link2"))
            .unwrap()
            .is_symlink()
    );
}

#[test]
fn holes_are_where_nothing_was_written() {
    let mut place = Place::new();
    let file = place.unpacker.file(Path::new("sparse"), 64 << 20).unwrap();
    file.write_at(b"in the middle", 32 << 20).unwrap();
    place.unpacker.complete(&file, &mine(0o600)).unwrap();
    let found = fs::metadata(place.path("sparse")).unwrap();
    assert_eq!(found.len(), 64 << 20);
    assert!(found.blocks() * 512 < 4 << 20, "{} blocks", found.blocks());
}

#[test]
fn attributes_are_set_and_one_that_cannot_be_is_an_error() {
    let mut place = Place::new();
    if xattr::set(place.path(""), "user.note", b"x").is_err() {
        crate::fake::skipped("no attributes here");
        return;
    }
    let noted = |name: &'static str| Metadata {
        attributes: vec![(OsStr::new(name), b"value")],
        ..mine(0o644)
    };
    place
        .unpacker
        .folder(Path::new("a"), &noted("user.note"))
        .unwrap();
    assert_eq!(
        xattr::get(place.path("a"), "user.note").unwrap().as_deref(),
        Some(&b"value"[..])
    );
    let error = place.unpacker.folder(Path::new("a"), &noted("no.such"));
    assert!(why(error).starts_with("cannot get its attribute `no.such`: "));
    place.unpacker.start_over().unwrap();
    assert_eq!(xattr::list(place.path("")).unwrap().count(), 0);
}

#[test]
fn a_list_of_a_folder_is_not_passed_on_to_what_has_its_own() {
    let mut place = Place::new();
    // user::rwx, group::r-x, other::---
    let list: &[u8] = &[
        2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 4, 0, 5, 0, 255, 255, 255, 255, 32, 0, 0, 0,
        255, 255, 255, 255,
    ];
    let metadata = Metadata {
        attributes: vec![(OsStr::new("system.posix_acl_default"), list)],
        ..mine(0o755)
    };
    if place.unpacker.folder(Path::new("a"), &metadata).is_err() {
        crate::fake::skipped("no access control lists here");
        return;
    }
    place.folder("a/b").unwrap();
    place.file("a/c", "x").unwrap();
    place
        .unpacker
        .special(Path::new("a/d"), DeviceNode::Pipe, &mine(0o644))
        .unwrap();
    for name in ["a/b", "a/c", "a/d"] {
        assert_eq!(xattr::list(place.path(name)).unwrap().count(), 0, "{name}");
    }
    assert!(
        xattr::get(place.path("a"), "system.posix_acl_default")
            .unwrap()
            .is_some()
    );
}

#[test]
fn starting_over_leaves_what_a_new_filesystem_has() {
    let mut place = Place::new();
    if !unistd::geteuid().is_root() {
        crate::fake::skipped("not root");
        return;
    }
    place
        .unpacker
        .folder(
            Path::new(""),
            &Metadata {
                user: 7,
                ..mine(0o700)
            },
        )
        .unwrap();
    place.file("a/b/c", "x").unwrap();
    place.symlink("out", "../outside").unwrap();
    place.unpacker.start_over().unwrap();
    let names: Vec<_> = fs::read_dir(place.path(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["lost+found"]);
    let root = fs::metadata(place.path("")).unwrap();
    assert_eq!((root.permissions().mode() & 0o7777, root.uid()), (0o755, 0));
    place.file("a/b/c", "again").unwrap();
    assert_eq!(place.read("a/b/c"), "again");
    assert!(place.is_untouched());
}

#[test]
fn folders_deeper_than_anybody_needs_are_refused() {
    let mut place = Place::new();
    let deep = |count: usize| "d/".repeat(count) + "file";
    place.file(&deep(200), "x").unwrap();
    assert_eq!(
        why(place.file(&deep(300), "x")),
        "is in more than 256 folders"
    );
}

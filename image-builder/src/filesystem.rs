//! Makes an ext4 filesystem of a folder: the same bytes for the same folder and the same [`Seed`], wherever and
//! whenever.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use host::exec::{Cmd, Exec};
use host::units::Bytes;
use sha2::{Digest, Sha256};
use tracing::info;

use crate::tools::Tool;

/// Number of the root folder's inode.
const ROOT_INODE: u32 = 2;
/// Number of the first inode that is not reserved.
const FIRST_INODE: u32 = 11;

/// What a filesystem has instead of chance and clock.
#[derive(Clone, Debug)]
pub(crate) struct Seed {
    /// Where its identifiers are derived from.
    pub(crate) text: String,
    /// Its time, in seconds since 1970.
    pub(crate) time: u32,
}

impl Seed {
    /// The UUID for `purpose`: one of version 8 (RFC 9562), made by a rule of its own.
    fn uuid(&self, purpose: &str) -> String {
        let digest = Sha256::digest(format!("{purpose}\0{}", self.text));
        let mut bytes = [0; 16];
        for (to, from) in bytes.iter_mut().zip(digest) {
            *to = from;
        }
        let id = uuid::Builder::from_custom_bytes(bytes).into_uuid();
        id.to_string()
    }

    /// The command with the time for e2fsprogs, before and since 1.47.1.
    fn timed(&self, cmd: Cmd) -> Cmd {
        cmd.env("E2FSPROGS_FAKE_TIME", self.time.to_string())
            .env("SOURCE_DATE_EPOCH", self.time.to_string())
    }
}

/// Makes an ext4 filesystem with the files of `root` in the file `raw`. Without `size` it gets room for some more.
pub(crate) fn make(
    root: &Path,
    raw: &Path,
    size: Option<Bytes>,
    seed: &Seed,
    exec: &mut dyn Exec,
) -> Result<()> {
    let needed = tree_size(root).with_context(|| format!("cannot measure {}", root.display()))?;
    let size = match size {
        Some(size) if size < needed => bail!("the files need {needed}, more than --size {size}"),
        Some(size) => size,
        None => roomy(needed).context("the files are too large for any filesystem")?,
    };
    info!("making a filesystem of {size}");
    let file = fs::File::create(raw).with_context(|| format!("cannot create {}", raw.display()))?;
    file.set_len(size.0)
        .with_context(|| format!("cannot make a file of {size}"))?;
    let cmd = Cmd::new(Tool::Mke2fs)
        .args(["-t", "ext4", "-q", "-F", "-m", "1"])
        // features that GRUB of Debian 12 cannot read
        .args(["-O", "^metadata_csum_seed,^orphan_file"])
        .args(["-U", &seed.uuid("filesystem")])
        .arg("-E")
        .arg(format!(
            "hash_seed={},lazy_itable_init=0,lazy_journal_init=0",
            seed.uuid("folders")
        ))
        .arg("-d")
        .arg(root)
        .arg(raw);
    exec.run(&seed.timed(cmd))
        .context("cannot make the filesystem")?;
    set_times(raw, seed, exec)
}

/// Sets the times of access and of change of each file. mke2fs takes them from the folder: it sets the first by
/// reading, and nobody can set the second.
fn set_times(raw: &Path, seed: &Seed, exec: &mut dyn Exec) -> Result<()> {
    let list = Cmd::new(Tool::Dumpe2fs).arg(raw).keep(64 << 20);
    let list = exec.run(&list).context("cannot list the inodes")?;
    let inodes = used_inodes(&list.stdout).context("cannot parse dumpe2fs's list of inodes")?;
    let commands = raw.with_extension("commands");
    let mut text = String::new();
    for inode in inodes {
        for field in ["atime", "ctime"] {
            let _ = writeln!(text, "set_inode_field <{inode}> {field} @{}", seed.time);
        }
    }
    fs::write(&commands, text).with_context(|| format!("cannot write {}", commands.display()))?;
    let cmd = Cmd::new(Tool::Debugfs)
        .args(["-w", "-f"])
        .arg(&commands)
        .arg(raw);
    let output = exec
        .run(&seed.timed(cmd))
        .context("cannot set the times of files")?;
    match complaint(&output.stderr) {
        Some(error) => bail!("cannot set the times of files: debugfs says `{error}`"),
        None => Ok(()),
    }
}

/// The first error of debugfs, which exits with 0 whatever its commands do. Without errors it says its version only.
fn complaint(stderr: &str) -> Option<&str> {
    let mut lines = stderr.lines().map(str::trim);
    lines.find(|line| !line.is_empty() && !line.starts_with("debugfs "))
}

/// The inodes that files have, from dumpe2fs's list of those that are free.
fn used_inodes(text: &str) -> Option<Vec<u32>> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let count: u32 = field("Inode count:")?.trim().parse().ok()?;
    let mut free = Vec::new();
    for list in text
        .lines()
        .filter_map(|line| line.strip_prefix("  Free inodes:"))
    {
        for range in list.split(',').map(str::trim).filter(|r| !r.is_empty()) {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            free.push(first.parse().ok()?..=last.parse().ok()?);
        }
    }
    let mut used = vec![ROOT_INODE];
    used.extend(
        (FIRST_INODE..=count).filter(|inode| !free.iter().any(|free| free.contains(inode))),
    );
    Some(used)
}

/// Size of a filesystem for `needed` bytes of files: a quarter and 128 MiB more, for its metadata and the first boot.
fn roomy(needed: Bytes) -> Option<Bytes> {
    let quarter = Bytes(needed.0 / 4);
    needed
        .checked_add(quarter)?
        .checked_add(Bytes::mib(128)?)?
        .align_up(Bytes::MIB)
}

/// Size of the files of a tree, each rounded up to a block of 4 KiB. Links are not followed.
fn tree_size(folder: &Path) -> std::io::Result<Bytes> {
    let mut sum = Bytes::ZERO;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let own = if kind.is_dir() {
            tree_size(&entry.path())?.saturating_add(Bytes(4096))
        } else if kind.is_file() {
            Bytes(entry.metadata()?.len())
                .align_up(Bytes(4096))
                .unwrap_or(Bytes(u64::MAX))
        } else {
            Bytes::ZERO
        };
        sum = sum.saturating_add(own);
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use host::cancel::Cancel;
    use host::exec::System;
    use host::fake::Script;
    use nix::fcntl::AT_FDCWD;
    use nix::sys::stat::{UtimensatFlags, utimensat};
    use nix::sys::time::TimeSpec;

    fn seed(text: &str) -> Seed {
        Seed {
            text: text.to_owned(),
            time: 1_700_000_000,
        }
    }

    /// A folder with files, one with two names, and a link; all their times are set, but not those of access and
    /// change.
    fn tree(root: &Path, names: &[usize]) {
        fs::create_dir_all(root.join("etc")).unwrap();
        for name in names {
            fs::write(root.join(format!("etc/f{name}")), format!("{name}")).unwrap();
        }
        fs::hard_link(root.join("etc/f1"), root.join("hard")).unwrap();
        std::os::unix::fs::symlink("etc/f2", root.join("link")).unwrap();
        let (time, read) = (TimeSpec::new(1_600_000_000, 0), TimeSpec::UTIME_NOW);
        let dated = names.iter().map(|name| format!("etc/f{name}"));
        for name in dated.chain(["link", "etc", ""].map(str::to_owned)) {
            let path = root.join(name);
            utimensat(
                AT_FDCWD,
                &path,
                &read,
                &time,
                UtimensatFlags::NoFollowSymlink,
            )
            .unwrap();
        }
    }

    #[test]
    fn the_same_files_and_seed_give_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let order: Vec<usize> = (1..200).collect();
        let back: Vec<usize> = order.iter().rev().copied().collect();
        tree(&at("one"), &order);
        tree(&at("two"), &back);
        let mut exec = System::new(Cancel::new());
        let mut make = |root: &str, text: &str| {
            let raw = at("raw");
            make(&at(root), &raw, Bytes::mib(24), &seed(text), &mut exec).unwrap();
            let check = Cmd::new(Tool::E2fsck).args(["-f", "-n"]).arg(&raw);
            exec.run(&check).unwrap();
            fs::read(&raw).unwrap()
        };
        let (first, second) = (make("one", "a"), make("two", "a"));
        assert!(first == second, "the filesystems differ");
        assert!(first != make("one", "b"), "the seed does not count");
    }

    #[test]
    fn an_error_of_debugfs_is_found_in_what_it_says() {
        let list = "Inode count:              20\n  Free inodes: 13, 15-20\n";
        assert_eq!(used_inodes(list).unwrap(), [2, 11, 12, 14]);
        assert!(used_inodes("").is_none());
        assert!(used_inodes("Inode count: 20\n  Free inodes: x\n").is_none());
        let version = "debugfs 1.47.0 (5-Feb-2023)\n";
        assert_eq!(complaint(version), None);
        let error = format!("{version}set_inode_field: invalid field\n");
        assert_eq!(complaint(&error), Some("set_inode_field: invalid field"));
    }

    #[test]
    fn a_size_that_is_too_small_is_refused_before_anything_is_made() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("f"), vec![1; 100_000]).unwrap();
        let raw = folder.path().join("raw");
        let size = Some(Bytes(4096));
        let error = make(folder.path(), &raw, size, &seed("x"), &mut Script::new()).unwrap_err();
        assert!(error.to_string().contains("more than --size"), "{error}");
        assert!(!raw.exists());
    }

    #[test]
    fn identifiers_are_uuids_of_their_own() {
        let (one, two) = (seed("a").uuid("filesystem"), seed("a").uuid("folders"));
        assert_ne!(one, two);
        for id in [one, two] {
            let id = uuid::Uuid::parse_str(&id).unwrap();
            assert_eq!(id.get_version_num(), 8, "{id}");
        }
    }

    #[test]
    fn the_filesystem_has_room_beyond_its_files() {
        assert_eq!(roomy(Bytes(400 << 20)), Bytes::mib(628));
        assert_eq!(roomy(Bytes(u64::MAX)), None);
    }
}

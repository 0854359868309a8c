//! `build`: makes an image from Debian packages. Output files get their names only when all of them are complete.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context, Result, bail};
use apt_sources::{APT_CONFIG, AptConfig, Wanted};
use host::cancel::Cancel;
use host::exec::{Cmd, Exec, ExecError, Program};
use host::mount::{self, KernelMounts};
use host::units::Bytes;
use tempfile::TempDir;
use tracing::{info, warn};

use crate::cli::Build;
use crate::debian;
use crate::pack::{self, Built, Packed};
use crate::tools::Tool;

/// Builds the image that `options` describe.
pub(crate) fn build(options: &Build, exec: &mut dyn Exec, cancel: &Cancel) -> Result<Packed> {
    check(options, exec)?;
    for folder in [&options.out, &options.work] {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
    }
    let work = Work::make(&options.work)?;
    let (root, sources, raw) = (
        work.path().join("root"),
        work.path().join("sources.list"),
        work.path().join("raw"),
    );
    fs::write(&sources, sources_list(options, exec)?).context("cannot write sources.list")?;
    info!(
        "unpacking Debian {} with {}",
        debian::RELEASE,
        options.kernel
    );
    exec.run(&debian::unpack(
        &root,
        &sources,
        &options.kernel,
        &options.packages,
    ))
    .context("cannot unpack Debian")?;
    // mmdebstrap only warns if it cannot unmount what it mounted for the packages' scripts
    work.unmount()?;
    debian::configure(&root).context("cannot write the recipe's files")?;
    make_filesystem(&root, &raw, options.size, exec)?;
    let packages = debian::packages(&options.kernel, &options.packages);
    let built = Built {
        name: &options.name,
        raw: &raw,
        options: debian::image_options(),
        packages: &packages,
        packing: &options.packing,
        out: &options.out,
    };
    pack::pack_built(&built, exec, cancel)
}

/// The folder that an image is made in. What an interrupted tool left mounted there is unmounted before the folder is
/// removed: removing it would empty the mounted filesystem.
struct Work(Option<TempDir>);

impl Work {
    fn make(within: &Path) -> Result<Self> {
        // The mounts are private and end with this process. Without root, tools cannot mount, and this is not
        // permitted.
        match mount::own_namespace() {
            Err(error) if error.kind() != io::ErrorKind::PermissionDenied => {
                return Err(error).context("cannot create a mount namespace");
            }
            _ => {}
        }
        let folder = tempfile::Builder::new().prefix("image.").tempdir_in(within);
        Ok(Self(Some(folder.context("cannot create a work folder")?)))
    }

    fn path(&self) -> &Path {
        self.0.as_ref().map_or(Path::new(""), TempDir::path)
    }

    fn unmount(&self) -> Result<()> {
        let folder = fs::canonicalize(self.path()).context("cannot find the work folder")?;
        let left =
            mount::unmount_below(&folder, &mut KernelMounts).context("cannot list mounts")?;
        match left.into_iter().next() {
            Some((at, error)) => {
                Err(error).with_context(|| format!("cannot unmount {}", at.display()))
            }
            None => Ok(()),
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if let Err(error) = self.unmount()
            && let Some(folder) = self.0.take()
        {
            warn!(folder = %folder.keep().display(), "the work folder was not removed: {error:#}");
        }
    }
}

/// Checks options and tools before work that takes minutes.
fn check(options: &Build, exec: &dyn Exec) -> Result<()> {
    pack::check_name(&options.name)?;
    let needed: [Program; 3] = [Tool::Mmdebstrap.into(), Tool::Mke2fs.into(), APT_CONFIG];
    if let Some(program) = host::exec::missing(exec, needed).first() {
        return Err(ExecError::Missing { program: *program }.into());
    }
    Ok(())
}

/// The text of sources.list: the machine's archives, or `--mirror`.
fn sources_list(options: &Build, exec: &mut dyn Exec) -> Result<String> {
    if let Some(mirror) = &options.mirror {
        return Ok(format!("deb {mirror} {} main\n", debian::RELEASE));
    }
    let wanted = Wanted {
        suite: debian::RELEASE,
        architecture: debian::ARCHITECTURE,
        mirrors: &[],
        machine_security: false,
        firmware: false,
        allow_unsigned: options.allow_unsigned_archive,
    };
    let entries = AptConfig::read(exec)?.entries()?;
    Ok(apt_sources::render_lines(&entries, wanted)?)
}

/// Makes an ext4 filesystem with the files of `root`.
fn make_filesystem(
    root: &Path,
    raw: &Path,
    size: Option<Bytes>,
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
        .args(["-E", "lazy_itable_init=0,lazy_journal_init=0"])
        .arg("-d")
        .arg(root)
        .arg(raw);
    exec.run(&cmd).context("cannot make the filesystem")?;
    Ok(())
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
    use host::fake::Script;

    fn options(folder: &Path) -> Build {
        Build {
            distribution: crate::cli::Distribution::Debian,
            out: folder.join("out"),
            name: "debian-12".to_owned(),
            kernel: "linux-image-amd64".to_owned(),
            packages: Vec::new(),
            size: None,
            mirror: Some("http://mirror.test/debian".to_owned()),
            allow_unsigned_archive: false,
            work: folder.join("work"),
            packing: crate::cli::Packing::default(),
        }
    }

    #[test]
    fn a_missing_tool_is_found_before_anything_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let mut script = Script::new().without(Tool::Mmdebstrap);
        let error = build(&options(folder.path()), &mut script, &Cancel::new()).unwrap_err();
        assert_eq!(error.to_string(), "`mmdebstrap` is not installed");
        let hint = crate::error::hint(&error).unwrap();
        assert_eq!(hint, "install the package `mmdebstrap`");
        assert!(!folder.path().join("out").exists());
    }

    #[test]
    fn a_name_with_a_dot_is_refused_because_fuel_would_not_find_its_yaml() {
        let folder = tempfile::tempdir().unwrap();
        let options = Build {
            name: "a.b".to_owned(),
            ..options(folder.path())
        };
        assert!(
            build(&options, &mut Script::new(), &Cancel::new())
                .unwrap_err()
                .to_string()
                .contains("cannot name an image")
        );
    }

    #[test]
    fn packages_come_from_the_machines_own_archives() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("sources.list");
        let options = Build {
            mirror: None,
            ..options(folder.path())
        };
        let answer = format!("LIST='{}'\n", list.display());
        let mut script = Script::new().answering("apt-config", &answer);
        fs::write(
            &list,
            "deb [signed-by=/k] http://m.test/debian bookworm main",
        )
        .unwrap();
        let lines = sources_list(&options, &mut script).unwrap();
        assert_eq!(lines, "deb http://m.test/debian bookworm main\n");
        fs::write(&list, "deb http://m.test/ubuntu noble main").unwrap();
        let error = sources_list(&options, &mut script).unwrap_err();
        let hint = crate::error::hint(&error).unwrap();
        assert_eq!(hint, "give a mirror with `--mirror URL`");
        fs::write(
            &list,
            "deb [trusted=yes] http://m.test/debian bookworm main",
        )
        .unwrap();
        let error = sources_list(&options, &mut script).unwrap_err();
        assert!(error.to_string().contains("without a signature"), "{error}");
        let hint = crate::error::hint(&error).unwrap();
        assert!(hint.contains("--allow-unsigned-archive"), "{hint}");
    }

    #[test]
    fn whatever_tool_fails_nothing_is_left_behind() {
        for n in 0..2 {
            let folder = tempfile::tempdir().unwrap();
            let mut script = Script::new().failing_at(n);
            assert!(
                build(&options(folder.path()), &mut script, &Cancel::new()).is_err(),
                "call {n} failed"
            );
            for place in ["out", "work"] {
                let left: Vec<_> = fs::read_dir(folder.path().join(place)).unwrap().collect();
                assert!(left.is_empty(), "call {n}: {left:?} left in {place}");
            }
        }
    }

    #[test]
    fn the_filesystem_has_room_beyond_its_files() {
        assert_eq!(roomy(Bytes(400 << 20)), Bytes::mib(628));
        assert_eq!(roomy(Bytes(u64::MAX)), None);
    }
}

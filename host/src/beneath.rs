//! Opening a file below a folder, where the path is not to be trusted.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::fcntl::{self, OFlag, OpenHow, ResolveFlag};
use nix::sys::stat::{self, Mode, SFlag};

/// Opens the regular file at `path` below `folder` for reading. `..`, absolute links and links that lead out of the
/// folder are refused ([`leads_out`]), as are other kinds of files, which are not opened: a pipe would wait for a writer.
pub fn open_beneath(folder: &Path, path: &Path) -> io::Result<File> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_PATH | OFlag::O_CLOEXEC;
    let root = fcntl::open(folder, flags, Mode::empty())?;
    regular(&resolve(&root, path, OFlag::O_PATH)?)?;
    let file = resolve(&root, path, OFlag::O_RDONLY | OFlag::O_NONBLOCK)?;
    regular(&file)?;
    Ok(File::from(file))
}

/// Whether [`open_beneath`] failed because the path leads out of its folder, or through a loop of links.
pub fn leads_out(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EXDEV | libc::ELOOP))
}

fn resolve(root: &OwnedFd, path: &Path, flags: OFlag) -> io::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(flags | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    Ok(fcntl::openat2(root, path, how)?)
}

fn regular(file: &OwnedFd) -> io::Result<()> {
    let mode = SFlag::from_bits_truncate(stat::fstat(file)?.st_mode) & SFlag::S_IFMT;
    if mode == SFlag::S_IFREG {
        return Ok(());
    }
    let why = "it is not a regular file";
    Err(io::Error::new(io::ErrorKind::InvalidInput, why))
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn no_path_leads_out_of_the_folder() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("images");
        std::fs::create_dir_all(folder.join("sub")).unwrap();
        std::fs::write(root.path().join("secret"), "secret").unwrap();
        std::fs::write(folder.join("a.img"), "image").unwrap();
        let secret = root.path().join("secret");
        for (link, target) in [
            ("relative", Path::new("../secret")),
            ("absolute", secret.as_path()),
            ("sub/up", Path::new("../../secret")),
            ("out", Path::new("..")),
            ("here", Path::new("a.img")),
            ("sub/here", Path::new("../a.img")),
            ("absolute-in", folder.join("a.img").as_path()),
            ("loop", Path::new("loop")),
            ("fd", Path::new("/proc/self/fd/0")),
            ("gone", Path::new("nothing")),
        ] {
            symlink(target, folder.join(link)).unwrap();
        }
        for path in [
            "relative",
            "absolute",
            "sub/up",
            "out/secret",
            "../secret",
            "sub/../../secret",
            "absolute-in",
            "loop",
            "fd",
        ] {
            let error = open_beneath(&folder, Path::new(path)).unwrap_err();
            assert!(leads_out(&error), "{path}: {error}");
        }
        assert!(leads_out(&open_beneath(&folder, &secret).unwrap_err()));
        for path in ["a.img", "here", "sub/here", "sub/../a.img", "./a.img"] {
            let mut text = String::new();
            let mut file = open_beneath(&folder, Path::new(path)).unwrap();
            file.read_to_string(&mut text).unwrap();
            assert_eq!(text, "image", "{path}");
        }
        let error = open_beneath(&folder, Path::new("gone")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let error = open_beneath(&root.path().join("nothing"), Path::new("a")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_is_no_regular_file_is_not_opened() {
        let root = tempfile::tempdir().unwrap();
        nix::unistd::mkfifo(&root.path().join("pipe"), Mode::S_IRWXU).unwrap();
        std::fs::create_dir(root.path().join("folder")).unwrap();
        for path in ["pipe", "folder", "."] {
            let error = open_beneath(root.path(), Path::new(path)).unwrap_err();
            assert_eq!(error.to_string(), "it is not a regular file", "{path}");
        }
    }
}

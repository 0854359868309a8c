//! Where `--report` points: a file that is replaced in one piece, or a device or a FIFO that is written into.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use host::nonblocking::{self, PollingWriter};

use super::small_file::{replace, room_for};

/// More bytes than a report takes.
const ROOM: usize = 256 << 10;

/// How long a reader of a FIFO or a console may take for a report.
const READ_WITHIN: Duration = Duration::from_secs(5);

/// Links that are followed, as in the kernel.
const MOST_LINKS: usize = 40;

/// A place that a report can be written to: found out before anything is touched.
#[derive(Debug)]
pub(super) enum ReportFile {
    /// A regular file, or none yet; links are resolved, so that they stay.
    Regular(PathBuf),
    /// Opened already: a FIFO's reader would take closing for the end.
    Special(PollingWriter),
}

impl ReportFile {
    /// The place at `path`; an error where a report cannot be written there. Nothing is changed.
    pub(super) fn find(path: &Path) -> io::Result<Self> {
        let Some(resolved) = resolved(path)? else {
            return Ok(Self::Special(PollingWriter::new(nonblocking::open(path)?)));
        };
        let kind = match fs::metadata(&resolved) {
            Ok(metadata) => metadata.file_type(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                room_for(&resolved, ROOM)?;
                return Ok(Self::Regular(resolved));
            }
            Err(error) => return Err(error),
        };
        if kind.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if kind.is_block_device() {
            return Err(io::Error::other("it is a disk or a partition"));
        }
        if kind.is_file() {
            room_for(&resolved, ROOM)?;
            return Ok(Self::Regular(resolved));
        }
        Ok(Self::Special(PollingWriter::new(nonblocking::open(
            &resolved,
        )?)))
    }

    /// Writes all of `bytes`.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Special(writer) => writer.write_within(bytes, READ_WITHIN),
            Self::Regular(path) => match replace(path, bytes) {
                // A file that something is mounted on, as containers do, cannot be replaced.
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                    io::Write::write_all(&mut File::create(path)?, bytes)
                }
                done => done,
            },
        }
    }
}

/// The file that `path` leads to, which need not exist; `None` for a link below `/proc`: that is an open file, like
/// `/dev/stdout`.
fn resolved(path: &Path) -> io::Result<Option<PathBuf>> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        match fs::read_link(&path) {
            Ok(_) if path.starts_with("/proc") => return Ok(None),
            Ok(target) => path = path.parent().map_or(target.clone(), |it| it.join(target)),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Ok(Some(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(path)),
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("its links lead in a circle"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_file_is_replaced_and_a_link_to_it_stays() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        symlink("middle", at("link")).unwrap();
        symlink("real", at("middle")).unwrap();
        for text in ["first, where there was none", "second"] {
            ReportFile::find(&at("link"))
                .unwrap()
                .write(text.as_bytes())
                .unwrap();
            assert_eq!(fs::read_to_string(at("real")).unwrap(), text);
            assert_eq!(fs::read_link(at("link")).unwrap(), Path::new("middle"));
        }
        let mut names: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["link", "middle", "real"]);
    }

    #[test]
    fn a_device_is_written_into_and_stays_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("null");
        symlink("/dev/null", &link).unwrap();
        for path in [Path::new("/dev/null"), &link] {
            ReportFile::find(path).unwrap().write(b"{}").unwrap();
        }
        let kind = fs::metadata("/dev/null").unwrap().file_type();
        assert!(kind.is_char_device());
        let error = ReportFile::find(Path::new("/dev/full"))
            .unwrap()
            .write(b"{}");
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn an_open_file_is_written_into() {
        use std::os::fd::AsRawFd;
        let (mut reader, writer) = io::pipe().unwrap();
        let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("stdout");
        symlink(path, &link).unwrap();
        ReportFile::find(&link).unwrap().write(b"{}").unwrap();
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "{}");
    }

    #[test]
    fn what_cannot_take_a_report_is_found_out_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        symlink("circle", at("circle")).unwrap();
        symlink(".", at("folder")).unwrap();
        let socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        for path in [
            folder.path().to_owned(),
            at("folder"),
            at("circle"),
            at("none/report.json"),
            at("socket"),
            "/proc/report.json".into(),
            "/dev/stdin/report.json".into(),
        ] {
            assert!(ReportFile::find(&path).is_err(), "{}", path.display());
        }
        drop(socket);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }
}

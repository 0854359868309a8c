//! Access to the machine for planning, validation and dry runs, in place of a host: it can read, and nothing else.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use host::blockdev::{Access, BlockDevice, Devices, FileDevices, FileDisk, NodeDevices};
use host::cancel::Cancel;
use host::exec::{Cmd, Exec, ExecError, Output, Program, System};
use host::partition_table::{self, FoundTable};
use host::units::{Bytes, Extent};

use crate::tools::Tool;

/// LVM is asked past whatever the machine's own lvm.conf hides, and may not leave hints behind.
const LVM_CONFIG: &str = r#"devices { filter=["a|.*|"] global_filter=["a|.*|"] use_devicesfile=0 scan_lvs=0 hints="none" }"#;

/// A question to a program. There is no other way to start one from here, and none of these can change anything.
#[derive(Clone, Copy, Debug)]
pub(super) enum Query<'a> {
    /// Content of a device or a file.
    Signature(&'a Path),
    /// What is in one part of a device or a file.
    SignatureWithin(&'a Path, Extent),
    /// The array that one device is a member of, by its own superblock.
    ArrayOf(&'a Path),
    /// Physical volumes and the groups that they belong to.
    PhysicalVolumes,
    /// The group that one physical volume belongs to; no other device is read.
    PhysicalVolume(&'a Path),
}

impl Query<'_> {
    fn command(self) -> Cmd {
        // blkid: 2 is "nothing there", 8 "more than one thing there".
        let blkid = || Cmd::new(Tool::Blkid).args(["-p", "-o", "export"]);
        let cmd = match self {
            Self::Signature(device) => blkid().path(device).accept(&[0, 2, 8]),
            Self::SignatureWithin(device, extent) => blkid()
                .args(["-O", &extent.start.0.to_string()])
                .args(["-S", &extent.length.0.to_string()])
                .path(device)
                .accept(&[0, 2, 8]),
            Self::ArrayOf(device) => Cmd::new(Tool::Mdadm)
                .args(["--examine", "--export"])
                .arg(device),
            Self::PhysicalVolumes => pvs(LVM_CONFIG),
            Self::PhysicalVolume(device) => pvs(&lvm_config_for(device)),
        };
        cmd.timeout(Duration::from_mins(2))
    }
}

fn pvs(config: &str) -> Cmd {
    Cmd::new(Tool::Lvm)
        .args(["pvs", "--readonly", "--reportformat", "json"])
        .args(["-o", "pv_name,vg_name,vg_uuid", "--config", config])
}

/// Like [`LVM_CONFIG`], for one device. Whatever is no plain letter of its name may be any character.
fn lvm_config_for(device: &Path) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/_-".contains(c);
    let name = device.to_string_lossy();
    let name: String = name
        .chars()
        .map(|c| if plain(c) { c } else { '.' })
        .collect();
    LVM_CONFIG.replace(r#"["a|.*|"]"#, &format!(r#"["a|^{name}$|", "r|.*|"]"#))
}

/// Reads a machine, or files that stand for disks. For code that must not write: it can open nothing for writing and
/// start nothing but queries.
pub struct Reader {
    root: PathBuf,
    exec: Box<dyn Exec>,
    devices: Box<dyn Devices>,
    files: Option<Vec<FileDisk>>,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("root", &self.root)
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl Reader {
    /// This machine, through its `/sys`, `/proc`, `/run` and `/dev`.
    pub fn real(cancel: &Cancel) -> Self {
        let exec = Box::new(System::new(cancel.clone()).confined());
        Self::below("/", exec, Box::new(NodeDevices::new()))
    }

    /// A machine whose `/sys`, `/proc`, `/run` and `/dev` are below `root`: for tests.
    pub fn below(root: impl Into<PathBuf>, exec: Box<dyn Exec>, devices: Box<dyn Devices>) -> Self {
        Self {
            root: root.into(),
            exec,
            devices,
            files: None,
        }
    }

    /// Files that stand for disks: (name of the disk, file, its size where it is still to be made). The machine's own
    /// disks cannot be seen, and no file is made.
    pub fn on_files(
        disks: &[(String, PathBuf, Option<Bytes>)],
        cancel: &Cancel,
    ) -> io::Result<Self> {
        let mut devices = FileDevices::new();
        for (name, file, size) in disks {
            devices.look_at(name, file, *size)?;
        }
        Ok(Self {
            files: Some(devices.disks().to_vec()),
            devices: Box::new(devices),
            ..Self::real(cancel)
        })
    }

    /// Which of `tools` are not installed.
    pub fn missing(&self, tools: &[Tool]) -> Vec<Program> {
        host::exec::missing(self.exec.as_ref(), tools.iter().copied())
    }

    /// The files that stand for disks, if there are any.
    pub(super) fn files(&self) -> Option<&[FileDisk]> {
        self.files.as_deref()
    }

    /// Starts a query tool.
    pub(super) fn ask(&mut self, query: Query<'_>) -> Result<Output, ExecError> {
        self.exec.run(&query.command())
    }

    /// The partition table on a disk.
    pub(super) fn table(&self, disk: &Path) -> io::Result<Option<FoundTable>> {
        partition_table::read(self.open(disk)?.as_ref())
    }

    /// Opens a disk, or any block device node, for reading.
    pub(super) fn open(&self, path: &Path) -> io::Result<Box<dyn BlockDevice>> {
        self.devices.open(path, Access::Read)
    }

    /// Fills `buffer` from `at` of a disk or partition.
    pub fn read_at(&self, device: &Path, buffer: &mut [u8], at: Bytes) -> io::Result<()> {
        self.open(device)?.read_at(buffer, at)
    }

    fn place(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// The text of a small file, without the white space around it; `None` where it cannot be read. Files of sysfs come
    /// and go, and some fail with `EINVAL` or `EIO` for "does not apply": all that is treated alike.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        let bytes = self.bytes(path)?;
        Some(String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    /// The bytes of a small file; `None` where it cannot be read.
    pub(super) fn bytes(&self, path: &str) -> Option<Vec<u8>> {
        fs::read(self.place(path)).ok()
    }

    /// The names in a folder, sorted; none where there is no such folder.
    pub(super) fn names(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.place(path)).into_iter().flatten();
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }

    pub(super) fn exists(&self, path: &str) -> bool {
        self.place(path).exists()
    }

    /// Where a link points to, as it is written.
    pub(super) fn link(&self, path: &str) -> Option<String> {
        let target = fs::read_link(self.place(path)).ok()?;
        Some(target.to_string_lossy().into_owned())
    }

    /// The path with all links followed, as seen from the machine.
    pub(super) fn followed(&self, path: &str) -> Option<String> {
        let root = self.root.canonicalize().ok()?;
        let real = self.place(path).canonicalize().ok()?;
        let inside = real.strip_prefix(root).ok()?;
        Some(format!("/{}", inside.display()))
    }
}

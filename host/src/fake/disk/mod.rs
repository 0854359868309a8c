//! Disks of any size in memory, with injected faults and a log of all operations.

mod operation;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::memory::Memory;
use crate::blockdev::{Access, BlockDevice, Devices, forecast};
use crate::partition_table;
use crate::units::{Bytes, Extent};
pub use operation::{Fault, Operation, What};

/// [`Devices`] in memory. Clones share their disks.
#[derive(Clone, Debug, Default)]
pub struct FakeDevices(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    disks: Vec<FakeDisk>,
    log: Vec<Operation>,
    faults: Vec<Fault>,
}

#[derive(Debug)]
struct FakeDisk {
    path: PathBuf,
    size: Bytes,
    sector_size: Bytes,
    is_file: bool,
    partitions: Vec<(u32, Extent)>,
    slaves: Vec<PathBuf>,
    content: Memory,
}

impl FakeDevices {
    /// No disks.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a disk of zeros with sectors of 512 bytes.
    #[must_use]
    pub fn with(self, path: &str, size: Bytes) -> Self {
        self.with_sectors(path, size, Bytes(512))
    }

    /// Adds a disk of zeros with other sectors.
    #[must_use]
    pub fn with_sectors(self, path: &str, size: Bytes, sector_size: Bytes) -> Self {
        self.state().disks.push(FakeDisk {
            path: PathBuf::from(path),
            size,
            sector_size,
            is_file: false,
            partitions: Vec::new(),
            slaves: Vec::new(),
            content: Memory::default(),
        });
        self
    }

    /// Makes the disk added last a regular file: nothing on it can be mounted.
    #[must_use]
    pub fn as_file(self) -> Self {
        if let Some(disk) = self.state().disks.last_mut() {
            disk.is_file = true;
        }
        self
    }

    /// Makes the disk added last a stacked device on top of these devices.
    #[must_use]
    pub fn made_of(self, slaves: &[&str]) -> Self {
        if let Some(disk) = self.state().disks.last_mut() {
            disk.slaves = slaves.iter().map(PathBuf::from).collect();
        }
        self
    }

    /// Injects a fault.
    #[must_use]
    pub fn failing(self, fault: Fault) -> Self {
        self.state().faults.push(fault);
        self
    }

    /// An open disk or partition; not in the log.
    fn opened(&self, path: &Path, writable: bool) -> io::Result<Opened> {
        let state = self.state();
        let (index, window) = state.locate(path)?;
        let disk = state.disk(index)?;
        Ok(Opened {
            devices: self.clone(),
            path: path.to_owned(),
            disk: index,
            window,
            sector_size: disk.sector_size,
            writable,
            lost: false,
        })
    }

    /// Everything done so far, in order.
    pub fn log(&self) -> Vec<Operation> {
        self.state().log.clone()
    }

    /// Everything done so far, a line each.
    pub fn transcript(&self) -> String {
        let lines = self.log().into_iter();
        lines.fold(String::new(), |text, done| text + &done.to_string() + "\n")
    }

    /// Content of a disk or partition; not in the log.
    pub fn content(&self, path: &str, extent: Extent) -> io::Result<Vec<u8>> {
        let state = self.state();
        let (disk, window) = state.locate(Path::new(path))?;
        let extent = within(window, extent)?;
        let length = usize::try_from(extent.length.0).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        state.disk(disk)?.content.read(extent.start.0, &mut bytes);
        Ok(bytes)
    }

    /// Writes to a disk or partition; not in the log.
    pub fn put(&self, path: &str, at: Bytes, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        let (disk, window) = state.locate(Path::new(path))?;
        let length = Bytes(u64::try_from(bytes.len()).map_err(io::Error::other)?);
        let extent = within(window, Extent { start: at, length })?;
        state.disk_mut(disk)?.content.write(extent.start.0, bytes);
        Ok(())
    }
}

/// Translates `extent` from offsets within `window` to offsets on the disk.
fn within(window: Extent, extent: Extent) -> io::Result<Extent> {
    match extent.start.checked_add(extent.length) {
        Some(end) if end <= window.length => Ok(Extent {
            start: window.start.saturating_add(extent.start),
            length: extent.length,
        }),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{} at {} is beyond the end", extent.length, extent.start),
        )),
    }
}

fn injected() -> io::Error {
    io::Error::from_raw_os_error(nix::libc::EIO)
}

impl State {
    /// Index of the disk that `path` belongs to, and which part of it.
    fn locate(&self, path: &Path) -> io::Result<(usize, Extent)> {
        for (index, disk) in self.disks.iter().enumerate() {
            if disk.path == path {
                let (start, length) = (Bytes::ZERO, disk.size);
                return Ok((index, Extent { start, length }));
            }
            let mut partitions = disk.partitions.iter();
            if let Some((_, extent)) = partitions.find(|(n, _)| forecast(&disk.path, *n) == path) {
                return Ok((index, *extent));
            }
        }
        Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("there is no {}", path.display()),
        ))
    }

    fn disk(&self, index: usize) -> io::Result<&FakeDisk> {
        self.disks.get(index).ok_or_else(injected)
    }

    fn disk_mut(&mut self, index: usize) -> io::Result<&mut FakeDisk> {
        self.disks.get_mut(index).ok_or_else(injected)
    }

    fn named(&mut self, path: &Path) -> io::Result<&mut FakeDisk> {
        let (index, extent) = self.locate(path)?;
        let disk = self.disk_mut(index)?;
        if extent.start == Bytes::ZERO && extent.length == disk.size {
            return Ok(disk);
        }
        Err(io::Error::from_raw_os_error(nix::libc::EINVAL))
    }

    /// Number of operations of this sort so far.
    fn count(&self, sort: fn(&What) -> bool) -> usize {
        self.log.iter().filter(|done| sort(&done.what)).count()
    }

    /// Logs the operation; returns the fault injected into it.
    fn note(&mut self, device: &Path, what: What) -> Option<Fault> {
        let writes = |what: &What| matches!(what, What::Write(_) | What::Zero(_));
        let flushes = |what: &What| matches!(what, What::Flush);
        let opens = |what: &What| matches!(what, What::Open(_));
        let adds = |what: &What| matches!(what, What::AddPartition(..));
        let tables = |what: &What| matches!(what, What::ReadTable);
        let fault = self.faults.iter().copied().find(|fault| match fault {
            Fault::Write(n) | Fault::HalfWrite(n) => writes(&what) && self.count(writes) == *n,
            Fault::Flush(n) => flushes(&what) && self.count(flushes) == *n,
            Fault::Open(n) => opens(&what) && self.count(opens) == *n,
            Fault::AddPartition(n) => adds(&what) && self.count(adds) == *n,
            Fault::ReadTable(n) => tables(&what) && self.count(tables) == *n,
            Fault::ReadAt(_) => false,
        });
        let device = device.to_owned();
        self.log.push(Operation { device, what });
        fault
    }
}

/// An open disk or partition in memory.
#[derive(Debug)]
struct Opened {
    devices: FakeDevices,
    path: PathBuf,
    disk: usize,
    window: Extent,
    sector_size: Bytes,
    writable: bool,
    lost: bool,
}

impl Opened {
    /// Does `work` on the extent, on its first half, or not at all, as the injected fault says.
    fn change(
        &self,
        extent: Extent,
        what: What,
        work: impl FnOnce(&mut Memory, Extent),
    ) -> io::Result<()> {
        if !self.writable {
            return Err(io::Error::from_raw_os_error(nix::libc::EBADF));
        }
        let place = within(self.window, extent)?;
        let mut state = self.devices.state();
        match state.note(&self.path, what) {
            Some(Fault::HalfWrite(_)) => {
                let length = Bytes(place.length.0 / 2);
                work(
                    &mut state.disk_mut(self.disk)?.content,
                    Extent { length, ..place },
                );
                Err(injected())
            }
            Some(_) => Err(injected()),
            None => {
                work(&mut state.disk_mut(self.disk)?.content, place);
                Ok(())
            }
        }
    }
}

impl BlockDevice for Opened {
    fn size(&self) -> Bytes {
        self.window.length
    }

    fn sector_size(&self) -> Bytes {
        self.sector_size
    }

    fn read_only(&self) -> bool {
        false
    }

    fn read_at(&self, buffer: &mut [u8], at: Bytes) -> io::Result<()> {
        let length = Bytes(u64::try_from(buffer.len()).map_err(io::Error::other)?);
        let place = within(self.window, Extent { start: at, length })
            .map_err(|error| io::Error::new(io::ErrorKind::UnexpectedEof, error))?;
        let state = self.devices.state();
        let broken = state.faults.iter().any(|fault| match fault {
            Fault::ReadAt(byte) => place.start <= *byte && *byte < place.end(),
            _ => false,
        });
        if broken {
            return Err(injected());
        }
        state.disk(self.disk)?.content.read(place.start.0, buffer);
        Ok(())
    }

    fn write_at(&mut self, bytes: &[u8], at: Bytes) -> io::Result<()> {
        let length = Bytes(u64::try_from(bytes.len()).map_err(io::Error::other)?);
        let extent = Extent { start: at, length };
        self.change(extent, What::Write(extent), |content, place| {
            let length = usize::try_from(place.length.0).unwrap_or(0);
            content.write(place.start.0, bytes.get(..length).unwrap_or_default());
        })
    }

    fn zero(&mut self, extent: Extent) -> io::Result<()> {
        self.change(extent, What::Zero(extent), Memory::clear)
    }

    fn flush(&mut self) -> io::Result<()> {
        let fault = self.devices.state().note(&self.path, What::Flush);
        self.lost |= fault.is_some();
        if self.lost { Err(injected()) } else { Ok(()) }
    }
}

impl Devices for FakeDevices {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn BlockDevice>> {
        if self.state().note(path, What::Open(access)).is_some() {
            return Err(injected());
        }
        let opened = self.opened(path, access != Access::Read)?;
        Ok(Box::new(opened))
    }

    fn partition(&self, disk: &Path, number: u32) -> io::Result<PathBuf> {
        let mut state = self.state();
        let known = state.named(disk)?.partitions.iter();
        let node = known
            .map(|(number, _)| *number)
            .find(|known| *known == number)
            .map(|number| forecast(disk, number));
        node.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn partitions(&self, disk: &Path) -> io::Result<Vec<(u32, Extent)>> {
        Ok(self.state().named(disk)?.partitions.clone())
    }

    fn add_partition(&mut self, disk: &Path, number: u32, extent: Extent) -> io::Result<()> {
        let mut state = self.state();
        if state
            .note(disk, What::AddPartition(number, extent))
            .is_some()
        {
            return Err(injected());
        }
        let disk = state.named(disk)?;
        let whole = Extent {
            start: Bytes::ZERO,
            length: disk.size,
        };
        within(whole, extent)?;
        let mut others = disk.partitions.iter();
        if others.any(|(known, other)| *known == number || other.overlaps(extent)) {
            return Err(io::Error::from_raw_os_error(nix::libc::EBUSY));
        }
        disk.partitions.push((number, extent));
        disk.partitions.sort_by_key(|(number, _)| *number);
        Ok(())
    }

    fn remove_partition(&mut self, disk: &Path, number: u32) -> io::Result<()> {
        let mut state = self.state();
        state.note(disk, What::RemovePartition(number));
        let disk = state.named(disk)?;
        disk.partitions.retain(|(known, _)| *known != number);
        Ok(())
    }

    fn read_table(&mut self, disk: &Path) -> io::Result<()> {
        if self.state().note(disk, What::ReadTable).is_some() {
            return Err(injected());
        }
        let found = partition_table::read(&self.opened(disk, false)?)?;
        let partitions = found.map(|table| table.partitions).unwrap_or_default();
        let known = partitions.iter().map(|found| (found.number, found.extent));
        self.state().named(disk)?.partitions = known.collect();
        Ok(())
    }

    fn slaves(&self, node: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(self.state().named(node)?.slaves.clone())
    }

    fn is_file(&self, disk: &Path) -> bool {
        let mut state = self.state();
        state.named(disk).is_ok_and(|disk| disk.is_file)
    }
}

#[cfg(test)]
mod tests;

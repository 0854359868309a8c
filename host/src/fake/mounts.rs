//! Mounts that are only recorded.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::mount::{MountMode, Mounts};

/// [`Mounts`] that record what was mounted. Clones share the record.
#[derive(Clone, Debug, Default)]
pub struct FakeMounts(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    mounted: Vec<(String, PathBuf)>,
    transcript: Vec<String>,
    failing_at: Option<usize>,
    errno: Option<i32>,
}

impl FakeMounts {
    /// Nothing is mounted, and nothing fails.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails the `n`th mount or unmount, counted from 0.
    #[must_use]
    pub fn failing_at(self, n: usize) -> Self {
        self.state().failing_at = Some(n);
        self
    }

    /// The kernel's number of the error with which it fails.
    #[must_use]
    pub fn with_errno(self, errno: i32) -> Self {
        self.state().errno = Some(errno);
        self
    }

    /// Every mount and unmount so far, a line each.
    pub fn transcript(&self) -> String {
        let lines = self.state().transcript.clone();
        lines.into_iter().map(|line| line + "\n").collect()
    }
}

impl State {
    fn note(&mut self, line: String) -> io::Result<()> {
        let n = self.transcript.len();
        self.transcript.push(line);
        if self.failing_at == Some(n) {
            let injected = || io::Error::other("injected");
            return Err(self
                .errno
                .map_or_else(injected, io::Error::from_raw_os_error));
        }
        Ok(())
    }
}

impl Mounts for FakeMounts {
    fn mount(
        &mut self,
        device: &Path,
        target: &Path,
        kind: &str,
        mode: MountMode,
    ) -> io::Result<()> {
        let mut state = self.state();
        let (device, to) = (device.display().to_string(), target.display());
        let mode = match mode {
            MountMode::ReadOnly => "ro",
            MountMode::Write => "rw",
            MountMode::Probe => "probe",
        };
        state.note(format!("mount -t {kind} -o {mode} {device} {to}"))?;
        state.mounted.push((device, target.to_owned()));
        Ok(())
    }

    fn unmount(&mut self, target: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.note(format!("umount {}", target.display()))?;
        let last = state.mounted.iter().rposition(|(_, at)| at == target);
        match last {
            Some(at) => {
                state.mounted.remove(at);
                Ok(())
            }
            // The kernel's error where nothing is mounted.
            None => Err(io::Error::from_raw_os_error(nix::libc::EINVAL)),
        }
    }

    fn mounted(&self) -> io::Result<Vec<(String, PathBuf)>> {
        Ok(self.state().mounted.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mounted_is_remembered_until_it_is_unmounted() {
        let mut mounts = FakeMounts::new().failing_at(1);
        let (device, target) = (Path::new("/dev/sda1"), Path::new("/mnt"));
        let mount = |m: &mut FakeMounts| m.mount(device, target, "ext4", MountMode::Write);
        mount(&mut mounts).unwrap();
        mounts.clone().unmount(target).unwrap_err();
        mounts.unmount(target).unwrap();
        mounts.unmount(target).unwrap_err();
        assert!(mounts.mounted().unwrap().is_empty());
        assert_eq!(mounts.transcript().lines().count(), 4);
    }
}

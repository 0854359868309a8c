//! One run of a line, measured: how long, how much CPU, how much memory, and how busy the machine was without it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use host::cancel::Cancel;
use host::exec::{Cmd, System};
use host::wait;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::Value;

/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// How long the machine is watched before a run.
const WATCH: Duration = Duration::from_millis(200);

/// A line that takes longer is ended, and counts as failed.
const PATIENCE: Duration = Duration::from_mins(5);

/// What one run of a line took.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured {
    /// Seconds from its start to its end.
    pub(crate) wall: f64,
    /// Seconds of CPU, of it and all it has started; the kernel's own threads are not among them.
    pub(crate) cpu: f64,
    /// The most memory (resident, of all its processes together) that was seen.
    pub(crate) peak: u64,
    /// What it said about itself, where that was JSON.
    pub(crate) said: Option<Value>,
}

/// Measures lines in a process namespace of our own, in which `known` are the processes that belong to the bench.
#[derive(Debug)]
pub(crate) struct Meter {
    known: BTreeSet<u32>,
    cancel: Cancel,
}

impl Meter {
    /// Everything that runs now belongs to the bench.
    pub(crate) fn new(cancel: &Cancel) -> Result<Self> {
        Ok(Self {
            known: processes().context("cannot list processes")?,
            cancel: cancel.clone(),
        })
    }

    /// Runs `cmd` to its end; what it says goes to `log`.
    pub(crate) fn run(&self, system: &System, cmd: &Cmd, log: &Path) -> Result<Measured> {
        // one log for each run: what it says at its end is read from it
        let _ = fs::remove_file(log);
        let before = children_cpu()?;
        let started = Instant::now();
        let mut running = system.spawn(cmd, log)?;
        let mut peak = 0;
        let status = loop {
            if let Some(status) = running.wait_timeout(LOOK)? {
                break Some(status);
            }
            peak = peak.max(self.memory());
            if self.cancel.is_cancelled() {
                bail!("interrupted");
            }
            if started.elapsed() > PATIENCE {
                break None;
            }
        };
        let wall = started.elapsed().as_secs_f64();
        let group = running.pid();
        running.stop()?;
        reap(group);
        let cpu = children_cpu()? - before;
        match status {
            Some(status) if status.success() => Ok(Measured {
                wall,
                cpu,
                peak,
                said: said(log),
            }),
            Some(status) => bail!("{status}: {}", last_words(log)),
            None => bail!("it did not end within {} s", PATIENCE.as_secs()),
        }
    }

    /// Resident memory of all processes that do not belong to the bench.
    fn memory(&self) -> u64 {
        let Ok(all) = processes() else { return 0 };
        all.difference(&self.known)
            .filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/status")).ok())
            .filter_map(|status| resident(&status))
            .sum()
    }
}

/// The share of all CPUs that was busy while we did nothing: other people's work.
pub(crate) fn busy_share(cancel: &Cancel) -> Result<f64> {
    let look = || -> Result<(u64, u64)> {
        let text = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
        parse_stat(&text).context("/proc/stat is not understood")
    };
    let before = look()?;
    wait::pause(WATCH, cancel);
    let after = look()?;
    let (busy, all) = (after.0 - before.0, after.1 - before.1);
    Ok(ratio(busy, all.max(1)))
}

#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "a share for people, of counters far below 2^52"
)]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

/// The first line of `/proc/stat`: ticks that were not idle, and all of them.
fn parse_stat(text: &str) -> Option<(u64, u64)> {
    let line = text.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = line
        .split_whitespace()
        .take(8)
        .map(str::parse)
        .collect::<Result<_, _>>()
        .ok()?;
    let all = ticks.iter().sum();
    // idle, and waiting for a disk
    let idle: u64 = ticks.get(3..5)?.iter().sum();
    Some((all - idle, all))
}

/// `VmRSS` of a process, in bytes. One that has ended but was not waited for has none.
fn resident(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

fn processes() -> std::io::Result<BTreeSet<u32>> {
    let entries = fs::read_dir("/proc")?;
    let pid = |name: std::ffi::OsString| name.to_str()?.parse().ok();
    Ok(entries
        .filter_map(|entry| pid(entry.ok()?.file_name()))
        .collect())
}

/// Waits for what a line has left behind: we are the first process of the namespace, so its orphans are ours.
fn reap(group: u32) {
    let Ok(group) = i32::try_from(group) else {
        return;
    };
    while let Ok(status) = waitpid(Pid::from_raw(-group), Some(WaitPidFlag::WNOHANG)) {
        if status == WaitStatus::StillAlive {
            break;
        }
    }
}

/// CPU seconds of all children that were waited for, and of theirs.
fn children_cpu() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("cannot ask for CPU times")?;
    let seconds = |time: TimeVal| -> f64 {
        Duration::new(
            time.tv_sec().try_into().unwrap_or_default(),
            u32::try_from(time.tv_usec()).unwrap_or_default() * 1000,
        )
        .as_secs_f64()
    };
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}

/// The last line that is a JSON object.
fn said(log: &Path) -> Option<Value> {
    let text = fs::read_to_string(log).ok()?;
    text.lines()
        .rev()
        .find(|line| line.starts_with('{'))
        .and_then(|line| serde_json::from_str(line).ok())
}

/// The last lines of a log, for an error.
fn last_words(log: &Path) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().rev().take(5).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" / ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_is_what_is_neither_idle_nor_waiting() {
        let text = "cpu  100 10 50 700 40 5 5 90 7 7\ncpu0 1 1 1 1\n";
        assert_eq!(parse_stat(text), Some((260, 1000)));
        assert_eq!(parse_stat("cpu 1 2\n"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn memory_is_what_is_resident() {
        assert_eq!(
            resident("Name:\tx\nVmHWM:\t 9 kB\nVmRSS:\t    4 kB\n"),
            Some(4096)
        );
        assert_eq!(resident("Name:\tzombie\nState:\tZ\n"), None);
    }

    #[test]
    fn a_line_that_fails_is_told_with_its_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let cancel = Cancel::new();
        let meter = Meter::new(&cancel).unwrap();
        let system = System::new(cancel);
        let run = |line: &str| meter.run(&system, &testbed::shell::command(line), &log);
        let error = run("echo first; echo second; exit 3").unwrap_err();
        assert_eq!(error.to_string(), "exit status: 3: first / second");
        assert!(run("false | true").is_err(), "a pipe fails with its parts");
        let measured = run("echo noise; echo '{\"a\": 1}'").unwrap();
        assert_eq!(measured.said, Some(serde_json::json!({"a": 1})));
    }
}

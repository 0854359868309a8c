//! One run of a command: wall time, CPU time and peak memory; and how busy the machine is without it.

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

use crate::record::to_f64;

/// Time between two samples of memory.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(20);

/// How long the idle machine is observed.
const IDLE_WINDOW: Duration = Duration::from_millis(200);

/// A command that takes longer is killed, and has failed.
const TIMEOUT: Duration = Duration::from_mins(5);

/// One run of a command.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured {
    /// Seconds from its start to its end.
    pub(crate) wall: f64,
    /// Seconds of CPU, of the command and its children; kernel threads are not included.
    pub(crate) cpu: f64,
    /// The largest sample of resident memory, in bytes: the sum over all of its processes.
    pub(crate) peak: u64,
    /// The last JSON object in its output.
    pub(crate) json: Option<Value>,
}

/// Measures commands. This process is the first one of its namespace; `known` are the processes in it that belong to
/// the bench.
#[derive(Debug)]
pub(crate) struct Meter {
    known: BTreeSet<u32>,
    cancel: Cancel,
}

impl Meter {
    /// All processes that run now belong to the bench.
    pub(crate) fn new(cancel: &Cancel) -> Result<Self> {
        Ok(Self {
            known: processes().context("cannot list processes")?,
            cancel: cancel.clone(),
        })
    }

    /// Runs `cmd` to its end. `log` gets its output. Any exit status but 0 is an error.
    pub(crate) fn run(&self, system: &System, cmd: &Cmd, log: &Path) -> Result<Measured> {
        // a new log for each run: JSON and error text are read from it
        let _ = fs::remove_file(log);
        let before = children_cpu()?;
        let started = Instant::now();
        let mut running = system.spawn(cmd, log)?;
        let mut peak = 0;
        let status = loop {
            if let Some(status) = running.wait_timeout(SAMPLE_INTERVAL)? {
                break Some(status);
            }
            peak = peak.max(self.memory());
            if self.cancel.is_cancelled() {
                bail!("interrupted");
            }
            if started.elapsed() > TIMEOUT {
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
                json: last_json(log),
            }),
            Some(status) => bail!("{status}: {}", log_tail(log)),
            None => bail!("still running after {} s", TIMEOUT.as_secs()),
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

/// The share of all CPUs that other programs keep busy, from 0 to 1: measured while the bench waits.
pub(crate) fn busy_share(cancel: &Cancel) -> Result<f64> {
    let read = || -> Result<(u64, u64)> {
        let text = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
        parse_stat(&text).context("unexpected format of /proc/stat")
    };
    let before = read()?;
    wait::pause(IDLE_WINDOW, cancel);
    let after = read()?;
    let (busy, all) = (after.0 - before.0, after.1 - before.1);
    Ok(to_f64(busy) / to_f64(all.max(1)))
}

/// Busy ticks and all ticks, from the first line of `/proc/stat`.
fn parse_stat(text: &str) -> Option<(u64, u64)> {
    let line = text.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = line
        .split_whitespace()
        .take(8)
        .map(str::parse)
        .collect::<Result<_, _>>()
        .ok()?;
    let all = ticks.iter().sum();
    // idle and iowait
    let idle: u64 = ticks.get(3..5)?.iter().sum();
    Some((all - idle, all))
}

/// `VmRSS` in bytes, from `/proc/PID/status`. A zombie has none.
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

/// Reaps the orphans of a process group: they are children of the first process of the namespace, which is this one.
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

/// CPU seconds of all reaped children and their children.
fn children_cpu() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("cannot read CPU times")?;
    let seconds = |time: TimeVal| -> f64 {
        Duration::new(
            time.tv_sec().try_into().unwrap_or_default(),
            u32::try_from(time.tv_usec()).unwrap_or_default() * 1000,
        )
        .as_secs_f64()
    };
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}

/// The last line of a log that is a JSON object.
fn last_json(log: &Path) -> Option<Value> {
    let text = fs::read_to_string(log).ok()?;
    text.lines()
        .rev()
        .find(|line| line.starts_with('{'))
        .and_then(|line| serde_json::from_str(line).ok())
}

/// The last five lines of a log, for an error.
fn log_tail(log: &Path) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().rev().take(5).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" / ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_ticks_are_neither_idle_nor_iowait() {
        let text = "cpu  100 10 50 700 40 5 5 90 7 7\ncpu0 1 1 1 1\n";
        assert_eq!(parse_stat(text), Some((260, 1000)));
        assert_eq!(parse_stat("cpu 1 2\n"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn memory_is_resident_memory() {
        assert_eq!(
            resident("Name:\tx\nVmHWM:\t 9 kB\nVmRSS:\t    4 kB\n"),
            Some(4096)
        );
        assert_eq!(resident("Name:\tzombie\nState:\tZ\n"), None);
    }

    #[test]
    fn an_error_has_the_exit_status_and_the_end_of_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let cancel = Cancel::new();
        let meter = Meter::new(&cancel).unwrap();
        let system = System::new(cancel);
        let run = |script: &str| meter.run(&system, &testbed::shell::command(script), &log);
        let error = run("echo first; echo second; exit 3").unwrap_err();
        assert_eq!(error.to_string(), "exit status: 3: first / second");
        assert!(run("false | true").is_err(), "a pipe fails with its parts");
        let measured = run("echo noise; echo '{\"a\": 1}'").unwrap();
        assert_eq!(measured.json, Some(serde_json::json!({"a": 1})));
    }
}

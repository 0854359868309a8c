//! Namespaces of a run for network, mounts and processes: all of them end with the run.
//!
//! The outer process makes the namespaces and starts this same program again as their first process. When that process
//! ends, for any reason, the kernel kills every other process in them, and network and mounts go with the last one.

#![expect(
    clippy::print_stdout,
    reason = "the outer process prints how to reach a node that is left running"
)]

use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use host::wait;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// The variable that marks the inner process.
const INSIDE: &str = "TESTBED_INSIDE";

/// Longer than any run: the wait ends with the inner process.
const FOREVER: Duration = Duration::from_hours(24);

/// Whether this is the inner process.
pub fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs this same command line again in new namespaces and returns its exit status. Where `kept` names a file, it
/// returns as soon as the inner process has written that file, and leaves that process and its children running.
pub fn enter(kept: Option<&Path>) -> Result<ExitCode> {
    anyhow::ensure!(
        geteuid().is_root(),
        "making network namespaces needs root: use sudo"
    );
    // Before `unshare`: a process that has unshared its process namespace cannot start threads. The thread passes
    // signals on to the inner process.
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("cannot catch signals")?;
    let inner = Arc::new(OnceLock::new());
    let target = Arc::clone(&inner);
    thread::spawn(move || {
        for signal in &mut signals {
            if let (Some(pid), Ok(signal)) = (target.get(), Signal::try_from(signal)) {
                // it may have ended already
                let _ = kill(*pid, signal);
            }
        }
    });
    // Before `unshare`: in a chroot the kernel reports a wrong path once the mounts have changed.
    let this = std::env::current_exe().context("cannot find this program")?;
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID)
        .context("cannot make namespaces")?;
    let child = start_inside(&this)?;
    let pid = i32::try_from(child.id()).context("the kernel gave an impossible pid")?;
    let _ = inner.set(Pid::from_raw(pid));
    match kept {
        None => wait(child),
        Some(kept) => wait_until_kept(child, kept),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this starts the program itself, not a tool"
)]
fn start_inside(this: &Path) -> Result<Child> {
    Command::new(this)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .process_group(0)
        .spawn()
        .context("cannot start inside the namespaces")
}

fn wait(mut child: Child) -> Result<ExitCode> {
    let status = child.wait().context("cannot wait for the inner process")?;
    let code = status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// Waits for the end of the inner process or for the file `kept`; then prints how to reach and how to end the node.
fn wait_until_kept(mut child: Child, kept: &Path) -> Result<ExitCode> {
    let pid = child.id();
    let ended = wait::until(FOREVER, || match child.try_wait()? {
        Some(_) => Ok(Some(true)),
        None => Ok(kept.exists().then_some(false)),
    })
    .context("cannot wait for the inner process")?;
    if ended {
        return wait(child);
    }
    let ssh =
        fs::read_to_string(kept).with_context(|| format!("cannot read {}", kept.display()))?;
    println!(
        "The node is left running. To log in:\n\n  sudo nsenter --net --target {pid} ssh {ssh}\n\n\
         To switch it off:\n\n  sudo kill {pid}\n"
    );
    Ok(ExitCode::SUCCESS)
}

/// Lets the outer process of a run in `work` end and leave this one running. `ssh` is what it prints: ssh's arguments.
pub(crate) fn keep(work: &Path, ssh: &str) -> Result<()> {
    prctl::set_pdeathsig(None).context("cannot clear the parent-death signal")?;
    let kept = kept_file(work);
    let partial = kept.with_extension("partial");
    fs::write(&partial, ssh)
        .and_then(|()| fs::rename(&partial, &kept))
        .with_context(|| format!("cannot write {}", kept.display()))
}

/// The file that [`keep`] writes.
pub(crate) fn kept_file(work: &Path) -> PathBuf {
    work.join("kept")
}

/// What the inner process does first: it is killed when the outer one ends, its mounts are private, and /proc lists
/// only its own processes.
pub fn init() -> Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL).context("cannot set the parent-death signal")?;
    host::mount::own_mounts().context("cannot make mounts private")?;
    mount(
        Some("proc"),
        "/proc",
        Some("proc"),
        MsFlags::empty(),
        None::<&str>,
    )
    .context("cannot mount /proc")?;
    Ok(())
}

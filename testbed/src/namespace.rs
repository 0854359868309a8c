//! A world of its own for each run: network, mounts and processes that all end with it.
//!
//! The outer process makes the namespaces and starts this same program again as their first process. When that ends,
//! for any reason, the kernel kills every process in them; the network and the mounts end with the last one.

#![expect(
    clippy::print_stdout,
    reason = "how to reach a node that was left running is said by the process that leaves it"
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

/// Set in the environment of the inner process.
const INSIDE: &str = "TESTBED_INSIDE";

/// Longer than any run.
const FOREVER: Duration = Duration::from_hours(24);

/// Whether this process is the first one of its own namespaces.
pub fn inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs this same command line again inside new namespaces, and ends as it ends; or, where `kept` names a file, as soon
/// as the inner process has written that file, leaving it and all it started running.
pub fn enter(kept: Option<&Path>) -> Result<ExitCode> {
    anyhow::ensure!(
        geteuid().is_root(),
        "making network namespaces needs root: use sudo"
    );
    // Both before `unshare`: a process that is told to stop must pass that on, and one that has unshared its process
    // namespace cannot start threads any more.
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("cannot catch signals")?;
    let inner = Arc::new(OnceLock::new());
    let told = Arc::clone(&inner);
    thread::spawn(move || {
        for signal in &mut signals {
            if let (Some(pid), Ok(signal)) = (told.get(), Signal::try_from(signal)) {
                // it may have ended by itself just now
                let _ = kill(*pid, signal);
            }
        }
    });
    // in a chroot our own path is told wrongly once the mounts are others
    let this = std::env::current_exe().context("cannot find this program")?;
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID)
        .context("cannot make namespaces")?;
    let child = start_inside(&this)?;
    let pid = i32::try_from(child.id()).context("the kernel gave an impossible pid")?;
    let _ = inner.set(Pid::from_raw(pid));
    match kept {
        None => wait(child),
        Some(note) => wait_until_kept(child, note),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "what is started here is ourselves, no tool"
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

/// Waits for the end or for the note; then says how to reach and how to end what was left running.
fn wait_until_kept(mut child: Child, note: &Path) -> Result<ExitCode> {
    let pid = child.id();
    let ended = wait::until(FOREVER, || match child.try_wait()? {
        Some(_) => Ok(Some(true)),
        None => Ok(note.exists().then_some(false)),
    })
    .context("cannot wait for the inner process")?;
    if ended {
        return wait(child);
    }
    let ssh = fs::read_to_string(note).context("cannot read how to reach the node")?;
    println!(
        "The node goes on running. To reach it:\n\n  sudo nsenter --net --target {pid} ssh {ssh}\n\nTo switch it off:\n\n  sudo kill {pid}\n"
    );
    Ok(ExitCode::SUCCESS)
}

/// Tells the outer process that it may go, and how the node is reached with ssh.
pub(crate) fn keep(work: &Path, ssh: &str) -> Result<()> {
    prctl::set_pdeathsig(None).context("cannot untie this process from its parent")?;
    let note = kept_note(work);
    let partial = note.with_extension("partial");
    fs::write(&partial, ssh)
        .and_then(|()| fs::rename(&partial, &note))
        .context("cannot tell how the node is reached")
}

/// The file by which the inner process tells the outer one that it may go.
pub(crate) fn kept_note(work: &Path) -> PathBuf {
    work.join("kept")
}

/// What the inner process does first: it dies with the outer one, and sees only its own processes.
pub fn settle_in() -> Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL).context("cannot tie this process to its parent")?;
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

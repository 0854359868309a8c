//! Nodes as virtual machines, the network they boot from and a small orchestrator: what the demo and the end-to-end
//! scenarios run on.
//!
//! ```text
//!   demo, scenario   what is run: the demo, or one scenario with its checks
//!   lab              what a run has: folder, network, orchestrator, keys; ssh to nodes, waiting
//!   vm, qmp, kvm     QEMU; its control socket; whether KVM can be used
//!   bystander        disks that have to stay as they are
//!   network          bridge, DHCP, TFTP, files over HTTP
//!   orchestrator     decides what a node boots, serves its request, receives its completion
//!   request          the provision.json of a node
//!   events           console lines, requests and actions of a run, with their times
//!   timeline         the milestones of a run, as text
//!   namespace        network, mount and process namespaces of a run
//!   nginx, shell     a file server; commands with pipes
//!   tools            the programs that are started
//! ```
//!
//! The crate `bench` uses `namespace`, `nginx` and `shell`; all else is private.

mod bystander;
mod cli;
mod demo;
mod events;
mod host_keys;
mod kvm;
mod lab;
pub mod namespace;
mod network;
pub mod nginx;
mod orchestrator;
mod qmp;
mod request;
mod scenario;
pub mod shell;
mod timeline;
mod tools;
mod vm;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use host::exec::ExecError;

pub use crate::cli::Cli;
use crate::cli::{Command, Demo};

/// Runs the sub-command; the exit status says whether a scenario passed.
pub fn run(cli: &Cli) -> Result<ExitCode> {
    if let Command::Scenarios = cli.command {
        scenario::list();
        return Ok(ExitCode::SUCCESS);
    }
    if !namespace::is_inside() {
        return namespace::enter(kept_file(&cli.command)?.as_deref());
    }
    namespace::init()?;
    match &cli.command {
        Command::Demo(options) => demo::run(options).map(|()| ExitCode::SUCCESS),
        Command::Test(options) => scenario::run(options),
        Command::Scenarios => Ok(ExitCode::SUCCESS),
    }
}

/// The error with its causes, a line each, and a hint where a program is not installed.
pub fn render_error(error: &anyhow::Error) -> String {
    let mut causes = error.chain();
    let hint = causes.find_map(|cause| cause.downcast_ref::<ExecError>()?.hint());
    host::error::render(error.as_ref(), hint.as_deref())
}

/// With `demo --keep`, the file that ends the outer process. That of an earlier run is removed.
fn kept_file(command: &Command) -> Result<Option<PathBuf>> {
    let Command::Demo(Demo {
        keep: true,
        artifacts,
        ..
    }) = command
    else {
        return Ok(None);
    };
    let file = namespace::kept_file(&std::path::absolute(artifacts.work.join("demo"))?);
    match std::fs::remove_file(&file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(Some(file)),
    }
}

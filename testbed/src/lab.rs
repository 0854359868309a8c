//! What a run has: its folder, network, orchestrator and keys, and what the demo and the scenarios do with them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use host::cancel::Cancel;
use host::exec::{Cmd, Exec, Output, System};
use host::wait;

use crate::bystander::Bystander;
use crate::cli::Artifacts;
use crate::events::{Event, Events, Source};
use crate::network::{self, Files, Network};
use crate::orchestrator::Orchestrator;
use crate::tools::Tool;
use crate::vm::{Firmware, Vm, VmConfig, VmDisk};

/// The longest wait for one event: an emulated node on a busy machine is slow.
pub(crate) const TIMEOUT: Duration = Duration::from_mins(15);

/// A run.
#[derive(Debug)]
pub(crate) struct Lab {
    /// Starts programs.
    pub(crate) system: System,
    /// The events of this run.
    pub(crate) events: Events,
    /// The orchestrator of this run.
    pub(crate) orchestrator: Orchestrator,
    /// Folder of this run, in the work folder.
    pub(crate) work: PathBuf,
    /// Ramdisk and image, with absolute paths.
    pub(crate) artifacts: Artifacts,
    /// Whether VMs use KVM.
    pub(crate) kvm: bool,
    /// The last disk of every VM of a scenario, which no request names.
    pub(crate) bystander: Option<Bystander>,
    cancel: Cancel,
    _network: Network,
}

impl Lab {
    /// Sets up a run for `nodes` nodes in the folder `name`, which is emptied. One run in a process: it takes the
    /// signals and the network namespace.
    pub(crate) fn open(name: &str, artifacts: &Artifacts, nodes: u8) -> Result<Self> {
        let cancel = Cancel::new();
        cancel.on_signals().context("cannot catch signals")?;
        let artifacts = check(artifacts)?;
        let work = artifacts.work.join(name);
        if work.exists() {
            fs::remove_dir_all(&work)
                .with_context(|| format!("cannot clear {}", work.display()))?;
        }
        fs::create_dir_all(&work).with_context(|| format!("cannot create {}", work.display()))?;
        let mut system = System::new(cancel.clone());
        make_key(&mut system, &work)?;
        let kvm = !artifacts.no_kvm
            && crate::kvm::works(&mut system, &artifacts.ramdisk.join("vmlinuz"), &work);
        let files = Files {
            boot: artifacts.ramdisk.clone(),
            images: artifacts.images.clone(),
        };
        let network = Network::up(&mut system, &work, &files, nodes)?;
        let events = Events::new();
        let orchestrator =
            Orchestrator::start(network::orchestrator(), &network::files_url(), &events)?;
        Ok(Self {
            system,
            events,
            orchestrator,
            work,
            artifacts,
            kvm,
            bystander: None,
            cancel,
            _network: network,
        })
    }

    /// The public key that may log in to nodes.
    pub(crate) fn public_key(&self) -> Result<String> {
        let text =
            fs::read_to_string(self.work.join("key.pub")).context("cannot read the public key")?;
        Ok(text.trim().to_owned())
    }

    /// The usual VM: BIOS, disks of 8 GiB and the bystander, the network first in the boot order.
    pub(crate) fn vm_config(&self, number: u8, memory_mib: u32, disks: u8) -> VmConfig {
        let disks = (1..=disks)
            .map(|n| VmDisk {
                file: self.work.join(format!("node{number}-disk{n}.raw")),
                size_gib: 8,
                serial: format!("NODE{number}DISK{n}"),
            })
            .chain(self.bystander.as_ref().map(Bystander::disk))
            .collect();
        VmConfig {
            number,
            memory_mib,
            disks,
            firmware: Firmware::Bios,
            disk_first: false,
            kvm: self.kvm,
        }
    }

    /// Starts the VM of a node.
    pub(crate) fn power_on(&mut self, config: &VmConfig) -> Result<Vm> {
        Vm::power_on(&mut self.system, &self.work, config, &self.events)
    }

    /// Cuts the power of a VM; the mark after its last console line.
    pub(crate) fn power_off(&self, vm: Vm) -> usize {
        drop(vm);
        self.events.mark()
    }

    /// Waits for the first event since `mark` that is `wanted`, called `what` in errors; the mark after it. `on_each`
    /// gets every event on the way. A power-off, a kernel panic or a failure of the agent ends the wait with an error,
    /// unless it is what is wanted.
    pub(crate) fn wait(
        &self,
        mark: usize,
        what: &str,
        wanted: impl Fn(&Event) -> bool,
        mut on_each: impl FnMut(&Event),
    ) -> Result<usize> {
        let failed = |event: &Event| {
            !wanted(event) && (is_off(event) || is_panic(event) || is_failure(event))
        };
        let deadline = self.events.now() + TIMEOUT;
        let mut next = mark;
        loop {
            // short waits, so that a signal is noticed
            let found = self.events.wait(
                next,
                Duration::from_millis(500),
                |event| wanted(event) || failed(event),
                |event| {
                    next += 1;
                    on_each(event);
                },
            );
            match found {
                Some((_, event)) if failed(&event) && is_off(&event) => {
                    bail!(
                        "the VM ended while waiting for {what}; see its console in {}",
                        self.work.display()
                    )
                }
                Some((_, event)) if is_panic(&event) => {
                    bail!("kernel panic while waiting for {what}: {}", event.text)
                }
                Some((_, event)) if failed(&event) => {
                    bail!(
                        "the agent failed while waiting for {what}; see the node's console in {}",
                        self.work.display()
                    )
                }
                Some((mark, _)) => return Ok(mark),
                None if self.cancel.is_cancelled() => bail!("interrupted while waiting for {what}"),
                None if self.events.now() > deadline => {
                    bail!(
                        "timeout while waiting for {what}; see the consoles in {}",
                        self.work.display()
                    )
                }
                None => {}
            }
        }
    }

    /// Whether a signal has come.
    pub(crate) fn interrupted(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// The arguments with which ssh logs in to a node as `user`; the address is the last one.
    pub(crate) fn ssh_args(&self, number: u8, user: &str) -> Vec<String> {
        let known = format!(
            "UserKnownHostsFile={}",
            self.work.join("known_hosts").display()
        );
        let key = self.work.join("key").display().to_string();
        [
            "-i",
            &key,
            "-o",
            "StrictHostKeyChecking=yes",
            "-o",
            &known,
            "-o",
            "BatchMode=yes",
            "-o",
            "ConnectTimeout=10",
            "-o",
            "LogLevel=ERROR",
        ]
        .into_iter()
        .map(str::to_owned)
        .chain([format!("{user}@{}", network::node_address(number))])
        .collect()
    }

    /// Runs a command on a node, whatever its exit status. An error is one of ssh.
    pub(crate) fn ssh(&mut self, number: u8, user: &str, command: &str) -> Result<Output> {
        let any: Vec<i32> = (0..256).collect();
        let cmd = Cmd::new(Tool::Ssh)
            .args(self.ssh_args(number, user))
            .arg(command)
            .accept(&any)
            .timeout(Duration::from_mins(10));
        Ok(self.system.run(&cmd)?)
    }

    /// Runs a command on a node's ramdisk: its standard output, then its standard error. Any exit status but `status`
    /// is an error.
    pub(crate) fn root(&mut self, number: u8, command: &str, status: i32) -> Result<String> {
        let output = self.ssh(number, "root", command)?;
        let text = format!("{}{}", output.stdout, output.stderr);
        if output.status != status {
            bail!(
                "`{command}` exited with status {}, not {status}: {text}",
                output.status
            );
        }
        Ok(text)
    }

    /// Uploads a request to a node's ramdisk, as an orchestrator that pushes does.
    pub(crate) fn push(&mut self, number: u8, request: &str) -> Result<()> {
        let file = self.work.join(format!("node{number}-provision.json"));
        fs::write(&file, request).context("cannot write the request")?;
        let mut args = self.ssh_args(number, "root");
        let target = args.pop().context("no address")?;
        let cmd = Cmd::new(Tool::Scp)
            .args(args)
            .arg(&file)
            .arg(format!("{target}:/tmp/provision.json"));
        self.system.run(&cmd).context("cannot upload the request")?;
        Ok(())
    }

    /// Waits until a login over ssh succeeds.
    pub(crate) fn wait_for_ssh(&mut self, number: u8, user: &str) -> Result<()> {
        let cancel = self.cancel.clone();
        let mark = self.events.mark();
        wait::until_or_cancelled(TIMEOUT, &cancel, || {
            let ended = |event: &Event| is_panic(event) || is_off(event);
            let found = self.events.wait(mark, Duration::ZERO, ended, |_| ());
            if let Some((_, event)) = found {
                return Err(std::io::Error::other(event.text));
            }
            // ramdisk and installed system have different host keys at the same address
            self.learn_host_keys(number)
                .map_err(std::io::Error::other)?;
            Ok(self
                .ssh(number, user, "true")
                .ok()
                .filter(|output| output.status == 0))
        })
        .with_context(|| {
            format!(
                "cannot log in to node {number} as {user}; see the consoles in {}",
                self.work.display()
            )
        })?;
        Ok(())
    }
}

/// Whether the VM has ended.
fn is_off(event: &Event) -> bool {
    event.source == Source::Testbed && event.text == "power off"
}

/// Whether a kernel has panicked.
fn is_panic(event: &Event) -> bool {
    event.source == Source::Console && event.text.contains("Kernel panic - not syncing")
}

/// Whether the agent has sent a failure to the orchestrator.
fn is_failure(event: &Event) -> bool {
    event.source == Source::Orchestrator && event.text.starts_with("POST /failed")
}

/// The artifacts with absolute paths, since servers have another working directory. A missing one is an error.
fn check(artifacts: &Artifacts) -> Result<Artifacts> {
    let existing = |path: &Path, how: &str| {
        std::path::absolute(path)
            .ok()
            .filter(|path| path.exists())
            .with_context(|| format!("{} does not exist; {how}", path.display()))
    };
    fs::create_dir_all(&artifacts.work)
        .with_context(|| format!("cannot create {}", artifacts.work.display()))?;
    let checked = Artifacts {
        ramdisk: existing(&artifacts.ramdisk, "`make ramdisk` builds it")?,
        images: existing(&artifacts.images, "`make image` builds it")?,
        work: std::path::absolute(&artifacts.work).context("cannot find the work folder")?,
        ..artifacts.clone()
    };
    existing(
        &checked.ramdisk.join("ramdisk.img"),
        "`make ramdisk` builds it",
    )?;
    existing(
        &checked.images.join(&checked.image),
        "`make image` builds it",
    )?;
    Ok(checked)
}

fn make_key(system: &mut System, work: &Path) -> Result<()> {
    let cmd = Cmd::new(Tool::SshKeygen)
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "testbed", "-f"])
        .arg(work.join("key"));
    system.run(&cmd).context("cannot make a key pair")?;
    Ok(())
}

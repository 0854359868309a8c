//! A lab: one run's folder, network, orchestrator and keys. Demo and scenarios are told in its words.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use host::cancel::Cancel;
use host::exec::{Cmd, Exec, Output, System};
use host::wait;

use crate::cli::Artefacts;
use crate::events::{Event, Events, Source};
use crate::network::{self, Files, Network};
use crate::orchestrator::Orchestrator;
use crate::tools::Tool;
use crate::vm::{Firmware, Vm, VmConfig, VmDisk};

/// How long anything may take before a run is given up. Generous: an emulated node on a busy machine is slow.
pub(crate) const PATIENCE: Duration = Duration::from_mins(15);

/// One run's world.
#[derive(Debug)]
pub(crate) struct Lab {
    /// Starts programs.
    pub(crate) system: System,
    /// All events of this run so far.
    pub(crate) events: Events,
    /// The reference orchestrator of this run.
    pub(crate) orchestrator: Orchestrator,
    /// Folder of this run, below the work folder.
    pub(crate) work: PathBuf,
    /// What was built beforehand.
    pub(crate) artefacts: Artefacts,
    /// Whether nodes run under KVM.
    pub(crate) kvm: bool,
    cancel: Cancel,
    _network: Network,
}

impl Lab {
    /// Sets up a lab for `nodes` nodes in a fresh folder called `name`.
    pub(crate) fn open(name: &str, artefacts: &Artefacts, nodes: u8) -> Result<Self> {
        let cancel = Cancel::new();
        cancel.on_signals().context("cannot catch signals")?;
        let artefacts = check(artefacts)?;
        let work = artefacts.work.join(name);
        if work.exists() {
            fs::remove_dir_all(&work)
                .with_context(|| format!("cannot clear {}", work.display()))?;
        }
        fs::create_dir_all(&work).with_context(|| format!("cannot create {}", work.display()))?;
        let mut system = System::new(cancel.clone());
        make_key(&mut system, &work)?;
        let kvm = !artefacts.no_kvm
            && crate::kvm::works(&mut system, &artefacts.ramdisk.join("vmlinuz"), &work);
        let files = Files {
            boot: artefacts.ramdisk.clone(),
            images: artefacts.images.clone(),
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
            artefacts,
            kvm,
            cancel,
            _network: network,
        })
    }

    /// The public key that nodes let in.
    pub(crate) fn public_key(&self) -> Result<String> {
        let text =
            fs::read_to_string(self.work.join("key.pub")).context("cannot read the lab's key")?;
        Ok(text.trim().to_owned())
    }

    /// The usual VM: BIOS, disks of 8 GiB, the network first in the boot order.
    pub(crate) fn vm_config(&self, number: u8, memory_mib: u32, disks: u8) -> VmConfig {
        let disks = (1..=disks)
            .map(|n| VmDisk {
                file: self.work.join(format!("node{number}-disk{n}.raw")),
                size_gib: 8,
                serial: format!("NODE{number}DISK{n}"),
            })
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

    /// Waits for an event since `mark` and gives back the mark behind it; `on_each` sees what comes meanwhile.
    pub(crate) fn wait(
        &self,
        mark: usize,
        what: &str,
        wanted: impl Fn(&Event) -> bool,
        mut on_each: impl FnMut(&Event),
    ) -> Result<usize> {
        let failed = |h: &Event| !wanted(h) && (is_off(h) || is_panic(h) || is_failure(h));
        let give_up = self.events.now() + PATIENCE;
        let mut next = mark;
        loop {
            // short waits, so that an interrupt is noticed
            let found = self.events.wait(
                next,
                Duration::from_millis(500),
                |h| wanted(h) || failed(h),
                |h| {
                    next += 1;
                    on_each(h);
                },
            );
            match found {
                Some((_, event)) if failed(&event) && is_off(&event) => {
                    bail!(
                        "the node went off while waiting for {what}; its console is in {}",
                        self.work.display()
                    )
                }
                Some((_, event)) if is_panic(&event) => {
                    bail!("a kernel panicked while waiting for {what}: {}", event.text)
                }
                Some((_, event)) if failed(&event) => {
                    bail!(
                        "the agent failed while waiting for {what}; the node's console is in {}",
                        self.work.display()
                    )
                }
                Some((mark, _)) => return Ok(mark),
                None if self.cancel.is_cancelled() => bail!("interrupted while waiting for {what}"),
                None if self.events.now() > give_up => {
                    bail!(
                        "gave up waiting for {what}; the consoles are in {}",
                        self.work.display()
                    )
                }
                None => {}
            }
        }
    }

    /// Whether we have been told to stop.
    pub(crate) fn interrupted(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// The options and address with which ssh reaches a node as `user`.
    pub(crate) fn ssh_words(&self, number: u8, user: &str) -> Vec<String> {
        let known = format!(
            "UserKnownHostsFile={}",
            self.work.join("known_hosts").display()
        );
        let key = self.work.join("key").display().to_string();
        [
            "-i",
            &key,
            "-o",
            "StrictHostKeyChecking=no",
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

    /// Runs a command on a node and returns its output for any exit status.
    pub(crate) fn ssh(&mut self, number: u8, user: &str, command: &str) -> Result<Output> {
        let any: Vec<i32> = (0..256).collect();
        let cmd = Cmd::new(Tool::Ssh)
            .args(self.ssh_words(number, user))
            .arg(command)
            .accept(&any)
            .timeout(Duration::from_mins(10));
        Ok(self.system.run(&cmd)?)
    }

    /// Runs a command on a node's ramdisk and gives back all it said; anything but `status` as its exit status is an
    /// error.
    pub(crate) fn root(&mut self, number: u8, command: &str, status: i32) -> Result<String> {
        let output = self.ssh(number, "root", command)?;
        let said = format!("{}{}", output.stdout, output.stderr);
        if output.status != status {
            bail!(
                "`{command}` ended with {} instead of {status}, saying: {said}",
                output.status
            );
        }
        Ok(said)
    }

    /// Uploads a request to a node's ramdisk, as an orchestrator does.
    pub(crate) fn push(&mut self, number: u8, request: &str) -> Result<()> {
        let file = self.work.join(format!("node{number}-provision.json"));
        fs::write(&file, request).context("cannot write the request")?;
        let mut words = self.ssh_words(number, "root");
        let target = words.pop().context("a node has no address")?;
        let cmd = Cmd::new(Tool::Scp)
            .args(words)
            .arg(&file)
            .arg(format!("{target}:/tmp/provision.json"));
        self.system.run(&cmd).context("cannot upload the request")?;
        Ok(())
    }

    /// Waits until ssh lets us in.
    pub(crate) fn wait_for_ssh(&mut self, number: u8, user: &str) -> Result<()> {
        // the host key differs from system to system on the same address
        let _ = fs::remove_file(self.work.join("known_hosts"));
        let cancel = self.cancel.clone();
        let mark = self.events.mark();
        wait::until_or_cancelled(PATIENCE, &cancel, || {
            let dead = |h: &Event| is_panic(h) || is_off(h);
            let seen = self.events.wait(mark, Duration::ZERO, dead, |_| ());
            if let Some((_, event)) = seen {
                return Err(std::io::Error::other(event.text));
            }
            Ok(self
                .ssh(number, user, "true")
                .ok()
                .filter(|output| output.status == 0))
        })
        .with_context(|| {
            format!(
                "ssh to node {number} as {user} did not work; the consoles are in {}",
                self.work.display()
            )
        })?;
        Ok(())
    }
}

/// Whether the node went off.
fn is_off(event: &Event) -> bool {
    event.source == Source::Testbed && event.text == "power off"
}

/// Whether a kernel gave up.
fn is_panic(event: &Event) -> bool {
    event.source == Source::Console && event.text.contains("Kernel panic - not syncing")
}

/// Whether the agent told the orchestrator that it failed.
fn is_failure(event: &Event) -> bool {
    event.source == Source::Orchestrator && event.text.starts_with("POST /failed")
}

/// The artefacts with absolute paths (the servers run elsewhere), all of them there.
fn check(artefacts: &Artefacts) -> Result<Artefacts> {
    let there = |path: &Path, how: &str| {
        std::path::absolute(path)
            .ok()
            .filter(|path| path.exists())
            .with_context(|| format!("{} is not there; {how}", path.display()))
    };
    fs::create_dir_all(&artefacts.work)
        .with_context(|| format!("cannot create {}", artefacts.work.display()))?;
    let checked = Artefacts {
        ramdisk: there(&artefacts.ramdisk, "`make ramdisk` builds it")?,
        images: there(&artefacts.images, "`make image` builds it")?,
        work: std::path::absolute(&artefacts.work).context("cannot find the work folder")?,
        ..artefacts.clone()
    };
    there(
        &checked.ramdisk.join("ramdisk.img"),
        "`make ramdisk` builds it",
    )?;
    there(
        &checked.images.join(&checked.image),
        "`make image` builds it",
    )?;
    Ok(checked)
}

fn make_key(system: &mut System, work: &Path) -> Result<()> {
    let cmd = Cmd::new(Tool::SshKeygen)
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "testbed", "-f"])
        .arg(work.join("key"));
    system.run(&cmd).context("cannot make a key")?;
    Ok(())
}

//! The virtual machine that plays a node: QEMU with disks, a NIC on the provisioning network, and a serial console
//! whose lines become events.

use std::collections::BTreeSet;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use host::exec::{Cmd, Running, System};
use host::wait;
use serde_json::json;

use crate::events::{Events, Source};
use crate::network;
use crate::qmp::Qmp;
use crate::tools::Tool;

/// A disk of a VM.
#[derive(Clone, Debug)]
pub(crate) struct VmDisk {
    /// A raw image file; created sparse where it does not exist.
    pub(crate) file: PathBuf,
    /// Size of a file that is created.
    pub(crate) size_gib: u64,
    /// Serial number: the guest has the disk as `/dev/disk/by-id/virtio-SERIAL`.
    pub(crate) serial: String,
}

/// The firmware of a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Firmware {
    /// SeaBIOS, with iPXE on the network card.
    Bios,
    /// OVMF, which fetches iPXE by TFTP with a driver of its own. Its variables are in a file in the run's folder and
    /// survive a power cut.
    Uefi,
}

/// OVMF's code, and its variables before the first start.
const OVMF: [&str; 2] = [
    "/usr/share/OVMF/OVMF_CODE_4M.fd",
    "/usr/share/OVMF/OVMF_VARS_4M.fd",
];

/// What a VM is made of.
#[derive(Clone, Debug)]
pub(crate) struct VmConfig {
    /// The number of the node that it plays, from 1: decides tap, MAC and address.
    pub(crate) number: u8,
    /// Memory in MiB.
    pub(crate) memory_mib: u32,
    /// Disks, in the order of the guest's virtio names. Their serial numbers differ.
    pub(crate) disks: Vec<VmDisk>,
    /// BIOS or UEFI.
    pub(crate) firmware: Firmware,
    /// Whether the first disk comes before the network in the boot order of a BIOS. UEFI firmware has its boot order in
    /// its variables, and this is ignored.
    pub(crate) disk_first: bool,
    /// Whether KVM is used.
    pub(crate) kvm: bool,
}

/// A running VM. Dropping it cuts the power.
#[derive(Debug)]
pub(crate) struct Vm {
    qemu: Option<Running>,
    console: Option<JoinHandle<()>>,
    control: PathBuf,
    events: Events,
    /// Disks that were put in while it ran.
    plugged: BTreeSet<String>,
}

impl Drop for Vm {
    fn drop(&mut self) {
        drop(self.qemu.take());
        // The console ends with QEMU. Its last lines and the power-off are recorded before the caller goes on.
        if let Some(console) = self.console.take() {
            let _ = console.join();
        }
    }
}

impl Vm {
    /// Starts QEMU; every line of the console becomes an event.
    pub(crate) fn power_on(
        system: &mut System,
        work: &Path,
        config: &VmConfig,
        events: &Events,
    ) -> Result<Self> {
        for disk in &config.disks {
            make_disk(disk)?;
        }
        if config.firmware == Firmware::Uefi {
            make_variables(&variables(config, work))?;
        }
        let socket = work.join(format!("console{}.socket", config.number));
        // The socket of an earlier start would be found before QEMU has made its own.
        let _ = std::fs::remove_file(&socket);
        let log = work.join(format!("qemu{}.log", config.number));
        let qemu = system
            .spawn(&command(config, &socket, work), &log)
            .context("cannot start QEMU")?;
        // QEMU starts the guest when the console is connected, so no line is lost.
        let console = wait::until(Duration::from_secs(30), || {
            Ok(UnixStream::connect(&socket).ok())
        })
        .with_context(|| format!("QEMU did not open its console; see {}", log.display()))?;
        events.record(Source::Testbed, "power on");
        let recorder = events.clone();
        let console = thread::spawn(move || read_console(console, &recorder));
        Ok(Self {
            qemu: Some(qemu),
            console: Some(console),
            control: control(config, work),
            events: events.clone(),
            plugged: BTreeSet::new(),
        })
    }

    /// Takes the disk with this serial number out of the running VM, as by pulling it. Returns when the guest has let
    /// it go; its file is free then.
    pub(crate) fn unplug(&mut self, serial: &str) -> Result<()> {
        let mut qmp = Qmp::connect(&self.control)?;
        qmp.execute("device_del", &json!({"id": serial}))?;
        qmp.wait_for("DEVICE_DELETED", serial)
            .context("the guest has not let the disk go")?;
        // the backend of a disk of the start ends with its device
        if self.plugged.remove(serial) {
            qmp.execute("blockdev-del", &json!({"node-name": serial}))?;
        }
        self.events
            .record(Source::Testbed, format!("disk {serial} is out"));
        Ok(())
    }

    /// Puts a disk into the running VM. The guest may see it later.
    pub(crate) fn plug(&mut self, disk: &VmDisk) -> Result<()> {
        make_disk(disk)?;
        let mut qmp = Qmp::connect(&self.control)?;
        let file = json!({"driver": "file", "filename": disk.file, "discard": "unmap"});
        let backend =
            json!({"driver": "raw", "node-name": disk.serial, "discard": "unmap", "file": file});
        qmp.execute("blockdev-add", &backend)?;
        let serial = &disk.serial;
        let device =
            json!({"driver": "virtio-blk-pci", "drive": serial, "id": serial, "serial": serial});
        qmp.execute("device_add", &device)?;
        self.plugged.insert(disk.serial.clone());
        self.events
            .record(Source::Testbed, format!("disk {} is in", disk.serial));
        Ok(())
    }
}

fn make_disk(disk: &VmDisk) -> Result<()> {
    if disk.file.exists() {
        return Ok(());
    }
    let file = std::fs::File::create(&disk.file)
        .with_context(|| format!("cannot create {}", disk.file.display()))?;
    file.set_len(disk.size_gib << 30)
        .with_context(|| format!("cannot size {}", disk.file.display()))
}

/// The socket by which QEMU is controlled.
fn control(config: &VmConfig, work: &Path) -> PathBuf {
    work.join(format!("control{}.socket", config.number))
}

/// The file with the variables of the firmware.
fn variables(config: &VmConfig, work: &Path) -> PathBuf {
    work.join(format!("node{}-variables.fd", config.number))
}

fn make_variables(file: &Path) -> Result<()> {
    if file.exists() {
        return Ok(());
    }
    std::fs::copy(OVMF[1], file)
        .with_context(|| format!("cannot copy {}: install the package `ovmf`", OVMF[1]))?;
    Ok(())
}

/// Machine and firmware.
fn machine(config: &VmConfig, work: &Path) -> Cmd {
    let accelerator = if config.kvm {
        ["-accel", "kvm", "-cpu", "host"]
    } else {
        [
            "-accel",
            "tcg,thread=multi",
            "-cpu",
            "max,erms=off,fsrm=off",
        ]
    };
    let cmd = Cmd::new(Tool::QemuSystem).args(accelerator);
    match config.firmware {
        Firmware::Bios => cmd.args(["-machine", "pc,graphics=off"]),
        // Without a ROM on the card it is OVMF's own driver that fetches iPXE.
        Firmware::Uefi => cmd
            .args(["-machine", "q35,graphics=off"])
            .args(["-global", "virtio-net-pci.romfile="])
            .arg("-drive")
            .arg(format!(
                "if=pflash,unit=0,format=raw,readonly=on,file={}",
                OVMF[0]
            ))
            .arg("-drive")
            .arg(format!(
                "if=pflash,unit=1,format=raw,file={}",
                variables(config, work).display()
            )),
    }
}

fn command(config: &VmConfig, socket: &Path, work: &Path) -> Cmd {
    let mut cmd = machine(config, work)
        .args(["-smp", "2", "-display", "none", "-no-user-config"])
        .arg("-m")
        .arg(config.memory_mib.to_string())
        .arg("-chardev")
        .arg(format!(
            "socket,id=console,path={},server=on,wait=on,logfile={}",
            socket.display(),
            work.join(format!("console{}.log", config.number)).display()
        ))
        .args(["-serial", "chardev:console"])
        // to examine a guest whose console is silent
        .arg("-monitor")
        .arg(format!(
            "unix:{},server=on,wait=off",
            work.join(format!("monitor{}.socket", config.number))
                .display()
        ))
        .arg("-qmp")
        .arg(format!(
            "unix:{},server=on,wait=off",
            control(config, work).display()
        ))
        .arg("-netdev")
        .arg(format!(
            "tap,id=n0,ifname={},script=no,downscript=no",
            network::tap(config.number)
        ))
        .arg("-device")
        .arg(format!(
            "virtio-net-pci,netdev=n0,mac={}{}",
            network::node_mac(config.number),
            boot_index(config, None)
        ))
        .args([
            "-object",
            "rng-random,id=r,filename=/dev/urandom",
            "-device",
            "virtio-rng-pci,rng=r",
        ]);
    for (n, disk) in config.disks.iter().enumerate() {
        cmd = cmd
            .arg("-drive")
            .arg(format!(
                "file={},if=none,id=d{n},format=raw,cache=writeback,discard=unmap,detect-zeroes=unmap",
                disk.file.display()
            ))
            .arg("-device")
            .arg(format!(
                "virtio-blk-pci,drive=d{n},id={0},serial={0}{1}",
                disk.serial,
                boot_index(config, Some(n))
            ));
    }
    cmd
}

/// The place in the boot order of the network card (`None`) or of a disk. OVMF takes over an order that QEMU gives at
/// each start, and drops the entries that it does not name: a UEFI VM has the order of its variables, as a server has.
fn boot_index(config: &VmConfig, disk: Option<usize>) -> String {
    let (network, first_disk) = if config.disk_first { (2, 1) } else { (1, 2) };
    match (config.firmware, disk) {
        (Firmware::Uefi, _) => String::new(),
        (Firmware::Bios, None) => format!(",bootindex={network}"),
        (Firmware::Bios, Some(n)) => format!(",bootindex={}", first_disk + n * 2),
    }
}

/// Cuts the console into lines, each with the time of its first byte. Text without a newline (a prompt) becomes an
/// event when nothing follows for 300 ms.
fn read_console(mut console: UnixStream, events: &Events) {
    let pause = Some(Duration::from_millis(300));
    let mut line: Vec<u8> = Vec::new();
    let mut started = Duration::ZERO;
    let mut buffer = [0; 4096];
    // Without the timeout a prompt would be seen only with the line after it.
    let _ = console.set_read_timeout(pause);
    loop {
        match console.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => {
                for byte in &buffer[..n] {
                    if line.is_empty() {
                        started = events.now();
                    }
                    if *byte == b'\n' {
                        record_line(&mut line, started, events);
                    } else {
                        line.push(*byte);
                    }
                }
            }
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) =>
            {
                record_line(&mut line, started, events);
            }
            Err(_) => break,
        }
    }
    record_line(&mut line, started, events);
    events.record(Source::Testbed, "power off");
}

fn record_line(line: &mut Vec<u8>, started: Duration, events: &Events) {
    let text = strip_controls(&String::from_utf8_lossy(line));
    line.clear();
    if !text.trim().is_empty() {
        events.record_at(started, Source::Console, text);
    }
}

/// The text without the escape sequences and carriage returns that firmware and terminals put in.
fn strip_controls(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            if chars.peek() == Some(&'[') {
                chars.next();
                for c in chars.by_ref() {
                    if c.is_ascii_alphabetic() {
                        break;
                    }
                }
            } else {
                chars.next();
            }
        } else if !c.is_control() || c == '\t' {
            out.push(c);
        }
    }
    out.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_are_removed_from_console_lines() {
        assert_eq!(strip_controls("\u{1b}[2J\u{1b}[01;01HSeaBIOS\r"), "SeaBIOS");
        assert_eq!(strip_controls("\u{1b}c\u{1b}[?7lok"), "ok");
    }

    #[test]
    fn a_disk_before_the_network_has_the_smaller_boot_index() {
        let disk = VmDisk {
            file: PathBuf::from("/d"),
            size_gib: 1,
            serial: "S".to_owned(),
        };
        let mut config = VmConfig {
            number: 1,
            memory_mib: 512,
            disks: vec![disk],
            firmware: Firmware::Bios,
            disk_first: true,
            kvm: false,
        };
        let line =
            |config: &VmConfig| command(config, Path::new("/s"), Path::new("/w")).to_string();
        assert!(line(&config).contains("serial=S,bootindex=1"));
        config.disk_first = false;
        assert!(line(&config).contains("serial=S,bootindex=2"));
        config.firmware = Firmware::Uefi;
        assert!(!line(&config).contains("bootindex"));
    }
}

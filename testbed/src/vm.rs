//! A virtual node: QEMU with disks, a NIC on the provisioning network, and a serial console that is read as it comes.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use host::exec::{Cmd, Running, System};
use host::wait;

use crate::events::{Events, Source};
use crate::network;
use crate::tools::Tool;

/// A disk of a node.
#[derive(Clone, Debug)]
pub(crate) struct DiskShape {
    /// Its file; made sparse when it does not exist.
    pub(crate) file: PathBuf,
    /// Its size in GiB.
    pub(crate) size_gib: u64,
    /// Its serial number: the node sees it as `/dev/disk/by-id/virtio-SERIAL`.
    pub(crate) serial: String,
}

/// What starts a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Firmware {
    /// SeaBIOS, with iPXE on the network card.
    Bios,
    /// OVMF, which fetches iPXE by TFTP with a driver of its own. Its variables are kept in a file of the node's.
    Uefi,
}

/// OVMF's program, and the variables of a node that has never run.
const OVMF: [&str; 2] = [
    "/usr/share/OVMF/OVMF_CODE_4M.fd",
    "/usr/share/OVMF/OVMF_VARS_4M.fd",
];

/// What a node is made of.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// Its number on the network, from 1.
    pub(crate) number: u8,
    /// Its memory in MiB.
    pub(crate) memory_mib: u32,
    /// Disks, in the order of the guest's virtio names.
    pub(crate) disks: Vec<DiskShape>,
    /// What starts it.
    pub(crate) firmware: Firmware,
    /// Whether the first disk comes before the network in the boot order; on UEFI that is for the node's own variables
    /// to say.
    pub(crate) disk_first: bool,
    /// Whether KVM is used.
    pub(crate) kvm: bool,
}

/// A node that is switched on. Dropping it pulls the plug.
#[derive(Debug)]
pub(crate) struct Node {
    qemu: Option<Running>,
    console: Option<JoinHandle<()>>,
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.qemu.take());
        // its console ends with it; what it said last, and that it is off, is recorded before the caller goes on
        if let Some(console) = self.console.take() {
            let _ = console.join();
        }
    }
}

impl Node {
    /// Switches a node on; every line of its console becomes a happening.
    pub(crate) fn power_on(
        system: &mut System,
        work: &Path,
        shape: &Shape,
        events: &Events,
    ) -> Result<Self> {
        for disk in &shape.disks {
            make_disk(disk)?;
        }
        if shape.firmware == Firmware::Uefi {
            make_variables(&variables(shape, work))?;
        }
        let socket = work.join(format!("console{}.socket", shape.number));
        // a socket of an earlier start of this node would be connected to in vain
        let _ = std::fs::remove_file(&socket);
        let log = work.join(format!("qemu{}.log", shape.number));
        let qemu = system
            .spawn(&command(shape, &socket, work), &log)
            .context("cannot start QEMU")?;
        // QEMU waits with the power until the console is connected, so no line is lost
        let console = wait::until(Duration::from_secs(30), || {
            Ok(UnixStream::connect(&socket).ok())
        })
        .with_context(|| format!("QEMU did not open its console; see {}", log.display()))?;
        events.saw(Source::Testbed, "power on");
        let events = events.clone();
        let console = thread::spawn(move || read_console(console, &events));
        Ok(Self {
            qemu: Some(qemu),
            console: Some(console),
        })
    }
}

fn make_disk(disk: &DiskShape) -> Result<()> {
    if disk.file.exists() {
        return Ok(());
    }
    let file = std::fs::File::create(&disk.file)
        .with_context(|| format!("cannot create {}", disk.file.display()))?;
    file.set_len(disk.size_gib << 30)
        .with_context(|| format!("cannot size {}", disk.file.display()))
}

/// Where the firmware of a node keeps its variables.
fn variables(shape: &Shape, work: &Path) -> PathBuf {
    work.join(format!("node{}-variables.fd", shape.number))
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
fn machine(shape: &Shape, work: &Path) -> Cmd {
    let accelerator = if shape.kvm {
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
    match shape.firmware {
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
                variables(shape, work).display()
            )),
    }
}

fn command(shape: &Shape, socket: &Path, work: &Path) -> Cmd {
    let mut cmd = machine(shape, work)
        .args(["-smp", "2", "-display", "none", "-no-user-config"])
        .arg("-m")
        .arg(shape.memory_mib.to_string())
        .arg("-chardev")
        .arg(format!(
            "socket,id=console,path={},server=on,wait=on,logfile={}",
            socket.display(),
            work.join(format!("console{}.log", shape.number)).display()
        ))
        .args(["-serial", "chardev:console"])
        // to examine a node whose console is silent
        .arg("-monitor")
        .arg(format!(
            "unix:{},server=on,wait=off",
            work.join(format!("monitor{}.socket", shape.number))
                .display()
        ))
        .arg("-netdev")
        .arg(format!(
            "tap,id=n0,ifname={},script=no,downscript=no",
            network::tap(shape.number)
        ))
        .arg("-device")
        .arg(format!(
            "virtio-net-pci,netdev=n0,mac={}{}",
            network::node_mac(shape.number),
            boot_index(shape, None)
        ))
        .args([
            "-object",
            "rng-random,id=r,filename=/dev/urandom",
            "-device",
            "virtio-rng-pci,rng=r",
        ]);
    for (n, disk) in shape.disks.iter().enumerate() {
        cmd = cmd
            .arg("-drive")
            .arg(format!("file={},if=none,id=d{n},format=raw,cache=writeback,discard=unmap,detect-zeroes=unmap", disk.file.display()))
            .arg("-device")
            .arg(format!("virtio-blk-pci,drive=d{n},serial={}{}", disk.serial, boot_index(shape, Some(n))));
    }
    cmd
}

/// The place in the boot order of the network card (`None`) or of a disk. OVMF would make QEMU's order its own at each
/// start and leave out what it does not name: a UEFI node has the order that its variables hold, as a real one.
fn boot_index(shape: &Shape, disk: Option<usize>) -> String {
    let (network, first_disk) = if shape.disk_first { (2, 1) } else { (1, 2) };
    match (shape.firmware, disk) {
        (Firmware::Uefi, _) => String::new(),
        (Firmware::Bios, None) => format!(",bootindex={network}"),
        (Firmware::Bios, Some(n)) => format!(",bootindex={}", first_disk + n * 2),
    }
}

/// Cuts the console into lines, each stamped when its first byte came; what ends without a newline (a prompt) is told
/// as soon as nothing follows for a moment.
fn read_console(mut console: UnixStream, events: &Events) {
    let pause = Some(Duration::from_millis(300));
    let mut line: Vec<u8> = Vec::new();
    let mut began = Duration::ZERO;
    let mut buffer = [0; 4096];
    // without the limit, a prompt would be told only with the line after it
    let _ = console.set_read_timeout(pause);
    loop {
        match console.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => {
                for byte in &buffer[..n] {
                    if line.is_empty() {
                        began = events.now();
                    }
                    if *byte == b'\n' {
                        tell(&mut line, began, events);
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
                tell(&mut line, began, events);
            }
            Err(_) => break,
        }
    }
    tell(&mut line, began, events);
    events.saw(Source::Testbed, "power off");
}

fn tell(line: &mut Vec<u8>, began: Duration, events: &Events) {
    let text = plain(&String::from_utf8_lossy(line));
    line.clear();
    if !text.trim().is_empty() {
        events.saw_at(began, Source::Console, text);
    }
}

/// The text without the escape sequences and carriage returns that firmware and terminals put in.
fn plain(text: &str) -> String {
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
    fn a_console_line_is_what_a_person_reads() {
        assert_eq!(plain("\u{1b}[2J\u{1b}[01;01HSeaBIOS\r"), "SeaBIOS");
        assert_eq!(plain("\u{1b}c\u{1b}[?7lok"), "ok");
    }

    #[test]
    fn a_disk_before_the_network_has_the_smaller_boot_index() {
        let disk = DiskShape {
            file: PathBuf::from("/d"),
            size_gib: 1,
            serial: "S".to_owned(),
        };
        let mut shape = Shape {
            number: 1,
            memory_mib: 512,
            disks: vec![disk],
            firmware: Firmware::Bios,
            disk_first: true,
            kvm: false,
        };
        let line = |shape: &Shape| command(shape, Path::new("/s"), Path::new("/w")).to_string();
        assert!(line(&shape).contains("serial=S,bootindex=1"));
        shape.disk_first = false;
        assert!(line(&shape).contains("serial=S,bootindex=2"));
        shape.firmware = Firmware::Uefi;
        assert!(!line(&shape).contains("bootindex"));
    }
}

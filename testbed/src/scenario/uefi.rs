//! A UEFI node: OVMF fetches iPXE by itself, and starts the installed system by the entry that the agent made.

use anyhow::{Context, Result, ensure};

use super::push::install;
use super::steps::{check_system, enter_pushed, reboot_to_disk, said, spec};
use crate::lab::Lab;
use crate::orchestrator::NodeState;
use crate::request::{self, Layout};
use crate::vm::Firmware;

/// Where the kernel shows the firmware's variables.
const VARIABLES: &str = "/sys/firmware/efi/efivars";
/// The vendor of UEFI's own.
const VENDOR: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";

/// Pushed three times, so that old entries are seen to go, and that firmware which cannot be told does not matter; then
/// started by
/// the network first, and from the disk by our entry.
pub(super) fn uefi(lab: &mut Lab) -> Result<()> {
    let request = request::provision_json(&spec(lab, Layout::Lvm, 1)?);
    enter_pushed(lab, NodeState::Install)?;
    let mut config = lab.vm_config(1, 1024, 1);
    config.firmware = Firmware::Uefi;
    let vm = lab.power_on(&config)?;
    lab.wait_for_ssh(1, "root")?;
    network_only(lab)?;
    install(lab, &request)?;
    let first = our_entries(lab, "root")?;
    ensure!(first.len() == 1, "the boot list has {first:?} of ours");
    let mount = format!("mount -o remount,ro {VARIABLES}");
    lab.root(1, &mount, 0)?;
    install(lab, &request)?;
    let report = lab.root(1, "cat /run/provision/report.json", 0)?;
    let warnings = report.matches("firmware's boot list").count();
    ensure!(
        warnings >= 2,
        "no warning of what could not be written: {report}"
    );
    lab.root(1, &mount.replace(",ro", ",rw"), 0)?;
    install(lab, &request)?;
    let entries = our_entries(lab, "root")?;
    ensure!(entries.len() == 1, "the boot list has {entries:?} of ours");
    let (order, started) = (
        variable(lab, "root", "BootOrder")?,
        variable(lab, "root", "BootCurrent")?,
    );
    ensure!(
        order == [started[0], entries[0]],
        "the boot order is {order:04X?}: not Boot{:04X}, then ours",
        started[0]
    );
    let mark = reboot_to_disk(lab)?;
    check_system(lab, mark, "/dev/mapper/os-root")?;
    let entries = our_entries(lab, "admin")?;
    let current = variable(lab, "admin", "BootCurrent")?;
    let current = current
        .first()
        .context("the firmware does not say what it started")?;
    ensure!(
        entries.len() == 1 && entries[0] == *current,
        "the node was started by Boot{current:04X}, ours is {entries:04X?}"
    );
    let booted = said(
        lab,
        "findmnt -no FSTYPE /boot/efi; sudo ls /boot/efi/EFI/BOOT",
    )?;
    ensure!(
        booted.contains("vfat") && booted.contains("BOOTX64.EFI"),
        "the EFI system partition is not mounted: {booted}"
    );
    drop(vm);
    Ok(())
}

/// Leaves only what the node was started by in its boot order, as who sets up a node for network boot does. What OVMF
/// finds itself (the
/// disk among it) it appends at its next start.
fn network_only(lab: &mut Lab) -> Result<()> {
    let current = variable(lab, "root", "BootCurrent")?;
    let current = current
        .first()
        .context("the firmware does not say what it started")?;
    let [low, high] = current.to_le_bytes();
    let write = format!(
        r"printf '\x07\x00\x00\x00\x{low:02x}\x{high:02x}' >/tmp/order && cat /tmp/order >{VARIABLES}/BootOrder-{VENDOR}"
    );
    lab.root(1, &write, 0)?;
    let order = variable(lab, "root", "BootOrder")?;
    ensure!(order == [*current], "the boot order is {order:04X?}");
    Ok(())
}

/// The numbers in the firmware's boot order whose entries are called `provision`.
fn our_entries(lab: &mut Lab, user: &str) -> Result<Vec<u16>> {
    let mut ours = Vec::new();
    for number in variable(lab, user, "BootOrder")? {
        let entry = variable(lab, user, &format!("Boot{number:04X}"))?;
        // behind attributes and a length, two bytes a character
        let name: Vec<u16> = entry
            .iter()
            .skip(3)
            .copied()
            .take_while(|unit| *unit != 0)
            .collect();
        if String::from_utf16_lossy(&name) == "provision" {
            ours.push(number);
        }
    }
    Ok(ours)
}

/// A variable of the firmware in units of two bytes, without its attributes.
fn variable(lab: &mut Lab, user: &str, name: &str) -> Result<Vec<u16>> {
    let command = format!("cat {VARIABLES}/{name}-{VENDOR} | od -An -v -tx1");
    let output = lab.ssh(1, user, &command)?;
    ensure!(
        output.status == 0,
        "the firmware's `{name}` cannot be read: {}",
        output.stderr
    );
    let bytes: Result<Vec<u8>, _> = output
        .stdout
        .split_whitespace()
        .map(|byte| u8::from_str_radix(byte, 16))
        .collect();
    let bytes = bytes.context("od says something else than bytes")?;
    let units = bytes.get(4..).unwrap_or_default().chunks_exact(2);
    Ok(units
        .map(|unit| u16::from_le_bytes([unit[0], unit[1]]))
        .collect())
}

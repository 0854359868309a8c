//! A UEFI node: OVMF fetches iPXE, and boots the installed system by the entry that the agent made.

use anyhow::{Context, Result, ensure};

use super::push::install;
use super::steps::{admin_output, check_system, reboot_to_disk, set_up_push, spec};
use crate::lab::Lab;
use crate::orchestrator::NodeState;
use crate::request::{self, Layout};
use crate::vm::Firmware;

/// Where the kernel has the firmware's variables.
const VARIABLES: &str = "/sys/firmware/efi/efivars";
/// The vendor GUID of UEFI's own variables.
const VENDOR: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";

/// Pushed three times: the entry of the run before is removed, and variables that cannot be written are a warning. Then
/// booted by the network first, and from the disk by our entry.
pub(super) fn uefi(lab: &mut Lab) -> Result<()> {
    let request = request::provision_json(&spec(lab, Layout::Lvm, 1)?);
    set_up_push(lab, NodeState::Install)?;
    let mut config = lab.vm_config(1, 1024, 1);
    config.firmware = Firmware::Uefi;
    let vm = lab.power_on(&config)?;
    lab.wait_for_ssh(1, "root")?;
    network_only(lab)?;
    install(lab, &request)?;
    let first = our_entries(lab, "root")?;
    ensure!(
        first.len() == 1,
        "our entries in the boot list: {first:?}, not one"
    );
    let mount = format!("mount -o remount,ro {VARIABLES}");
    lab.root(1, &mount, 0)?;
    install(lab, &request)?;
    let report = lab.root(1, "cat /run/provision/report.json", 0)?;
    let warnings = report.matches("firmware's boot list").count();
    ensure!(
        warnings >= 2,
        "no warning about variables that could not be written: {report}"
    );
    lab.root(1, &mount.replace(",ro", ",rw"), 0)?;
    install(lab, &request)?;
    let entries = our_entries(lab, "root")?;
    ensure!(
        entries.len() == 1,
        "our entries in the boot list: {entries:?}, not one"
    );
    let (order, started) = (
        variable(lab, "root", "BootOrder")?,
        variable(lab, "root", "BootCurrent")?,
    );
    ensure!(
        order == [started[0], entries[0]],
        "the boot order is {order:04X?}, not Boot{:04X} and then our entry",
        started[0]
    );
    let mark = reboot_to_disk(lab)?;
    check_system(lab, mark, "/dev/mapper/os-root")?;
    let entries = our_entries(lab, "admin")?;
    let current = variable(lab, "admin", "BootCurrent")?;
    let current = current.first().context("BootCurrent is empty")?;
    ensure!(
        entries.len() == 1 && entries[0] == *current,
        "booted by Boot{current:04X}, our entries are {entries:04X?}"
    );
    let booted = admin_output(
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

/// Sets the boot order to the entry of this boot, as an administrator does who sets up network boot. OVMF appends what
/// it finds, the disk included, at its next start.
fn network_only(lab: &mut Lab) -> Result<()> {
    let current = variable(lab, "root", "BootCurrent")?;
    let current = current.first().context("BootCurrent is empty")?;
    let [low, high] = current.to_le_bytes();
    let write = format!(
        r"printf '\x07\x00\x00\x00\x{low:02x}\x{high:02x}' >/tmp/order; cat /tmp/order >{VARIABLES}/BootOrder-{VENDOR}"
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
        // after attributes and a length; UTF-16
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

/// A variable of the firmware in units of two bytes, from after its attributes.
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
    let bytes = bytes.context("od did not print bytes")?;
    let units = bytes.get(4..).unwrap_or_default().chunks_exact(2);
    Ok(units
        .map(|unit| u16::from_le_bytes([unit[0], unit[1]]))
        .collect())
}

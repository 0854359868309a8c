//! Installations that go well, pulled: on LVM, with the disk first in the boot order, on a mirror.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::steps::{check_system, enter_pulled, is_boot, is_done, report, said, spec};
use crate::events::Event;
use crate::lab::Lab;
use crate::request::Layout;

/// A node of 512 MiB pulls its request.
pub(super) fn pull_lvm(lab: &mut Lab) -> Result<()> {
    let spec = spec(lab, Layout::Lvm, 1)?;
    enter_pulled(lab, &spec, "")?;
    let config = lab.vm_config(1, 512, 1);
    let vm = lab.power_on(&config)?;
    let mark = lab.wait(0, "the completion", is_done, |_| ())?;
    check_memory(&report(lab)?)?;
    check_system(lab, mark, "/dev/mapper/os-root")?;
    drop(vm);
    Ok(())
}

/// The agent may take 96 MiB at most, however large the image.
pub(super) fn check_memory(report: &Value) -> Result<()> {
    let peak = report["peak_memory_bytes"]
        .as_u64()
        .context("the report does not tell the agent's memory")?;
    ensure!(
        peak <= 96 << 20,
        "the agent took {} MiB of memory",
        peak >> 20
    );
    Ok(())
}

/// The disk stands before the network from the start: the firmware passes over it while it is empty, and after the
/// installation boots from it without the network.
pub(super) fn disk_first(lab: &mut Lab) -> Result<()> {
    let spec = spec(lab, Layout::Plain, 1)?;
    enter_pulled(lab, &spec, "")?;
    let mut config = lab.vm_config(1, 512, 1);
    config.disk_first = true;
    let vm = lab.power_on(&config)?;
    let mark = lab.wait(0, "the completion", is_done, |_| ())?;
    starts_without(lab, mark, is_boot)?;
    check_system(lab, mark, "/dev/vda4")?;
    drop(vm);
    Ok(())
}

/// The installed kernel is started by the ramdisk's: no firmware, no PXE and no boot loader in between.
pub(super) fn kexec(lab: &mut Lab) -> Result<()> {
    let spec = spec(lab, Layout::Lvm, 1)?;
    enter_pulled(lab, &spec, "provision.end=kexec")?;
    let config = lab.vm_config(1, 768, 1);
    let vm = lab.power_on(&config)?;
    let mark = lab.wait(0, "the completion", is_done, |_| ())?;
    starts_without(lab, mark, |event| {
        is_boot(event) || event.text.contains("SeaBIOS")
    })?;
    check_system(lab, mark, "/dev/mapper/os-root")?;
    drop(vm);
    Ok(())
}

/// A node that is sent to its ramdisk again by mistake says again that it is done, and leaves its disk alone. Later its
/// administrator runs `update-grub`, and the node starts as before.
pub(super) fn again(lab: &mut Lab) -> Result<()> {
    let spec = spec(lab, Layout::Lvm, 1)?;
    enter_pulled(lab, &spec, "")?;
    let config = lab.vm_config(1, 512, 1);
    let vm = lab.power_on(&config)?;
    let mark = lab.wait(0, "the completion", is_done, |_| ())?;
    let first = report(lab)?;
    // the orchestrator's state is reset before the node asks what to boot
    enter_pulled(lab, &spec, "")?;
    let mark = lab.wait(mark, "the completion again", is_done, |_| ())?;
    let second = report(lab)?;
    ensure!(
        first["touched"] == true && second["touched"] == false,
        "the second run wrote to the disk, or the first did not"
    );
    ensure!(
        first["instance_id"] == second["instance_id"],
        "the second run speaks of another installation"
    );
    check_system(lab, mark, "/dev/mapper/os-root")?;
    update_grub(lab)?;
    drop(vm);
    Ok(())
}

/// The installed system's own grub.cfg in place of ours: the same root, the same kernel parameters.
fn update_grub(lab: &mut Lab) -> Result<()> {
    // GRUB adds the path of the kernel, which may differ
    let started_with = "tr ' ' '\n' </proc/cmdline | grep -v ^BOOT_IMAGE= | sort -u";
    let before = said(lab, started_with)?;
    ensure!(
        before.contains("root="),
        "the kernel's parameters are {before}"
    );
    let output = lab.ssh(1, "admin", "sudo update-grub")?;
    ensure!(
        output.status == 0,
        "update-grub ended with {}: {}",
        output.status,
        output.stderr
    );
    let written = said(lab, "sudo grep -c 10_linux /boot/grub/grub.cfg")?;
    ensure!(
        written.parse().is_ok_and(|count: u32| count > 0),
        "update-grub did not replace grub.cfg: {written}"
    );
    let mark = lab.events.mark();
    // the session ends with the system
    let _ = lab.ssh(1, "admin", "sudo systemctl reboot")?;
    lab.wait(mark, "the node to start again", is_boot, |_| ())?;
    lab.wait_for_ssh(1, "admin")?;
    let after = said(lab, started_with)?;
    ensure!(
        before == after,
        "the kernel was started with\n{before}\nand after update-grub with\n{after}"
    );
    let source = said(lab, "findmnt -no SOURCE /")?;
    ensure!(source == "/dev/mapper/os-root", "the root is {source}");
    Ok(())
}

/// Waits for cloud-init's call of the installed system, which has to come without anything that is `unwanted`.
fn starts_without(lab: &Lab, mark: usize, unwanted: impl Fn(&Event) -> bool) -> Result<()> {
    let mut seen = None;
    lab.wait(
        mark,
        "cloud-init's call to the orchestrator",
        crate::demo::is_alive,
        |event| {
            if unwanted(event) {
                seen.get_or_insert_with(|| event.text.clone());
            }
        },
    )?;
    match seen {
        Some(text) => bail!("after the completion there was `{text}`"),
        None => Ok(()),
    }
}

/// Root on an md mirror over two disks. /boot is on the first disk only, where Fuel's layouts have it.
pub(super) fn mirror(lab: &mut Lab) -> Result<()> {
    let spec = spec(lab, Layout::Mirror, 2)?;
    enter_pulled(lab, &spec, "")?;
    let config = lab.vm_config(1, 768, 2);
    let vm = lab.power_on(&config)?;
    let mark = lab.wait(0, "the completion", is_done, |_| ())?;
    check_system(lab, mark, "/dev/md")?;
    drop(vm);
    Ok(())
}

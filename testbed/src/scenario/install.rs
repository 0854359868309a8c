//! Successful installations with a pulled request.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::steps::{admin_output, check_system, is_boot, is_done, report, set_up_pull, spec};
use crate::events::Event;
use crate::lab::Lab;
use crate::request::Layout;

/// A node of 512 MiB; root on LVM.
pub(super) fn pull_lvm(lab: &mut Lab) -> Result<()> {
    let spec = spec(lab, Layout::Lvm, 1)?;
    set_up_pull(lab, &spec, "")?;
    let config = lab.vm_config(1, 512, 1);
    let vm = lab.power_on(&config)?;
    let mark = lab.wait(0, "the completion", is_done, |_| ())?;
    check_memory(&report(lab)?)?;
    check_system(lab, mark, "/dev/mapper/os-root")?;
    drop(vm);
    Ok(())
}

/// The agent takes at most 96 MiB of memory.
pub(super) fn check_memory(report: &Value) -> Result<()> {
    let peak = report["peak_memory_bytes"]
        .as_u64()
        .context("the report has no `peak_memory_bytes`")?;
    ensure!(
        peak <= 96 << 20,
        "the agent took {} MiB of memory",
        peak >> 20
    );
    Ok(())
}

/// The disk is before the network in the boot order from the start: the firmware skips it while it is empty, and boots
/// from it after the installation, without the network.
pub(super) fn disk_first(lab: &mut Lab) -> Result<()> {
    let spec = spec(lab, Layout::Plain, 1)?;
    set_up_pull(lab, &spec, "")?;
    let mut config = lab.vm_config(1, 512, 1);
    config.disk_first = true;
    let vm = lab.power_on(&config)?;
    let mark = lab.wait(0, "the completion", is_done, |_| ())?;
    starts_without(lab, mark, is_boot)?;
    check_system(lab, mark, "/dev/vda4")?;
    drop(vm);
    Ok(())
}

/// The kernel of the ramdisk starts the installed one: no firmware, no PXE and no boot loader in between.
pub(super) fn kexec(lab: &mut Lab) -> Result<()> {
    let spec = spec(lab, Layout::Lvm, 1)?;
    set_up_pull(lab, &spec, "provision.end=kexec")?;
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

/// An installed node that boots the ramdisk again by mistake repeats its completion and does not touch its disk. Then
/// its administrator runs `update-grub`, and the node starts as before.
pub(super) fn again(lab: &mut Lab) -> Result<()> {
    let spec = spec(lab, Layout::Lvm, 1)?;
    set_up_pull(lab, &spec, "")?;
    let config = lab.vm_config(1, 512, 1);
    let vm = lab.power_on(&config)?;
    let mark = lab.wait(0, "the completion", is_done, |_| ())?;
    let first = report(lab)?;
    // the orchestrator's state is reset before the node asks what to boot
    set_up_pull(lab, &spec, "")?;
    let mark = lab.wait(mark, "the second completion", is_done, |_| ())?;
    let second = report(lab)?;
    ensure!(
        first["touched"] == true && second["touched"] == false,
        "the second run wrote to the disk, or the first did not"
    );
    ensure!(
        first["instance_id"] == second["instance_id"],
        "the second run reports another `instance_id`"
    );
    check_system(lab, mark, "/dev/mapper/os-root")?;
    update_grub(lab)?;
    drop(vm);
    Ok(())
}

/// The grub.cfg that the installed system writes gives the same root and kernel parameters as ours.
fn update_grub(lab: &mut Lab) -> Result<()> {
    // without the path of the kernel, which may differ
    let parameters = "tr ' ' '\n' </proc/cmdline | grep -v ^BOOT_IMAGE= | sort -u";
    let before = admin_output(lab, parameters)?;
    ensure!(
        before.contains("root="),
        "the kernel's parameters are {before}"
    );
    let output = lab.ssh(1, "admin", "sudo update-grub")?;
    ensure!(
        output.status == 0,
        "update-grub exited with status {}: {}",
        output.status,
        output.stderr
    );
    let written = admin_output(lab, "sudo grep -c 10_linux /boot/grub/grub.cfg")?;
    ensure!(
        written.parse().is_ok_and(|count: u32| count > 0),
        "update-grub did not replace grub.cfg: {written}"
    );
    let mark = lab.events.mark();
    // an error: the session ends with the system
    let _ = lab.ssh(1, "admin", "sudo systemctl reboot")?;
    lab.wait(mark, "the node to start again", is_boot, |_| ())?;
    lab.wait_for_ssh(1, "admin")?;
    let after = admin_output(lab, parameters)?;
    ensure!(
        before == after,
        "the kernel was started with\n{before}\nand after update-grub with\n{after}"
    );
    let source = admin_output(lab, "findmnt -no SOURCE /")?;
    ensure!(source == "/dev/mapper/os-root", "the root is {source}");
    Ok(())
}

/// Waits for the phone-home of the installed system; an `unwanted` event before it is an error.
fn starts_without(lab: &Lab, mark: usize, unwanted: impl Fn(&Event) -> bool) -> Result<()> {
    let mut found = None;
    lab.wait(
        mark,
        "cloud-init's phone-home",
        crate::demo::is_phone_home,
        |event| {
            if unwanted(event) {
                found.get_or_insert_with(|| event.text.clone());
            }
        },
    )?;
    match found {
        Some(text) => bail!("after the completion came `{text}`"),
        None => Ok(()),
    }
}

/// Root on an md mirror over two disks. /boot is on the first disk only, as in Fuel's layouts.
pub(super) fn mirror(lab: &mut Lab) -> Result<()> {
    let spec = spec(lab, Layout::Mirror, 2)?;
    set_up_pull(lab, &spec, "")?;
    let config = lab.vm_config(1, 768, 2);
    let vm = lab.power_on(&config)?;
    let mark = lab.wait(0, "the completion", is_done, |_| ())?;
    check_system(lab, mark, "/dev/md")?;
    drop(vm);
    Ok(())
}

//! The request is pushed over ssh, more than once: every push installs, over everything that the one before left.

use anyhow::{Result, ensure};

use super::steps::{admin_output, check_system, reboot_to_disk, set_up_push, spec};
use crate::lab::Lab;
use crate::orchestrator::NodeState;
use crate::request::{self, Layout};

/// The same request twice: two installations.
pub(super) fn push_plain(lab: &mut Lab) -> Result<()> {
    let request = request::provision_json(&spec(lab, Layout::Plain, 1)?);
    set_up_push(lab, NodeState::Install)?;
    let config = lab.vm_config(1, 512, 1);
    let vm = lab.power_on(&config)?;
    lab.wait_for_ssh(1, "root")?;
    let mut identities = Vec::new();
    for _ in 1..=2 {
        identities.push(install(lab, &request)?);
    }
    ensure!(
        identities[0] != identities[1],
        "the second push did not install: still {}",
        identities[0]
    );
    let mark = reboot_to_disk(lab)?;
    check_system(lab, mark, "/dev/vda4")?;
    drop(vm);
    Ok(())
}

/// A volume group on a mirror, twice. Before the second push all arrays and volumes of the first are active. Then the
/// first disk is removed, and the node boots from the second one.
pub(super) fn push_stack(lab: &mut Lab) -> Result<()> {
    let request = request::provision_json(&spec(lab, Layout::Stack, 2)?);
    set_up_push(lab, NodeState::Install)?;
    let mut config = lab.vm_config(1, 768, 2);
    let vm = lab.power_on(&config)?;
    lab.wait_for_ssh(1, "root")?;
    let first = install(lab, &request)?;
    // by their members: mdadm of the ramdisk does not scan for arrays
    let activate = "/sbin/mdadm --assemble /dev/md0 /dev/vda2 /dev/vdb2 \
        && /sbin/mdadm --assemble /dev/md1 /dev/vda3 /dev/vdb3 \
        && /sbin/lvm vgchange -a y os && grep -c ^md /proc/mdstat && ls /dev/mapper/os-root";
    let active = lab.root(1, activate, 0)?;
    ensure!(
        active.lines().any(|line| line.trim() == "2"),
        "the arrays of the first installation could not be assembled: {active}"
    );
    let second = install(lab, &request)?;
    ensure!(first != second, "the second push did not install");
    let mark = reboot_to_disk(lab)?;
    check_system(lab, mark, "/dev/mapper/os-root")?;
    // the second disk must be complete before it has to boot alone
    let wait_for_sync = "for array in /sys/block/md*/md; do \
        until grep -q idle $array/sync_action; do sleep 1; done; done; sync";
    let output = lab.ssh(1, "admin", wait_for_sync)?;
    ensure!(output.status == 0, "the mirrors do not become synchronous");
    let _ = lab.power_off(vm);
    config.disks.remove(0);
    let vm = lab.power_on(&config)?;
    check_second_disk(lab)?;
    drop(vm);
    Ok(())
}

/// The node has its second disk only. The cloud-init data was on the first one, so no more is checked than boot and
/// login.
fn check_second_disk(lab: &mut Lab) -> Result<()> {
    lab.wait_for_ssh(1, "admin")?;
    let disks = admin_output(lab, "lsblk -dno SERIAL /dev/vda")?;
    ensure!(
        disks == "NODE1DISK2",
        "the node runs on {disks}, not on its second disk"
    );
    let source = admin_output(lab, "findmnt -no SOURCE /")?;
    ensure!(source == "/dev/mapper/os-root", "the root is {source}");
    let arrays = admin_output(lab, "cat /proc/mdstat")?;
    ensure!(
        arrays.matches("[2/1]").count() == 2,
        "not both arrays have one member of two: {arrays}"
    );
    Ok(())
}

/// Pushes the request and runs the agent to its end; the `instance_id` of the installation. Run and `provision status`
/// must exit with 0.
pub(super) fn install(lab: &mut Lab, request: &str) -> Result<String> {
    lab.push(1, request)?;
    let run = lab.root(1, "provision", 0)?;
    std::fs::write(lab.work.join("run.txt"), run)?;
    lab.root(1, "provision status", 0)?;
    let report: serde_json::Value =
        serde_json::from_str(&lab.root(1, "cat /run/provision/report.json", 0)?)?;
    Ok(report["instance_id"].to_string())
}

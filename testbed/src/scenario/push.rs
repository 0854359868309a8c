//! The orchestrator comes to the node over ssh, and comes again: every push installs, over all that the one before has
//! left.

use anyhow::{Result, ensure};

use super::steps::{check_system, enter_pushed, reboot_to_disk, said, spec};
use crate::lab::Lab;
use crate::orchestrator::NodeState;
use crate::request::{self, Layout};

/// The same request twice; the second run installs again.
pub(super) fn push_plain(lab: &mut Lab) -> Result<()> {
    let request = request::provision_json(&spec(lab, Layout::Plain, 1)?);
    enter_pushed(lab, NodeState::Install)?;
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
/// first disk is taken out, and the second starts the node alone.
pub(super) fn push_stack(lab: &mut Lab) -> Result<()> {
    let request = request::provision_json(&spec(lab, Layout::Stack, 2)?);
    enter_pushed(lab, NodeState::Install)?;
    let mut config = lab.vm_config(1, 768, 2);
    let vm = lab.power_on(&config)?;
    lab.wait_for_ssh(1, "root")?;
    let first = install(lab, &request)?;
    // by their members: the ramdisk's mdadm does not look for arrays by itself
    let activate = "/sbin/mdadm --assemble /dev/md0 /dev/vda2 /dev/vdb2 && /sbin/mdadm --assemble /dev/md1 /dev/vda3 /dev/vdb3 \
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
    // what the second disk does not hold yet it could not start from
    let in_step = "for array in /sys/block/md*/md; do until grep -q idle $array/sync_action; do sleep 1; done; done; sync";
    let output = lab.ssh(1, "admin", in_step)?;
    ensure!(output.status == 0, "the mirrors do not get in step");
    let _ = lab.power_off(vm);
    config.disks.remove(0);
    let vm = lab.power_on(&config)?;
    check_second_disk(lab)?;
    drop(vm);
    Ok(())
}

/// The node has its second disk only. The cloud-init data was on the first, so what is promised is that the node starts
/// and its administrator is let in.
fn check_second_disk(lab: &mut Lab) -> Result<()> {
    lab.wait_for_ssh(1, "admin")?;
    let disks = said(lab, "lsblk -dno SERIAL /dev/vda")?;
    ensure!(
        disks == "NODE1DISK2",
        "the node runs on {disks}, not on its second disk"
    );
    let source = said(lab, "findmnt -no SOURCE /")?;
    ensure!(source == "/dev/mapper/os-root", "the root is {source}");
    let arrays = said(lab, "cat /proc/mdstat")?;
    ensure!(
        arrays.matches("[2/1]").count() == 2,
        "the arrays are not what one disk of two gives: {arrays}"
    );
    Ok(())
}

/// Pushes the request, runs the agent to its end, asks for the state of the node, and gives back the `instance-id` of
/// what is installed.
pub(super) fn install(lab: &mut Lab, request: &str) -> Result<String> {
    lab.push(1, request)?;
    let run = lab.root(1, "provision", 0)?;
    std::fs::write(lab.work.join("run.txt"), run)?;
    lab.root(1, "provision status", 0)?;
    let report: serde_json::Value =
        serde_json::from_str(&lab.root(1, "cat /run/provision/report.json", 0)?)?;
    Ok(report["instance_id"].to_string())
}

//! Cloud-init data that is wiped after it was used: nothing of it is left on the disk, and the system stays as it made
//! it, without cloud-init.

use anyhow::{Result, ensure};

use super::steps::{admin_output, is_boot, is_done, set_up_pull, spec};
use crate::demo::is_phone_home;
use crate::lab::Lab;
use crate::request::Layout;

/// The partition of the data, found by its size: its label is gone by then.
const PARTITION: &str =
    "/dev/$(lsblk -bnro NAME,SIZE /dev/vda | awk '$2 == 20971520 { print $1 }')";

/// Pulled with `configdrive.after_first_boot=wipe`; the second start has neither the data nor cloud-init.
pub(super) fn wipe(lab: &mut Lab) -> Result<()> {
    let spec = spec(lab, Layout::Plain, 1)?;
    set_up_pull(lab, &spec, "provision.configdrive.after_first_boot=wipe")?;
    let config = lab.vm_config(1, 512, 1);
    let vm = lab.power_on(&config)?;
    let mark = lab.wait(0, "the completion", is_done, |_| ())?;
    let mark = lab.wait(mark, "cloud-init's phone-home", is_phone_home, |_| ())?;
    lab.wait_for_ssh(1, "admin")?;
    check_wiped(lab)?;
    let interfaces = "ip -brief address show scope global";
    let before = (
        admin_output(lab, "hostname -f")?,
        admin_output(lab, interfaces)?,
    );
    ensure!(
        before.0 == "node-1.lab.test",
        "the hostname is `{}`",
        before.0
    );
    // an error: the session ends with the system
    let _ = lab.ssh(1, "admin", "sudo systemctl reboot")?;
    lab.wait(mark, "the node to start again", is_boot, |_| ())?;
    lab.wait_for_ssh(1, "admin")?;
    let after = (
        admin_output(lab, "hostname -f")?,
        admin_output(lab, interfaces)?,
    );
    ensure!(
        before == after,
        "the second start has {after:?}, and the first had {before:?}"
    );
    let failed = admin_output(lab, "systemctl --failed --no-legend --plain")?;
    ensure!(
        failed.is_empty(),
        "units failed on the installed system: {failed}"
    );
    drop(vm);
    Ok(())
}

/// The unit has removed itself at its end; the data is zeros from its first byte to its last.
fn check_wiped(lab: &mut Lab) -> Result<()> {
    let script = "/usr/local/sbin/provision-wipe-configdrive";
    let ended = format!("timeout 120 sh -c 'while [ -e {script} ]; do sleep 1; done'");
    let output = lab.ssh(1, "admin", &ended)?;
    ensure!(
        output.status == 0,
        "the unit that wipes the data has not ended"
    );
    let zeros = format!("sudo cmp --bytes=20971520 {PARTITION} /dev/zero && echo zeros");
    let content = admin_output(lab, &zeros)?;
    ensure!(
        content == "zeros",
        "the cloud-init data is still there: {content}"
    );
    let labels = admin_output(
        lab,
        "sudo blkid --probe --output value --match-tag LABEL /dev/vda?*",
    )?;
    ensure!(
        !labels.contains("CIDATA"),
        "a partition has the label of cloud-init's data: {labels}"
    );
    let left = admin_output(
        lab,
        "sudo find /var/lib/cloud/instance/ -name 'user-data.txt*' -o -name cloud-config.txt -o -name obj.pkl",
    )?;
    ensure!(left.is_empty(), "cloud-init has copies of its data: {left}");
    let disabled = admin_output(lab, "ls /etc/cloud/cloud-init.disabled")?;
    ensure!(
        !disabled.is_empty(),
        "cloud-init would look for its data again"
    );
    Ok(())
}

//! Interrupted runs: by a power cut, or by a signal to the agent. A half-written disk must not boot, and the next run
//! installs.

use anyhow::{Result, ensure};
use serde_json::Value;

use super::push::install;
use super::steps::{
    check_system, is_boot, is_done, is_image, report, set_up_pull, set_up_push, spec,
};
use crate::lab::Lab;
use crate::orchestrator::NodeState;
use crate::request::{self, Layout};

/// The power is cut while the image is written over an installed system. At the next start the disk is before the
/// network in the boot order.
pub(super) fn power_cut(lab: &mut Lab) -> Result<()> {
    let spec = spec(lab, Layout::Lvm, 1)?;
    set_up_pull(lab, &spec, "")?;
    let mut config = lab.vm_config(1, 512, 1);
    let vm = lab.power_on(&config)?;
    lab.wait(0, "the completion", is_done, |_| ())?;
    let mark = lab.power_off(vm);
    // without `reinstall` a node that is installed as requested would only repeat its completion
    set_up_pull(lab, &spec, "provision.reinstall=yes")?;
    let vm = lab.power_on(&config)?;
    lab.wait(mark, "the image to be written", is_image, |_| ())?;
    let mark = lab.power_off(vm);
    // the disk must not boot although it is first in the boot order
    set_up_pull(lab, &spec, "")?;
    config.disk_first = true;
    let vm = lab.power_on(&config)?;
    let mark = lab.wait(mark, "the completion after the power cut", is_done, |_| ())?;
    check_resumed(&report(lab)?)?;
    check_system(lab, mark, "/dev/mapper/os-root")?;
    drop(vm);
    Ok(())
}

/// The chunks that were on the disk already were found, and neither fetched nor written again.
fn check_resumed(report: &Value) -> Result<()> {
    let packed = &report["images"][0]["packed"];
    let kept = packed["kept_bytes"].as_u64().unwrap_or_default();
    ensure!(
        packed["way"] == "delta" && kept > 0,
        "the chunks on the disk were not kept: {packed}"
    );
    Ok(())
}

/// SIGTERM to the agent while volumes are made, and to another run while the image is written: both clean up, the disk
/// does not boot, and the next push installs.
pub(super) fn sigterm(lab: &mut Lab) -> Result<()> {
    let request = request::provision_json(&spec(lab, Layout::Stack, 2)?);
    set_up_push(lab, NodeState::Install)?;
    let mut config = lab.vm_config(1, 768, 2);
    let vm = lab.power_on(&config)?;
    lab.wait_for_ssh(1, "root")?;
    lab.push(1, &request)?;
    stop_in(lab, "lvm", r#""stage":"lvm""#)?;
    stop_in(lab, "image", r#""stage":"image".*"done_bytes":[1-9]"#)?;
    let mark = lab.power_off(vm);
    config.disk_first = true;
    let vm = lab.power_on(&config)?;
    lab.wait(mark, "PXE after the disk did not boot", is_boot, |_| ())?;
    lab.wait_for_ssh(1, "root")?;
    lab.root(1, "provision status", 21)?;
    install(lab, &request)?;
    drop(vm);
    Ok(())
}

/// Starts the agent, sends SIGTERM as soon as its state matches `pattern`, and checks exit status, report and what is
/// left behind.
fn stop_in(lab: &mut Lab, stage: &str, pattern: &str) -> Result<()> {
    let run = format!(
        "provision >/tmp/run.log 2>&1 & run=$!
         until grep -Eq '{pattern}' /run/provision/state.json 2>/dev/null; do
             [ -d /proc/$run ] || break
             usleep 10000
         done
         kill -TERM $run; wait $run"
    );
    lab.root(1, &run, 130)?;
    lab.root(1, "provision status", 130)?;
    let report: Value = serde_json::from_str(&lab.root(1, "cat /run/provision/report.json", 0)?)?;
    ensure!(
        report["error"]["stage"] == stage,
        "stopped in `{stage}`, but the error is {}",
        report["error"]
    );
    ensure!(
        report["touched"] == true && report["unclean"] == Value::Array(Vec::new()),
        "not cleaned up, or nothing was touched: `unclean` is {}",
        report["unclean"]
    );
    let left = lab.root(
        1,
        "grep ' /run/provision/' /proc/mounts; grep ^md /proc/mdstat; ls /dev/mapper | grep -v control; \
         ls -d /run/provision/work; true",
        0,
    )?;
    let left: Vec<&str> = left
        .lines()
        .filter(|line| !line.contains("No such file"))
        .collect();
    ensure!(left.is_empty(), "the run left something behind: {left:?}");
    // the boot sector has the stub, which prints this message, not GRUB
    let stub =
        "dd if=/dev/vda bs=440 count=1 2>/dev/null | grep -q 'Nothing to start on this disk yet'";
    lab.root(1, stub, 0)?;
    Ok(())
}

//! Runs that do not come to their end: the power goes, or the agent gets a signal. What is half there must not boot,
//! and the next run must not mind it.

use anyhow::{Result, ensure};
use serde_json::Value;

use super::push::install;
use super::steps::{
    check_system, enter_pulled, enter_pushed, is_boot, is_done, is_image, report, spec,
};
use crate::lab::Lab;
use crate::orchestrator::NodeState;
use crate::request::{self, Layout};

/// Cuts the power while the image is written over an installed system, on a node that then tries its disk before the
/// network.
pub(super) fn power_cut(lab: &mut Lab) -> Result<()> {
    let spec = spec(lab, Layout::Lvm, 1)?;
    enter_pulled(lab, &spec, "")?;
    let mut config = lab.vm_config(1, 512, 1);
    let vm = lab.power_on(&config)?;
    lab.wait(0, "the completion", is_done, |_| ())?;
    let mark = lab.power_off(vm);
    // the orchestrator wants it installed again, although the node already is what it asks for
    enter_pulled(lab, &spec, "provision.reinstall=yes")?;
    let vm = lab.power_on(&config)?;
    lab.wait(mark, "the image to be written", is_image, |_| ())?;
    let mark = lab.power_off(vm);
    // now the disk stands before the network, and nothing on it may start
    enter_pulled(lab, &spec, "")?;
    config.disk_first = true;
    let vm = lab.power_on(&config)?;
    let mark = lab.wait(mark, "the completion after the power cut", is_done, |_| ())?;
    check_resumed(&report(lab)?)?;
    check_system(lab, mark, "/dev/mapper/os-root")?;
    drop(vm);
    Ok(())
}

/// What the disk holds of the image was found out and neither fetched nor written again.
fn check_resumed(report: &Value) -> Result<()> {
    let packed = &report["images"][0]["packed"];
    let kept = packed["kept_bytes"].as_u64().unwrap_or_default();
    ensure!(
        packed["way"] == "delta" && kept > 0,
        "what the disk held of the image was not used: {packed}"
    );
    Ok(())
}

/// Stops a pushed run with SIGTERM while volumes are made, and another while the image is written: each cleans up
/// behind itself, the disk does not boot, and the next push installs.
pub(super) fn sigterm(lab: &mut Lab) -> Result<()> {
    let request = request::provision_json(&spec(lab, Layout::Stack, 2)?);
    enter_pushed(lab, NodeState::Install)?;
    let mut config = lab.vm_config(1, 768, 2);
    let vm = lab.power_on(&config)?;
    lab.wait_for_ssh(1, "root")?;
    lab.push(1, &request)?;
    stop_in(lab, "lvm", r#""stage":"lvm""#)?;
    stop_in(lab, "image", r#""stage":"image".*"done_bytes":[1-9]"#)?;
    let mark = lab.power_off(vm);
    config.disk_first = true;
    let vm = lab.power_on(&config)?;
    lab.wait(mark, "the node to pass over its disk", is_boot, |_| ())?;
    lab.wait_for_ssh(1, "root")?;
    lab.root(1, "provision status", 21)?;
    install(lab, &request)?;
    drop(vm);
    Ok(())
}

/// Starts the agent on the node, stops it as soon as its state says `pattern`, and checks how it ended and what it
/// left.
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
        "stopped in `{stage}`, the run says {}",
        report["error"]
    );
    ensure!(
        report["touched"] == true && report["unclean"] == Value::Array(Vec::new()),
        "the run left something behind: {}",
        report["unclean"]
    );
    let left = lab.root(
        1,
        "grep /run/provision /proc/mounts; grep ^md /proc/mdstat; ls /dev/mapper | grep -v control; ls -d /run/provision/work; true",
        0,
    )?;
    let left: Vec<&str> = left
        .lines()
        .filter(|line| !line.contains("No such file"))
        .collect();
    ensure!(left.is_empty(), "the run left something behind: {left:?}");
    // the stub, not GRUB: its message is in the boot sector
    let stub =
        "dd if=/dev/vda bs=440 count=1 2>/dev/null | grep -q 'Nothing to start on this disk yet'";
    lab.root(1, stub, 0)?;
    Ok(())
}

//! A chosen disk is pulled, and another one is found where it was.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::steps::{set_up_push, spec};
use crate::bystander::Bystander;
use crate::lab::Lab;
use crate::orchestrator::NodeState;
use crate::request::{self, Layout};
use crate::vm::{Vm, VmConfig};

/// The second disk of a mirror is exchanged between two stages, and in another run while the image is written.
pub(super) fn hot_plug(lab: &mut Lab) -> Result<()> {
    let request = request::provision_json(&spec(lab, Layout::Mirror, 2)?);
    set_up_push(lab, NodeState::Install)?;
    let config = lab.vm_config(1, 768, 2);
    let mut vm = lab.power_on(&config)?;
    lab.wait_for_ssh(1, "root")?;
    lab.push(1, &request)?;
    let moments = [
        ("FIRSTOTHER", r#""stage":"(partition|raid)""#),
        ("SECONDOTHER", r#""stage":"image".*"done_bytes":[1-9]"#),
    ];
    for (serial, moment) in moments {
        let other = Bystander::make(&lab.work, serial, 8)?;
        let report = exchange(lab, &mut vm, &config, &other, moment)
            .with_context(|| format!("exchange by {serial}"))?;
        ensure!(
            report["touched"] == true,
            "nothing was written before the exchange: it came too early to show anything"
        );
        other.check()?;
    }
    drop(vm);
    Ok(())
}

/// Starts the agent, stops it at `moment`, puts `other` where the second disk was, and lets the agent go on: it has to
/// refuse. Then the node has its second disk again. The report of the run.
fn exchange(
    lab: &mut Lab,
    vm: &mut Vm,
    config: &VmConfig,
    other: &Bystander,
    moment: &str,
) -> Result<Value> {
    let start = format!(
        "rm -f /tmp/run.status
         (provision >/tmp/run.log 2>&1; echo $? >/tmp/run.status) & sleep 0
         until pid=$(pidof provision) && grep -Eq '{moment}' /run/provision/state.json 2>/dev/null; do
             if [ -e /tmp/run.status ]; then cat /tmp/run.log; exit 1; fi
             usleep 10000
         done
         kill -STOP $pid"
    );
    lab.root(1, &start, 0)?;
    let chosen = &config.disks[1];
    vm.unplug(&chosen.serial)?;
    vm.plug(&other.disk())?;
    // While the agent holds the old disk the kernel gives its number to no other. The path is given to the new one by
    // hand, as udev would where the name is free.
    let take_its_path = format!(
        "link=/dev/disk/by-id/virtio-{}
         until [ -b $link ]; do usleep 10000; done
         new=$(readlink -f $link)
         echo $new
         if [ $new != /dev/vdb ]; then rm -f /dev/vdb; ln -s $new /dev/vdb; fi",
        other.disk().serial
    );
    let found = lab.root(1, &take_its_path, 0)?;
    ensure!(
        found.trim() != "/dev/vdb",
        "the kernel gave the name of a disk that the agent should hold to another one"
    );
    let go_on = "kill -CONT $(pidof provision)
                 until [ -e /tmp/run.status ]; do usleep 10000; done
                 cat /tmp/run.log; exit $(cat /tmp/run.status)";
    let log = lab.root(1, go_on, 5)?;
    ensure!(
        log.contains("nothing was written to the other disk"),
        "refused for another reason: {log}"
    );
    let report = serde_json::from_str(&lab.root(1, "cat /run/provision/report.json", 0)?)?;
    lab.root(1, "rm -f /dev/vdb", 0)?;
    vm.unplug(&other.disk().serial)?;
    vm.plug(chosen)?;
    let link = format!("/dev/disk/by-id/virtio-{}", chosen.serial);
    lab.root(
        1,
        &format!("until [ -b {link} ]; do usleep 10000; done; readlink -f {link}"),
        0,
    )?;
    Ok(report)
}

//! Steps that scenarios share: how the orchestrator treats node 1, and what has to be true of its installed system.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::demo::{is_phone_home, pull_parameters};
use crate::events::{Event, Source};
use crate::lab::Lab;
use crate::network;
use crate::orchestrator::{self, NodeState};
use crate::request::{self, Layout, RequestSpec};

/// What node 1 asks for: the image of the run in this layout over its first `disks` disks.
pub(super) fn spec(lab: &Lab, layout: Layout, disks: u8) -> Result<RequestSpec> {
    Ok(RequestSpec {
        number: 1,
        hostname: "node-1.lab.test".to_owned(),
        serials: (1..=disks).map(|n| format!("NODE1DISK{n}")).collect(),
        image: lab.artifacts.image.clone(),
        data: None,
        key: lab.public_key()?,
        layout,
    })
}

/// Lets node 1 boot the ramdisk and pull its request, with `more` kernel parameters.
pub(super) fn set_up_pull(lab: &Lab, spec: &RequestSpec, more: &str) -> Result<()> {
    let mac = network::node_mac(1);
    lab.orchestrator.set_node(
        &mac,
        orchestrator::Node {
            request: Some(request::provision_json(spec)),
            parameters: format!("{} {more}", pull_parameters(&mac, &lab.public_key()?)),
            ..orchestrator::Node::default()
        },
    );
    Ok(())
}

/// Lets node 1 boot the ramdisk and wait for a pushed request, or boot its disk.
pub(super) fn set_up_push(lab: &Lab, state: NodeState) -> Result<()> {
    let mac = network::node_mac(1);
    let base = format!("http://{}", network::orchestrator());
    let key = lab.public_key()?;
    lab.orchestrator.set_node(
        &mac,
        orchestrator::Node {
            state,
            parameters: format!(
                "provision.phone_home={base}/alive?mac={mac} provision.key=\"{key}\""
            ),
            ..orchestrator::Node::default()
        },
    );
    Ok(())
}

/// Lets the pushed node boot its disk from now on, and reboots it; a mark from before that.
pub(super) fn reboot_to_disk(lab: &mut Lab) -> Result<usize> {
    set_up_push(lab, NodeState::Installed)?;
    let mark = lab.events.mark();
    // an error: the session ends with the system
    let _ = lab.ssh(1, "root", "reboot")?;
    Ok(mark)
}

/// Waits for the phone-home of cloud-init since `mark` and checks the installed system: hostname, device of the root
/// filesystem (its start), cloud-init, units.
pub(super) fn check_system(lab: &mut Lab, mark: usize, root: &str) -> Result<()> {
    lab.wait(mark, "cloud-init's phone-home", is_phone_home, |_| ())?;
    lab.wait_for_ssh(1, "admin")?;
    let name = admin_output(lab, "hostname -f")?;
    ensure!(name == "node-1.lab.test", "the hostname is `{name}`");
    let source = admin_output(lab, "findmnt -no SOURCE /")?;
    ensure!(source.starts_with(root), "the root is {source}");
    let status = admin_output(lab, "cloud-init status --wait")?;
    ensure!(status.contains("done"), "cloud-init says: {status}");
    let seed = admin_output(
        lab,
        "sudo cat /run/cloud-init/cloud-id; sudo cloud-init query subplatform",
    )?;
    ensure!(
        seed.contains("nocloud"),
        "cloud-init did not use NoCloud: {seed}"
    );
    let failed = admin_output(lab, "systemctl --failed --no-legend --plain")?;
    ensure!(
        failed.is_empty(),
        "units failed on the installed system: {failed}"
    );
    Ok(())
}

/// The standard output of a command that the administrator runs on the installed system, trimmed.
pub(super) fn admin_output(lab: &mut Lab, command: &str) -> Result<String> {
    Ok(lab.ssh(1, "admin", command)?.stdout.trim().to_owned())
}

/// Whether the orchestrator has accepted a completion.
pub(super) fn is_done(event: &Event) -> bool {
    event.source == Source::Orchestrator
        && event.text.starts_with("POST /done")
        && event.text.ends_with(" 200")
}

/// Whether a node asks the orchestrator what to boot.
pub(super) fn is_boot(event: &Event) -> bool {
    event.source == Source::Orchestrator && event.text.starts_with("GET /boot")
}

/// Whether the agent says on the console that it is writing the image.
pub(super) fn is_image(event: &Event) -> bool {
    let line = event.text.split_once(' ').map(|(_, line)| line);
    event.source == Source::Console
        && line.is_some_and(|line| line.starts_with("image: ") && line.contains(" %"))
}

/// The report in the last completion or failure callback; kept in the folder of the run.
pub(super) fn report(lab: &Lab) -> Result<Value> {
    let report = lab
        .orchestrator
        .node(&network::node_mac(1))
        .and_then(|node| node.report)
        .context("the orchestrator has no report")?;
    std::fs::write(lab.work.join("report.json"), &report).context("cannot write the report")?;
    serde_json::from_str(&report).context("the report is not valid JSON")
}

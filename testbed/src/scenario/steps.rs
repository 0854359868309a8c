//! What scenarios are made of: how node 1 is entered in the orchestrator's books, and what has to be true of it.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::demo::{is_alive, pull_parameters};
use crate::events::{Event, Source};
use crate::lab::Lab;
use crate::network;
use crate::orchestrator::{self, NodeState};
use crate::request::{self, Layout, RequestSpec};

/// The wish of node 1 for a layout.
pub(super) fn spec(lab: &Lab, layout: Layout, disks: u8) -> Result<RequestSpec> {
    Ok(RequestSpec {
        number: 1,
        hostname: "node-1.lab.test".to_owned(),
        serials: (1..=disks).map(|n| format!("NODE1DISK{n}")).collect(),
        image: lab.artefacts.image.clone(),
        data: None,
        key: lab.public_key()?,
        layout,
    })
}

/// Enters node 1 as one that pulls its request, with `more` kernel parameters.
pub(super) fn enter_pulled(lab: &Lab, spec: &RequestSpec, more: &str) -> Result<()> {
    let mac = network::node_mac(1);
    lab.orchestrator.enter(
        &mac,
        orchestrator::Node {
            request: Some(request::provision_json(spec)),
            parameters: format!("{} {more}", pull_parameters(&mac, &lab.public_key()?)),
            ..orchestrator::Node::default()
        },
    );
    Ok(())
}

/// Enters node 1 as one that waits to be pushed to, or, once it is installed, boots its disk.
pub(super) fn enter_pushed(lab: &Lab, state: NodeState) -> Result<()> {
    let mac = network::node_mac(1);
    let base = format!("http://{}", network::orchestrator());
    let key = lab.public_key()?;
    lab.orchestrator.enter(
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

/// The pushed node is installed: it boots its disk from now on, and is told to.
pub(super) fn reboot_to_disk(lab: &mut Lab) -> Result<usize> {
    enter_pushed(lab, NodeState::Installed)?;
    let mark = lab.events.mark();
    // the session ends with the node
    let _ = lab.ssh(1, "root", "reboot")?;
    Ok(mark)
}

/// Waits for the first call of cloud-init since `mark` and checks the system that made it.
pub(super) fn check_system(lab: &mut Lab, mark: usize, root: &str) -> Result<()> {
    lab.wait(
        mark,
        "cloud-init's call to the orchestrator",
        is_alive,
        |_| (),
    )?;
    lab.wait_for_ssh(1, "admin")?;
    let name = said(lab, "hostname -f")?;
    ensure!(name == "node-1.lab.test", "the hostname is `{name}`");
    let source = said(lab, "findmnt -no SOURCE /")?;
    ensure!(source.starts_with(root), "the root is {source}");
    let status = said(lab, "cloud-init status --wait")?;
    ensure!(status.contains("done"), "cloud-init says: {status}");
    let seed = said(
        lab,
        "sudo cat /run/cloud-init/cloud-id; sudo cloud-init query subplatform",
    )?;
    ensure!(
        seed.contains("nocloud"),
        "cloud-init found no NoCloud: {seed}"
    );
    let failed = said(lab, "systemctl --failed --no-legend --plain")?;
    ensure!(
        failed.is_empty(),
        "units failed on the installed system: {failed}"
    );
    Ok(())
}

/// What the installed system answers to a command of its administrator.
pub(super) fn said(lab: &mut Lab, command: &str) -> Result<String> {
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

/// The report that came with the last completion or failure.
pub(super) fn report(lab: &Lab) -> Result<Value> {
    let report = lab
        .orchestrator
        .node(&network::node_mac(1))
        .and_then(|node| node.report)
        .context("there was no report")?;
    std::fs::write(lab.work.join("report.json"), &report).context("cannot keep the report")?;
    serde_json::from_str(&report).context("the report is not valid JSON")
}

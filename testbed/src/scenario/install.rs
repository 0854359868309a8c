//! Installations that go well, by pull and by push, on LVM, partitions and mirrors.

use anyhow::{Context, Result, ensure};
use host::exec::{Cmd, Exec, Tool};

use crate::demo::{is_alive, pull_parameters};
use crate::happenings::{Happening, Source};
use crate::lab::Lab;
use crate::network;
use crate::orchestrator::{self, Stand};
use crate::request::{self, Layout, Wish};

/// The wish of node 1 for a layout.
pub(super) fn wish(lab: &Lab, layout: Layout, disks: u8) -> Result<Wish> {
    Ok(Wish {
        number: 1,
        hostname: "node-1.lab.test".to_owned(),
        serials: (1..=disks).map(|n| format!("NODE1DISK{n}")).collect(),
        image: lab.artefacts.image.clone(),
        key: lab.public_key()?,
        layout,
    })
}

/// Enters node 1 as one that pulls its request.
pub(super) fn enter_pulled(lab: &Lab, wish: &Wish) -> Result<()> {
    let mac = network::node_mac(1);
    lab.orchestrator.enter(
        &mac,
        orchestrator::Node {
            request: Some(request::provision_json(wish)),
            parameters: pull_parameters(&mac, &lab.public_key()?),
            ..orchestrator::Node::default()
        },
    );
    Ok(())
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
    let mut said = |command: &str| -> Result<String> {
        Ok(lab.ssh(1, "admin", command)?.stdout.trim().to_owned())
    };
    ensure!(
        said("hostname -f")? == "node-1.lab.test",
        "the hostname is `{}`",
        said("hostname -f")?
    );
    ensure!(
        said("findmnt -no SOURCE /")?.starts_with(root),
        "the root is {}",
        said("findmnt -no SOURCE /")?
    );
    let status = said("cloud-init status --wait")?;
    ensure!(status.contains("done"), "cloud-init says: {status}");
    let seed = said("sudo cat /run/cloud-init/cloud-id; sudo cloud-init query subplatform")?;
    ensure!(
        seed.contains("nocloud"),
        "cloud-init found no NoCloud: {seed}"
    );
    let failed = said("systemctl --failed --no-legend --plain")?;
    ensure!(
        failed.is_empty(),
        "units failed on the installed system: {failed}"
    );
    Ok(())
}

pub(super) fn is_done(happening: &Happening) -> bool {
    happening.source == Source::Orchestrator
        && happening.text.starts_with("POST /done")
        && happening.text.ends_with("200")
}

/// A node of 512 MiB pulls its request.
pub(super) fn pull_lvm(lab: &mut Lab) -> Result<()> {
    let wish = wish(lab, Layout::Lvm, 1)?;
    enter_pulled(lab, &wish)?;
    let shape = lab.shape(1, 512, 1);
    let node = lab.power_on(&shape)?;
    let mark = lab.wait(0, "the completion", is_done, |_| ())?;
    let report = lab
        .orchestrator
        .node(&network::node_mac(1))
        .and_then(|node| node.report)
        .context("the completion had no report")?;
    std::fs::write(lab.work.join("report.json"), &report).context("cannot keep the report")?;
    check_memory(&report)?;
    check_system(lab, mark, "/dev/mapper/os-root")?;
    drop(node);
    Ok(())
}

/// The agent may take 96 MiB at most, however large the image.
fn check_memory(report: &str) -> Result<()> {
    let report: serde_json::Value =
        serde_json::from_str(report).context("the report is no JSON")?;
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

/// The orchestrator pushes the same request twice; the second run installs again.
pub(super) fn push_plain(lab: &mut Lab) -> Result<()> {
    let wish = wish(lab, Layout::Plain, 1)?;
    let mac = network::node_mac(1);
    let parameters = format!("provision.key=\"{}\"", lab.public_key()?);
    let waiting = orchestrator::Node {
        parameters,
        ..orchestrator::Node::default()
    };
    lab.orchestrator.enter(&mac, waiting.clone());
    let shape = lab.shape(1, 512, 1);
    let node = lab.power_on(&shape)?;
    let request = lab.work.join("provision.json");
    std::fs::write(&request, request::provision_json(&wish)).context("cannot write the request")?;
    for round in 1..=2 {
        lab.wait_for_ssh(1, "root")?;
        push(lab, &request)?;
        let output = lab
            .ssh(
                1,
                "root",
                "provision; echo status=$?; provision status; echo status=$?",
            )?
            .stdout;
        ensure!(
            output.matches("status=0").count() == 2,
            "round {round} said: {output}"
        );
    }
    lab.orchestrator.enter(
        &mac,
        orchestrator::Node {
            stand: Stand::Installed,
            ..waiting
        },
    );
    let _ = lab.ssh(1, "root", "reboot")?;
    lab.wait_for_ssh(1, "admin")?;
    let root = lab.ssh(1, "admin", "findmnt -no SOURCE /")?.stdout;
    ensure!(root.trim() == "/dev/vda4", "the root is {root}");
    drop(node);
    Ok(())
}

fn push(lab: &mut Lab, request: &std::path::Path) -> Result<()> {
    let mut words = lab.ssh_words(1, "root");
    let target = words.pop().context("no address")?;
    let cmd = Cmd::new(Tool::Scp)
        .args(words)
        .arg(request)
        .arg(format!("{target}:/tmp/provision.json"));
    lab.system.run(&cmd).context("cannot upload the request")?;
    Ok(())
}

/// Root on an md mirror over two disks.
pub(super) fn mirror(lab: &mut Lab) -> Result<()> {
    let wish = wish(lab, Layout::Mirror, 2)?;
    enter_pulled(lab, &wish)?;
    let shape = lab.shape(1, 768, 2);
    let node = lab.power_on(&shape)?;
    let mark = lab.wait(0, "the completion", is_done, |_| ())?;
    check_system(lab, mark, "/dev/md")?;
    drop(node);
    Ok(())
}

//! What goes wrong stays readable, and what the orchestrator did not hear it is told again.

use std::net::SocketAddr;

use anyhow::{Result, ensure};

use super::steps::{check_system, enter_pulled, is_done, report, spec};
use crate::events::{Event, Source};
use crate::lab::Lab;
use crate::network;
use crate::request::{Layout, RequestSpec};

/// The port for completions; at first there is no listener.
const LATE_PORT: u16 = 8001;

/// An image that is not there: refused before anything is touched, told on the console, over ssh and to the
/// orchestrator. Then the image is right, but the callback server is unreachable: the node says so, stays, and repeats
/// the completion until it is accepted.
pub(super) fn failure(lab: &mut Lab) -> Result<()> {
    let right = spec(lab, Layout::Lvm, 1)?;
    let wrong = RequestSpec {
        image: "absent.img.zst".to_owned(),
        ..right.clone()
    };
    let late = SocketAddr::from((network::SERVER, LATE_PORT));
    let more =
        format!("provision.success=http://{late}/done?mac={{mac}} provision.notify.budget=10s");
    enter_pulled(lab, &wrong, &more)?;
    let config = lab.vm_config(1, 512, 1);
    let vm = lab.power_on(&config)?;
    image_is_absent(lab)?;
    enter_pulled(lab, &right, &more)?;
    let mark = lab.events.mark();
    let run = lab.root(1, "provision run", 9)?;
    ensure!(
        run.contains("did not accept the completion"),
        "the run does not say what is owed: {run}"
    );
    lab.root(1, "provision status", 20)?;
    lab.wait(mark, "the offer on the console", is_offer, |_| ())?;
    // it is turned down once more, then heard
    let files = network::files_url();
    lab.orchestrator
        .refuse_completions(&network::node_mac(1), 1);
    lab.orchestrator.listen(late, &files, &lab.events)?;
    let mark = lab.wait(mark, "the late completion", is_done, |_| ())?;
    check_system(lab, mark, "/dev/mapper/os-root")?;
    drop(vm);
    Ok(())
}

fn image_is_absent(lab: &mut Lab) -> Result<()> {
    let is_failure = |h: &Event| {
        h.source == Source::Orchestrator
            && h.text.starts_with("POST /failed")
            && h.text.ends_with(" 200")
    };
    let mark = lab.wait(0, "the failure", is_failure, |_| ())?;
    let report = report(lab)?;
    ensure!(
        report["exit_status"] == 6 && report["touched"] == false,
        "the failure is told as {report}"
    );
    let is_told =
        |h: &Event| h.source == Source::Console && h.text.contains("FAILED with exit status 6");
    // the ramdisk says it when the agent has ended, which is after it has told the orchestrator
    lab.wait(mark, "the failure on the console", is_told, |_| ())?;
    lab.wait_for_ssh(1, "root")?;
    let status = lab.root(1, "provision status", 6)?;
    ensure!(
        status.contains("failed with exit status 6"),
        "the state is told as {status}"
    );
    lab.root(
        1,
        "provision status --format json | grep -q absent.img.zst",
        0,
    )?;
    Ok(())
}

fn is_offer(event: &Event) -> bool {
    event.source == Source::Console
        && event
            .text
            .contains("offering the completion until it is accepted")
}

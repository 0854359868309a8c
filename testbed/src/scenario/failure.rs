//! A failure is reported everywhere, and a completion is repeated until it is accepted.

use std::net::SocketAddr;

use anyhow::{Result, ensure};

use super::steps::{check_system, is_done, report, set_up_pull, spec};
use crate::events::{Event, Source};
use crate::lab::Lab;
use crate::network;
use crate::request::{Layout, RequestSpec};

/// The port for completions. It has no listener until the scenario starts one.
const LATE_PORT: u16 = 8001;

/// The image does not exist: refused before anything is touched, reported on the console, over ssh and to the
/// orchestrator. Then the image exists, but the callback server is unreachable: the run ends with 9, and the node
/// repeats the completion until it is accepted.
pub(super) fn failure(lab: &mut Lab) -> Result<()> {
    let right = spec(lab, Layout::Lvm, 1)?;
    let wrong = RequestSpec {
        image: "absent.img.zst".to_owned(),
        ..right.clone()
    };
    let late = SocketAddr::from((network::SERVER, LATE_PORT));
    let more =
        format!("provision.success=http://{late}/done?mac={{mac}} provision.notify.budget=10s");
    set_up_pull(lab, &wrong, &more)?;
    let config = lab.vm_config(1, 512, 1);
    let vm = lab.power_on(&config)?;
    image_is_absent(lab)?;
    set_up_pull(lab, &right, &more)?;
    let mark = lab.events.mark();
    let run = lab.root(1, "provision run", 9)?;
    ensure!(
        run.contains("did not accept the completion"),
        "the output does not say that the completion is missing: {run}"
    );
    lab.root(1, "provision status", 20)?;
    lab.wait(
        mark,
        "the repeated completion on the console",
        is_repeated,
        |_| (),
    )?;
    // refused once more, then accepted
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
    let is_failure = |event: &Event| {
        event.source == Source::Orchestrator
            && event.text.starts_with("POST /failed")
            && event.text.ends_with(" 200")
    };
    let mark = lab.wait(0, "the failure", is_failure, |_| ())?;
    let report = report(lab)?;
    ensure!(
        report["exit_status"] == 6 && report["touched"] == false,
        "the report of the failure is {report}"
    );
    let is_printed = |event: &Event| {
        event.source == Source::Console && event.text.contains("FAILED with exit status 6")
    };
    // The ramdisk prints it when the agent has ended, which is after the failure callback.
    lab.wait(mark, "the failure on the console", is_printed, |_| ())?;
    lab.wait_for_ssh(1, "root")?;
    let status = lab.root(1, "provision status", 6)?;
    ensure!(
        status.contains("failed with exit status 6"),
        "the status is {status}"
    );
    lab.root(
        1,
        "provision status --format json | grep -q absent.img.zst",
        0,
    )?;
    Ok(())
}

fn is_repeated(event: &Event) -> bool {
    event.source == Source::Console
        && event
            .text
            .contains("offering the completion until it is accepted")
}

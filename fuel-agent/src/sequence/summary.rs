//! A run as a report, and as the facts that callbacks are filled with.

use host::units::Bytes;

use super::RunOutcome;
use super::machine::Machine;
use super::stages::Run;
use super::template::Facts;
use crate::events::clock;
use crate::model::error::Error;
use crate::model::inventory::Inventory;
use crate::model::plan::PlannedDisk;
use crate::model::report::{ImageOutcome, Outcome, Report, ReportedDevice, ReportedError};
use crate::model::request::Request;
use crate::model::stage::Stage;
use crate::report::peak_memory;

/// The report of a run as it stands.
pub(super) fn report(
    run: &Run<'_>,
    outcome: &RunOutcome,
    failure: Option<&(Stage, Error)>,
) -> Report {
    let (known, progress) = (&run.preflight().known, run.progress());
    let error = failure.map(|(_, error)| error);
    let execution = &progress.execution;
    let images = &execution.state.images;
    let images: Vec<ImageOutcome> = images.values().map(redacted).collect();
    let (started, took) = run.times();
    Report {
        result: Outcome::of(error, progress.installed.is_some()),
        exit_status: error.map_or(0, |error| error.kind.exit_status()),
        touched: execution.state.touched,
        retryable: error.is_some_and(|error| error.retryable),
        error: failure.map(|(stage, error)| ReportedError::new(*stage, error)),
        unclean: outcome
            .unclean
            .iter()
            .map(|(stage, error)| ReportedError::new(*stage, error))
            .collect(),
        incomplete: execution.incomplete.clone(),
        warnings: warnings(&known.warnings, run.warnings_told()),
        dialect: known.request.as_ref().and_then(dialect),
        request_digest: known.request.as_ref().map(|it| it.digest.clone()),
        generation: known.request.as_ref().and_then(|it| it.generation.clone()),
        hostname: known.request.as_ref().and_then(hostname),
        instance_id: progress
            .installed
            .clone()
            .or_else(|| Some(known.plan.as_ref()?.instance_id.to_string())),
        already_installed: progress.installed.is_some(),
        reverified: progress.reverified.clone(),
        agent_version: env!("CARGO_PKG_VERSION"),
        started: started.to_owned(),
        ended: clock::now(),
        took,
        stages: outcome.stages.clone(),
        steps: execution.steps.clone(),
        devices: devices(
            known.plan.as_ref().map(|plan| &plan.disks),
            known.inventory.as_ref(),
        ),
        fetched_bytes: sum(images.iter().map(|image| image.fetched_bytes)),
        written_bytes: sum(images.iter().map(|image| image.raw_bytes)),
        images,
        peak_memory_bytes: peak_memory(),
    }
}

fn sum(bytes: impl Iterator<Item = Bytes>) -> Bytes {
    bytes.fold(Bytes::ZERO, Bytes::saturating_add)
}

/// An image without what may be a token in its URL.
fn redacted(image: &ImageOutcome) -> ImageOutcome {
    ImageOutcome {
        url: crate::model::url::redacted(&image.url),
        ..image.clone()
    }
}

fn dialect(request: &Request) -> Option<String> {
    let value = serde_json::to_value(request.dialect).ok()?;
    value.as_str().map(str::to_owned)
}

fn hostname(request: &Request) -> Option<String> {
    request.node.as_ref().map(|node| node.hostname.clone())
}

fn devices(disks: Option<&Vec<PlannedDisk>>, inventory: Option<&Inventory>) -> Vec<ReportedDevice> {
    let stable = |disk: &PlannedDisk| {
        let real = inventory?.disks.iter().find(|it| it.path == disk.device)?;
        let id = real
            .links
            .iter()
            .find_map(|link| link.strip_prefix("/dev/disk/by-id/"));
        id.map(str::to_owned)
    };
    disks
        .into_iter()
        .flatten()
        .map(|disk| ReportedDevice {
            device: disk.device.clone(),
            stable_name: stable(disk).unwrap_or_else(|| disk.disk_id.clone()),
            size_bytes: disk.size,
        })
        .collect()
}

/// Facts of a run for its callbacks.
pub(super) fn facts(report: &Report, request: Option<&Request>, machine: &Machine) -> Facts {
    let error = report.error.as_ref();
    let managed = request
        .and_then(|request| request.node.as_ref())
        .map(|node| node.admin.mac.clone());
    let json = serde_json::to_string(report).unwrap_or_default();
    Facts::from([
        ("result", report.result.name().to_owned()),
        ("exit_status", report.exit_status.to_string()),
        ("hostname", report.hostname.clone().unwrap_or_default()),
        (
            "name",
            request
                .and_then(|request| request.name.clone())
                .unwrap_or_default(),
        ),
        ("mac", managed.unwrap_or_else(|| machine.mac.clone())),
        ("uuid", machine.uuid.clone()),
        ("serial", machine.serial.clone()),
        ("host_key", machine.host_key.clone()),
        (
            "instance_id",
            report.instance_id.clone().unwrap_or_default(),
        ),
        (
            "request_digest",
            report.request_digest.clone().unwrap_or_default(),
        ),
        ("generation", report.generation.clone().unwrap_or_default()),
        (
            "stage",
            error.map_or("", |error| error.stage.name()).to_owned(),
        ),
        ("error", error.map(ReportedError::line).unwrap_or_default()),
        (
            "hint",
            error
                .and_then(|error| error.hint.clone())
                .unwrap_or_default(),
        ),
        (
            "device",
            error
                .and_then(|error| error.device.clone())
                .unwrap_or_default(),
        ),
        ("retryable", report.retryable.to_string()),
        ("touched", report.touched.to_string()),
        ("report", json),
    ])
}

/// Warnings: those of the preflight, then those of steps and transfers.
fn warnings(found: &[String], emitted: Vec<String>) -> Vec<String> {
    let later = emitted
        .into_iter()
        .filter(|warning| !found.contains(warning));
    found.iter().cloned().chain(later).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steps_warn_of_comes_after_what_the_rehearsal_found_and_nothing_twice() {
        let emitted = ["odd plan", "odd firmware"].map(str::to_owned).to_vec();
        let all = warnings(&["odd plan".to_owned()], emitted);
        assert_eq!(all, ["odd plan", "odd firmware"]);
    }
}

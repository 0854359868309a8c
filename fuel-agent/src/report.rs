//! The report of a run, successful or failed: JSON for programs, a summary for people.

use std::fmt;
use std::fmt::Write as _;
use std::time::Duration;

use host::units::Bytes;

use crate::events::clock;
use crate::model::report::{ImageOutcome, Outcome, Report};
use crate::model::stage::Stage;
use crate::model::url::redacted;

/// Peak resident memory of this process.
pub fn peak_memory() -> Option<Bytes> {
    parse_peak_memory(&std::fs::read_to_string("/proc/self/status").ok()?)
}

fn parse_peak_memory(status: &str) -> Option<Bytes> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024).map(Bytes)
}

impl fmt::Display for Report {
    /// The summary for people. `main` prints the error.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.hostname.as_deref().unwrap_or("this node");
        let took = clock::short(self.took);
        match self.result {
            Outcome::AlreadyInstalled => writeln!(
                f,
                "{name} is already installed by its stamp: nothing was written, and its disks were not compared with \
                 the images"
            )?,
            Outcome::Installed => writeln!(f, "{name} is installed, after {took}")?,
            Outcome::InstalledNotAccepted => writeln!(
                f,
                "{name} is installed, after {took}, but the orchestrator does not know"
            )?,
            Outcome::Incomplete => writeln!(f, "{name} is incomplete, after {took}")?,
            Outcome::Failed | Outcome::Interrupted => {
                let stage = self.error.as_ref().map(|error| error.stage);
                let touched = match self.touched {
                    true if stage < Some(Stage::Bootloader) => {
                        "its disks have been written to and do not boot"
                    }
                    true => "its disks have been written to",
                    false => "no disk has been written to",
                };
                let how = self.result.name();
                writeln!(f, "{name}: {how} after {took}; {touched}")?;
            }
        }
        for reason in &self.incomplete {
            writeln!(f, "  pending: {reason}")?;
        }
        for device in &self.devices {
            let stable = match device.stable_name.as_str() {
                "" => "without a serial number",
                name => name,
            };
            let (node, size) = (&device.device, device.size_bytes);
            writeln!(f, "  disk     {node}, {size}, {stable}")?;
        }
        for image in &self.images {
            f.write_str(&image_line(image))?;
        }
        if let Some(peak) = self.peak_memory_bytes {
            writeln!(f, "  memory   {} at most", clock::amount(peak.0))?;
        }
        for error in &self.unclean {
            writeln!(f, "  also: {}", error.line())?;
        }
        Ok(())
    }
}

fn image_line(image: &ImageOutcome) -> String {
    let millis = image.took_ms.max(1);
    let rate = u128::from(image.raw_bytes.0) * 1000 / u128::from(millis);
    let mut line = format!(
        "  image    {}, {} in {}, {}/s",
        redacted(&image.url),
        clock::amount(image.raw_bytes.0),
        clock::short(Duration::from_millis(image.took_ms)),
        clock::amount(u64::try_from(rate).unwrap_or(u64::MAX)),
    );
    let _ = write!(line, ", trusted by: {}", image.trust.name());
    if image.retries > 0 {
        let _ = write!(line, ", {} retries", image.retries);
    }
    line.push('\n');
    line
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::model::error::{Error, Kind};
    use crate::model::report::{ReportedDevice, ReportedError, StageRecord};
    use crate::model::trust::Trust;

    /// A report with a value in every field.
    pub(crate) fn report(error: Option<Error>) -> Report {
        Report {
            result: Outcome::of(error.as_ref(), false),
            exit_status: error.as_ref().map_or(0, |error| error.kind.exit_status()),
            touched: true,
            retryable: error.as_ref().is_some_and(|error| error.retryable),
            error: error.map(|error| ReportedError::new(Stage::Image, &error)),
            unclean: Vec::new(),
            incomplete: Vec::new(),
            warnings: vec!["disk full".to_owned()],
            dialect: Some("nailgun".to_owned()),
            request_digest: Some("abc".to_owned()),
            generation: None,
            hostname: Some("node-7".to_owned()),
            instance_id: None,
            already_installed: false,
            reverified: Vec::new(),
            agent_version: "0",
            started: "2026-11-22T04:05:06.000Z".to_owned(),
            ended: "2026-11-22T04:08:13.000Z".to_owned(),
            took: Duration::from_secs(187),
            stages: vec![StageRecord {
                stage: Stage::Image,
                ok: true,
                took: Duration::from_millis(12_345),
            }],
            steps: Vec::new(),
            devices: vec![ReportedDevice {
                device: "/dev/sda".to_owned(),
                stable_name: "ata-ST4000_S3X9".to_owned(),
                size_bytes: Bytes(20 << 30),
            }],
            images: vec![ImageOutcome {
                url: "http://h/root.img.gz?token=t0p".to_owned(),
                fetched_bytes: Bytes(1 << 30),
                raw_bytes: Bytes(3 << 30),
                raw_sha256: "0123".to_owned(),
                raw_sha256_computed: true,
                raw_md5: None,
                raw_blake3: None,
                verified: true,
                trust: Trust::SameServer,
                digests_checked: Vec::new(),
                retries: 2,
                took_ms: 30_000,
                packed: None,
            }],
            fetched_bytes: Bytes(1 << 30),
            written_bytes: Bytes(3 << 30),
            peak_memory_bytes: Some(Bytes(21 << 20)),
        }
    }

    #[test]
    fn a_success_reads_like_one() {
        insta::assert_snapshot!(report(None).to_string(), @r"
        node-7 is installed, after 3 min 07 s
          disk     /dev/sda, 20 GiB, ata-ST4000_S3X9
          image    http://h/root.img.gz?..., 3.0 GiB in 30.0 s, 102.3 MiB/s, trusted by: same-server, 2 retries
          memory   21.0 MiB at most
        ");
    }

    #[test]
    fn a_node_that_its_stamp_calls_installed_is_not_told_of_as_an_installation() {
        let mut found = report(None);
        found.result = Outcome::of(None, true);
        insta::assert_snapshot!(found.to_string().lines().next().unwrap(), @"node-7 is already installed by its stamp: nothing was written, and its disks were not compared with the images");
        let pending = Error::new(Kind::Notify, "not accepted");
        let result = Outcome::of(Some(&pending), true);
        assert_eq!(result, Outcome::InstalledNotAccepted);
    }

    #[test]
    fn a_failure_names_the_state_of_the_disks() {
        let mut failed = report(Some(Error::new(Kind::Image, "no answer").retryable()));
        insta::assert_snapshot!(failed.to_string().lines().next().unwrap(), @"node-7: failed after 3 min 07 s; its disks have been written to and do not boot");
        failed.touched = false;
        insta::assert_snapshot!(failed.to_string().lines().next().unwrap(), @"node-7: failed after 3 min 07 s; no disk has been written to");
    }

    #[test]
    #[expect(
        clippy::too_many_lines,
        reason = "the report is long, and is all of it contract"
    )]
    fn its_json_is_the_contract() {
        let error = Error::new(Kind::Image, "cannot fetch")
            .because("no route")
            .hint("plug it in")
            .device("/dev/sda2")
            .retryable();
        let json = serde_json::to_string_pretty(&report(Some(error))).unwrap();
        insta::assert_snapshot!(json, @r#"
        {
          "result": "failed",
          "exit_status": 6,
          "touched": true,
          "retryable": true,
          "error": {
            "stage": "image",
            "kind": "image",
            "message": "cannot fetch",
            "causes": [
              "no route"
            ],
            "hint": "plug it in",
            "device": "/dev/sda2",
            "retryable": true
          },
          "unclean": [],
          "incomplete": [],
          "warnings": [
            "disk full"
          ],
          "dialect": "nailgun",
          "request_digest": "abc",
          "generation": null,
          "hostname": "node-7",
          "instance_id": null,
          "already_installed": false,
          "agent_version": "0",
          "started": "2026-11-22T04:05:06.000Z",
          "ended": "2026-11-22T04:08:13.000Z",
          "took_ms": 187000,
          "stages": [
            {
              "stage": "image",
              "ok": true,
              "took_ms": 12345
            }
          ],
          "steps": [],
          "devices": [
            {
              "device": "/dev/sda",
              "stable_name": "ata-ST4000_S3X9",
              "size_bytes": 21474836480
            }
          ],
          "images": [
            {
              "url": "http://h/root.img.gz?token=t0p",
              "fetched_bytes": 1073741824,
              "raw_bytes": 3221225472,
              "raw_sha256": "0123",
              "raw_sha256_computed": true,
              "raw_md5": null,
              "verified": true,
              "trust": "same-server",
              "digests_checked": [],
              "retries": 2,
              "took_ms": 30000
            }
          ],
          "fetched_bytes": 1073741824,
          "written_bytes": 3221225472,
          "peak_memory_bytes": 22020096
        }
        "#);
    }

    #[test]
    fn peak_memory_is_read_as_the_kernel_writes_it() {
        let status = "Name:\tprovision\nVmHWM:\t   21504 kB\nVmRSS:\t 100 kB\n";
        assert_eq!(parse_peak_memory(status), Some(Bytes(21504 << 10)));
        assert_eq!(parse_peak_memory("Name:\tprovision\n"), None);
        assert!(peak_memory().is_some());
    }
}

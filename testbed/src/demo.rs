//! The demo: a bare node, from power-on to a login, with its progress.
#![expect(clippy::print_stdout, reason = "the demo is its output")]

use std::time::Duration;

use anyhow::{Result, ensure};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::Demo;
use crate::events::{Event, Source};
use crate::lab::Lab;
use crate::namespace;
use crate::network;
use crate::orchestrator;
use crate::request::{self, Layout, RequestSpec};
use crate::timeline::Timeline;

/// Hostname of the node.
const HOSTNAME: &str = "node-1.lab.test";

/// Runs the demo.
pub(crate) fn run(options: &Demo) -> Result<()> {
    let mut lab = Lab::open("demo", &options.artifacts, 1)?;
    println!(
        "Node: {} MiB of memory, one empty disk of 8 GiB, {}.",
        options.memory,
        if lab.kvm {
            "KVM"
        } else {
            "emulated (KVM cannot be used here: everything takes longer)"
        }
    );
    println!(
        "Network: dnsmasq (DHCP, TFTP), nginx (images) and a small orchestrator, in namespaces of their own.\n"
    );
    let spec = RequestSpec {
        number: 1,
        hostname: HOSTNAME.to_owned(),
        serials: vec!["NODE1DISK1".to_owned()],
        image: lab.artifacts.image.clone(),
        data: None,
        key: lab.public_key()?,
        layout: Layout::Lvm,
    };
    let mac = network::node_mac(1);
    lab.orchestrator.set_node(
        &mac,
        orchestrator::Node {
            request: Some(request::provision_json(&spec)),
            parameters: pull_parameters(&mac, &lab.public_key()?),
            ..orchestrator::Node::default()
        },
    );
    let config = lab.vm_config(1, options.memory, 1);
    let mut view = DemoView::new();
    let vm = lab.power_on(&config)?;
    lab.wait(0, "cloud-init's phone-home", is_phone_home, |event| {
        view.show(event);
    })?;
    view.end();
    lab.wait_for_ssh(1, "admin")?;
    view.timeline.add(lab.events.now(), "ssh login");
    log_in(&mut lab)?;
    println!("\nTimeline\n\n{}", view.timeline.render());
    if let Some(report) = lab.orchestrator.node(&mac).and_then(|node| node.report) {
        println!("{}", rate(&report));
    }
    if options.keep {
        namespace::keep(&lab.work, &lab.ssh_args(1, "admin").join(" "))?;
        while !lab.interrupted() {
            lab.events.wait(
                lab.events.mark(),
                Duration::from_millis(500),
                |_| false,
                |_| (),
            );
        }
    }
    drop(vm);
    Ok(())
}

/// Kernel parameters of a ramdisk that fetches its request from the orchestrator (pull).
pub(crate) fn pull_parameters(mac: &str, key: &str) -> String {
    let base = format!("http://{}", network::orchestrator());
    format!(
        "provision.url={base}/request?mac={{mac}} provision.success={base}/done?mac={{mac}} \
         provision.success.body={{report}} provision.failure={base}/failed?mac={{mac}} \
         provision.phone_home={base}/alive?mac={mac} provision.key=\"{key}\""
    )
}

/// Whether this is the phone-home of cloud-init on the installed system.
pub(crate) fn is_phone_home(event: &Event) -> bool {
    event.source == Source::Orchestrator && event.text.starts_with("POST /alive")
}

/// Shows hostname, disks and cloud-init of the installed system.
fn log_in(lab: &mut Lab) -> Result<()> {
    for command in [
        "hostname -f",
        "lsblk -o NAME,SIZE,TYPE,FSTYPE,MOUNTPOINTS",
        "cloud-init status --wait",
    ] {
        println!("\n$ ssh admin@{} {command}", network::node_address(1));
        let output = lab.ssh(1, "admin", command)?;
        print!("{}", output.stdout);
        ensure!(
            output.status == 0,
            "`{command}` exited with status {} on the node: {}",
            output.status,
            output.stderr.trim()
        );
    }
    let hostname = lab.ssh(1, "admin", "hostname")?.stdout;
    ensure!(
        HOSTNAME.starts_with(hostname.trim()),
        "the hostname is {hostname}"
    );
    Ok(())
}

/// A line with bytes and rate of the image, from the agent's report; empty if the report does not have them.
fn rate(report: &str) -> String {
    let find = |value: &serde_json::Value| -> Option<String> {
        let image = value.get("images")?.get(0)?;
        let (raw, fetched, ms) = (
            image.get("raw_bytes")?.as_f64()?,
            image.get("fetched_bytes")?.as_f64()?,
            image.get("took_ms")?.as_f64()?,
        );
        let mib = |bytes: f64| bytes / f64::from(1 << 20);
        Some(format!(
            "Image: {:.0} MiB fetched, {:.0} MiB on disk, in {:.1} s: {:.0} MiB/s.",
            mib(fetched),
            mib(raw),
            ms / 1000.0,
            mib(raw) / (ms / 1000.0)
        ))
    };
    serde_json::from_str(report)
        .ok()
        .as_ref()
        .and_then(find)
        .unwrap_or_default()
}

/// The output while the node works: milestones, and a bar while the image is written.
struct DemoView {
    timeline: Timeline,
    bar: ProgressBar,
}

impl DemoView {
    fn new() -> Self {
        let bar = ProgressBar::with_draw_target(Some(100), ProgressDrawTarget::stdout_with_hz(5));
        if let Ok(style) = ProgressStyle::with_template("  {bar:40} {pos:>3} %  {msg}") {
            bar.set_style(style);
        }
        Self {
            timeline: Timeline::default(),
            bar,
        }
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }

    fn milestone(&mut self, event: &Event, what: &str) {
        if !self.timeline.has(what) {
            self.timeline.add(event.at, what);
            self.bar
                .suspend(|| println!("{:>7.1} s  {what}", event.at.as_secs_f64()));
        }
    }

    fn show(&mut self, event: &Event) {
        match event.source {
            Source::Testbed => self.milestone(event, &event.text),
            Source::Orchestrator => self.show_request(event),
            Source::Console => self.show_console(event),
        }
    }

    fn show_request(&mut self, event: &Event) {
        let installed = self.timeline.has(INSTALLED);
        for (start, what) in [
            (
                "GET /boot",
                if installed {
                    "PXE: boots from its disk"
                } else {
                    "PXE: boots the ramdisk"
                },
            ),
            ("GET /request", "agent: request fetched"),
            ("POST /done", INSTALLED),
            ("POST /failed", "agent: failed"),
            ("POST /alive", "cloud-init: phone-home"),
        ] {
            if event.text.starts_with(start) && event.text.ends_with(" 200") {
                self.milestone(event, what);
            }
        }
    }

    fn show_console(&mut self, event: &Event) {
        let installed = self.timeline.has(INSTALLED);
        if event.text.contains("Linux version") {
            self.milestone(
                event,
                if installed {
                    "installed kernel starts"
                } else {
                    "ramdisk kernel starts"
                },
            );
        } else if event.text.contains(" login:") {
            self.milestone(event, "login prompt");
        } else if let Some((stage, percent)) = parse_progress(&event.text) {
            self.bar.set_position(percent);
            self.bar.set_message(stage);
        } else if let Some(stage) = parse_stage_end(&event.text) {
            self.milestone(event, &format!("  {stage}"));
        }
    }
}

/// The milestone at which the orchestrator has accepted the completion.
const INSTALLED: &str = "agent: completion accepted";

/// Stages whose end is a milestone.
const SHOWN: [&str; 12] = [
    "discover",
    "plan",
    "validate",
    "release",
    "partition",
    "raid",
    "lvm",
    "filesystem",
    "image",
    "configure",
    "configdrive",
    "bootloader",
];

/// Name and duration of a stage, from the line that the agent prints at its end: `TIME image: done after 12.3 s`.
fn parse_stage_end(line: &str) -> Option<String> {
    let (_, rest) = line.split_once(' ')?;
    let (stage, took) = rest.split_once(": done after ")?;
    SHOWN
        .contains(&stage)
        .then(|| format!("{stage:<12} {took}"))
}

/// Stage with rate, and percentage, from a progress line of the agent: `TIME image: …, 38 %, 110.0 MiB/s`.
fn parse_progress(line: &str) -> Option<(String, u64)> {
    let (_, rest) = line.split_once(' ')?;
    let (stage, rest) = rest.split_once(": ")?;
    let (before, after) = rest.split_once(" %")?;
    let percent = before.rsplit(' ').next()?.parse().ok()?;
    SHOWN
        .contains(&stage)
        .then(|| (format!("{stage}{after}"), percent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_and_ends_of_stages_are_read_from_console_lines() {
        let line = "2026-01-02T03:04:05Z image: /: 1.2 GiB of 3.1 GiB, 38 %, 110.0 MiB/s";
        assert_eq!(
            parse_progress(line),
            Some(("image, 110.0 MiB/s".to_owned(), 38))
        );
        assert_eq!(
            parse_stage_end("2026-01-02T03:04:05Z lvm: done after 1.2 s").as_deref(),
            Some("lvm          1.2 s")
        );
        for other in [
            "",
            "[    1.0] Linux version 6.1",
            "login: 3 %",
            "2026-01-02T03:04:05Z boot: done after 1 ms",
        ] {
            assert_eq!(
                (parse_progress(other), parse_stage_end(other)),
                (None, None),
                "{other}"
            );
        }
    }

    #[test]
    fn the_rate_is_read_from_the_report() {
        let report = r#"{"images": [{"raw_bytes": 1073741824, "fetched_bytes": 104857600, "took_ms": 4000}]}"#;
        assert_eq!(
            rate(report),
            "Image: 100 MiB fetched, 1024 MiB on disk, in 4.0 s: 256 MiB/s."
        );
        assert_eq!(rate("no report"), "");
    }
}

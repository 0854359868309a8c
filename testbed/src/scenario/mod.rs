//! End-to-end scenarios: a node from power-on to the checks at the end.
#![expect(
    clippy::print_stdout,
    reason = "people and count-tests.sh read the output"
)]

mod archive;
mod failure;
mod hot_plug;
mod install;
mod interrupted;
mod push;
mod steps;
mod two_images;
mod uefi;
mod wipe;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::bystander::Bystander;
use crate::cli::Test;
use crate::lab::Lab;

/// One scenario.
struct Scenario {
    /// Name on the command line.
    name: &'static str,
    /// What it tests, for the list.
    about: &'static str,
    /// Runs it; an error means that it failed.
    run: fn(&mut Lab) -> Result<()>,
}

/// The scenarios; the first one is the default.
const SCENARIOS: [Scenario; 15] = [
    Scenario {
        name: "pull-lvm",
        about: "node of 512 MiB pulls its request: PXE, root on LVM, completion, reboot, cloud-init",
        run: install::pull_lvm,
    },
    Scenario {
        name: "push-plain",
        about: "request pushed over ssh twice: the second run installs again",
        run: push::push_plain,
    },
    Scenario {
        name: "push-stack",
        about: "LVM on md, pushed twice, the second time over active arrays and volumes; \
                then booted from the second disk alone",
        run: push::push_stack,
    },
    Scenario {
        name: "mirror",
        about: "root mirrored by md over two disks",
        run: install::mirror,
    },
    Scenario {
        name: "two-images",
        about: "two packed images at the same time with range requests, each to its own disk",
        run: two_images::two_images,
    },
    Scenario {
        name: "disk-first",
        about: "disk first in the boot order: skipped while it is empty, booted afterwards",
        run: install::disk_first,
    },
    Scenario {
        name: "again",
        about: "pulled again by mistake: completion repeated, disk untouched; \
                then update-grub on the installed system, and a reboot",
        run: install::again,
    },
    Scenario {
        name: "archive",
        about: "the same system as a root archive made by GNU tar: unpacked, booted, files as in their packages",
        run: archive::root_archive,
    },
    Scenario {
        name: "kexec",
        about: "installed system started by kexec: no firmware, PXE or boot loader in between",
        run: install::kexec,
    },
    Scenario {
        name: "power-cut",
        about: "power cut while the image is written, then disk first in the boot order: boots by PXE and installs",
        run: interrupted::power_cut,
    },
    Scenario {
        name: "sigterm",
        about: "agent stopped by SIGTERM while volumes are made and while the image is written: \
                cleans up, disk does not boot, installs again",
        run: interrupted::sigterm,
    },
    Scenario {
        name: "hot-plug",
        about: "another disk takes the place of a chosen one between two stages, and while the image is written: \
                refused, that disk is untouched",
        run: hot_plug::hot_plug,
    },
    Scenario {
        name: "wipe",
        about: "cloud-init data wiped after the first start: zeros on the disk, and the second start is like the first",
        run: wipe::wipe,
    },
    Scenario {
        name: "failure",
        about: "missing image: reported everywhere; completion repeated until its server accepts it",
        run: failure::failure,
    },
    Scenario {
        name: "uefi",
        about: "OVMF: PXE over TFTP, boot entry, installed again, booted from the disk",
        run: uefi::uefi,
    },
];

/// Prints names and descriptions; the first scenario is the default one.
pub(crate) fn list() {
    for (index, scenario) in SCENARIOS.iter().enumerate() {
        let default = if index == 0 { " (default)" } else { "" };
        println!("{:<12} {}{default}", scenario.name, scenario.about);
    }
}

/// Runs one scenario. One in a process: a run takes the signals and the network namespace.
pub(crate) fn run(options: &Test) -> Result<ExitCode> {
    let name = options.name.as_deref().unwrap_or(SCENARIOS[0].name);
    let Some(scenario) = SCENARIOS.iter().find(|scenario| scenario.name == name) else {
        bail!("unknown scenario `{name}`; `testbed scenarios` lists them");
    };
    let start = Instant::now();
    println!("scenario {name}: {}", scenario.about);
    let result = Lab::open(name, &options.artifacts, 1)
        .and_then(|mut lab| run_with_bystander(scenario, &mut lab));
    let took = start.elapsed().as_secs();
    match result {
        Ok(()) => {
            println!("scenario {name} ... ok ({took} s)");
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            println!("scenario {name} ... FAILED after {took} s: {error:#}");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Runs the scenario with a disk in the node that no request names, and compares that disk afterwards.
fn run_with_bystander(scenario: &Scenario, lab: &mut Lab) -> Result<()> {
    lab.bystander = Some(Bystander::make(&lab.work, "BYSTANDER", 1)?);
    (scenario.run)(lab)?;
    lab.bystander.as_ref().map_or(Ok(()), Bystander::check)
}

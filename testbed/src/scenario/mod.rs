//! End-to-end scenarios: each a node's life from power-on, with what has to be true at its end.
#![expect(
    clippy::print_stdout,
    reason = "a test run is read by people and by CI"
)]

mod archive;
mod failure;
mod install;
mod interrupted;
mod push;
mod steps;
mod two_images;
mod uefi;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::cli::Test;
use crate::lab::Lab;

/// One scenario.
struct Scenario {
    /// Its name on the command line.
    name: &'static str,
    /// What it shows.
    about: &'static str,
    /// Whether it runs when none is named.
    default: bool,
    /// What it does; an error is a failure.
    run: fn(&mut Lab) -> Result<()>,
}

const SCENARIOS: [Scenario; 13] = [
    Scenario {
        name: "pull-lvm",
        about: "512 MiB node, pulled: PXE, root on LVM, completion, reboot, cloud-init",
        default: true,
        run: install::pull_lvm,
    },
    Scenario {
        name: "push-plain",
        about: "pushed over ssh, twice: the second run installs again",
        default: false,
        run: push::push_plain,
    },
    Scenario {
        name: "push-stack",
        about: "LVM on md, pushed twice, the second time over all that is active; then booted from the second disk alone",
        default: false,
        run: push::push_stack,
    },
    Scenario {
        name: "mirror",
        about: "root mirrored by md over two disks",
        default: false,
        run: install::mirror,
    },
    Scenario {
        name: "two-images",
        about: "two packed images at the same time over ranges, each to a disk of its own",
        default: false,
        run: two_images::two_images,
    },
    Scenario {
        name: "disk-first",
        about: "the disk first in the boot order: passed over while it is empty, booted afterwards",
        default: false,
        run: install::disk_first,
    },
    Scenario {
        name: "again",
        about: "pulled again by mistake: completion repeated, disk untouched; then update-grub by the installed system, and a reboot",
        default: false,
        run: install::again,
    },
    Scenario {
        name: "archive",
        about: "the same system as a root archive, made by GNU tar: unpacked, booted, files as its packages have them",
        default: false,
        run: archive::root_archive,
    },
    Scenario {
        name: "kexec",
        about: "the installed kernel started by the ramdisk's, without firmware, PXE and boot loader in between",
        default: false,
        run: install::kexec,
    },
    Scenario {
        name: "power-cut",
        about: "power cut while the image is written, then the disk first in the boot order: falls on to PXE and starts over",
        default: false,
        run: interrupted::power_cut,
    },
    Scenario {
        name: "sigterm",
        about: "stopped while volumes are made and while the image is written: cleans up, does not boot, installs again",
        default: false,
        run: interrupted::sigterm,
    },
    Scenario {
        name: "failure",
        about: "a failure (missing image) stays readable; a completion is offered until its server accepts it",
        default: false,
        run: failure::failure,
    },
    Scenario {
        name: "uefi",
        about: "OVMF: PXE over TFTP, our entry in the boot list, installed again, booted from the disk",
        default: false,
        run: uefi::uefi,
    },
];

/// Prints the scenarios.
pub(crate) fn list() {
    for scenario in &SCENARIOS {
        println!(
            "{:<12} {}{}",
            scenario.name,
            scenario.about,
            if scenario.default { " (default)" } else { "" }
        );
    }
}

/// Runs the scenarios that are named, or the default ones.
pub(crate) fn run(options: &Test) -> Result<ExitCode> {
    let all = options.names.iter().any(|name| name == "all");
    if let Some(unknown) = options
        .names
        .iter()
        .find(|name| *name != "all" && !SCENARIOS.iter().any(|s| s.name == **name))
    {
        bail!("unknown scenario `{unknown}`; `testbed scenarios` lists them");
    }
    let wanted = |s: &Scenario| {
        all || options.names.iter().any(|name| name == s.name)
            || (options.names.is_empty() && s.default)
    };
    // a second lab in the same process meets what is left of the first one: its node was told that it is installed
    if SCENARIOS.iter().filter(|s| wanted(s)).count() > 1 {
        bail!("one scenario at a time; `make test-slow` runs all, a process for each");
    }
    let (mut passed, mut failed) = (0, 0);
    for scenario in SCENARIOS.iter().filter(|s| wanted(s)) {
        let start = Instant::now();
        println!("scenario {}: {}", scenario.name, scenario.about);
        let result = Lab::open(scenario.name, &options.artefacts, 1)
            .and_then(|mut lab| (scenario.run)(&mut lab));
        let took = start.elapsed().as_secs();
        match result {
            Ok(()) => {
                passed += 1;
                println!("scenario {} ... ok ({took} s)", scenario.name);
            }
            Err(error) => {
                failed += 1;
                println!(
                    "scenario {} ... FAILED after {took} s: {error:#}",
                    scenario.name
                );
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

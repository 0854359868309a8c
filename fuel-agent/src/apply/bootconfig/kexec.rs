//! The installed system's kernel taken into memory, for a node that is to start it without its firmware in between.

use super::parameters::Parameters;
use super::{kernels, plan_has_boot, root_argument};
use crate::apply::context::Context;
use crate::apply::outcome::Outcome;
use crate::apply::target_tree;
use crate::model::error::Error;
use crate::model::stage::Stage;

/// Loads the kernel that the menu starts, with the same parameters. A machine that cannot do it restarts the usual way:
/// that is slower, and no reason to call an installation failed.
pub(in crate::apply) fn load(context: &mut Context<'_>) -> Result<Outcome, Error> {
    let tree = match target_tree::open(context)? {
        Ok(tree) => tree,
        Err(skipped) => return Ok(skipped),
    };
    let plan = context.plan;
    let root = root_argument(plan, &context.state.filesystem_uuids)?;
    let found = kernels::find(&tree, plan_has_boot(plan))?;
    let Some(newest) = found.first() else {
        return Ok(Outcome::Unchanged);
    };
    let parameters = Parameters::parse(&plan.boot.kernel_params).for_kernel();
    let line = format!("root={root} ro {parameters}");
    let kernel = tree.real_file(&in_tree(&newest.image))?;
    let initrd = tree.real_file(&in_tree(&newest.initrd))?;
    let loaded = context
        .host
        .next_kernel
        .load(&kernel, &initrd, line.trim_end());
    match loaded {
        Ok(()) => Ok(Outcome::Changed),
        Err(error) => {
            let message = format!(
                "the installed kernel cannot be started by kexec ({error}); the node will restart through its firmware"
            );
            context.warn(Stage::Configure, message);
            Ok(Outcome::Unchanged)
        }
    }
}

/// Path of a file of /boot in the installed system, whether or not /boot is a filesystem of its own.
fn in_tree(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    format!("boot/{name}")
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;
    use std::sync::{Arc, Mutex};

    use host::fake;
    use host::power::NextKernel;

    use super::*;
    use crate::apply::context::Target;
    use crate::model::step::{Configure, Step};
    use crate::testing::step_harness::StepHarness;

    /// Remembers what it is given.
    #[derive(Clone, Default)]
    struct Loaded {
        lines: Arc<Mutex<Vec<String>>>,
        refuses: bool,
    }

    impl NextKernel for Loaded {
        fn load(&mut self, kernel: &Path, initrd: &Path, line: &str) -> io::Result<()> {
            let text = format!("{} {} {line}", kernel.display(), initrd.display());
            self.lines.lock().unwrap().push(text);
            if self.refuses {
                return Err(io::Error::from(io::ErrorKind::PermissionDenied));
            }
            Ok(())
        }
    }

    fn harness() -> StepHarness {
        let mut harness = StepHarness::new();
        let root = harness.work.path().join("target");
        std::fs::create_dir_all(root.join("boot")).unwrap();
        for name in ["vmlinuz-6.1", "initrd.img-6.1"] {
            std::fs::write(root.join("boot").join(name), "x").unwrap();
        }
        harness.state.target = Some(Target {
            root,
            mounts: Vec::new(),
        });
        let filesystems = harness.plan.filesystems();
        harness.state.filesystem_uuids = filesystems
            .map(|(filesystem, _)| (filesystem, "0-1".to_owned()))
            .collect();
        harness
    }

    fn perform(harness: &mut StepHarness, next: &Loaded) -> Result<Outcome, Error> {
        let mut host = fake::host(&harness.script, &harness.disks, &harness.mounts);
        host.next_kernel = Box::new(next.clone());
        harness.on(&mut host, &Step::Configure(Configure::LoadKernel))
    }

    #[test]
    fn the_kernel_of_the_menu_is_loaded_with_its_root_and_parameters() {
        let (mut harness, next) = (harness(), Loaded::default());
        harness.plan.boot.kernel_params =
            "console=ttyS0,115200 root=/dev/sda9 dyndbg=\"file x +p\"".to_owned();
        assert_eq!(perform(&mut harness, &next).unwrap(), Outcome::Changed);
        let lines = next.lines.lock().unwrap().join("\n");
        let folder = harness.work.path().canonicalize().unwrap();
        let lines = lines.replace(&folder.display().to_string(), "WORK");
        insta::assert_snapshot!(lines, @r#"WORK/target/boot/vmlinuz-6.1 WORK/target/boot/initrd.img-6.1 root=/dev/mapper/os-root ro console=ttyS0,115200 "dyndbg=file x +p""#);
    }

    #[test]
    fn a_machine_that_refuses_restarts_through_its_firmware() {
        let mut harness = harness();
        let next = Loaded {
            refuses: true,
            ..Loaded::default()
        };
        assert_eq!(perform(&mut harness, &next).unwrap(), Outcome::Unchanged);
        let warnings = harness.recorded.warnings();
        assert!(
            warnings.iter().any(|w| w.contains("through its firmware")),
            "{warnings:?}"
        );
    }
}

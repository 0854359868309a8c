//! Whether KVM works here: by trying it. Some machines have `/dev/kvm` and hang on the first instruction of a kernel.

use std::path::Path;
use std::time::Duration;

use host::exec::{Cmd, Exec, System};

use crate::tools::Tool;

/// Boots the kernel without any root under KVM: it has to reach its panic, which ends QEMU, within seconds.
pub(crate) fn works(system: &mut System, kernel: &Path, work: &Path) -> bool {
    if !Path::new("/dev/kvm").exists() {
        return false;
    }
    let console = work.join("kvm-probe.log");
    let cmd = Cmd::new(Tool::QemuSystem)
        .args([
            "-accel",
            "kvm",
            "-cpu",
            "host",
            "-m",
            "256",
            "-display",
            "none",
            "-monitor",
            "none",
            "-no-reboot",
            "-net",
            "none",
        ])
        .arg("-serial")
        .arg(format!("file:{}", console.display()))
        .arg("-kernel")
        .arg(kernel)
        .args(["-append", "console=ttyS0 panic=-1"])
        .timeout(Duration::from_secs(20));
    let ended = system.run(&cmd).is_ok();
    let said = std::fs::read_to_string(&console).unwrap_or_default();
    ended && said.contains("Kernel panic")
}

//! Whether KVM can be used, found out by a trial boot: on some machines with `/dev/kvm` a guest hangs at the first
//! instruction of its kernel.

use std::path::Path;
use std::time::Duration;

use host::exec::{Cmd, Exec, System};

use crate::tools::Tool;

/// Boots the kernel under KVM without a root filesystem: it has to panic, which ends QEMU, within 20 s.
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
    let text = std::fs::read_to_string(&console).unwrap_or_default();
    ended && text.contains("Kernel panic")
}

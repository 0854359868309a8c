//! The stages of a run, in their fixed order.

use std::fmt;

use serde::Serialize;

/// One stage of a run. The order of the variants is the order of the stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Log and signals are set up.
    Boot,
    /// The lock, the settings.
    Init,
    /// The request is read and checked.
    Setup,
    /// Inventory and sources are looked up.
    Discover,
    /// The plan is made, without touching anything.
    Plan,
    /// Everything that can be known is checked; nothing is open for writing yet.
    Validate,
    /// What will be overwritten is listed; each disk is probed once by an exclusive open.
    Prepare,
    /// What is stacked on the chosen disks is released, then the disks are disarmed.
    Release,
    /// Partition tables are written.
    Partition,
    /// md arrays are created or assembled.
    Raid,
    /// Physical volumes, volume groups, logical volumes.
    Lvm,
    /// Filesystems without an image.
    Filesystem,
    /// Images are written, verified, grown.
    Image,
    /// Files of the installed system.
    Configure,
    /// The cloud-init data are written to their partition.
    Configdrive,
    /// Everything is flushed and read back.
    Verify,
    /// Boot code and boot menus are installed.
    Bootloader,
    /// The identity stamp is written: the node counts as installed.
    Commit,
    /// The completion callback is made.
    Closeup,
    /// Mounts and activations of the run are undone, temporary files removed.
    Cleanup,
    /// The report is written, and a failure callback made.
    Report,
    /// Nothing, reboot, or power off.
    Terminate,
}

impl Stage {
    /// All of them, in order.
    pub const ALL: [Self; 22] = [
        Self::Boot,
        Self::Init,
        Self::Setup,
        Self::Discover,
        Self::Plan,
        Self::Validate,
        Self::Prepare,
        Self::Release,
        Self::Partition,
        Self::Raid,
        Self::Lvm,
        Self::Filesystem,
        Self::Image,
        Self::Configure,
        Self::Configdrive,
        Self::Verify,
        Self::Bootloader,
        Self::Commit,
        Self::Closeup,
        Self::Cleanup,
        Self::Report,
        Self::Terminate,
    ];

    /// Its name in events, reports and hooks.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Boot => "boot",
            Self::Init => "init",
            Self::Setup => "setup",
            Self::Discover => "discover",
            Self::Plan => "plan",
            Self::Validate => "validate",
            Self::Prepare => "prepare",
            Self::Release => "release",
            Self::Partition => "partition",
            Self::Raid => "raid",
            Self::Lvm => "lvm",
            Self::Filesystem => "filesystem",
            Self::Image => "image",
            Self::Configure => "configure",
            Self::Configdrive => "configdrive",
            Self::Verify => "verify",
            Self::Bootloader => "bootloader",
            Self::Commit => "commit",
            Self::Closeup => "closeup",
            Self::Cleanup => "cleanup",
            Self::Report => "report",
            Self::Terminate => "terminate",
        }
    }

    /// Whether it runs after a failed stage too.
    pub const fn always(self) -> bool {
        matches!(self, Self::Init | Self::Cleanup | Self::Report)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

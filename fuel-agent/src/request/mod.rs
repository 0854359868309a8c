//! What the orchestrator asks: `provision.json` in any dialect, to one typed [`Request`].

pub mod spec;

pub use spec::{Problem, Request};

/// Which dialect to read, as `--data_driver` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Driver {
    /// Found out from the keys of the document.
    #[default]
    Auto,
    /// What Fuel's orchestrator sends.
    Nailgun,
    /// The same with an explicit layout.
    NailgunSimple,
    /// Disks and images only.
    Ironic,
    /// Our own; not yet read.
    Native,
}

/// What a document is read with, beside its text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// The dialect.
    pub driver: Driver,
    /// Whether a ready-made configdrive lies on the node (`/tmp/config-drive.img`): then an ironic request gets the
    /// partition for it too, as upstream does.
    pub ready_configdrive: bool,
}

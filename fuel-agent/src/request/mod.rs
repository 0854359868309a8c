//! What the orchestrator asks: `provision.json` in any dialect, to one typed [`Request`].

pub mod spec;

pub use spec::Request;

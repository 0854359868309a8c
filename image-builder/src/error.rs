//! Errors with a hint, as people see them.

use host::exec::ExecError;
use os_image::disk::DiskImageError;
use os_image::error::ManifestError;
use os_image::signature::SignatureError;

/// Something that we will not do, and what to do instead.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(crate) struct Refusal {
    what: String,
    hint: String,
}

/// A refusal, to be returned.
pub(crate) fn refused(what: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
    let (what, hint) = (what.into(), hint.into());
    Refusal { what, hint }.into()
}

/// The run was interrupted by a signal.
#[derive(Debug, thiserror::Error)]
#[error("interrupted; nothing was left behind")]
pub(crate) struct Interrupted;

/// What to do about an error, where one of its causes knows.
pub(crate) fn hint(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        if let Some(refusal) = cause.downcast_ref::<Refusal>() {
            return Some(refusal.hint.clone());
        }
        if let Some(error) = cause.downcast_ref::<ManifestError>() {
            return Some(error.hint().to_owned());
        }
        if let Some(error) = cause.downcast_ref::<SignatureError>() {
            return Some(error.hint().to_owned());
        }
        if let Some(error) = cause.downcast_ref::<DiskImageError>() {
            return Some(error.hint().to_owned());
        }
        if let Some(error) = cause.downcast_ref::<ExecError>() {
            return error.hint();
        }
        let error = cause.downcast_ref::<std::io::Error>()?;
        let full = error.kind() == std::io::ErrorKind::StorageFull;
        full.then(|| String::from("make room there, or name another folder"))
    })
}

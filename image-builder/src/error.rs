//! Errors with a hint.

use apt_sources::{ArchiveError, SourcesError};
use host::exec::ExecError;
use os_image::disk::DiskImageError;
use os_image::error::ManifestError;
use os_image::signature::SignatureError;

/// An error with a hint: input or options that are refused.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(crate) struct Refusal {
    what: String,
    hint: String,
}

/// Makes a [`Refusal`]; `hint` is an instruction to the user.
pub(crate) fn refused(what: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
    let (what, hint) = (what.into(), hint.into());
    Refusal { what, hint }.into()
}

/// The run was interrupted by a signal.
#[derive(Debug, thiserror::Error)]
#[error("interrupted; nothing was left behind")]
pub(crate) struct Interrupted;

/// The hint of the first cause that has one.
pub(crate) fn hint(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        if let Some(refusal) = cause.downcast_ref::<Refusal>() {
            return Some(refusal.hint.clone());
        }
        if let Some(error) = cause.downcast_ref::<ArchiveError>() {
            return error.hint();
        }
        if let Some(error) = cause.downcast_ref::<SourcesError>() {
            return error.hint();
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
        full.then(|| String::from("free space there, or give another folder"))
    })
}

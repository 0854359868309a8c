//! Trusted certificate authorities, and what a rejected certificate means.

use std::error::Error;
use std::fs;
use std::io;
use std::path::Path;

use reqwest::Certificate;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CertificateError, InvalidMessage, OtherError, RootCertStore};

use super::HttpSettings;
use super::error::{Cause, CertificateProblem, HttpError};

/// The public authorities, built in, and the operator's: a ramdisk has no bundle of its own. The operator's alone where
/// the settings say so.
pub(super) fn roots(settings: &HttpSettings) -> Result<Vec<Certificate>, HttpError> {
    let public = if settings.only_given_authorities {
        &[]
    } else {
        webpki_root_certs::TLS_SERVER_ROOT_CERTS
    };
    let mut roots = Vec::with_capacity(public.len());
    for root in public {
        roots.push(
            Certificate::from_der(root).map_err(|error| HttpError::Setup {
                source: Cause::of(&error),
            })?,
        );
    }
    for file in &settings.authorities {
        roots.extend(read(file).map_err(|source| HttpError::Authority {
            path: file.clone(),
            source,
        })?);
    }
    Ok(roots)
}

fn read(file: &Path) -> Result<Vec<Certificate>, Cause> {
    let pem = fs::read(file).map_err(|error| Cause::of(&error))?;
    let mut found = Vec::new();
    // parsed here, since reqwest parses them when it is built and its error does not name the file
    let mut store = RootCertStore::empty();
    for der in CertificateDer::pem_slice_iter(&pem) {
        let der = der.map_err(|error| Cause::of(&error))?;
        found.push(Certificate::from_der(&der).map_err(|error| Cause::of(&error))?);
        store.add(der).map_err(|error| Cause::of(&error))?;
    }
    if found.is_empty() {
        return Err(Cause("it holds no certificate".to_owned()));
    }
    Ok(found)
}

impl Cause {
    /// The innermost error.
    pub(super) fn of(error: &(dyn Error + 'static)) -> Self {
        let mut innermost = error;
        while let Some(source) = inner(innermost) {
            innermost = source;
        }
        Self(words(innermost))
    }
}

/// The text of an error; constants of libraries in words.
fn words(error: &(dyn Error + 'static)) -> String {
    match error.downcast_ref() {
        Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            "what answers there does not speak TLS".to_owned()
        }
        _ => error.to_string(),
    }
}

/// The source of an error. An [`io::Error`] that wraps another shows the wrapped one's text as its own.
fn inner<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    if let Some(wrapped) = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
    {
        return Some(wrapped);
    }
    error.source()
}

/// Why the server's certificate was rejected, if that caused `error`.
pub(super) fn certificate_problem(error: &(dyn Error + 'static)) -> Option<CertificateProblem> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(rustls::Error::InvalidCertificate(why)) = error.downcast_ref() {
            return Some(reason(why));
        }
        next = inner(error);
    }
    None
}

fn reason(why: &CertificateError) -> CertificateProblem {
    match why {
        CertificateError::UnknownIssuer => CertificateProblem::UnknownIssuer,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            CertificateProblem::WrongName
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            CertificateProblem::Expired
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            CertificateProblem::NotYetValid
        }
        other => CertificateProblem::Other(reason_in_words(other)),
    }
}

fn reason_in_words(why: &CertificateError) -> String {
    let text = match why {
        CertificateError::BadEncoding => "it is not a readable certificate",
        CertificateError::Revoked => "its authority has revoked it",
        CertificateError::UnhandledCriticalExtension => {
            "it asks for a check that is not known here"
        }
        CertificateError::BadSignature => "its signature is wrong",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "it is not for a server"
        }
        CertificateError::Other(OtherError(other)) => return in_words(&format!("{other:?}")),
        other => return in_words(&format!("{other:?}")),
    };
    text.to_owned()
}

/// The name of a constant as words, such as `PathLenConstraintViolated`.
fn in_words(name: &str) -> String {
    match name {
        "CaUsedAsEndEntity" => {
            return "it is that of an authority itself, and a server needs one of its own"
                .to_owned();
        }
        "UnsupportedCertVersion" => return "it is not of version 3 of X.509".to_owned(),
        _ => {}
    }
    // the name of a variant with fields
    let end = name.find(|c: char| !c.is_ascii_alphanumeric());
    let mut words = String::new();
    for c in name[..end.unwrap_or(name.len())].chars() {
        if c.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(c.to_ascii_lowercase());
    }
    format!("it is not valid: {words}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_authorities_are_trusted_unless_only_the_given_ones_are() {
        let mut settings = HttpSettings::default();
        assert!(roots(&settings).unwrap().len() > 50);
        settings.only_given_authorities = true;
        assert_eq!(roots(&settings).unwrap().len(), 0);
        let own = rcgen::generate_simple_self_signed(["own".to_owned()]).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), own.cert.pem()).unwrap();
        settings.authorities.push(file.path().to_owned());
        assert_eq!(roots(&settings).unwrap().len(), 1);
    }

    #[test]
    fn constants_of_libraries_become_words() {
        for (name, words) in [
            (
                "CaUsedAsEndEntity",
                "it is that of an authority itself, and a server needs one of its own",
            ),
            (
                "PathLenConstraintViolated",
                "it is not valid: path len constraint violated",
            ),
            (
                "UnsupportedSignatureAlgorithmContext { a: 1 }",
                "it is not valid: unsupported signature algorithm context",
            ),
        ] {
            assert_eq!(in_words(name), words);
        }
    }
}

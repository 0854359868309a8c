//! TLS: which certificates are accepted, and what the errors say.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use host::cancel::Cancel;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::{client, impatient, settings};
use crate::http::{CertificateProblem, Client, HttpError, HttpSettings};
use crate::model::error::{Error, Kind, render};
use crate::source::document;
use crate::testing::fault_server::{Fault, FaultServer, Reply};

/// Years that are valid whatever the clock says.
const NOW: (i32, i32) = (2000, 2090);

/// A private authority, in a file as an operator would configure it.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: tempfile::NamedTempFile,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        // a second certificate in the same file, since operators configure bundles
        let other = rcgen::generate_simple_self_signed(["other".to_owned()]).unwrap();
        write!(file, "{}\n{}", other.cert.pem(), issuer.pem()).unwrap();
        Self { issuer, file }
    }

    fn trusted(&self, settings: &HttpSettings) -> HttpSettings {
        HttpSettings {
            authorities: vec![self.file.path().to_owned()],
            ..settings.clone()
        }
    }

    /// A server whose certificate is for `name` and valid in these years.
    fn server(
        &self,
        name: &str,
        years: (i32, i32),
        script: impl FnMut(&crate::testing::fault_server::ReceivedRequest) -> Reply + Send + 'static,
    ) -> FaultServer {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let config = Arc::new(config);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        FaultServer::start_with(address, script, move |stream| {
            let session =
                ServerConnection::new(Arc::clone(&config)).map_err(std::io::Error::other)?;
            Ok(Box::new(StreamOwned::new(session, stream)))
        })
        .unwrap()
    }
}

fn https(server: &FaultServer) -> String {
    server.url("/x").replace("http://", "https://")
}

#[test]
fn a_private_authority_is_trusted_when_it_is_configured() {
    let authority = Authority::new();
    let server = authority.server("127.0.0.1", NOW, |_| Reply::whole(b"private"));
    let trusting = client(&authority.trusted(&settings()));
    assert_eq!(
        document(&trusting, &https(&server), 100).unwrap(),
        b"private"
    );
    let error = document(&client(&settings()), &https(&server), 100).unwrap_err();
    assert!(
        matches!(
            &error,
            HttpError::Certificate {
                why: CertificateProblem::UnknownIssuer,
                ..
            }
        ),
        "{error:?}"
    );
    let text = render(&Error::from(error)).replace(&server.address().to_string(), "HOST");
    insta::assert_snapshot!(text, @r"
    error: the certificate of https://HOST/x is not accepted: it is signed by an authority that is not trusted
      hint: add the authority's certificate to the ramdisk and name it in the settings
    ");
}

#[test]
fn a_certificate_for_another_name_or_time_is_refused_at_once() {
    let authority = Authority::new();
    for (name, years, expected) in [
        ("other.example", NOW, CertificateProblem::WrongName),
        ("127.0.0.1", (1990, 2020), CertificateProblem::Expired),
        ("127.0.0.1", (2090, 2130), CertificateProblem::NotYetValid),
    ] {
        let server = authority.server(name, years, |_| Reply::whole(b"x"));
        let trusting = client(&authority.trusted(&settings()));
        let error = document(&trusting, &https(&server), 100).unwrap_err();
        let HttpError::Certificate { why, .. } = &error else {
            panic!("{name}: {error:?}");
        };
        assert_eq!(*why, expected);
        let text = render(&Error::from(error));
        let by_clock = expected != CertificateProblem::WrongName;
        assert_eq!(
            text.contains("; the clock of this node says 20"),
            by_clock,
            "{text}"
        );
        assert_eq!(
            text.contains("`provision.time=` or `provision.ntp=`"),
            by_clock
        );
        assert!(server.requests().is_empty());
    }
}

#[test]
fn a_connection_with_tls_that_is_cut_is_noticed() {
    let authority = Authority::new();
    let server = authority.server("127.0.0.1", NOW, |_| {
        let reply = Reply {
            without_length: true,
            ..Reply::whole(b"0123456789")
        };
        reply.fault(Fault::DropAt(5))
    });
    // without a length only the end of the TLS session marks the end of the body; it is missing here
    let trusting = client(&authority.trusted(&impatient()));
    let error = document(&trusting, &https(&server), 100).unwrap_err();
    assert!(matches!(error, HttpError::Exhausted { .. }), "{error:?}");
}

#[test]
fn a_redirect_does_not_drop_tls() {
    let authority = Authority::new();
    let plain = FaultServer::start(|_| Reply::whole(b"plain")).unwrap();
    let target = plain.url("/x");
    let server = authority.server("127.0.0.1", NOW, move |_| {
        Reply::status(301).header("Location", &target)
    });
    let trusting = client(&authority.trusted(&settings()));
    let error = document(&trusting, &https(&server), 100).unwrap_err();
    assert!(error.to_string().contains("is without TLS"), "{error}");
    assert!(plain.requests().is_empty());
}

#[test]
fn a_server_without_tls_at_an_https_url_is_an_error() {
    let plain = FaultServer::start(|_| Reply::whole(b"plain")).unwrap();
    let error = document(&client(&impatient()), &https(&plain), 100).unwrap_err();
    assert!(matches!(error, HttpError::Exhausted { .. }), "{error:?}");
}

#[test]
fn authorities_that_cannot_be_read_are_an_error_before_anything_is_fetched() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    let with = |file: &std::path::Path| {
        let settings = HttpSettings {
            authorities: vec![file.to_owned()],
            ..settings()
        };
        Client::new(&settings, Cancel::new()).unwrap_err()
    };
    for text in [
        None,
        Some(""),
        Some("garbage"),
        Some("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"),
    ] {
        if let Some(text) = text {
            std::fs::write(&file, text).unwrap();
        }
        let error = with(&file);
        assert_eq!(error.kind(), Kind::Usage, "{text:?}: {error}");
    }
}

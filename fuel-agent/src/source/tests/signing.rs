//! Which images a node with trusted keys takes: container, keys, requirement and signature, each with each.

use std::collections::BTreeMap;

use minisign::KeyPair;
use os_image::metadata::{Image, Metadata};
use os_image::signature::TrustedKey;
use sha2::{Digest, Sha256};

use crate::http::tests::{client, settings};
use crate::model::digest::DocumentedDigests;
use crate::model::error::Kind;
use crate::model::index::FilesystemIndex;
use crate::model::request::{Container, ImageSpec};
use crate::model::sources::SourceFacts;
use crate::model::storage::Mount;
use crate::model::trust::{ImagePolicy, Trust};
use crate::source::policy::PackedPolicy;
use crate::source::{ProbeOptions, probe_images};
use crate::testing::fault_server::{FaultServer, Reply};

/// First bytes of a file in each container, enough to tell it.
const CONTAINERS: [(Container, &str, &[u8]); 6] = [
    (Container::Raw, "x.img", b"bytes of no known kind"),
    (Container::Gzip, "x.img.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\x03"),
    (Container::Zstd, "x.img.zst", b"\x28\xb5\x2f\xfd\x04\0"),
    (Container::Xz, "x.img.xz", b"\xfd7zXZ\0\0\x04"),
    (Container::Bzip2, "x.img.bz2", b"BZh91AY&SY"),
    (Container::Qcow2, "x.qcow2", b"QFI\xfb\0\0\0\x03"),
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Signature {
    /// By the key that is trusted where one is.
    Ours,
    /// By another key.
    Others,
    /// By ours, of another document.
    OfAnother,
    Absent,
}

fn sign(key: &KeyPair, bytes: &[u8]) -> Vec<u8> {
    let signature = minisign::sign(Some(&key.pk), &key.sk, bytes, None, None).unwrap();
    signature.into_string().into_bytes()
}

fn metadata(file: &str) -> Vec<u8> {
    let digest = Sha256::digest(b"the unpacked image");
    let metadata = Metadata {
        images: vec![Image {
            container_name: file.to_owned(),
            raw_sha256: Some(os_image::hex::text(&digest)),
            ..Image::default()
        }],
        ..Metadata::default()
    };
    metadata.render().unwrap().into_bytes()
}

fn serving(files: BTreeMap<String, Vec<u8>>) -> FaultServer {
    FaultServer::start(move |request| match files.get(&request.target) {
        Some(bytes) => Reply::file(request, bytes, "\"tag\""),
        None => Reply::status(404),
    })
    .unwrap()
}

fn facts(url: &str, container: Container, policy: &PackedPolicy) -> SourceFacts {
    let image = ImageSpec {
        mount: Mount::Path("/".to_owned()),
        filesystem: FilesystemIndex(0),
        url: url.into(),
        format: "".into(),
        container,
        digests: DocumentedDigests::default(),
    };
    let options = ProbeOptions {
        signers: policy.signers(),
        mirrors: &[],
    };
    let mut sources = probe_images(&client(&settings()), &[image], options).unwrap();
    sources.images.remove(url).unwrap()
}

/// Why a node with this policy does not take the image at `url`; what it trusts it by, where it does.
fn taken(url: &str, container: Container, policy: &PackedPolicy) -> Result<Trust, String> {
    let facts = facts(url, container, policy);
    // not `problem`: the files are their first bytes only, and may be faulted for that
    if let Some(why) = &facts.no_digest {
        return Err(why.clone());
    }
    let rejections = policy.images.rejections(&url.into(), &facts);
    match rejections.into_iter().next() {
        None => Ok(facts.trust()),
        Some(rejection) => {
            assert_eq!(rejection.kind, Kind::Image);
            Err(rejection.why)
        }
    }
}

#[test]
fn no_container_gets_past_a_trusted_key() {
    let (ours, others) = (
        KeyPair::generate_unencrypted_keypair().unwrap(),
        KeyPair::generate_unencrypted_keypair().unwrap(),
    );
    let trusted = TrustedKey::parse(&ours.pk.to_base64()).unwrap();
    for (container, file, bytes) in CONTAINERS {
        let text = metadata(file);
        for signature in [
            Signature::Ours,
            Signature::Others,
            Signature::OfAnother,
            Signature::Absent,
        ] {
            let mut files = BTreeMap::from([
                (format!("/{file}"), bytes.to_vec()),
                ("/x.yaml".to_owned(), text.clone()),
            ]);
            let signed = match signature {
                Signature::Ours => Some(sign(&ours, &text)),
                Signature::Others => Some(sign(&others, &text)),
                Signature::OfAnother => Some(sign(&ours, &metadata("y.img"))),
                Signature::Absent => None,
            };
            files.extend(signed.map(|signed| ("/x.yaml.minisig".to_owned(), signed)));
            let server = serving(files);
            let url = server.url(&format!("/{file}"));
            for (keys, required) in [(false, false), (false, true), (true, false), (true, true)] {
                let policy = PackedPolicy {
                    keys: keys.then(|| trusted.clone()).into_iter().collect(),
                    images: ImagePolicy {
                        require_signature: required,
                        ..ImagePolicy::default()
                    },
                    ..PackedPolicy::default()
                };
                let expected = match (keys, required, signature) {
                    (true, _, Signature::Ours) => Ok(Trust::Signature),
                    (true, _, Signature::Others) => Err("which is not trusted"),
                    (true, _, Signature::OfAnother) => Err("does not match the file"),
                    (true, false, Signature::Absent) | (false, false, _) => Ok(Trust::SameServer),
                    (_, true, _) => Err("no trusted key has signed metadata with its digest"),
                };
                let found = taken(&url, container, &policy);
                let case =
                    format!("{file} {signature:?} keys {keys} required {required}: {found:?}");
                match (expected, found) {
                    (Ok(expected), Ok(found)) => assert_eq!(found, expected, "{case}"),
                    (Err(why), Err(found)) => assert!(found.contains(why), "{case}"),
                    _ => panic!("{case}"),
                }
            }
        }
    }
}

#[test]
fn signed_metadata_vouches_for_the_files_that_it_names_only() {
    let ours = KeyPair::generate_unencrypted_keypair().unwrap();
    let text = metadata("y.img");
    let server = serving(BTreeMap::from([
        ("/x.img".to_owned(), b"bytes of no known kind".to_vec()),
        ("/x.yaml".to_owned(), text.clone()),
        ("/x.yaml.minisig".to_owned(), sign(&ours, &text)),
    ]));
    let policy = PackedPolicy {
        keys: vec![TrustedKey::parse(&ours.pk.to_base64()).unwrap()],
        images: ImagePolicy {
            require_signature: true,
            ..ImagePolicy::default()
        },
        ..PackedPolicy::default()
    };
    let url = server.url("/x.img");
    assert!(taken(&url, Container::Raw, &policy).is_err());
    assert_eq!(facts(&url, Container::Raw, &policy).trust(), Trust::None);
}

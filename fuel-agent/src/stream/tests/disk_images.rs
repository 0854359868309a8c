//! qcow2 images made by QEMU, read where their tables point.

use host::cancel::Cancel;
use host::exec::{Cmd, Exec, Program, System};
use host::units::Bytes;

use super::{
    MIB, Plan, content, digest_only, dirty, expected, image, on_file, scripted, sha256, size,
    write_file, write_to, wrote,
};
use crate::model::error::{Error, Kind};
use crate::model::request::Container;
use crate::stream::{Expected, StreamError};
use crate::testing::fault_server::{self, FaultServer, Reply};

/// `raw` converted by `qemu-img` with these options.
fn qcow2(raw: &[u8], options: &[&str]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("raw"), folder.path().join("qcow2"));
    std::fs::write(&from, raw).unwrap();
    let convert = Cmd::new(Program::new("qemu-img", "qemu-utils"))
        .args(["convert", "-f", "raw", "-O", "qcow2"])
        .args(options)
        .args([&from, &to]);
    System::new(Cancel::new()).run(&convert).unwrap();
    std::fs::read(to).unwrap()
}

#[test]
fn every_kind_of_qcow2_arrives_from_a_file_and_from_a_server() {
    let raw = image(5 * MIB + 512);
    for options in [
        &[][..],
        &["-c"],
        &["-c", "-o", "compression_type=zstd"],
        &["-o", "cluster_size=512"],
        &["-c", "-o", "cluster_size=2M"],
        &["-o", "extended_l2=on,preallocation=metadata"],
    ] {
        let bytes = qcow2(&raw, options);
        let server = scripted(&bytes, "\"a\"", vec![]);
        let file = on_file(&bytes);
        for url in [file.1.clone(), server.url("/x")] {
            let devices = dirty(6 * MIB);
            let plan = Plan {
                url: &url,
                container: Container::Qcow2,
                expected: expected(&raw),
            };
            let outcome = write_to(&devices, plan).unwrap();
            assert!(content(&devices, 0, raw.len()) == raw, "{options:?}");
            let rest = content(&devices, raw.len(), 6 * MIB - raw.len());
            assert!(rest.iter().all(|byte| *byte == 0xaa), "{options:?}");
            assert!(outcome.verified && outcome.raw_sha256 == sha256(&raw));
            assert_eq!(outcome.raw_bytes, size(raw.len()));
        }
    }
}

#[test]
fn the_rest_is_requested_after_an_interruption() {
    let raw = image(5 * MIB);
    let bytes = qcow2(&raw, &[]);
    let copy = bytes.clone();
    let server = FaultServer::start(move |request| {
        let reply = Reply::file(request, &copy, "\"a\"");
        match request.number {
            0..3 => reply.fault(fault_server::Fault::DropAt(MIB)),
            _ => reply,
        }
    })
    .unwrap();
    let devices = dirty(6 * MIB);
    let plan = Plan {
        url: &server.url("/x"),
        container: Container::Qcow2,
        expected: expected(&raw),
    };
    assert_eq!(write_to(&devices, plan).unwrap().retries, 3);
    assert!(content(&devices, 0, raw.len()) == raw);
}

#[test]
fn a_qcow2_that_is_cut_or_damaged_anywhere_is_an_error_or_another_image() {
    let raw = image(2 * MIB);
    for options in [&[][..], &["-c"]] {
        let bytes = qcow2(&raw, options);
        for part in 0..24 {
            let cut = &bytes[..bytes.len() * part / 24];
            let error =
                write_file(&dirty(3 * MIB), Container::Qcow2, cut, digest_only(&raw)).unwrap_err();
            assert_eq!(error.kind(), Kind::Image, "{part}/24: {error}");
            let mut flipped = bytes.clone();
            flipped[bytes.len() * part / 24] ^= 0x41;
            let devices = dirty(3 * MIB);
            match write_file(&devices, Container::Qcow2, &flipped, digest_only(&raw)) {
                // the changed byte is not part of the disk: a reference count, a name
                Ok(_) => assert!(content(&devices, 0, raw.len()) == raw),
                Err(error) => assert_eq!(error.kind(), Kind::Image, "{part}/24: {error}"),
            }
        }
    }
}

/// A header of version 3 for a disk of 1 MiB, with `change` done to it.
fn header(change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut bytes = qcow2(&vec![7; MIB], &[]);
    change(&mut bytes);
    bytes
}

#[test]
fn what_a_qcow2_asks_for_is_refused_before_anything_is_written() {
    for (bytes, reason, hint) in [
        (
            header(|bytes| bytes[8..20].copy_from_slice(&[0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 4])),
            "is only the difference to a backing file",
            "qemu-img convert",
        ),
        (
            header(|bytes| bytes[79] |= 4),
            "keeps its data in another file",
            "qemu-img convert",
        ),
        (
            header(|bytes| bytes[24..32].copy_from_slice(&(1_u64 << 60).to_be_bytes())),
            "bytes, but at most",
            "shrink the disk",
        ),
        (
            header(|bytes| bytes[36..40].fill(0)),
            "its first table is too short for its disk",
            "again",
        ),
    ] {
        let devices = dirty(2 * MIB);
        let error = write_file(&devices, Container::Qcow2, &bytes, digest_only(b"x")).unwrap_err();
        assert!(matches!(error, StreamError::Mismatch { .. }), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
        let error = Error::from(error);
        assert!(
            error.hint.is_some_and(|text| text.contains(hint)),
            "{reason}"
        );
        assert!(!wrote(&devices), "{reason}");
    }
    // a disk that is larger than its target stops at the target's end
    let bomb = qcow2(&vec![0; 64 * MIB], &[]);
    let devices = dirty(2 * MIB);
    let error = write_file(&devices, Container::Qcow2, &bomb, digest_only(b"")).unwrap_err();
    assert!(
        matches!(error, StreamError::TooLarge { needed: None, .. }),
        "{error}"
    );
    let known = Expected {
        raw_size: Some(Bytes(1 << 20)),
        ..digest_only(b"")
    };
    let error = write_file(&devices, Container::Qcow2, &bomb, known).unwrap_err();
    assert!(
        matches!(error, StreamError::Length { more: true, .. }),
        "{error}"
    );
}

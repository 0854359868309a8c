//! Failing disks, bounded memory, cancellation.

use std::path::Path;

use host::blockdev::{Access, Devices};
use host::cancel::Cancel;
use host::fake::{FakeDevices, Fault, What};
use host::units::Bytes;
use proptest::prelude::*;

use super::{
    DISK, FORMS, MIB, PACKED, Plan, RecordedEvents, client, content, digest_only, dirty, expected,
    frames, gzip, image, job, on_file, size, write_file, write_to, wrote,
};
use crate::http::{Client, HttpSettings};
use crate::model::error::{Error, Kind};
use crate::model::request::Container;
use crate::pool::Pool;
use crate::stream::{BLOCK_LENGTH, Expected, Job, StreamError, write_image, write_within};
use crate::testing::fault_server::{self, FaultServer, Reply};

#[test]
fn a_fault_at_every_write_and_every_flush_is_an_error_of_the_disk() {
    let raw = image(3 * MIB + 100);
    let bytes = gzip(&raw);
    let good = dirty(4 * MIB);
    write_file(&good, Container::Gzip, &bytes, expected(&raw)).unwrap();
    let count = |flush: bool| {
        let is = |what: &What| match what {
            What::Write(_) | What::Zero(_) => !flush,
            What::Flush => flush,
            _ => false,
        };
        good.log().iter().filter(|done| is(&done.what)).count()
    };
    assert!(count(false) > 10 && count(true) == 3);
    let faults = (0..count(false))
        .flat_map(|n| [Fault::Write(n), Fault::HalfWrite(n)])
        .chain((0..count(true)).map(Fault::Flush));
    for fault in faults {
        let devices = dirty(4 * MIB).failing(fault);
        let error = write_file(&devices, Container::Gzip, &bytes, expected(&raw)).unwrap_err();
        let StreamError::Disk { device, offset, .. } = &error else {
            panic!("{fault:?}: {error}")
        };
        assert!(device == DISK && *offset <= size(raw.len()).0, "{fault:?}");
        let head = content(&devices, 0, 512);
        assert!(head != raw[..512], "{fault:?}: nothing starts from it");
        let error = Error::from(error);
        assert_eq!(
            (error.kind, error.device.as_deref()),
            (Kind::Disk, Some(DISK))
        );
    }
}

#[test]
fn a_cancellation_is_noticed() {
    let bytes = image(3 * MIB);
    let server = FaultServer::start(move |_| {
        Reply::whole(&bytes).fault(fault_server::Fault::StallAt(2 * MIB + 10))
    })
    .unwrap();
    let cancel = Cancel::new();
    let settings = HttpSettings {
        environment_proxy: false,
        ..HttpSettings::default()
    };
    let client = Client::new(&settings, cancel.clone()).unwrap();
    let devices = dirty(4 * MIB);
    let mut target = devices.open(Path::new(DISK), Access::Write).unwrap();
    let url = server.url("/x");
    let stopper = std::thread::spawn(move || {
        // the first write shows that the transfer is running
        while !wrote(&devices) {
            std::thread::yield_now();
        }
        cancel.cancel();
    });
    let plan = Plan {
        url: &url,
        container: Container::Raw,
        expected: Expected::default(),
    };
    let error = write_image(Job {
        allow_unverified: true,
        ..job(plan, &mut *target, &client, &RecordedEvents::default())
    })
    .unwrap_err();
    stopper.join().unwrap();
    assert_eq!(Error::from(error).kind, Kind::Interrupted);
}

#[test]
fn a_cancellation_is_noticed_in_every_container() {
    let raw = image(3 * MIB);
    for (name, container, pack) in FORMS {
        let bytes = pack(&raw);
        let cancel = Cancel::new();
        let stop = cancel.clone();
        // the server answers with more than half of the image and then stalls
        let server = FaultServer::start(move |_| {
            stop.cancel();
            Reply::whole(&bytes).fault(fault_server::Fault::StallAt(bytes.len() * 2 / 3))
        })
        .unwrap();
        let settings = HttpSettings {
            environment_proxy: false,
            ..HttpSettings::default()
        };
        let client = Client::new(&settings, cancel).unwrap();
        let devices = dirty(4 * MIB);
        let mut target = devices.open(Path::new(DISK), Access::Write).unwrap();
        let plan = Plan {
            url: &server.url("/x"),
            container,
            expected: expected(&raw),
        };
        let error =
            write_image(job(plan, &mut *target, &client, &RecordedEvents::default())).unwrap_err();
        assert_eq!(Error::from(error).kind, Kind::Interrupted, "{name}");
    }
}

#[test]
fn memory_is_two_pools_whatever_the_data_claims() {
    let (zeros, raw) = (vec![0; 64 * MIB], image(20 * MIB));
    let mut images = vec![
        (Container::Raw, raw.clone(), expected(&raw)),
        (
            Container::Zstd,
            frames(&zeros, 4 * MIB),
            digest_only(&zeros),
        ),
    ];
    for (container, pack) in PACKED {
        images.push((container, pack(&zeros), digest_only(&zeros)));
    }
    for (container, bytes, known) in images {
        let file = on_file(&bytes);
        let (parts, blocks) = (Pool::new(2, 4096), Pool::new(3, BLOCK_LENGTH));
        let devices = FakeDevices::new().with(DISK, Bytes(64 << 20));
        let mut target = devices.open(Path::new(DISK), Access::Write).unwrap();
        let plan = Plan {
            url: &file.1,
            container,
            expected: known,
        };
        let (client, recorded) = (client(), RecordedEvents::default());
        let job = job(plan, &mut *target, &client, &recorded);
        write_within(job, &parts, &blocks).unwrap();
        assert!(parts.peak() <= 2 && blocks.peak() <= 3);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn whatever_happens_the_disk_holds_the_image_or_there_is_an_error(
        length in 1..3 * MIB,
        form in 0..FORMS.len(),
        drops in prop::collection::vec(0..MIB, 0..4),
        ranges in any::<bool>(),
        flip in prop::option::of((0..MIB, 0..8_u32)),
        fault in prop::option::of(0..40_usize),
    ) {
        let raw = image(length);
        let (_, container, pack) = FORMS[form];
        let mut bytes = pack(&raw);
        if let Some((at, bit)) = flip {
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
        }
        let server = FaultServer::start(move |request| {
            let reply = if ranges { Reply::file(request, &bytes, "\"a\"") } else { Reply::whole(&bytes) };
            match drops.get(request.number) {
                Some(at) => reply.fault(fault_server::Fault::DropAt(*at)),
                None => reply,
            }
        })
        .unwrap();
        let mut devices = dirty(4 * MIB);
        if let Some(n) = fault {
            devices = devices.failing(Fault::HalfWrite(n));
        }
        let plan = Plan { url: &server.url("/x"), container, expected: expected(&raw) };
        match write_to(&devices, plan) {
            Ok(_) => prop_assert!(content(&devices, 0, length) == raw),
            Err(error) => prop_assert!(flip.is_some() || fault.is_some(), "{}", error),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn bytes_that_were_never_packed_are_an_error_and_nothing_worse(
        form in 0..6_usize,
        noise in prop::collection::vec(any::<u8>(), 0..3000),
    ) {
        let (container, start): (_, &[u8]) = [
            (Container::Gzip, &b"\x1f\x8b\x08\x1e"[..]),
            (Container::Gzip, &b"\x1f\x8b\x08\0\0\0\0\0\0\x03"[..]),
            (Container::Zstd, &b"\x28\xb5\x2f\xfd"[..]),
            (Container::Zstd, &b"\x28\xb5\x2f\xfd\x04\x58"[..]),
            (Container::Xz, b"\xfd7zXZ\0\0\x01\x69\x22\xde\x36"),
            (Container::Bzip2, b"BZh91AY&SY"),
        ][form];
        let bytes = [start, &noise].concat();
        let error = write_file(&dirty(MIB), container, &bytes, digest_only(b"another")).unwrap_err();
        prop_assert_eq!(error.kind(), Kind::Image, "{}", error);
    }
}

#[test]
fn a_file_that_is_cut_or_deleted_while_it_is_written_is_an_error_of_the_disk() {
    let raw = image(6 * MIB);
    let acts: [fn(&Path); 2] = [
        |file| {
            let file = std::fs::File::options().write(true).open(file);
            file.unwrap().set_len(2 << 20).unwrap();
        },
        |file| std::fs::remove_file(file).unwrap(),
    ];
    for act in acts {
        let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let file = folder.path().join("disk");
        std::fs::write(&file, vec![0xaa; raw.len()]).unwrap();
        let mut devices = host::blockdev::FileDevices::new();
        devices.add("sda", &file, None).unwrap();
        let (bytes, victim) = (raw.clone(), file.clone());
        let server = FaultServer::start(move |request| {
            let reply = Reply::file(request, &bytes, "\"a\"");
            if request.number == 0 {
                return reply.fault(fault_server::Fault::DropAt(4 * MIB));
            }
            // by now part of it has been written, and the rest would extend the file to its old length
            act(&victim);
            reply
        })
        .unwrap();
        let plan = Plan {
            url: &server.url("/x"),
            container: Container::Raw,
            expected: expected(&raw),
        };
        let error = Error::from(write_to(&devices, plan).unwrap_err());
        assert_eq!(error.kind, Kind::Disk);
        let hint = error.hint.unwrap();
        assert!(hint.contains("do not change the file"), "{hint}");
    }
}

#[test]
fn a_full_filesystem_has_a_hint_where_to_make_room() {
    let full = |source| {
        let error = StreamError::Disk {
            doing: "write",
            device: DISK.to_owned(),
            offset: 0,
            source,
        };
        error.hint().unwrap()
    };
    let room = std::io::ErrorKind::StorageFull.into();
    assert!(full(room).contains("`df`"));
    let broken = std::io::Error::other("I/O error");
    assert!(full(broken).contains("`dmesg`"));
}

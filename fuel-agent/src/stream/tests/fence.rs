//! No byte outside the target ever changes, also with direct I/O.

use std::path::Path;

use host::blockdev::{Access, Devices, FileDevices};
use host::units::{Bytes, Extent};
use proptest::prelude::*;

use super::{DISK, FORMS, MIB, Plan, RecordedEvents, client, expected, image, job, on_file, size};
use crate::stream::{StreamError, write_image};

const FILE: usize = 6 * MIB;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn nothing_beside_the_target_changes(
        // some targets begin where direct I/O can write, some do not
        start in prop_oneof![(1..64_usize).prop_map(|n| n * 4096), (1..512_usize).prop_map(|n| n * 512)],
        sectors in 1..8192_usize,
        length in 1..5 * MIB,
        form in 0..FORMS.len(),
        is_wrong_size in any::<bool>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        std::fs::write(&path, vec![0xaa; FILE]).unwrap();
        let mut devices = FileDevices::new();
        devices.add(DISK, &path, None).unwrap();
        let room = sectors * 512;
        let extent = Extent::new(size(start), size(room)).unwrap();
        devices.add_partition(Path::new(DISK), 1, extent).unwrap();
        let raw = image(length);
        let (name, container, pack) = FORMS[form];
        let file = on_file(&pack(&raw));
        let mut known = expected(&raw);
        if is_wrong_size {
            // the stated size fits, the image does not
            known.raw_size = Some(Bytes(1).min(size(room)));
        } else {
            known.raw_size = None;
        }
        let plan = Plan { url: &file.1, container, expected: known };
        let mut target = devices.open(Path::new("/dev/sda1"), Access::Write).unwrap();
        let written = write_image(job(plan, &mut *target, &client(), &RecordedEvents::default()));
        drop(target);
        let disk = std::fs::read(&path).unwrap();
        let beside = disk[..start].iter().chain(&disk[start + room..]);
        prop_assert!(beside.copied().all(|byte| byte == 0xaa), "{}", name);
        match written {
            Ok(_) => {
                prop_assert!(length <= room);
                prop_assert!(disk[start..start + length] == raw, "{}", name);
                let end = length.max(MIB).min(room);
                prop_assert!(disk[start + end..start + room].iter().all(|byte| *byte == 0xaa));
            }
            Err(StreamError::TooLarge { .. }) => prop_assert!(length > room),
            Err(StreamError::Length { .. }) => prop_assert!(is_wrong_size),
            Err(other) => prop_assert!(false, "{}: {}", name, other),
        }
    }
}

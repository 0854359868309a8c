//! Files that stand for disks.

use super::*;

#[test]
fn a_file_is_made_sparse_and_opened_by_the_name_of_its_disk() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    let mut devices = FileDevices::new();
    devices.add("sda", &path, Some(Bytes(100 << 30))).unwrap();
    let meta = fs::metadata(&path).unwrap();
    assert_eq!((meta.len(), meta.blocks()), (100 << 30, 0));
    for name in ["/dev/sda", "/dev/sdb", "sda"] {
        let opened = devices.open(Path::new(name), Access::Write);
        assert_eq!(opened.is_ok(), name == "/dev/sda", "{name}");
    }
    assert!(devices.is_file(Path::new("/dev/sda")));
}

#[test]
fn what_cannot_stand_for_a_disk_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    let mut devices = FileDevices::new();
    let mut add = |name: &str, file: &Path, size: Option<u64>| {
        let added = devices.add(name, file, size.map(Bytes));
        added
            .map_err(|error| error.to_string())
            .err()
            .unwrap_or_default()
    };
    assert!(add("sda", &path, None).contains("No such file"));
    assert!(add("sda", &path, Some(1000)).contains("whole number of 512 B sectors"));
    assert!(add("sda", &path, Some(0)).contains("whole number of 512 B sectors"));
    assert!(add("sda", folder.path(), None).contains("directory"));
    assert!(add("sda", Path::new("/dev/null"), None).contains("not a regular file"));
    assert_eq!(add("sda", &path, Some(1 << 20)), "");
    assert!(add("sdb", &path, Some(512)).contains("1 MiB long and would be truncated to 512 B"));
    assert!(add("/dev/sda", &path, None).contains("two disks `/dev/sda`"));
    assert!(add("sdb", &path, None).contains("already stands for `/dev/sda`"));
    // by other paths to the same file
    let (hard, soft) = (folder.path().join("hard"), folder.path().join("soft"));
    fs::hard_link(&path, &hard).unwrap();
    std::os::unix::fs::symlink(&path, &soft).unwrap();
    for other in [
        hard,
        soft,
        folder
            .path()
            .join("./../")
            .join(folder.path().file_name().unwrap())
            .join("disk"),
    ] {
        let error = add("sdb", &other, None);
        assert!(
            error.contains("already stands for `/dev/sda`"),
            "{} {error}",
            other.display()
        );
    }
}

#[test]
fn a_file_that_is_still_to_be_made_stands_for_one_disk_only() {
    let folder = tempfile::tempdir().unwrap();
    let size = Some(Bytes::MIB);
    let mut devices = FileDevices::new();
    devices
        .look_at("sda", &folder.path().join("new"), size)
        .unwrap();
    let error = devices
        .look_at("sdb", &folder.path().join("./new"), size)
        .unwrap_err();
    assert!(
        error.to_string().contains("already stands for `/dev/sda`"),
        "{error}"
    );
    devices
        .look_at("sdb", &folder.path().join("newer"), size)
        .unwrap();
}

#[test]
fn partitions_of_a_file_are_windows_onto_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    let mut devices = FileDevices::new();
    devices
        .add("nvme0n1", &path, Some(Bytes(64 << 20)))
        .unwrap();
    let disk = Path::new("/dev/nvme0n1");
    devices.add_partition(disk, 3, extent(10, 5)).unwrap();
    devices.add_partition(disk, 1, extent(1, 9)).unwrap();
    assert_eq!(
        devices.partitions(disk).unwrap(),
        [(1, extent(1, 9)), (3, extent(10, 5))]
    );

    let node = devices.partition(disk, 3).unwrap();
    assert_eq!(node, Path::new("/dev/nvme0n1p3"));
    let mut partition = devices.open(&node, Access::Exclusive).unwrap();
    assert_eq!(partition.size(), Bytes(5 << 20));
    partition.write_at(b"here", Bytes(100)).unwrap();
    partition.write_at(b"x", Bytes(5 << 20)).unwrap_err();
    partition.flush().unwrap();
    let mut found = [0; 4];
    File::open(&path)
        .unwrap()
        .read_exact_at(&mut found, (10 << 20) + 100)
        .unwrap();
    assert_eq!(&found, b"here");

    for (number, wrong) in [
        (3, extent(20, 1)),
        (4, extent(12, 1)),
        (4, extent(64, 1)),
        (4, extent(20, 0)),
        (0, extent(20, 1)),
    ] {
        devices.add_partition(disk, number, wrong).unwrap_err();
    }
    devices.add_partition(disk, 3, extent(10, 5)).unwrap();
    devices.remove_partition(disk, 3).unwrap();
    devices.remove_partition(disk, 3).unwrap();
    let error = devices.partition(disk, 3).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    devices.open(&node, Access::Read).map(|_| ()).unwrap_err();
}

#[test]
fn a_file_opened_past_the_page_cache_begins_at_the_partition() {
    // The target folder, because /tmp may be a tmpfs, which has no O_DIRECT on older kernels.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join("disk");
    let mut devices = FileDevices::new();
    devices.add("sda", &path, Some(Bytes(64 << 20))).unwrap();
    let disk = Path::new("/dev/sda");
    devices.add_partition(disk, 1, extent(1, 9)).unwrap();
    let partition = devices.open(Path::new("/dev/sda1"), Access::Write).unwrap();
    match partition.direct().unwrap() {
        Some(direct) => {
            let buffer = [7; 2 * DirectWriter::ALIGNMENT];
            let aligned = &buffer[buffer.as_ptr().align_offset(DirectWriter::ALIGNMENT)..];
            let unit = &aligned[..DirectWriter::ALIGNMENT];
            direct.write_at(unit, Bytes::ZERO).unwrap();
            let mut written = [0; DirectWriter::ALIGNMENT];
            let file = File::open(&path).unwrap();
            file.read_exact_at(&mut written, 1 << 20).unwrap();
            assert_eq!(written, unit);
            // Bytes that lie anywhere are refused: it really is past the page cache.
            direct.write_at(b"x", Bytes::ZERO).unwrap_err();
            // The file goes on behind the partition.
            direct.write_at(unit, Bytes(9 << 20)).unwrap_err();
        }
        None => host::fake::skipped("no O_DIRECT here"),
    }
    let looked_at = devices.open(disk, Access::Read).unwrap();
    looked_at.direct().unwrap_err();
}

#[test]
fn a_file_has_the_partitions_of_its_table_and_looking_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    let mut devices = FileDevices::new();
    devices.look_at("sda", &path, Some(Bytes(1 << 20))).unwrap();
    assert_eq!(devices.disks()[0].size, Bytes(1 << 20));
    assert!(!path.exists());
    devices.look_at("sdb", &path, None).unwrap_err();

    let mut sector = [0_u8; 512];
    sector[450] = 0x83;
    sector[454] = 8;
    sector[458] = 16;
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    fs::write(&path, [&sector[..], &vec![0; 1 << 20]].concat()).unwrap();
    let expected = Extent {
        start: Bytes(8 * 512),
        length: Bytes(16 * 512),
    };
    let sda = Path::new("/dev/sda");
    for look in [true, false] {
        let mut devices = FileDevices::new();
        if look {
            devices.look_at("sda", &path, None).unwrap();
        } else {
            devices.add("sda", &path, None).unwrap();
        }
        assert_eq!(devices.partitions(sda).unwrap(), [(1, expected)]);
        assert_eq!(
            devices.open(sda, Access::Read).unwrap().size().0,
            (1 << 20) + 512
        );
    }
}

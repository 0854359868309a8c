//! The fake disks themselves: they have to be as strict as real ones.

use super::*;

fn bytes(n: u64) -> Bytes {
    Bytes(n)
}

#[test]
fn a_large_disk_keeps_what_is_written_and_zeros_the_rest() {
    let devices = FakeDevices::new().with("/dev/sda", Bytes(4 << 40));
    let sda = Path::new("/dev/sda");
    let mut disk = devices.open(sda, Access::Write).unwrap();
    disk.write_at(&[7; 9000], bytes(3 << 40)).unwrap();
    let middle = Extent::new(bytes(5000), bytes(3 << 40)).unwrap();
    disk.zero(middle).unwrap();
    let mut found = [1; 9001];
    disk.read_at(&mut found, bytes(3 << 40)).unwrap();
    assert!(found[..5000].iter().all(|byte| *byte == 0));
    assert!(found[5000..9000].iter().all(|byte| *byte == 7));
    assert_eq!(found[9000], 0);
    disk.write_at(&[1], bytes(4 << 40)).unwrap_err();
    assert_eq!(
        devices.transcript(),
        "open /dev/sda Write\nwrite /dev/sda 9000 B at 3 TiB\nzero /dev/sda 3 TiB at 5000 B\n"
    );
}

#[test]
fn faults_come_where_they_were_put() {
    let mut devices = FakeDevices::new()
        .with("/dev/sda", Bytes::MIB)
        .failing(Fault::HalfWrite(1))
        .failing(Fault::Write(2))
        .failing(Fault::Flush(0))
        .failing(Fault::Open(1))
        .failing(Fault::AddPartition(0))
        .failing(Fault::ReadAt(bytes(700)));
    let sda = Path::new("/dev/sda");
    let mut disk = devices.open(sda, Access::Write).unwrap();
    devices.open(sda, Access::Read).map(|_| ()).unwrap_err();
    disk.write_at(&[1; 4], bytes(0)).unwrap();
    disk.write_at(&[2; 4], bytes(0)).unwrap_err();
    disk.write_at(&[3; 4], bytes(0)).unwrap_err();
    disk.flush().unwrap_err();
    disk.flush().unwrap_err();
    disk.read_at(&mut [0; 100], bytes(650)).unwrap_err();
    disk.read_at(&mut [0; 100], bytes(701)).unwrap();
    let extent = Extent::new(bytes(0), bytes(4)).unwrap();
    assert_eq!(devices.content("/dev/sda", extent).unwrap(), [2, 2, 1, 1]);
    devices.add_partition(sda, 1, extent).unwrap_err();
    devices.add_partition(sda, 1, extent).unwrap();
}

#[test]
fn a_partition_is_a_window() {
    let mut devices = FakeDevices::new()
        .with("/dev/nvme0n1", Bytes::MIB)
        .as_file();
    let disk = Path::new("/dev/nvme0n1");
    let extent = Extent::new(bytes(4096), bytes(8192)).unwrap();
    devices.add_partition(disk, 2, extent).unwrap();
    let node = devices.partition(disk, 2).unwrap();
    assert_eq!(node, Path::new("/dev/nvme0n1p2"));
    let mut partition = devices.open(&node, Access::Exclusive).unwrap();
    partition.write_at(b"ab", bytes(8190)).unwrap();
    partition.write_at(b"abc", bytes(8190)).unwrap_err();
    let end = Extent::new(bytes(4096 + 8190), bytes(2)).unwrap();
    assert_eq!(devices.content("/dev/nvme0n1", end).unwrap(), b"ab");
    assert!(devices.is_file(disk) && !devices.is_file(&node));
}

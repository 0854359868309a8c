//! What is read from machines written down in testdata/machines, and from files that stand for disks.
//!
//! The expected result is beside each machine. `UPDATE_GOLDEN=1` writes it anew; then read the diff.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod support;

use std::fs;

use fuel_agent::inventory::{self, Reader};
use fuel_agent::model::error::{Kind, render};
use fuel_agent::model::inventory::{Disk, Inventory};
use fuel_agent::tools::Tool;
use host::cancel::Cancel;
use host::fake::FakeDevices;
use host::units::Bytes;
use support::machine::{Machine, folder, names};

fn probed(name: &str) -> Inventory {
    inventory::probe(&mut Machine::load(name).reader()).unwrap()
}

/// A sector with an MBR of one Linux partition: sectors 2048 to 4095.
fn mbr() -> Vec<u8> {
    let mut sector = vec![0; 512];
    sector[450] = 0x83;
    sector[454..458].copy_from_slice(&2048_u32.to_le_bytes());
    sector[458..462].copy_from_slice(&2048_u32.to_le_bytes());
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

const ONE_DISK: &str = "\
[]
sys/class/block/vda -> ../../devices/pci0000:00/virtio0/block/vda
[sys/devices/pci0000:00/virtio0/block/vda]
dev = 254:0
size = 16384
";

#[test]
fn every_machine_is_read_as_expected_and_its_json_reads_back() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut wrong = Vec::new();
    for name in names() {
        let found = probed(&name);
        let json = serde_json::to_string_pretty(&found).unwrap() + "\n";
        let file = folder().join(format!("{name}.inventory.json"));
        if update {
            fs::write(&file, &json).unwrap();
        }
        if fs::read_to_string(&file).unwrap_or_default() != json {
            wrong.push(name);
        }
        let back = inventory::from_json(&json).unwrap();
        assert_eq!(back, found);
        assert_eq!(back.digest(), found.digest());
    }
    let hint = "UPDATE_GOLDEN=1 shows the difference";
    assert!(wrong.is_empty(), "not as expected: {wrong:?}; {hint}");
}

#[test]
fn this_machine_can_be_read() {
    let inventory = inventory::probe(&mut Reader::real(&Cancel::new())).unwrap();
    assert!(inventory.memory_bytes.0 > 0);
}

#[test]
fn tools_are_asked_only_where_there_is_something_to_ask_about_and_only_read() {
    let machine = Machine::load("sata-md-lvm");
    inventory::probe(&mut machine.reader()).unwrap();
    insta::assert_snapshot!(machine.queries(), @r#"
    blkid -p -o export /dev/sda
    blkid -p -o export /dev/sda1
    blkid -p -o export /dev/sda2
    blkid -p -o export /dev/sdb
    blkid -p -o export /dev/sdb1
    blkid -p -o export /dev/sdb2
    blkid -p -o export /dev/sdc
    blkid -p -o export /dev/sr0
    blkid -p -o export /dev/sdc1
    mdadm --examine --export /dev/sda3
    mdadm --examine --export /dev/sdb3
    lvm pvs --readonly --reportformat json -o pv_name,vg_name,vg_uuid --config 'devices { filter=["a|.*|"] global_filter=["a|.*|"] use_devicesfile=0 scan_lvs=0 hints="none" }'
    "#);
    let machine = Machine::load("virtio-busy");
    inventory::probe(&mut machine.reader()).unwrap();
    insta::assert_snapshot!(machine.queries(), @r"
    blkid -p -o export /dev/mapper/secret
    blkid -p -o export /dev/mapper/vg0-thin_tmeta
    blkid -p -o export /dev/mapper/vg0-thin
    blkid -p -o export /dev/vda
    blkid -p -o export /dev/vdb
    blkid -p -o export /dev/vdc
    blkid -p -o export /dev/vdd
    blkid -p -o export /dev/vde
    blkid -p -o export /dev/vdf
    ");
}

#[test]
fn what_cannot_be_looked_into_is_an_error_with_a_hint() {
    for (tool, text) in [
        (
            Tool::Mdadm,
            "md arrays of this machine lie on\n  cause: `mdadm` is not installed\n  hint: install the package \
             `mdadm`\n",
        ),
        (
            Tool::Lvm,
            "volume groups of this machine lie on\n  cause: `lvm` is not installed\n  hint: install the package \
             `lvm2`\n",
        ),
    ] {
        let machine = Machine::load("sata-md-lvm").without(tool);
        let error = inventory::probe(&mut machine.reader()).unwrap_err();
        assert_eq!(error.kind, Kind::Tool);
        assert_eq!(
            render(&error),
            format!("error: cannot find out which disks the {text}")
        );
    }
    // Nothing of the kind there: nothing is missed.
    let machine = Machine::load("virtio-busy")
        .without(Tool::Mdadm)
        .without(Tool::Lvm);
    inventory::probe(&mut machine.reader()).unwrap();
}

#[test]
fn data_for_cloud_init_is_found_on_disks_partitions_and_media() {
    let drive = ONE_DISK
        .replace("virtio0/block/vda", "ata2/block/sr0")
        .replace("block/vda", "block/sr0")
        .replace("254:0", "11:0");
    let empty = drive
        .replace("sr0", "sr1")
        .replace("11:0", "11:1")
        .replace("16384", "0");
    let usb = ONE_DISK
        .replace("virtio0", "virtio1")
        .replace("vda", "vdb")
        .replace("254:0", "254:16");
    let text = format!(
        "{ONE_DISK}{drive}{empty}{usb}\
         \n$ 0 blkid -p -o export /dev/vda\n| LABEL=DATA\n| LABEL_FATBOOT=CIDATA\n| TYPE=vfat\n\
         \n$ 0 blkid -p -o export /dev/sr0\n| LABEL=config-2\n| TYPE=iso9660\n\
         \n$ 0 blkid -p -o export /dev/vdb\n| LABEL=cidata-2\n| TYPE=ext4\n"
    );
    let machine = Machine::parse(&text);
    let inventory = inventory::probe(&mut machine.reader()).unwrap();
    let seeds = serde_json::to_value(&inventory.seeds).unwrap();
    assert_eq!(
        seeds,
        serde_json::json!([
            {"path": "/dev/sr0", "label": "config-2", "disks": []},
            {"path": "/dev/vda", "label": "CIDATA", "disks": ["/dev/vda"]},
        ])
    );
    let disks: Vec<&str> = inventory
        .disks
        .iter()
        .map(|disk| disk.path.as_str())
        .collect();
    assert_eq!(disks, ["/dev/vda", "/dev/vdb"]);
    let json = serde_json::to_string(&inventory).unwrap();
    assert_eq!(inventory::from_json(&json).unwrap(), inventory);
}

/// Three disks: `vda` and `vdb` with signatures of that kind, `vdc` empty.
fn three_disks(kind: &str) -> String {
    let mut text = String::new();
    for (number, name) in ["vda", "vdb", "vdc"].into_iter().enumerate() {
        let disk = ONE_DISK
            .replace("vda", name)
            .replace("254:0", &format!("254:{number}"));
        text += &disk.replace("virtio0", &format!("virtio{number}"));
    }
    for name in ["vda", "vdb"] {
        let printed = format!("\n$ 0 blkid -p -o export /dev/{name}\n| TYPE={kind}\n");
        text += &printed;
    }
    text
}

/// What could not be examined, a line a disk.
fn unexamined(inventory: &Inventory) -> String {
    let lines = inventory.disks.iter().flat_map(|disk| {
        let questions = disk.unexamined.iter();
        questions.map(move |it| format!("{}: {}: {}", disk.path, it.by, it.why))
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_disk_on_which_mdadm_dies_costs_what_is_known_of_that_disk() {
    let text = three_disks("linux_raid_member")
        + "\n$ 134 mdadm --examine --export /dev/vda\n| malloc assertion failure\n\
           \n$ 0 mdadm --examine --export /dev/vdb\n| MD_NAME=node:0\n| MD_UUID=5f:1\n";
    let machine = Machine::parse(&text);
    let inventory = inventory::probe(&mut machine.reader()).unwrap();
    insta::assert_snapshot!(unexamined(&inventory), @"/dev/vda: mdadm: /dev/vda: `mdadm --examine --export /dev/vda` exited with status 134: malloc assertion failure");
    let stacks: Vec<(&str, &[String])> = inventory
        .stacks
        .iter()
        .map(|stack| (stack.name.as_str(), &stack.disks[..]))
        .collect();
    assert_eq!(stacks, [("/dev/md/0", &["/dev/vdb".to_owned()][..])]);
    assert_eq!(
        inventory::from_json(&serde_json::to_string(&inventory).unwrap()).unwrap(),
        inventory
    );
}

#[test]
fn members_of_one_array_are_put_together_by_its_identifier_alone() {
    let text = three_disks("isw_raid_member")
        + "\n$ 0 mdadm --examine --export /dev/vda\n| MD_NAME=x devices=/dev/vdc\n| MD_UUID=5f:1\n"
        + "\n$ 0 mdadm --examine --export /dev/vdb\n| MD_UUID=5f:1\n"
        + "\n$ 1 mdadm --examine --export /dev/vdc\n| mdadm: No md superblock detected on /dev/vdc.\n";
    let inventory = inventory::probe(&mut Machine::parse(&text).reader()).unwrap();
    assert_eq!(unexamined(&inventory), "");
    assert_eq!(inventory.stacks.len(), 1);
    assert_eq!(inventory.stacks[0].disks, ["/dev/vda", "/dev/vdb"]);
}

#[test]
fn a_disk_on_which_lvm_fails_or_says_nonsense_costs_what_is_known_of_that_disk() {
    let config = |name: &str| {
        format!(
            r#"$ 0 lvm pvs --readonly --reportformat json -o pv_name,vg_name,vg_uuid --config 'devices {{ filter=["a|^/dev/{name}$|", "r|.*|"]"#
        )
    };
    let report = r#"{"report":[{"pv":[{"pv_name":"/dev/vdb","vg_name":"os","vg_uuid":"ab-cd"}]}]}"#;
    for (status, answer) in [(5, "cannot read"), (0, "nonsense")] {
        let text = three_disks("LVM2_member")
            + &format!("\n{}\n| {report}\n", config("vdb"))
            + &format!("\n$ {status} lvm pvs\n| {answer}\n");
        let inventory = inventory::probe(&mut Machine::parse(&text).reader()).unwrap();
        let printed = unexamined(&inventory);
        assert!(
            printed.starts_with("/dev/vda: lvm: /dev/vda: ") && printed.lines().count() == 1,
            "{printed}"
        );
        assert_eq!(inventory.stacks[0].disks, ["/dev/vdb"]);
    }
}

#[test]
fn a_disk_that_does_not_answer_is_known_as_such() {
    let text = three_disks("ext4") + "\n$ 1 blkid -p -o export /dev/vdc\n| Input/output error\n";
    let devices = FakeDevices::new()
        .with("/dev/vda", Bytes(16384 * 512))
        .failing(host::fake::Fault::ReadAt(Bytes::ZERO));
    let inventory = inventory::probe(&mut Machine::parse(&text).reader_of(&devices)).unwrap();
    insta::assert_snapshot!(unexamined(&inventory), @r"
    /dev/vda: partition table: cannot read the partition table of /dev/vda: Input/output error (os error 5)
    /dev/vdc: blkid: cannot look for signatures on /dev/vdc: `blkid -p -o export /dev/vdc` exited with status 1: Input/output error
    ");
}

#[test]
fn a_machine_without_sysfs_is_an_error() {
    let error = inventory::probe(&mut Machine::parse("").reader()).unwrap_err();
    assert_eq!(
        (error.kind, error.hint.as_deref()),
        (Kind::Hardware, Some("mount sysfs on /sys"))
    );
}

#[test]
fn a_table_that_the_kernel_does_not_know_is_read_from_the_disk() {
    let text = format!(
        "{ONE_DISK}\n$ 0 blkid -p -o export -O 1048576 -S 1048576 /dev/vda\n| TYPE=ext4\n| UUID=1-2\n"
    );
    let devices = FakeDevices::new().with("/dev/vda", Bytes(16384 * 512));
    devices.put("/dev/vda", Bytes::ZERO, &mbr()).unwrap();
    let inventory = inventory::probe(&mut Machine::parse(&text).reader_of(&devices)).unwrap();
    let disk = &inventory.disks[0];
    assert_eq!(disk.table.as_deref(), Some("dos"));
    let partition = &disk.partitions[0];
    assert_eq!(
        (
            partition.path.as_str(),
            partition.start_bytes,
            partition.size_bytes
        ),
        ("/dev/vda1", Bytes::MIB, Bytes::MIB)
    );
    assert_eq!(
        (partition.signature.as_deref(), partition.uuid.as_deref()),
        (Some("ext4"), Some("1-2"))
    );
    assert_eq!(partition.partition_type, Some("0x83".into()));
    assert!(!devices.transcript().contains("Write") && !devices.transcript().contains("Exclusive"));
}

#[test]
fn files_stand_for_disks_and_hide_the_real_ones() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    fs::write(&old, [mbr(), vec![0; (8 << 20) - 512]].concat()).unwrap();
    let files = [
        ("sda".to_owned(), old.clone(), None),
        ("nvme0n1".to_owned(), new.clone(), Some(Bytes(20 << 30))),
    ];
    let inventory =
        inventory::probe(&mut Reader::on_files(&files, &Cancel::new()).unwrap()).unwrap();
    let short: Vec<String> = inventory
        .disks
        .iter()
        .map(|disk| {
            let parts: Vec<&str> = disk.partitions.iter().map(|p| p.path.as_str()).collect();
            format!(
                "{} {} {parts:?} {}",
                disk.path, disk.size_bytes, disk.transport
            )
        })
        .collect();
    assert_eq!(
        short,
        [
            r#"/dev/sda 8 MiB ["/dev/sda1"] file"#,
            "/dev/nvme0n1 20 GiB [] file"
        ]
    );
    assert!(!new.exists(), "looking made a file");
    let missing = [("sda".to_owned(), new, None)];
    Reader::on_files(&missing, &Cancel::new()).unwrap_err();
}

#[test]
fn the_digest_is_of_what_a_plan_was_made_for() {
    let inventory = probed("sata-md-lvm");
    let changed = |change: &dyn Fn(&mut Disk)| {
        let mut other = inventory.clone();
        change(&mut other.disks[1]);
        other.digest() != inventory.digest()
    };
    assert_eq!(inventory.digest().len(), 64);
    assert!(changed(&|disk| disk.path.push('x')));
    assert!(changed(&|disk| disk.serial.push('x')));
    assert!(changed(&|disk| disk.wwn.push('x')));
    assert!(changed(&|disk| disk.size_bytes = Bytes::GIB));
    assert!(changed(&|disk| disk.partitions.truncate(2)));
    assert!(changed(&|disk| disk.partitions[2].start_bytes = Bytes::MIB));
    assert!(changed(&|disk| disk.partitions[2].uuid = None));
    assert!(!changed(&|disk| disk.mounted = false));
    assert!(!changed(&|disk| disk.links.clear()));
}

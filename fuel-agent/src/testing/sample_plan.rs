//! A plan and what belongs to it, for the tests of those who write files and boot code.

use std::collections::BTreeMap;

use host::units::{Bytes, Extent};
use uuid::Uuid;

use crate::model::first_boot::FirstBootSwitches;
use crate::model::index::{DiskIndex, FilesystemIndex, ImageIndex, LogicalVolumeIndex};
use crate::model::node::{
    Account, AdminInterface, Firmware, Mcollective, NodeSpec, Puppet, Secret,
};
use crate::model::operating_system::OperatingSystem;
use crate::model::plan::{
    ImageTarget, Plan, PlannedDisk, PlannedFilesystem, PlannedImage, PlannedLogicalVolume,
    PlannedPartition,
};
use crate::model::request::{BootSpec, Container, Dialect};
use crate::model::storage::{BlockRef, LogicalVolumeSpec, Mount, Role, Table};

const fn mib(n: u64) -> Bytes {
    Bytes(n << 20)
}

fn partition(number: u32, start: u64, size: u64, role: Role) -> PlannedPartition {
    let extent = Extent {
        start: mib(start),
        length: mib(size),
    };
    PlannedPartition {
        number,
        device: format!("/dev/sda{number}"),
        extent,
        role,
        partition_type: None,
        name: String::new(),
        legacy_boot: false,
        guid: Uuid::from_u128((0xe5d0_1000 + u128::from(number)) << 96),
        keep_data: false,
    }
}

fn filesystem(on: BlockRef, device: &str, mount: Mount, kind: &str) -> PlannedFilesystem {
    PlannedFilesystem {
        on,
        device: device.to_owned(),
        size: mib(512),
        mount: Some(mount),
        kind: kind.into(),
        label: String::new(),
        options: String::new(),
        uuid: Uuid::from_u128(7),
        keep_data: false,
        image: None,
    }
}

fn disk() -> PlannedDisk {
    PlannedDisk {
        device: "/dev/sda".to_owned(),
        disk_id: "disk-1".to_owned(),
        model: "disk".to_owned(),
        size: mib(2048),
        sector_size: Bytes(512),
        table: Table::Gpt,
        guid: Uuid::from_u128(1),
        bootloader: true,
        others: Vec::new(),
        partitions: vec![
            partition(1, 1, 24, Role::BiosGrub),
            partition(2, 25, 200, Role::Esp),
            partition(3, 225, 200, Role::Boot),
            partition(4, 425, 1500, Role::Pv),
            partition(5, 1925, 20, Role::Configdrive),
        ],
    }
}

/// One disk as Fuel lays it out: BIOS boot, EFI, /boot, LVM with root and swap, configdrive.
pub(crate) fn plan() -> Plan {
    let volume = |name: &str| PlannedLogicalVolume {
        spec: LogicalVolumeSpec {
            volume_group: "os".to_owned(),
            name: name.to_owned(),
            size: mib(512),
            keep_data: false,
        },
        device: format!("/dev/mapper/os-{name}"),
    };
    let boot = BlockRef::Partition {
        disk: DiskIndex(0),
        number: 3,
    };
    let path = |path: &str| Mount::Path(path.to_owned());
    let mut root = filesystem(
        BlockRef::Logical(LogicalVolumeIndex(0)),
        "/dev/mapper/os-root",
        path("/"),
        "ext4",
    );
    root.image = Some(ImageIndex(0));
    let swap = filesystem(
        BlockRef::Logical(LogicalVolumeIndex(1)),
        "/dev/mapper/os-swap",
        Mount::Swap,
        "swap",
    );
    Plan {
        dialect: Dialect::Nailgun,
        request_digest: "00ff".to_owned(),
        generation: None,
        instance_id: Uuid::from_u128(0x8f0f_6a3a_7a5e_4c0e_9f55_4f4a_5e0b_6c1d),
        firmware: Firmware::Bios,
        disks: vec![disk()],
        raids: Vec::new(),
        physical_volumes: Vec::new(),
        volume_groups: Vec::new(),
        logical_volumes: vec![volume("root"), volume("swap")],
        filesystems: vec![
            filesystem(boot, "/dev/sda3", path("/boot"), "ext2"),
            root,
            swap,
        ],
        images: vec![image()],
        configdrive: Some(BlockRef::Partition {
            disk: DiskIndex(0),
            number: 5,
        }),
        phone_home: None,
        first_boot: FirstBootSwitches::default().of(Dialect::Nailgun, true),
        kexec: false,
        gpt_active: false,
        undefined: Vec::new(),
        boot: boot_spec(),
        node: Some(node()),
        keeps_partitions: false,
        warnings: Vec::new(),
        refusals: Vec::new(),
        steps: Vec::new(),
    }
}

fn image() -> PlannedImage {
    PlannedImage {
        url: "http://10.20.0.2/root.img.gz".into(),
        onto: ImageTarget::Filesystem(FilesystemIndex(1)),
        format: "ext4".into(),
        container: Container::Gzip,
        facts: crate::model::sources::SourceFacts::default(),
    }
}

fn boot_spec() -> BootSpec {
    BootSpec {
        kernel_params: " console=ttyS0,115200 console=tty0 net.ifnames=0 root=/dev/mapper/os-root"
            .to_owned(),
        grub_version: 2,
        system: OperatingSystem::new("ubuntu", "14", "04"),
        profile: "ubuntu_1404_x86_64".to_owned(),
    }
}

/// UUIDs of the plan's filesystems.
pub(crate) fn uuids() -> BTreeMap<FilesystemIndex, String> {
    let uuids = [0xb007, 0x4007, 0x54a9].map(|n| Uuid::from_u128(n << 96).to_string());
    (0..).map(FilesystemIndex).zip(uuids).collect()
}

/// A node as Fuel describes one.
pub(crate) fn node() -> NodeSpec {
    NodeSpec {
        hostname: "node-1.example.com".to_owned(),
        admin: AdminInterface {
            name: "eth0".to_owned(),
            mac: "08:00:27:79:da:80".to_owned(),
            address: [10, 20, 0, 3].into(),
            netmask: "255.255.255.0".to_owned(),
            prefix: 24,
            gateway: Some([10, 20, 0, 1].into()),
        },
        name_servers: vec!["10.20.0.2".to_owned()],
        search_domain: "example.com".to_owned(),
        interface_names: vec![
            ("08:00:27:79:da:80".to_owned(), "eth0".to_owned()),
            ("08:00:27:46:43:60".to_owned(), "eth1".to_owned()),
        ],
        master_ip: "10.20.0.2".to_owned(),
        timezone: "America/Los_Angeles".to_owned(),
        authorized_keys: vec!["ssh-rsa AAAAB3 root@fuel".to_owned()],
        accounts: vec![account()],
        puppet: Puppet {
            master: "fuel.example.com".to_owned(),
            enable: false,
        },
        mcollective: Mcollective {
            pskey: Secret::new("unset"),
            vhost: "mcollective".to_owned(),
            host: "10.20.0.2".to_owned(),
            user: "mcollective".to_owned(),
            password: Secret::new("mc-secret"),
            connector: "rabbitmq".to_owned(),
            enable: true,
            identity: "1".to_owned(),
        },
        repos: serde_json::Value::Null,
    }
}

fn account() -> Account {
    Account {
        name: "fueladmin".to_owned(),
        homedir: "/home/fueladmin".to_owned(),
        password: Some(Secret::new("in-the-clear")),
        hashed_password: None,
        sudo: vec!["ALL=(ALL) NOPASSWD: ALL".to_owned()],
        ssh_keys: vec!["ssh-rsa AAAAB3 admin@fuel".to_owned()],
        shell: "/bin/bash".to_owned(),
    }
}

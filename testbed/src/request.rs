//! The `provision.json` of a node, as Fuel's orchestrator writes it.

use std::path::Path;

use serde_json::{Value, json};

use crate::network;
use crate::orchestrator::NO_TIMER_CHECK;

/// What a request asks for.
#[derive(Clone, Debug)]
pub(crate) struct RequestSpec {
    /// The node's number on the network, from 1.
    pub(crate) number: u8,
    /// The hostname, with its domain.
    pub(crate) hostname: String,
    /// Serial numbers of the disks, in order.
    pub(crate) serials: Vec<String>,
    /// File name of the image on the file server.
    pub(crate) image: String,
    /// File name of a second image for [`DATA_MOUNT`], on a partition of the last disk.
    pub(crate) data: Option<String>,
    /// The public key that may log in.
    pub(crate) key: String,
    /// How the disks are laid out.
    pub(crate) layout: Layout,
}

/// Mount point of the second image.
pub(crate) const DATA_MOUNT: &str = "/srv";

/// How the disks of a node are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// /boot on a partition, root and swap in a volume group.
    Lvm,
    /// /boot and root on partitions.
    Plain,
    /// Root mirrored by md over all disks.
    Mirror,
    /// A volume group on a mirror, /boot on another mirror. In the dialect `nailgun_simple`: Fuel's own has no such
    /// layout.
    Stack,
}

/// The `provision.json`.
pub(crate) fn provision_json(spec: &RequestSpec) -> String {
    let mac = network::node_mac(spec.number);
    let master = network::SERVER.to_string();
    let mut request = json!({
        "profile": "debian_12_x86_64",
        "hostname": spec.hostname,
        "name_servers": format!("\"{master}\""),
        "name_servers_search": "\"lab.test\"",
        "interfaces": {"eth0": {"mac_address": mac, "ip_address": network::node_address(spec.number).to_string(),
                                "netmask": "255.255.255.0", "static": "0", "dns_name": spec.hostname}},
        "kernel_options": {"netcfg/choose_interface": mac, "udevrules": format!("{mac}_eth0")},
        "ks_meta": {
            "pm_data": {
                "kernel_params": format!("console=tty0 console=ttyS0,115200 net.ifnames=0 {NO_TIMER_CHECK}"),
                "ks_spaces": spaces(spec),
            },
            "image_data": images(spec),
            "user_accounts": [{"name": "admin", "password": null, "homedir": "/home/admin",
                               "sudo": ["ALL=(ALL) NOPASSWD: ALL"], "ssh_keys": [spec.key], "shell": "/bin/bash"}],
            "authorized_keys": [format!("\"{}\"", spec.key)],
            "auth_key": "\"\"",
            "master_ip": master,
            "gw": master,
            "timezone": "Etc/UTC",
            "repo_setup": {"repos": []},
            "puppet_master": "", "puppet_enable": 0,
            "mco_pskey": "unset", "mco_vhost": "mcollective", "mco_host": master, "mco_user": "mcollective",
            "mco_password": "unset", "mco_connector": "rabbitmq", "mco_enable": 0, "mco_identity": spec.number,
        },
    });
    if let (Layout::Stack, Value::Object(request)) = (spec.layout, &mut request) {
        request.insert("partitioning".to_owned(), stack(spec.serials.len()));
    }
    format!("{request:#}\n")
}

fn images(spec: &RequestSpec) -> Value {
    let image = |file: &str| {
        let is_zstd = Path::new(file)
            .extension()
            .is_some_and(|kind| kind == "zst");
        let format = if file.ends_with(".tar.zst") {
            "tar"
        } else {
            "ext4"
        };
        json!({"uri": format!("{}/images/{file}", network::files_url()), "format": format,
            "container": if is_zstd { "zstd" } else { "gzip" }})
    };
    let mut images = json!({"/": image(&spec.image)});
    if let (Some(data), Value::Object(images)) = (&spec.data, &mut images) {
        images.insert(DATA_MOUNT.to_owned(), image(data));
    }
    images
}

/// The layout [`Layout::Stack`]: /boot on one mirror over all disks, a volume group with root and swap on another.
fn stack(disks: usize) -> Value {
    let names: Vec<String> = (0..disks)
        .map(|n| format!("/dev/{}", disk_name(n)))
        .collect();
    let parteds: Vec<Value> = names
        .iter()
        .enumerate()
        .map(|(n, disk)| {
            let partition = |count: u32, begin: u32, end: u32, flags: &[&str], configdrive: bool| {
                json!({"name": format!("{disk}{count}"), "count": count, "device": disk, "begin": begin, "end": end,
                    "partition_type": "primary", "flags": flags, "configdrive": configdrive})
            };
            let mut partitions = vec![
                partition(1, 1, 25, &["bios_grub"], false),
                partition(2, 25, 325, &["raid"], false),
                partition(3, 325, 3125, &["raid"], false),
            ];
            if n == 0 {
                partitions.push(partition(4, 3125, 3145, &[], true));
            }
            json!({"name": disk, "label": "gpt", "install_bootloader": true, "partitions": partitions})
        })
        .collect();
    let members = |number: u32| -> Vec<String> {
        names.iter().map(|disk| format!("{disk}{number}")).collect()
    };
    json!({
        "parteds": parteds,
        "mds": [{"name": "/dev/md0", "level": "raid1", "devices": members(2)},
                {"name": "/dev/md1", "level": "raid1", "devices": members(3)}],
        "pvs": [{"name": "/dev/md1", "metadatasize": 28}],
        "vgs": [{"name": "os", "pvnames": ["/dev/md1"]}],
        "lvs": [{"name": "root", "vgname": "os", "size": 2304}, {"name": "swap", "vgname": "os", "size": 128}],
        "fss": [{"device": "/dev/md0", "mount": "/boot", "fs_type": "ext4"},
                {"device": "/dev/mapper/os-root", "mount": "/", "fs_type": "ext4"},
                {"device": "/dev/mapper/os-swap", "mount": "swap", "fs_type": "swap"}],
    })
}

fn spaces(spec: &RequestSpec) -> Value {
    let mut spaces: Vec<Value> = spec.serials.iter().enumerate().map(|(n, serial)| {
        json!({
            "type": "disk", "name": disk_name(n), "id": disk_name(n), "size": 8192, "free_space": 0,
            "extra": [format!("disk/by-id/virtio-{serial}")],
            "volumes": volumes(spec.layout, n),
        })
    }).collect();
    let last = spaces.last_mut().map(|disk| &mut disk["volumes"]);
    if let (Some(_), Some(Value::Array(volumes))) = (&spec.data, last) {
        volumes.push(
            json!({"type": "partition", "name": "Data", "mount": DATA_MOUNT, "file_system": "ext4", "size": 1024}),
        );
    }
    if spec.layout == Layout::Lvm {
        spaces.push(
            json!({"type": "vg", "id": "os", "label": "Base System", "min_size": 0, "volumes": [
                {"type": "lv", "name": "root", "mount": "/", "file_system": "ext4", "size": 4096},
                {"type": "lv", "name": "swap", "mount": "swap", "file_system": "swap", "size": 256},
            ]}),
        );
    }
    Value::Array(spaces)
}

fn disk_name(n: usize) -> String {
    format!("vd{}", ["a", "b", "c", "d"].get(n).unwrap_or(&"z"))
}

fn volumes(layout: Layout, n: usize) -> Value {
    let boot = |kind: &str| json!({"type": kind, "name": "Boot", "mount": "/boot", "file_system": "ext4", "size": 300});
    let reserved = json!({"type": "boot", "size": 300});
    match layout {
        Layout::Lvm if n == 0 => {
            json!([reserved, boot("partition"), {"type": "pv", "vg": "os", "size": 4416, "lvm_meta_size": 64}])
        }
        Layout::Plain if n == 0 => json!([reserved, boot("partition"),
            {"type": "partition", "name": "Root", "mount": "/", "file_system": "ext4", "size": 4096}]),
        Layout::Lvm | Layout::Plain | Layout::Stack => json!([reserved]),
        Layout::Mirror => {
            json!([reserved, boot("raid"),
                {"type": "raid", "name": "Root", "mount": "/", "file_system": "ext4", "size": 2304}])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_its_images_and_disks_as_fuel_does() {
        let spec = RequestSpec {
            number: 1,
            hostname: "n1.lab.test".to_owned(),
            serials: vec!["A".to_owned()],
            image: "debian-12.img.zst".to_owned(),
            data: Some("data.img.gz".to_owned()),
            key: "ssh-ed25519 AAAA test".to_owned(),
            layout: Layout::Lvm,
        };
        let value: Value = serde_json::from_str(&provision_json(&spec)).unwrap();
        assert_eq!(
            value["kernel_options"]["netcfg/choose_interface"],
            "52:54:00:77:00:01"
        );
        let images = &value["ks_meta"]["image_data"];
        let containers = ["/", "/srv"].map(|mount| &images[mount]["container"]);
        assert_eq!(containers, ["zstd", "gzip"]);
        assert_eq!(
            value["ks_meta"]["pm_data"]["ks_spaces"][0]["extra"][0],
            "disk/by-id/virtio-A"
        );
    }

    #[test]
    fn a_stack_has_an_explicit_partitioning_that_fits_its_disks() {
        let spec = RequestSpec {
            number: 1,
            hostname: "n1.lab.test".to_owned(),
            serials: vec!["A".to_owned(), "B".to_owned()],
            image: "debian-12.img.gz".to_owned(),
            data: None,
            key: "ssh-ed25519 AAAA test".to_owned(),
            layout: Layout::Stack,
        };
        let value: Value = serde_json::from_str(&provision_json(&spec)).unwrap();
        let partitioning = &value["partitioning"];
        assert_eq!(
            partitioning["mds"][1]["devices"],
            json!(["/dev/vda3", "/dev/vdb3"])
        );
        let parteds = partitioning["parteds"].as_array().unwrap();
        let partitions = parteds
            .iter()
            .flat_map(|disk| disk["partitions"].as_array().unwrap());
        let configdrives = partitions.clone().filter(|it| it["configdrive"] == true);
        assert_eq!(configdrives.count(), 1);
        assert!(
            partitions
                .clone()
                .all(|it| it["end"].as_u64().unwrap() < 8192)
        );
    }
}

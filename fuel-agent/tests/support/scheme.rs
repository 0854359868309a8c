//! A request in the form of upstream's dumps (`*.scheme.json`), so that the two can be compared as JSON.

use fuel_agent::model::index::DiskIndex;
use fuel_agent::model::node::NodeSpec;
use fuel_agent::model::request::{Container, Request};
use fuel_agent::model::storage::{
    BlockRef, DiskSelector, Mount, RaidLevel, RaidMetadata, Role, Storage, Table,
};
use host::units::Bytes;
use serde_json::{Value, json};

/// Everything of upstream's dump that comes from a request.
pub fn dump(request: &Request) -> Value {
    let storage = &request.storage;
    let on = |block| device(storage, block);
    let mounted = |mount: &str| {
        let mut filesystems = storage.filesystems.iter();
        let found = filesystems.find(|fs| fs.mount.as_ref().map(Mount::as_str) == Some(mount));
        found.map(|fs| on(fs.on))
    };
    let system = &request.boot.system;
    json!({
        "boot_device": mounted("/boot").or_else(|| mounted("/")),
        "root_device": mounted("/"),
        "configdrive": request.node.as_ref().map(configdrive),
        "configdrive_device": request.configdrive.map(on),
        "grub": {"kernel_params": request.boot.kernel_params, "version": request.boot.grub_version},
        "images": images(request),
        "operating_system": {"name": system.name, "major": number(&system.major), "minor": number(&system.minor)},
        "partition_scheme": scheme(request),
        "skip_partitioning": storage.keeps_anything(),
    })
}

/// Upstream's dump, reduced to what [`dump`] has. Secrets and templates are not in it; the order of images is not
/// meant.
pub fn upstream(mut dump: Value) -> Value {
    // it has the words of the request for what means the same
    let arrays = dump["partition_scheme"]["mds"].as_array_mut();
    for array in arrays.into_iter().flatten() {
        let level = array["level"].as_str().and_then(RaidLevel::from_word);
        let metadata = array["metadata"].as_str().and_then(RaidMetadata::from_word);
        array["level"] = level.map(RaidLevel::as_str).into();
        array["metadata"] = metadata.map(RaidMetadata::as_str).into();
    }
    for key in [
        "kernel_name",
        "kernel_regexp",
        "initrd_name",
        "initrd_regexp",
    ] {
        dump["grub"].as_object_mut().expect("grub").remove(key);
    }
    let images = dump["images"].as_array_mut().expect("images");
    for image in images.iter_mut() {
        // Size and md5 come from the image's YAML, which is none of the request.
        image
            .as_object_mut()
            .expect("an image")
            .retain(|key, _| key != "md5" && key != "size");
    }
    images.sort_by_key(ToString::to_string);
    match dump.get_mut("configdrive").and_then(Value::as_object_mut) {
        Some(data) => data.retain(|key, _| {
            matches!(
                key.as_str(),
                "common" | "mcollective" | "puppet" | "user_accounts"
            )
        }),
        None => dump["configdrive"] = Value::Null,
    }
    if let Some(common) = dump
        .pointer_mut("/configdrive/common")
        .and_then(Value::as_object_mut)
    {
        for key in ["name_servers", "search_domain"] {
            let text = common[key].as_str().expect("a string").replace('"', "");
            common.insert(key.to_owned(), text.into());
        }
        let keys: Vec<String> = common["ssh_auth_keys"]
            .as_array()
            .expect("keys")
            .iter()
            .map(|key| key.as_str().expect("a key").replace('"', ""))
            .filter(|key| !key.is_empty())
            .collect();
        common.insert("ssh_auth_keys".to_owned(), json!(keys));
    }
    if let Some(accounts) = dump
        .pointer_mut("/configdrive/user_accounts")
        .filter(|a| a.is_null())
    {
        *accounts = json!([]);
    }
    dump
}

fn number(text: &str) -> Value {
    text.parse::<u64>()
        .map_or_else(|_| text.into(), Value::from)
}

fn mib(bytes: Bytes) -> u64 {
    bytes.as_whole_mib().expect("whole MiB")
}

pub fn disk(storage: &Storage, index: DiskIndex) -> String {
    match &storage[index].selector {
        DiskSelector::Fuel { name, .. } => format!("/dev/{name}"),
        DiskSelector::Node(node) => node.clone(),
    }
}

/// Upstream's name for something: its partition separator included.
pub fn device(storage: &Storage, block: BlockRef) -> String {
    match block {
        BlockRef::Partition {
            disk: index,
            number,
        } => {
            let disk = disk(storage, index);
            let separator = if ["cciss", "nvme", "loop", "md"]
                .iter()
                .any(|word| disk.contains(word))
            {
                "p"
            } else if disk.contains("/dev/mapper") {
                "-part"
            } else {
                ""
            };
            format!("{disk}{separator}{number}")
        }
        BlockRef::Raid(index) => storage[index].device.clone(),
        BlockRef::Logical(index) => storage[index].device(),
        BlockRef::Undefined(index) => storage[index].clone(),
    }
}

fn images(request: &Request) -> Value {
    let mut images: Vec<Value> = request
        .images
        .iter()
        .map(|image| {
            let filesystem = &request.storage[image.filesystem];
            json!({
                "container": match image.container {
                    Container::Raw => "raw",
                    Container::Gzip => "gzip",
                    Container::Zstd => "zstd",
                    Container::Xz => "xz",
                    Container::Bzip2 => "bzip2",
                    Container::Qcow2 => "qcow2",
                },
                "format": image.format,
                "target_device": device(&request.storage, filesystem.on),
                "uri": image.url.reveal(),
            })
        })
        .collect();
    images.sort_by_key(ToString::to_string);
    json!(images)
}

fn scheme(request: &Request) -> Value {
    let storage = &request.storage;
    let on = |block: &BlockRef| device(storage, *block);
    json!({
        "fss": storage.filesystems.iter().map(|fs| json!({
            "device": on(&fs.on),
            "fs_label": fs.label,
            "fs_options": fs.options,
            "fs_type": fs.kind,
            "keep_data": fs.keep_data,
            "mount": fs.mount.as_ref().map(Mount::as_str),
        })).collect::<Vec<_>>(),
        "lvs": storage.logical_volumes.iter().map(|lv| json!({
            "keep_data": lv.keep_data, "name": lv.name, "size": mib(lv.size), "vgname": lv.volume_group,
        })).collect::<Vec<_>>(),
        "mds": storage.raids.iter().map(|md| json!({
            "devices": md.members.iter().map(on).collect::<Vec<_>>(),
            "keep_data": md.keep_data,
            "level": md.level.as_str(),
            "metadata": md.metadata.as_str(),
            "name": md.device,
            "spares": md.spares.iter().map(on).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
        "parteds": storage.disks().map(|(index, _)| parted(request, index)).collect::<Vec<_>>(),
        "pvs": storage.physical_volumes.iter().map(|pv| json!({
            "keep_data": pv.keep_data,
            "metadatacopies": pv.metadata_copies,
            "metadatasize": mib(pv.metadata_size),
            "name": on(&pv.on),
        })).collect::<Vec<_>>(),
        "vgs": storage.volume_groups.iter().map(|vg| json!({
            "keep_data": vg.keep_data,
            "name": vg.name,
            "pvnames": vg.physical_volumes.iter().map(|&pv| on(&storage[pv].on)).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
    })
}

fn parted(request: &Request, index: DiskIndex) -> Value {
    let storage = &request.storage;
    let spec = &storage[index];
    let name = disk(storage, index);
    json!({
        "install_bootloader": spec.bootloader,
        "label": match spec.table { Table::Gpt => "gpt", Table::Msdos => "msdos" },
        "name": name,
        "partitions": spec.partitions.iter().map(|p| {
            let block = BlockRef::Partition { disk: index, number: p.number };
            json!({
                "begin": mib(p.start),
                "configdrive": p.role == Role::Configdrive && request.configdrive == Some(block),
                "count": p.number,
                "device": name,
                "end": mib(p.start) + mib(p.size),
                "flags": p.flags,
                "guid": p.partition_type,
                "keep_data": p.keep_data,
                "name": device(storage, block),
                "partition_type": if p.logical { "logical" } else { "primary" },
            })
        }).collect::<Vec<_>>(),
    })
}

fn configdrive(node: &NodeSpec) -> Value {
    let udevrules: Vec<String> = node
        .interface_names
        .iter()
        .map(|(mac, name)| format!("{mac}_{name}"))
        .collect();
    json!({
        "common": {
            "admin_iface_name": node.admin.name,
            "admin_ip": node.admin.address.to_string(),
            "admin_mac": node.admin.mac,
            "admin_mask": node.admin.netmask,
            "fqdn": node.hostname,
            "gw": node.admin.gateway.map(|gateway| gateway.to_string()),
            "hostname": node.hostname,
            "ks_repos": node.repos,
            "master_ip": node.master_ip,
            "master_url": format!("http://{}:8000/api", node.master_ip),
            "name_servers": node.name_servers.join(","),
            "search_domain": node.search_domain,
            "ssh_auth_keys": node.authorized_keys,
            "timezone": node.timezone,
            "udevrules": udevrules.join(","),
        },
        "mcollective": {
            "connector": node.mcollective.connector,
            "enable": u8::from(node.mcollective.enable),
            "host": node.mcollective.host,
            "identity": number_or_text(&node.mcollective.identity),
            "password": node.mcollective.password.reveal(),
            "pskey": node.mcollective.pskey.reveal(),
            "user": node.mcollective.user,
            "vhost": node.mcollective.vhost,
        },
        "puppet": {"enable": u8::from(node.puppet.enable), "master": node.puppet.master},
        "user_accounts": node.accounts.iter().map(|account| json!({
            "homedir": account.homedir,
            "name": account.name,
            "shell": account.shell,
            "ssh_keys": account.ssh_keys,
            "sudo": account.sudo,
        })).collect::<Vec<_>>(),
    })
}

fn number_or_text(text: &str) -> Value {
    text.parse::<i64>()
        .map_or_else(|_| json!(text), |number| json!(number))
}

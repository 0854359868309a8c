//! Taking the cloud-init data away when the installed system has used it: a unit of systemd and its script.

use serde_json::Value;
use uuid::Uuid;

use super::file;

/// Unit and script, as cloud-init writes them.
pub(super) fn files(instance_id: Uuid) -> [Value; 2] {
    let script = format!(
        "#!/bin/sh\nuuid={}\n{}",
        volume_uuid(instance_id),
        include_str!("wipe.sh")
    );
    [
        file(
            "/etc/systemd/system/provision-wipe-configdrive.service",
            "0644",
            include_str!("wipe.service"),
        ),
        file(
            "/usr/local/sbin/provision-wipe-configdrive",
            "0700",
            &script,
        ),
    ]
}

/// UUID of the filesystem with the data, as udev links it: FAT's volume id, the first part of the instance's.
fn volume_uuid(instance_id: Uuid) -> String {
    let id = instance_id.as_fields().0;
    format!("{:04X}-{:04X}", id >> 16, id & 0xffff)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use host::cancel::Cancel;
    use host::exec::{Cmd, Exec, Program, System};

    use super::*;

    const SH: Program = Program::new("sh", "dash");

    #[test]
    fn the_partition_is_named_as_udev_names_it() {
        let id = Uuid::parse_str("8f0f6a3a-0000-4000-8000-000000000000").unwrap();
        assert_eq!(volume_uuid(id), "8F0F-6A3A");
    }

    /// Runs the script on a tree of its own; whether it went well, and whether the data is gone.
    fn wiped(result: &str, label: &str) -> (bool, bool) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for name in [
            "dev/disk/by-uuid",
            "etc/cloud",
            "run/cloud-init",
            "var/lib/cloud/instance",
        ] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        let device = root.join("dev/disk/by-uuid/8F0F-6A3A");
        fs::write(&device, vec![0x5a; 3 << 20]).unwrap();
        fs::write(root.join("run/cloud-init/result.json"), result).unwrap();
        let copy = root.join("var/lib/cloud/instance/user-data.txt");
        fs::write(&copy, "secret").unwrap();
        // what only a block device and a running system have
        let stubs = format!(
            "blkid() {{ echo {label}; }}\nblockdev() {{ echo {}; }}\nsystemctl() {{ :; }}\nuuid=8F0F-6A3A\n",
            3 << 20
        );
        let mut script = include_str!("wipe.sh").replace("[ -b ", "[ -f ");
        for place in [
            "/dev/disk",
            "/etc/cloud",
            "/run/cloud-init",
            "/var/lib",
            "/etc/systemd",
        ] {
            script = script.replace(place, &format!("{}{place}", root.display()));
        }
        let file = root.join("script");
        fs::write(&file, stubs + &script).unwrap();
        let ran = System::new(Cancel::new()).run(&Cmd::new(SH).arg(&file));
        let bytes = fs::read(&device).unwrap();
        assert_eq!(bytes.len(), 3 << 20);
        let gone = bytes.iter().all(|byte| *byte == 0);
        let disabled = root.join("etc/cloud/cloud-init.disabled").exists();
        assert_eq!((!copy.exists(), disabled), (gone, gone));
        (ran.is_ok(), gone)
    }

    #[test]
    fn the_data_goes_only_when_all_of_it_was_used_and_it_is_ours() {
        let good = "{\n \"v1\": {\n  \"datasource\": \"x\",\n  \"errors\": []\n }\n}\n";
        assert_eq!(wiped(good, "CIDATA"), (true, true));
        assert_eq!(wiped(good, "DATA"), (false, false));
        let bad = good.replace("[]", "[\n   \"failed\"\n  ]");
        assert_eq!(wiped(&bad, "CIDATA"), (false, false));
        assert_eq!(wiped("", "CIDATA"), (false, false));
    }
}

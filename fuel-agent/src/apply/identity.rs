//! Identity of the installed system: its name, what must not be the same on two machines, the files that Fuel's agent
//! reads.
//!
//! An image is one system copied to many nodes. What identifies a system (machine id, ssh host keys, random seed, LVM's
//! list of devices) is taken out, so that each node makes its own.

use super::context::Context;
use super::network;
use super::outcome::Outcome;
use super::target_tree::{self, TargetTree, one_line};
use crate::events::Event;
use crate::model::error::Error;
use crate::model::node::NodeSpec;
use crate::model::stage::Stage;

pub(super) fn write(context: &mut Context<'_>) -> Result<Outcome, Error> {
    let tree = match target_tree::open(context)? {
        Ok(tree) => tree,
        Err(skipped) => return Ok(skipped),
    };
    let mut warnings = Vec::new();
    if let Some(node) = &context.plan.node {
        name(&tree, node)?;
        warnings.extend(network::write(
            &tree,
            node,
            context.plan.configdrive.is_some(),
        )?);
        tree.write("etc/nailgun-agent/nodiscover", "", 0o644)?;
    }
    warnings.extend(make_unique(&tree)?);
    relabel(&tree)?;
    for message in warnings {
        let stage = Some(Stage::Configure);
        context.events.emit(&Event::Warning { stage, message });
    }
    Ok(Outcome::Changed)
}

/// /etc/hostname and /etc/hosts.
fn name(tree: &TargetTree, node: &NodeSpec) -> Result<(), Error> {
    let fqdn = one_line(&node.hostname);
    let short = short(&fqdn);
    tree.write("etc/hostname", format!("{short}\n"), 0o644)?;
    let old = tree.read("etc/hosts")?.unwrap_or_default();
    let address = node.admin.address.to_string();
    tree.write("etc/hosts", hosts(&old, &address, &fqdn), 0o644)
}

/// The name without its domain.
pub(crate) fn short(fqdn: &str) -> &str {
    fqdn.split('.').next().unwrap_or(fqdn)
}

/// /etc/hosts with the node's own line: the address that other nodes reach it by, not 127.0.1.1, because clustered
/// services send each other what their name resolves to. Lines that name it otherwise are removed; all others stay.
fn hosts(old: &str, address: &str, fqdn: &str) -> String {
    let short = short(fqdn);
    let names = |line: &str| -> Vec<String> {
        let line = line.split('#').next().unwrap_or_default();
        line.split_whitespace().map(str::to_owned).collect()
    };
    let mut lines: Vec<String> = Vec::new();
    for line in old.lines() {
        let words = names(line);
        let own = words
            .iter()
            .skip(1)
            .any(|word| word == fqdn || word == short);
        let stale = words
            .first()
            .is_some_and(|first| first == "127.0.1.1" || first == address);
        if !stale && (!own || words.iter().any(|word| word == "localhost")) {
            lines.push(line.to_owned());
        }
    }
    let has_localhost = lines
        .iter()
        .any(|line| names(line).iter().any(|word| word == "localhost"));
    if !has_localhost {
        lines.insert(0, "127.0.0.1 localhost".to_owned());
        lines.insert(1, "::1 localhost ip6-localhost ip6-loopback".to_owned());
    }
    if fqdn == short {
        lines.push(format!("{address} {short}"));
    } else {
        lines.push(format!("{address} {fqdn} {short}"));
    }
    lines.join("\n") + "\n"
}

/// Files that an image must not hand on. Each is made anew by the system itself.
const ONE_OF_A_KIND: [&str; 4] = [
    "var/lib/dbus/machine-id",
    "var/lib/systemd/random-seed",
    "var/lib/systemd/credential.secret",
    // lists the physical volumes of the machine the image was made on; with it, LVM would not see this node's
    "etc/lvm/devices/system.devices",
];

/// Takes out what identifies the system the image was made from.
fn make_unique(tree: &TargetTree) -> Result<Vec<String>, Error> {
    if tree.has_file("etc/machine-id")? || tree.has_folder("etc/systemd")? {
        // empty, not absent: absent would mean "first boot", and undo what the image enabled and disabled
        tree.write("etc/machine-id", "", 0o444)?;
    }
    for path in ONE_OF_A_KIND {
        tree.remove(path)?;
    }
    let names = tree.list("etc/ssh")?;
    let keys: Vec<&String> = names
        .iter()
        .filter(|name| name.starts_with("ssh_host_") && name.contains("_key"))
        .collect();
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let makers = [
        "usr/bin/cloud-init",
        "usr/sbin/sshd-keygen",
        "usr/libexec/openssh/sshd-keygen",
    ];
    if !tree.has_any(&makers)? {
        let warning = "the image brings ssh host keys, and nothing in it would make new ones: they stay, the same on \
                       every node";
        return Ok(vec![warning.to_owned()]);
    }
    for key in keys {
        tree.remove(&format!("etc/ssh/{key}"))?;
    }
    Ok(Vec::new())
}

/// Files written from outside have no SELinux label; the system is made to label everything once.
fn relabel(tree: &TargetTree) -> Result<(), Error> {
    let config = tree.read("etc/selinux/config")?.unwrap_or_default();
    let enabled = |line: &str| {
        let value = line.trim().strip_prefix("SELINUX=").map(str::trim);
        matches!(value, Some("enforcing" | "permissive"))
    };
    if config.lines().any(enabled) {
        tree.write(".autorelabel", "", 0o644)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::sample_plan;

    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, TargetTree) {
        let folder = tempfile::tempdir().unwrap();
        let tree = TargetTree::at(folder.path());
        for (path, content) in files {
            tree.write(path, content, 0o644).unwrap();
        }
        (folder, tree)
    }

    #[test]
    fn the_node_knows_its_name_by_the_address_that_others_use() {
        let old = "127.0.0.1\tlocalhost\n127.0.1.1\tbuilder.lan builder\n10.20.0.3 old\n\n# kept\n10.1.1.1 other node-1 \
                   # an alias\n10.20.0.2 fuel\n";
        insta::assert_snapshot!(hosts(old, "10.20.0.3", "node-1.example.com"), @"
        127.0.0.1	localhost

        # kept
        10.20.0.2 fuel
        10.20.0.3 node-1.example.com node-1
        ");
        insta::assert_snapshot!(hosts("", "10.20.0.3", "node-1"), @"
        127.0.0.1 localhost
        ::1 localhost ip6-localhost ip6-loopback
        10.20.0.3 node-1
        ");
    }

    #[test]
    fn writing_hosts_twice_changes_nothing() {
        let once = hosts("127.0.0.1 localhost\n", "10.20.0.3", "node-1.example.com");
        assert_eq!(hosts(&once, "10.20.0.3", "node-1.example.com"), once);
    }

    #[test]
    fn hostname_is_short() {
        let (_folder, tree) = tree(&[]);
        name(&tree, &sample_plan::node()).unwrap();
        assert_eq!(tree.read("etc/hostname").unwrap().unwrap(), "node-1\n");
    }

    #[test]
    fn what_identifies_the_image_is_taken_out() {
        let (_folder, tree) = tree(&[
            ("etc/machine-id", "6f1c0c8f4cfb4c2d8a1c0c8f4cfb4c2d\n"),
            ("etc/ssh/ssh_host_ed25519_key", "private"),
            ("etc/ssh/ssh_host_ed25519_key.pub", "public"),
            ("etc/ssh/sshd_config", "kept"),
            ("etc/lvm/devices/system.devices", "IDNAME=/dev/sdz"),
            ("var/lib/systemd/random-seed", "seed"),
            ("usr/bin/cloud-init", ""),
        ]);
        assert_eq!(make_unique(&tree).unwrap(), Vec::<String>::new());
        assert_eq!(tree.read("etc/machine-id").unwrap().unwrap(), "");
        assert_eq!(tree.list("etc/ssh").unwrap(), ["sshd_config"]);
        assert_eq!(tree.list("etc/lvm/devices").unwrap(), Vec::<String>::new());
        assert_eq!(tree.list("var/lib/systemd").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn keys_that_nothing_would_replace_stay_with_a_warning() {
        let (_folder, tree) = tree(&[("etc/ssh/ssh_host_rsa_key", "private")]);
        let warnings = make_unique(&tree).unwrap();
        assert!(
            warnings[0].contains("the same on every node"),
            "{warnings:?}"
        );
        assert_eq!(tree.list("etc/ssh").unwrap(), ["ssh_host_rsa_key"]);
    }

    #[test]
    fn a_system_with_selinux_labels_itself() {
        for (config, expected) in [
            ("SELINUX=enforcing\n", true),
            ("# SELINUX=enforcing\nSELINUX=disabled\n", false),
        ] {
            let (_folder, tree) = tree(&[("etc/selinux/config", config)]);
            relabel(&tree).unwrap();
            assert_eq!(tree.has_file(".autorelabel").unwrap(), expected, "{config}");
        }
    }
}

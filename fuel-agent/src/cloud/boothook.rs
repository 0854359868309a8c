//! The boothook: runs before cloud-init's modules, once per installation.

use super::{Family, name_servers, search};
use crate::model::first_boot::FirstBoot;
use crate::model::node::NodeSpec;

/// The script: facts of the node as variables, then the parts.
pub(super) fn render(node: &NodeSpec, family: Family, first_boot: FirstBoot) -> String {
    let servers: Vec<String> = name_servers(node).iter().map(ToString::to_string).collect();
    let facts = [
        ("master", node.master_ip.clone()),
        ("name_servers", servers.join(" ")),
        ("search", search(node).join(" ")),
        ("timezone", node.timezone.clone()),
    ];
    let facts = facts.map(|(name, value)| format!("{name}={}\n", quoted(&value)));
    let more = match family {
        Family::Debian => include_str!("boothook-debian.sh"),
        Family::RedHat => include_str!("boothook-redhat.sh"),
    };
    // the paths are those of that family
    let part = |is_wanted, text| match family {
        Family::RedHat if is_wanted => text,
        Family::RedHat | Family::Debian => "",
    };
    [
        "#cloud-boothook\n#!/bin/sh\n# Early settings of this node, applied once at its first boot.\n",
        "done=/var/lib/cloud/instance/provision-boothook\n[ -e \"$done\" ] && exit 0\n",
        &facts.concat(),
        "\n",
        include_str!("boothook.sh"),
        part(
            first_boot.disable_selinux,
            include_str!("boothook-selinux.sh"),
        ),
        part(first_boot.core_dumps, include_str!("boothook-cores.sh")),
        more,
        "\n: > \"$done\"\nexit 0\n",
    ]
    .concat()
}

/// A shell word, quoted.
fn quoted(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_fact_means_anything_to_the_shell() {
        assert_eq!(quoted("a'b\n$(reboot)"), r"'a'\''b$(reboot)'");
    }
}

use super::*;
use crate::testing::sample_plan;

fn written(files: &[&str], configdrive: bool) -> String {
    written_for(&sample_plan::node(), files, configdrive)
}

fn written_for(node: &NodeSpec, files: &[&str], configdrive: bool) -> String {
    let folder = tempfile::tempdir().unwrap();
    let tree = TargetTree::at(folder.path());
    for path in files {
        tree.write(path, "", 0o755).unwrap();
    }
    let warning = write(&tree, node, configdrive).unwrap();
    let mut text = warning
        .map(|text| format!("warning: {text}\n"))
        .unwrap_or_default();
    let mut folders = vec![String::new()];
    while let Some(above) = folders.pop() {
        for name in tree.list(&above).unwrap().iter().rev() {
            let path = format!("{above}{name}");
            if tree.has_folder(&path).unwrap() {
                folders.push(format!("{path}/"));
            } else if !files.contains(&path.as_str()) || path == "etc/network/interfaces" {
                let content = tree.read(&path).unwrap().unwrap_or_default();
                if !path.contains("udev") && !path.ends_with("link") {
                    text = text + "--- " + &path + "\n" + &content;
                }
            }
        }
    }
    text
}

#[test]
fn names_follow_macs() {
    let names = sample_plan::node().interface_names;
    insta::assert_snapshot!(rules(&names), @r#"
    # Names of this node's interfaces, as its orchestrator knows them.
    SUBSYSTEM=="net", ACTION=="add", DRIVERS=="?*", ATTR{address}=="08:00:27:79:da:80", ATTR{type}=="1", KERNEL=="eth*", NAME="eth0"
    SUBSYSTEM=="net", ACTION=="add", DRIVERS=="?*", ATTR{address}=="08:00:27:46:43:60", ATTR{type}=="1", KERNEL=="eth*", NAME="eth1"
    # End of the names.
    "#);
    insta::assert_snapshot!(link(&names[1].0, &names[1].1), @"
    [Match]
    MACAddress=08:00:27:46:43:60
    Type=ether

    [Link]
    NamePolicy=
    Name=eth1
    ");
}

#[test]
fn ifupdown_gets_fuels_files_and_cloud_init_keeps_off() {
    let files = [
        "etc/network/interfaces",
        "usr/sbin/ifup",
        "usr/bin/cloud-init",
    ];
    insta::assert_snapshot!(written(&files, true), @"
    --- etc/cloud/cloud.cfg.d/95-provision-network.cfg
    # The admin interface is set up by files that were written at installation.
    network:
      config: disabled
    --- etc/network/interfaces
    auto lo
    iface lo inet loopback

    source-directory /etc/network/interfaces.d
    --- etc/network/interfaces.d/ifcfg-eth0
    auto eth0
    iface eth0 inet static
    	address 10.20.0.3
    	netmask 255.255.255.0
    	gateway 10.20.0.1
    ");
}

#[test]
fn network_scripts_get_fuels_files() {
    let files = [
        "etc/sysconfig/network-scripts/ifup-eth",
        "usr/bin/cloud-init",
    ];
    insta::assert_snapshot!(written(&files, true), @"
    --- etc/cloud/cloud.cfg.d/95-provision-network.cfg
    # The admin interface is set up by files that were written at installation.
    network:
      config: disabled
    --- etc/sysconfig/network
    GATEWAY=10.20.0.1
    --- etc/sysconfig/network-scripts/ifcfg-eth0
    DEVICE=eth0
    IPADDR=10.20.0.3
    NETMASK=255.255.255.0
    BOOTPROTO=none
    ONBOOT=yes
    USERCTL=no
    ");
}

#[test]
fn cloud_init_with_a_configdrive_is_left_alone() {
    let files = ["usr/bin/cloud-init", "usr/lib/systemd/systemd-networkd"];
    assert_eq!(written(&files, true), "");
    // an interfaces file without ifupdown is a leftover
    assert_eq!(
        written(&["usr/bin/cloud-init", "etc/network/interfaces.d/x"], true),
        ""
    );
}

#[test]
fn without_a_configdrive_the_images_own_manager_is_told() {
    insta::assert_snapshot!(written(&["usr/bin/cloud-init", "usr/lib/systemd/systemd-networkd"], false), @"
    --- etc/systemd/network/20-eth0.network
    [Match]
    MACAddress=08:00:27:79:da:80
    Type=ether

    [Network]
    Address=10.20.0.3/24
    Gateway=10.20.0.1
    DNS=10.20.0.2
    Domains=example.com
    --- etc/systemd/system/multi-user.target.wants/systemd-networkd.service
    ");
}

#[test]
fn netplan_and_network_manager_are_told_where_they_rule() {
    insta::assert_snapshot!(written(&["usr/sbin/netplan"], false), @r#"
    --- etc/netplan/60-provision.yaml
    {
      "network": {
        "version": 2,
        "ethernets": {
          "eth0": {
            "match": {
              "macaddress": "08:00:27:79:da:80"
            },
            "set-name": "eth0",
            "addresses": [
              "10.20.0.3/24"
            ],
            "nameservers": {
              "addresses": [
                "10.20.0.2"
              ],
              "search": [
                "example.com"
              ]
            },
            "routes": [
              {
                "to": "0.0.0.0/0",
                "via": "10.20.0.1"
              }
            ]
          }
        }
      }
    }
    "#);
    insta::assert_snapshot!(written(&["usr/sbin/NetworkManager"], false), @"
    --- etc/NetworkManager/system-connections/eth0.nmconnection
    [connection]
    id=eth0
    type=ethernet
    interface-name=eth0

    [ethernet]
    mac-address=08:00:27:79:da:80

    [ipv4]
    method=manual
    address1=10.20.0.3/24
    gateway=10.20.0.1
    dns=10.20.0.2;
    dns-search=example.com;

    [ipv6]
    method=auto
    ");
}

#[test]
fn an_image_without_network_is_warned_about() {
    insta::assert_snapshot!(written(&[], true), @"
    warning: nothing in the image sets up network interfaces as far as we know; the admin interface gets no address
    ");
}

#[test]
fn a_gateway_is_said_once() {
    let folder = tempfile::tempdir().unwrap();
    let tree = TargetTree::at(folder.path());
    tree.write(
        "etc/sysconfig/network",
        "NETWORKING=yes\nGATEWAY=1.2.3.4\n",
        0o644,
    )
    .unwrap();
    for _ in 0..2 {
        network_scripts(&tree, &sample_plan::node().admin).unwrap();
    }
    let text = tree.read("etc/sysconfig/network").unwrap().unwrap();
    assert_eq!(text, "NETWORKING=yes\nGATEWAY=10.20.0.1\n");
}

/// The sample node with a router that is outside of its network.
fn with_far_router() -> NodeSpec {
    let mut node = sample_plan::node();
    node.admin.gateway = Some([10, 9, 9, 1].into());
    node
}

#[test]
fn a_router_outside_of_the_network_is_said_to_be_on_the_link_whoever_sets_it_up() {
    for (files, line) in [
        (
            vec!["etc/network/interfaces", "usr/sbin/ifup"],
            "\tup ip -4 route replace default via 10.9.9.1 dev eth0 onlink\n",
        ),
        (
            vec!["etc/sysconfig/network-scripts/ifup-eth"],
            "--- etc/sysconfig/network-scripts/route-eth0\ndefault via 10.9.9.1 dev eth0 onlink\n",
        ),
        (
            vec!["usr/sbin/netplan"],
            "\"via\": \"10.9.9.1\",\n            \"on-link\": true\n",
        ),
        // adds a route to its gateway by itself
        (vec!["usr/sbin/NetworkManager"], "gateway=10.9.9.1\n"),
        (
            vec!["usr/lib/systemd/systemd-networkd"],
            "\n[Route]\nGateway=10.9.9.1\nGatewayOnLink=yes\n",
        ),
    ] {
        let text = written_for(&with_far_router(), &files, false);
        assert!(text.contains(line), "{text}");
        let text = written_for(
            &with_far_router(),
            &[&files[..], &["usr/bin/cloud-init"]].concat(),
            true,
        );
        assert!(text.contains(line), "{text}");
        assert!(text.contains("config: disabled"), "{text}");
    }
    assert_eq!(
        written_for(&with_far_router(), &["usr/bin/cloud-init"], true),
        ""
    );
}

#[test]
fn an_address_of_ipv6_is_one_to_every_manager() {
    let mut node = sample_plan::node();
    node.admin.address = "fd00::3".parse().unwrap();
    node.admin.netmask = "64".to_owned();
    node.admin.prefix = 64;
    node.admin.gateway = Some("fe80::1".parse().unwrap());
    for (files, line) in [
        (
            vec!["etc/network/interfaces", "usr/sbin/ifup"],
            "iface eth0 inet6 static\n\taddress fd00::3\n\tnetmask 64\n\tgateway fe80::1\n",
        ),
        (
            vec!["etc/sysconfig/network-scripts/ifup-eth"],
            "IPV6_DEFAULTGW=fe80::1%eth0\n",
        ),
        (
            vec!["etc/sysconfig/network-scripts/ifup-eth"],
            "DEVICE=eth0\nIPV6INIT=yes\nIPV6_AUTOCONF=no\nIPV6ADDR=fd00::3/64\nBOOTPROTO=none\n",
        ),
        (vec!["usr/sbin/netplan"], "\"fd00::3/64\""),
        (
            vec!["usr/sbin/NetworkManager"],
            "[ipv6]\nmethod=manual\naddress1=fd00::3/64\ngateway=fe80::1\n",
        ),
        (
            vec!["usr/lib/systemd/systemd-networkd"],
            "Address=fd00::3/64\nGateway=fe80::1\n",
        ),
    ] {
        let text = written_for(&node, &files, false);
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn a_netmask_that_was_given_as_a_number_is_dotted_where_it_has_to_be() {
    let mut node = sample_plan::node();
    node.admin.netmask = "24".to_owned();
    for files in [
        &["etc/network/interfaces", "usr/sbin/ifup"][..],
        &["etc/sysconfig/network-scripts/ifup-eth"],
    ] {
        let text = written_for(&node, files, false).to_lowercase();
        assert!(
            text.replace(' ', "=").contains("netmask=255.255.255.0\n"),
            "{text}"
        );
    }
}

#[test]
fn network_manager_keeps_name_servers_of_the_other_family() {
    let mut node = sample_plan::node();
    node.name_servers.push("fd00::53".to_owned());
    let text = written_for(&node, &["usr/sbin/NetworkManager"], false);
    assert!(
        text.contains("[ipv6]\nmethod=auto\ndns=fd00::53;\n"),
        "{text}"
    );
}

//! Network settings, in cloud-init's network-config version 2 and OpenStack's `network_data.json`.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use crate::meta::pretty;
use crate::yaml::{self, YamlError};

/// Interfaces that cloud-init sets up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Wired interfaces.
    pub ethernets: Vec<Ethernet>,
}

/// A wired interface, matched by its MAC address and renamed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ethernet {
    /// Name that it is given, like `eth0`.
    pub name: String,
    /// MAC address, lower case.
    pub mac: String,
    /// Static addresses; if empty, DHCP is used.
    pub addresses: Vec<Address>,
    /// Default gateways, at most one of each family.
    pub gateways: Vec<IpAddr>,
    /// Addresses of DNS servers.
    pub name_servers: Vec<IpAddr>,
    /// DNS search domains.
    pub search: Vec<String>,
}

/// An address with the length of its network prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// IPv4 or IPv6 address of the interface.
    pub ip: IpAddr,
    /// Prefix length in bits.
    pub prefix: u8,
}

impl Ethernet {
    /// Whether the gateway is outside of all networks of the interface. The kernel then accepts a route through it only
    /// if the route is marked on-link. Link-local gateways are never outside.
    fn is_off_net(&self, gateway: IpAddr) -> bool {
        let is_near = match gateway {
            IpAddr::V6(six) => six.is_unicast_link_local(),
            IpAddr::V4(_) => false,
        };
        let same = |address: &Address| match (address.ip, gateway) {
            (IpAddr::V4(own), IpAddr::V4(gateway)) => {
                let hosts = u32::MAX.checked_shr(address.prefix.into()).unwrap_or(0);
                (own.to_bits() ^ gateway.to_bits()) & !hosts == 0
            }
            (IpAddr::V6(own), IpAddr::V6(gateway)) => {
                let hosts = u128::MAX.checked_shr(address.prefix.into()).unwrap_or(0);
                (own.to_bits() ^ gateway.to_bits()) & !hosts == 0
            }
            _ => false,
        };
        !is_near && !self.addresses.is_empty() && !self.addresses.iter().any(same)
    }
}

/// The destination of the default route, in the form that every renderer of cloud-init since 18.x accepts: only netplan
/// accepts `default`, and it deprecates `gateway4`.
const fn everywhere(ip: IpAddr) -> &'static str {
    if ip.is_ipv4() { "0.0.0.0/0" } else { "::/0" }
}

/// `network-config` version 2, as YAML.
pub(crate) fn version_2(network: &Network) -> Result<String, YamlError> {
    let mut ethernets = Map::new();
    for ethernet in &network.ethernets {
        let mut entry = Map::new();
        let mut set = |key: &str, value: Value| entry.insert(key.to_owned(), value);
        set("match", json!({"macaddress": ethernet.mac}));
        set("set-name", json!(ethernet.name));
        set("dhcp4", json!(ethernet.addresses.is_empty()));
        if !ethernet.addresses.is_empty() {
            set("addresses", ethernet.addresses.iter().map(cidr).collect());
        }
        if !ethernet.gateways.is_empty() {
            let gateways = ethernet.gateways.iter();
            set("routes", gateways.map(|it| route(ethernet, *it)).collect());
        }
        if let Some(name_servers) = name_servers(ethernet) {
            set("nameservers", name_servers);
        }
        ethernets.insert(ethernet.name.clone(), entry.into());
    }
    yaml::render(&json!({"version": 2, "ethernets": ethernets}))
}

/// The default route by one gateway.
fn route(ethernet: &Ethernet, gateway: IpAddr) -> Value {
    let mut route = Map::new();
    route.insert("to".to_owned(), everywhere(gateway).into());
    route.insert("via".to_owned(), gateway.to_string().into());
    if ethernet.is_off_net(gateway) {
        route.insert("on-link".to_owned(), true.into());
    }
    route.into()
}

fn cidr(address: &Address) -> Value {
    Value::from(format!("{}/{}", address.ip, address.prefix))
}

fn name_servers(ethernet: &Ethernet) -> Option<Value> {
    let mut entry = Map::new();
    if !ethernet.name_servers.is_empty() {
        let servers: Vec<String> = ethernet
            .name_servers
            .iter()
            .map(IpAddr::to_string)
            .collect();
        entry.insert("addresses".to_owned(), json!(servers));
    }
    if !ethernet.search.is_empty() {
        entry.insert("search".to_owned(), json!(ethernet.search));
    }
    (!entry.is_empty()).then_some(Value::Object(entry))
}

/// `network_data.json` of OpenStack.
pub(crate) fn openstack(network: &Network) -> Vec<u8> {
    let mut links = Vec::new();
    let mut networks: Vec<Value> = Vec::new();
    let mut services: Vec<Value> = Vec::new();
    for ethernet in &network.ethernets {
        links.push(json!({
            "id": ethernet.name, "name": ethernet.name, "type": "phy", "ethernet_mac_address": ethernet.mac,
        }));
        if ethernet.addresses.is_empty() {
            let id = format!("network{}", networks.len());
            networks.push(
                json!({"id": id, "link": ethernet.name, "type": "ipv4_dhcp", "network_id": id}),
            );
        }
        for address in &ethernet.addresses {
            networks.push(openstack_network(networks.len(), ethernet, *address));
        }
        for server in &ethernet.name_servers {
            let service = json!({"type": "dns", "address": server.to_string()});
            if !services.contains(&service) {
                services.push(service);
            }
        }
    }
    pretty(&json!({"links": links, "networks": networks, "services": services}))
}

fn openstack_network(n: usize, ethernet: &Ethernet, address: Address) -> Value {
    let id = format!("network{n}");
    let family = if address.ip.is_ipv4() { "ipv4" } else { "ipv6" };
    let routes: Vec<Value> = ethernet
        .gateways
        .iter()
        .filter(|gateway| gateway.is_ipv4() == address.ip.is_ipv4())
        .map(|gateway| {
            let zero = if gateway.is_ipv4() { "0.0.0.0" } else { "::" };
            json!({"network": zero, "netmask": zero, "gateway": gateway.to_string()})
        })
        .collect();
    json!({
        "id": id, "link": ethernet.name, "type": family, "network_id": id,
        "ip_address": address.ip.to_string(), "netmask": netmask(address), "routes": routes,
    })
}

/// The netmask of a prefix, in the notation of its address family.
fn netmask(address: Address) -> String {
    let prefix = u32::from(address.prefix);
    match address.ip {
        IpAddr::V4(_) => {
            let mask = u32::MAX
                .checked_shl(32_u32.saturating_sub(prefix))
                .unwrap_or(0);
            std::net::Ipv4Addr::from_bits(mask).to_string()
        }
        IpAddr::V6(_) => {
            let mask = u128::MAX
                .checked_shl(128_u32.saturating_sub(prefix))
                .unwrap_or(0);
            std::net::Ipv6Addr::from_bits(mask).to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admin() -> Network {
        Network {
            ethernets: vec![Ethernet {
                name: "eth0".to_owned(),
                mac: "08:00:27:79:da:80".to_owned(),
                addresses: vec![Address {
                    ip: [10, 20, 0, 3].into(),
                    prefix: 24,
                }],
                gateways: vec![[10, 20, 0, 1].into()],
                name_servers: vec![[10, 20, 0, 2].into()],
                search: vec!["example.com".to_owned()],
            }],
        }
    }

    #[test]
    fn version_2_matches_by_mac_and_names() {
        insta::assert_snapshot!(version_2(&admin()).unwrap(), @r#"
        version: 2
        ethernets:
          eth0:
            match:
              macaddress: 08:00:27:79:da:80
            set-name: eth0
            dhcp4: false
            addresses:
            - 10.20.0.3/24
            routes:
            - to: 0.0.0.0/0
              via: "10.20.0.1"
            nameservers:
              addresses:
              - "10.20.0.2"
              search:
              - example.com
        "#);
    }

    #[test]
    fn a_mac_of_digits_is_no_number() {
        let mut network = admin();
        network.ethernets[0].mac = "52:54:00:00:00:01".to_owned();
        let text = version_2(&network).unwrap();
        assert!(text.contains("macaddress: \"52:54:00:00:00:01\""), "{text}");
    }

    #[test]
    fn a_gateway_outside_of_the_network_is_on_the_link() {
        let mut network = admin();
        assert!(!version_2(&network).unwrap().contains("on-link"));
        network.ethernets[0].gateways = vec![[10, 9, 9, 1].into()];
        let text = version_2(&network).unwrap();
        assert!(
            text.contains("via: \"10.9.9.1\"\n      on-link: true\n"),
            "{text}"
        );
        network.ethernets[0].addresses[0].prefix = 32;
        network.ethernets[0].gateways = vec![[10, 20, 0, 1].into()];
        assert!(version_2(&network).unwrap().contains("on-link: true"));
        network.ethernets[0].addresses = vec![Address {
            ip: "fd00::3".parse().unwrap(),
            prefix: 128,
        }];
        network.ethernets[0].gateways = vec!["fe80::1".parse().unwrap()];
        assert!(!version_2(&network).unwrap().contains("on-link"));
    }

    #[test]
    fn openstack_says_the_same() {
        let text = String::from_utf8(openstack(&admin())).unwrap();
        insta::assert_snapshot!(text, @r#"
        {
          "links": [
            {
              "id": "eth0",
              "name": "eth0",
              "type": "phy",
              "ethernet_mac_address": "08:00:27:79:da:80"
            }
          ],
          "networks": [
            {
              "id": "network0",
              "link": "eth0",
              "type": "ipv4",
              "network_id": "network0",
              "ip_address": "10.20.0.3",
              "netmask": "255.255.255.0",
              "routes": [
                {
                  "network": "0.0.0.0",
                  "netmask": "0.0.0.0",
                  "gateway": "10.20.0.1"
                }
              ]
            }
          ],
          "services": [
            {
              "type": "dns",
              "address": "10.20.0.2"
            }
          ]
        }
        "#);
    }

    #[test]
    fn an_interface_without_an_address_asks_dhcp() {
        let mut network = admin();
        network.ethernets[0].addresses.clear();
        network.ethernets[0].gateways.clear();
        assert!(version_2(&network).unwrap().contains("dhcp4: true"));
        let text = String::from_utf8(openstack(&network)).unwrap();
        assert!(text.contains("ipv4_dhcp"), "{text}");
    }

    #[test]
    fn masks_of_every_length() {
        let mask = |ip: &str, prefix| {
            netmask(Address {
                ip: ip.parse().unwrap(),
                prefix,
            })
        };
        for (ip, prefix, text) in [
            ("10.0.0.1", 0, "0.0.0.0"),
            ("10.0.0.1", 23, "255.255.254.0"),
            ("10.0.0.1", 32, "255.255.255.255"),
            ("fd00::1", 0, "::"),
            ("fd00::1", 64, "ffff:ffff:ffff:ffff::"),
            ("fd00::1", 128, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ] {
            assert_eq!(mask(ip, prefix), text);
        }
    }
}

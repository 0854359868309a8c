//! Whether the admin interface's address, netmask and gateway can work together.

use std::net::{IpAddr, Ipv4Addr};

use super::reader::Diagnostics;
use crate::model::node::AdminInterface;

/// Adds a problem where no system could use the interface's own address; `at` is the path of the interface.
pub(super) fn own(address: IpAddr, prefix: u8, at: &str, diagnostics: &mut Diagnostics) {
    if prefix == 0 {
        let what = "covers every address there is, so that nothing would go through the gateway";
        diagnostics.add(
            format!("{at}.netmask"),
            what,
            "give one like `255.255.255.0`",
        );
    } else if let Some(why) = unusable(address).or_else(|| reserved(address, address, prefix)) {
        let what = format!("`{address}` {why}");
        let hint = "give the address that the node shall have";
        diagnostics.add(format!("{at}.ip_address"), what, hint);
    }
}

/// Adds a problem where the gateway, whose path is `at`, cannot be reached from the interface; warns where it can be
/// reached only because the route is marked `on-link`.
pub(super) fn gateway(admin: &AdminInterface, at: &str, diagnostics: &mut Diagnostics) {
    let Some(gateway) = admin.gateway else { return };
    let (address, prefix) = (admin.address, admin.prefix);
    let why = if gateway == address {
        Some("is the node's own address".to_owned())
    } else if gateway.is_ipv4() != address.is_ipv4() {
        Some(format!(
            "is of another family than the node's address {address}"
        ))
    } else {
        unusable(gateway)
            .or_else(|| reserved(gateway, address, prefix))
            .map(ToOwned::to_owned)
    };
    if let Some(why) = why {
        let hint = "give the router's address, or an empty text where there is none";
        diagnostics.add(at, format!("`{gateway}` {why}"), hint);
    } else if admin.needs_on_link() {
        diagnostics.warn(format!(
            "`{at}`: {gateway} is outside of the node's network {address}/{prefix}; the default route is set up \
             `on-link`"
        ));
    }
}

/// Why no interface can have the address.
pub(super) fn unusable(address: IpAddr) -> Option<&'static str> {
    let special = match address {
        IpAddr::V4(four) => four.octets()[0] == 0 || four.octets()[0] >= 240,
        IpAddr::V6(six) => six.is_unspecified() || six.to_ipv4_mapped().is_some(),
    };
    if address.is_loopback() {
        Some("is a loopback address")
    } else if address.is_multicast() {
        Some("is a multicast address")
    } else if special {
        Some("is not the address of a host")
    } else {
        None
    }
}

/// Why `address` is not free for a host in the network of `member`. Networks of one or two addresses reserve none (RFC
/// 3021), and IPv6 has no broadcast.
fn reserved(address: IpAddr, member: IpAddr, prefix: u8) -> Option<&'static str> {
    let (IpAddr::V4(address), IpAddr::V4(member)) = (address, member) else {
        return None;
    };
    let hosts = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
    let network = member.to_bits() & !hosts;
    if prefix >= 31 {
        None
    } else if address == Ipv4Addr::from_bits(network) {
        Some("is the address of its network, not of a host in it")
    } else if address == Ipv4Addr::from_bits(network | hosts) {
        Some("is the broadcast address of its network")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Problems and warnings for an interface and its gateway.
    fn reported(address: &str, prefix: u8, router: &str) -> String {
        let admin = AdminInterface {
            name: "eth0".to_owned(),
            mac: "52:54:00:a1:00:01".to_owned(),
            address: address.parse().unwrap(),
            netmask: String::new(),
            prefix,
            gateway: router.parse().ok(),
        };
        let mut diagnostics = Diagnostics::default();
        own(admin.address, prefix, "eth0", &mut diagnostics);
        gateway(&admin, "gw", &mut diagnostics);
        let problems = diagnostics
            .problems
            .iter()
            .map(|problem| format!("{}: {}", problem.path, problem.what));
        problems
            .chain(diagnostics.warnings)
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn networks_that_work_are_accepted() {
        for (address, prefix, router) in [
            ("10.20.0.3", 24, "10.20.0.1"),
            ("10.20.0.3", 24, ""),
            ("192.0.2.0", 31, "192.0.2.1"),
            ("10.0.1.0", 16, "10.0.0.255"),
            ("fd00::3", 64, "fd00::1"),
            ("fd00::3", 64, "fe80::1"),
        ] {
            assert_eq!(
                reported(address, prefix, router),
                "",
                "{address}/{prefix} {router}"
            );
        }
    }

    #[test]
    fn a_router_outside_of_the_network_is_on_the_link() {
        for (address, prefix, router) in [
            ("192.0.2.23", 24, "10.9.9.1"),
            ("192.0.2.23", 32, "192.0.2.1"),
            ("fd00::3", 128, "fd00::1"),
        ] {
            let reported = reported(address, prefix, router);
            assert!(
                reported.starts_with("`gw`: ") && reported.ends_with("`on-link`"),
                "{reported}"
            );
        }
    }

    #[expect(clippy::too_many_lines, reason = "most of them are the cases")]
    #[test]
    fn networks_that_cannot_work_are_problems() {
        for (address, prefix, router, problem) in [
            (
                "10.20.0.0",
                24,
                "10.20.0.1",
                "eth0.ip_address: `10.20.0.0` is the address of its network",
            ),
            (
                "10.20.0.255",
                24,
                "10.20.0.1",
                "eth0.ip_address: `10.20.0.255` is the broadcast",
            ),
            (
                "10.20.0.3",
                0,
                "10.20.0.1",
                "eth0.netmask: covers every address",
            ),
            (
                "0.0.0.0",
                24,
                "",
                "eth0.ip_address: `0.0.0.0` is not the address of a host",
            ),
            (
                "255.255.255.255",
                32,
                "",
                "eth0.ip_address: `255.255.255.255` is not the address",
            ),
            (
                "127.0.0.1",
                8,
                "",
                "eth0.ip_address: `127.0.0.1` is a loopback",
            ),
            (
                "ff02::1",
                64,
                "",
                "eth0.ip_address: `ff02::1` is a multicast",
            ),
            (
                "::ffff:10.0.0.1",
                96,
                "",
                "eth0.ip_address: `::ffff:10.0.0.1` is not",
            ),
            (
                "10.20.0.3",
                24,
                "10.20.0.3",
                "gw: `10.20.0.3` is the node's own",
            ),
            (
                "10.20.0.3",
                24,
                "10.20.0.0",
                "gw: `10.20.0.0` is the address of its network",
            ),
            (
                "10.20.0.3",
                24,
                "10.20.0.255",
                "gw: `10.20.0.255` is the broadcast",
            ),
            (
                "10.20.0.3",
                24,
                "0.0.0.0",
                "gw: `0.0.0.0` is not the address of a host",
            ),
            (
                "10.20.0.3",
                24,
                "224.0.0.1",
                "gw: `224.0.0.1` is a multicast",
            ),
            (
                "10.20.0.3",
                24,
                "fe80::1",
                "gw: `fe80::1` is of another family",
            ),
            (
                "fd00::3",
                64,
                "10.20.0.1",
                "gw: `10.20.0.1` is of another family",
            ),
        ] {
            let reported = reported(address, prefix, router);
            assert!(
                reported.starts_with(problem) && !reported.contains('\n'),
                "{reported}\nnot {problem}"
            );
        }
    }
}

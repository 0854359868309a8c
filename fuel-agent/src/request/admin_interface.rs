//! The interface that a node boots from, and the names that its interfaces get.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::addresses;
use super::names;
use super::node::{Reader, Refused};
use super::reader::{JsonCursor, redacted};
use crate::model::node::AdminInterface;

impl Reader<'_> {
    /// `MAC_NAME,MAC_NAME`: cut at the first underscore, so that names may have one; empty pieces are passed over.
    pub(super) fn udevrules(
        &mut self,
        kernel_options: &JsonCursor<'_>,
    ) -> Option<Vec<(String, String)>> {
        let right = "pairs like `08:00:27:79:da:80_eth0,08:00:27:46:43:60_eth1`";
        let text = kernel_options.required_text("udevrules", right, self.diagnostics)?;
        let mut pairs = Vec::new();
        for piece in text
            .split(',')
            .map(str::trim)
            .filter(|piece| !piece.is_empty())
        {
            let pair = piece
                .split_once('_')
                .and_then(|(mac, name)| Some((names::mac(mac)?, name)));
            match pair {
                Some((mac, name)) if names::is_interface_name(name) => {
                    pairs.push((mac, name.to_owned()));
                }
                _ => self.diagnostics.add(
                    kernel_options.path_of("udevrules"),
                    format!(
                        "`{}` is not a MAC address and an interface name",
                        redacted(piece)
                    ),
                    format!("give {right}"),
                ),
            }
        }
        for (index, (mac, name)) in pairs.iter().enumerate() {
            let mut earlier = pairs.iter().take(index);
            if earlier.any(|(other, named)| other == mac || named == name) {
                self.diagnostics.add(
                    kernel_options.path_of("udevrules"),
                    format!("`{mac}` or `{name}` is in it twice"),
                    "give each interface one name of its own",
                );
            }
        }
        Some(pairs)
    }

    /// The admin interface with the name that udev will give it: everything else that names it has to use the same.
    pub(super) fn renamed(
        &mut self,
        admin: AdminInterface,
        names: Option<&[(String, String)]>,
    ) -> AdminInterface {
        let mut names = names.unwrap_or_default().iter();
        match names.find(|(mac, name)| *mac == admin.mac && *name != admin.name) {
            None => admin,
            Some((_, name)) => {
                self.diagnostics.warn(format!(
                    "`interfaces`: `{}` is called `{name}` in `udevrules`, and that is the name it gets",
                    admin.name
                ));
                AdminInterface {
                    name: name.clone(),
                    ..admin
                }
            }
        }
    }

    /// The interface whose MAC address is the one that the node boots from.
    pub(super) fn admin(
        &mut self,
        document: &JsonCursor<'_>,
        kernel_options: Option<&JsonCursor<'_>>,
        gateway: Result<Option<IpAddr>, Refused>,
    ) -> Option<AdminInterface> {
        let wanted = kernel_options.and_then(|at| {
            let key = "netcfg/choose_interface";
            let right = "the MAC address of the interface that boots";
            at.required_text(key, right, self.diagnostics)
        });
        let right = "an object from interface name to `{mac_address, ip_address, netmask}`";
        let interfaces = document.require("interfaces", right, self.diagnostics)?;
        let entries = interfaces.entries(self.diagnostics);
        let wanted = wanted?;
        // Upstream compares byte for byte and crashes where only the case differs.
        let matches: Vec<&(&str, JsonCursor<'_>)> = entries
            .iter()
            .filter(|(_, at)| {
                at.get("mac_address")
                    .and_then(|mac| mac.value().as_str())
                    .is_some_and(|mac| mac.eq_ignore_ascii_case(wanted))
            })
            .collect();
        let Some(&(name, at)) = matches.first() else {
            let known: Vec<String> = entries
                .iter()
                .filter_map(|(_, at)| {
                    Some(format!("`{}`", at.get("mac_address")?.value().as_str()?))
                })
                .collect();
            self.diagnostics.add(
                interfaces.path(),
                format!("no interface has the `mac_address` `{}`", redacted(wanted)),
                format!(
                    "make one of them equal to `kernel_options[\"netcfg/choose_interface\"]`; there are {}",
                    if known.is_empty() { "none".to_owned() } else { known.join(", ") }
                ),
            );
            return None;
        };
        if matches.len() > 1 {
            self.diagnostics.warn(format!(
                "`interfaces`: {} have the MAC address `{wanted}`; `{name}` is taken",
                matches.len()
            ));
        }
        let text =
            |at: &JsonCursor<'_>| Some(at.get("ip_address")?.value().as_str()?.trim().to_owned());
        let own = text(at);
        let mut others = entries.iter().filter(|entry| entry.0 != *name);
        if let Some((_, other)) = others.find(|(_, other)| own.is_some() && text(other) == own) {
            let what = format!("is the address of `{name}` too");
            let hint = "give each interface an address of its own";
            self.diagnostics
                .add(other.path_of("ip_address"), what, hint);
        }
        self.interface(name, at, wanted, gateway)
    }

    fn interface(
        &mut self,
        name: &str,
        at: &JsonCursor<'_>,
        mac: &str,
        gateway: Result<Option<IpAddr>, Refused>,
    ) -> Option<AdminInterface> {
        if !names::is_interface_name(name) {
            self.diagnostics.add(
                at.path(),
                format!("`{}` is not a valid interface name", redacted(name)),
                "use at most 15 letters, digits and `._-`",
            );
        }
        let lower = names::mac(mac);
        if lower.is_none() {
            self.diagnostics.add(
                at.path_of("mac_address"),
                format!("`{}` is not a valid MAC address", redacted(mac)),
                "give six bytes like `08:00:27:79:da:80`",
            );
        }
        let text = at.required_text("ip_address", "the interface's address", self.diagnostics);
        let address = text.and_then(|text| self.address(text, &at.path_of("ip_address")));
        let netmask = at.required_text(
            "netmask",
            "a netmask like `255.255.255.0`",
            self.diagnostics,
        );
        let prefix = netmask.and_then(|mask| self.prefix(mask, address, at));
        if let (Some(address), Some(prefix)) = (address, prefix) {
            addresses::own(address, prefix, at.path(), self.diagnostics);
        }
        Some(AdminInterface {
            name: name.to_owned(),
            mac: lower?,
            address: address?,
            netmask: netmask?.to_owned(),
            prefix: prefix?,
            gateway: gateway.ok()?,
        })
    }

    fn prefix(
        &mut self,
        netmask: &str,
        address: Option<IpAddr>,
        at: &JsonCursor<'_>,
    ) -> Option<u8> {
        // A wrong address has its own problem; its netmask is still checked.
        let family = address.unwrap_or(if netmask.contains(':') {
            IpAddr::V6(Ipv6Addr::UNSPECIFIED)
        } else {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED)
        });
        let prefix = names::prefix(netmask.trim(), family);
        if prefix.is_none() {
            let of = address.map_or_else(String::new, |address| format!(" for {address}"));
            self.diagnostics.add(
                at.path_of("netmask"),
                format!("`{}` is not a valid netmask{of}", redacted(netmask)),
                "give one like `255.255.255.0`",
            );
        }
        prefix
    }

    fn address(&mut self, text: &str, path: &str) -> Option<IpAddr> {
        let address = text.trim().parse().ok();
        if address.is_none() {
            let what = format!("`{}` is not a valid IP address", redacted(text));
            self.diagnostics
                .add(path, what, "give one like `10.20.0.3`");
        }
        address
    }

    /// Required, but may be an explicit "none".
    pub(super) fn gateway(&mut self, ks_meta: &JsonCursor<'_>) -> Result<Option<IpAddr>, Refused> {
        let right = "the default gateway's address";
        let at = ks_meta
            .require("gw", right, self.diagnostics)
            .ok_or(Refused)?;
        if !at.truthy() {
            let what = format!("`{}` is empty: the node gets no default gateway", at.path());
            self.diagnostics.warn(what);
            return Ok(None);
        }
        let text = at.text(self.diagnostics).ok_or(Refused)?;
        self.address(text, at.path()).map(Some).ok_or(Refused)
    }
}

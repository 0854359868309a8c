//! Identity of the node: everything that upstream passes to its cloud-init templates.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::Value;

use super::accounts;
use super::addresses;
use super::names;
use super::reader::{Diagnostics, JsonCursor, redacted};
use crate::model::node::{AdminInterface, Mcollective, NodeSpec, Puppet, Secret};

/// Where upstream's own default lives.
const TIMEZONE: &str = "America/Los_Angeles";

/// Reads the node's identity; what is missing or wrong has its problem, what is unusual its warning.
pub(super) fn read(
    document: &JsonCursor<'_>,
    ks_meta: Option<&JsonCursor<'_>>,
    diagnostics: &mut Diagnostics,
) -> Option<NodeSpec> {
    let mut reader = Reader { diagnostics };
    let hostname = reader.hostname(document);
    let name_servers = reader.name_servers(document);
    let search_domain = reader.search_domain(document);
    let kernel_options = document.require(
        "kernel_options",
        "an object with `netcfg/choose_interface` and `udevrules`",
        reader.diagnostics,
    );
    let interface_names = kernel_options.as_ref().and_then(|at| reader.udevrules(at));
    let gateway = ks_meta.ok_or(Refused).and_then(|at| reader.gateway(at));
    let admin = reader.admin(document, kernel_options.as_ref(), gateway);
    let admin = admin.map(|admin| reader.renamed(admin, interface_names.as_deref()));
    let ks_meta = ks_meta?;
    if let Some(admin) = &admin {
        addresses::gateway(admin, &ks_meta.path_of("gw"), reader.diagnostics);
    }
    let master_ip = reader.server(ks_meta, "master_ip", "the orchestrator's address", true);
    let own = admin.as_ref().map(|admin| admin.address);
    if let Some(same) = own.filter(|own| master_ip.as_deref() == Some(&own.to_string())) {
        let what = format!("`{same}` is the address of the node itself");
        let hint = "give the address of the orchestrator";
        reader
            .diagnostics
            .add(ks_meta.path_of("master_ip"), what, hint);
    }
    let timezone = reader.timezone(ks_meta);
    let authorized_keys = reader.keys(ks_meta);
    let accounts = accounts::read(ks_meta, reader.diagnostics);
    let puppet = reader.puppet(ks_meta);
    let mcollective = reader.mcollective(ks_meta);
    let repos = ks_meta
        .require("repo_setup", "an object with `repos`", reader.diagnostics)
        .and_then(|at| at.require("repos", "an array of package sources", reader.diagnostics))
        .map(|at| at.value().clone());
    Some(NodeSpec {
        hostname: hostname?,
        admin: admin?,
        name_servers: name_servers?,
        search_domain: search_domain?,
        interface_names: interface_names?,
        master_ip: master_ip?,
        timezone: timezone?,
        authorized_keys: authorized_keys?,
        accounts,
        puppet: puppet?,
        mcollective: mcollective?,
        repos: repos?,
    })
}

/// There is a problem, and it has been added.
#[derive(Clone, Copy, Debug)]
struct Refused;

struct Reader<'a> {
    diagnostics: &'a mut Diagnostics,
}

impl Reader<'_> {
    /// A required value that upstream passes on unchecked: strings and numbers as text, null as nothing.
    fn any(&mut self, at: &JsonCursor<'_>, key: &str, right: &str) -> Option<String> {
        let found = at.require(key, right, self.diagnostics)?;
        match found.value() {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Null => {
                self.diagnostics
                    .warn(format!("`{}` is null and taken as empty", found.path()));
                Some(String::new())
            }
            _ => {
                found.wrong("a string", self.diagnostics);
                None
            }
        }
    }

    /// The same, for what becomes part of one line of a file.
    fn line(&mut self, at: &JsonCursor<'_>, key: &str, right: &str) -> Option<String> {
        let text = self.any(at, key, right)?;
        if names::has_control(&text) {
            let what = "has control characters in it";
            self.diagnostics
                .add(at.path_of(key), what, "give one line of text");
            return None;
        }
        Some(text)
    }

    /// The name or address of a server, which becomes part of URLs and configuration files; empty only where it is not
    /// `needed`.
    fn server(
        &mut self,
        at: &JsonCursor<'_>,
        key: &str,
        right: &str,
        needed: bool,
    ) -> Option<String> {
        let text = self.line(at, key, right)?;
        let good = text.parse::<IpAddr>().is_ok() || names::is_hostname(&text);
        if good || (text.is_empty() && !needed) {
            return Some(text);
        }
        let what = format!(
            "`{}` is neither an IP address nor a host name",
            redacted(&text)
        );
        self.diagnostics
            .add(at.path_of(key), what, "give one like `10.20.0.2`");
        None
    }

    /// Domains between spaces or commas; none is fine.
    fn search_domain(&mut self, document: &JsonCursor<'_>) -> Option<String> {
        let key = "name_servers_search";
        let text = self.line(document, key, "the search domain")?;
        let domains = names::unquoted(&text);
        let mut words = domains
            .split(|c: char| c == ',' || c.is_whitespace())
            .filter(|word| !word.is_empty());
        if let Some(word) = words.find(|word| !names::is_hostname(word)) {
            let what = format!("`{}` is not a valid domain", redacted(word));
            let hint = "use letters, digits, hyphens and dots, like `domain.tld`";
            self.diagnostics.add(document.path_of(key), what, hint);
            return None;
        }
        Some(domains.to_owned())
    }

    fn hostname(&mut self, document: &JsonCursor<'_>) -> Option<String> {
        let name =
            document.required_text("hostname", "the node's qualified name", self.diagnostics)?;
        if !names::is_hostname(name) {
            self.diagnostics.add(
                document.path_of("hostname"),
                format!("`{}` is not a valid host name", redacted(name)),
                "use letters, digits, hyphens and dots, like `node-1.domain.tld`",
            );
            return None;
        }
        Some(name.to_owned())
    }

    fn name_servers(&mut self, document: &JsonCursor<'_>) -> Option<Vec<String>> {
        let right = "the name servers, like `10.20.0.2`";
        // One string in Fuel; a list is what everyone else would send.
        let list = document
            .get("name_servers")
            .filter(|at| at.value().is_array());
        let text = match list {
            Some(list) => {
                let items = list.items(self.diagnostics);
                let texts = items.iter().filter_map(|at| at.text(self.diagnostics));
                texts.collect::<Vec<_>>().join(",")
            }
            None => self.any(document, "name_servers", right)?,
        };
        let mut servers: Vec<String> = Vec::new();
        for server in text
            .split(|c: char| c == ',' || c.is_whitespace())
            .map(names::unquoted)
            .map(|part| part.trim_matches('"'))
        {
            let address = server.parse::<IpAddr>().ok();
            let is_host =
                |address: &IpAddr| address.is_loopback() || addresses::unusable(*address).is_none();
            if address.is_some_and(|address| is_host(&address)) {
                if !servers.iter().any(|other| other == server) {
                    servers.push(server.to_owned());
                }
            } else if !server.is_empty() {
                self.diagnostics.warn(format!(
                    "`name_servers`: `{}` is not an IP address of a host and is left out",
                    redacted(server)
                ));
            }
        }
        Some(servers)
    }

    /// `MAC_NAME,MAC_NAME`: cut at the first underscore, so that names may have one; empty pieces are passed over.
    fn udevrules(&mut self, kernel_options: &JsonCursor<'_>) -> Option<Vec<(String, String)>> {
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
            let earlier = &pairs[..index];
            if earlier.iter().any(|(other, _)| other == mac)
                || earlier.iter().any(|(_, other)| other == name)
            {
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
    fn renamed(
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
    fn admin(
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
    fn gateway(&mut self, ks_meta: &JsonCursor<'_>) -> Result<Option<IpAddr>, Refused> {
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

    fn timezone(&mut self, ks_meta: &JsonCursor<'_>) -> Option<String> {
        let Some(at) = ks_meta.get("timezone").filter(JsonCursor::truthy) else {
            return Some(TIMEZONE.to_owned());
        };
        let zone = at.text(self.diagnostics)?;
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '+' | '-');
        if !zone.chars().all(allowed) || zone.starts_with(['/', '-']) {
            let what = format!("`{}` is not a valid time zone", redacted(zone));
            self.diagnostics.add(
                at.path(),
                what,
                format!("give one like `{TIMEZONE}` or `Etc/UTC`"),
            );
            return None;
        }
        Some(zone.to_owned())
    }

    /// `authorized_keys`, then `auth_key`; null for the list is fine only where upstream does not append to it.
    fn keys(&mut self, ks_meta: &JsonCursor<'_>) -> Option<Vec<String>> {
        let right = "an array of ssh keys, which may be empty";
        let list = ks_meta.require("authorized_keys", right, self.diagnostics);
        let right = "an ssh key, which may be empty";
        let appended = ks_meta.require("auth_key", right, self.diagnostics);
        let (list, appended) = (list?, appended?);
        let mut items = match list.value() {
            Value::Null if !appended.truthy() => Vec::new(),
            _ => list.items(self.diagnostics),
        };
        if appended.truthy() {
            items.push(appended);
        }
        Some(accounts::keys(&items, self.diagnostics))
    }

    /// Upstream's templates compare with the number 1: `"1"` is off.
    fn switch(&mut self, ks_meta: &JsonCursor<'_>, key: &str) -> Option<bool> {
        let at = ks_meta.require(key, "1 or 0", self.diagnostics)?;
        let on = at.value().as_f64() == Some(1.0) || at.value() == &Value::Bool(true);
        if !on && at.truthy() {
            self.diagnostics.warn(format!(
                "`{}` is neither 1 nor 0 and taken as 0, as upstream takes it",
                at.path()
            ));
        }
        Some(on)
    }

    fn puppet(&mut self, ks_meta: &JsonCursor<'_>) -> Option<Puppet> {
        let enable = self.switch(ks_meta, "puppet_enable");
        let (key, right) = ("puppet_master", "the name of the puppet server");
        let master = if enable == Some(true) {
            self.server(ks_meta, key, right, true)
        } else {
            self.line(ks_meta, key, right)
        };
        Some(Puppet {
            master: master?,
            enable: enable?,
        })
    }

    fn mcollective(&mut self, ks_meta: &JsonCursor<'_>) -> Option<Mcollective> {
        let shared_key = self.line(ks_meta, "mco_pskey", "mcollective's pre-shared key");
        let vhost = self.line(ks_meta, "mco_vhost", "mcollective's virtual host");
        let host = self.line(ks_meta, "mco_host", "mcollective's server");
        let user_name = self.line(ks_meta, "mco_user", "mcollective's user");
        let password = self.line(ks_meta, "mco_password", "mcollective's password");
        let connector = self.line(ks_meta, "mco_connector", "`rabbitmq` or `stomp`");
        let enable = self.switch(ks_meta, "mco_enable");
        let identity = self.line(ks_meta, "mco_identity", "the node's number");
        Some(Mcollective {
            pskey: Secret::new(shared_key?),
            vhost: vhost?,
            host: host?,
            user: user_name?,
            password: Secret::new(password?),
            connector: connector?,
            enable: enable?,
            identity: identity?,
        })
    }
}

//! Identity of the node: everything that upstream passes to its cloud-init templates.

use std::net::IpAddr;

use serde_json::Value;

use super::accounts;
use super::addresses;
use super::names;
use super::reader::{Diagnostics, JsonCursor, redacted};
use crate::model::node::{Mcollective, NodeSpec, Puppet, Secret};

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
pub(super) struct Refused;

/// Reads parts of the identity and adds their problems.
pub(super) struct Reader<'a> {
    pub(super) diagnostics: &'a mut Diagnostics,
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

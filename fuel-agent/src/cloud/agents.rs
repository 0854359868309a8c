//! Configuration of the programs on a node that Fuel's orchestrator talks to.

use crate::model::node::{Mcollective, NodeSpec, Puppet};

/// The default port of Fuel's message bus; requests do not state another.
const BUS_PORT: u16 = 61613;

fn one_line(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

/// Where Fuel's discovery agent reports to.
pub(super) fn discovery(node: &NodeSpec) -> String {
    format!("---\nurl: \"http://{}:8000/api\"\n", host(&node.master_ip))
}

/// All log messages go to the orchestrator too, by UDP.
pub(super) fn remote_log(node: &NodeSpec) -> String {
    format!("*.* @{}\n", host(&node.master_ip))
}

/// A host before a port: IPv6 addresses in brackets.
fn host(address: &str) -> String {
    let address = one_line(address);
    if address.contains(':') {
        format!("[{address}]")
    } else {
        address
    }
}

/// mcollective's server.cfg: one `key = value` per line, so that no value has to be quoted for YAML.
pub(super) fn mcollective(settings: &Mcollective) -> String {
    let connector = one_line(&settings.connector);
    let (psk, password) = (
        one_line(settings.pskey.reveal()),
        one_line(settings.password.reveal()),
    );
    let (server, user) = (one_line(&settings.host), one_line(&settings.user));
    let vhost = one_line(&settings.vhost);
    let mut lines = vec![
        "main_collective = mcollective".to_owned(),
        "collectives = mcollective".to_owned(),
        "libdir = /usr/share/mcollective/plugins".to_owned(),
        "logfile = /var/log/mcollective.log".to_owned(),
        "loglevel = debug".to_owned(),
        "daemonize = 1".to_owned(),
        "direct_addressing = 1".to_owned(),
        "ttl = 4294957".to_owned(),
        "securityprovider = psk".to_owned(),
        format!("plugin.psk = {psk}"),
        format!("identity = {}", one_line(&settings.identity)),
        format!("connector = {connector}"),
    ];
    if connector == "stomp" {
        lines.extend([
            format!("plugin.stomp.host = {server}"),
            format!("plugin.stomp.port = {BUS_PORT}"),
            format!("plugin.stomp.user = {user}"),
            format!("plugin.stomp.password = {password}"),
        ]);
    } else {
        lines.extend([
            format!("plugin.rabbitmq.vhost = {vhost}"),
            "plugin.rabbitmq.pool.size = 1".to_owned(),
            format!("plugin.rabbitmq.pool.1.host = {server}"),
            format!("plugin.rabbitmq.pool.1.port = {BUS_PORT}"),
            format!("plugin.rabbitmq.pool.1.user = {user}"),
            format!("plugin.rabbitmq.pool.1.password = {password}"),
            "plugin.rabbitmq.heartbeat_interval = 30".to_owned(),
        ]);
    }
    lines.extend([
        "factsource = yaml".to_owned(),
        "plugin.yaml = /etc/mcollective/facts.yaml".to_owned(),
    ]);
    lines.join("\n") + "\n"
}

/// puppet.conf of a node with a puppet server.
pub(super) fn puppet(settings: &Puppet, fqdn: &str) -> String {
    format!(
        "[main]\nlogdir = /var/log/puppet\nvardir = /var/lib/puppet\nssldir = $vardir/ssl\n\n[agent]\nserver = {}\n\
         certname = {}\npluginsync = true\n",
        one_line(&settings.master),
        one_line(fqdn)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::sample_plan;

    #[test]
    fn both_connectors_have_their_settings() {
        let mut settings = sample_plan::node().mcollective;
        insta::assert_snapshot!(mcollective(&settings), @"
        main_collective = mcollective
        collectives = mcollective
        libdir = /usr/share/mcollective/plugins
        logfile = /var/log/mcollective.log
        loglevel = debug
        daemonize = 1
        direct_addressing = 1
        ttl = 4294957
        securityprovider = psk
        plugin.psk = unset
        identity = 1
        connector = rabbitmq
        plugin.rabbitmq.vhost = mcollective
        plugin.rabbitmq.pool.size = 1
        plugin.rabbitmq.pool.1.host = 10.20.0.2
        plugin.rabbitmq.pool.1.port = 61613
        plugin.rabbitmq.pool.1.user = mcollective
        plugin.rabbitmq.pool.1.password = mc-secret
        plugin.rabbitmq.heartbeat_interval = 30
        factsource = yaml
        plugin.yaml = /etc/mcollective/facts.yaml
        ");
        settings.connector = "stomp".to_owned();
        let text = mcollective(&settings);
        assert!(
            text.contains("plugin.stomp.port = 61613\n") && !text.contains("rabbitmq"),
            "{text}"
        );
    }

    #[test]
    fn a_value_stays_in_its_line() {
        let mut settings = sample_plan::node().puppet;
        settings.master = "a\nb = c".to_owned();
        let text = puppet(&settings, "node-1");
        assert!(text.contains("\nserver = ab = c\n"), "{text}");
    }

    #[test]
    fn an_address_of_ipv6_is_bracketed() {
        let mut node = sample_plan::node();
        assert_eq!(remote_log(&node), "*.* @10.20.0.2\n");
        node.master_ip = "fd77::1".to_owned();
        assert_eq!(
            discovery(&node),
            "---\nurl: \"http://[fd77::1]:8000/api\"\n"
        );
    }
}

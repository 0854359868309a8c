//! Whether the ssh server that answers is the node: by what the node's serial console prints of its ramdisk, and by
//! what cloud-init of its installed system posts.

use std::fs;

use anyhow::{Context, Result};
use host::exec::{Cmd, Exec};

use crate::events::{Event, Events, Source};
use crate::lab::Lab;
use crate::network;
use crate::tools::Tool;

impl Lab {
    /// Writes the host keys of a node that are known by now to the file that ssh checks.
    pub(crate) fn learn_host_keys(&mut self, number: u8) -> Result<()> {
        let address = network::node_address(number).to_string();
        let mac = network::node_mac(number);
        let posted = self.orchestrator.node(&mac).and_then(|node| node.host_keys);
        let mut lines: Vec<String> = posted
            .iter()
            .flat_map(|body| posted_keys(body))
            .map(|key| format!("{address} {key}"))
            .collect();
        lines.extend(self.shown_key(&address)?);
        fs::write(self.work.join("known_hosts"), lines.join("\n") + "\n")
            .context("cannot write the known hosts")
    }

    /// The key that the server at this address shows now, if the console has its fingerprint.
    fn shown_key(&mut self, address: &str) -> Result<Option<String>> {
        let scan = Cmd::new(Tool::SshKeyscan)
            .args(["-T", "5", "-t", "ed25519", address])
            .accept(&[0, 1]);
        let shown = self.system.run(&scan)?.stdout;
        let Some(line) = shown.lines().find(|line| line.starts_with(address)) else {
            return Ok(None);
        };
        let file = self.work.join("shown_key");
        fs::write(&file, line).context("cannot write a host key")?;
        let print = Cmd::new(Tool::SshKeygen).args(["-l", "-f"]).arg(&file);
        let printed = self.system.run(&print)?.stdout;
        let fingerprint = printed.split_whitespace().nth(1);
        let is_known = fingerprint.is_some_and(|it| is_on_console(&self.events, it));
        Ok(is_known.then(|| line.to_owned()))
    }
}

/// Whether the ramdisk has said on the console that this is its host key.
fn is_on_console(events: &Events, fingerprint: &str) -> bool {
    let text = format!("(host key {fingerprint})");
    let is_it = |event: &Event| event.source == Source::Console && event.text.contains(&text);
    let found = events.wait(0, std::time::Duration::ZERO, is_it, |_| ());
    found.is_some()
}

/// The public keys in the form that cloud-init posts: kind and base64, without the comment.
fn posted_keys(body: &str) -> Vec<String> {
    url::form_urlencoded::parse(body.as_bytes())
        .filter(|(name, _)| name.starts_with("pub_key_"))
        .filter_map(|(_, key)| {
            let mut words = key.split_whitespace();
            Some(format!("{} {}", words.next()?, words.next()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_taken_from_the_form_of_cloud_init() {
        let body = "instance_id=i-7&pub_key_ed25519=ssh-ed25519+AAAA%2B%2Fx+root%40node%0A&pub_key_ecdsa=N%2FA";
        assert_eq!(posted_keys(body), ["ssh-ed25519 AAAA+/x"]);
    }

    #[test]
    fn only_a_fingerprint_on_the_console_counts() {
        let events = Events::new();
        let line = "provision: reachable: ssh root@10.0.0.1 (host key SHA256:abc)";
        events.record(Source::Orchestrator, line.replace("abc", "def"));
        events.record(Source::Console, line);
        assert!(is_on_console(&events, "SHA256:abc"));
        assert!(!is_on_console(&events, "SHA256:ab"));
        assert!(!is_on_console(&events, "SHA256:def"));
    }
}

//! The web server, on loopback and behind links of limited rate, all in namespaces of our own.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use host::exec::{Cmd, Program, Running, System};
use host::wait;
use testbed::{nginx, shell};

use crate::rows::Link;

/// Starts programs in the namespace at the other end of the link.
const IP: Program = Program::new("ip", "iproute2");

/// The namespace behind the link.
const FAR: &str = "far";

/// The server's address on the link.
const ADDRESS: &str = "10.78.0.1";

/// The port everywhere.
const PORT: u16 = 8080;

/// The server while it runs.
#[derive(Debug)]
pub(crate) struct Server {
    _web: Running,
}

impl Server {
    /// Serves `folder` on loopback and on a link to another namespace; logs and configuration go to `work`.
    pub(crate) fn start(system: &mut System, work: &Path, folder: &Path) -> Result<Self> {
        // The namespace's name is a file under /run/netns; /run is ours by now.
        let link = format!(
            "ip link set lo up; ip netns add {FAR}; ip link add near type veth peer name {FAR} netns {FAR}\n\
             ip addr add {ADDRESS}/24 dev near; ip link set near up\n\
             ip -n {FAR} link set lo up; ip -n {FAR} addr add 10.78.0.2/24 dev {FAR}; ip -n {FAR} link set {FAR} up"
        );
        shell::run(system, Path::new("/"), &link).context("cannot make the network")?;
        let web = nginx::start(
            system,
            work,
            &format!("listen {PORT}; root {}; access_log off;", folder.display()),
        )?;
        wait::until(Duration::from_secs(30), || {
            Ok(std::net::TcpStream::connect(("127.0.0.1", PORT)).ok())
        })
        .context("nginx does not answer")?;
        Ok(Self { _web: web })
    }
}

/// The base of all URLs as they are seen over the link.
pub(crate) fn url(link: Link) -> String {
    match link {
        Link::Loopback => format!("http://127.0.0.1:{PORT}"),
        Link::Gigabit | Link::TenGigabit => format!("http://{ADDRESS}:{PORT}"),
    }
}

/// Sets the rate at which the server can send over the link.
pub(crate) fn shape(system: &mut System, link: Link) -> Result<()> {
    // A burst is what is sent at full speed after a pause: a millisecond's worth, and no less than one packet of the
    // largest size that the kernel hands down at once.
    let rate = match link {
        Link::Loopback => return Ok(()),
        Link::Gigabit => "rate 1gbit burst 128kb",
        Link::TenGigabit => "rate 10gbit burst 1280kb",
    };
    let shaped = format!("tc qdisc replace dev near root tbf {rate} latency 20ms");
    shell::run(system, Path::new("/"), &shaped).context("cannot limit the rate of the link")
}

/// The start of a line at the other end of the link.
pub(crate) fn behind(link: Link, script: &str) -> Cmd {
    let cmd = shell::command(script);
    match link {
        Link::Loopback => cmd,
        Link::Gigabit | Link::TenGigabit => Cmd {
            program: IP,
            args: ["netns", "exec", FAR, "bash"]
                .into_iter()
                .map(Into::into)
                .chain(cmd.args.clone())
                .collect(),
            ..cmd
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_behind_the_link_is_the_same_line_elsewhere() {
        assert_eq!(
            behind(Link::Loopback, "true").to_string(),
            "bash -euo pipefail -c true"
        );
        assert_eq!(
            behind(Link::Gigabit, "a | b").to_string(),
            "ip netns exec far bash -euo pipefail -c 'a | b'"
        );
    }
}

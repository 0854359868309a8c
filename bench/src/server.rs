//! The file server, on loopback and behind a link of limited rate.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use host::exec::{Cmd, Program, Running, System};
use host::wait;
use testbed::{nginx, shell};

use crate::row::Link;

/// Starts programs in the namespace at the other end of the link.
const IP: Program = Program::new("ip", "iproute2");

/// Name of the network namespace at the other end of the link, and of its interface.
const FAR: &str = "far";

/// Address of the server on the link.
const ADDRESS: &str = "10.78.0.1";

/// Port of the server.
const PORT: u16 = 8080;

/// Serves `folder` on loopback and on a link to another namespace until the value is dropped. Logs and configuration
/// are in `work`.
pub(crate) fn start(system: &mut System, work: &Path, folder: &Path) -> Result<Running> {
    // `ip netns` makes a file in /run/netns: /run is a tmpfs of the run.
    let link = format!(
        "ip link set lo up; ip netns add {FAR}; ip link add near type veth peer name {FAR} netns {FAR}\n\
         ip addr add {ADDRESS}/24 dev near; ip link set near up\n\
         ip -n {FAR} link set lo up; ip -n {FAR} addr add 10.78.0.2/24 dev {FAR}; ip -n {FAR} link set {FAR} up"
    );
    shell::run(system, Path::new("/"), &link).context("cannot set up the network")?;
    let web = nginx::start(
        system,
        work,
        &format!("listen {PORT}; root {}; access_log off;", folder.display()),
    )?;
    wait::until(Duration::from_secs(30), || {
        Ok(std::net::TcpStream::connect(("127.0.0.1", PORT)).ok())
    })
    .context("nginx does not answer")?;
    Ok(web)
}

/// The base URL of the server over the link.
pub(crate) fn url(link: Link) -> String {
    match link {
        Link::Loopback => format!("http://127.0.0.1:{PORT}"),
        Link::Gigabit | Link::TenGigabit => format!("http://{ADDRESS}:{PORT}"),
    }
}

/// Limits the rate at which the server sends over the link.
pub(crate) fn limit_rate(system: &mut System, link: Link) -> Result<()> {
    // The burst is what is sent at full speed after a pause: 1 ms of the rate, and at least one packet of the largest
    // size that the kernel hands to the interface.
    let rate = match link {
        Link::Loopback => return Ok(()),
        Link::Gigabit => "rate 1gbit burst 128kb",
        Link::TenGigabit => "rate 10gbit burst 1280kb",
    };
    let script = format!("tc qdisc replace dev near root tbf {rate} latency 20ms");
    shell::run(system, Path::new("/"), &script).context("cannot limit the rate of the link")
}

/// The script as a command at the other end of the link.
pub(crate) fn command(link: Link, script: &str) -> Cmd {
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
    fn the_same_script_runs_in_the_namespace_behind_a_link() {
        assert_eq!(
            command(Link::Loopback, "true").to_string(),
            "bash -euo pipefail -c true"
        );
        assert_eq!(
            command(Link::Gigabit, "a | b").to_string(),
            "ip netns exec far bash -euo pipefail -c 'a | b'"
        );
    }
}

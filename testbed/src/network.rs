//! The provisioning network: a bridge with a tap for each node, DHCP and TFTP by dnsmasq, images by nginx.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use host::exec::{Cmd, Exec, Running, System};
use nix::sched::{CloneFlags, unshare};

use crate::nginx;
use crate::tools::Tool;

/// The testbed's own address on the provisioning network.
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// Where the orchestrator answers.
pub(crate) const ORCHESTRATOR_PORT: u16 = 8000;
/// Where nginx serves kernels, ramdisks and images.
pub(crate) const FILES_PORT: u16 = 8080;

/// What lies on the file server: `boot/` and `images/`.
#[derive(Debug)]
pub(crate) struct Files {
    /// Folder with `vmlinuz` and `ramdisk.img`.
    pub(crate) boot: PathBuf,
    /// Folder with images.
    pub(crate) images: PathBuf,
}

/// The network while it stands. Its servers stop when it is dropped.
#[derive(Debug)]
pub(crate) struct Network {
    _dhcp: Running,
    _files: Running,
}

/// The orchestrator's address.
pub(crate) fn orchestrator() -> SocketAddr {
    SocketAddr::from((SERVER, ORCHESTRATOR_PORT))
}

/// The file server's URL.
pub(crate) fn files_url() -> String {
    format!("http://{SERVER}:{FILES_PORT}")
}

/// The address that DHCP gives to node `n`, counted from 1.
pub(crate) const fn node_address(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, 100 + n)
}

/// The MAC of node `n`.
pub(crate) fn node_mac(n: u8) -> String {
    format!("52:54:00:77:00:{n:02x}")
}

/// The tap of node `n`.
pub(crate) fn tap(n: u8) -> String {
    format!("tap{n}")
}

impl Network {
    /// Puts it up in the namespace we are in, for `nodes` nodes. Logs and configuration go to `work`.
    pub(crate) fn up(system: &mut System, work: &Path, files: &Files, nodes: u8) -> Result<Self> {
        // Of several labs in one run each has its own: nothing of the one before is in the way of the next. What is
        // started
        // from this thread on is in it, our own threads too.
        unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
        ip(system, "link set lo up")?;
        ip(
            system,
            "link add br0 type bridge stp_state 0 forward_delay 0",
        )?;
        ip(system, &format!("addr add {SERVER}/24 dev br0"))?;
        ip(system, "-6 addr add fd77::1/64 dev br0 nodad")?;
        ip(system, "link set br0 up")?;
        for n in 1..=nodes {
            let tap = tap(n);
            ip(system, &format!("tuntap add {tap} mode tap"))?;
            ip(system, &format!("link set {tap} master br0 up"))?;
        }
        let tftp = tftp_root(work)?;
        let conf = work.join("dnsmasq.conf");
        fs::write(&conf, dnsmasq_conf(work, &tftp, nodes))
            .context("cannot write dnsmasq's configuration")?;
        let dhcp = Cmd::new(Tool::Dnsmasq)
            .arg("--keep-in-foreground")
            .arg(format!("--conf-file={}", conf.display()));
        Ok(Self {
            _dhcp: system
                .spawn(&dhcp, &work.join("dnsmasq.log"))
                .context("cannot start dnsmasq")?,
            _files: nginx::start(system, work, &file_server(files))?,
        })
    }
}

fn ip(system: &mut System, words: &str) -> Result<()> {
    system
        .run(&Cmd::new(Tool::Ip).args(words.split(' ')))
        .context("cannot make the network")?;
    Ok(())
}

/// What TFTP serves: a script that asks the orchestrator, and iPXE itself for firmware that has none. For UEFI the one
/// that uses the
/// firmware's driver: `ipxe.efi` takes the card with a driver of its own, and the firmware that goes on after it hangs.
fn tftp_root(work: &Path) -> Result<PathBuf> {
    let root = work.join("tftp");
    fs::create_dir_all(&root).context("cannot make the TFTP folder")?;
    let script = format!(
        "#!ipxe\nchain http://{}/boot?mac=${{netX/mac}}\n",
        orchestrator()
    );
    fs::write(root.join("boot.ipxe"), script).context("cannot write the first iPXE script")?;
    for name in ["undionly.kpxe", "snponly.efi"] {
        for folder in ["/usr/lib/ipxe", "/boot"] {
            let from = Path::new(folder).join(name);
            if from.is_file() {
                fs::copy(&from, root.join(name))
                    .with_context(|| format!("cannot copy {}", from.display()))?;
                break;
            }
        }
    }
    Ok(root)
}

fn dnsmasq_conf(work: &Path, tftp: &Path, nodes: u8) -> String {
    let hosts = (1..=nodes).fold(String::new(), |text, n| {
        text + &format!("dhcp-host={},{}\n", node_mac(n), node_address(n))
    });
    // Router advertisements save every PXE boot the 13 seconds that iPXE waits for one.
    format!(
        "interface=br0\nbind-interfaces\nuser=root\ngroup=root\nno-resolv\nno-hosts\nno-ping\nport=0\ndhcp-authoritative\n\
         pid-file={work}/dnsmasq.pid\ndhcp-leasefile={work}/leases\nlog-dhcp\nlog-facility=-\n\
         dhcp-range={first},{last},255.255.255.0,1h\n{hosts}dhcp-option=3\n\
         enable-ra\ndhcp-range=fd77::,ra-only,64\n\
         enable-tftp\ntftp-root={tftp}\n\
         dhcp-match=set:ipxe,175\ndhcp-match=set:efi64,option:client-arch,7\ndhcp-match=set:efi64,option:client-arch,9\n\
         dhcp-boot=tag:!ipxe,tag:!efi64,undionly.kpxe\ndhcp-boot=tag:!ipxe,tag:efi64,snponly.efi\ndhcp-boot=tag:ipxe,boot.ipxe\n",
        work = work.display(),
        tftp = tftp.display(),
        first = Ipv4Addr::new(10, 77, 0, 50),
        last = Ipv4Addr::new(10, 77, 0, 199),
    )
}

/// What nginx serves, as the content of its `server` block.
fn file_server(files: &Files) -> String {
    format!(
        "listen {SERVER}:{FILES_PORT}; location /boot/ {{ alias {boot}/; }} location /images/ {{ alias {images}/; }}",
        boot = files.boot.display(),
        images = files.images.display(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_has_a_lease_of_its_own() {
        let text = dnsmasq_conf(Path::new("/w"), Path::new("/w/tftp"), 2);
        assert!(
            text.contains(
                "dhcp-host=52:54:00:77:00:01,10.77.0.101\ndhcp-host=52:54:00:77:00:02,10.77.0.102\n"
            ),
            "{text}"
        );
    }
}

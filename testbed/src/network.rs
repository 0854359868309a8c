//! The provisioning network: a bridge with a tap for each node, DHCP and TFTP by dnsmasq, images by nginx.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use host::exec::{Cmd, Exec, Running, System};

use crate::nginx;
use crate::tools::Tool;

/// Address of orchestrator, DHCP and file server on the provisioning network.
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// Port of the orchestrator.
pub(crate) const ORCHESTRATOR_PORT: u16 = 8000;
/// Port of the file server.
pub(crate) const FILES_PORT: u16 = 8080;

/// What the file server has: `boot/` and `images/`.
#[derive(Debug)]
pub(crate) struct Files {
    /// Folder with `vmlinuz` and `ramdisk.img`.
    pub(crate) boot: PathBuf,
    /// Folder with images, manifests and metadata.
    pub(crate) images: PathBuf,
}

/// The running network. Its servers stop when it is dropped; links and addresses go with the network namespace.
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
    /// Sets up the network for `nodes` nodes in the network namespace of the run, once. Logs and configuration are in
    /// `work`.
    pub(crate) fn up(system: &mut System, work: &Path, files: &Files, nodes: u8) -> Result<Self> {
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
        .context("cannot set up the network")?;
    Ok(())
}

/// What TFTP serves: a script that asks the orchestrator, and iPXE for firmware that has none. For UEFI that is the
/// variant with the firmware's network driver: `ipxe.efi` brings a driver of its own, and firmware that continues after
/// it hangs.
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
    // Without router advertisements iPXE waits 13 s for one at each boot.
    format!(
        "interface=br0\nbind-interfaces\nuser=root\ngroup=root\nno-resolv\nno-hosts\nno-ping\nport=0\n\
         dhcp-authoritative\n\
         pid-file={work}/dnsmasq.pid\ndhcp-leasefile={work}/leases\nlog-dhcp\nlog-facility=-\n\
         dhcp-range={first},{last},255.255.255.0,1h\n{hosts}dhcp-option=3\n\
         enable-ra\ndhcp-range=fd77::,ra-only,64\n\
         enable-tftp\ntftp-root={tftp}\n\
         dhcp-match=set:ipxe,175\ndhcp-match=set:efi64,option:client-arch,7\n\
         dhcp-match=set:efi64,option:client-arch,9\n\
         dhcp-boot=tag:!ipxe,tag:!efi64,undionly.kpxe\n\
         dhcp-boot=tag:!ipxe,tag:efi64,snponly.efi\ndhcp-boot=tag:ipxe,boot.ipxe\n",
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
    fn every_node_has_its_own_address() {
        let text = dnsmasq_conf(Path::new("/w"), Path::new("/w/tftp"), 2);
        assert!(
            text.contains(
                "dhcp-host=52:54:00:77:00:01,10.77.0.101\ndhcp-host=52:54:00:77:00:02,10.77.0.102\n"
            ),
            "{text}"
        );
    }
}

//! The programs that the testbed starts.

use host::exec::Program;

/// A program that the testbed starts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tool {
    /// Runs lines with pipes as people would type them.
    Bash,
    /// DHCP and TFTP.
    Dnsmasq,
    /// Network links and namespaces.
    Ip,
    /// HTTP server for images.
    Nginx,
    /// The virtual node.
    QemuSystem,
    /// Copies to a node.
    Scp,
    /// Logs in to a node.
    Ssh,
    /// Makes keys.
    SshKeygen,
    /// Makes an archive of a system.
    Tar,
}

impl From<Tool> for Program {
    fn from(tool: Tool) -> Self {
        match tool {
            Tool::Bash => Self::new("bash", "bash"),
            Tool::Dnsmasq => Self::new("dnsmasq", "dnsmasq-base"),
            Tool::Ip => Self::new("ip", "iproute2"),
            Tool::Nginx => Self::new("nginx", "nginx-light"),
            Tool::QemuSystem => Self::new("qemu-system-x86_64", "qemu-system-x86"),
            Tool::Scp => Self::new("scp", "openssh-client"),
            Tool::Ssh => Self::new("ssh", "openssh-client"),
            Tool::SshKeygen => Self::new("ssh-keygen", "openssh-client"),
            Tool::Tar => Self::new("tar", "tar"),
        }
    }
}

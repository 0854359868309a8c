//! The programs that the testbed starts.

use host::exec::Program;

/// A program that the testbed starts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tool {
    /// Runs commands with pipes.
    Bash,
    /// Serves DHCP and TFTP.
    Dnsmasq,
    /// Sets up links and addresses.
    Ip,
    /// Serves files over HTTP.
    Nginx,
    /// Virtual machines.
    QemuSystem,
    /// Copies files to a node.
    Scp,
    /// Runs commands on a node.
    Ssh,
    /// Makes the key pair of a run.
    SshKeygen,
    /// Reads the host key that a server shows.
    SshKeyscan,
    /// Makes a root archive.
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
            Tool::SshKeyscan => Self::new("ssh-keyscan", "openssh-client"),
            Tool::Tar => Self::new("tar", "tar"),
        }
    }
}

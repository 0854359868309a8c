//! The real ramdisk in QEMU: it boots, gets an address, accepts the right keys, and reports errors.
//!
//! Slow (a build and some boots), and it fetches packages: `cargo test -p initramfs --test boot -- --ignored`.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops where it fails"
)]

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use apt_sources::Proxies;
use host::cancel::Cancel;
use host::exec::{Cmd, Exec, Output, Program, Running, System};
use host::wait;
use initramfs::compose::{self, BuildOptions};

const QEMU: Program = Program::new("qemu-system-x86_64", "qemu-system-x86");
const SCP: Program = Program::new("scp", "openssh-client");
const SSH: Program = Program::new("ssh", "openssh-client");
const SSH_KEYGEN: Program = Program::new("ssh-keygen", "openssh-client");
const SSH_KEYSCAN: Program = Program::new("ssh-keyscan", "openssh-client");

/// Time limit of a boot.
const LIMIT: Duration = Duration::from_mins(10);

fn system() -> System {
    System::new(Cancel::new())
}

/// The workspace's target folder, so that packages are fetched once.
fn target() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target")
}

/// Compiles the stub of the agent, statically.
#[expect(
    clippy::disallowed_methods,
    reason = "the compiler is not a tool of the product"
)]
fn stub(into: &Path) -> PathBuf {
    let out = into.join("agent");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/agent.rs");
    let status = std::process::Command::new("rustc")
        .args([
            "-O",
            "-Cstrip=symbols",
            "-Ctarget-feature=+crt-static",
            "-o",
        ])
        .arg(&out)
        .args(["--edition", "2024", "--target", "x86_64-unknown-linux-gnu"])
        .arg(source)
        .status()
        .unwrap();
    assert!(status.success());
    out
}

fn options(agent: PathBuf, out: PathBuf) -> BuildOptions {
    BuildOptions {
        agent,
        out,
        kernel_package: "linux-image-amd64".to_owned(),
        firmware: vec![],
        modules: vec![],
        level: 3,
        lock: target().join("initramfs.lock"),
        renew_lock: false,
        cache: target().join("cache/debs"),
        authorized_keys: None,
        host_key: None,
        conf: None,
        ca: None,
        mirrors: vec![],
        allow_unsigned: false,
        suite: "bookworm".to_owned(),
        proxies: Proxies::of_environment(),
        now: 1_700_000_000,
        now_is_given: false,
    }
}

/// One build for all tests here, and the key to log in with.
struct Built {
    folder: tempfile::TempDir,
    agent: PathBuf,
}

fn built() -> &'static Built {
    static BUILT: OnceLock<Built> = OnceLock::new();
    BUILT.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let agent = stub(folder.path());
        let out = folder.path().join("out");
        compose::build(&mut system(), &options(agent.clone(), out)).unwrap();
        let keygen = Cmd::new(SSH_KEYGEN)
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "one two", "-f"])
            .arg(folder.path().join("key"));
        system().run(&keygen).unwrap();
        Built { folder, agent }
    })
}

/// A running VM; stopped when dropped.
struct Vm {
    running: Option<Running>,
    folder: tempfile::TempDir,
    port: u16,
}

impl Vm {
    /// Starts a VM with these kernel parameters and QEMU options.
    fn start(parameters: &str, options: &[&str]) -> Self {
        Self::of(&built().folder.path().join("out"), parameters, options)
    }

    /// Starts a VM with the ramdisk of that folder.
    fn of(ramdisk: &Path, parameters: &str, options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let cmd = Cmd::new(QEMU)
            .args([
                "-accel",
                "tcg,thread=multi",
                "-cpu",
                "max,erms=off,fsrm=off",
            ])
            .args([
                "-m",
                "512",
                "-smp",
                "2",
                "-machine",
                "graphics=off",
                "-no-reboot",
            ])
            .args(["-display", "none", "-monitor", "none", "-serial"])
            .arg(format!("file:{}", folder.path().join("console").display()))
            .arg("-netdev")
            .arg(format!("user,id=n0,hostfwd=tcp:127.0.0.1:{port}-:22"))
            .args(["-device", "virtio-net-pci,netdev=n0,mac=52:54:00:00:00:01"])
            .arg("-kernel")
            .arg(ramdisk.join("vmlinuz"))
            .arg("-initrd")
            .arg(ramdisk.join("ramdisk.img"))
            .arg("-append")
            .arg(format!(
                "console=ttyS0 quiet BOOTIF=01-52-54-00-00-00-01 {parameters}"
            ))
            .args(options);
        let running = system()
            .spawn(&cmd, &folder.path().join("qemu.log"))
            .unwrap();
        Self {
            running: Some(running),
            folder,
            port,
        }
    }

    /// The output of the console so far.
    fn console(&self) -> String {
        let bytes = fs::read(self.folder.path().join("console")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until the console shows `text`.
    fn wait_for(&mut self, text: &str) {
        let found = wait::until(LIMIT, || {
            let ended = self.running.as_mut().unwrap().try_wait()?.is_some();
            let shown = self.console().contains(text);
            if ended && !shown {
                let log = fs::read_to_string(self.folder.path().join("qemu.log"))?;
                return Err(std::io::Error::other(log));
            }
            Ok(shown.then_some(()))
        });
        if let Err(cause) = found {
            panic!("`{text}` never came: {cause}\n{}", self.console());
        }
    }

    /// The file of known hosts: the key that the server shows, if its fingerprint is the one on the console.
    fn known_hosts(&self) -> PathBuf {
        let file = self.folder.path().join("known_hosts");
        if file.exists() {
            return file;
        }
        let port = self.port.to_string();
        let scan =
            Cmd::new(SSH_KEYSCAN).args(["-T", "30", "-t", "ed25519", "-p", &port, "127.0.0.1"]);
        let shown = system().run(&scan).unwrap().stdout;
        let candidate = self.folder.path().join("shown");
        fs::write(&candidate, &shown).unwrap();
        let print = Cmd::new(SSH_KEYGEN).args(["-l", "-f"]).arg(&candidate);
        let printed = system().run(&print).unwrap().stdout;
        let fingerprint = printed.split_whitespace().nth(1).unwrap();
        let console = self.console();
        assert!(
            console.contains(&format!("(host key {fingerprint})")),
            "{fingerprint} is not on the console:\n{console}"
        );
        fs::rename(&candidate, &file).unwrap();
        file
    }

    fn with_key(&self, program: Program, port: &str) -> Cmd {
        let known = format!("UserKnownHostsFile={}", self.known_hosts().display());
        Cmd::new(program)
            .arg("-i")
            .arg(built().folder.path().join("key"))
            .args(["-o", "StrictHostKeyChecking=yes", "-o", &known])
            .args(["-o", "BatchMode=yes", "-o", "LogLevel=ERROR", port])
            .arg(self.port.to_string())
    }

    /// Runs a command in the VM; any exit status is accepted.
    fn ssh(&self, command: &str) -> Output {
        let all: Vec<i32> = (0..=255).collect();
        let cmd = self
            .with_key(SSH, "-p")
            .args(["root@127.0.0.1", command])
            .accept(&all);
        system().run(&cmd).unwrap()
    }

    /// Waits for the end of the VM.
    fn wait_for_end(&mut self) {
        let mut running = self.running.take().unwrap();
        let status = running.wait_timeout(LIMIT).unwrap();
        assert!(
            status.is_some_and(|status| status.success()),
            "{}",
            self.console()
        );
    }
}

/// Checks that name server and default route are those of QEMU's user network.
fn check_network(facts: &str) {
    for expected in ["nameserver 10.0.2.3", "default via 10.0.2.2"] {
        assert!(facts.contains(expected), "{facts}");
    }
}

/// The public key as the kernel command line can carry it anywhere: without blanks.
fn key_parameter() -> String {
    let key = fs::read_to_string(built().folder.path().join("key.pub")).unwrap();
    format!("provision.key={}", key.trim().replace(' ', "%20"))
}

#[test]
#[ignore = "slow: builds and boots a ramdisk"]
fn it_boots_to_dhcp_and_ssh_and_ends_when_told() {
    let mut vm = Vm::start(&key_parameter(), &[]);
    vm.wait_for("reachable: ssh root@10.0.2.15");
    vm.wait_for("waiting for the orchestrator");
    assert_eq!(vm.ssh("exit 7").status, 7);
    let private = vm.ssh(
        "umask; df /run/provision /run/ramdisk/log | awk '{ print $1 }'; ls -l /run/ramdisk/log/",
    );
    let (umask, rest) = private.stdout.split_once('\n').unwrap();
    assert_eq!(umask, "0077");
    assert!(
        rest.contains("\nprovision\n") && rest.contains("\nlog\n"),
        "{rest}"
    );
    assert!(
        rest.contains(" ssh\n") && rest.contains(" dhcpcd\n"),
        "{rest}"
    );
    let facts = vm.ssh("cat /etc/resolv.conf; ip -4 route; date +%Y; ls /dev/mapper/control");
    check_network(&facts.stdout);

    // Today's scp speaks SFTP; what it uploads is what the agent reads.
    let request = vm.folder.path().join("provision.json");
    fs::write(&request, "5\n").unwrap();
    let scp = vm
        .with_key(SCP, "-P")
        .arg(&request)
        .arg("root@127.0.0.1:/tmp/provision.json");
    system().run(&scp).unwrap();
    let run = vm.ssh("provision");
    assert_eq!(
        (run.status, run.stdout.as_str()),
        (5, "stub called with []\n")
    );

    // A full /tmp is an error of the program that fills it, and does not affect the system.
    let full = vm.ssh("dd if=/dev/zero of=/tmp/full bs=1M; rm /tmp/full; free -m");
    assert!(full.stderr.contains("No space left"), "{}", full.stderr);
    vm.ssh("echo 'bnx2 0000:01:00.0: firmware: failed to load bnx2/x.fw (-2)' >/dev/kmsg");
    vm.wait_for("bnx2 0000:01:00.0 misses its firmware bnx2/x.fw");
    assert_eq!(vm.ssh("reboot").status, 0);
    vm.wait_for_end();
}

#[test]
#[ignore = "slow: builds and boots a ramdisk"]
fn the_operators_host_key_is_the_servers() {
    let built = built();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/host_key");
    let expected = fs::read_to_string(file.with_extension("fingerprint")).unwrap();
    let out = built.folder.path().join("with-key");
    let options = BuildOptions {
        host_key: Some(file),
        ..options(built.agent.clone(), out.clone())
    };
    compose::build(&mut system(), &options).unwrap();
    let mut vm = Vm::of(&out, &key_parameter(), &[]);
    vm.wait_for(&format!("(host key {})", expected.trim()));
    let noted = vm.ssh("cat /run/ramdisk/host-key; stat -c %a /etc/dropbear/host_key");
    assert_eq!(noted.stdout, format!("{}\n600\n", expected.trim()));
}

/// What blkid needs to take a file for ISO 9660 with this label.
fn iso_9660(label: &str) -> Vec<u8> {
    const DESCRIPTOR: usize = 16 * 2048;
    let mut image = vec![0; 1 << 20];
    for (number, kind) in [1, 255].into_iter().enumerate() {
        let at = DESCRIPTOR + number * 2048;
        image[at..at + 7].copy_from_slice(&[kind, b'C', b'D', b'0', b'0', b'1', 1]);
    }
    let name = format!("{label:32}");
    image[DESCRIPTOR + 40..DESCRIPTOR + 72].copy_from_slice(name.as_bytes());
    image
}

#[test]
#[ignore = "slow: builds and boots a ramdisk"]
fn cloud_init_data_on_a_cd_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("seed.iso");
    fs::write(&path, iso_9660("cidata")).unwrap();
    let mut vm = Vm::start(&key_parameter(), &["-cdrom", path.to_str().unwrap()]);
    vm.wait_for("reachable: ssh root@10.0.2.15");
    let found = vm.ssh("udevadm settle; blkid -p -s LABEL -o value /dev/sr0");
    assert_eq!(found.stdout, "cidata\n", "{}", found.stderr);
}

#[test]
#[ignore = "slow: builds and boots a ramdisk"]
fn a_pulled_run_that_fails_stays_readable_and_offers_its_completion() {
    let parameters = format!(
        "console=ttyS1 {} provision.url=http://10.0.2.2:1/r?mac={{mac}}",
        key_parameter()
    );
    let mut vm = Vm::start(&parameters, &["-serial", "null"]);
    vm.wait_for("fetching http://10.0.2.2:1/r?...");
    vm.wait_for("stub called with [\"run\"]");
    vm.wait_for("FAILED with exit status 9: installed, but the orchestrator did not accept");
    vm.wait_for("offering the completion until it is accepted");
    let notified = vm.ssh("until [ -e /run/notified ]; do sleep 0.2; done; cat /run/notified");
    assert_eq!(notified.stdout, "notify --until-accepted");

    // The orchestrator may take over by hand; what its own run leaves owing is offered too.
    let pushed = vm.ssh("rm /run/notified; provision");
    assert_eq!(pushed.status, 9);
    let offered = "until [ -e /run/notified ]; do sleep 0.2; done; cat /run/notified";
    assert_eq!(vm.ssh(offered).stdout, "notify --until-accepted");
}

#[test]
#[ignore = "slow: builds and boots a ramdisk"]
fn lvm_and_md_work_with_udev_and_nothing_starts_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = Vec::new();
    for name in ["a", "b"] {
        let path = folder.path().join(name);
        fs::File::create(&path).unwrap().set_len(300 << 20).unwrap();
        let drive = format!("file={},if=none,id={name},format=raw", path.display());
        let device = format!("virtio-blk-pci,drive={name},serial=disk-{name}");
        options.extend(["-drive".to_owned(), drive, "-device".to_owned(), device]);
    }
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let mut vm = Vm::start(&key_parameter(), &options);
    vm.wait_for("waiting for the orchestrator");
    let made = vm.ssh(
        "set -e; ls /dev/disk/by-id/virtio-disk-a /dev/disk/by-id/virtio-disk-b
         mdadm --create /dev/md0 --run --level=1 --raid-devices=2 --metadata=1.2 /dev/vda /dev/vdb
         udevadm settle; lvm pvcreate -q /dev/md0; lvm vgcreate -q os /dev/md0; lvm lvcreate -q -y -n root -L 100m os
         ls /dev/os/root /dev/disk/by-id/dm-uuid-LVM-*; mkfs.ext4 -q /dev/mapper/os-root; mkfs.xfs -V
         mount -t ext4 /dev/mapper/os-root /mnt; df /mnt; umount /mnt; sync",
    );
    assert_eq!(made.status, 0, "{}{}", made.stdout, made.stderr);
    assert!(
        made.stdout.contains("/dev/mapper/os-root"),
        "{}",
        made.stdout
    );
    drop(vm);

    let mut vm = Vm::start(&key_parameter(), &options);
    vm.wait_for("waiting for the orchestrator");
    let found = vm.ssh("udevadm settle; cat /proc/mdstat; ls /dev/mapper; blkid /dev/vda");
    assert!(!found.stdout.contains("active"), "{}", found.stdout);
    assert!(!found.stdout.contains("os-root"), "{}", found.stdout);
    assert!(
        found.stdout.contains("linux_raid_member"),
        "{}",
        found.stdout
    );
}

#[test]
#[ignore = "slow: builds and boots a ramdisk"]
fn every_card_gets_an_address_and_the_one_that_booted_owns_route_and_names() {
    let options = [
        "-netdev",
        "user,id=n1,net=10.9.0.0/24,dns=10.9.0.3,ipv6=off",
        "-device",
        "e1000,netdev=n1,mac=52:54:00:00:00:02",
    ];
    let mut vm = Vm::start(&key_parameter(), &options);
    vm.wait_for("has the address 10.9.0.15");
    vm.wait_for("waiting for the orchestrator");
    let facts = vm.ssh("cat /etc/resolv.conf; ip -4 route show default");
    check_network(&facts.stdout);
    assert!(!facts.stdout.contains("10.9.0"), "{}", facts.stdout);
    let listening = vm.ssh("netstat -tln").stdout;
    assert!(listening.contains("10.0.2.15:22"), "{listening}");
    assert!(!listening.contains("10.9.0.15:22"), "{listening}");
    assert!(!listening.contains(" 0.0.0.0:22"), "{listening}");
}

#[test]
#[ignore = "slow: builds a ramdisk twice"]
fn two_real_builds_are_the_same_bytes_and_fit_in_40_mib() {
    let built = built();
    let again = built.folder.path().join("again");
    compose::build(&mut system(), &options(built.agent.clone(), again.clone())).unwrap();
    for name in ["vmlinuz", "ramdisk.img", "ramdisk.manifest.json"] {
        let read = |folder: &Path| fs::read(folder.join(name)).unwrap();
        let (first, second) = (read(&built.folder.path().join("out")), read(&again));
        assert!(first == second, "{name} differs");
        assert!(name != "ramdisk.img" || first.len() < 40 << 20);
    }
}

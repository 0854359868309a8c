//! Kernel parameters from end to end: the agent's menu and the one that the installed system's own `grub-mkconfig`
//! makes, each run by the real GRUB in QEMU, whose `linux` and `boot` start a kernel of ten instructions that prints
//! its command line.

use std::path::Path;
use std::time::Duration;

use host::cancel::Cancel;
use host::exec::{Cmd, Exec, Output, Program, System};

use super::kernels::Kernel;
use super::*;
use crate::tools::Tool;

const QEMU: Program = Program::new("qemu-system-x86_64", "qemu-system-x86");
const SH: Program = Program::new("sh", "dash");
const TAR: Program = Program::new("tar", "tar");
const GRUB: &str = "/usr/lib/grub/i386-pc";
/// Everything that a request may have in it.
const TEXT: &str = r#" console=ttyS0,9600 price=$5 a=${b}$(c)`d` x;y|z&&w semi;
 <in >out # =hash %s ^~@+ * x* ?.[a] {b,c} !
 dyndbg="file drivers/*.c +p; module $x &" "note=two  spaces" empty="" quoted="one" ds=nocloud;s=http://h/?a=1&b=2/ ü=ß
 l="à la" root=/dev/sda9 -- init-argument"#;

/// Start of the protected-mode code in the fake kernel: a boot sector and four sectors of setup are before it.
const CODE_AT: usize = 5 * 512;

/// A file with the header of a relocatable bzImage. Its code writes the command line to the first serial port and ends
/// QEMU.
fn kernel() -> Vec<u8> {
    let code = [
        0x8b, 0x9e, 0x28, 0x02, 0x00, 0x00, // mov ebx, [esi + 0x228] (cmd_line_ptr)
        0xba, 0xf8, 0x03, 0x00, 0x00, // mov edx, 0x3f8
        0x8a, 0x03, // next: mov al, [ebx]
        0x84, 0xc0, // test al, al
        0x74, 0x04, // jz done
        0xee, // out dx, al
        0x43, // inc ebx
        0xeb, 0xf6, // jmp next
        0xba, 0xf4, 0x00, 0x00, 0x00, // done: mov edx, 0xf4
        0xb0, 0x12, // mov al, 0x12
        0xee, // out dx, al
        0xf4, // hlt
    ];
    let mut image = vec![0; CODE_AT + 4096];
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    put(0x1f1, &[4]); // sectors of setup
    put(0x1f4, &256_u32.to_le_bytes()); // length of the code in paragraphs
    put(0x1fe, &[0x55, 0xaa]);
    put(0x202, b"HdrS");
    put(0x206, &0x020c_u16.to_le_bytes()); // version of the protocol
    put(0x211, &[1]); // loaded high
    put(0x22c, &0x7fff_ffff_u32.to_le_bytes()); // highest address of an initial ramdisk
    put(0x230, &0x20_0000_u32.to_le_bytes()); // alignment
    put(0x234, &[1, 21]); // relocatable; smallest alignment
    put(0x238, &2047_u32.to_le_bytes()); // longest command line
    put(0x258, &0x100_0000_u64.to_le_bytes()); // preferred address
    put(0x260, &0x20_0000_u32.to_le_bytes()); // memory needed
    put(CODE_AT, &code);
    image
}

/// Parameters as the kernel's `next_arg` takes them apart: name, and value without the quotes around it.
fn as_the_kernel_sees(line: &[u8]) -> Vec<(String, Option<String>)> {
    let space = |byte: u8| matches!(byte, 9..=13 | 32 | 0xa0);
    let mut rest = line;
    let mut found = Vec::new();
    loop {
        let begin = rest.iter().position(|byte| !space(*byte));
        let Some(begin) = begin else { return found };
        rest = &rest[begin..];
        let mut in_quotes = false;
        let end = rest.iter().position(|byte| {
            in_quotes ^= *byte == b'"';
            space(*byte) && !in_quotes
        });
        let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
        rest = after;
        let text = String::from_utf8(word.to_vec()).unwrap();
        let unquoted = |text: &str| {
            let bare = text.strip_prefix('"');
            bare.map_or(text, |bare| bare.strip_suffix('"').unwrap_or(bare))
                .to_owned()
        };
        found.push(match unquoted(&text).split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(unquoted(value))),
            None => (unquoted(&text), None),
        });
    }
}

fn run(cmd: &Cmd) -> Output {
    System::new(Cancel::new()).run(cmd).unwrap()
}

/// What a kernel that is started with this `linux` line of a grub.cfg finds as its command line.
fn command_line(line: &str, folder: &Path) -> Vec<u8> {
    let tree = folder.join("memdisk");
    std::fs::create_dir_all(tree.join("boot/grub")).unwrap();
    std::fs::write(tree.join("vmlinuz"), kernel()).unwrap();
    let words = line
        .trim_start()
        .strip_prefix("linux")
        .unwrap()
        .trim_start();
    let (_, words) = words.split_once(' ').unwrap();
    let config = format!("linux (memdisk)/vmlinuz {words}\nboot\noutb 0xf4 0x11\n");
    std::fs::write(tree.join("boot/grub/grub.cfg"), config).unwrap();
    let at = |name: &str| folder.join(name).display().to_string();
    run(&Cmd::new(TAR).args(["-cf", &at("memdisk.tar"), "-C", &at("memdisk"), "."]));
    let core = [
        "-O",
        "i386-pc",
        "-p",
        "(memdisk)/boot/grub",
        "-m",
        &at("memdisk.tar"),
    ];
    let modules = ["memdisk", "tar", "normal", "linux", "boot", "iorw"];
    let output = ["-o", &at("core.img")];
    run(&Cmd::new(Tool::GrubMkimage)
        .args(core)
        .args(output)
        .args(modules));
    let mut image = std::fs::read(Path::new(GRUB).join("lnxboot.img")).unwrap();
    image.extend(std::fs::read(at("core.img")).unwrap());
    std::fs::write(at("loader"), image).unwrap();
    let start = Cmd::new(QEMU)
        .args([
            "-accel",
            "tcg",
            "-display",
            "none",
            "-nodefaults",
            "-no-reboot",
            "-vga",
            "std",
        ])
        .args([
            "-serial",
            &format!("file:{}", at("serial")),
            "-kernel",
            &at("loader"),
        ])
        .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"])
        .accept(&[35, 37])
        .timeout(Duration::from_mins(4));
    assert_eq!(run(&start).status, 37, "GRUB did not start it: {line}");
    std::fs::read(at("serial")).unwrap()
}

/// Runs the real `grub-mkconfig` with the real `10_linux` over a tree, in a mount namespace of its own. Only
/// `grub-probe`, which would ask the machine's own disks, is answered for.
fn installed_systems_own(tree: &Path, work: &Path) -> String {
    let answers = "#!/bin/sh\ncase \"$*\" in *target=device*) echo /dev/sdz1 ;; *fs_uuid*) echo 1-1 ;; \
                   *target=fs*) echo ext2 ;; esac\n";
    std::fs::write(work.join("probe"), answers).unwrap();
    let script = "set -e\nchmod 755 $2/probe\nmkdir $2/d\ncp /etc/grub.d/10_linux $2/d\n\
                  mount --bind $1/boot /boot\nmount --bind $1/etc/default /etc/default\nmount --bind $2/d /etc/grub.d\n\
                  mount --bind $2/probe /usr/sbin/grub-probe\ngrub-mkconfig\n";
    let inner = work.join("script");
    std::fs::write(&inner, script).unwrap();
    let cmd = Cmd::new(SH)
        .args(["-c", "exec unshare -rm sh \"$0\" \"$1\" \"$2\""])
        .arg(&inner)
        .arg(tree)
        .arg(work);
    run(&cmd).stdout
}

fn linux_lines(config: &str) -> Vec<&str> {
    let lines = config.lines().map(str::trim_start);
    lines.filter(|line| line.starts_with("linux")).collect()
}

/// Whether something that the test needs is not installed.
fn lacks_something() -> bool {
    let exec = System::new(Cancel::new());
    let needs = [QEMU, Tool::GrubMkimage.into(), TAR];
    let files = [
        GRUB,
        "/usr/sbin/grub-mkconfig",
        "/etc/grub.d/10_linux",
        "/usr/bin/unshare",
    ];
    let no_tool = needs.iter().any(|tool| exec.find(*tool).is_none());
    let lacks = no_tool || files.iter().any(|file| !Path::new(file).exists());
    if lacks {
        host::fake::skipped(format!("{needs:?} or {files:?} are not all there"));
    }
    lacks
}

#[test]
fn every_parameter_reaches_the_kernel_from_our_menu_and_from_the_systems_own() {
    if lacks_something() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("root")).unwrap();
    let tree = TargetTree::at(&folder.path().join("root"));
    let text = TEXT.replace('\n', "");
    for (name, content) in [("vmlinuz", kernel()), ("initrd.img", b"x".to_vec())] {
        tree.write(&format!("boot/{name}-6.1"), content, 0o644)
            .unwrap();
    }
    tree.write(
        "etc/default/grub",
        "GRUB_DISTRIBUTOR=x\nGRUB_CMDLINE_LINUX_DEFAULT=\n",
        0o644,
    )
    .unwrap();
    let parameters = Parameters::parse(&text);
    defaults::write(&tree, &parameters, TIMEOUT).unwrap();
    let menu = Menu {
        title: "it's".to_owned(),
        kernels: vec![Kernel {
            version: "6.1".to_owned(),
            image: "/boot/vmlinuz-6.1".to_owned(),
            initrd: "/boot/initrd.img-6.1".to_owned(),
        }],
        root: "UUID=1-1".to_owned(),
        uuid: "1-1".to_owned(),
        timeout: 1,
        parameters: &parameters,
    };
    let ours = menu.render();
    let own = installed_systems_own(&folder.path().join("root"), folder.path());
    let mut wanted = as_the_kernel_sees(text.as_bytes());
    wanted.retain(|(name, _)| name != "root");
    assert!(wanted.len() > 20, "{wanted:?}");
    for config in [&ours, &own] {
        let lines = linux_lines(config);
        let (first, others) = lines.split_first().unwrap();
        let arguments = |line: &str| line.split_once(" ro").unwrap().1.replacen(" single", "", 1);
        for other in others {
            assert_eq!(arguments(other).trim(), arguments(first).trim());
        }
        let line = command_line(first, folder.path());
        let seen = as_the_kernel_sees(&line);
        let added = ["BOOT_IMAGE", "root", "ro"];
        assert_eq!(
            seen[..3]
                .iter()
                .map(|(name, _)| name.as_str())
                .collect::<Vec<_>>(),
            added
        );
        assert_eq!(seen[3..], wanted, "{}", String::from_utf8_lossy(&line));
    }
}

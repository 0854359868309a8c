//! What a confined program sees of this machine. Mount namespaces need root; skipped without.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use host::Host;
use host::cancel::Cancel;
use host::exec::{Cmd, Exec, ExecError, Output, Program, System};

fn sh(text: &str) -> Cmd {
    Cmd::new(Program::new("sh", "dash")).args(["-c", text])
}

fn confined(cmd: &Cmd) -> Output {
    System::new(Cancel::new()).confined().run(cmd).unwrap()
}

fn namespace() -> String {
    let link = fs::read_link("/proc/self/ns/mnt").unwrap();
    link.to_string_lossy().into_owned()
}

/// Whether programs get namespaces here; otherwise the test is reported as skipped.
fn has_namespaces() -> bool {
    let theirs = confined(&sh("readlink /proc/self/ns/mnt")).stdout;
    let has = theirs.trim() != namespace();
    if !has {
        host::fake::skipped("a mount namespace needs root");
    }
    has
}

#[test]
fn a_confined_program_has_an_empty_place_to_work_in_and_gains_no_privileges() {
    let status = |key: &str| format!("grep ^{key} /proc/self/status | cut -f 2");
    let text = [&status("NoNewPrivs"), "ulimit -c", "ulimit -Hc"].join("; ");
    assert_eq!(confined(&sh(&text)).stdout, "1\n0\n0\n");
    if !has_namespaces() {
        return;
    }
    let secret = tempfile::NamedTempFile::new_in("/tmp").unwrap();
    assert!(fs::read_dir("/tmp").unwrap().count() > 0);
    let seen = confined(&sh("pwd; ls -A . /tmp /root")).stdout;
    assert_eq!(seen, "/tmp\n.:\n\n/root:\n\n/tmp:\n");
    for doing in [
        "touch x",
        "touch /root/x",
        "mkdir /tmp/x",
        "mount -o remount,rw /tmp 2>&1; touch /tmp/x; ls /tmp/*/*",
    ] {
        let cmd = sh(doing).accept(&[1, 2]);
        confined(&cmd);
    }
    assert!(secret.path().exists());
}

#[test]
fn what_a_command_names_is_visible_and_nothing_beside_it() {
    if !has_namespaces() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (file, beside) = (
        folder.path().join("a/b/file"),
        folder.path().join("a/other"),
    );
    let tree = folder.path().join("tree");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::create_dir(&tree).unwrap();
    for path in [&file, &beside, &tree.join("leaf")] {
        fs::write(path, "before\n").unwrap();
    }
    let text = format!(
        "cat {0} {1}/leaf; echo after > {0}; ls {2}",
        file.display(),
        tree.display(),
        folder.path().join("a").display()
    );
    let seen = confined(&sh(&text).sees(&file).sees(&tree)).stdout;
    assert_eq!(seen, "before\nbefore\nb\n");
    assert_eq!(fs::read_to_string(&file).unwrap(), "after\n");
    let text = format!("ls -A {}", folder.path().display());
    confined(&sh(&text).accept(&[2]));
}

#[test]
fn a_path_in_an_argument_is_visible_also_by_a_link_that_leads_to_it() {
    if !has_namespaces() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "text").unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    for path in [file, link] {
        let cmd = Cmd::new(Program::new("cat", "coreutils")).path(&path);
        assert_eq!(confined(&cmd).stdout, "text", "{}", path.display());
    }
}

#[test]
fn what_a_confined_program_mounts_ends_with_it() {
    if !has_namespaces() {
        return;
    }
    let before = namespace();
    let text =
        "mount -t tmpfs from-the-sandbox /mnt && grep -c from-the-sandbox /proc/self/mountinfo";
    assert_eq!(confined(&sh(text)).stdout, "1\n");
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains("from-the-sandbox"));
    assert_eq!(namespace(), before);
    assert!(Path::new("/tmp").read_dir().unwrap().count() > 0);
}

#[test]
fn only_those_that_ask_for_it_are_confined() {
    let text = "readlink /proc/self/ns/mnt; grep ^NoNewPrivs /proc/self/status | cut -f 2";
    let ours = fs::read_to_string("/proc/self/status").unwrap();
    let ours = ours
        .lines()
        .find_map(|line| line.strip_prefix("NoNewPrivs:\t"));
    let free = System::new(Cancel::new()).run(&sh(text)).unwrap().stdout;
    assert_eq!(free, format!("{}\n{}\n", namespace(), ours.unwrap()));
    let shared = confined(&sh(text).shares_mounts()).stdout;
    assert_eq!(shared, format!("{}\n1\n", namespace()));
}

/// Set for this test where it is started a second time, by another user.
const WITHOUT_ROOT: &str = "SANDBOX_TEST_WITHOUT_ROOT";

#[test]
fn without_root_programs_are_started_all_the_same_and_gain_no_privileges() {
    let text = "readlink /proc/self/ns/mnt; grep ^NoNewPrivs /proc/self/status | cut -f 2; pwd";
    if std::env::var_os(WITHOUT_ROOT).is_some() {
        let seen = confined(&sh(text)).stdout;
        assert_eq!(seen, format!("{}\n1\n/\n", namespace()));
        return;
    }
    // Copied to where every user may read it.
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let again = folder.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &again).unwrap();
    let name = "without_root_programs_are_started_all_the_same_and_gain_no_privileges";
    let cmd = Cmd::new(Program::new("setpriv", "util-linux"))
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&again)
        .args(["--exact", name])
        .env(WITHOUT_ROOT, "1");
    match System::new(Cancel::new()).run(&cmd) {
        Err(error @ (ExecError::Missing { .. } | ExecError::Io { .. })) => {
            host::fake::skipped(format_args!("{error}"));
        }
        ended => {
            let printed = ended.unwrap().stdout;
            assert!(printed.contains("1 passed"), "{printed}");
        }
    }
}

#[test]
fn a_host_confines_its_programs_on_devices_and_on_files() {
    let mut hosts = [
        Host::real(Cancel::new()),
        Host::on_files(Vec::new(), Cancel::new()).unwrap(),
    ];
    for host in &mut hosts {
        let ended = host.exec.run(&sh("grep ^NoNewPrivs /proc/self/status"));
        assert_eq!(ended.unwrap().stdout, "NoNewPrivs:\t1\n");
    }
}

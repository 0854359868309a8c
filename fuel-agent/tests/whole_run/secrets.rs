//! Secrets planted in every place of a request and of the settings that may hold one: none of them is in any output.
//! They reach the server that they are for, and the cloud-init data, and nothing else.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::file_disk::{DISK, REQUEST};
use super::lab::{Lab, equipped};

/// All secrets have this in them.
const MARK: &str = "s3cr3t";

/// A setting of the command line.
fn set(key: &str, value: &str) -> String {
    format!("--set={key}={value}")
}

/// The address with a user, a password, a query and a fragment.
fn planted(url: &str, name: &str) -> String {
    let url = url.replace("http://", &format!("http://{MARK}-user:{MARK}-password@"));
    format!("{url}?token={MARK}-{name}#{MARK}-fragment")
}

fn lab() -> Lab {
    let lab = Lab::new();
    let mut request = lab.request("/root.img.gz");
    let meta = &mut request["ks_meta"];
    meta["image_data"]["/"]["uri"] = planted(&lab.server.url("/root.img.gz"), "image").into();
    let account = &mut meta["user_accounts"][0];
    account["password"] = format!("{MARK}-account").into();
    meta["user_accounts"][1]["hashed_password"] = format!("$6$salt${MARK}-hash").into();
    for key in ["mco_pskey", "mco_password"] {
        meta[key] = format!("{MARK}-{key}").into();
    }
    request["power_pass"] = format!("{MARK}-power").into();
    lab.put("request.json", &request.to_string());
    lab
}

/// Everything that a caller can pass, and by which tokens.
fn settings(lab: &Lab, success: &str) -> Vec<String> {
    let body = "{\"report\": {report}, \"error\": \"{error}\", \"hint\": \"{hint}\"}";
    let mut all = vec![
        set("phone_home", &planted(&lab.server.url("/alive"), "home")),
        set("mirrors", &planted(&lab.server.url("/mirror/"), "mirror")),
        set("success", &planted(&lab.server.url(success), "built")),
        set("failure", &planted(&lab.server.url("/failed"), "failed")),
        set("notify.budget", "1s"),
    ];
    for end in ["success", "failure"] {
        all.push(set(
            &format!("{end}.header"),
            &format!("X-Token: {MARK}-header"),
        ));
        all.push(set(&format!("{end}.body"), body));
    }
    all
}

fn call(lab: &Lab, args: &[&str], settings: &[String]) -> (i32, Vec<(String, Vec<u8>)>) {
    let all: Vec<&str> = args
        .iter()
        .copied()
        .chain(settings.iter().map(String::as_str))
        .collect();
    let left = lab.call(&all);
    let of = |name: &str| format!("{name} of {args:?}");
    let texts = vec![
        (of("standard output"), left.out.into_bytes()),
        (of("standard error"), left.error.into_bytes()),
    ];
    (left.status, texts)
}

/// All files below a folder but those that the test itself has made.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            files(&path, found);
        } else if !["request.json", "disk.img", "cmdline", "provision.conf"].contains(&name) {
            found.push(path);
        }
    }
}

/// Fails where a text holds a secret, in clear or escaped.
fn assert_clean(name: &str, text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    if let Some(at) = text.find(MARK) {
        let start = text[..at]
            .char_indices()
            .rev()
            .nth(80)
            .map_or(0, |(at, _)| at);
        let end = text[at..]
            .char_indices()
            .nth(80)
            .map_or(text.len(), |(end, _)| at + end);
        panic!("a secret in {name}: ...{}...", &text[start..end]);
    }
}

/// Searches everything that a command has left: its output, its files, and the bodies of its calls.
fn assert_all_clean(lab: &Lab, printed: &[(String, Vec<u8>)]) {
    for (name, text) in printed {
        assert_clean(name, text);
    }
    let mut found = Vec::new();
    files(lab.folder.path(), &mut found);
    for file in found {
        // the call that is offered again has to be complete: for root only
        if file.ends_with("run/owed.json") {
            let mode = fs::metadata(&file).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            continue;
        }
        let name = format!("{} after {}", file.display(), printed[0].0);
        assert_clean(&name, &fs::read(&file).unwrap());
    }
    for path in ["/built", "/failed"] {
        for request in lab.requests_to(path) {
            assert_clean(&format!("the body sent to {path}"), &request.body);
        }
    }
}

#[test]
fn what_only_looks_prints_no_secret() {
    if !equipped() {
        return;
    }
    let lab = lab();
    let all = settings(&lab, "/built");
    let looks: [&[&str]; 7] = [
        &["plan", DISK, REQUEST],
        &["plan", DISK, REQUEST, "--format=json"],
        &["plan", DISK, REQUEST, "--format=json", "--offline"],
        &["validate", DISK, REQUEST],
        &[
            "run",
            "--dry-run",
            DISK,
            REQUEST,
            "--dialect=plain",
            "--log-file=dry.log",
            "--debug",
        ],
        &[
            "run",
            "--dry-run",
            DISK,
            REQUEST,
            "--dialect=json",
            "--report=dry.json",
        ],
        &["run", "--dry-run", DISK, REQUEST, "--dialect=human"],
    ];
    for args in looks {
        let (status, printed) = call(&lab, args, &all);
        assert!(
            [0, 10].contains(&status),
            "{}",
            String::from_utf8_lossy(&printed[1].1)
        );
        assert_all_clean(&lab, &printed);
    }
}

#[test]
fn a_run_tells_no_secret_whether_it_goes_well_or_not() {
    if !equipped() {
        return;
    }
    for dialect in ["plain", "json", "human"] {
        for fails in [false, true] {
            let lab = lab();
            if fails {
                lab.mood.lock().unwrap().digest = Some("00000000000000000000000000000000");
            }
            let all = settings(&lab, "/built");
            let dialect = format!("--dialect={dialect}");
            let args = [
                "run",
                DISK,
                REQUEST,
                &dialect,
                "--debug",
                "--log-file=own.log",
                "--report=own.json",
            ];
            let (status, printed) = call(&lab, &args, &all);
            assert_eq!(
                status,
                if fails { 6 } else { 10 },
                "{}",
                String::from_utf8_lossy(&printed[1].1)
            );
            assert_all_clean(&lab, &printed);
            let sent = lab.requests_to("/failed");
            assert_eq!(sent.len(), 1);
            assert!(sent[0].target.ends_with(&format!("?token={MARK}-failed")));
            assert_eq!(
                sent[0].header("x-token"),
                Some(format!("{MARK}-header").as_str())
            );
            let body: Value = serde_json::from_slice(&sent[0].body).unwrap();
            assert!(body["report"]["steps"].as_array().unwrap().len() > 3);
            let log = fs::read_to_string(lab.path("own.log")).unwrap();
            assert!(
                log.contains("mkswap"),
                "the programs' command lines are in the log"
            );
            let (_, printed) = call(&lab, &["status"], &[]);
            assert_all_clean(&lab, &printed);
        }
    }
}

#[test]
fn an_error_names_its_server_and_no_secret() {
    if !equipped() {
        return;
    }
    let gone = "http://127.0.0.1:9/root.img.gz";
    let unreachable = [
        (planted(gone, "image"), 6),
        (planted("http://127.0.0.1:x/root.img.gz", "image"), 3),
        (planted("ftp://127.0.0.1/root.img.gz", "image"), 3),
        (planted("http://nowhere.invalid/root.img.gz", "image"), 6),
    ];
    for (url, expected) in unreachable {
        let lab = lab();
        let mut request: Value =
            serde_json::from_slice(&fs::read(lab.path("request.json")).unwrap()).unwrap();
        request["ks_meta"]["image_data"]["/"]["uri"] = url.into();
        lab.put("request.json", &request.to_string());
        let mut all = settings(&lab, "/built");
        all.push(set("http.retry", "1s"));
        for command in ["validate", "run"] {
            let (status, printed) = call(&lab, &[command, DISK, REQUEST], &all);
            assert_eq!(
                status,
                expected,
                "{}",
                String::from_utf8_lossy(&printed[1].1)
            );
            assert_all_clean(&lab, &printed);
        }
    }
    let lab = lab();
    for bad in [
        "success=ftp://",
        "success=http://h:x/",
        "phone_home=ftp://",
        "mirrors=ftp://h/",
        "url=ftp://",
    ] {
        let bad = format!("--set={bad}x?{MARK}");
        let bad = bad.replace("//", &format!("//{MARK}:{MARK}@"));
        let (status, printed) = call(&lab, &["validate", DISK, &bad], &[]);
        assert_ne!(status, 0);
        assert_all_clean(&lab, &printed[1..]);
    }
}

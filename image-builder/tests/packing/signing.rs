//! Keys, signatures, and what is published: with minisign's own tool on the other side.

use std::fs;

use crate::lab::{Lab, tool};

/// A lab with a packed image in `out`, and a key pair.
fn signed() -> Lab {
    let lab = Lab::new();
    lab.ext4("system.raw");
    lab.pack("system.raw", "out", &["--release", "3"]);
    lab.succeed(&["keygen", "release.key"]);
    lab.succeed(&["sign", "out/system.img.zst", "--key", "release.key"]);
    lab
}

#[test]
fn what_is_signed_here_minisign_verifies() {
    let lab = signed();
    let manifest = lab.text("out/system.manifest.json");
    let output = tool(
        "minisign",
        &["-V", "-p", &lab.text("release.key.pub"), "-m", &manifest],
    );
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("Trusted comment: system release 3"), "{said}");
    let said = lab.succeed(&[
        "verify",
        "out/system.manifest.json",
        "--key",
        "release.key.pub",
    ]);
    assert!(said.contains("system release 3, signed by key "), "{said}");
    let mode =
        std::os::unix::fs::MetadataExt::mode(&fs::metadata(lab.path("release.key")).unwrap());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn what_minisign_signs_is_verified_here_and_its_keys_sign_here() {
    let lab = signed();
    let manifest = lab.text("out/system.manifest.json");
    tool(
        "minisign",
        &[
            "-G",
            "-W",
            "-p",
            &lab.text("m.pub"),
            "-s",
            &lab.text("m.key"),
        ],
    );
    tool(
        "minisign",
        &["-S", "-s", &lab.text("m.key"), "-m", &manifest],
    );
    let text = fs::read_to_string(lab.path("m.pub")).unwrap();
    let line = text.lines().nth(1).unwrap();
    lab.succeed(&["verify", &manifest, "--key", line]);
    // either of two keys, while one replaces the other
    lab.succeed(&[
        "verify",
        &manifest,
        "--key",
        "release.key.pub",
        "--key",
        "m.pub",
    ]);
    lab.succeed(&["sign", &manifest, "--key", "m.key"]);
    tool(
        "minisign",
        &["-V", "-p", &lab.text("m.pub"), "-m", &manifest],
    );
    // ours sign there
    tool(
        "minisign",
        &["-S", "-s", &lab.text("release.key"), "-m", &manifest],
    );
    lab.succeed(&["verify", &manifest, "--key", "release.key.pub"]);
    // the legacy format cannot be checked as a stream
    tool(
        "minisign",
        &["-S", "-l", "-s", &lab.text("m.key"), "-m", &manifest],
    );
    let said = lab.refused(&["verify", &manifest, "--key", "m.pub"]);
    assert!(said.contains("in minisign's legacy format"), "{said}");
}

#[test]
fn signatures_that_are_missing_of_another_key_or_over_another_file_are_refused() {
    let lab = signed();
    lab.succeed(&["keygen", "other.key"]);
    let verify = ["verify", "out/system.img.zst", "--key"];
    let said = lab.refused(&[&verify[..], &["other.key.pub"]].concat());
    assert!(said.contains("which is not trusted"), "{said}");
    let path = lab.path("out/system.manifest.json");
    let good = fs::read_to_string(&path).unwrap();
    fs::write(&path, good.replace("\"release\": 3", "\"release\": 4")).unwrap();
    let said = lab.refused(&[&verify[..], &["release.key.pub"]].concat());
    assert!(said.contains("does not match the file"), "{said}");
    fs::write(&path, &good).unwrap();
    let said = lab.refused(&[&verify[..], &["release.key.pub", "--min-release", "4"]].concat());
    assert!(said.contains("release 3 is older than 4"), "{said}");
    fs::remove_file(lab.path("out/system.manifest.json.minisig")).unwrap();
    let said = lab.refused(&[&verify[..], &["release.key.pub"]].concat());
    assert!(said.contains("is not signed"), "{said}");
}

#[test]
fn keys_are_never_overwritten_and_passwords_open_them() {
    let lab = signed();
    let said = lab.refused(&["keygen", "release.key"]);
    assert!(said.contains("is there already"), "{said}");
    fs::write(lab.path("word"), "correct horse\n").unwrap();
    fs::write(lab.path("wrong"), "battery\n").unwrap();
    fs::write(lab.path("empty"), "\n").unwrap();
    lab.succeed(&["keygen", "locked.key", "--password-file", "word"]);
    let sign = ["sign", "out/system.img.zst", "--key", "locked.key"];
    let said = lab.refused(&sign);
    assert!(
        said.contains("give the password with --password-file"),
        "{said}"
    );
    let with = |file: &'static str| [&sign[..], &["--password-file", file]].concat();
    let said = lab.refused(&with("wrong"));
    assert!(said.contains("the password does not open"), "{said}");
    let said = lab.refused(&with("empty"));
    assert!(said.contains("has no password in its first line"), "{said}");
    lab.succeed(&with("word"));
    tool(
        "minisign",
        &[
            "-V",
            "-p",
            &lab.text("locked.key.pub"),
            "-m",
            &lab.text("out/system.manifest.json"),
        ],
    );
    let said = lab.refused(&["sign", "out/system.img.zst", "--key", "release.key.pub"]);
    assert!(
        said.contains("release.key.pub is not a secret key"),
        "{said}"
    );
    // a key whose public half is another one's
    let line = |name: &str| fs::read_to_string(lab.path(name)).unwrap();
    let mut key = line("release.key").into_bytes();
    let at = key.len() - 60;
    key[at] = if key[at] == b'A' { b'B' } else { b'A' };
    fs::write(lab.path("broken.key"), key).unwrap();
    let said = lab.refused(&["sign", "out/system.img.zst", "--key", "broken.key"]);
    assert!(
        said.contains("Could not verify signature with the provided public key"),
        "{said}"
    );
}

#[test]
fn a_manifest_is_not_signed_for_files_that_are_not_there() {
    let lab = signed();
    fs::remove_file(lab.path("out/system.manifest.json.minisig")).unwrap();
    let image = fs::OpenOptions::new()
        .write(true)
        .open(lab.path("out/system.img.zst"))
        .unwrap();
    image.set_len(1000).unwrap();
    let said = lab.refused(&["sign", "out/system.img.zst", "--key", "release.key"]);
    assert!(
        said.contains("has 1000 bytes, but its manifest says"),
        "{said}"
    );
    assert_eq!(lab.names("out"), ["system.img.zst", "system.manifest.json"]);
}

#[test]
fn damage_is_found_by_reading_through_and_never_published() {
    let lab = signed();
    let path = lab.path("out/system.img.zst");
    let good = fs::read(&path).unwrap();
    let mut bad = good.clone();
    let at = bad.len() / 3;
    bad[at] ^= 1;
    fs::write(&path, &bad).unwrap();
    lab.succeed(&["inspect", "out/system.img.zst"]);
    let said = lab.refused(&["inspect", "out/system.img.zst", "--check"]);
    assert!(
        said.contains("its packed bytes differ from those that the manifest lists"),
        "{said}"
    );
    let said = lab.refused(&["publish", "out/system.img.zst", "--to", "www"]);
    assert!(said.contains("is not what its manifest says"), "{said}");
    assert_eq!(lab.names("www/system"), Vec::<String>::new());
    fs::write(&path, &good).unwrap();
    let said = lab.succeed(&[
        "inspect",
        "out/system.img.zst",
        "--check",
        "--key",
        "release.key.pub",
    ]);
    assert!(
        said.contains("right, by key") && said.contains("checked: every chunk"),
        "{said}"
    );
    // chunks that are right, and a whole that is put together wrongly
    let manifest = lab.path("out/system.manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();
    let at = text.find("\"raw_sha256\": \"").unwrap() + 15;
    let digit = if &text[at..=at] == "0" { "1" } else { "0" };
    fs::write(&manifest, [&text[..at], digit, &text[at + 1..]].concat()).unwrap();
    let said = lab.refused(&["inspect", "out/system.img.zst", "--check"]);
    assert!(
        said.contains("the manifest has a wrong value for the sha256 of the raw image"),
        "{said}"
    );
}

#[test]
fn releases_are_laid_out_for_a_web_server_and_only_grow() {
    let lab = signed();
    let plain = ["publish", "out/system.img.zst", "--to", "www"];
    let publish = [&plain[..], &["--key", "release.key.pub"]].concat();
    lab.succeed(&publish);
    let files = [
        "system.img.zst",
        "system.manifest.json",
        "system.manifest.json.minisig",
    ];
    assert_eq!(lab.names("www"), [".lock", "index.json", "system"]);
    assert_eq!(lab.names("www/system"), ["3", "latest"]);
    assert_eq!(lab.names("www/system/latest"), files);
    // again: nothing changes, and what an interrupted run left open is done
    fs::remove_file(lab.path("www/system/latest")).unwrap();
    fs::remove_file(lab.path("www/index.json")).unwrap();
    fs::create_dir_all(lab.path("www/system/.partial.killed")).unwrap();
    fs::write(lab.path("www/system/.partial.killed/a"), "half").unwrap();
    let said = lab.succeed(&publish);
    assert!(said.contains("(was there already)"), "{said}");
    assert_eq!(lab.names("www/system"), ["3", "latest"]);
    assert_eq!(lab.names("www/system/latest"), files);
}

#[test]
fn a_release_is_never_changed_and_an_older_one_comes_too_late() {
    let lab = signed();
    let plain = ["publish", "out/system.img.zst", "--to", "www"];
    let publish = [&plain[..], &["--key", "release.key.pub"]].concat();
    lab.succeed(&publish);
    let release = |number: &'static str| {
        lab.pack(
            "system.raw",
            "out",
            &["--release", number, "--level", "1", "--gz", "--fuel-yaml"],
        )
    };
    release("3");
    let said = lab.refused(&plain);
    assert!(
        said.contains("another image is published as release 3 of system"),
        "{said}"
    );
    release("2");
    let said = lab.refused(&plain);
    assert!(said.contains("pack it with --release 4"), "{said}");
    let said = lab.refused(&publish);
    assert!(said.contains("is not signed"), "{said}");
    release("4");
    lab.succeed(&plain);
    assert_eq!(lab.names("www/system"), ["3", "4", "latest"]);
    assert_eq!(
        lab.names("www/system/latest"),
        [
            "system.img.gz",
            "system.img.zst",
            "system.manifest.json",
            "system.yaml"
        ]
    );
    let index: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(lab.path("www/index.json")).unwrap()).unwrap();
    let images = &index["images"]["system"];
    assert_eq!(
        (
            &images["latest"],
            images["releases"].as_array().unwrap().len()
        ),
        (&4.into(), 2)
    );
    assert_eq!(
        (
            &images["releases"][0]["signed"],
            &images["releases"][1]["signed"]
        ),
        (&true.into(), &false.into())
    );
    lab.succeed(&[
        "inspect",
        "www/system/3/system.img.zst",
        "--check",
        "--key",
        "release.key.pub",
    ]);
}

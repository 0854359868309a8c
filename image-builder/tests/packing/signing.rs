//! Keys, signatures and published images, checked with minisign.

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
fn minisign_verifies_signatures() {
    let lab = signed();
    let manifest = lab.text("out/system.manifest.json");
    let output = tool(
        "minisign",
        &["-V", "-p", &lab.text("release.key.pub"), "-m", &manifest],
    );
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(
        printed.contains("Trusted comment: system release 3"),
        "{printed}"
    );
    let printed = lab.succeed(&[
        "verify",
        "out/system.manifest.json",
        "--key",
        "release.key.pub",
    ]);
    assert!(
        printed.contains("system release 3, signed by key "),
        "{printed}"
    );
    let mode =
        std::os::unix::fs::MetadataExt::mode(&fs::metadata(lab.path("release.key")).unwrap());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn signatures_and_keys_of_minisign_are_accepted() {
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
    // keys of image-builder sign with minisign
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
    let error = lab.refused(&["verify", &manifest, "--key", "m.pub"]);
    assert!(error.contains("in minisign's legacy format"), "{error}");
}

#[test]
fn signatures_that_are_missing_of_another_key_or_over_another_file_are_refused() {
    let lab = signed();
    lab.succeed(&["keygen", "other.key"]);
    let verify = ["verify", "out/system.img.zst", "--key"];
    let error = lab.refused(&[&verify[..], &["other.key.pub"]].concat());
    assert!(error.contains("which is not trusted"), "{error}");
    let path = lab.path("out/system.manifest.json");
    let good = fs::read_to_string(&path).unwrap();
    fs::write(&path, good.replace("\"release\": 3", "\"release\": 4")).unwrap();
    let error = lab.refused(&[&verify[..], &["release.key.pub"]].concat());
    assert!(error.contains("does not match the file"), "{error}");
    fs::write(&path, &good).unwrap();
    let error = lab.refused(&[&verify[..], &["release.key.pub", "--min-release", "4"]].concat());
    assert!(error.contains("release 3 is older than 4"), "{error}");
    fs::remove_file(lab.path("out/system.manifest.json.minisig")).unwrap();
    let error = lab.refused(&[&verify[..], &["release.key.pub"]].concat());
    assert!(error.contains("is not signed"), "{error}");
}

#[test]
fn the_metadata_of_an_image_is_signed_with_its_manifest() {
    let lab = Lab::new();
    lab.ext4("system.raw");
    let pack = |release: &str| {
        let more = ["--gz", "--fuel-yaml", "--release", release];
        lab.pack("system.raw", "out", &more)
    };
    pack("3");
    lab.succeed(&["keygen", "release.key"]);
    let printed = lab.succeed(&["sign", "out/system.img.zst", "--key", "release.key"]);
    assert_eq!(printed.lines().count(), 2, "{printed}");
    let public = ["--key", "release.key.pub"];
    let verify = |name: &'static str| [&["verify", name][..], &public].concat();
    for name in ["out/system.img.zst", "out/system.manifest.json"] {
        let printed = lab.succeed(&verify(name));
        let lines: Vec<&str> = printed.lines().collect();
        assert!(
            lines[0].starts_with("system release 3, signed by key "),
            "{printed}"
        );
        assert!(
            lines[1].starts_with("system.yaml, signed by key "),
            "{printed}"
        );
    }
    let yaml = lab.text("out/system.yaml");
    tool(
        "minisign",
        &["-V", "-p", &lab.text("release.key.pub"), "-m", &yaml],
    );
    lab.succeed(&["publish", "out/system.img.zst", "--to", "www"]);
    assert!(lab.path("www/system/3/system.yaml.minisig").exists());
    let good = fs::read_to_string(&yaml).unwrap();
    fs::write(
        &yaml,
        good.replacen("raw_size: 25165824", "raw_size: 25165825", 1),
    )
    .unwrap();
    let error = lab.refused(&verify("out/system.img.gz"));
    assert!(error.contains("does not match the file"), "{error}");
    pack("4");
    assert!(!lab.path("out/system.yaml.minisig").exists());
    let error = lab.refused(&verify("out/system.yaml"));
    assert!(error.contains("system.yaml is not signed"), "{error}");
}

#[test]
fn an_image_without_a_manifest_is_signed_by_its_metadata_and_any_other_file_by_itself() {
    let lab = Lab::new();
    lab.succeed(&["keygen", "release.key"]);
    let key = ["--key", "release.key"];
    let public = ["--key", "release.key.pub"];
    let digest = "0".repeat(64);
    let entry = format!("images:\n- container_name: web.img.xz\n  raw_sha256: '{digest}'\n");
    for (name, text) in [
        ("web.img.xz", "an image"),
        ("web.yaml", entry.as_str()),
        ("provision.json", "{}"),
        ("provision.yaml", "ks_meta: {}\n"),
    ] {
        fs::write(lab.path(name), text).unwrap();
    }
    for (name, signed) in [
        ("web.img.xz", "web.yaml"),
        ("web.yaml", "web.yaml"),
        ("provision.json", "provision.json"),
        ("provision.yaml", "provision.yaml"),
    ] {
        let printed = lab.succeed(&[&["sign", name][..], &key].concat());
        assert!(
            printed.starts_with(&format!("{signed}.minisig  signed by key ")),
            "{printed}"
        );
        let printed = lab.succeed(&[&["verify", name][..], &public].concat());
        assert!(
            printed.starts_with(&format!("{signed}, signed by key ")),
            "{printed}"
        );
        let args = ["verify", name, "--min-release", "1"];
        let error = lab.refused(&[&args[..], &public].concat());
        assert!(error.contains("has no release"), "{error}");
    }
    fs::write(lab.path("provision.json"), "{ }").unwrap();
    let error = lab.refused(&[&["verify", "provision.json"][..], &public].concat());
    assert!(error.contains("does not match the file"), "{error}");
    let weak = entry.replace("raw_sha256", "raw_md5");
    fs::write(lab.path("web.yaml"), weak).unwrap();
    let error = lab.refused(&[&["sign", "web.img.xz"][..], &key].concat());
    assert!(
        error.contains("neither `raw_sha256` nor `raw_blake3` for `web.img.xz`"),
        "{error}"
    );
}

#[test]
fn keys_are_never_overwritten_and_passwords_decrypt_them() {
    let lab = signed();
    let error = lab.refused(&["keygen", "release.key"]);
    assert!(error.contains("already exists"), "{error}");
    fs::write(lab.path("word"), "correct horse\n").unwrap();
    fs::write(lab.path("wrong"), "battery\n").unwrap();
    fs::write(lab.path("empty"), "\n").unwrap();
    lab.succeed(&["keygen", "locked.key", "--password-file", "word"]);
    let sign = ["sign", "out/system.img.zst", "--key", "locked.key"];
    let error = lab.refused(&sign);
    assert!(
        error.contains("give the password with --password-file"),
        "{error}"
    );
    let with = |file: &'static str| [&sign[..], &["--password-file", file]].concat();
    let error = lab.refused(&with("wrong"));
    assert!(error.contains("the password is wrong for"), "{error}");
    let error = lab.refused(&with("empty"));
    assert!(
        error.contains("has no password in its first line"),
        "{error}"
    );
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
    let error = lab.refused(&["sign", "out/system.img.zst", "--key", "release.key.pub"]);
    assert!(
        error.contains("release.key.pub is not a secret key"),
        "{error}"
    );
    // a key with the public key of another one
    let line = |name: &str| fs::read_to_string(lab.path(name)).unwrap();
    let mut key = line("release.key").into_bytes();
    let at = key.len() - 60;
    key[at] = if key[at] == b'A' { b'B' } else { b'A' };
    fs::write(lab.path("broken.key"), key).unwrap();
    let error = lab.refused(&["sign", "out/system.img.zst", "--key", "broken.key"]);
    assert!(
        error.contains("Could not verify signature with the provided public key"),
        "{error}"
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
    let error = lab.refused(&["sign", "out/system.img.zst", "--key", "release.key"]);
    assert!(
        error.contains("has 1000 bytes, but its manifest says"),
        "{error}"
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
    let error = lab.refused(&["inspect", "out/system.img.zst", "--check"]);
    assert!(
        error.contains("its packed bytes differ from those that the manifest lists"),
        "{error}"
    );
    let error = lab.refused(&["publish", "out/system.img.zst", "--to", "www"]);
    assert!(error.contains("does not match its manifest"), "{error}");
    assert_eq!(lab.names("www/system"), Vec::<String>::new());
    fs::write(&path, &good).unwrap();
    let printed = lab.succeed(&[
        "inspect",
        "out/system.img.zst",
        "--check",
        "--key",
        "release.key.pub",
    ]);
    assert!(
        printed.contains("valid, by key") && printed.contains("checked: every chunk"),
        "{printed}"
    );
    // valid chunks, but a wrong digest of the whole
    let manifest = lab.path("out/system.manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();
    let at = text.find("\"raw_sha256\": \"").unwrap() + 15;
    let digit = if &text[at..=at] == "0" { "1" } else { "0" };
    fs::write(&manifest, [&text[..at], digit, &text[at + 1..]].concat()).unwrap();
    let error = lab.refused(&["inspect", "out/system.img.zst", "--check"]);
    assert!(
        error.contains("the manifest has a wrong value for the sha256 of the raw image"),
        "{error}"
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
    // a second run changes nothing and completes an interrupted one
    fs::remove_file(lab.path("www/system/latest")).unwrap();
    fs::remove_file(lab.path("www/index.json")).unwrap();
    fs::create_dir_all(lab.path("www/system/.partial.killed")).unwrap();
    fs::write(lab.path("www/system/.partial.killed/a"), "half").unwrap();
    let printed = lab.succeed(&publish);
    assert!(printed.contains("(already published)"), "{printed}");
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
    let error = lab.refused(&plain);
    assert!(
        error.contains("another image is published as release 3 of system"),
        "{error}"
    );
    release("2");
    let error = lab.refused(&plain);
    assert!(error.contains("pack it with --release 4"), "{error}");
    let error = lab.refused(&publish);
    assert!(error.contains("is not signed"), "{error}");
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

#[test]
fn a_bill_of_materials_is_published_with_its_image_and_does_not_outlive_it() {
    let lab = Lab::new();
    lab.ext4("system.img");
    let bill = lab.path("out/system.cdx.json");
    lab.pack("system.img", "out", &[]);
    fs::write(&bill, "of release 1").unwrap();
    lab.pack("system.img", "out", &["--release", "2"]);
    assert!(!bill.exists());
    fs::write(&bill, "of release 2").unwrap();
    lab.succeed(&["publish", "out/system.img.zst", "--to", "www"]);
    let published = fs::read_to_string(lab.path("www/system/2/system.cdx.json"));
    assert_eq!(published.unwrap(), "of release 2");
}

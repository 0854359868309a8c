//! Which layer counts for which key, and what is said of wrong entries.

use std::path::PathBuf;

use super::*;
use crate::model::error::Kind;

fn layer(place: &Place, lines: &[&str]) -> Vec<Entry> {
    lines
        .iter()
        .map(|line| Entry::parse(line, place.clone()))
        .collect()
}

fn merged(
    command: &[&str],
    kernel: &[&str],
    file: &[&str],
) -> Result<(Settings, Vec<String>), Error> {
    merge(&[
        layer(&Place::CommandLine, command),
        layer(&Place::Kernel, kernel),
        layer(&Place::File("/etc/provision.conf".into(), 7), file),
    ])
}

#[test]
fn the_strongest_layer_wins() {
    let (settings, warnings) = merged(
        &["end=none"],
        &["provision.end=reboot", "provision.url=http://k/"],
        &["end=poweroff", "url=http://f/"],
    )
    .unwrap();
    assert_eq!(settings.end, Some(End::None));
    assert_eq!(settings.url, Some("http://k/".into()));
    assert_eq!(warnings, [""; 0]);
}

#[test]
fn what_the_ramdisk_protects_stays_protected() {
    let (settings, _) = merged(&["protect=sda"], &["protect=sdb,sdc"], &["protect=S3X9"]).unwrap();
    assert_eq!(settings.protect, ["sda", "sdb", "sdc", "S3X9"]);
    let (settings, _) = merged(&["protect="], &[], &["protect=S3X9"]).unwrap();
    assert_eq!(settings.protect, ["S3X9"]);
    let (settings, _) = merged(&["protect.strict=no"], &[], &["protect.strict"]).unwrap();
    assert!(settings.protect_strict);
}

const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
const OTHER: &str = "RWTg6JXWzv6GDtDphRQ/x7eg0LaWBcTxPZ7i49xEeiqXVcR+r79OZRWM";

#[test]
fn keys_of_the_ramdisk_are_the_only_ones() {
    let key = |text: &str| format!("trusted_key={text}");
    let keys = |settings: &Settings| -> Vec<String> {
        settings
            .packed
            .keys
            .iter()
            .map(ToString::to_string)
            .collect()
    };
    let (settings, warnings) = merged(&[&key(OTHER)], &[&key(OTHER)], &[&key(KEY)]).unwrap();
    assert_eq!(keys(&settings), [KEY]);
    assert_eq!(warnings.len(), 2);
    let (settings, _) = merged(&[&key(KEY)], &[&key(OTHER), &key(KEY)], &[]).unwrap();
    assert_eq!(keys(&settings), [OTHER, KEY]);
    let (settings, warnings) = merged(&[&key(KEY)], &[], &[]).unwrap();
    assert_eq!((keys(&settings).len(), warnings.len()), (1, 0));
    let key = |text: &str| format!("provision.request_key={text}");
    let (settings, warnings) = merged(&[], &[&key(OTHER)], &[&key(KEY)]).unwrap();
    assert_eq!(settings.request_keys.len(), 1);
    assert_eq!(settings.request_keys[0].to_string(), KEY);
    assert_eq!(warnings.len(), 1);
    assert!(merged(&[], &["provision.request_key="], &[]).is_err());
}

#[test]
fn what_the_ramdisk_requires_is_required() {
    let (settings, _) = merged(
        &["require_signature=no", "min_release=1"],
        &["min_release=9"],
        &["require_signature", "min_release=4"],
    )
    .unwrap();
    assert!(settings.packed.images.require_signature);
    assert_eq!(settings.packed.images.min_release.any, 9);
    let (settings, _) = merged(
        &["min_release=debian:3,other:5"],
        &["min_release=debian:7"],
        &["min_release=2"],
    )
    .unwrap();
    let min_release = &settings.packed.images.min_release;
    assert_eq!(
        ["debian", "other", "any"].map(|name| min_release.of(name)),
        [7, 5, 2]
    );
}

#[test]
fn no_layer_weakens_what_a_weaker_one_has_made_strict() {
    type Is = fn(&Settings) -> bool;
    let table: [(&str, &str, &str, Is); 9] = [
        ("reinstall", "yes", "no", |it| it.reinstall),
        ("allow_unverified", "no", "yes", |it| !it.allow_unverified),
        ("allow_removable", "no", "yes", |it| !it.allow_removable),
        ("allow_other_seeds", "no", "yes", |it| !it.allow_other_seeds),
        ("match", "ids", "name", |it| !it.match_by_name),
        ("protect.strict", "yes", "no", |it| it.protect_strict),
        ("require_signature", "yes", "no", |it| {
            it.packed.images.require_signature
        }),
        ("trust", "strict", "warn", |it| it.packed.images.strict),
        ("ca_only", "yes", "no", |it| it.http.only_given_authorities),
    ];
    for (key, strict, lax, is_strict) in table {
        let (strict, lax) = (format!("{key}={strict}"), format!("{key}={lax}"));
        let (strict, lax) = ([strict.as_str(), "ca=x.pem"], [lax.as_str()]);
        for (command, kernel, file) in [
            (&lax[..], &[][..], &strict[..]),
            (&lax[..], &strict[..], &[][..]),
            (&[][..], &lax[..], &strict[..]),
            (&lax[..], &lax[..], &strict[..]),
        ] {
            let (settings, warnings) = merged(command, kernel, file).unwrap();
            assert!(is_strict(&settings), "{command:?} {kernel:?} {file:?}");
            let weaker = usize::from(!command.is_empty()) + usize::from(kernel == &lax[..]);
            assert_eq!(warnings.len(), weaker, "{warnings:?}");
            assert!(warnings[0].contains("is ignored: "), "{warnings:?}");
        }
        for (command, kernel, file) in [
            (&strict[..], &lax[..], &lax[..]),
            (&[][..], &strict[..], &lax[..]),
        ] {
            let (settings, warnings) = merged(command, kernel, file).unwrap();
            assert!(is_strict(&settings), "{command:?} {kernel:?} {file:?}");
            assert_eq!(warnings, [""; 0]);
        }
        let (settings, _) = merged(&[], &lax, &[]).unwrap();
        assert!(!is_strict(&settings), "{key}");
    }
    let (_, warnings) = merged(&["allow-unverified"], &[], &["allow_unverified=off"]).unwrap();
    assert_eq!(
        warnings,
        ["`allow_unverified` of the command line is ignored: /etc/provision.conf:7 says `no`"]
    );
}

#[test]
fn keys_make_signatures_obligatory_unless_their_own_layer_says_no() {
    let key = format!("trusted_key={KEY}");
    let (key, no) = (key.as_str(), "require_signature=no");
    for (command, kernel, file, required) in [
        (&[][..], &[][..], &[key][..], true),
        (&[][..], &[][..], &[key, no][..], false),
        (&[][..], &[no][..], &[key][..], true),
        (&[no][..], &[][..], &[key][..], true),
        (&[no][..], &[key][..], &[][..], true),
        (&[no][..], &[key, no][..], &[][..], false),
        (&["require_signature"][..], &[key, no][..], &[][..], true),
        (&[key][..], &[][..], &[no][..], true),
        (&[][..], &[key][..], &[no][..], true),
        (&[no][..], &[][..], &[key, "require_signature"][..], true),
        (&[][..], &[][..], &[no][..], false),
    ] {
        let (settings, _) = merged(command, kernel, file).unwrap();
        let found = settings.packed.images.require_signature;
        assert_eq!(found, required, "{command:?} {kernel:?} {file:?}");
    }
    let (_, warnings) = merged(&["require-signature=no"], &[no], &[key]).unwrap();
    let ignored = |place: &str| {
        format!(
            "`require_signature` of {place} is ignored: /etc/provision.conf:7 has a `trusted_key`"
        )
    };
    let places = ["the command line", "the kernel command line"];
    assert_eq!(warnings, places.map(ignored));
}

#[test]
fn an_installed_node_is_compared_as_strictly_as_any_layer_wants_it() {
    const VALUES: [(&str, Reverify); 4] = [
        ("no", Reverify::No),
        ("report", Reverify::Report),
        ("reinstall", Reverify::Reinstall),
        ("fail", Reverify::Fail),
    ];
    for (strong, (command, _)) in VALUES.iter().enumerate() {
        for (middle, (kernel, _)) in VALUES.iter().enumerate() {
            for (weak, (file, _)) in VALUES.iter().enumerate() {
                let lines = [command, kernel, file].map(|value| format!("reverify={value}"));
                let [command, kernel, file] = lines.each_ref().map(|line| [line.as_str()]);
                let (settings, warnings) = merged(&command, &kernel, &file).unwrap();
                let strictest = strong.max(middle).max(weak);
                assert_eq!(settings.reverify, VALUES[strictest].1, "{lines:?}");
                let ignored = [strong < middle.max(weak), middle < weak && strong < weak];
                let ignored = ignored.iter().filter(|it| **it).count();
                assert_eq!(warnings.len(), ignored, "{lines:?} {warnings:?}");
            }
        }
    }
    let (_, warnings) = merged(&["reverify=no"], &[], &["reverify=fail"]).unwrap();
    assert_eq!(
        warnings,
        ["`reverify` of the command line is ignored: /etc/provision.conf:7 says `fail`"]
    );
}

#[test]
fn where_only_given_authorities_count_a_stronger_layer_adds_none() {
    let authorities = |settings: &Settings| settings.http.authorities.clone();
    let (settings, warnings) = merged(
        &["ca=evil.pem"],
        &["ca=own.pem", "ca_only"],
        &["ca=old.pem"],
    )
    .unwrap();
    assert_eq!(
        authorities(&settings),
        ["own.pem", "old.pem"].map(PathBuf::from)
    );
    assert_eq!(
        warnings,
        ["`ca` of the command line is ignored: the kernel command line says `ca_only`"]
    );
    let error = merged(&[], &[], &["ca_only=yes"]).unwrap_err();
    insta::assert_snapshot!(crate::model::error::render(&error), @r"
    error: `ca_only` is set, but `ca` names no authority: no https server could be trusted
      hint: name the PEM file of your authority with `ca`
    ");
}

#[test]
fn headers_are_collected_within_a_layer_and_replaced_by_a_stronger_one() {
    let (settings, warnings) = merged(
        &[],
        &["success.header=A: 1", "success.header=B: 2"],
        &["success.header=C: 3"],
    )
    .unwrap();
    let headers = [("A", "1"), ("B", "2")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!(settings.success.headers, headers);
    assert_eq!(warnings, [""; 0]);
}

#[test]
fn dashes_and_the_prefix_are_no_difference() {
    let (settings, _) = merged(&["allow-unverified"], &[], &["provision.reinstall=yes"]).unwrap();
    assert!(settings.allow_unverified && settings.reinstall);
}

#[test]
fn an_unknown_key_is_a_warning_from_the_kernel_and_an_error_elsewhere() {
    let (_, warnings) = merged(&[], &["provision.ulr=x"], &[]).unwrap();
    assert_eq!(
        warnings,
        [
            "the kernel command line has `provision.ulr`, which is not a setting; did you mean `url`?"
        ]
    );
    let error = merged(&[], &[], &["protct=sda"]).unwrap_err();
    assert_eq!(error.kind, Kind::Usage);
    insta::assert_snapshot!(crate::model::error::render(&error), @r"
    error: `protct` is not a setting (/etc/provision.conf:7)
      hint: did you mean `protect`?
    ");
}

#[test]
fn keys_of_the_ramdisk_cause_no_warning() {
    let line = ["provision.key=ssh-ed25519%20AAAA", "provision.shell"];
    let (_, warnings) = merged(&[], &line, &[]).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    let line = ["provision.bootif=01-52-54-00-12-34-56"];
    assert_eq!(merged(&[], &line, &[]).unwrap().1, [""; 0]);
    for placeholder in ["provision.bootif=", "provision.bootif=$net_default_mac"] {
        let (_, warnings) = merged(&[], &[placeholder], &[]).unwrap();
        assert_eq!(
            warnings,
            [
                "`provision.bootif` of the kernel command line is not a MAC address and is ignored; BOOTIF is \
                      used if it is set"
            ]
        );
    }
    assert!(merged(&[], &[], &["key=x"]).is_err());
}

#[test]
fn a_bad_value_is_named_with_its_place_and_the_valid_form() {
    let error = merged(&[], &[], &["end=restart"]).unwrap_err();
    insta::assert_snapshot!(crate::model::error::render(&error), @r"
    error: cannot use the value of `end` (/etc/provision.conf:7)
      cause: `restart` is not one of the valid values
      hint: write end=none|reboot|poweroff|kexec
    ");
    let error = merged(&["url"], &[], &[]).unwrap_err();
    insta::assert_snapshot!(crate::model::error::render(&error), @r"
    error: `url` has no value (the command line)
      hint: write url=URL
    ");
}

#[test]
fn a_callback_does_not_print_its_secrets() {
    let callback = Callback {
        url: Some("http://u:p@h/built?token=t0p".into()),
        headers: vec![("Authorization".to_owned(), "s3cret".to_owned())],
        body: Some("s3cret".to_owned()),
        ..Callback::default()
    };
    insta::assert_snapshot!(format!("{callback:?}"), @r#"Callback { url: Some("http://h/built?..."), method: None, .. }"#);
}

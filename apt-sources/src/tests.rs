//! What is taken of the entries of a machine's apt.

use super::*;
use crate::one_line::parse_list;

const DEB822: &str = "Types: deb deb-src\n\
     URIs: http://mirror.test/debian\n\
     Suites: bookworm bookworm-updates trixie\n\
     Components: main contrib\n\
     Signed-By: /keys.gpg\n\n\
     Types: deb\n\
     URIs: https://vendor.test/x\n\
     Suites: bookworm\n\
     Components: stable\n\n\
     Enabled: no\n\
     Types: deb\n\
     URIs: http://off.test/debian\n\
     Suites: bookworm\n\
     Components: main\n";

fn wanted(mirrors: &[Mirror], firmware: bool) -> Wanted<'_> {
    Wanted {
        suite: "bookworm",
        architecture: "amd64",
        mirrors,
        machine_security: false,
        firmware,
        allow_unsigned: false,
    }
}

#[test]
fn only_the_release_of_the_debian_archive_is_taken() {
    let text = render(&stanza::parse_stanzas(DEB822), wanted(&[], false)).unwrap();
    assert_eq!(
        text,
        "Types: deb\n\
         URIs: http://mirror.test/debian\n\
         Suites: bookworm bookworm-updates\n\
         Components: main contrib\n\
         Signed-By: /keys.gpg\n\
         Architectures: amd64\n\
         Targets: Packages\n"
    );
}

#[test]
fn firmware_adds_its_component_once() {
    let text = render(&stanza::parse_stanzas(DEB822), wanted(&[], true)).unwrap();
    assert!(text.contains("Components: main contrib non-free-firmware\n"));
    let again = render(&stanza::parse_stanzas(&text), wanted(&[], true)).unwrap();
    assert_eq!(again, text);
}

#[test]
fn one_line_entries_say_the_same() {
    let list = "# comment\n deb [arch=amd64,arm64 signed-by=/k.gpg] http://m.test/debian bookworm main # tail\n\
         deb-src http://m.test/debian bookworm main\n\
         deb http://s.test/debian-security bookworm-security main\n\
         deb cdrom:[x]/ bookworm main\n";
    let entries = parse_list(list);
    let text = render(&entries, wanted(&[], false)).unwrap();
    let expected = "URIs: http://m.test/debian\n\
         Suites: bookworm\n\
         Components: main\n\
         Architectures: amd64\n\
         Signed-By: /k.gpg\n";
    assert!(text.contains(expected), "{text}");
    assert!(text.contains("Suites: bookworm-security\n"));
    assert!(!text.contains("deb-src"));
}

#[test]
fn an_entry_for_another_architecture_is_passed_over() {
    let entries = parse_list("deb [arch=arm64] http://m.test/debian bookworm main");
    assert!(matches!(
        render(&entries, wanted(&[], false)),
        Err(SourcesError::NoArchive { .. })
    ));
}

#[test]
fn a_list_for_another_machine_has_a_line_for_each_suite_and_no_options() {
    let lines = lines(&stanza::parse_stanzas(DEB822), wanted(&[], false)).unwrap();
    assert_eq!(
        lines,
        [
            "deb http://mirror.test/debian bookworm main contrib",
            "deb http://mirror.test/debian bookworm-updates main contrib"
        ]
    );
    let other = parse_list("deb http://m.test/ubuntu noble main");
    super::lines(&other, wanted(&[], false)).unwrap_err();
}

#[test]
fn a_mirror_named_by_hand_replaces_the_entries() {
    let mirrors = [
        Mirror::of("http://own.test/debian", "bookworm"),
        Mirror::of("http://own.test/debian-security/", "bookworm"),
    ];
    let text = render(&stanza::parse_stanzas(DEB822), wanted(&mirrors, false)).unwrap();
    assert!(text.contains("Suites: bookworm bookworm-updates\n"));
    assert!(text.contains("Suites: bookworm-security\n"));
    assert!(!text.contains("mirror.test"));
}
const WITH_SECURITY: &str = "deb http://m.test/debian bookworm main\n\
     deb http://u:secret@s.test/debian-security bookworm-security main contrib\n";

#[test]
fn the_security_suite_of_the_machine_can_be_used_beside_a_mirror() {
    let mirrors = [Mirror::of("http://own.test/debian", "bookworm")];
    let entries = parse_list(WITH_SECURITY);
    let alone = wanted(&mirrors, false);
    let with = Wanted {
        machine_security: true,
        ..alone
    };
    let with = lines(&entries, with).unwrap();
    assert_eq!(
        with,
        [
            "deb http://own.test/debian bookworm main",
            "deb http://own.test/debian bookworm-updates main",
            "deb http://s.test/debian-security bookworm-security main contrib"
        ]
    );
    let is_security = |line: &String| is_security_line(line, "bookworm");
    assert_eq!(with.iter().filter(|line| is_security(line)).count(), 1);
    assert!(!lines(&entries, alone).unwrap().iter().any(is_security));
}

#[test]
fn an_archive_whose_signature_is_not_checked_is_refused_unless_that_is_allowed() {
    for (option, field) in [
        ("trusted=yes", "Trusted"),
        ("trusted=TRUE", "Trusted"),
        ("allow-insecure=1", "Allow-Insecure"),
        ("arch=amd64 allow-weak=on", "Allow-Weak"),
        (
            "allow-downgrade-to-insecure=yes",
            "Allow-Downgrade-To-Insecure",
        ),
    ] {
        let list = format!("deb [{option}] http://u:p@m.test/debian bookworm main");
        let entries = parse_list(&list);
        let error = render(&entries, wanted(&[], false)).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "apt on this machine takes packages of http://m.test/debian without a signature (`{field}: yes`)"
            )
        );
        assert!(error.hint().unwrap().contains("--allow-unsigned-archive"));
        lines(&entries, wanted(&[], false)).unwrap_err();
        let allowed = Wanted {
            allow_unsigned: true,
            ..wanted(&[], false)
        };
        assert!(render(&entries, allowed).unwrap().contains(field));
        let lines = lines(&entries, allowed).unwrap();
        assert_eq!(lines, ["deb http://m.test/debian bookworm main"]);
    }
    for good in [
        "deb [trusted=no] http://m.test/debian bookworm main",
        "deb http://m.test/debian bookworm main\ndeb [trusted=yes] http://x.test/ other main",
    ] {
        render(&parse_list(good), wanted(&[], false)).unwrap();
    }
    let deb822 = format!(
        "{}Trusted: yes\n",
        "Types: deb\nURIs: http://m.test/debian\nSuites: bookworm\nComponents: main\n"
    );
    let entries = stanza::parse_stanzas(&deb822);
    render(&entries, wanted(&[], false)).unwrap_err();
}

//! Malicious and damaged archives: each is refused, and the error names the reason.

use super::*;

/// The error of an archive that cannot be read to its end.
fn refused(bytes: &[u8]) -> String {
    let error = read(bytes).map(|all| names(&all)).unwrap_err();
    error.to_string()
}

fn one(made: Made) -> String {
    refused(&made.ended())
}

#[test]
fn a_name_that_leads_out_is_refused_and_a_slash_in_front_comes_off() {
    let why = "its entry `../etc/passwd` has `..` in its name, which leads out of the archive";
    assert_eq!(one(Made::default().file("../etc/passwd", b"x")), why);
    for name in ["/..", "a/../../b", "a/..", "./../a"] {
        assert!(
            one(Made::default().file(name, b"")).contains("leads out"),
            "{name}"
        );
        let long = Made::default().extended(&[("path", name.as_bytes())]);
        assert!(
            one(long.file("harmless", b"")).contains("leads out"),
            "{name}"
        );
        let gnu = Made::default().entry(b'L', "././@LongLink", name.as_bytes());
        assert!(
            one(gnu.file("harmless", b"")).contains("leads out"),
            "{name}"
        );
    }
    let all = read(&Made::default().file("//etc/passwd", b"").ended()).unwrap();
    assert_eq!(names(&all), ["etc/passwd"]);
}

#[test]
fn a_hard_link_that_leads_out_is_refused() {
    let why =
        "its entry `a` is a link whose target has `..` in its name, which leads out of the archive";
    assert_eq!(
        one(Made::default().link(b'1', "a", "../../etc/shadow")),
        why
    );
}

#[test]
fn a_name_or_a_link_of_nothing_is_refused() {
    assert_eq!(
        one(Made::default().file("", b"")),
        "its entry `` has no name"
    );
    assert_eq!(
        one(Made::default().link(b'2', "a", "")),
        "its entry `a` is a symbolic link without a target"
    );
    assert!(
        one(Made::default()
            .extended(&[("path", b"a\0b")])
            .file("c", b""))
        .contains("zero byte")
    );
    for kind in [b'0', b'2', b'6'] {
        let made = Made::default().link(kind, "././.", "x");
        assert_eq!(one(made), "its entry `././.` would replace the root");
    }
}

#[test]
fn what_ends_in_the_middle_is_refused_wherever_that_is() {
    let whole = Made::default()
        .extended(&[("path", b"a")])
        .file("b", &[1; 700])
        .file("c", b"x")
        .ended();
    for length in 0..whole.len() {
        let why = refused(&whole[..length]);
        let right = ["it ends in the middle, after ", "it is not a tar archive"];
        assert!(
            right.iter().any(|right| why.starts_with(right)),
            "{length}: {why}"
        );
    }
    assert!(refused(&whole[..512 * 3 + 100]).ends_with("in its entry `a`"));
    read(&whole).unwrap();
}

#[test]
fn what_follows_after_the_end_is_refused_unless_it_is_zeros() {
    let mut archive = Made::default().file("a", b"x").ended();
    archive.resize(20 * BLOCK, 0);
    read(&archive).unwrap();
    archive[19 * BLOCK + 7] = 1;
    assert_eq!(
        refused(&archive),
        format!(
            "other data follows after its end, at byte {}",
            19 * BLOCK + 7
        )
    );
    let second = [
        Made::default().file("a", b"").ended(),
        Made::default().file("b", b"").ended(),
    ];
    assert_eq!(
        refused(&second.concat()),
        format!("other data follows after its end, at byte {}", 3 * BLOCK)
    );
    archive[19 * BLOCK + 7] = 0;
    archive.push(0);
    assert!(refused(&archive).starts_with("it ends in the middle"));
}

#[test]
fn a_single_block_of_zeros_is_no_end() {
    let mut archive = Made::default().file("a", b"").0;
    archive.resize(2 * BLOCK, 0);
    archive.extend(Made::default().file("b", b"").ended());
    assert!(refused(&archive).contains("behind a single block of zeros"));
}

#[test]
fn what_is_something_else_is_no_archive() {
    for bytes in [
        vec![0; 4096],
        vec![b'x'; 4096],
        b"short".to_vec(),
        Vec::new(),
    ] {
        assert_eq!(refused(&bytes), "it is not a tar archive");
    }
    let sums = Made::default().changed(b'0', "a", b"", |block| block[257..265].fill(0));
    assert_eq!(
        one(sums),
        "it is not a tar archive",
        "an old one is not known by its beginning"
    );
}

#[test]
fn a_wrong_checksum_is_refused() {
    let mut archive = Made::default().file("a", b"").file("b", b"").ended();
    archive[BLOCK] = b'c';
    assert_eq!(
        refused(&archive),
        "the header at byte 512 has a wrong checksum"
    );
}

#[test]
fn huge_sizes_take_no_memory() {
    let huge = |block: &mut [u8]| {
        block[124..136].copy_from_slice(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff");
    };
    let file = Made::default().changed(b'0', "a", b"", huge);
    assert!(one(file).starts_with("it ends in the middle"));
    for kind in [b'x', b'g', b'L', b'K', b'V'] {
        let why = one(Made::default().changed(kind, "a", b"", huge));
        assert!(why.contains("are supported"), "{why}");
    }
    let negative = |block: &mut [u8]| block[124..136].fill(0xff);
    assert_eq!(
        one(Made::default().changed(b'0', "a", b"", negative)),
        "its entry `a` has a size that is not a number"
    );
    let more = Made::default().extended(&[("size", b"18446744073709551615")]);
    assert!(one(more.file("a", b"")).contains("more than a file can have"));
}

#[test]
fn attributes_without_number_are_refused() {
    let mut records = Vec::new();
    for number in 0..12_000 {
        records.extend(record(&format!("SCHILY.xattr.user.{number:06}"), b"x"));
    }
    // An eighth of them is what a file can have.
    let few = &records[..records.len() / 8];
    let made = |records: &[u8]| Made::default().entry(b'x', "x", records);
    let all = read(&made(few).file("a", b"").ended()).unwrap();
    assert_eq!(names(&all), ["a"]);
    let why = one(made(&records).file("a", b""));
    assert!(why.contains("65536 bytes of names of attributes"), "{why}");
}

#[test]
fn what_has_no_data_must_not_claim_any() {
    for kind in *b"123456" {
        let made = Made::default().changed(kind, "a", b"smuggled", |block| {
            block[157] = b'b';
            block[329..345].copy_from_slice(b"0000001\x000000003\0");
        });
        assert_eq!(
            one(made),
            "its entry `a` has 8 bytes of data, but its type has none"
        );
    }
}

#[test]
fn kinds_that_are_not_files_are_refused() {
    for (kind, why) in [
        (b'D', "is part of an incremental archive"),
        (b'M', "continues a file of another volume"),
        (b'Z', "has the unknown type `Z`"),
        (b'\x07', "has the unknown type `\\u{7}`"),
    ] {
        assert_eq!(
            one(Made::default().entry(kind, "a", b"")),
            format!("its entry `a` {why}")
        );
    }
}

#[test]
fn extended_headers_without_an_entry_are_refused() {
    let made = Made::default().file("a", b"").extended(&[("path", b"b")]);
    assert!(one(made).contains("announced one more entry"));
}

#[test]
fn an_owner_id_that_means_no_id_is_refused() {
    for number in [&b"4294967295"[..], b"4294967296", b"99999999999999999999"] {
        let made = Made::default().extended(&[("uid", number)]).file("a", b"");
        assert!(read(&made.ended()).is_err(), "{number:?}");
    }
}

#[test]
fn an_inconsistent_list_of_pieces_is_refused() {
    let data = [1; 1024];
    for (size, pieces, why) in [
        (
            8192,
            &[(0, 512), (256, 512)][..],
            "overlaps another, or lies outside",
        ),
        (
            8192,
            &[(4096, 512), (0, 512)],
            "overlaps another, or lies outside",
        ),
        (1000, &[(0, 1024)], "overlaps another, or lies outside"),
        (
            8192,
            &[(0, 512)],
            "has 512 bytes by its list of pieces, and 1024 by its size",
        ),
        (
            8192,
            &[(0, 2048)],
            "has 2048 bytes by its list of pieces, and 1024 by its size",
        ),
        (
            0o77_777_777_777,
            &[(0o77_777_777_777, 0o77_777_777_777)],
            "overlaps another, or lies outside",
        ),
    ] {
        let why_found = one(Made::default().old_sparse(size, pieces, &data));
        assert!(why_found.contains(why), "{pieces:?}: {why_found}");
    }
}

#[test]
fn an_inconsistent_list_of_pieces_before_the_data_is_refused() {
    let form = |size: &'static [u8]| {
        Made::default().extended(&[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.realsize", size),
        ])
    };
    let block = |text: &str| {
        let mut block = text.as_bytes().to_vec();
        block.resize(BLOCK, 0);
        block
    };
    for (text, why) in [
        (
            "1\n0\n512\n",
            "has 512 bytes by its list of pieces, and 0 by its size",
        ),
        ("300000\n", "are supported"),
        (
            "99999999999999999999999\n",
            "has a malformed list of pieces",
        ),
        ("\n", "has a malformed list of pieces"),
        ("-1\n", "has a malformed list of pieces"),
        ("2\n0\n0\n", "has a malformed list of pieces"),
    ] {
        let found = one(form(b"8192").file("a", &block(text)));
        assert!(found.contains(why), "{text:?}: {found}");
    }
    let endless = "0".repeat(BLOCK);
    assert!(one(form(b"8192").file("a", endless.as_bytes())).contains("longer than its data"));
    assert!(one(form(b"8192").file("a", b"")).contains("longer than its data"));
}

#[test]
fn a_form_of_sparse_that_is_not_known_is_refused() {
    for records in [
        &[
            ("GNU.sparse.major", &b"2"[..]),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.realsize", b"1"),
        ][..],
        &[("GNU.sparse.map", b"0,512")],
        &[("GNU.sparse.size", b"8192"), ("GNU.sparse.numbytes", b"1")],
        &[("GNU.sparse.size", b"8192"), ("GNU.sparse.map", b"0")],
        &[
            ("GNU.sparse.size", b"8192"),
            ("GNU.sparse.map", b"0,512"),
            ("GNU.sparse.numblocks", b"2"),
        ],
        &[("GNU.sparse.future", b"1")],
        &[("SCHILY.realsize", b"8192")],
    ] {
        let made = Made::default().extended(records).file("a", &[1; 512]);
        assert!(read(&made.ended()).is_err(), "{records:?}");
    }
    let folder = Made::default().extended(&[("GNU.sparse.size", b"8192"), ("GNU.sparse.map", b"")]);
    assert!(read(&folder.entry(b'5', "a", b"").ended()).is_err());
}

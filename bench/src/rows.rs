//! The rows: for each a shell command as people would type it.

use std::fmt::Write as _;

use crate::image::{Form, Size};
use crate::row::{Expected, Initial, Link, Row, RowKind};

/// What most rows have: another tool on loopback, the whole image, a stale target.
const PEER: Row = Row {
    name: "",
    about: "",
    kind: RowKind::Peer,
    link: Link::Loopback,
    size: Size::Whole,
    forms: &[],
    initial: Initial::Stale,
    expected: Expected::Image,
    programs: &[],
    udev: false,
    every_other_round: false,
    command: "",
};

const LIMIT: Row = Row {
    kind: RowKind::Limit,
    expected: Expected::Anything,
    ..PEER
};

const OURS: Row = Row {
    kind: RowKind::Ours,
    programs: &["provision"],
    forms: &[Form::Packed],
    command: "provision write --format json --image {url}/packed.img.zst --target {target}",
    ..PEER
};

/// The packed image, fetched and dropped.
const FETCH_PACKED: Row = Row {
    about: "packed image fetched, one connection",
    forms: &[Form::Packed],
    programs: &["curl"],
    command: "curl -sf {url}/packed.img.zst -o /dev/null",
    ..LIMIT
};

const ZST: Row = Row {
    about: ".zst, one frame, sha256",
    forms: &[Form::Zst],
    command: "provision write --format json --image {url}/disk.raw.zst --digest sha256:{sha256} --target {target}",
    ..OURS
};

const COREOS_ZST: Row = Row {
    about: "coreos-installer, .zst",
    forms: &[Form::Zst],
    programs: &["coreos-installer"],
    udev: true,
    command: "coreos-installer install --image-url {url}/disk.raw.zst --insecure {target}",
    ..PEER
};

const CURL_ZSTD: Row = Row {
    about: "curl, zstd -d, dd oflag=direct",
    forms: &[Form::Zst],
    programs: &["curl", "zstd", "dd"],
    command: "curl -sf {url}/disk.raw.zst | zstd -dcq | \
              dd of={target} bs=4M iflag=fullblock oflag=direct conv=fsync,notrunc status=none",
    ..PEER
};

/// A newer version of the image, over Gigabit.
const NEWER: Row = Row {
    link: Link::Gigabit,
    forms: &[Form::Newer],
    expected: Expected::Newer,
    command: "provision write --format json --image {url}/newer.img.zst --target {target}",
    ..OURS
};

/// Writes of what `command` says, without network or decoder.
const fn write_limit(name: &'static str, about: &'static str, command: &'static str) -> Row {
    Row {
        name,
        about,
        command,
        ..LIMIT
    }
}

/// All rows, in the order of tables and rounds.
pub(crate) const ROWS: [Row; 35] = [
    Row {
        name: "packed",
        about: "packed image",
        ..OURS
    },
    Row {
        name: "coreos-zst",
        ..COREOS_ZST
    },
    Row {
        name: "limit-decode",
        about: "packed image fetched, unpacked and checked, nothing written",
        programs: &["provision"],
        forms: &[Form::Packed],
        command: "provision write --format json --image {url}/packed.img.zst --check",
        ..LIMIT
    },
    write_limit(
        "limit-write-data-parallel",
        "O_DIRECT, the non-zero bytes, 4 writes of 1 MiB in flight",
        "bench write-limit --writers 4 --map {files}/data.map --target {target}",
    ),
    Row { name: "zst", ..ZST },
    Row {
        name: "curl-zstd",
        ..CURL_ZSTD
    },
    Row {
        name: "zst-unverified",
        about: ".zst, one frame, no digest given",
        forms: &[Form::Zst],
        command: "provision write --format json --image {url}/disk.raw.zst --allow-unverified --target {target}",
        ..OURS
    },
    Row {
        name: "bmaptool-zst",
        about: "bmaptool, .zst and bmap",
        forms: &[Form::Zst, Form::Bmap],
        expected: Expected::Data,
        programs: &["bmaptool"],
        command: "bmaptool -q copy --bmap {url}/disk.raw.bmap {url}/disk.raw.zst {target}",
        ..PEER
    },
    Row {
        name: "gz",
        about: ".gz, sha256",
        forms: &[Form::Gz],
        command: "provision write --format json --image {url}/disk.raw.gz --digest sha256:{sha256} --target {target}",
        ..OURS
    },
    Row {
        name: "coreos-gz",
        about: "coreos-installer, .gz",
        forms: &[Form::Gz],
        programs: &["coreos-installer"],
        udev: true,
        command: "coreos-installer install --image-url {url}/disk.raw.gz --insecure {target}",
        ..PEER
    },
    Row {
        name: "bmap-rs-gz",
        about: "bmap-rs, .gz and bmap",
        forms: &[Form::Gz, Form::Bmap],
        expected: Expected::Data,
        programs: &["bmap-rs"],
        every_other_round: true,
        command: "bmap-rs copy {url}/disk.raw.gz {target}",
        ..PEER
    },
    Row {
        name: "bmaptool-gz",
        about: "bmaptool, .gz and bmap",
        forms: &[Form::Gz, Form::Bmap],
        expected: Expected::Data,
        programs: &["bmaptool"],
        every_other_round: true,
        command: "bmaptool -q copy --bmap {url}/disk.raw.bmap {url}/disk.raw.gz {target}",
        ..PEER
    },
    Row {
        name: "curl-pigz",
        about: "curl, pigz -d, dd oflag=direct",
        forms: &[Form::Gz],
        programs: &["curl", "pigz", "dd"],
        every_other_round: true,
        command: "curl -sf {url}/disk.raw.gz | pigz -dc | \
               dd of={target} bs=4M iflag=fullblock oflag=direct conv=fsync,notrunc status=none",
        ..PEER
    },
    Row {
        name: "fuel-gz",
        about: "fuel-agent, .gz, md5 read back",
        forms: &[Form::Gz],
        programs: &["fuel-python"],
        command: "fuel-python {drivers}/fuel_agent_write.py {url}/disk.raw.gz {target} {raw_size} {md5}",
        ..PEER
    },
    Row {
        name: "raw",
        about: "raw, sha256",
        forms: &[Form::Raw],
        command: "provision write --format json --image {url}/disk.raw --digest sha256:{sha256} --target {target}",
        ..OURS
    },
    Row {
        name: "ironic-raw",
        about: "ironic-python-agent, raw streamed, sha256",
        forms: &[Form::Raw],
        programs: &["ironic-python"],
        command: "ironic-python {drivers}/ironic_write.py {url}/disk.raw {target} {sha256}",
        ..PEER
    },
    Row {
        name: "qemu-img",
        about: "curl to memory, qemu-img convert of the qcow2",
        forms: &[Form::Qcow2],
        programs: &["curl", "qemu-img"],
        every_other_round: true,
        command: "curl -sf {url}/disk.qcow2 -o {scratch}/disk.qcow2 && \
               qemu-img convert -n -f qcow2 -O raw -t none -T none -W -m 8 {scratch}/disk.qcow2 {target}",
        ..PEER
    },
    Row {
        name: "aria2-zstd",
        about: "aria2, 4 connections, to memory; zstd -d, dd oflag=direct",
        forms: &[Form::Zst],
        programs: &["aria2c", "zstd", "dd"],
        every_other_round: true,
        command: "aria2c -q -x4 -s4 --file-allocation=none -d {scratch} -o disk.zst {url}/disk.raw.zst && \
               zstd -dcq {scratch}/disk.zst | \
               dd of={target} bs=4M iflag=fullblock oflag=direct conv=fsync,notrunc status=none",
        ..PEER
    },
    Row {
        name: "limit-fetch-packed",
        ..FETCH_PACKED
    },
    Row {
        name: "limit-fetch-zst",
        about: ".zst fetched, one connection",
        forms: &[Form::Zst],
        programs: &["curl"],
        command: "curl -sf {url}/disk.raw.zst -o /dev/null",
        ..LIMIT
    },
    write_limit(
        "limit-write-data-single",
        "O_DIRECT, the non-zero bytes, one write in flight",
        "bench write-limit --writers 1 --map {files}/data.map --target {target}",
    ),
    write_limit(
        "limit-write-all-parallel",
        "O_DIRECT, all bytes, 4 writes of 1 MiB in flight",
        "bench write-limit --writers 4 --map {files}/all.map --target {target}",
    ),
    write_limit(
        "limit-write-all-single",
        "O_DIRECT, all bytes, one write in flight",
        "bench write-limit --writers 1 --map {files}/all.map --target {target}",
    ),
    Row {
        name: "packed-1g",
        about: "packed image",
        link: Link::Gigabit,
        ..OURS
    },
    Row {
        name: "limit-fetch-packed-1g",
        link: Link::Gigabit,
        ..FETCH_PACKED
    },
    Row {
        name: "zst-1g",
        link: Link::Gigabit,
        ..ZST
    },
    Row {
        name: "curl-zstd-1g",
        link: Link::Gigabit,
        ..CURL_ZSTD
    },
    Row {
        name: "coreos-zst-1g",
        link: Link::Gigabit,
        every_other_round: true,
        ..COREOS_ZST
    },
    Row {
        name: "newer-1g",
        about: "newer version onto a stale disk",
        ..NEWER
    },
    Row {
        name: "delta-1g",
        about: "newer version over the one before, 5 % of chunks changed",
        initial: Initial::Image,
        ..NEWER
    },
    Row {
        name: "packed-10g",
        about: "packed image",
        link: Link::TenGigabit,
        ..OURS
    },
    Row {
        name: "limit-fetch-packed-10g",
        link: Link::TenGigabit,
        ..FETCH_PACKED
    },
    Row {
        name: "coreos-zst-10g",
        link: Link::TenGigabit,
        ..COREOS_ZST
    },
    Row {
        name: "packed-half",
        about: "packed image of half the size",
        size: Size::Half,
        ..OURS
    },
    Row {
        name: "packed-quarter",
        about: "packed image of a quarter of the size",
        size: Size::Quarter,
        ..OURS
    },
];

/// Name and command of every row, for the page.
pub(crate) fn commands() -> String {
    ROWS.iter().fold(String::new(), |mut text, row| {
        let _ = writeln!(text, "{:<26} {}", row.name, row.command);
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Variables;
    use std::collections::BTreeSet;

    #[test]
    fn every_row_has_a_name_of_its_own() {
        let names: BTreeSet<&str> = ROWS.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), ROWS.len());
        assert!(ROWS.iter().all(|row| !row.about.is_empty()));
    }

    #[test]
    fn every_variable_in_a_command_is_set() {
        let names = [
            "url", "target", "files", "drivers", "scratch", "sha256", "md5", "raw_size",
        ];
        let variables = names
            .into_iter()
            .fold(Variables::default(), |all, name| all.with(name, "x"));
        for row in ROWS {
            let command = variables.expand(row.command);
            assert!(
                !command.is_empty() && !command.contains(['{', '}']),
                "{command}"
            );
        }
    }

    #[test]
    fn a_target_that_is_compared_is_written_by_the_command() {
        for row in ROWS.iter().filter(|row| row.expected != Expected::Anything) {
            assert!(row.writes(), "{}", row.name);
            assert!(!row.forms.is_empty(), "{}", row.name);
        }
    }

    #[test]
    fn rows_are_selected_by_parts_of_their_names() {
        let of = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
            ROWS.iter().filter(|row| row.is_selected(&words)).count()
        };
        assert_eq!(of(&[]), ROWS.len());
        assert_eq!(of(&["coreos"]), 4);
        assert_eq!(of(&["fuel", "ironic"]), 2);
        assert_eq!(of(&["nothing"]), 0);
    }
}

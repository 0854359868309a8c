//! What is measured: one line of shell each, as people would type it, and what the target holds before and after.

use std::fmt::Write as _;

use crate::image::{Form, Size};

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// The agent.
    Ours,
    /// Something else that writes images.
    Peer,
    /// What the machine can do at most.
    Limit,
}

/// How the server is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// Over the loopback interface.
    Loopback,
    /// Over a link of 1 Gbit/s.
    Gigabit,
    /// Over a link of 10 Gbit/s.
    TenGigabit,
}

/// What the target holds before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    /// Bytes of no meaning, none of them zero.
    Stale,
    /// The image.
    Image,
}

/// What the target has to hold afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// All of the image, its zeros too.
    Image,
    /// The image where it is not zero: tools that are told of holes leave the target as it was there.
    Data,
    /// The image of which some chunks have changed.
    Newer,
    /// Nothing that could be compared.
    Anything,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// Its name, for `--only` and for the results.
    pub(crate) name: &'static str,
    /// What it is, for people.
    pub(crate) about: &'static str,
    pub(crate) who: Who,
    pub(crate) link: Link,
    pub(crate) size: Size,
    /// The forms of the image that it reads.
    pub(crate) forms: &'static [Form],
    pub(crate) before: Before,
    pub(crate) after: After,
    /// Programs that the line starts, beside a shell's own.
    pub(crate) programs: &'static [&'static str],
    /// Whether /run/udev/control has to be there.
    pub(crate) udev: bool,
    /// Whether every second round does: slow rows that no goal is about.
    pub(crate) seldom: bool,
    /// The line, with names in braces.
    pub(crate) line: &'static str,
}

/// What the names in a line stand for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Words(Vec<(&'static str, String)>);

impl Words {
    /// Lets `{name}` stand for `value`.
    pub(crate) fn with(mut self, name: &'static str, value: impl std::fmt::Display) -> Self {
        self.0.push((name, value.to_string()));
        self
    }

    /// The line with every name filled in. A name that stands for nothing stays, and the shell stumbles over it.
    pub(crate) fn fill(&self, line: &str) -> String {
        self.0.iter().fold(line.to_owned(), |line, (name, value)| {
            line.replace(&format!("{{{name}}}"), value)
        })
    }
}

impl Row {
    /// Whether any of `words` means this row; no words mean all rows.
    pub(crate) fn is_meant(&self, words: &[String]) -> bool {
        words.is_empty() || words.iter().any(|word| self.name.contains(word.as_str()))
    }

    /// Whether it is measured in this round, counted from 1.
    pub(crate) const fn is_due(&self, round: u32) -> bool {
        !self.seldom || round % 2 == 1
    }

    /// Whether it writes to the target at all.
    pub(crate) fn writes(&self) -> bool {
        self.line.contains("{target}")
    }
}

/// A peer, or a limit, on loopback, with the whole image onto a stale target: most rows.
const PEER: Row = Row {
    name: "",
    about: "",
    who: Who::Peer,
    link: Link::Loopback,
    size: Size::Whole,
    forms: &[],
    before: Before::Stale,
    after: After::Image,
    programs: &[],
    udev: false,
    seldom: false,
    line: "",
};

const LIMIT: Row = Row {
    who: Who::Limit,
    after: After::Anything,
    ..PEER
};

const OURS: Row = Row {
    who: Who::Ours,
    programs: &["provision"],
    forms: &[Form::Packed],
    line: "provision write --format json --image {url}/packed.img.zst --target {target}",
    ..PEER
};

const FETCH_PACKED: &str = "curl -sf {url}/packed.img.zst -o /dev/null";
const FETCH_ZST: &str = "curl -sf {url}/disk.raw.zst -o /dev/null";
const PIPE_ZST: &str = "curl -sf {url}/disk.raw.zst | zstd -dcq | \
                        dd of={target} bs=4M iflag=fullblock oflag=direct conv=fsync,notrunc status=none";
const COREOS_ZST: &str =
    "coreos-installer install --image-url {url}/disk.raw.zst --insecure {target}";
const OURS_ZST: &str = "provision write --format json --image {url}/disk.raw.zst --digest sha256:{sha256} --target {target}";
const OURS_NEWER: &str =
    "provision write --format json --image {url}/newer.img.zst --target {target}";

/// All rows, in the order of the table; in each round they are measured in this order.
pub(crate) const ROWS: [Row; 35] = [
    Row {
        name: "packed",
        about: "packed image",
        ..OURS
    },
    Row {
        name: "coreos-zst",
        about: "coreos-installer, .zst",
        forms: &[Form::Zst],
        programs: &["coreos-installer"],
        udev: true,
        line: COREOS_ZST,
        ..PEER
    },
    Row {
        name: "limit-decode",
        about: "packed image fetched, unpacked and checked, nothing written",
        programs: &["provision"],
        forms: &[Form::Packed],
        line: "provision write --format json --image {url}/packed.img.zst --check",
        ..LIMIT
    },
    Row {
        name: "limit-write-data-parallel",
        about: "O_DIRECT, the non-zero bytes, 4 writes of 1 MiB in flight",
        line: "bench write-limit --writers 4 --map {files}/data.map --target {target}",
        ..LIMIT
    },
    Row {
        name: "zst",
        about: ".zst, one frame, sha256",
        forms: &[Form::Zst],
        line: OURS_ZST,
        ..OURS
    },
    Row {
        name: "curl-zstd",
        about: "curl, zstd -d, dd oflag=direct",
        forms: &[Form::Zst],
        programs: &["curl", "zstd", "dd"],
        line: PIPE_ZST,
        ..PEER
    },
    Row {
        name: "zst-unverified",
        about: ".zst, one frame, no digest given",
        forms: &[Form::Zst],
        line: "provision write --format json --image {url}/disk.raw.zst --allow-unverified --target {target}",
        ..OURS
    },
    Row {
        name: "bmaptool-zst",
        about: "bmaptool, .zst and bmap",
        forms: &[Form::Zst, Form::Bmap],
        after: After::Data,
        programs: &["bmaptool"],
        line: "bmaptool -q copy --bmap {url}/disk.raw.bmap {url}/disk.raw.zst {target}",
        ..PEER
    },
    Row {
        name: "gz",
        about: ".gz, sha256",
        forms: &[Form::Gz],
        line: "provision write --format json --image {url}/disk.raw.gz --digest sha256:{sha256} --target {target}",
        ..OURS
    },
    Row {
        name: "coreos-gz",
        about: "coreos-installer, .gz",
        forms: &[Form::Gz],
        programs: &["coreos-installer"],
        udev: true,
        line: "coreos-installer install --image-url {url}/disk.raw.gz --insecure {target}",
        ..PEER
    },
    Row {
        name: "bmap-rs-gz",
        about: "bmap-rs, .gz and bmap",
        forms: &[Form::Gz, Form::Bmap],
        after: After::Data,
        programs: &["bmap-rs"],
        seldom: true,
        line: "bmap-rs copy {url}/disk.raw.gz {target}",
        ..PEER
    },
    Row {
        name: "bmaptool-gz",
        about: "bmaptool, .gz and bmap",
        forms: &[Form::Gz, Form::Bmap],
        after: After::Data,
        programs: &["bmaptool"],
        seldom: true,
        line: "bmaptool -q copy --bmap {url}/disk.raw.bmap {url}/disk.raw.gz {target}",
        ..PEER
    },
    Row {
        name: "curl-pigz",
        about: "curl, pigz -d, dd oflag=direct",
        forms: &[Form::Gz],
        programs: &["curl", "pigz", "dd"],
        seldom: true,
        line: "curl -sf {url}/disk.raw.gz | pigz -dc | \
               dd of={target} bs=4M iflag=fullblock oflag=direct conv=fsync,notrunc status=none",
        ..PEER
    },
    Row {
        name: "fuel-gz",
        about: "fuel-agent, .gz, md5 read back",
        forms: &[Form::Gz],
        programs: &["fuel-python"],
        line: "fuel-python {drivers}/fuel_agent_write.py {url}/disk.raw.gz {target} {raw_size} {md5}",
        ..PEER
    },
    Row {
        name: "raw",
        about: "raw, sha256",
        forms: &[Form::Raw],
        line: "provision write --format json --image {url}/disk.raw --digest sha256:{sha256} --target {target}",
        ..OURS
    },
    Row {
        name: "ironic-raw",
        about: "ironic-python-agent, raw streamed, sha256",
        forms: &[Form::Raw],
        programs: &["ironic-python"],
        line: "ironic-python {drivers}/ironic_write.py {url}/disk.raw {target} {sha256}",
        ..PEER
    },
    Row {
        name: "qemu-img",
        about: "curl to memory, qemu-img convert of the qcow2",
        forms: &[Form::Qcow2],
        programs: &["curl", "qemu-img"],
        seldom: true,
        line: "curl -sf {url}/disk.qcow2 -o {scratch}/disk.qcow2 && \
               qemu-img convert -n -f qcow2 -O raw -t none -T none -W -m 8 {scratch}/disk.qcow2 {target}",
        ..PEER
    },
    Row {
        name: "aria2-zstd",
        about: "aria2, 4 connections, to memory; zstd -d, dd oflag=direct",
        forms: &[Form::Zst],
        programs: &["aria2c", "zstd", "dd"],
        seldom: true,
        line: "aria2c -q -x4 -s4 --file-allocation=none -d {scratch} -o disk.zst {url}/disk.raw.zst && \
               zstd -dcq {scratch}/disk.zst | \
               dd of={target} bs=4M iflag=fullblock oflag=direct conv=fsync,notrunc status=none",
        ..PEER
    },
    Row {
        name: "limit-fetch-packed",
        about: "packed image fetched, one connection",
        forms: &[Form::Packed],
        programs: &["curl"],
        line: FETCH_PACKED,
        ..LIMIT
    },
    Row {
        name: "limit-fetch-zst",
        about: ".zst fetched, one connection",
        forms: &[Form::Zst],
        programs: &["curl"],
        line: FETCH_ZST,
        ..LIMIT
    },
    Row {
        name: "limit-write-data-single",
        about: "O_DIRECT, the non-zero bytes, one write in flight",
        line: "bench write-limit --writers 1 --map {files}/data.map --target {target}",
        ..LIMIT
    },
    Row {
        name: "limit-write-all-parallel",
        about: "O_DIRECT, all bytes, 4 writes of 1 MiB in flight",
        line: "bench write-limit --writers 4 --map {files}/all.map --target {target}",
        ..LIMIT
    },
    Row {
        name: "limit-write-all-single",
        about: "O_DIRECT, all bytes, one write in flight",
        line: "bench write-limit --writers 1 --map {files}/all.map --target {target}",
        ..LIMIT
    },
    Row {
        name: "packed-1g",
        about: "packed image",
        link: Link::Gigabit,
        ..OURS
    },
    Row {
        name: "limit-fetch-packed-1g",
        about: "packed image fetched, one connection",
        link: Link::Gigabit,
        forms: &[Form::Packed],
        programs: &["curl"],
        line: FETCH_PACKED,
        ..LIMIT
    },
    Row {
        name: "zst-1g",
        about: ".zst, one frame, sha256",
        link: Link::Gigabit,
        forms: &[Form::Zst],
        line: OURS_ZST,
        ..OURS
    },
    Row {
        name: "curl-zstd-1g",
        about: "curl, zstd -d, dd oflag=direct",
        link: Link::Gigabit,
        forms: &[Form::Zst],
        programs: &["curl", "zstd", "dd"],
        line: PIPE_ZST,
        ..PEER
    },
    Row {
        name: "coreos-zst-1g",
        about: "coreos-installer, .zst",
        link: Link::Gigabit,
        forms: &[Form::Zst],
        programs: &["coreos-installer"],
        udev: true,
        seldom: true,
        line: COREOS_ZST,
        ..PEER
    },
    Row {
        name: "newer-1g",
        about: "newer version over a disk with nothing on it",
        link: Link::Gigabit,
        forms: &[Form::Newer],
        after: After::Newer,
        line: OURS_NEWER,
        ..OURS
    },
    Row {
        name: "delta-1g",
        about: "newer version over the one before, 5 % of chunks changed",
        link: Link::Gigabit,
        forms: &[Form::Newer],
        before: Before::Image,
        after: After::Newer,
        line: OURS_NEWER,
        ..OURS
    },
    Row {
        name: "packed-10g",
        about: "packed image",
        link: Link::TenGigabit,
        ..OURS
    },
    Row {
        name: "limit-fetch-packed-10g",
        about: "packed image fetched, one connection",
        link: Link::TenGigabit,
        forms: &[Form::Packed],
        programs: &["curl"],
        line: FETCH_PACKED,
        ..LIMIT
    },
    Row {
        name: "coreos-zst-10g",
        about: "coreos-installer, .zst",
        link: Link::TenGigabit,
        forms: &[Form::Zst],
        programs: &["coreos-installer"],
        udev: true,
        line: COREOS_ZST,
        ..PEER
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

/// The lines as they are, for the page: a name, then the line.
pub(crate) fn lines() -> String {
    ROWS.iter().fold(String::new(), |mut text, row| {
        let _ = writeln!(text, "{:<26} {}", row.name, row.line);
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_row_has_a_name_of_its_own() {
        let names: BTreeSet<&str> = ROWS.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), ROWS.len());
        assert!(ROWS.iter().all(|row| !row.about.is_empty()));
    }

    #[test]
    fn every_name_in_a_line_stands_for_something() {
        let words = [
            "url", "target", "files", "drivers", "scratch", "sha256", "md5", "raw_size",
        ];
        let words = words
            .into_iter()
            .fold(Words::default(), |words, name| words.with(name, "x"));
        for row in ROWS {
            let line = words.fill(row.line);
            assert!(!line.is_empty() && !line.contains(['{', '}']), "{line}");
        }
    }

    #[test]
    fn what_is_compared_is_written_by_the_line() {
        for row in ROWS.iter().filter(|row| row.after != After::Anything) {
            assert!(row.writes(), "{}", row.name);
            assert!(!row.forms.is_empty(), "{}", row.name);
        }
    }

    #[test]
    fn words_choose_rows_by_parts_of_their_names() {
        let of = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
            ROWS.iter().filter(|row| row.is_meant(&words)).count()
        };
        assert_eq!(of(&[]), ROWS.len());
        assert_eq!(of(&["coreos"]), 4);
        assert_eq!(of(&["fuel", "ironic"]), 2);
        assert_eq!(of(&["nothing"]), 0);
    }
}

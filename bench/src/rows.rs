//! The rows: for each a shell command as people would type it, and what the target holds before and after.

use std::fmt::Write as _;

use crate::image::{Form, Size};

/// What a row measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowKind {
    /// The agent.
    Ours,
    /// Another tool that writes images.
    Peer,
    /// A limit of the machine: a part of the work alone.
    Limit,
}

/// The link to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// Loopback, without a limit on its rate.
    Loopback,
    /// 1 Gbit/s.
    Gigabit,
    /// 10 Gbit/s.
    TenGigabit,
}

/// What the target holds before a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Initial {
    /// 0xAA everywhere.
    Stale,
    /// The image.
    Image,
}

/// What the target has to hold after a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// The image, its zeros included.
    Image,
    /// The image where it is not zero: tools that get a block map do not write holes.
    Data,
    /// The newer version of the image.
    Newer,
    /// Not compared.
    Anything,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// Name, for `--only` and the results.
    pub(crate) name: &'static str,
    /// Description, for tables.
    pub(crate) about: &'static str,
    pub(crate) kind: RowKind,
    pub(crate) link: Link,
    pub(crate) size: Size,
    /// The forms of the image that are served.
    pub(crate) forms: &'static [Form],
    pub(crate) initial: Initial,
    pub(crate) expected: Expected,
    /// The programs that the command needs.
    pub(crate) programs: &'static [&'static str],
    /// Whether the tool looks for /run/udev/control.
    pub(crate) udev: bool,
    /// Whether it is measured in every second round only: slow, and in no goal.
    pub(crate) every_other_round: bool,
    /// The command, with variables in braces.
    pub(crate) command: &'static str,
}

/// Values of the variables in commands.
#[derive(Clone, Debug, Default)]
pub(crate) struct Variables(Vec<(&'static str, String)>);

impl Variables {
    /// Sets `{name}` to `value`.
    pub(crate) fn with(mut self, name: &'static str, value: impl std::fmt::Display) -> Self {
        self.0.push((name, value.to_string()));
        self
    }

    /// The command with its variables replaced. An unknown one stays as it is.
    pub(crate) fn expand(&self, command: &str) -> String {
        let mut command = command.to_owned();
        for (name, value) in &self.0 {
            command = command.replace(&format!("{{{name}}}"), value);
        }
        command
    }
}

impl Row {
    /// Whether the name contains one of `words`, or there are none.
    pub(crate) fn is_selected(&self, words: &[String]) -> bool {
        words.is_empty() || words.iter().any(|word| self.name.contains(word.as_str()))
    }

    /// Whether it is measured in this round, counted from 1.
    pub(crate) const fn is_due(&self, round: u32) -> bool {
        !self.every_other_round || round % 2 == 1
    }

    /// Whether it writes to the target.
    pub(crate) fn writes(&self) -> bool {
        self.command.contains("{target}")
    }
}

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

const FETCH_PACKED: &str = "curl -sf {url}/packed.img.zst -o /dev/null";
const FETCH_ZST: &str = "curl -sf {url}/disk.raw.zst -o /dev/null";
const PIPE_ZST: &str = "curl -sf {url}/disk.raw.zst | zstd -dcq | \
                        dd of={target} bs=4M iflag=fullblock oflag=direct conv=fsync,notrunc status=none";
const COREOS_ZST: &str =
    "coreos-installer install --image-url {url}/disk.raw.zst --insecure {target}";
const OURS_ZST: &str = "provision write --format json --image {url}/disk.raw.zst \
                        --digest sha256:{sha256} --target {target}";
const OURS_NEWER: &str =
    "provision write --format json --image {url}/newer.img.zst --target {target}";

/// All rows, in the order of tables and rounds.
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
        command: COREOS_ZST,
        ..PEER
    },
    Row {
        name: "limit-decode",
        about: "packed image fetched, unpacked and checked, nothing written",
        programs: &["provision"],
        forms: &[Form::Packed],
        command: "provision write --format json --image {url}/packed.img.zst --check",
        ..LIMIT
    },
    Row {
        name: "limit-write-data-parallel",
        about: "O_DIRECT, the non-zero bytes, 4 writes of 1 MiB in flight",
        command: "bench write-limit --writers 4 --map {files}/data.map --target {target}",
        ..LIMIT
    },
    Row {
        name: "zst",
        about: ".zst, one frame, sha256",
        forms: &[Form::Zst],
        command: OURS_ZST,
        ..OURS
    },
    Row {
        name: "curl-zstd",
        about: "curl, zstd -d, dd oflag=direct",
        forms: &[Form::Zst],
        programs: &["curl", "zstd", "dd"],
        command: PIPE_ZST,
        ..PEER
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
        about: "packed image fetched, one connection",
        forms: &[Form::Packed],
        programs: &["curl"],
        command: FETCH_PACKED,
        ..LIMIT
    },
    Row {
        name: "limit-fetch-zst",
        about: ".zst fetched, one connection",
        forms: &[Form::Zst],
        programs: &["curl"],
        command: FETCH_ZST,
        ..LIMIT
    },
    Row {
        name: "limit-write-data-single",
        about: "O_DIRECT, the non-zero bytes, one write in flight",
        command: "bench write-limit --writers 1 --map {files}/data.map --target {target}",
        ..LIMIT
    },
    Row {
        name: "limit-write-all-parallel",
        about: "O_DIRECT, all bytes, 4 writes of 1 MiB in flight",
        command: "bench write-limit --writers 4 --map {files}/all.map --target {target}",
        ..LIMIT
    },
    Row {
        name: "limit-write-all-single",
        about: "O_DIRECT, all bytes, one write in flight",
        command: "bench write-limit --writers 1 --map {files}/all.map --target {target}",
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
        command: FETCH_PACKED,
        ..LIMIT
    },
    Row {
        name: "zst-1g",
        about: ".zst, one frame, sha256",
        link: Link::Gigabit,
        forms: &[Form::Zst],
        command: OURS_ZST,
        ..OURS
    },
    Row {
        name: "curl-zstd-1g",
        about: "curl, zstd -d, dd oflag=direct",
        link: Link::Gigabit,
        forms: &[Form::Zst],
        programs: &["curl", "zstd", "dd"],
        command: PIPE_ZST,
        ..PEER
    },
    Row {
        name: "coreos-zst-1g",
        about: "coreos-installer, .zst",
        link: Link::Gigabit,
        forms: &[Form::Zst],
        programs: &["coreos-installer"],
        udev: true,
        every_other_round: true,
        command: COREOS_ZST,
        ..PEER
    },
    Row {
        name: "newer-1g",
        about: "newer version onto a stale disk",
        link: Link::Gigabit,
        forms: &[Form::Newer],
        expected: Expected::Newer,
        command: OURS_NEWER,
        ..OURS
    },
    Row {
        name: "delta-1g",
        about: "newer version over the one before, 5 % of chunks changed",
        link: Link::Gigabit,
        forms: &[Form::Newer],
        initial: Initial::Image,
        expected: Expected::Newer,
        command: OURS_NEWER,
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
        command: FETCH_PACKED,
        ..LIMIT
    },
    Row {
        name: "coreos-zst-10g",
        about: "coreos-installer, .zst",
        link: Link::TenGigabit,
        forms: &[Form::Zst],
        programs: &["coreos-installer"],
        udev: true,
        command: COREOS_ZST,
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

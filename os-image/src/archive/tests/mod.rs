//! Archives made by hand, valid and invalid ones.

mod hostile;
mod properties;

use std::io::{BufRead, BufReader};

use super::header::BLOCK;
use super::{Archive, ArchiveError, Entry, Kind};

/// An archive that is being made.
#[derive(Clone, Default)]
struct Made(Vec<u8>);

impl Made {
    /// An entry as GNU tar writes it; `change` edits its header before the checksum is computed.
    fn changed(
        mut self,
        kind: u8,
        name: &str,
        data: &[u8],
        change: impl FnOnce(&mut [u8]),
    ) -> Self {
        let mut block = [0; BLOCK];
        let mut put = |at: usize, text: &[u8]| block[at..at + text.len()].copy_from_slice(text);
        put(0, name.as_bytes());
        put(100, b"0000644\0");
        put(108, b"0001750\0");
        put(116, b"0000144\0");
        put(124, format!("{:011o}", data.len()).as_bytes());
        put(136, b"14612042000\0");
        put(156, &[kind]);
        put(257, b"ustar\x0000");
        change(&mut block);
        self.0.extend(summed(block));
        self.0.extend(data);
        self.0.resize(self.0.len().next_multiple_of(BLOCK), 0);
        self
    }

    fn entry(self, kind: u8, name: &str, data: &[u8]) -> Self {
        self.changed(kind, name, data, |_| {})
    }

    fn file(self, name: &str, data: &[u8]) -> Self {
        self.entry(b'0', name, data)
    }

    fn link(self, kind: u8, name: &str, to: &str) -> Self {
        self.changed(kind, name, b"", |block| {
            block[157..157 + to.len()].copy_from_slice(to.as_bytes());
        })
    }

    /// An extended header for the next entry.
    fn extended(self, records: &[(&str, &[u8])]) -> Self {
        let text = records
            .iter()
            .flat_map(|(keyword, value)| record(keyword, value));
        self.entry(b'x', "PaxHeaders/x", &text.collect::<Vec<u8>>())
    }

    /// A sparse file in GNU's old format: `more` are the blocks of segments after its header.
    fn old_sparse(self, size: u64, pieces: &[(u64, u64)], data: &[u8]) -> Self {
        let field = |number: u64| format!("{number:011o}\0");
        let fields = |pieces: &[(u64, u64)]| {
            pieces.iter().fold(String::new(), |text, (offset, length)| {
                text + &field(*offset) + &field(*length)
            })
        };
        let (first, rest) = pieces.split_at(pieces.len().min(4));
        let mut made = self.changed(b'S', "sparse", b"", |block| {
            block[124..135].copy_from_slice(format!("{:011o}", data.len()).as_bytes());
            block[257..265].copy_from_slice(b"ustar  \0");
            let first = fields(first);
            block[386..386 + first.len()].copy_from_slice(first.as_bytes());
            block[482] = u8::from(!rest.is_empty());
            block[483..495].copy_from_slice(field(size).as_bytes());
        });
        let mut rest = rest.chunks(21).peekable();
        while let Some(part) = rest.next() {
            let mut block = [0; BLOCK];
            let part = fields(part);
            block[..part.len()].copy_from_slice(part.as_bytes());
            block[504] = u8::from(rest.peek().is_some());
            made.0.extend(block);
        }
        made.0.extend(data);
        made.0.resize(made.0.len().next_multiple_of(BLOCK), 0);
        made
    }

    fn ended(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 2 * BLOCK, 0);
        self.0
    }
}

fn summed(mut block: [u8; BLOCK]) -> [u8; BLOCK] {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    block
}

/// A record begins with its length, which counts the digits of the length too.
pub(super) fn record(keyword: &str, value: &[u8]) -> Vec<u8> {
    let rest = keyword.len() + value.len() + 3;
    let length = (rest..rest + 9).find(|length| rest + length.to_string().len() == *length);
    let mut record = format!("{} {keyword}=", length.unwrap()).into_bytes();
    record.extend(value);
    record.push(b'\n');
    record
}

/// An entry and its runs of data; adjacent runs are joined.
type Whole = (Entry, Vec<(u64, Vec<u8>)>);

/// Reads the whole archive through a buffer so small that every item is split.
fn read(bytes: &[u8]) -> Result<Vec<Whole>, ArchiveError> {
    read_from(BufReader::with_capacity(100, bytes))
}

fn read_from(input: impl BufRead) -> Result<Vec<Whole>, ArchiveError> {
    let mut archive = Archive::new(input);
    let mut all = Vec::new();
    while let Some(entry) = archive.advance()? {
        let mut runs: Vec<(u64, Vec<u8>)> = Vec::new();
        while let Some((at, bytes)) = archive.data()? {
            match runs.last_mut() {
                Some((start, run)) if *start + length(run) == at => run.extend(bytes),
                _ => runs.push((at, bytes.to_vec())),
            }
        }
        all.push((entry, runs));
    }
    Ok(all)
}

fn length(bytes: &[u8]) -> u64 {
    bytes.len().try_into().unwrap()
}

fn names(all: &[Whole]) -> Vec<String> {
    all.iter()
        .map(|(entry, _)| entry.name.to_string())
        .collect()
}

#[test]
fn entries_come_as_they_were_archived() {
    let archive = Made::default()
        .entry(b'5', "./", b"")
        .entry(b'5', "./etc/", b"")
        .file("./etc/fstab", b"UUID=1 / ext4 defaults 0 0\n")
        .link(b'2', "./bin", "usr/bin")
        .link(b'1', "./etc/mtab", "./etc/fstab")
        .changed(b'3', "./dev/null", b"", |block| {
            block[329..345].copy_from_slice(b"0000001\x000000003\0");
        })
        .entry(b'6', "./run/pipe", b"")
        .ended();
    let all = read(&archive).unwrap();
    let kinds = all.iter().map(|(entry, _)| match &entry.kind {
        Kind::Symlink { to } => format!("{} -> {}", entry.name, to.escape_ascii()),
        Kind::HardLink { to } => format!("{} = {to}", entry.name),
        kind => format!("{} {kind:?}", entry.name),
    });
    insta::assert_snapshot!(kinds.collect::<Vec<_>>().join("\n"), @r"
    ./ Folder
    etc Folder
    etc/fstab File { size: 27 }
    bin -> usr/bin
    etc/mtab = etc/fstab
    dev/null Character { major: 1, minor: 3 }
    run/pipe Pipe
    ");
    let (entry, runs) = &all[2];
    assert_eq!(runs[..], [(0, b"UUID=1 / ext4 defaults 0 0\n".to_vec())]);
    assert_eq!((entry.mode, entry.user, entry.group), (0o644, 1000, 100));
    assert_eq!(entry.modified.seconds, 1_713_914_880);
}

#[test]
fn unread_data_of_an_entry_is_skipped() {
    let archive = Made::default()
        .file("a", &[7; 2000])
        .file("b", b"x")
        .ended();
    let mut archive = Archive::new(&archive[..]);
    archive.advance().unwrap();
    archive.data().unwrap();
    assert_eq!(archive.advance().unwrap().unwrap().name.as_bytes(), b"b");
    assert!(archive.advance().unwrap().is_none());
}

#[test]
fn long_names_are_read_in_four_formats() {
    let long = "d/".repeat(90) + "file";
    let prefix = |block: &mut [u8]| block[345..350].copy_from_slice(b"a/b/c");
    let archive = Made::default()
        .entry(b'L', "././@LongLink", &[long.as_bytes(), b"\0"].concat())
        .file("cut off", b"")
        .extended(&[("path", long.as_bytes())])
        .file("cut off", b"")
        .changed(b'0', "name", b"", prefix)
        .entry(b'K', "././@LongLink", &[long.as_bytes(), b"\0"].concat())
        .link(b'2', "link", "cut off")
        .ended();
    let all = read(&archive).unwrap();
    assert_eq!(names(&all), [&long, &long, "a/b/c/name", "link"]);
    assert_eq!(
        all[3].0.kind,
        Kind::Symlink {
            to: long.into_bytes()
        }
    );
}

#[test]
fn extended_headers_override_the_block() {
    let archive = Made::default()
        .entry(b'g', "pax_global_header", &record("uid", b"7"))
        .extended(&[
            ("mtime", b"1700000000.25"),
            ("gid", b"4000000000"),
            ("SCHILY.xattr.user.note", b"kept\0"),
        ])
        .file("a", b"")
        .file("b", b"")
        .ended();
    let all = read(&archive).unwrap();
    let (a, b) = (&all[0].0, &all[1].0);
    assert_eq!(
        (a.user, a.group, b.user, b.group),
        (7, 4_000_000_000, 7, 100)
    );
    assert_eq!(
        (a.modified.seconds, a.modified.nanoseconds),
        (1_700_000_000, 250_000_000)
    );
    assert_eq!((a.attributes.len(), b.attributes.len()), (1, 0));
}

#[test]
fn holes_are_read_in_each_of_the_four_formats() {
    let data = [&[1; 512][..], &[2; 512]].concat();
    let front = |text: &str| {
        let mut front = text.as_bytes().to_vec();
        front.resize(512, 0);
        [front, data.clone()].concat()
    };
    let sizes: [(&str, &[u8]); 2] = [("GNU.sparse.size", b"8192"), ("GNU.sparse.numblocks", b"3")];
    let archive = Made::default()
        .old_sparse(8192, &[(1024, 512), (4096, 512), (8192, 0)], &data)
        .extended(&[
            sizes[0],
            sizes[1],
            ("GNU.sparse.offset", b"1024"),
            ("GNU.sparse.numbytes", b"512"),
            ("GNU.sparse.offset", b"4096"),
            ("GNU.sparse.numbytes", b"512"),
            ("GNU.sparse.offset", b"8192"),
            ("GNU.sparse.numbytes", b"0"),
        ])
        .file("0.0", &data)
        .extended(&[
            sizes[0],
            sizes[1],
            ("GNU.sparse.map", b"1024,512,4096,512,8192,0"),
            ("GNU.sparse.name", b"0.1"),
        ])
        .file("GNUSparseFile.1/0.1", &data)
        .extended(&[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"1.0"),
            ("GNU.sparse.realsize", b"8192"),
        ])
        .file(
            "GNUSparseFile.1/1.0",
            &front("3\n1024\n512\n4096\n512\n8192\n0\n"),
        )
        .file("after", b"x")
        .ended();
    let all = read(&archive).unwrap();
    assert_eq!(names(&all), ["sparse", "0.0", "0.1", "1.0", "after"]);
    for (entry, runs) in &all[..4] {
        assert_eq!(entry.kind, Kind::File { size: 8192 }, "{}", entry.name);
        assert_eq!(
            runs[..],
            [(1024, vec![1; 512]), (4096, vec![2; 512])],
            "{}",
            entry.name
        );
    }
}

#[test]
fn a_list_of_pieces_continues_in_blocks_after_the_header() {
    let pieces: Vec<(u64, u64)> = (0..60).map(|n| (n * 1024, 512)).collect();
    let archive = Made::default()
        .old_sparse(1 << 20, &pieces, &vec![9; 60 * 512])
        .ended();
    let all = read(&archive).unwrap();
    assert_eq!(all[0].1.len(), 60);
    assert_eq!(all[0].1[59].0, 59 * 1024);
}

#[test]
fn a_file_that_is_one_hole_has_no_data() {
    let archive = Made::default()
        .old_sparse(1 << 32, &[(1 << 32, 0)], b"")
        .file("b", b"")
        .ended();
    let all = read(&archive).unwrap();
    assert_eq!(
        (&all[0].0.kind, all[0].1.len()),
        (&Kind::File { size: 1 << 32 }, 0)
    );
}

#[test]
fn old_archives_have_folders_by_their_slash() {
    let archive = Made::default()
        .file("a/", b"")
        .changed(0, "a/b", b"x", |block| {
            block[257..265].fill(0);
        });
    let all = read(&archive.ended()).unwrap();
    assert_eq!(all[0].0.kind, Kind::Folder);
    assert_eq!(all[1].0.kind, Kind::File { size: 1 });
}

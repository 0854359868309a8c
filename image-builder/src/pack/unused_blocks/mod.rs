//! The unused bytes of a filesystem, or of those on a disk: listed by the filesystem's own tools, and used only if the
//! filesystem is clean and the list is as long as its superblock says.

use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result};
use host::exec::{Cmd, Exec, Output};
use host::ioctl::loops::{LoopDevice, LoopOptions};
use host::units::{Bytes, Extent};

use super::probe::{self, Content, Disk, Filesystem};
use super::source::Source;
use crate::error::refused;
use crate::tools::Tool;

/// Maximum length in bytes of a list of free blocks; a line has about fifteen bytes.
const LIST_MAX: usize = 256 << 20;

/// Byte ranges of the image that its filesystem, or those in its partitions, do not use: sorted and joined.
pub(crate) fn extents(
    source: &Source,
    content: &Content,
    exec: &mut dyn Exec,
) -> Result<Vec<Range<u64>>> {
    let path = &source.path;
    match content {
        Content::Filesystem(filesystem) => {
            in_use(path)?;
            of_filesystem(path, filesystem, exec)
        }
        Content::Disk(disk) => {
            in_use(path)?;
            of_disk(source, disk, exec)
        }
        Content::File(_) | Content::Unknown => Err(unknown("this is not a known filesystem")),
    }
}

/// Unused ranges of all partitions with a supported filesystem; other partitions count as used.
fn of_disk(source: &Source, disk: &Disk, exec: &mut dyn Exec) -> Result<Vec<Range<u64>>> {
    let (mut all, mut known) = (Vec::new(), 0);
    for part in &disk.partitions {
        let place = || format!("in the partition at byte {}", part.start);
        let (head, length) = (source.head(part)?, part.end - part.start);
        let Content::Filesystem(filesystem) = probe::look(&head, length) else {
            continue;
        };
        if !KNOWN.contains(&filesystem.kind) || is_member(&head) {
            continue;
        }
        if filesystem.size().is_none_or(|size| size > length) {
            return Err(unclean("it is longer than its partition")).with_context(place);
        }
        let is_other = |other: &&Range<u64>| *other != part;
        let mut others = disk.partitions.iter().filter(is_other);
        if others.any(|other| other.start < part.end && part.start < other.end) {
            return Err(refused(
                "it overlaps another partition",
                "check the partition table, or omit --skip-free",
            ))
            .with_context(place);
        }
        let device = device(source, part)?;
        let free = of_filesystem(device.path(), &filesystem, exec).with_context(place)?;
        all.extend(
            free.into_iter()
                .map(|free| part.start + free.start..part.start + free.end),
        );
        known += 1;
    }
    if known == 0 {
        return Err(unknown("no partition of this disk has one of them"));
    }
    Ok(joined(all))
}

/// Whether the partition is a member of an md array with metadata 1.2: a superblock at its beginning is then outdated.
fn is_member(head: &[u8]) -> bool {
    const MAGIC: [u8; 4] = 0xa92b_4efc_u32.to_le_bytes();
    head.get(4096..).is_some_and(|at| at.starts_with(&MAGIC))
}

/// A partition as a read-only loop device: the tools do not accept an offset within a file.
fn device(source: &Source, part: &Range<u64>) -> Result<LoopDevice> {
    let options = LoopOptions {
        read_only: true,
        part: Some(Extent {
            start: Bytes(part.start),
            length: Bytes(part.end - part.start),
        }),
        ..LoopOptions::default()
    };
    LoopDevice::attach(&source.file, options).map_err(|error| match error.kind() {
        std::io::ErrorKind::PermissionDenied => refused(
            "--skip-free on a whole disk needs loop devices for its partitions, which only root may attach",
            "run as root, or omit --skip-free",
        ),
        _ => anyhow::Error::new(error).context("cannot make a loop device of a partition"),
    })
}

/// Supported filesystems.
const KNOWN: [&str; 4] = ["ext2", "ext3", "ext4", "xfs"];

fn of_filesystem(
    path: &Path,
    filesystem: &Filesystem,
    exec: &mut dyn Exec,
) -> Result<Vec<Range<u64>>> {
    let extents = match filesystem.kind {
        "ext2" | "ext3" | "ext4" => ext(path, exec)?,
        "xfs" => xfs(path, exec)?,
        kind => return Err(unknown(&format!("this is {kind}"))),
    };
    check_inside(&extents, filesystem)?;
    Ok(joined(extents))
}

fn unknown(what: &str) -> anyhow::Error {
    refused(
        format!("--skip-free supports ext2, ext3, ext4 and xfs, but {what}"),
        "omit --skip-free",
    )
}

fn unclean(what: &str) -> anyhow::Error {
    refused(
        format!("the filesystem is not clean: {what}"),
        "check it with e2fsck or xfs_repair, or mount and unmount it, then pack it again",
    )
}

/// Refuses a file that is attached to a loop device: it may change while it is packed. (A block device was opened
/// exclusively.)
fn in_use(path: &Path) -> Result<()> {
    let path = path.canonicalize().context("cannot find the image")?;
    let Ok(devices) = std::fs::read_dir("/sys/block") else {
        return Ok(());
    };
    for device in devices.flatten() {
        let file = device.path().join("loop/backing_file");
        let backing = std::fs::read_to_string(file).unwrap_or_default();
        if Path::new(backing.trim_end()) == path {
            return Err(refused(
                format!(
                    "{} is in use as {}",
                    path.display(),
                    device.file_name().display()
                ),
                "unmount and detach it first (losetup -d)",
            ));
        }
    }
    Ok(())
}

fn run(exec: &mut dyn Exec, cmd: Cmd) -> Result<Output> {
    let program = cmd.program;
    let missing = || {
        refused(
            format!("`{}` is not installed", program.name()),
            format!(
                "install the package `{}`, or omit --skip-free",
                program.package()
            ),
        )
    };
    exec.find(program).ok_or_else(missing)?;
    let output = exec.run(&cmd.timeout(std::time::Duration::from_hours(1)))?;
    if output.truncated {
        return Err(refused(
            "the filesystem's list of unused blocks is too long",
            "omit --skip-free",
        ));
    }
    Ok(output)
}

fn ext(path: &Path, exec: &mut dyn Exec) -> Result<Vec<Range<u64>>> {
    let check = Cmd::new(Tool::E2fsck)
        .args(["-f", "-n"])
        .arg(path)
        .accept(&[0, 4, 8, 12]);
    if run(exec, check)?.status != 0 {
        return Err(unclean("e2fsck finds errors"));
    }
    let list = Cmd::new(Tool::Dumpe2fs).arg(path).keep(LIST_MAX);
    let text = run(exec, list)
        .context("cannot list what the filesystem does not use")?
        .stdout;
    parse_ext(&text)
}

/// Parses the output of dumpe2fs.
fn parse_ext(text: &str) -> Result<Vec<Range<u64>>> {
    let (mut block_size, mut expected) = (None, None);
    let mut blocks = Vec::new();
    for line in text.lines() {
        let Some((key, value)) = line.split_once(':') else {
            continue;
        };
        match (key, value.trim()) {
            ("Filesystem features", features) => {
                for feature in features.split_whitespace() {
                    match feature {
                        "needs_recovery" => return Err(unclean("its journal was not replayed")),
                        "bigalloc" => return Err(unknown("the filesystem has bigalloc")),
                        _ => {}
                    }
                }
            }
            ("Filesystem state", state) if state != "clean" => return Err(unclean(state)),
            ("Block size", value) => block_size = value.parse().ok(),
            ("Free blocks", value) => expected = value.parse().ok(),
            ("  Free blocks", ranges) if !ranges.is_empty() => {
                for part in ranges.split(", ") {
                    let (first, last) = part.split_once('-').unwrap_or((part, part));
                    blocks.push(number(first)?..number(last)?.saturating_add(1));
                }
            }
            _ => {}
        }
    }
    in_bytes(blocks, block_size, expected)
}

fn number(text: &str) -> Result<u64> {
    text.trim()
        .parse()
        .with_context(|| format!("`{text}` is not a block number"))
}

/// Converts blocks to bytes, if their number is the superblock's.
fn in_bytes(
    blocks: Vec<Range<u64>>,
    block_size: Option<u64>,
    expected: Option<u64>,
) -> Result<Vec<Range<u64>>> {
    let (Some(block_size), Some(expected)) = (block_size, expected) else {
        return Err(unclean("its superblock cannot be read"));
    };
    let sum = blocks.iter().try_fold(0_u64, |sum, range| {
        sum.checked_add(range.end.checked_sub(range.start)?)
    });
    if sum != Some(expected) {
        return Err(unclean(
            "its list of free blocks is not as long as its superblock says",
        ));
    }
    let bytes = |range: Range<u64>| {
        let (start, end) = (
            range.start.checked_mul(block_size),
            range.end.checked_mul(block_size),
        );
        Some(start?..end?)
    };
    let extents = blocks.into_iter().map(bytes).collect::<Option<Vec<_>>>();
    extents.ok_or_else(|| unclean("a free block lies outside of it"))
}

fn xfs(path: &Path, exec: &mut dyn Exec) -> Result<Vec<Range<u64>>> {
    let check = Cmd::new(Tool::XfsRepair)
        .args(["-n", "-f"])
        .arg(path)
        .accept(&[0, 1, 2]);
    let output = run(exec, check)?;
    if output.status != 0 {
        return Err(unclean("xfs_repair finds errors"));
    }
    if [&output.stdout, &output.stderr]
        .iter()
        .any(|text| text.contains("ALERT"))
    {
        return Err(unclean("its log was not replayed"));
    }
    let list = Cmd::new(Tool::XfsDb)
        .args([
            "-r",
            "-f",
            "-c",
            "sb 0",
            "-c",
            "print blocksize agblocks fdblocks",
            "-c",
            "freesp -d",
        ])
        .arg(path)
        .keep(LIST_MAX);
    let text = run(exec, list)
        .context("cannot list what the filesystem does not use")?
        .stdout;
    parse_xfs(&text)
}

/// Parses the output of `xfs_db`.
fn parse_xfs(text: &str) -> Result<Vec<Range<u64>>> {
    let value = |key: &str| {
        text.lines().find_map(|line| {
            let (name, value) = line.split_once(" = ")?;
            (name == key).then(|| value.trim().parse::<u64>().ok())?
        })
    };
    let group = value("agblocks").ok_or_else(|| unclean("its superblock cannot be read"))?;
    let mut blocks = Vec::new();
    let list = text
        .lines()
        .skip_while(|line| !line.trim_start().starts_with("agno"));
    // a histogram follows the list
    for line in list
        .skip(1)
        .take_while(|line| !line.trim_start().starts_with("from"))
    {
        let numbers = line
            .split_whitespace()
            .map(number)
            .collect::<Result<Vec<_>>>()?;
        let [group_number, block, length] = numbers[..] else {
            return Err(unclean("its list of free blocks cannot be read"));
        };
        if block.checked_add(length).is_none_or(|end| end > group) {
            return Err(unclean("a free block lies outside of its group"));
        }
        let start = group_number
            .checked_mul(group)
            .and_then(|start| start.checked_add(block));
        let start = start.ok_or_else(|| unclean("a free block lies outside of it"))?;
        blocks.push(start..start.saturating_add(length));
    }
    in_bytes(blocks, value("blocksize"), value("fdblocks"))
}

fn check_inside(extents: &[Range<u64>], filesystem: &Filesystem) -> Result<()> {
    let size = filesystem.size().unwrap_or_default();
    if extents
        .iter()
        .any(|extent| extent.start > extent.end || extent.end > size)
    {
        return Err(unclean("a free block lies outside of it"));
    }
    Ok(())
}

/// Sorts extents and joins adjacent ones.
fn joined(mut extents: Vec<Range<u64>>) -> Vec<Range<u64>> {
    extents.sort_by_key(|extent| extent.start);
    let mut joined: Vec<Range<u64>> = Vec::with_capacity(extents.len());
    for extent in extents {
        match joined.last_mut() {
            Some(last) if extent.start <= last.end => last.end = last.end.max(extent.end),
            _ => joined.push(extent),
        }
    }
    joined
}

#[cfg(test)]
mod tests;

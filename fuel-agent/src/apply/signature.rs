//! What blkid finds on a device, asked past every cache: type and UUID of what is there now.

use std::fs;
use std::io::Write;
use std::path::Path;

use host::blockdev::Access;
use host::exec::{Cmd, Tool};
use host::units::Bytes;

use super::Context;
use crate::error::{Error, Kind};

/// How much of a file's partition blkid is shown: every superblock of a filesystem that we make lies in there.
const HEAD: usize = 2 << 20;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Signature {
    /// Its type, as blkid names it.
    pub(super) kind: String,
    /// Its UUID; empty where it has none.
    pub(super) uuid: String,
    /// Its label; empty where it has none.
    pub(super) label: String,
}

/// The signature on a device; `None` where there is none. `file` says that the device is kept in a regular file.
pub(super) fn of(
    context: &mut Context<'_>,
    node: &Path,
    file: bool,
) -> Result<Option<Signature>, Error> {
    if file {
        let copy = head_of(context, node)?;
        return probe(context, &copy);
    }
    probe(context, node)
}

fn probe(context: &mut Context<'_>, path: &Path) -> Result<Option<Signature>, Error> {
    // status 2: nothing found; 8: several things found, which is as good as none
    let cmd = Cmd::new(Tool::Blkid)
        .args(["-p", "-o", "export"])
        .arg(path)
        .accept(&[0, 2]);
    let output = context.host.exec.run(&cmd).map_err(|source| {
        Error::new(
            Kind::Tool,
            format!("cannot find out what is on {}", path.display()),
        )
        .device(path.display())
        .because(source)
    })?;
    Ok(parse(&output.stdout))
}

/// Reads blkid's `KEY=value` lines.
fn parse(text: &str) -> Option<Signature> {
    let value = |key: &str| {
        let lines = text.lines().filter_map(|line| line.split_once('='));
        lines
            .into_iter()
            .find(|(k, _)| *k == key)
            .map(|(_, value)| value.to_owned())
    };
    Some(Signature {
        kind: value("TYPE")?,
        uuid: value("UUID").unwrap_or_default(),
        label: value("LABEL").unwrap_or_default(),
    })
}

/// A sparse file of the device's length with the device's beginning in it: blkid cannot look into a part of a file.
fn head_of(context: &Context<'_>, node: &Path) -> Result<std::path::PathBuf, Error> {
    let failed = |source: std::io::Error| {
        Error::new(Kind::Disk, format!("cannot read {}", node.display()))
            .device(node.display())
            .because(source)
    };
    let device = context
        .host
        .devices
        .open(node, Access::Read)
        .map_err(failed)?;
    let length = usize::try_from(device.size().0).map_or(HEAD, |size| size.min(HEAD));
    let mut head = vec![0; length];
    device.read_at(&mut head, Bytes::ZERO).map_err(failed)?;
    let path = context.options.work.join("head");
    let mut file = fs::File::create(&path).map_err(failed)?;
    file.write_all(&head)
        .and_then(|()| file.set_len(device.size().0))
        .map_err(failed)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blkids_lines_are_read_by_their_keys() {
        let text =
            "DEVNAME=/dev/vda3\nLABEL=a=b\nUUID=5be5-1\nVERSION=1.0\nTYPE=ext4\nUSAGE=filesystem\n";
        let found = Signature {
            kind: "ext4".to_owned(),
            uuid: "5be5-1".to_owned(),
            label: "a=b".to_owned(),
        };
        assert_eq!(parse(text), Some(found));
        assert_eq!(parse("DEVNAME=/dev/vda3\nPTTYPE=gpt\n"), None);
        assert_eq!(parse(""), None);
    }
}

//! What a device holds, as blkid finds it: by the very rules by which the installed system will find it.

use std::path::Path;

use host::exec::{Cmd, ExecError};

use super::context::{Context, tool_error};
use crate::model::error::{Error, Kind};
use crate::model::index::FilesystemIndex;
use crate::tools::Tool;

/// A filesystem, swap space, or member of something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Signature {
    /// Its type: `ext4`, `swap`, `LVM2_member`.
    pub(super) kind: String,
    /// UUID or serial number, as blkid prints it.
    pub(super) uuid: String,
    /// Label; empty without one.
    pub(super) label: String,
}

/// Status of blkid where it finds nothing.
const NOTHING: i32 = 2;
/// Status of blkid where it finds several things that exclude each other.
const AMBIVALENT: i32 = 8;

/// What is on `node` now; past blkid's cache, which may be old.
pub(super) fn probe(context: &mut Context<'_>, node: &Path) -> Result<Option<Signature>, Error> {
    let cmd = Cmd::new(Tool::Blkid).args(["--probe", "--output", "export"]);
    let cmd = match context.host.devices.backing(node) {
        Some((file, extent)) => cmd
            .args(["--offset", &extent.start.0.to_string()])
            .args(["--size", &extent.length.0.to_string()])
            .path(file),
        None => cmd.arg(node),
    };
    let what = || format!("cannot find out what is on {}", node.display());
    match context.ask(&cmd.accept(&[0, NOTHING])) {
        Ok(output) if output.status == NOTHING => Ok(None),
        Ok(output) => Ok(parse(&output.stdout)),
        Err(ExecError::Failed { status, .. }) if status == AMBIVALENT => {
            let what = format!(
                "{} holds signatures of several things at once, and would not be found by its UUID",
                node.display()
            );
            Err(Error::new(Kind::Disk, what)
                .device(node.display())
                .hint("`wipefs` on it lists them"))
        }
        Err(error) => Err(tool_error(what(), error).device(node.display())),
    }
}

/// blkid's `KEY=value` lines; `None` where nothing has a type.
fn parse(text: &str) -> Option<Signature> {
    let value = |key: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once('='));
        let found = lines.find(|(name, _)| *name == key);
        found.map_or_else(String::new, |(_, value)| value.replace('\\', ""))
    };
    let signature = Signature {
        kind: value("TYPE"),
        uuid: value("UUID"),
        label: value("LABEL"),
    };
    (!signature.kind.is_empty()).then_some(signature)
}

impl Context<'_> {
    /// The UUID of a filesystem of the plan; read from its device the first time.
    pub fn filesystem_uuid(&mut self, filesystem: FilesystemIndex) -> Result<String, Error> {
        match self.state.filesystem_uuids.get(&filesystem) {
            Some(uuid) => Ok(uuid.clone()),
            None => self.find_filesystem(filesystem).map(|found| found.uuid),
        }
    }

    /// Probes the device of a filesystem of the plan, which has to be of its type, and records its UUID.
    pub(super) fn find_filesystem(
        &mut self,
        filesystem: FilesystemIndex,
    ) -> Result<Signature, Error> {
        let planned = &self.plan[filesystem];
        let node = self.node(planned.on)?;
        let wanted = self.plan.kind_of(planned);
        // A wrong type is the fault of the image, of the request that keeps it, or of the disk.
        let blame = match (self.plan.image_over(planned), planned.keep_data) {
            (Some(_), _) => Kind::Image,
            (None, true) => Kind::Refused,
            (None, false) => Kind::Disk,
        };
        let fault = self.fault_of(filesystem, blame, &node);
        let found = probe(self, &node)?.ok_or_else(|| {
            let what = format!("{wanted} not found on {}", node.display());
            fault(what, "blkid finds nothing there that it knows".to_owned())
        })?;
        if !wanted.takes(&found.kind) {
            let what = format!("on {} is {}, and not {wanted}", node.display(), found.kind);
            return Err(fault(what, format!("blkid finds `{}`", found.kind)));
        }
        if found.uuid.is_empty() {
            let what = format!("the {wanted} on {} has no UUID", node.display());
            return Err(fault(what, "blkid finds none".to_owned()));
        }
        let uuids = &mut self.state.filesystem_uuids;
        uuids.insert(filesystem, found.uuid.clone());
        Ok(found)
    }

    /// Makes the error about a filesystem that is not as it should be: it names the image that it came with.
    fn fault_of(
        &self,
        filesystem: FilesystemIndex,
        blame: Kind,
        node: &Path,
    ) -> impl Fn(String, String) -> Error + use<> {
        let planned = &self.plan[filesystem];
        let image = self.plan.image_over(planned);
        let image = image.map(|image| image.url.to_string());
        let (node, is_kept) = (node.display().to_string(), planned.keep_data);
        move |what, cause| {
            let (what, hint) = match &image {
                Some(url) => (
                    format!("{what} after {url} was written to it"),
                    "let the request say what the image holds; `blkid -p` on its raw form names it",
                ),
                None if is_kept => (what, "let the request say what is kept there"),
                None => (
                    what,
                    "look for errors of this disk in the kernel log (`dmesg`)",
                ),
            };
            let error = Error::new(blame, what).device(&node).hint(hint);
            error.because(std::io::Error::other(cause))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blkid_is_understood() {
        let text = "DEVNAME=/dev/sda3\nLABEL=my\\ disk\nUUID=0b-1\nVERSION=1.0\nTYPE=ext4\nUSAGE=filesystem\n";
        let expected = Signature {
            kind: "ext4".to_owned(),
            uuid: "0b-1".to_owned(),
            label: "my disk".to_owned(),
        };
        assert_eq!(parse(text), Some(expected));
        assert_eq!(parse("DEVNAME=/dev/sda3\nPTTYPE=gpt\n"), None);
        assert_eq!(parse(""), None);
    }
}

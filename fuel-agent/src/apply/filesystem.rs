//! Making and growing filesystems.

use std::path::{Path, PathBuf};

use host::exec::{Cmd, Tool};
use host::mount::MountMode;

use super::raid::{on_file, skipped};
use super::signature::{self, Signature};
use super::{Context, Outcome, scratch, target};
use crate::error::{Error, Kind};
use crate::plan::PlannedFilesystem;
use crate::request::spec::BlockRef;

/// Upstream gives every mkfs the first 12 characters, what xfs can hold; longer ones would fail there.
const LABEL_LENGTH: usize = 12;

/// Makes a filesystem or swap space, with the UUID of the plan.
pub(super) fn make(context: &mut Context<'_>, filesystem: usize) -> Result<Outcome, Error> {
    let planned = context.plan.filesystems[filesystem].clone();
    let Some(place) = Place::of(context, planned.on)? else {
        return Ok(skipped("a filesystem on an array or a volume"));
    };
    let what = format!("cannot make {} on {}", planned.kind, place.node.display());
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| {
        Error::new(Kind::Tool, &*what)
            .device(place.node.display())
            .because(source)
    };
    context.state.touched = true;
    if place.file {
        let path = scratch::empty(context, &place.node)?;
        let cmd = maker(&planned, &path)?;
        context
            .host
            .exec
            .run(&cmd)
            .map_err(|source| failed(source.into()))?;
        scratch::copy_back(context, &path, &place.node)?;
    } else {
        let cmd = maker(&planned, &place.node)?;
        context
            .host
            .exec
            .run(&cmd)
            .map_err(|source| failed(source.into()))?;
    }
    let found = note_uuid(context, filesystem)?;
    if !found.uuid.eq_ignore_ascii_case(&planned.uuid.to_string()) {
        let what = format!(
            "{what}: it has the UUID `{}`, not {}",
            found.uuid, planned.uuid
        );
        return Err(Error::new(Kind::Tool, what).device(place.node.display()));
    }
    Ok(Outcome::Changed)
}

/// Where a filesystem lies now.
struct Place {
    node: PathBuf,
    /// Whether that is a part of a regular file.
    file: bool,
}

impl Place {
    /// The place of `on`; `None` where a file stands for the disk and the kernel would have to map something on it.
    fn of(context: &Context<'_>, on: BlockRef) -> Result<Option<Self>, Error> {
        let file = on_file(context, &[on]);
        if file && !matches!(on, BlockRef::Partition { .. }) {
            return Ok(None);
        }
        Ok(Some(Self {
            node: context.node(on)?,
            file,
        }))
    }
}

/// The start of mkfs.
fn maker(planned: &PlannedFilesystem, on: &Path) -> Result<Cmd, Error> {
    let uuid = planned.uuid.to_string();
    let label: String = planned.label.chars().take(LABEL_LENGTH).collect();
    let options = planned.options.split_whitespace();
    let ext = |tool| Cmd::new(tool).args(["-q", "-F", "-U", &uuid]);
    let mut cmd = match planned.kind.as_str() {
        "ext2" => ext(Tool::MkfsExt2),
        "ext3" => ext(Tool::MkfsExt3),
        // without these, GRUB of today's systems cannot read it
        "ext4" => ext(Tool::MkfsExt4).args(["-O", "^metadata_csum_seed,^orphan_file"]),
        "xfs" => Cmd::new(Tool::MkfsXfs)
            .args(["-q", "-f", "-m"])
            .arg(format!("uuid={uuid}")),
        "swap" => Cmd::new(Tool::Mkswap).args(["-f", "-U", &uuid]),
        other => {
            return Err(Error::new(
                Kind::Request,
                format!("cannot make a filesystem of type `{other}`"),
            )
            .hint("ask for ext2, ext3, ext4, xfs or swap"));
        }
    };
    if !label.is_empty() {
        cmd = cmd.args(["-L", &label]);
    }
    Ok(cmd.args(options).arg(on))
}

/// Looks what is on a filesystem's device now and notes its UUID.
pub(super) fn note_uuid(context: &mut Context<'_>, filesystem: usize) -> Result<Signature, Error> {
    let on = context.plan.filesystems[filesystem].on;
    let node = context.node(on)?;
    let file = on_file(context, &[on]);
    let found = signature::of(context, &node, file)?.ok_or_else(|| {
        Error::new(
            Kind::Disk,
            format!("there is no filesystem on {}", node.display()),
        )
        .device(node.display())
    })?;
    if let Some(slot) = context.state.filesystem_uuids.get_mut(filesystem) {
        *slot = Some(found.uuid.clone());
    }
    Ok(found)
}

/// Grows the filesystem that came with an image to its volume.
pub(super) fn grow(context: &mut Context<'_>, filesystem: usize) -> Result<Outcome, Error> {
    let planned = context.plan.filesystems[filesystem].clone();
    let Some(place) = Place::of(context, planned.on)? else {
        return Ok(skipped("growing a filesystem on an array or a volume"));
    };
    let kind = planned.image.map_or(planned.kind.clone(), |image| {
        context.plan.images[image].format.clone()
    });
    match (kind.as_str(), place.file) {
        ("ext2" | "ext3" | "ext4", false) => grow_ext(context, &place.node),
        ("ext2" | "ext3" | "ext4", true) => {
            let path = scratch::copy_of(context, &place.node)?;
            grow_ext(context, &path)?;
            scratch::copy_back(context, &path, &place.node)?;
            Ok(Outcome::Changed)
        }
        ("xfs", false) => grow_xfs(context, &place.node),
        ("xfs", true) => Ok(skipped("growing xfs, which has to be mounted for it,")),
        _ => Ok(Outcome::Unchanged),
    }
}

fn grow_ext(context: &mut Context<'_>, path: &Path) -> Result<Outcome, Error> {
    let what = format!("cannot grow the filesystem on {}", path.display());
    // status 1: errors were found and corrected, a last mount that is in the future for one
    let check = Cmd::new(Tool::E2fsck)
        .args(["-f", "-y"])
        .arg(path)
        .accept(&[0, 1]);
    let resize = Cmd::new(Tool::Resize2fs).arg(path);
    for cmd in [check, resize] {
        context.host.exec.run(&cmd).map_err(|source| {
            Error::new(Kind::Tool, &*what)
                .device(path.display())
                .because(source)
        })?;
    }
    Ok(Outcome::Changed)
}

fn grow_xfs(context: &mut Context<'_>, node: &Path) -> Result<Outcome, Error> {
    let what = format!("cannot grow the filesystem on {}", node.display());
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| {
        Error::new(Kind::Tool, &*what)
            .device(node.display())
            .because(source)
    };
    let point = context.options.work.join("grow");
    target::make_folder(&point)?;
    context
        .host
        .mounts
        .mount(node, &point, "xfs", MountMode::Write)
        .map_err(|source| failed(source.into()))?;
    let grown = context
        .host
        .exec
        .run(&Cmd::new(Tool::XfsGrowfs).arg(&point));
    let unmounted = context.host.mounts.unmount(&point);
    grown.map_err(|source| failed(source.into()))?;
    unmounted.map_err(|source| failed(source.into()))?;
    Ok(Outcome::Changed)
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn every_type_gets_its_uuid_and_a_label_it_can_hold() {
        let mut planned = sample::plan().filesystems[0].clone();
        planned.label = "a long label indeed".to_owned();
        planned.options = "-m 0".to_owned();
        let mut lines = Vec::new();
        for kind in ["ext2", "ext3", "ext4", "xfs", "swap"] {
            planned.kind = kind.to_owned();
            lines.push(maker(&planned, Path::new("/dev/sda3")).unwrap().to_string());
        }
        let text = lines.join("\n");
        insta::assert_snapshot!(text, @r"
        mkfs.ext2 -q -F -U 00000000-0000-0000-0000-000000000007 -L 'a long label' -m 0 /dev/sda3
        mkfs.ext3 -q -F -U 00000000-0000-0000-0000-000000000007 -L 'a long label' -m 0 /dev/sda3
        mkfs.ext4 -q -F -U 00000000-0000-0000-0000-000000000007 -O ^metadata_csum_seed,^orphan_file -L 'a long label' -m 0 /dev/sda3
        mkfs.xfs -q -f -m uuid=00000000-0000-0000-0000-000000000007 -L 'a long label' -m 0 /dev/sda3
        mkswap -f -U 00000000-0000-0000-0000-000000000007 -L 'a long label' -m 0 /dev/sda3
        ");
        planned.kind = "none".to_owned();
        assert_eq!(
            maker(&planned, Path::new("/dev/sda3")).unwrap_err().kind,
            Kind::Request
        );
    }
}

//! Reading back what was done, before anything becomes bootable: what is not as planned on the disks themselves is an
//! error here, whatever every step before has said.

use std::path::Path;

use host::blockdev::Access;
use host::mount::MountMode;
use host::units::{Bytes, Extent};

use super::bootconfig::root_argument;
use super::guid_table::GuidTable;
use super::raid::on_file;
use super::signature;
use super::{Context, Outcome, installed, table, target};
use crate::error::{Error, Kind};
use crate::plan::Plan;
use crate::request::spec::BlockRef;

/// Reads everything back.
pub(super) fn verify(context: &mut Context<'_>) -> Result<Outcome, Error> {
    target::release(context)?;
    for disk in 0..context.plan.disks.len() {
        check_disk(context, disk)?;
    }
    for filesystem in 0..context.plan.filesystems.len() {
        check_filesystem(context, filesystem)?;
    }
    if let Some(on) = context.plan.configdrive {
        check_configdrive(context, on)?;
    }
    if target::in_files(context) {
        let why = "fstab and the boot configuration are in filesystems that cannot be mounted: a disk is a regular file";
        return Ok(Outcome::Skipped {
            why: why.to_owned(),
        });
    }
    if context.plan.root().is_some() {
        target::ensure(context, MountMode::ReadOnly)?;
        let checked = check_tree(context);
        target::release(context).and(checked)?;
    }
    Ok(Outcome::Unchanged)
}

/// An error that means: what is on the disk is not what was written.
fn differs(what: String) -> Error {
    Error::new(Kind::Disk, what)
        .hint("the node stays disarmed; look for failing hardware, then install again")
        .retryable()
}

/// Flushes a disk and compares its table with the plan.
fn check_disk(context: &mut Context<'_>, disk: usize) -> Result<(), Error> {
    let planned = &context.plan.disks[disk];
    let name = Path::new(&planned.device);
    let failed = |source| table::failed("read back", name, source);
    // For reading: closing what could write would make udev have the table read again under our feet.
    let mut device = context
        .host
        .devices
        .open(name, Access::Read)
        .map_err(failed)?;
    device.flush().map_err(failed)?;
    if !context.plan.keeps_partitions {
        let mut boot_code = [0; 440];
        device
            .read_at(&mut boot_code, Bytes::ZERO)
            .map_err(failed)?;
        let mut expected = GuidTable::of(planned).map_err(failed)?;
        for piece in expected.pieces(&boot_code) {
            let mut found = vec![0; piece.bytes.len()];
            device.read_at(&mut found, piece.at).map_err(failed)?;
            if found != piece.bytes {
                return Err(differs(format!(
                    "the partition table of {} is not what was written",
                    name.display()
                ))
                .device(name.display()));
            }
        }
    }
    let found = host::table::read(device.as_ref()).map_err(failed)?;
    let found: Vec<(u32, Extent)> = found
        .iter()
        .flat_map(|table| &table.partitions)
        .map(|p| (p.number, p.extent))
        .collect();
    for partition in &planned.partitions {
        if !found.contains(&(partition.number, partition.extent)) {
            let what = format!(
                "partition {} is not in the table of {}",
                partition.number,
                name.display()
            );
            return Err(differs(what).device(name.display()));
        }
    }
    Ok(())
}

/// Compares type and UUID of a filesystem with what is known of it.
fn check_filesystem(context: &mut Context<'_>, filesystem: usize) -> Result<(), Error> {
    let planned = context.plan.filesystems[filesystem].clone();
    let file = on_file(context, &[planned.on]);
    if file && !matches!(planned.on, BlockRef::Partition { .. }) {
        return Ok(());
    }
    let node = context.node(planned.on)?;
    let found = signature::of(context, &node, file)?.unwrap_or_default();
    let known = context
        .state
        .filesystem_uuids
        .get(filesystem)
        .cloned()
        .flatten();
    if planned.image.is_none() && found.kind != planned.kind {
        let what = format!(
            "there is `{}` on {}, not {}",
            found.kind,
            node.display(),
            planned.kind
        );
        return Err(differs(what).device(node.display()));
    }
    match known {
        Some(uuid) if uuid != found.uuid => Err(differs(format!(
            "the filesystem on {} has the UUID `{}`, not {uuid}",
            node.display(),
            found.uuid
        ))
        .device(node.display())),
        Some(_) => Ok(()),
        None => {
            // kept: nobody made it, so its UUID is known only now
            if let Some(slot) = context.state.filesystem_uuids.get_mut(filesystem) {
                *slot = Some(found.uuid);
            }
            Ok(())
        }
    }
}

/// Whether cloud-init will find its data.
fn check_configdrive(context: &mut Context<'_>, on: BlockRef) -> Result<(), Error> {
    // ironic: what goes there comes from outside
    if context.plan.node.is_none() {
        return Ok(());
    }
    let node = context.node(on)?;
    let file = on_file(context, &[on]);
    let found = signature::of(context, &node, file)?.unwrap_or_default();
    if found.kind == "vfat" && found.label == configdrive::LABEL_NOCLOUD {
        return Ok(());
    }
    let what = format!(
        "there is `{}` labelled `{}` on {}, not cloud-init's data",
        found.kind,
        found.label,
        node.display()
    );
    Err(differs(what).device(node.display()))
}

/// Whether every UUID that the installed system will look for is there, its root's above all.
fn check_tree(context: &Context<'_>) -> Result<(), Error> {
    let Ok(tree) = installed::open(context)? else {
        return Ok(());
    };
    let uuids: Vec<String> = context
        .state
        .filesystem_uuids
        .iter()
        .flatten()
        .map(|uuid| uuid.to_ascii_lowercase())
        .collect();
    let fstab = tree.read("etc/fstab")?.unwrap_or_default();
    check_uuids("etc/fstab", &fstab, &uuids)?;
    let root = Root::of(context.plan, &context.state.filesystem_uuids)?;
    check_fstab(&fstab, &root)?;
    if let Some(folder) = &context.state.boot_folder {
        let path = format!("{}/grub.cfg", folder.in_tree);
        let menu = tree.read(&path)?.unwrap_or_default();
        check_uuids(&path, &menu, &uuids)?;
        check_menu(&path, &menu, &root, &folder.uuid)?;
    }
    Ok(())
}

/// What the installed system may call its root.
struct Root {
    /// `UUID=...`, as it was read from the disk.
    uuid: String,
    /// Its own node, where that is a logical volume's: no other node means the same after a boot.
    mapper: Option<String>,
    /// `root=...` for the kernel.
    argument: String,
}

impl Root {
    fn of(plan: &Plan, uuids: &[Option<String>]) -> Result<Self, Error> {
        let argument = root_argument(plan, uuids)?;
        let index = plan.root();
        let uuid = index
            .and_then(|root| uuids.get(root))
            .and_then(Option::as_deref)
            .filter(|uuid| !uuid.is_empty())
            .ok_or_else(|| differs("the root filesystem has no UUID".to_owned()))?;
        let device = index
            .and_then(|root| plan.filesystems.get(root))
            .map(|root| root.device.clone());
        Ok(Self {
            uuid: format!("UUID={uuid}"),
            mapper: device.filter(|device| device.starts_with("/dev/mapper/")),
            argument: format!("root={argument}"),
        })
    }

    /// Whether the first field of a line of fstab means it.
    fn is_called(&self, name: &str) -> bool {
        name.eq_ignore_ascii_case(&self.uuid) || Some(name) == self.mapper.as_deref()
    }
}

/// Whether what is mounted on `/` is the plan's root, and nothing else.
fn check_fstab(fstab: &str, root: &Root) -> Result<(), Error> {
    let fields = fstab.lines().filter_map(|line| {
        let mut fields = line.split_whitespace();
        Some((fields.next()?, fields.next()?))
    });
    let mut names = fields
        .filter(|(name, mount)| !name.starts_with('#') && *mount == "/")
        .map(|(name, _)| name)
        .peekable();
    if names.peek().is_none() {
        return Err(differs(
            "the installed system's fstab does not name its root".to_owned(),
        ));
    }
    match names.find(|name| !root.is_called(name)) {
        Some(other) => Err(differs(format!(
            "the installed system's fstab has {other} as root, not {}",
            root.uuid
        ))),
        None => Ok(()),
    }
}

/// Whether every kernel of the menu is told of the plan's root, and is looked for where it was put.
fn check_menu(path: &str, menu: &str, root: &Root, boot: &str) -> Result<(), Error> {
    let lines = |command: &'static str| {
        let lines = menu.lines().map(str::split_whitespace);
        lines.filter_map(move |mut words| (words.next()? == command).then_some(words))
    };
    let wrong = |what: String| Err(differs(format!("{path} of the installed system {what}")));
    let is_root = |word: &str| word.trim_matches('\'').strip_prefix("root=").is_some();
    for mut kernel in lines("linux") {
        let mut roots = kernel
            .by_ref()
            .filter(|word| is_root(word))
            .map(|word| word.trim_matches('\''))
            .peekable();
        if roots.peek().is_none() {
            return wrong("starts a kernel without a root".to_owned());
        }
        if let Some(other) = roots.find(|word| !word.eq_ignore_ascii_case(&root.argument)) {
            return wrong(format!("says {other}, not {}", root.argument));
        }
    }
    if lines("linux").next().is_none() {
        return wrong("starts no kernel".to_owned());
    }
    let mut searched = lines("search").filter_map(Iterator::last).peekable();
    if searched.peek().is_none() {
        return wrong("does not look for its kernels".to_owned());
    }
    match searched.find(|uuid| !uuid.eq_ignore_ascii_case(boot)) {
        Some(other) => wrong(format!("looks for its kernels on {other}, not {boot}")),
        None => Ok(()),
    }
}

fn check_uuids(path: &str, text: &str, known: &[String]) -> Result<(), Error> {
    match words_like_uuids(text).find(|uuid| !known.contains(uuid)) {
        Some(unknown) => Err(differs(format!(
            "{path} of the installed system names {unknown}, which no filesystem has"
        ))),
        None => Ok(()),
    }
}

/// Everything in a text that has the form of a UUID, in lower case.
fn words_like_uuids(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !(c.is_ascii_hexdigit() || c == '-'))
        .filter(|word| word.len() == 36 && uuid::Uuid::parse_str(word).is_ok())
        .map(str::to_ascii_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::sample;

    #[test]
    fn a_uuid_that_nobody_has_is_found_wherever_it_stands() {
        let known = ["11111111-2222-3333-4444-555555555555".to_owned()];
        let good = "linux /vmlinuz root=UUID=11111111-2222-3333-4444-555555555555 ro\n";
        assert!(check_uuids("x", good, &known).is_ok());
        let bad = "search --fs-uuid --set=root 11111111-2222-3333-4444-555555555556\n";
        assert!(
            check_uuids("x", bad, &known)
                .unwrap_err()
                .what
                .contains("555555555556")
        );
        assert_eq!(words_like_uuids("no-uuid here 1234").count(), 0);
    }

    const ROOT: &str = "00004007-0000-0000-0000-000000000000";
    const BOOT: &str = "0000b007-0000-0000-0000-000000000000";

    fn root() -> Root {
        Root::of(&sample::plan(), &sample::uuids()).unwrap()
    }

    #[test]
    fn fstab_must_mount_the_plans_own_root_and_no_other() {
        let good = super::super::fstab::render(&sample::plan(), &sample::uuids()).unwrap();
        check_fstab(&good, &root()).unwrap();
        check_fstab(&good.to_ascii_uppercase(), &root()).unwrap();
        check_fstab("/dev/mapper/os-root / ext4 defaults 0 0\n", &root()).unwrap();
        let uuid = format!("UUID={ROOT}");
        for bad in [
            String::new(),
            "/dev/mapper/os-root /srv ext4 defaults 0 0\n".to_owned(),
            "/dev/mapper/os-swap / ext4 defaults 0 0\n".to_owned(),
            "/dev/mapper/other-root / ext4 defaults 0 0\n".to_owned(),
            good.replace(&uuid, &format!("#{uuid}")),
            good.replace(&uuid, &format!("UUID={BOOT}")),
            good.replace(" / ", " /mnt "),
            good.clone() + "/dev/sda4 / ext4 defaults 0 0\n",
        ] {
            assert!(check_fstab(&bad, &root()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_root_that_is_no_logical_volume_goes_by_its_uuid_only() {
        let mut plan = sample::plan();
        plan.filesystems[1].on = BlockRef::Partition { disk: 0, number: 4 };
        "/dev/sda4".clone_into(&mut plan.filesystems[1].device);
        let root = Root::of(&plan, &sample::uuids()).unwrap();
        assert_eq!(root.argument, format!("root=UUID={ROOT}"));
        check_fstab(&format!("UUID={ROOT} / ext4 defaults 0 0\n"), &root).unwrap();
        for name in ["/dev/sda4", "/dev/mapper/os-root"] {
            assert!(check_fstab(&format!("{name} / ext4 defaults 0 0\n"), &root).is_err());
        }
        let mut uuids = sample::uuids();
        uuids[1] = None;
        assert!(Root::of(&plan, &uuids).is_err());
    }

    #[test]
    fn every_kernel_must_be_told_of_that_root_and_be_looked_for_where_it_is() {
        let good = format!(
            "search --no-floppy --fs-uuid --set=root {BOOT}\nmenuentry 'x' {{\n    \
             linux /vmlinuz root=/dev/mapper/os-root ro\n}}\nmenuentry 'y' {{\n    \
             linux /vmlinuz.old 'root=/dev/mapper/os-root' ro single\n}}\n"
        );
        check_menu("x", &good, &root(), BOOT).unwrap();
        for (from, to) in [
            (BOOT, ROOT),
            ("search ", "# "),
            ("linux ", "# "),
            ("root=/dev/mapper/os-root ro\n", "ro\n"),
            ("'root=/dev/mapper/os-root'", ""),
            ("'root=/dev/mapper/os-root'", "root=/dev/sda1"),
            ("ro single", "root=/dev/sda1 single"),
        ] {
            let bad = good.replace(from, to);
            assert_ne!(bad, good);
            assert!(check_menu("x", &bad, &root(), BOOT).is_err(), "{bad}");
        }
    }
}

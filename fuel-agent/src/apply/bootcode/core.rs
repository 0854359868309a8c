//! GRUB's core image: what the ramdisk's GRUB brings, put together so that it finds the installed system's `/boot` by
//! the filesystem's UUID, whatever the firmware calls the disk.

use std::path::{Path, PathBuf};

use host::exec::Cmd;

use crate::apply::context::{BootFolder, Context};
use crate::inventory::grub;
use crate::model::error::{Error, Kind};
use crate::model::grub::Platform;
use crate::tools::Tool;

/// In every core image, so that a system starts even if its module folder is lost: partition tables, md, LVM, the
/// filesystems that can be under `/boot`, and what the agent's grub.cfg uses.
const MODULES: [&str; 33] = [
    "part_gpt",
    "part_msdos",
    "diskfilter",
    "lvm",
    "mdraid09",
    "mdraid1x",
    "raid5rec",
    "raid6rec",
    "ext2",
    "xfs",
    "btrfs",
    "fat",
    "search",
    "search_fs_uuid",
    "search_fs_file",
    "search_label",
    "normal",
    "configfile",
    "linux",
    "echo",
    "test",
    "gzio",
    "xzio",
    "zstd",
    "all_video",
    "serial",
    "terminal",
    "minicmd",
    "ls",
    "halt",
    "reboot",
    "loadenv",
    "sleep",
];

fn modules(platform: Platform) -> impl Iterator<Item = &'static str> {
    let disk: &[&str] = match platform {
        Platform::Pc => &["biosdisk"],
        // the firmware reads disks for GRUB here
        Platform::Efi => &[],
    };
    disk.iter().copied().chain(MODULES)
}

/// What the core image does before it reads grub.cfg.
pub(crate) fn early(boot: &BootFolder) -> String {
    let (uuid, path) = (&boot.uuid, &boot.path);
    format!("search.fs_uuid {uuid} root\nset prefix=($root){path}\n")
}

/// The core image of a platform for this plan.
pub(crate) fn image(context: &mut Context<'_>, platform: Platform) -> Result<Vec<u8>, Error> {
    grub::present(platform, &context.options.grub)?;
    let boot = BootFolder::find(context)?;
    let work = &context.options.work;
    let (script, output) = (work.join("early.cfg"), work.join("core.img"));
    let internal = |source: std::io::Error| {
        let what = format!("cannot prepare a core image in {}", work.display());
        Error::new(Kind::Internal, what).because(source)
    };
    std::fs::write(&script, early(&boot)).map_err(internal)?;
    let command = command(
        platform,
        &context.options.grub,
        &script,
        &output,
        &boot.path,
    );
    context.host.exec.run(&command).map_err(|source| {
        Error::new(Kind::Tool, "cannot make GRUB's core image").because(source)
    })?;
    let image = std::fs::read(&output).map_err(internal)?;
    // the next disk gets one of its own: nothing stale is ever read
    std::fs::remove_file(&output).map_err(internal)?;
    Ok(image)
}

fn command(
    platform: Platform,
    grub: &Path,
    script: &PathBuf,
    output: &PathBuf,
    prefix: &str,
) -> Cmd {
    let cmd = Cmd::new(Tool::GrubMkimage)
        .args(["--format", platform.name(), "--directory"])
        .path(grub.join(platform.name()))
        .arg("--config")
        .path(script)
        .args(["--prefix", prefix, "--output"])
        .arg(output)
        .args(modules(platform));
    match output.parent() {
        Some(folder) => cmd.sees(folder),
        None => cmd,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_core_image_looks_for_boot_by_uuid() {
        let boot = BootFolder {
            uuid: "0000b007-0000".to_owned(),
            path: "/grub".to_owned(),
            in_tree: "boot/grub".to_owned(),
        };
        insta::assert_snapshot!(early(&boot), @"
        search.fs_uuid 0000b007-0000 root
        set prefix=($root)/grub
        ");
    }

    #[test]
    fn modules_are_named_one_by_one() {
        let paths = (PathBuf::from("/w/early.cfg"), PathBuf::from("/w/core.img"));
        for platform in [Platform::Pc, Platform::Efi] {
            let line = command(
                platform,
                Path::new("/usr/lib/grub"),
                &paths.0,
                &paths.1,
                "/grub",
            )
            .to_string();
            let first = modules(platform).next().unwrap();
            assert!(line.contains(&format!("core.img {first} ")), "{line}");
            assert!(
                line.contains(&format!("/usr/lib/grub/{}", platform.name())),
                "{line}"
            );
        }
    }
}

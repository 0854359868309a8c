//! Filesystems that cloud-init of an installed system takes for its data, on any device: disks, partitions, volumes and
//! media in drives.

use std::path::Path;

use super::answers::{Signatures, parse_blkid};
use super::graph::{Graph, Node};
use super::reader::{Query, Reader};
use super::sysfs;
use crate::model::inventory::{Disk, Seed};

/// All of them, in kernel order.
pub(super) fn find(
    reader: &mut Reader,
    graph: &Graph,
    signatures: &Signatures,
    disks: &[(&Node, Disk)],
) -> Vec<Seed> {
    let mut seeds = Vec::new();
    for node in graph.all() {
        let found = match signatures.get(&node.name) {
            Some(found) => found.clone(),
            None => sysfs::medium(reader, node).unwrap_or_default(),
        };
        let is_fat = found.kind.as_deref() == Some("vfat");
        let mut label = found.label.filter(|label| Seed::is_label(label));
        if label.is_none() && is_fat {
            label = boot_sector_label(reader, node);
        }
        let Some(label) = label else {
            continue;
        };
        let is_disk = |below: &Node| disks.iter().any(|(disk, _)| disk.name == below.name);
        let below = graph.below(&node.name, &is_disk);
        let below = below.iter().filter_map(|name| graph.get(name));
        seeds.push(Seed {
            path: node.path.clone(),
            label,
            disks: below.map(|disk| disk.path.clone()).collect(),
        });
    }
    seeds
}

/// FAT has a label in its boot sector too, which cloud-init looks at and udev does not.
fn boot_sector_label(reader: &mut Reader, node: &Node) -> Option<String> {
    label_in_boot_sector(reader, Path::new(&node.path))
}

fn label_in_boot_sector(reader: &mut Reader, device: &Path) -> Option<String> {
    let output = reader.ask(Query::Signature(device)).ok()?;
    let found = parse_blkid(output.status, &output.stdout);
    found.boot_label.filter(|label| Seed::is_label(label))
}

#[cfg(test)]
mod tests {
    use super::*;
    use host::cancel::Cancel;
    use host::exec::{Cmd, Exec, ExecError, Program, System};
    use std::os::unix::fs::FileExt;

    const MKFS: Program = Program::new("mkfs.vfat", "dosfstools");

    /// Label and kind that blkid finds, and the label in the boot sector that is asked for as well.
    fn seen(file: &Path) -> (Option<String>, Option<String>, Option<String>) {
        let mut reader = Reader::real(&Cancel::new());
        let output = reader.ask(Query::Signature(file)).unwrap();
        let found = parse_blkid(output.status, &output.stdout);
        (
            found.kind,
            found.label,
            label_in_boot_sector(&mut reader, file),
        )
    }

    /// A whole disk with FAT, without a partition table; `false` where it cannot be made.
    fn fat(file: &Path, label: &str, bits: &str) -> bool {
        std::fs::File::create(file)
            .unwrap()
            .set_len(64 << 20)
            .unwrap();
        let cmd = Cmd::new(MKFS).args(["-F", bits, "-n", label]).arg(file);
        match System::new(Cancel::new()).run(&cmd) {
            Err(ExecError::Missing { .. }) => {
                host::fake::skipped("there is no mkfs.vfat");
                false
            }
            made => made.map(|_| true).unwrap(),
        }
    }

    #[test]
    fn a_fat_label_counts_in_any_case_and_wherever_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        for (bits, label) in [
            ("16", "CIDATA"),
            ("16", "cidata"),
            ("32", "config-2"),
            ("32", "CONFIG-2"),
        ] {
            if !fat(&path, label, bits) {
                return;
            }
            let (kind, found, boot) = seen(&path);
            assert_eq!(kind.as_deref(), Some("vfat"));
            assert_eq!(
                (found.as_deref(), boot.as_deref()),
                (Some(label), Some(label))
            );
            assert!(Seed::is_label(label));
            // Both places where mkfs has put it: boot sector, and entry of the root folder.
            let bytes = std::fs::read(&path).unwrap();
            let padded = format!("{label:11}");
            let places: Vec<usize> = (0..8 << 20)
                .filter(|at| bytes[*at..].starts_with(padded.as_bytes()))
                .collect();
            let (first, last) = (places[0], *places.last().unwrap());
            assert!(first < 512 && last > 512, "{places:?}");
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            let put = |at: usize, text: &[u8]| {
                file.write_all_at(text, u64::try_from(at).unwrap()).unwrap();
            };
            // in the boot sector alone, with another one in the root folder and without
            put(last, b"OTHER      ");
            assert_eq!(seen(&path).2.as_deref(), Some(label));
            put(last, &[0; 32]);
            let (_, found, boot) = seen(&path);
            assert_eq!((found, boot.as_deref()), (None, Some(label)));
            // in the root folder alone
            put(last, &bytes[last..last + 32]);
            put(first, b"NO NAME    ");
            assert_eq!(seen(&path).1.as_deref(), Some(label));
            // what looks like a partition table in the boot sector hides nothing
            put(
                446,
                &[
                    0x80, 1, 1, 0, 0x0c, 0xfe, 0x3f, 1, 63, 0, 0, 0, 0xc1, 0x66, 0, 0,
                ],
            );
            assert_eq!(seen(&path).1.as_deref(), Some(label));
        }
    }

    #[test]
    fn an_iso9660_label_on_a_whole_disk_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        for label in ["cidata", "CIDATA", "config-2"] {
            // primary volume descriptor and terminator
            let mut image = vec![0; 1 << 20];
            for (at, kind) in [(16 * 2048, 1), (17 * 2048, 255)] {
                image[at] = kind;
                image[at + 1..at + 7].copy_from_slice(b"CD001\x01");
            }
            let name = format!("{label:32}");
            image[16 * 2048 + 40..][..32].copy_from_slice(name.as_bytes());
            std::fs::write(&path, image).unwrap();
            let (kind, found, _) = seen(&path);
            assert_eq!(
                (kind.as_deref(), found.as_deref()),
                (Some("iso9660"), Some(label))
            );
            assert!(Seed::is_label(label));
        }
    }
}

//! Whether an image fits what it is written onto, in every respect that is known before the first byte.

use host::units::Bytes;

use super::super::diagnostics::Diagnostics;
use super::{Target, TargetKind};
use crate::model::error::Kind;
use crate::model::node::Firmware;
use crate::model::plan::PlannedImage;
use crate::model::sources::{ImageContent, PackedFacts};

/// Refuses an image that does not fit, and warns of what is unusual about one that does.
pub(super) fn check(image: &PlannedImage, target: &Target, diagnostics: &mut Diagnostics) {
    let mut fit = Fit {
        image,
        target,
        diagnostics,
    };
    fit.size();
    fit.cut_off();
    fit.sectors();
    fit.kind();
    fit.machine();
    fit.oddities();
}

struct Fit<'a> {
    image: &'a PlannedImage,
    target: &'a Target,
    diagnostics: &'a mut Diagnostics,
}

impl<'a> Fit<'a> {
    fn refuse(&mut self, what: String, hint: impl Into<String>) {
        self.diagnostics.does_not_fit(Kind::Image, what, hint);
    }

    /// The image and the target, by their names.
    fn names(&self) -> (String, &'a str) {
        (self.image.url.to_string(), &self.target.disk.path)
    }

    fn packed(&self) -> Option<&'a PackedFacts> {
        self.image.facts.packed.as_ref()
    }

    fn is_disk(&self) -> bool {
        self.packed().is_some_and(|packed| packed.whole_disk)
            || matches!(self.image.facts.content, Some(ImageContent::Disk { .. }))
    }

    fn is_filesystem(&self) -> bool {
        let content = &self.image.facts.content;
        !self.is_disk() && matches!(content, Some(ImageContent::Filesystem { .. }))
    }

    fn size(&mut self) {
        let (url, node) = self.names();
        let size = self.target.disk.size_bytes;
        if let Some(needed) = self
            .image
            .facts
            .least_size()
            .filter(|needed| *needed > size)
        {
            self.refuse(
                format!("{url} does not fit on {node}, which holds {size}; it needs {needed}"),
                "choose a larger disk, or a smaller image",
            );
        }
    }

    fn cut_off(&mut self) {
        let (url, _) = self.names();
        if let Some((size, says)) = self.image.facts.cut_off() {
            self.refuse(
                format!(
                    "{url} has {size}, but its filesystem says that it has {says}: it is cut off"
                ),
                "make the image again, with all of its filesystem in it",
            );
        }
    }

    /// A partition table counts in sectors: on a disk with others nothing finds its partitions. Some filesystems cannot
    /// be mounted from sectors that are larger than theirs.
    fn sectors(&mut self) {
        let found = self.target.sector_size();
        if self.target.kind == TargetKind::File {
            return;
        }
        let packed = self.packed().filter(|packed| packed.whole_disk);
        let needed = match (&self.image.facts.content, packed) {
            (_, Some(packed)) => packed.sector_size_bytes,
            (
                Some(ImageContent::Disk {
                    table,
                    sector_size_bytes,
                    ..
                }),
                None,
            ) if table == "gpt" => *sector_size_bytes,
            (
                Some(ImageContent::Filesystem {
                    sector_size_max_bytes: most,
                    ..
                }),
                None,
            ) if *most < found => *most,
            _ => return,
        };
        let (url, node) = self.names();
        if needed != found {
            self.refuse(
                format!(
                    "{url} is for disks with sectors of {needed}, and those of {node} have {found}"
                ),
                "use an image that was made for such disks",
            );
        }
    }

    fn kind(&mut self) {
        let (url, node) = self.names();
        let partitions = self.target.disk.partitions.len();
        match self.target.kind {
            TargetKind::Partition if self.is_disk() => self.refuse(
                format!("{url} is the image of a whole disk, and {node} is a partition"),
                "name the disk, or use an image of the filesystem",
            ),
            TargetKind::Device if self.is_filesystem() && partitions > 0 => self.refuse(
                format!(
                    "{url} is the image of a filesystem, and {node} has partitions ({partitions})"
                ),
                format!(
                    "name one of its partitions, or clear its table first: `wipefs --all {node}`"
                ),
            ),
            TargetKind::File | TargetKind::Partition | TargetKind::Device => {}
        }
    }

    /// Whether this node starts from it: a manifest is taken as true, a partition table is worth a warning only. A disk
    /// that can be carried to another node may be meant for that one.
    fn machine(&mut self) {
        let node = &self.target.node;
        let is_built_in = node
            .disks
            .iter()
            .any(|disk| disk.path == self.target.disk.path && !disk.removable);
        if !is_built_in || !self.is_disk() {
            return;
        }
        let (url, _) = self.names();
        let firmware = match node.firmware {
            Firmware::Bios => "bios",
            Firmware::Uefi => "uefi",
        };
        let needed = &node.architecture;
        let known = self.packed().map_or("", |packed| &packed.architecture);
        if !known.is_empty() && !needed.is_empty() && known != needed {
            self.refuse(
                format!("{url} runs on {known}, but this node is {needed}"),
                format!("use an image for {needed}"),
            );
        }
        let listed = self.packed().map_or(&[][..], |packed| &packed.firmware);
        if !listed.is_empty() && !listed.iter().any(|it| it == firmware) {
            let listed = listed.join(" and ");
            self.refuse(
                format!("{url} boots from {listed}, but this node has {firmware}"),
                "use another image, or start the node with the other firmware",
            );
        } else if listed.is_empty()
            && let Some(ImageContent::Disk { bios, uefi, .. }) = &self.image.facts.content
        {
            let (boots, lacks) = match node.firmware {
                Firmware::Bios => (*bios, "boot code for a BIOS"),
                Firmware::Uefi => (*uefi, "EFI system partition"),
            };
            if !boots {
                self.diagnostics.warn(format!(
                    "{url} has no {lacks}: this node, which has {firmware}, will not start from it"
                ));
            }
        }
    }

    /// Warns of what is unusual and written all the same.
    fn oddities(&mut self) {
        let (url, node) = self.names();
        let is_device = self.target.kind == TargetKind::Device;
        let sector_size = self.target.sector_size();
        match &self.image.facts.content {
            Some(ImageContent::Disk {
                table, size_bytes, ..
            }) => {
                if table == "dos" && is_device && sector_size > Bytes(512) {
                    self.diagnostics.warn(format!(
                        "{url} has an MBR, which does not say for which sectors it counts; those of {node} have \
                         {sector_size}"
                    ));
                }
                if let (Some(says), Some(size)) = (size_bytes, self.image.facts.raw_size_bytes)
                    && *says > size
                {
                    self.diagnostics.warn(format!(
                        "{url} has {size}, but its partition table is that of a disk of {says}: its end is missing"
                    ));
                }
            }
            Some(ImageContent::Filesystem { filesystem, .. })
                if filesystem == "iso9660" && is_device =>
            {
                self.diagnostics.warn(format!(
                    "{url} is the image of a CD without a partition table: no firmware starts it from {node}"
                ));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::filesystem::ImageFormat;
    use crate::model::index::DiskIndex;
    use crate::model::inventory::{Disk, ExistingPartition, Inventory};
    use crate::model::plan::{ImageTarget, RefusedBy};
    use crate::model::request::Container;
    use crate::model::sources::SourceFacts;

    fn disk(table: &str, sector: u64) -> SourceFacts {
        SourceFacts {
            raw_size_bytes: Some(Bytes(8 << 20)),
            content: Some(ImageContent::Disk {
                table: table.to_owned(),
                sector_size_bytes: Bytes(sector),
                bios: true,
                uefi: false,
                size_bytes: Some(Bytes(8 << 20)),
            }),
            ..SourceFacts::default()
        }
    }

    fn filesystem(kind: &str, sector_max: u64, size: u64) -> SourceFacts {
        SourceFacts {
            raw_size_bytes: Some(Bytes(8 << 20)),
            content: Some(ImageContent::Filesystem {
                filesystem: kind.to_owned(),
                sector_size_max_bytes: Bytes(sector_max),
                size_bytes: Some(Bytes(size)),
            }),
            ..SourceFacts::default()
        }
    }

    /// A device that is no disk of the node: no machine starts from it.
    fn target(kind: TargetKind, sector: u32) -> Target {
        let disk = Disk {
            path: "/dev/sda".to_owned(),
            size_bytes: Bytes(16 << 20),
            logical_sector_size: sector,
            ..Disk::default()
        };
        Target {
            kind,
            disk,
            node: Inventory::default(),
        }
    }

    /// The warnings, or why it is refused.
    fn checked(facts: &SourceFacts, target: &Target) -> String {
        let image = PlannedImage {
            url: "http://s/x.img".into(),
            onto: ImageTarget::Disk(DiskIndex(0)),
            format: ImageFormat::Unspecified,
            container: Container::Raw,
            facts: facts.clone(),
        };
        let mut diagnostics = Diagnostics::default();
        check(&image, target, &mut diagnostics);
        match diagnostics.refusals.as_slice() {
            [] => diagnostics.warnings.join("; "),
            refusals => {
                for refusal in refusals {
                    assert_eq!((refusal.kind, refusal.by), (Kind::Image, RefusedBy::Plan));
                    assert!(!refusal.hint.is_empty());
                }
                let what = refusals.iter().map(|refusal| refusal.what.as_str());
                what.collect::<Vec<_>>().join("; ")
            }
        }
    }

    #[test]
    fn an_image_fits_in_size_sectors_and_kind_or_is_refused() {
        use TargetKind::{Device, File, Partition};
        for (facts, target, expected) in [
            (disk("gpt", 512), target(Device, 512), ""),
            (
                disk("gpt", 512),
                target(Device, 4096),
                "is for disks with sectors of 512 B, and those",
            ),
            (
                disk("gpt", 4096),
                target(Device, 512),
                "is for disks with sectors of 4 KiB, and those",
            ),
            (disk("gpt", 4096), target(File, 512), ""),
            (disk("dos", 512), target(Device, 4096), "has an MBR"),
            (
                disk("gpt", 512),
                target(Partition, 512),
                "whole disk, and /dev/sda is a partition",
            ),
            (
                filesystem("ext4", 4096, 8 << 20),
                target(Partition, 4096),
                "",
            ),
            (filesystem("ext4", 4096, 8 << 20), target(Device, 512), ""),
            (
                filesystem("xfs", 512, 8 << 20),
                target(Partition, 4096),
                "is for disks with sectors of 512 B",
            ),
            (
                filesystem("ext4", 4096, 9 << 20),
                target(Partition, 512),
                "it is cut off",
            ),
            (
                filesystem("iso9660", 4096, 8 << 20),
                target(Device, 512),
                "no firmware starts it",
            ),
        ] {
            let text = checked(&facts, &target);
            let right = if expected.is_empty() {
                text.is_empty()
            } else {
                text.contains(expected)
            };
            assert!(right, "{facts:?} {target:?}: {text}");
        }
    }

    #[test]
    fn an_image_whose_length_nobody_says_is_as_long_as_it_says_itself() {
        let mut facts = filesystem("ext4", 4096, 17 << 20);
        facts.raw_size_bytes = None;
        let text = checked(&facts, &target(TargetKind::Partition, 512));
        assert!(text.contains("does not fit on /dev/sda"), "{text}");
    }

    #[test]
    fn a_filesystem_does_not_take_the_place_of_a_table_with_partitions() {
        let mut partitioned = target(TargetKind::Device, 512);
        partitioned.disk.partitions = vec![ExistingPartition::default(); 3];
        let text = checked(&filesystem("ext4", 4096, 8 << 20), &partitioned);
        assert!(text.contains("has partitions (3)"), "{text}");
        assert_eq!(checked(&disk("gpt", 512), &partitioned), "");
    }

    #[test]
    fn a_manifest_tells_what_an_image_runs_on_and_a_table_what_may_start_it() {
        let mut built_in = target(TargetKind::Device, 512);
        built_in.node = Inventory {
            disks: vec![built_in.disk.clone()],
            firmware: Firmware::Uefi,
            architecture: "x86_64".to_owned(),
            ..Inventory::default()
        };
        let mut removable = built_in.clone();
        removable.node.disks[0].removable = true;
        assert_eq!(checked(&disk("gpt", 512), &removable), "");
        let with = |packed: Option<PackedFacts>| {
            let facts = SourceFacts {
                packed,
                ..disk("gpt", 512)
            };
            checked(&facts, &built_in)
        };
        let manifest = |architecture: &str, firmware: &str| PackedFacts {
            architecture: architecture.to_owned(),
            firmware: vec![firmware.to_owned()],
            whole_disk: true,
            sector_size_bytes: Bytes(512),
            ..PackedFacts::default()
        };
        assert!(with(None).contains("has no EFI system partition"));
        assert_eq!(with(Some(manifest("x86_64", "uefi"))), "");
        let text = with(Some(manifest("x86_64", "bios")));
        assert!(
            text.contains("boots from bios, but this node has uefi"),
            "{text}"
        );
        let text = with(Some(manifest("aarch64", "uefi")));
        assert!(text.contains("runs on aarch64"), "{text}");
    }
}

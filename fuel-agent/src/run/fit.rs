//! Whether an image fits what it is written to, in every respect that is known before the first byte.

use std::path::Path;

use host::units::Bytes;

use crate::model::error::{Error, Kind};
use crate::model::node::Firmware;
use crate::model::sources::{ImageContent, PackedFacts, SourceFacts};
use crate::model::url::redacted;
use crate::sequence::discovery::combine;

/// What an image is written to.
#[derive(Debug)]
pub(super) struct Goal<'a> {
    /// Its device or file.
    pub(super) node: &'a Path,
    /// What it is.
    pub(super) kind: GoalKind,
    /// Its size.
    pub(super) size: Bytes,
    /// Its logical sector size.
    pub(super) sector_size: Bytes,
    /// How many partitions its table has now.
    pub(super) partitions: usize,
    /// The machine that will start from it.
    pub(super) machine: Option<&'a Machine>,
}

/// Kinds of targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GoalKind {
    /// A regular file: it has no sectors, and no machine starts from it.
    File,
    /// A partition of a disk.
    Partition,
    /// A whole block device.
    Device,
}

/// What starts from a disk that is built in.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) firmware: Firmware,
    /// Like `x86_64`; empty where it is not known.
    pub(super) architecture: String,
}

/// Refuses an image that does not fit; returns what is odd about one that does.
pub(super) fn check(url: &str, facts: &SourceFacts, goal: &Goal<'_>) -> Result<Vec<String>, Error> {
    let fit = Fit {
        url: redacted(url),
        facts,
        goal,
    };
    let errors = [fit.size(), fit.cut_off(), fit.sectors(), fit.kind()];
    let mut errors: Vec<Error> = errors.into_iter().flatten().collect();
    let (refused, warnings) = fit.machine();
    errors.extend(refused);
    combine("the image does not fit", errors)?;
    Ok(warnings.into_iter().chain(fit.oddities()).collect())
}

struct Fit<'a> {
    url: String,
    facts: &'a SourceFacts,
    goal: &'a Goal<'a>,
}

impl Fit<'_> {
    fn refuse(&self, what: String, hint: &str) -> Error {
        let node = self.goal.node.display();
        Error::new(Kind::Image, what).device(node).hint(hint)
    }

    fn packed(&self) -> Option<&PackedFacts> {
        self.facts.packed.as_ref()
    }

    fn is_disk(&self) -> bool {
        self.packed().is_some_and(|packed| packed.whole_disk)
            || matches!(self.facts.content, Some(ImageContent::Disk { .. }))
    }

    fn is_filesystem(&self) -> bool {
        !self.is_disk() && matches!(self.facts.content, Some(ImageContent::Filesystem { .. }))
    }

    fn size(&self) -> Option<Error> {
        let needed = self.facts.least_size()?;
        let (url, node, size) = (&self.url, self.goal.node.display(), self.goal.size);
        (needed > size).then(|| {
            self.refuse(
                format!("{url} does not fit on {node}, which holds {size}; it needs {needed}"),
                "choose a larger disk, or a smaller image",
            )
        })
    }

    fn cut_off(&self) -> Option<Error> {
        let (size, says) = self.facts.cut_off()?;
        let url = &self.url;
        let what =
            format!("{url} has {size}, but its filesystem says that it has {says}: it is cut off");
        Some(self.refuse(
            what,
            "make the image again, with all of its filesystem in it",
        ))
    }

    /// A partition table counts in sectors: on a disk with others nothing finds its partitions. Some filesystems cannot
    /// be mounted from sectors that are larger than theirs.
    fn sectors(&self) -> Option<Error> {
        let found = self.goal.sector_size;
        if self.goal.kind == GoalKind::File {
            return None;
        }
        let packed = self.packed().filter(|packed| packed.whole_disk);
        let needed = match (&self.facts.content, packed) {
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
            _ => return None,
        };
        let (url, node) = (&self.url, self.goal.node.display());
        (needed != found).then(|| {
            self.refuse(
                format!(
                    "{url} is for disks with sectors of {needed}, and those of {node} have {found}"
                ),
                "use an image that was made for such disks",
            )
        })
    }

    fn kind(&self) -> Option<Error> {
        let (url, node) = (&self.url, self.goal.node.display());
        match self.goal.kind {
            GoalKind::Partition if self.is_disk() => Some(self.refuse(
                format!("{url} is the image of a whole disk, and {node} is a partition"),
                "name the disk, or use an image of the filesystem",
            )),
            GoalKind::Device if self.is_filesystem() && self.goal.partitions > 0 => {
                let hint = format!(
                    "name one of its partitions, or clear its table first: `wipefs --all {node}`"
                );
                Some(self.refuse(
                    format!(
                        "{url} is the image of a filesystem, and {node} has partitions ({})",
                        self.goal.partitions
                    ),
                    &hint,
                ))
            }
            _ => None,
        }
    }

    /// Whether this machine starts from it: what a manifest says is believed, what a table looks like is worth a word.
    fn machine(&self) -> (Vec<Error>, Vec<String>) {
        let (mut refused, mut warnings) = (Vec::new(), Vec::new());
        let Some(machine) = self.goal.machine.filter(|_| self.is_disk()) else {
            return (refused, warnings);
        };
        let url = &self.url;
        let firmware = match machine.firmware {
            Firmware::Bios => "bios",
            Firmware::Uefi => "uefi",
        };
        let needed = &machine.architecture;
        let known = self.packed().map_or("", |packed| &packed.architecture);
        if !known.is_empty() && !needed.is_empty() && known != needed {
            refused.push(self.refuse(
                format!("{url} runs on {known}, but this node is {needed}"),
                &format!("use an image for {needed}"),
            ));
        }
        let listed = self.packed().map_or(&[][..], |packed| &packed.firmware);
        if !listed.is_empty() && !listed.iter().any(|it| it == firmware) {
            let listed = listed.join(" and ");
            refused.push(self.refuse(
                format!("{url} boots from {listed}, but this node has {firmware}"),
                "use another image, or start the node with the other firmware",
            ));
        } else if listed.is_empty()
            && let Some(ImageContent::Disk { bios, uefi, .. }) = &self.facts.content
        {
            let (boots, lacks) = match machine.firmware {
                Firmware::Bios => (*bios, "boot code for a BIOS"),
                Firmware::Uefi => (*uefi, "EFI system partition"),
            };
            if !boots {
                warnings.push(format!(
                    "{url} has no {lacks}: this node, which has {firmware}, will not start from it"
                ));
            }
        }
        (refused, warnings)
    }

    /// What is written all the same.
    fn oddities(&self) -> Vec<String> {
        let (url, node) = (&self.url, self.goal.node.display());
        let mut odd = Vec::new();
        let is_device = self.goal.kind == GoalKind::Device;
        match &self.facts.content {
            Some(ImageContent::Disk {
                table, size_bytes, ..
            }) => {
                if table == "dos" && is_device && self.goal.sector_size > Bytes(512) {
                    odd.push(format!(
                        "{url} has an MBR, which does not say for which sectors it counts; those of {node} have {}",
                        self.goal.sector_size
                    ));
                }
                if let (Some(says), Some(size)) = (size_bytes, self.facts.raw_size_bytes)
                    && *says > size
                {
                    odd.push(format!(
                        "{url} has {size}, but its partition table is that of a disk of {says}: its end is missing"
                    ));
                }
            }
            Some(ImageContent::Filesystem { filesystem, .. })
                if filesystem == "iso9660" && is_device =>
            {
                odd.push(format!(
                    "{url} is the image of a CD without a partition table: no firmware starts it from {node}"
                ));
            }
            _ => {}
        }
        odd
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    fn goal(kind: GoalKind, sector: u64) -> Goal<'static> {
        Goal {
            node: Path::new("/dev/sda"),
            kind,
            size: Bytes(16 << 20),
            sector_size: Bytes(sector),
            partitions: 0,
            machine: None,
        }
    }

    fn told(facts: &SourceFacts, goal: &Goal<'_>) -> String {
        match check("http://s/x.img", facts, goal) {
            Ok(warnings) => warnings.join("; "),
            Err(error) => {
                assert_eq!(error.kind, Kind::Image);
                assert!(error.hint.is_some());
                error.what
            }
        }
    }

    #[test]
    fn an_image_fits_in_size_sectors_and_kind_or_is_refused() {
        use GoalKind::{Device, File, Partition};
        for (facts, goal, said) in [
            (disk("gpt", 512), goal(Device, 512), ""),
            (
                disk("gpt", 512),
                goal(Device, 4096),
                "is for disks with sectors of 512 B, and those",
            ),
            (
                disk("gpt", 4096),
                goal(Device, 512),
                "is for disks with sectors of 4 KiB, and those",
            ),
            (disk("gpt", 4096), goal(File, 512), ""),
            (disk("dos", 512), goal(Device, 4096), "has an MBR"),
            (
                disk("gpt", 512),
                goal(Partition, 512),
                "whole disk, and /dev/sda is a partition",
            ),
            (filesystem("ext4", 4096, 8 << 20), goal(Partition, 4096), ""),
            (filesystem("ext4", 4096, 8 << 20), goal(Device, 512), ""),
            (
                filesystem("xfs", 512, 8 << 20),
                goal(Partition, 4096),
                "is for disks with sectors of 512 B",
            ),
            (
                filesystem("ext4", 4096, 9 << 20),
                goal(Partition, 512),
                "it is cut off",
            ),
            (
                filesystem("iso9660", 4096, 8 << 20),
                goal(Device, 512),
                "no firmware starts it",
            ),
        ] {
            let text = told(&facts, &goal);
            let right = if said.is_empty() {
                text.is_empty()
            } else {
                text.contains(said)
            };
            assert!(right, "{facts:?} {goal:?}: {text}");
        }
    }

    #[test]
    fn an_image_whose_length_nobody_says_is_as_long_as_it_says_itself() {
        let mut facts = filesystem("ext4", 4096, 17 << 20);
        facts.raw_size_bytes = None;
        let text = told(&facts, &goal(GoalKind::Partition, 512));
        assert!(text.contains("does not fit on /dev/sda"), "{text}");
    }

    #[test]
    fn a_filesystem_does_not_take_the_place_of_a_table_with_partitions() {
        let partitioned = Goal {
            partitions: 3,
            ..goal(GoalKind::Device, 512)
        };
        let text = told(&filesystem("ext4", 4096, 8 << 20), &partitioned);
        assert!(text.contains("has partitions (3)"), "{text}");
        assert_eq!(told(&disk("gpt", 512), &partitioned), "");
    }

    #[test]
    fn a_manifest_tells_what_an_image_runs_on_and_a_table_what_may_start_it() {
        let machine = Machine {
            firmware: Firmware::Uefi,
            architecture: "x86_64".to_owned(),
        };
        let with = |packed: Option<PackedFacts>| {
            let goal = Goal {
                machine: Some(&machine),
                ..goal(GoalKind::Device, 512)
            };
            let facts = SourceFacts {
                packed,
                ..disk("gpt", 512)
            };
            told(&facts, &goal)
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

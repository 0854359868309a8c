//! The GUID partition table of a planned disk.

use host::partition_table::gpt::{Gpt, GptError, GptPartition, LEGACY_BOOT};
use host::units::Bytes;

use crate::model::partition_type::{DATA, PartitionType};
use crate::model::plan::{PlannedDisk, PlannedPartition};

/// Why a table cannot be made, or is not what it should be.
#[derive(Debug, thiserror::Error)]
pub(super) enum TableError {
    /// A type that is not a GUID.
    #[error("the type of partition {number} is `{given}`, which is not a valid GUID")]
    Type {
        /// Number of the partition.
        number: u32,
        /// The text in place of a type GUID.
        given: String,
    },
    /// The table cannot be made, written or compared.
    #[error(transparent)]
    Gpt(#[from] GptError),
}

/// The table of `disk`, which really is `size` long and has sectors of `sector`.
pub(super) fn of(disk: &PlannedDisk, size: Bytes, sector: Bytes) -> Result<Gpt, TableError> {
    let partitions: Result<Vec<GptPartition>, TableError> =
        disk.partitions.iter().map(partition).collect();
    Ok(Gpt::new(disk.guid, &partitions?, size, sector)?)
}

fn partition(planned: &PlannedPartition) -> Result<GptPartition, TableError> {
    let type_guid = match &planned.partition_type {
        None => DATA,
        Some(PartitionType::Gpt { guid, .. }) => *guid,
        Some(PartitionType::Other(given)) => {
            return Err(TableError::Type {
                number: planned.number,
                given: given.clone(),
            });
        }
    };
    Ok(GptPartition {
        number: planned.number,
        extent: planned.extent,
        type_guid,
        guid: planned.guid,
        attributes: if planned.legacy_boot { LEGACY_BOOT } else { 0 },
        name: planned.name.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::partition_type::BIOS_GRUB;
    use crate::testing::sample_plan;

    #[test]
    fn type_attribute_and_name_are_those_of_the_plan() {
        let mut planned = sample_plan::plan().disks.remove(0).partitions.remove(0);
        planned.name = "böot".to_owned();
        let made = partition(&planned).unwrap();
        assert_eq!((made.type_guid, made.attributes), (DATA, 0));
        planned.legacy_boot = true;
        planned.partition_type = Some("21686148-6449-6e6f-744e-656564454649".into());
        let made = partition(&planned).unwrap();
        assert_eq!((made.type_guid, made.attributes), (BIOS_GRUB, LEGACY_BOOT));
        assert_eq!((made.number, made.name.as_str()), (planned.number, "böot"));
    }

    #[test]
    fn a_type_that_is_not_a_guid_is_refused() {
        let mut disk = sample_plan::plan().disks.remove(0);
        disk.partitions[0].partition_type = Some("linux".into());
        let error = of(&disk, disk.size, disk.sector_size).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("`linux`, which is not a valid GUID")
        );
    }
}

//! The cloud-init data onto its partition: a filesystem made in process, flushed, read back and compared.

mod ready;

use std::io;
use std::path::Path;

use configdrive::LABEL_NOCLOUD;
use configdrive::fat::{self, Format, Purpose};
use host::blockdev::{Access, BlockDevice};
use host::units::{Bytes, Extent};

use super::context::Context;
use super::disk_region::DiskRegion;
use super::outcome::Outcome;
use crate::cloud;
use crate::model::error::{Error, Kind};
use crate::model::request::READY_CONFIGDRIVE;
use crate::model::storage::BlockRef;

pub(super) fn write(context: &mut Context<'_>, on: BlockRef) -> Result<Outcome, Error> {
    let node = context.node(on)?;
    if context.plan.node.is_none() {
        return ready::write(context, &node, Path::new(READY_CONFIGDRIVE));
    }
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| {
        let what = format!("cannot write the cloud-init data to {}", node.display());
        Error::new(Kind::Disk, what)
            .device(node.display())
            .because(source)
    };
    let internal = |source| {
        let what = "cannot put together the cloud-init data";
        Error::new(Kind::Internal, what).because(source)
    };
    let seed = cloud::seed(context.plan).map_err(internal)?;
    let files = configdrive::files(&seed).map_err(internal)?;
    let volume_id = context.plan.instance_id.as_fields().0;
    let opened = context.host.devices.open(&node, Access::Write);
    let mut device = opened.map_err(|e| failed(e.into()))?;
    make(device.as_mut(), volume_id, &files).map_err(|source| {
        // a partition that is too small is the request's affair, not the disk's
        let small = matches!(source, fat::FatError::NoFormat { .. });
        let mut error = failed(source.into());
        if small {
            error.kind = Kind::Request;
            error = error.hint("give the cloud-init partition 20 MiB");
        }
        error
    })?;
    Ok(Outcome::Changed)
}

fn make(
    device: &mut dyn BlockDevice,
    volume_id: u32,
    files: &[configdrive::File],
) -> Result<(), fat::FatError> {
    let size = device.size();
    let format = Format {
        size: size.0,
        sector_size: u32::try_from(device.sector_size().0).unwrap_or(u32::MAX),
        label: LABEL_NOCLOUD,
        volume_id,
        purpose: Purpose::Data,
    };
    let extent = Extent {
        start: Bytes::ZERO,
        length: size,
    };
    // the first sector last: a filesystem that is half there is not found by its label
    let mut region = DiskRegion::holding_back(device, extent);
    fat::write(&mut region, &format, files)?;
    region.flush_disk().map_err(volume("cannot flush"))?;
    fat::check(&mut region, files)?;
    region.release().map_err(volume("cannot finish"))
}

fn volume(doing: &str) -> impl FnOnce(io::Error) -> fat::FatError {
    let doing = doing.to_owned();
    move |source| fat::FatError::Volume {
        doing,
        source: source.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::sample_plan;
    use host::blockdev::Devices;
    use host::fake::{FakeDevices, Fault, What};

    fn disks(sector: u64) -> FakeDevices {
        FakeDevices::new().with_sectors("/dev/sda", Bytes(20 << 20), Bytes(sector))
    }

    fn run(disks: &FakeDevices) -> Result<(), fat::FatError> {
        let files = configdrive::files(&cloud::seed(&sample_plan::plan()).unwrap()).unwrap();
        let mut device = disks.open("/dev/sda".as_ref(), Access::Write).unwrap();
        make(device.as_mut(), 0x8f0f_6a3a, &files)
    }

    #[test]
    fn it_is_a_filesystem_with_all_files_on_both_sector_sizes() {
        for sector in [512, 4096] {
            let disks = disks(sector);
            run(&disks).unwrap();
            let mut device = disks.open("/dev/sda".as_ref(), Access::Read).unwrap();
            let extent = Extent {
                start: Bytes::ZERO,
                length: device.size(),
            };
            let found = fat::read(DiskRegion::new(device.as_mut(), extent)).unwrap();
            let names: Vec<&str> = found.iter().map(|file| file.path.as_str()).collect();
            assert!(names.contains(&"user-data") && names.contains(&"openstack/latest/user_data"));
        }
    }

    #[test]
    fn whatever_fails_is_told_and_leaves_no_label() {
        let clean = disks(512);
        run(&clean).unwrap();
        let log = clean.log();
        let writes = log
            .iter()
            .filter(|done| matches!(done.what, What::Write(_) | What::Zero(_)));
        let writes = writes.count();
        let flushes = log
            .iter()
            .filter(|done| matches!(done.what, What::Flush))
            .count();
        assert!(writes > 20 && flushes == 2, "{writes} {flushes}");
        let faults = (0..writes)
            .map(Fault::Write)
            .chain((0..flushes).map(Fault::Flush));
        for fault in faults {
            let disks = disks(512).failing(fault);
            assert!(run(&disks).is_err(), "{fault:?}");
            // the very last flush comes after the last write: that one may be there, or not
            if fault != Fault::Flush(flushes - 1) {
                let head = Extent {
                    start: Bytes::ZERO,
                    length: Bytes(512),
                };
                let sector = disks.content("/dev/sda", head).unwrap();
                assert!(sector.iter().all(|byte| *byte == 0), "{fault:?}");
            }
        }
    }
}

//! Where on a device blkid and the kernel look for signatures of filesystems, members of arrays and the like.

use host::units::{Bytes, Extent};

/// How much of each end of a device may hold a signature: md 1.0 and GPT are at the end, LVM, md and filesystems at
/// the start, ZFS labels in 512 KiB of both.
pub const END: Bytes = Bytes::MIB;

/// Where else, from the start: second headers of LUKS 2 at 1, 2 and 4 MiB, superblocks of VMFS at 1 and 2 MiB.
const DEEPER: [Bytes; 3] = [Bytes::MIB, Bytes(2 << 20), Bytes(4 << 20)];

/// How much is at each of these places: a sector of any size.
const SPOT: Bytes = Bytes(4096);

/// The first and the last [`END`] of a device, which overlap where it is small.
pub fn ends(device: Extent) -> Vec<Extent> {
    let length = END.min(device.length);
    let first = Extent {
        start: device.start,
        length,
    };
    let last = Extent {
        start: device.end().saturating_sub(length),
        length,
    };
    let ends = [first, last].into_iter();
    ends.filter(|end| end.length > Bytes::ZERO).collect()
}

/// All places of a device, some of which may overlap.
pub fn all(device: Extent) -> Vec<Extent> {
    let spots = DEEPER.iter().filter_map(|at| {
        let length = device.length.checked_sub(*at)?.min(SPOT);
        let start = device.start.saturating_add(*at);
        (length > Bytes::ZERO).then_some(Extent { start, length })
    });
    ends(device).into_iter().chain(spots).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_place_is_beyond_its_device(start in 0_u64..1 << 40, length in 0_u64..16 << 20) {
            let device = Extent { start: Bytes(start), length: Bytes(length) };
            for place in all(device) {
                prop_assert!(place.start >= device.start && place.end() <= device.end());
                prop_assert!(place.length > Bytes::ZERO);
            }
        }
    }

    #[test]
    fn second_headers_behind_the_first_mib_are_places() {
        let device = Extent {
            start: Bytes(1 << 30),
            length: Bytes(100 << 20),
        };
        let is_covered = |at: u64| {
            let at = Bytes((1 << 30) + at);
            all(device).iter().any(|it| it.start <= at && at < it.end())
        };
        for at in [
            0,
            0x4000,
            0x8_0000,
            0x10_0000,
            0x20_0000,
            0x40_0000,
            (100 << 20) - 512,
        ] {
            assert!(is_covered(at), "{at:#x}");
        }
        assert!(!is_covered(3 << 20) && !is_covered(50 << 20));
    }
}

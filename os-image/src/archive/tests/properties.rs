//! Properties of all archives.

use proptest::prelude::*;

use super::*;

/// Files with their data, by name.
fn files() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    let name = "[a-z]{1,8}(/[a-z]{1,8}){0,3}";
    prop::collection::vec((name, prop::collection::vec(any::<u8>(), 0..2000)), 1..6)
}

fn archive(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let each = files.iter();
    let made = each.fold(Made::default(), |made, (name, data)| made.file(name, data));
    made.ended()
}

proptest! {
    #[test]
    fn files_come_out_as_they_went_in(files in files(), buffer in 1..3000_usize) {
        let bytes = archive(&files);
        let all = read_from(BufReader::with_capacity(buffer, &bytes[..])).unwrap();
        let found: Vec<(String, Vec<u8>)> = all
            .into_iter()
            .map(|(entry, runs)| {
                let data = runs.into_iter().flat_map(|(_, bytes)| bytes);
                (entry.name.to_string(), data.collect())
            })
            .collect();
        prop_assert_eq!(found, files);
    }

    #[test]
    fn a_header_that_was_changed_anywhere_is_noticed(files in files(), at in 0..512_usize, by in 1..=255_u8) {
        prop_assume!(!(148..156).contains(&at));
        let mut bytes = archive(&files);
        bytes[at] = bytes[at].wrapping_add(by);
        prop_assert!(read(&bytes).is_err());
    }

    #[test]
    fn reading_any_bytes_ends(
        files in files(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..9),
    ) {
        let mut bytes = archive(&files);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        // checksums are corrected, so that the fields are examined
        for start in (0..bytes.len()).step_by(BLOCK) {
            if let Ok(block) = <[u8; BLOCK]>::try_from(&bytes[start..start + BLOCK])
                && block.get(257..262) == Some(b"ustar")
            {
                bytes[start..start + BLOCK].copy_from_slice(&summed(block));
            }
        }
        let _ = read(&bytes);
    }

    #[test]
    fn records_come_out_as_they_went_in(value in prop::collection::vec(1..=255_u8, 1..300)) {
        let made = Made::default().extended(&[("SCHILY.xattr.user.any", &value)]).file("a", b"");
        let all = read(&made.ended()).unwrap();
        prop_assert_eq!(&all[0].0.attributes[0].value, &value);
    }
}

//! Filesystems that an earlier owner of the disk has made to do harm.

use std::io::Cursor;

use super::*;

/// A filesystem with these files, each with a few bytes in it.
fn image_of(paths: &[String]) -> Vec<u8> {
    let format = Format {
        size: 2 << 20,
        sector_size: 512,
        label: "EFI",
        volume_id: 1,
        purpose: Purpose::Data,
    };
    let files: Vec<File> = paths
        .iter()
        .map(|path| File::new(path.as_str(), "x"))
        .collect();
    image(&format, &files).unwrap()
}

/// Changes every folder entry of this name, 11 characters as they are on the disk.
fn edit(image: &mut [u8], name: &[u8; 11], mut change: impl FnMut(&mut [u8; 32])) {
    let (entries, _) = image.as_chunks_mut::<32>();
    let found: Vec<_> = entries
        .iter_mut()
        .filter(|entry| entry.starts_with(name))
        .collect();
    assert!(!found.is_empty(), "no such entry");
    found.into_iter().for_each(&mut change);
}

/// All that is done with such a filesystem; each has to refuse it.
fn all_refuse(image: &[u8], why: &str) {
    let volume = || Cursor::new(image.to_vec());
    let file = File::new("EFI/BOOT/BOOTX64.EFI", "boot");
    let results = [
        read(volume()).map(drop),
        set_aside(volume(), ".off", |_| true).map(drop),
        update(volume(), &[file]),
    ];
    for result in results {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn a_folder_without_a_place_is_refused() {
    let mut image = image_of(&["EFI/BOOT/BOOTX64.EFI".to_owned()]);
    edit(&mut image, b"EFI        ", |entry| entry[26..28].fill(0));
    all_refuse(&image, "is a folder without a place");
}

#[test]
fn a_tree_of_shared_folders_is_not_walked_for_ever() {
    // in each of 12 folders, `B` and `C` are the folder `A` once more: half a million paths in 100 KiB
    let levels = 12;
    let deepest = "A/".repeat(levels);
    let mut paths = vec![format!("{deepest}F")];
    for level in 0..levels {
        let folder = "A/".repeat(level);
        paths.extend(["B", "C"].map(|name| format!("{folder}{name}/F")));
    }
    let mut image = image_of(&paths);
    let mut place = [0; 2];
    let (entries, _) = image.as_chunks_mut::<32>();
    for entry in entries.iter_mut().filter(|entry| entry[11] == 0x10) {
        match &entry[..11] {
            b"A          " => place.copy_from_slice(&entry[26..28]),
            b"B          " | b"C          " => entry[26..28].copy_from_slice(&place),
            _ => {}
        }
    }
    let error = read(Cursor::new(image)).unwrap_err().to_string();
    assert!(error.contains("is one entry too many"), "{error}");
}

#[test]
fn a_file_is_not_longer_than_its_filesystem() {
    let mut image = image_of(&["EFI/FILE.BIN".to_owned()]);
    edit(&mut image, b"FILE    BIN", |entry| entry[28..].fill(0xff));
    let error = read(Cursor::new(image)).unwrap_err().to_string();
    assert!(error.contains("is longer than the room for it"), "{error}");
}

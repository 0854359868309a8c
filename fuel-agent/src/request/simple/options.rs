//! `fs_options`: words for the maker of a filesystem. Among them may be another device, in whose place ours is written,
//! or
//! that is written to beside ours; only options and their values get through.

use crate::model::filesystem::FilesystemType;

/// Values that name something beside the filesystem's own device.
const ELSEWHERE: [&str; 5] = ["device", "logdev", "rtdev", "file", "name"];

/// The first word that is neither an option nor the value of one, or that leads to another device or file.
pub(super) fn stray<'a>(kind: &FilesystemType, options: &'a str) -> Option<&'a str> {
    let with_value = kind.capabilities().map(|known| known.maker.with_value);
    // Of other types the request is refused anyway.
    let takes_value = |option: &str| {
        let mut letters = option.chars().skip(1);
        let letter = letters.next().filter(|_| letters.next().is_none());
        with_value.is_none_or(|known| letter.is_some_and(|it| known.contains(it)))
    };
    let mut waits = false;
    options.split_whitespace().find(|word| {
        let is_value = std::mem::take(&mut waits);
        let is_option = word.len() > 1 && word.starts_with('-') && *word != "--";
        waits = !is_value && is_option && takes_value(word);
        leads_elsewhere(word) || !(is_value || is_option)
    })
}

fn leads_elsewhere(word: &str) -> bool {
    // the end of it: `-qJdevice=` is two options and a value in one word
    let mut keys = word
        .split(',')
        .filter_map(|part| part.split_once('=').map(|(key, _)| key));
    word.contains('/') || keys.any(|key| ELSEWHERE.iter().any(|name| key.ends_with(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_and_their_values_get_through() {
        for (kind, options) in [
            ("ext4", ""),
            ("ext4", "-O ^metadata_csum"),
            (
                "ext4",
                "-q -m 0 -E lazy_itable_init=0,stride=16 -J size=128 -b4096",
            ),
            ("xfs", "-K -i size=512 -n ftype=1 -l size=64m,su=4096"),
            ("swap", "-p 4096"),
        ] {
            assert_eq!(stray(&kind.into(), options), None, "{kind} {options}");
        }
    }

    #[test]
    fn whatever_leads_to_another_device_is_found() {
        for (kind, options, word) in [
            ("ext4", "/dev/sdb", "/dev/sdb"),
            ("ext4", "-q /dev/sdb", "/dev/sdb"),
            ("ext4", "-q sdb", "sdb"),
            ("ext4", "-m 0 1000", "1000"),
            ("ext4", "-J device=LABEL=journal", "device=LABEL=journal"),
            ("ext4", "-J size=64,device=UUID=1", "size=64,device=UUID=1"),
            ("ext4", "-Jdevice=LABEL=x", "-Jdevice=LABEL=x"),
            ("ext4", "-qJdevice=LABEL=x", "-qJdevice=LABEL=x"),
            ("ext4", "-O ../../dev/sdb", "../../dev/sdb"),
            ("ext4", "-z undo", "undo"),
            ("ext4", "-- sdb", "--"),
            ("ext4", "-", "-"),
            ("xfs", "-l logdev=/dev/sdb", "logdev=/dev/sdb"),
            ("xfs", "-r rtdev=sdb", "rtdev=sdb"),
            ("xfs", "-d file,name=sdb", "file,name=sdb"),
            ("swap", "-f sdb", "sdb"),
            ("btrfs", "/dev/sdb", "/dev/sdb"),
        ] {
            assert_eq!(stray(&kind.into(), options), Some(word), "{kind} {options}");
        }
    }
}

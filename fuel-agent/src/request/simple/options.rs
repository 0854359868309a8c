//! `fs_options`: words for mkfs. Only options that are known to concern the new filesystem alone get through, and their
//! values: others lead to another device, or bring files of the ramdisk onto the disk.

use crate::model::filesystem::FilesystemType;
use crate::model::mkfs_options::{MkfsOption, Value};

/// The first word that is neither an option that may be given nor the value of one.
pub(super) fn stray<'a>(kind: &FilesystemType, options: &'a str) -> Option<&'a str> {
    let mut words = options.split_whitespace();
    let Some(known) = kind.capabilities().map(|it| it.maker.options) else {
        // A type that is not made here: no program gets them.
        return words.find(|word| word.contains('/'));
    };
    while let Some(word) = words.next() {
        let Some((option, glued)) = option(known, word) else {
            return Some(word);
        };
        match (option.value, glued) {
            (Value::None, "") => {}
            (Value::None, _) => return Some(word),
            (value, "") => match words.next() {
                Some(next) if value.takes(next) => {}
                Some(next) => return Some(next),
                None => return Some(word),
            },
            (value, glued) if value.takes(glued) => {}
            _ => return Some(word),
        }
    }
    None
}

/// The option that `word` begins with, and what stands behind its letter.
fn option<'a, 'b>(known: &'a [MkfsOption], word: &'b str) -> Option<(&'a MkfsOption, &'b str)> {
    let mut rest = word.strip_prefix('-')?.chars();
    let letter = rest.next()?;
    let option = known.iter().find(|option| option.letter == letter)?;
    Some((option, rest.as_str()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use host::cancel::Cancel;
    use host::exec::{Cmd, Exec, Program, System};
    use proptest::prelude::*;

    use super::*;

    const DEBUGFS: Program = Program::new("debugfs", "e2fsprogs");

    #[test]
    fn options_and_their_values_get_through() {
        for (kind, options) in [
            ("ext4", ""),
            ("ext4", "-O ^metadata_csum"),
            (
                "ext4",
                "-O ^metadata_csum,64bit -T largefile4 -e remount-ro",
            ),
            (
                "ext4",
                "-q -m 0 -E lazy_itable_init=0,stride=16,nodiscard -J size=128 -b4096",
            ),
            ("ext4", "-m 0.5 -i 16384 -N 100000 -E root_owner=0:0"),
            ("xfs", "-K -i size=512 -n ftype=1 -l size=64m,su=4096"),
            ("xfs", "-m reflink=1,crc=1 -d su=64k,sw=4"),
            ("swap", "-p 4096"),
            ("btrfs", "-n 16k"),
        ] {
            assert_eq!(stray(&kind.into(), options), None, "{kind} {options}");
        }
    }

    #[test]
    fn what_leads_elsewhere_or_is_not_known_is_found() {
        for (kind, options, word) in [
            ("ext4", "/dev/sdb", "/dev/sdb"),
            ("ext4", "-q /dev/sdb", "/dev/sdb"),
            ("ext4", "-q sdb", "sdb"),
            ("ext4", "-m 0 1000", "1000"),
            ("ext4", "-m", "-m"),
            ("ext4", "-J device=LABEL=journal", "device=LABEL=journal"),
            ("ext4", "-J size=64,device=UUID=1", "size=64,device=UUID=1"),
            ("ext4", "-Jdevice=LABEL=x", "-Jdevice=LABEL=x"),
            ("ext4", "-qJdevice=LABEL=x", "-qJdevice=LABEL=x"),
            ("ext4", "-O ../../dev/sdb", "../../dev/sdb"),
            ("ext4", "-E offset=1048576", "offset=1048576"),
            ("ext4", "-z undo", "-z"),
            ("ext4", "-zundo", "-zundo"),
            ("ext4", "-d etc", "-d"),
            ("ext4", "-detc", "-detc"),
            ("ext4", "-qdetc", "-qdetc"),
            ("ext4", "-qm0", "-qm0"),
            ("ext4", "-n", "-n"),
            ("ext4", "-S", "-S"),
            ("ext4", "-U random", "-U"),
            ("ext4", "-L other", "-L"),
            ("ext4", "-m \u{0661}", "\u{0661}"),
            ("ext4", "-- sdb", "--"),
            ("ext4", "-", "-"),
            ("xfs", "-l logdev=/dev/sdb", "logdev=/dev/sdb"),
            ("xfs", "-r rtdev=sdb", "-r"),
            ("xfs", "-d file,name=sdb", "file,name=sdb"),
            ("xfs", "-p proto", "-p"),
            ("xfs", "-pproto", "-pproto"),
            ("xfs", "-cfile", "-cfile"),
            ("xfs", "-m uuid=1", "uuid=1"),
            ("xfs", "-N", "-N"),
            ("swap", "-f sdb", "sdb"),
            ("swap", "-o 4096", "-o"),
            ("btrfs", "/dev/sdb", "/dev/sdb"),
        ] {
            assert_eq!(stray(&kind.into(), options), Some(word), "{kind} {options}");
        }
    }

    /// Words that mkfs may understand in some way, among them the name of a folder and of a file beside the image.
    fn word() -> impl Strategy<Value = String> {
        prop_oneof![
            "-[DFjqvfK]",
            "-[bCgGiImNp] [0-9]{1,5}[kKm]?",
            "-(O|T|e) [\\^]?(has_journal|64bit|quota|news|small|panic|folder|file)",
            "-(J|E|d|i|l|n) (size|stride|agcount|su|sw|ftype|resize)=[0-9]{1,4}[km]?",
            "-[A-Za-z]",
            "-[A-Za-z]{1,3}(folder|file|journal)?",
            "-[A-Za-z][0-9]{1,5}[kKmM]?",
            "(folder|file|journal|[0-9]{1,6}|[0-9]{1,3}[km])",
            "(size|device|offset|stride|root_owner|logdev|name)(=(folder|file|[0-9]{1,5}k?))?",
            "(file|agcount|internal|su|sw)(=(folder|file|[0-9]{1,5}k?))?",
            "[\\^]?(has_journal|metadata_csum|64bit|extent|quota|journal_dev)",
        ]
    }

    /// A name that may be one of the files beside the image, or means something to a program.
    fn name() -> impl Strategy<Value = String> {
        prop_oneof![
            "(folder|file|journal|secret|image)",
            "[a-z][a-z0-9_.-]{0,8}",
            "(has_journal|64bit|quota|extent|bigalloc|journal_dev|external|small|news|largefile4|remount-ro)",
        ]
    }

    fn number() -> impl Strategy<Value = String> {
        prop_oneof![
            "[0-9]{1,4}[kKmMsb]?",
            "(0|1|512|1024|2048|4096|8192|65536)",
            "[0-9]{1,3}\\.[0-9]{1,2}",
            "[0-9]{15,24}[a-zA-Z]?",
        ]
    }

    /// What may stand behind a key: numbers, names, owners; much of it has no sense.
    fn plain() -> impl Strategy<Value = String> {
        prop_oneof![
            number(),
            name(),
            "[0-9]{1,3}:[0-9]{1,3}",
            "-[a-z]{1,4}",
            "\\.\\."
        ]
    }

    fn list(part: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
        let parts = proptest::collection::vec(part, 1..4);
        parts.prop_map(|parts| parts.join(","))
    }

    /// Every value that an option may have gets through, so these are made by the grammar of the list itself.
    fn value(value: Value) -> BoxedStrategy<String> {
        match value {
            Value::None => Just(String::new()).boxed(),
            Value::Number => number().boxed(),
            Value::Names => list(name()).boxed(),
            Value::Features => list(("\\^?", name()).prop_map(|(off, it)| off + &it)).boxed(),
            Value::Keys(keys) => {
                let key = proptest::sample::select(keys);
                let value = proptest::option::weighted(0.8, plain());
                let part = (key, value).prop_map(|(key, value)| match value {
                    Some(value) => format!("{key}={value}"),
                    None => key.to_owned(),
                });
                list(part).boxed()
            }
        }
    }

    /// Words that get through: options of the list with values of their kind, in the same word or in the next.
    fn of_the_grammar(kind: &FilesystemType) -> impl Strategy<Value = String> + use<> {
        let known = kind.capabilities().unwrap().maker.options;
        let option = proptest::sample::select(known.iter().collect::<Vec<_>>());
        let word = (option, any::<bool>()).prop_flat_map(|(option, apart)| {
            let blank = if apart { " " } else { "" };
            let letter = option.letter;
            value(option.value).prop_map(move |value| match value.as_str() {
                "" => format!("-{letter}"),
                value => format!("-{letter}{blank}{value}"),
            })
        });
        proptest::collection::vec(word, 1..5).prop_map(|words| words.join(" "))
    }

    /// A folder with things to read and to write, all of which were last read long before they were written: the next
    /// reader of one shows by its time of access.
    fn bait(folder: &Path) {
        let hour = |n: u64| std::time::UNIX_EPOCH + std::time::Duration::from_hours(n);
        let unread = fs::FileTimes::new()
            .set_accessed(hour(1))
            .set_modified(hour(2));
        fs::create_dir(folder.join("folder")).unwrap();
        for name in ["file", "journal", "secret", "external", "folder/secret"] {
            fs::write(folder.join(name), vec![b's'; 70_000]).unwrap();
        }
        for name in [
            "file",
            "journal",
            "secret",
            "external",
            "folder/secret",
            "folder",
        ] {
            let file = fs::File::open(folder.join(name)).unwrap();
            file.set_times(unread).unwrap();
        }
    }

    /// The names of what was read, or written, since [`bait`].
    fn touched(folder: &Path) -> Vec<&'static str> {
        let is_touched = |name: &&str| {
            let found = fs::metadata(folder.join(name)).unwrap();
            let times = [found.accessed().unwrap(), found.modified().unwrap()];
            let old = std::time::UNIX_EPOCH + std::time::Duration::from_hours(2);
            times.iter().any(|time| *time > old)
        };
        let names = [
            "file",
            "journal",
            "secret",
            "external",
            "folder/secret",
            "folder",
        ];
        names.into_iter().filter(is_touched).collect()
    }

    fn names_in(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn reading_a_bait_shows() {
        let scratch = tempfile::tempdir().unwrap();
        bait(scratch.path());
        assert_eq!(touched(scratch.path()), Vec::<&str>::new());
        fs::write(scratch.path().join("journal"), "x").unwrap();
        fs::read(scratch.path().join("file")).unwrap();
        fs::read_dir(scratch.path().join("folder")).unwrap().count();
        let found = touched(scratch.path());
        assert!(found.contains(&"journal"), "{found:?}");
        if found.len() < 3 {
            host::fake::skipped("this filesystem does not keep times of access");
        }
    }

    /// Runs the real program as the agent does, in the folder.
    fn make(kind: &FilesystemType, options: &str, folder: &Path) -> bool {
        let image = folder.join("image");
        fs::File::create(&image)
            .unwrap()
            .set_len(320 << 20)
            .unwrap();
        let maker = &kind.capabilities().unwrap().maker;
        let cmd = Cmd::new(maker.tool)
            .args(maker.flags.iter().copied())
            .args(options.split_whitespace())
            .arg(&image)
            .directory(folder);
        System::new(Cancel::new()).run(&cmd).is_ok()
    }

    #[test]
    fn the_programs_take_what_the_grammar_is_for() {
        for (kind, options) in [
            (
                "ext4",
                "-b 4096 -O ^64bit,quota -E stride=16 -J size=8 -T small",
            ),
            ("xfs", "-m reflink=0 -d agcount=2 -n size=8k"),
            ("swap", "-p 4096"),
        ] {
            let scratch = tempfile::tempdir().unwrap();
            bait(scratch.path());
            assert!(
                make(&kind.into(), options, scratch.path()),
                "{kind} {options}"
            );
        }
    }

    fn beside(folder: &Path, image: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
        let mut found: Vec<_> = [folder.to_owned(), folder.join("folder")]
            .iter()
            .flat_map(|it| fs::read_dir(it).unwrap())
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file() && path != image)
            .map(|path| (path.clone(), fs::read(&path).unwrap()))
            .collect();
        found.sort();
        found
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// Options and values that the list lets through: the real program makes a filesystem or refuses, and opens no
        /// other file.
        #[test]
        fn nothing_that_the_grammar_makes_opens_another_file(
            (kind, options) in prop_oneof!["ext4", "ext2", "xfs", "swap"].prop_flat_map(|kind| {
                let kind = FilesystemType::from(kind.as_str());
                (Just(kind.clone()), of_the_grammar(&kind))
            }),
        ) {
            prop_assert_eq!(stray(&kind, &options), None, "{}", options);
            let scratch = tempfile::tempdir().unwrap();
            bait(scratch.path());
            make(&kind, &options, scratch.path());
            prop_assert_eq!(touched(scratch.path()), Vec::<&str>::new(), "{}", options);
            // five of the bait, and the image
            prop_assert_eq!(names_in(scratch.path()), 6, "{}", options);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        /// The real programs, in a folder with something to read and to write: what gets through makes a filesystem,
        /// or none; it changes nothing beside it and brings nothing into it.
        #[test]
        fn no_option_that_gets_through_reaches_another_file(
            words in proptest::collection::vec(word(), 1..4),
            is_xfs in any::<bool>(),
        ) {
            let kind = if is_xfs { FilesystemType::Xfs } else { FilesystemType::Ext4 };
            let options = words.join(" ");
            if stray(&kind, &options).is_some() {
                return Ok(());
            }
            let scratch = tempfile::tempdir().unwrap();
            let (folder, image) = (scratch.path(), scratch.path().join("image"));
            fs::create_dir(folder.join("folder")).unwrap();
            for name in ["file", "journal", "folder/secret"] {
                fs::write(folder.join(name), vec![b's'; 70_000]).unwrap();
            }
            fs::File::create(&image).unwrap().set_len(320 << 20).unwrap();
            let before = beside(folder, &image);
            let maker = &kind.capabilities().unwrap().maker;
            let cmd = Cmd::new(maker.tool)
                .args(maker.flags.iter().copied())
                .args(options.split_whitespace())
                .arg(&image)
                .directory(folder);
            // It may well refuse them.
            let _ = System::new(Cancel::new()).run(&cmd);
            prop_assert_eq!(beside(folder, &image), before);
            if !is_xfs {
                let list = Cmd::new(DEBUGFS).args(["-R", "ls -p /"]).arg(&image);
                let list = System::new(Cancel::new()).run(&list).map(|it| it.stdout);
                let list = list.unwrap_or_default();
                prop_assert!(!list.contains("secret"), "{options}");
            }
        }
    }
}

//! For all entries in any order: nothing outside of the root is touched.

use proptest::prelude::*;

use super::*;

/// One entry of a malicious archive.
#[derive(Clone, Debug)]
enum Made {
    File(String),
    Folder(String),
    Symlink(String, String),
    HardLink(String, String),
    Pipe(String),
}

fn made() -> impl Strategy<Value = Made> {
    let name = || {
        let parts = prop::sample::select(vec!["a", "b", "victim", "outside", "..", "."]);
        prop::collection::vec(parts, 1..4).prop_map(|parts| parts.join("/"))
    };
    let to = || {
        let leads = [
            "..",
            "../outside",
            "../outside/victim",
            "a",
            "b/..",
            ".",
            "OUTSIDE",
        ];
        prop::sample::select(leads.map(str::to_owned).to_vec())
    };
    prop_oneof![
        name().prop_map(Made::File),
        name().prop_map(Made::Folder),
        (name(), to()).prop_map(|(name, to)| Made::Symlink(name, to)),
        (name(), prop_oneof![name(), to()]).prop_map(|(name, to)| Made::HardLink(name, to)),
        name().prop_map(Made::Pipe),
    ]
}

proptest! {
    #[test]
    fn nothing_outside_of_the_root_is_touched(all in prop::collection::vec(made(), 1..24)) {
        let mut place = Place::new();
        let outside = place.folder.path().join("outside");
        let absolute = outside.display().to_string();
        for one in all {
            let to = |to: String| to.replace("OUTSIDE", &absolute);
            // what is refused is refused, and the next one is tried all the same
            let _ = match one {
                Made::File(name) => place.file(&name, "x"),
                Made::Folder(name) => place.folder(&name),
                Made::Symlink(name, lead) => place.symlink(&name, &to(lead)),
                Made::HardLink(name, lead) => place.hard_link(&name, &to(lead)),
                Made::Pipe(name) => {
                    place.unpacker.special(Path::new(&name), DeviceNode::Pipe, &mine(0o600))
                }
            };
        }
        prop_assert!(place.is_untouched());
        let victim = fs::metadata(outside.join("victim")).unwrap();
        prop_assert_eq!(victim.nlink(), 1);
        place.unpacker.start_over().unwrap();
        prop_assert!(place.is_untouched());
    }
}

//! The table of settings, which drives parsing, `provision run --help` and docs/commands.md: a file for each subject.

mod callbacks;
mod disks;
mod images;
mod installed;
mod network;
mod run;

use super::key::{Key, Layers};
use super::value::text;

const PLAIN: Key = Key {
    name: "",
    value: "",
    bare: None,
    many: false,
    layers: Layers::Strongest,
    closed_by: None,
    default: "",
    help: "",
    set: |_, _| Ok(()),
};

const SWITCH: Key = Key {
    value: "yes|no",
    bare: Some("yes"),
    default: "no",
    ..PLAIN
};

static GRUB: &[Key] = &[Key {
    name: "grub",
    value: "FOLDER",
    default: "/usr/lib/grub",
    help: "Folder of GRUB's platforms (`i386-pc/` and so on).",
    set: |settings, value| {
        settings.grub = text(value)?.ok_or("it is empty")?.into();
        Ok(())
    },
    ..PLAIN
}];

/// All settings, in the order of the manual.
pub fn all() -> impl Iterator<Item = &'static Key> {
    let subjects = [
        run::KEYS,
        disks::KEYS,
        images::KEYS,
        callbacks::SUCCESS,
        callbacks::FAILURE,
        installed::KEYS,
        network::KEYS,
        GRUB,
    ];
    subjects.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::*;

    #[test]
    fn names_are_unique_and_described() {
        for (index, key) in all().enumerate() {
            assert!(
                !key.help.is_empty() && !key.value.is_empty(),
                "{}",
                key.name
            );
            assert!(
                all().take(index).all(|other| other.name != key.name),
                "{}",
                key.name
            );
        }
    }

    #[test]
    fn every_default_is_a_value_that_its_key_accepts() {
        for key in all() {
            if !key.default.is_empty() && !key.default.contains(' ') {
                (key.set)(&mut Settings::default(), key.default).unwrap();
            }
        }
    }

    #[test]
    fn an_explicit_default_changes_nothing() {
        let (mut explicit, implicit) = (Settings::default(), Settings::default());
        for key in all() {
            if !key.default.is_empty() && !key.default.contains(' ') && key.default != "POST" {
                (key.set)(&mut explicit, key.default).unwrap();
            }
        }
        assert_eq!(format!("{explicit:?}"), format!("{implicit:?}"));
    }

    #[test]
    fn values_that_make_no_sense_are_refused() {
        for (name, value) in [
            ("reinstall", "maybe"),
            ("success.method", "post it"),
            ("success.header", "no colon"),
            ("success.header", ": x"),
            ("success.expect_status", "200,abc"),
            ("failure.expect_status", "99"),
            ("match", "serial"),
            ("reverify", "yes"),
            ("phone_home", "orchestrator.test"),
            ("phone_home", "ftp://orchestrator.test/"),
            ("grub", ""),
            ("trusted_key", "RWQf"),
            ("request_key", ""),
            ("trusted_key", ""),
            ("min_release", "-1"),
            ("min_release", "debian"),
            ("min_release", ":7"),
            ("min_release", "debian:x"),
            ("min_release", ""),
            ("trust", "yes"),
            ("images_dir", "images"),
            ("mirrors", "images/"),
            ("mirrors", "ftp://host/"),
            ("delta", "sometimes"),
            ("configdrive.after_first_boot", "burn"),
            ("first_boot.remote_log", "tcp"),
        ] {
            let set = Key::named(name).unwrap().set;
            assert!(
                set(&mut Settings::default(), value).is_err(),
                "{name}={value}"
            );
        }
    }
}

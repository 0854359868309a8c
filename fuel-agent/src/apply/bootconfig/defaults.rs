//! /etc/default/grub: so that a menu made by the installed system itself has the same kernel parameters.
//!
//! Debian's GRUB packages rewrite that file at an upgrade, and garble a `&` in it (their `sed` takes it for what it has
//! found). A file below /etc/default/grub.d, read later, holds the same settings wherever a value has any such
//! character.

use super::parameters::Parameters;
use crate::apply::target_tree::TargetTree;
use crate::model::error::Error;

/// Writes it, or what overrides it.
pub(super) fn write(tree: &TargetTree, parameters: &Parameters, timeout: u32) -> Result<(), Error> {
    let red_hat = tree.has_file("etc/sysconfig/grub")?;
    let path = if red_hat && !tree.has_file("etc/default/grub")? {
        "etc/sysconfig/grub"
    } else {
        "etc/default/grub"
    };
    let old = tree.read(path)?;
    let settings = settings(
        parameters,
        timeout,
        red_hat || tree.has_folder("boot/loader/entries")?,
    );
    tree.write(path, edited(old.as_deref(), &settings), 0o644)?;
    let last = "etc/default/grub.d/zz-provision.cfg";
    if !parameters.are_plain() || overridden(tree, &settings)? {
        let text = "# Read last, so that it overrides other files: the settings that the node was installed with.\n";
        let lines: Vec<String> = settings.iter().map(Setting::line).collect();
        tree.write(last, text.to_owned() + &lines.concat(), 0o644)?;
    } else {
        tree.remove(last)?;
    }
    Ok(())
}

/// A variable and what it is set to, quoted.
#[derive(Debug)]
struct Setting {
    name: &'static str,
    value: String,
}

impl Setting {
    fn line(&self) -> String {
        format!("{}={}\n", self.name, self.value)
    }
}

fn settings(parameters: &Parameters, timeout: u32, red_hat: bool) -> Vec<Setting> {
    let set = |name, value: String| Setting { name, value };
    let mut settings = vec![
        set(
            "GRUB_CMDLINE_LINUX",
            format!("\"{}\"", parameters.for_shell()),
        ),
        set("GRUB_TIMEOUT", timeout.to_string()),
        set("GRUB_RECORDFAIL_TIMEOUT", timeout.to_string()),
    ];
    if let Some(serial) = parameters.serial() {
        settings.push(set("GRUB_TERMINAL", "\"console serial\"".to_owned()));
        let command = format!("\"serial --unit={} --speed={}\"", serial.unit, serial.speed);
        settings.push(set("GRUB_SERIAL_COMMAND", command));
    }
    if red_hat {
        // the agent's GRUB has no `blscfg`; without it grub2-mkconfig writes entries that every GRUB can read
        settings.push(set("GRUB_ENABLE_BLSCFG", "false".to_owned()));
    }
    settings
}

/// The file with each setting in the place where it was, commented out or not; what was not there is appended.
fn edited(old: Option<&str>, settings: &[Setting]) -> String {
    let fresh = "# See `info -f grub -n 'Simple configuration'`.\nGRUB_DEFAULT=0\n\
                 GRUB_DISTRIBUTOR=$(. /etc/os-release; echo ${NAME:-Linux})\nGRUB_CMDLINE_LINUX_DEFAULT=\"\"\n";
    let mut lines: Vec<String> = Vec::new();
    let mut done: Vec<&str> = Vec::new();
    for line in old.unwrap_or(fresh).lines() {
        let bare = line.trim_start_matches(['#', ' ', '\t']);
        let bare = bare.strip_prefix("export ").unwrap_or(bare);
        if bare.starts_with("GRUB_HIDDEN_TIMEOUT") {
            continue;
        }
        let known = settings.iter().find(|setting| {
            bare.strip_prefix(setting.name)
                .is_some_and(|rest| rest.starts_with('='))
        });
        match known {
            Some(setting) if !done.contains(&setting.name) => {
                done.push(setting.name);
                lines.push(setting.line());
            }
            Some(_) => {}
            None => lines.push(format!("{line}\n")),
        }
    }
    let missing = settings
        .iter()
        .filter(|setting| !done.contains(&setting.name));
    lines.extend(missing.map(Setting::line));
    lines.concat()
}

/// Whether a file that is read after it sets one of these again, as cloud images have it.
fn overridden(tree: &TargetTree, settings: &[Setting]) -> Result<bool, Error> {
    let folder = "etc/default/grub.d";
    for name in tree.list(folder)? {
        if !name.ends_with("cfg") || name == "zz-provision.cfg" {
            continue;
        }
        let text = tree.read(&format!("{folder}/{name}"))?.unwrap_or_default();
        let sets = |line: &str| {
            let assigns = |setting: &Setting| {
                line.trim_start()
                    .strip_prefix(setting.name)
                    .is_some_and(|rest| rest.starts_with('=') || rest.starts_with("+="))
            };
            settings.iter().any(assigns)
        };
        if text.lines().any(sets) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters() -> Parameters {
        Parameters::parse(r#" console=ttyS0,115200 note="a b" price=$5"#)
    }

    #[test]
    fn what_is_there_is_replaced_in_its_place() {
        let old = "# If you change this file\nGRUB_DEFAULT=0\nGRUB_TIMEOUT=5\nGRUB_HIDDEN_TIMEOUT=0\n\
                   GRUB_HIDDEN_TIMEOUT_QUIET=true\nGRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\nGRUB_CMDLINE_LINUX=\"\"\n\
                   #GRUB_TERMINAL=console\nGRUB_CMDLINE_LINUX=\"twice\"\n";
        insta::assert_snapshot!(edited(Some(old), &settings(&parameters(), 10, false)), @r#"
        # If you change this file
        GRUB_DEFAULT=0
        GRUB_TIMEOUT=10
        GRUB_CMDLINE_LINUX_DEFAULT="quiet"
        GRUB_CMDLINE_LINUX="console=ttyS0,115200 'note=a b' 'price=\$5'"
        GRUB_TERMINAL="console serial"
        GRUB_RECORDFAIL_TIMEOUT=10
        GRUB_SERIAL_COMMAND="serial --unit=0 --speed=115200"
        "#);
    }

    #[test]
    fn a_missing_file_is_made() {
        let parameters = Parameters::parse("quiet");
        insta::assert_snapshot!(edited(None, &settings(&parameters, 10, true)), @r#"
        # See `info -f grub -n 'Simple configuration'`.
        GRUB_DEFAULT=0
        GRUB_DISTRIBUTOR=$(. /etc/os-release; echo ${NAME:-Linux})
        GRUB_CMDLINE_LINUX_DEFAULT=""
        GRUB_CMDLINE_LINUX="quiet"
        GRUB_TIMEOUT=10
        GRUB_RECORDFAIL_TIMEOUT=10
        GRUB_ENABLE_BLSCFG=false
        "#);
    }

    #[test]
    fn editing_twice_changes_nothing() {
        let settings = settings(&parameters(), 10, true);
        let once = edited(None, &settings);
        assert_eq!(edited(Some(&once), &settings), once);
    }

    #[test]
    fn what_would_override_it_is_overridden() {
        let folder = tempfile::tempdir().unwrap();
        let tree = TargetTree::at(folder.path());
        let parameters = Parameters::parse("console=ttyS0 quiet");
        write(&tree, &parameters, 10).unwrap();
        let path = "etc/default/grub.d/zz-provision.cfg";
        assert!(!tree.has_file(path).unwrap());
        let cloud = "etc/default/grub.d/50-cloudimg-settings.cfg";
        tree.write(cloud, "GRUB_CMDLINE_LINUX_DEFAULT=\"x\"\n", 0o644)
            .unwrap();
        write(&tree, &parameters, 10).unwrap();
        assert!(!tree.has_file(path).unwrap(), "another variable");
        tree.write(cloud, "GRUB_TIMEOUT=0\n", 0o644).unwrap();
        write(&tree, &parameters, 10).unwrap();
        let text = tree.read(path).unwrap().unwrap();
        assert!(
            text.contains("GRUB_TIMEOUT=10\n") && text.contains("GRUB_CMDLINE_LINUX="),
            "{text}"
        );
    }

    #[test]
    fn what_an_upgrade_of_grub_would_garble_stands_in_a_file_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let tree = TargetTree::at(folder.path());
        write(&tree, &Parameters::parse("x=a&b"), 10).unwrap();
        let path = "etc/default/grub.d/zz-provision.cfg";
        let text = tree.read(path).unwrap().unwrap();
        assert!(text.contains("GRUB_CMDLINE_LINUX=\"'x=a&b'\"\n"), "{text}");
        write(&tree, &Parameters::parse("x=a"), 10).unwrap();
        assert!(!tree.has_file(path).unwrap());
    }
}

//! Where the packages of an image come from, and where the installed system will get its own.

use std::path::Path;

use anyhow::Result;
use apt_sources::apt::Apt;
use apt_sources::{AptConfig, Mirror, Proxies, Wanted};
use host::exec::Exec;
use tracing::{info, warn};

use crate::cli::Build;
use crate::debian;

/// The archives that packages are taken from.
#[derive(Debug)]
pub(crate) struct Sources {
    /// Those given by the user; without any, the machine's.
    mirrors: Vec<Mirror>,
    /// Whether the machine's security suite is used beside them.
    machine_security: bool,
    allow_unsigned: bool,
    /// The lines of the image's sources.list.
    pub(crate) lines: Vec<String>,
}

impl Sources {
    /// Chooses the archives. With `--mirror`, its suites with updates and security fixes are looked for: apt tries to
    /// fetch their lists, with a state of its own below `state`.
    pub(crate) fn choose(
        options: &Build,
        exec: &mut dyn Exec,
        state: &Path,
        proxies: &Proxies,
    ) -> Result<Self> {
        let mut sources = Self {
            mirrors: Vec::new(),
            machine_security: false,
            allow_unsigned: options.allow_unsigned_archive,
            lines: Vec::new(),
        };
        let entries = AptConfig::read(exec)?.entries()?;
        if let Some(mirror) = &options.mirror {
            let (release, own) = (debian::RELEASE, |suite: String| Mirror {
                uri: mirror.clone(),
                suites: vec![suite],
            });
            sources.mirrors.push(own(release.to_owned()));
            let mut answers = |mirror: &Mirror| {
                Apt::answers(exec, &state.join("look"), mirror, sources.wanted(), proxies)
            };
            let updates = own(format!("{release}-updates"));
            let updates = answers(&updates)?.then_some(updates);
            let beside = Mirror::security(
                &format!("{}-security", mirror.trim_end_matches('/')),
                release,
            );
            let security = match &options.security_mirror {
                Some(given) => Some(Mirror::security(given, release)),
                None => answers(&beside)?.then_some(beside),
            };
            if updates.is_none() {
                info!("{mirror} has no suite `{release}-updates`: it is not used");
            }
            sources.machine_security = security.is_none();
            sources.mirrors.extend(updates.into_iter().chain(security));
        }
        sources.lines = apt_sources::lines(&entries, sources.wanted())?;
        Ok(sources)
    }

    /// The packages that are wanted of these archives.
    pub(crate) fn wanted(&self) -> Wanted<'_> {
        Wanted {
            suite: debian::RELEASE,
            architecture: debian::ARCHITECTURE,
            mirrors: &self.mirrors,
            machine_security: self.machine_security,
            firmware: false,
            allow_unsigned: self.allow_unsigned,
        }
    }
}

/// Whether one of the lines of a sources.list has security fixes.
pub(crate) fn have_security(lines: &[String]) -> bool {
    lines
        .iter()
        .any(|line| apt_sources::is_security_line(line, debian::RELEASE))
}

/// Says that an image has no security fixes, where it has none.
pub(crate) fn warn_of_security(lines: &[String]) {
    if !have_security(lines) {
        warn!(
            "no archive with `{}-security` is known: the image has no security fixes, and its sources.list gets none; \
             give one with `--security-mirror URL`",
            debian::RELEASE
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::tests::options;
    use host::fake::Script;
    use std::fs;

    const MAIN: &str = "deb [signed-by=/k] http://m.test/debian bookworm main\n";
    const SECURITY: &str = "deb http://m.test/debian-security bookworm-security main\n";

    fn choose(options: &Build, list: &str, script: Script) -> Result<(Vec<String>, String)> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sources.list");
        fs::write(&file, list).unwrap();
        let mut script = script.answering("apt-config", &format!("LIST='{}'\n", file.display()));
        let state = folder.path().join("apt");
        let sources = Sources::choose(options, &mut script, &state, &Proxies::default())?;
        Ok((sources.lines, script.transcript()))
    }

    fn with_mirror() -> Build {
        Build {
            mirror: Some("http://own.test/debian/".to_owned()),
            ..options(Path::new("/nowhere"))
        }
    }

    #[test]
    fn without_a_mirror_the_machines_archives_are_used() {
        let options = options(Path::new("/nowhere"));
        let list = format!("{MAIN}{SECURITY}");
        let (lines, transcript) = choose(&options, &list, Script::new()).unwrap();
        assert_eq!(
            lines,
            [
                "deb http://m.test/debian bookworm main",
                "deb http://m.test/debian-security bookworm-security main"
            ]
        );
        assert!(have_security(&lines));
        assert!(!transcript.contains("apt-get"), "{transcript}");
        let (lines, _) = choose(&options, MAIN, Script::new()).unwrap();
        assert!(!have_security(&lines));
    }

    #[test]
    fn a_mirror_brings_its_updates_and_the_security_suite_beside_it() {
        let (lines, _) = choose(&with_mirror(), SECURITY, Script::new()).unwrap();
        assert_eq!(
            lines,
            [
                "deb http://own.test/debian/ bookworm main",
                "deb http://own.test/debian/ bookworm-updates main",
                "deb http://own.test/debian-security bookworm-security main"
            ]
        );
    }

    #[test]
    fn a_mirror_without_them_is_completed_from_the_machines_security_suite_or_by_hand() {
        let lacking = || Script::new().exiting("apt-get", 100, "E: 404 Not Found");
        let (lines, _) = choose(&with_mirror(), &format!("{MAIN}{SECURITY}"), lacking()).unwrap();
        assert_eq!(
            lines,
            [
                "deb http://own.test/debian/ bookworm main",
                "deb http://m.test/debian-security bookworm-security main"
            ]
        );
        let (lines, _) = choose(&with_mirror(), MAIN, lacking()).unwrap();
        assert_eq!(lines, ["deb http://own.test/debian/ bookworm main"]);
        let by_hand = Build {
            security_mirror: Some("http://fixes.test/d".to_owned()),
            ..with_mirror()
        };
        let (lines, _) = choose(&by_hand, MAIN, lacking()).unwrap();
        assert!(have_security(&lines), "{lines:?}");
        assert!(lines[1].contains("http://fixes.test/d bookworm-security"));
    }

    #[test]
    fn archives_that_cannot_be_used_are_refused_with_a_hint() {
        let options = options(Path::new("/nowhere"));
        for (list, hint) in [
            ("deb http://m.test/ubuntu noble main", "--mirror URL"),
            (
                "deb [trusted=yes] http://m.test/debian bookworm main",
                "--allow-unsigned-archive",
            ),
        ] {
            let error = choose(&options, list, Script::new()).unwrap_err();
            let said = crate::error::hint(&error).unwrap();
            assert!(said.contains(hint), "{error:#}: {said}");
        }
    }
}

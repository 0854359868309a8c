//! Where this machine gets Debian packages from: asked of apt itself, so that every form its configuration may have
//! (one line, deb822, mirrors, proxies) is understood, and no mirror is ever written into our code.

use crate::exec::{Cmd, Exec, ExecError, Program};

/// Asks apt for its sources.
const APT_GET: Program = Program::new("apt-get", "apt");

/// One archive of Debian's, as apt's sources name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Archive {
    /// Where it is.
    pub uri: String,
    /// Its suite: `bookworm`, `bookworm-security`.
    pub suite: String,
    /// The components that are configured.
    pub components: Vec<String>,
}

impl Archive {
    /// The line of a `sources.list` that names it.
    pub fn line(&self) -> String {
        format!(
            "deb {} {} {}",
            self.uri,
            self.suite,
            self.components.join(" ")
        )
    }
}

/// Why the machine's archives are not known.
#[derive(Debug, thiserror::Error)]
pub enum AptError {
    /// apt could not be asked.
    #[error("cannot ask apt for its sources")]
    Exec(#[from] ExecError),
    /// apt has no archive of that release, or never read its lists.
    #[error(
        "apt on this machine has no Debian archive of `{release}`; run `apt-get update` first, or name a mirror"
    )]
    NoArchive {
        /// The release that was wanted.
        release: String,
    },
}

/// The archives of a Debian release (`bookworm`) with its updates and security suites, in the order apt has them.
pub fn archives(exec: &mut dyn Exec, release: &str) -> Result<Vec<Archive>, AptError> {
    let format = "$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)";
    let cmd = Cmd::new(APT_GET).args(["indextargets", "--format", format, "Created-By: Packages"]);
    let archives = parse_targets(&exec.run(&cmd)?.stdout, release);
    if archives.iter().any(|archive| archive.suite == release) {
        Ok(archives)
    } else {
        Err(AptError::NoArchive {
            release: release.to_owned(),
        })
    }
}

/// Reads `ORIGIN|URI|SUITE|COMPONENT` lines; keeps Debian's own archives of `release` over http, https or a local path.
fn parse_targets(text: &str, release: &str) -> Vec<Archive> {
    let mut archives: Vec<Archive> = Vec::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split('|').collect();
        let [origin, uri, suite, component] = fields[..] else {
            continue;
        };
        let ours = suite == release
            || suite
                .strip_prefix(release)
                .is_some_and(|rest| ["-updates", "-security"].contains(&rest));
        if origin != "Debian" || !ours {
            continue;
        }
        match archives
            .iter_mut()
            .find(|archive| archive.uri == uri && archive.suite == suite)
        {
            Some(archive) if archive.components.iter().any(|known| known == component) => {}
            Some(archive) => archive.components.push(component.to_owned()),
            None => archives.push(Archive {
                uri: uri.to_owned(),
                suite: suite.to_owned(),
                components: vec![component.to_owned()],
            }),
        }
    }
    archives
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Script;

    const TARGETS: &str = "\
Debian|http://mirror.test/debian/|bookworm|main
Debian|http://mirror.test/debian/|bookworm|contrib
Debian|http://mirror.test/debian/|bookworm|main
Debian|http://mirror.test/debian/|bookworm-backports|main
Debian|http://mirror.test/debian-security/|bookworm-security|main
Docker|http://other.test/linux/|bookworm|stable
Debian|http://mirror.test/debian/|trixie|main
";

    #[test]
    fn only_debian_archives_of_the_release_are_taken() {
        let mut script = Script::new().answering("apt-get indextargets", TARGETS);
        let lines: Vec<String> = archives(&mut script, "bookworm")
            .unwrap()
            .iter()
            .map(Archive::line)
            .collect();
        assert_eq!(
            lines,
            [
                "deb http://mirror.test/debian/ bookworm main contrib",
                "deb http://mirror.test/debian-security/ bookworm-security main",
            ]
        );
    }

    #[test]
    fn a_machine_without_that_release_says_what_to_do() {
        let mut script = Script::new().answering(
            "apt-get indextargets",
            "Debian|u|trixie|main\nhalf a line\n",
        );
        let error = archives(&mut script, "bookworm").unwrap_err().to_string();
        assert!(error.contains("apt-get update"), "{error}");
    }
}

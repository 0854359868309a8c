//! The configuration of a private apt.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::error::{self, ArchiveError};
use crate::{AptConfig, Wanted};

/// Options that make apt accept packages without a valid signature.
const INSECURE: [&str; 4] = [
    "APT::Get::AllowUnauthenticated",
    "Acquire::AllowInsecureRepositories",
    "Acquire::AllowWeakRepositories",
    "Acquire::AllowDowngradeToInsecureRepositories",
];

/// Proxies from this process's environment variables, which started programs do not inherit.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    /// `http_proxy`.
    pub http: Option<String>,
    /// `https_proxy`.
    pub https: Option<String>,
    /// `no_proxy`.
    pub none_for: Option<String>,
}

impl Proxies {
    /// Reads the variables; empty ones count as unset.
    pub fn of_environment() -> Self {
        let var = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            http: var("http_proxy"),
            https: var("https_proxy"),
            none_for: var("no_proxy"),
        }
    }
}

/// The configuration file, which disables the machine's packages, pins and hooks.
///
/// Unsigned archives are refused even if the machine's configuration allows them; only `wanted` can allow them.
pub(crate) fn render(
    state: &Path,
    wanted: &Wanted<'_>,
    proxies: &Proxies,
    config: &AptConfig,
) -> String {
    let at = |below: &str| state.join(below).display().to_string();
    let mut text = String::from(
        "#clear APT::Architectures;\n#clear APT::Update::Pre-Invoke;\n#clear APT::Update::Post-Invoke;\n\
         #clear APT::Update::Post-Invoke-Success;\n#clear DPkg::Post-Invoke;\n",
    );
    let settings = [
        ("Dir::State", at("state")),
        ("Dir::State::status", at("status")),
        ("Dir::Cache", at("cache")),
        ("Dir::Etc::sourcelist", "/dev/null".to_owned()),
        ("Dir::Etc::sourceparts", at("sources.list.d")),
        ("Dir::Etc::preferences", "/dev/null".to_owned()),
        ("Dir::Etc::preferencesparts", at("preferences.d")),
        ("APT::Architecture", wanted.architecture.to_owned()),
        ("APT::Architectures::", wanted.architecture.to_owned()),
        ("APT::Install-Recommends", "false".to_owned()),
        // The state is in a folder of the user, which apt's own user may not enter.
        ("APT::Sandbox::User", "root".to_owned()),
        ("Acquire::Languages", "none".to_owned()),
        ("Acquire::Retries", "3".to_owned()),
    ];
    for (key, value) in settings {
        let _ = writeln!(text, "{key} \"{value}\";");
    }
    if !wanted.allow_unsigned {
        for key in INSECURE {
            let _ = writeln!(text, "{key} \"false\";");
        }
    }
    // As in apt, a configured proxy overrides the environment.
    let environment = [
        ("http", &proxies.http, config.http_proxy),
        ("https", &proxies.https, config.https_proxy),
    ];
    for (scheme, proxy, configured) in environment {
        if let (Some(proxy), false) = (proxy, configured)
            && !proxy.contains(['"', '\n'])
        {
            let _ = writeln!(text, "Acquire::{scheme}::Proxy \"{proxy}\";");
        }
    }
    text
}

/// Writes a file that only its owner may ever read: URLs of proxies and mirrors can contain passwords.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<(), ArchiveError> {
    let write = || {
        // a file of an earlier build keeps its mode: it is made anew
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(text.as_bytes())
    };
    write().map_err(error::io("write", path))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use host::fake::Script;

    const WANTED: Wanted<'_> = Wanted {
        suite: "bookworm",
        architecture: "amd64",
        mirrors: &[],
        machine_security: false,
        firmware: false,
        allow_unsigned: false,
    };

    #[test]
    fn a_configured_proxy_beats_the_environment() {
        let proxies = Proxies {
            http: Some("http://p.test:1".to_owned()),
            https: Some("http://p.test:2".to_owned()),
            none_for: None,
        };
        let mut script = Script::new().answering("apt-config", "HTTP='http://own.test'\n");
        let config = AptConfig::read(&mut script).unwrap();
        let text = render(Path::new("/s"), &WANTED, &proxies, &config);
        assert!(!text.contains("Acquire::http::Proxy"));
        assert!(text.contains("Acquire::https::Proxy \"http://p.test:2\";"));
    }

    #[test]
    fn apt_does_not_see_installed_packages() {
        let text = render(
            Path::new("/s"),
            &WANTED,
            &Proxies::default(),
            &AptConfig::default(),
        );
        assert!(text.contains("Dir::State::status \"/s/status\";"));
        assert!(text.contains("Dir::Etc::preferences \"/dev/null\";"));
    }

    #[test]
    fn what_the_machine_says_of_unsigned_archives_does_not_count() {
        let rendered = |allow_unsigned| {
            let wanted = Wanted {
                allow_unsigned,
                ..WANTED
            };
            let (proxies, config) = (Proxies::default(), AptConfig::default());
            render(Path::new("/s"), &wanted, &proxies, &config)
        };
        for key in INSECURE {
            assert!(rendered(false).contains(&format!("{key} \"false\";\n")));
            assert!(!rendered(true).contains(key));
        }
    }

    #[test]
    fn a_private_file_replaces_one_that_others_may_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("apt.conf");
        fs::write(&path, "old and longer").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        write_private(&path, "secret").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "secret");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        write_private(&folder.path().join("none/x"), "").unwrap_err();
    }
}

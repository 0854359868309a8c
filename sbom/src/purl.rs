//! Package URLs: names for packages of all sorts, see <https://github.com/package-url/purl-spec>.

use std::fmt::Write as _;

/// The name of a Debian package; `suite` is the code name of the release.
pub fn debian(name: &str, version: &str, architecture: &str, suite: &str) -> String {
    let [name, version, architecture, suite] = [name, version, architecture, suite].map(encoded);
    format!("pkg:deb/debian/{name}@{version}?arch={architecture}&distro={suite}")
}

/// The name of a Rust crate.
pub fn cargo(name: &str, version: &str) -> String {
    format!("pkg:cargo/{}@{}", encoded(name), encoded(version))
}

/// Everything is percent-encoded but what the specification leaves: letters, digits, `.-_~` and the colon.
fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b".-_~:".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_debian_and_of_crates_are_encoded() {
        assert_eq!(
            debian("libstdc++6", "1:2.0~rc1+b1", "amd64", "bookworm"),
            "pkg:deb/debian/libstdc%2B%2B6@1:2.0~rc1%2Bb1?arch=amd64&distro=bookworm"
        );
        assert_eq!(
            cargo("zstd-sys", "2.1.2+zstd.1.5.7"),
            "pkg:cargo/zstd-sys@2.1.2%2Bzstd.1.5.7"
        );
    }
}

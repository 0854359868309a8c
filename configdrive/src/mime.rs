//! user-data of several parts: a readable, reproducible MIME message.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// How cloud-init treats a part of user-data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartKind {
    /// A script that runs early at every boot, before any module.
    Boothook,
    /// Declarative configuration.
    CloudConfig,
    /// A script that runs once, late at the first boot.
    Script,
}

impl PartKind {
    /// The MIME type that tells cloud-init the kind.
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::Boothook => "text/cloud-boothook",
            Self::CloudConfig => "text/cloud-config",
            Self::Script => "text/x-shellscript",
        }
    }
}

/// A part of user-data.
#[derive(Clone, PartialEq, Eq)]
pub struct Part {
    /// How cloud-init treats it.
    pub kind: PartKind,
    /// File name under which cloud-init stores it.
    pub file_name: String,
    /// Its text, header line included (`#cloud-config`, `#!/bin/sh`, …).
    pub content: String,
}

impl fmt::Debug for Part {
    /// Omits the content, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?})", self.file_name, self.kind)
    }
}

/// The text of user-data: an empty cloud-config, a single part as it is, or a MIME message.
///
/// A single boothook or script is wrapped in a message too: otherwise cloud-init would guess its type from its first
/// line.
pub(crate) fn user_data(parts: &[Part]) -> String {
    match parts {
        [] => "#cloud-config\n{}\n".to_owned(),
        [part] if part.kind == PartKind::CloudConfig => part.text(),
        _ => message(parts),
    }
}

/// A multipart message. Plain ASCII text stays as it is; the rest is base64, because readers differ on raw UTF-8.
fn message(parts: &[Part]) -> String {
    let boundary = boundary(parts);
    let mut text =
        format!("Content-Type: multipart/mixed; boundary=\"{boundary}\"\nMIME-Version: 1.0\n\n");
    for part in parts {
        let body = part.text();
        let (encoding, charset, body) = if plain(&body) {
            ("7bit", "us-ascii", body)
        } else {
            ("base64", "utf-8", folded(&STANDARD.encode(body)))
        };
        let (kind, name) = (part.kind.content_type(), safe_name(&part.file_name));
        let entry = format!(
            "--{boundary}\nContent-Type: {kind}; charset=\"{charset}\"\nMIME-Version: 1.0\n\
             Content-Transfer-Encoding: {encoding}\nContent-Disposition: attachment; filename=\"{name}\"\n\n{body}\n",
        );
        text.push_str(&entry);
    }
    text + &format!("--{boundary}--\n")
}

/// A boundary that occurs in no part.
fn boundary(parts: &[Part]) -> String {
    let mut boundary = "==provision==".to_owned();
    let mut further = 1_u64..;
    while parts.iter().any(|part| part.content.contains(&boundary)) {
        let n = further.next().unwrap_or_default();
        boundary = format!("==provision-{n}==");
    }
    boundary
}

fn plain(text: &str) -> bool {
    text.bytes()
        .all(|byte| matches!(byte, b'\n' | b'\t' | b' '..=b'~'))
}

fn folded(base64: &str) -> String {
    let mut text = String::with_capacity(base64.len());
    for (n, character) in base64.chars().enumerate() {
        if n > 0 && n % 76 == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    text.push('\n');
    text
}

/// The file name with all characters replaced that need quoting in a header.
fn safe_name(name: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    name.chars()
        .map(|c| if safe(c) { c } else { '_' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn part(kind: PartKind, content: &str) -> Part {
        Part {
            kind,
            file_name: "part.txt".to_owned(),
            content: content.to_owned(),
        }
    }

    #[test]
    fn boothook_and_cloud_config_read_like_files() {
        let parts = [
            part(PartKind::Boothook, "#cloud-boothook\n#!/bin/sh\ntrue\n"),
            part(PartKind::CloudConfig, "#cloud-config\nlocale: C.UTF-8\n"),
        ];
        insta::assert_snapshot!(user_data(&parts), @r#"
        Content-Type: multipart/mixed; boundary="==provision=="
        MIME-Version: 1.0

        --==provision==
        Content-Type: text/cloud-boothook; charset="us-ascii"
        MIME-Version: 1.0
        Content-Transfer-Encoding: 7bit
        Content-Disposition: attachment; filename="part.txt"

        #cloud-boothook
        #!/bin/sh
        true

        --==provision==
        Content-Type: text/cloud-config; charset="us-ascii"
        MIME-Version: 1.0
        Content-Transfer-Encoding: 7bit
        Content-Disposition: attachment; filename="part.txt"

        #cloud-config
        locale: C.UTF-8

        --==provision==--
        "#);
    }

    #[test]
    fn one_cloud_config_needs_no_message() {
        let parts = [part(PartKind::CloudConfig, "#cloud-config\na: 1")];
        assert_eq!(user_data(&parts), "#cloud-config\na: 1\n");
        assert_eq!(user_data(&[]), "#cloud-config\n{}\n");
    }

    #[test]
    fn what_is_not_ascii_is_base64() {
        let parts = [
            part(PartKind::Script, "#!/bin/sh\necho grüß\n"),
            part(PartKind::Script, "#!/bin/sh\r\n"),
        ];
        insta::assert_snapshot!(user_data(&parts), @r#"
        Content-Type: multipart/mixed; boundary="==provision=="
        MIME-Version: 1.0

        --==provision==
        Content-Type: text/x-shellscript; charset="utf-8"
        MIME-Version: 1.0
        Content-Transfer-Encoding: base64
        Content-Disposition: attachment; filename="part.txt"

        IyEvYmluL3NoCmVjaG8gZ3LDvMOfCg==

        --==provision==
        Content-Type: text/x-shellscript; charset="utf-8"
        MIME-Version: 1.0
        Content-Transfer-Encoding: base64
        Content-Disposition: attachment; filename="part.txt"

        IyEvYmluL3NoDQo=

        --==provision==--
        "#);
    }

    proptest! {
        #[test]
        fn no_part_can_end_the_message(content in "[-=provision0-9\n ]{0,400}") {
            let boothook = part(PartKind::Boothook, "--==provision==--\n==provision-1==");
            let parts = [part(PartKind::Script, &content), boothook];
            let line = boundary(&parts);
            for part in &parts {
                prop_assert!(!part.content.contains(&line));
            }
        }
    }
}

//! The kernel's command line: words as the kernel splits them, and the quoting that GRUB and the shell need for them.
//!
//! GRUB hands every character of a word on to the kernel but three: it puts a backslash before `'`, `"` and `\`, which
//! the kernel takes literally. A request with these is refused when it is read, except for quotes around a word or a
//! value.

use crate::apply::target_tree::one_line;

/// A kernel command line: its words, quotes taken off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parameters {
    words: Vec<String>,
}

/// A serial console of GRUB's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Serial {
    /// Number of the port.
    pub(super) unit: u32,
    /// Bits per second.
    pub(super) speed: u32,
}

impl Parameters {
    /// Splits at spaces outside of double quotes, as the kernel does.
    pub(super) fn parse(text: &str) -> Self {
        let text = one_line(&text.replace(['\n', '\t'], " "));
        let mut words = Vec::new();
        let (mut word, mut quoted, mut begun) = (String::new(), false, false);
        for character in text.chars() {
            match character {
                '"' => (quoted, begun) = (!quoted, true),
                ' ' if !quoted => {
                    if begun {
                        words.push(std::mem::take(&mut word));
                    }
                    begun = false;
                }
                other => {
                    word.push(other);
                    begun = true;
                }
            }
        }
        if begun {
            words.push(word);
        }
        Self { words }
    }

    /// The words for a `linux` line of grub.cfg. Those that name a root are left out: the plan has the root.
    pub(super) fn for_grub(&self) -> String {
        let words = self.words.iter().filter(|word| !word.starts_with("root="));
        let words: Vec<String> = words.map(|word| grub_quoted(word)).collect();
        words.join(" ")
    }

    /// The words for a kernel that is started directly, without those that name a root.
    pub(super) fn for_kernel(&self) -> String {
        let words = self.words.iter().filter(|word| !word.starts_with("root="));
        let quoted = |word: &String| {
            // an empty word is one too
            if word.contains(' ') || word.is_empty() {
                format!("\"{word}\"")
            } else {
                word.clone()
            }
        };
        words.map(quoted).collect::<Vec<_>>().join(" ")
    }

    /// The text for a double-quoted assignment in `/etc/default/grub`. The installed system's `grub-mkconfig` copies
    /// the value into a `linux` line of grub.cfg as it is, so it is quoted for GRUB first, then for the shell.
    pub(super) fn for_shell(&self) -> String {
        let mut text = String::new();
        for character in self.for_grub().chars() {
            if matches!(character, '"' | '\\' | '$' | '`') {
                text.push('\\');
            }
            text.push(character);
        }
        text
    }

    /// Whether no word needs quotes.
    pub(super) fn are_plain(&self) -> bool {
        self.words.iter().all(|word| is_plain(word))
    }

    /// Warning where the request names a root that is none of `names`.
    pub(super) fn other_root(&self, root: &str, names: &[String]) -> Option<String> {
        let mut requested = self
            .words
            .iter()
            .filter_map(|word| word.strip_prefix("root="));
        let other = requested
            .next_back()
            .filter(|requested| !names.iter().any(|name| name == requested))?;
        let same_uuid = root.eq_ignore_ascii_case(other);
        (!same_uuid).then(|| {
            format!("the kernel parameters of the request name the root `{other}`, but it is `{root}`; the latter is \
                     used")
        })
    }

    /// The last serial console among them: GRUB talks there too.
    pub(super) fn serial(&self) -> Option<Serial> {
        let mut consoles = self
            .words
            .iter()
            .filter_map(|word| word.strip_prefix("console=ttyS"));
        let last = consoles.next_back()?;
        let (unit, options) = last.split_once(',').unwrap_or((last, ""));
        let digits: String = options.chars().take_while(char::is_ascii_digit).collect();
        Some(Serial {
            unit: unit.parse().ok()?,
            // the kernel's own default
            speed: digits.parse().unwrap_or(9600),
        })
    }
}

/// A word as GRUB's script has to be given it. GRUB puts quotes of its own around words with spaces for the kernel.
pub(super) fn grub_quoted(word: &str) -> String {
    if is_plain(word) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Whether it means only itself to GRUB's script and to a shell.
fn is_plain(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%^~".contains(c);
    !word.is_empty() && word.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_the_kernel_splits() {
        let parse = |text: &str| Parameters::parse(text).words;
        assert_eq!(parse(" a=1  b "), ["a=1", "b"]);
        assert_eq!(
            parse(r#"dyndbg="file x.c +p" quiet"#),
            ["dyndbg=file x.c +p", "quiet"]
        );
        assert_eq!(parse("a\nb\tc\u{7}"), ["a", "b", "c"]);
        assert_eq!(parse(""), Vec::<String>::new());
        assert_eq!(parse(r#"a="open end"#), ["a=open end"]);
    }

    #[test]
    fn nothing_in_a_word_means_anything_to_grub() {
        for (word, quoted) in [
            ("console=ttyS0,115200n8", "console=ttyS0,115200n8"),
            ("x=a b", "'x=a b'"),
            ("x=$(reboot);{}", "'x=$(reboot);{}'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
        ] {
            assert_eq!(grub_quoted(word), quoted);
        }
    }

    #[test]
    fn the_installed_systems_own_menu_gets_the_words_of_the_first_one() {
        let parameters = Parameters::parse(r#" a="b c" d=$e `f` x;y&z root=/dev/sda9"#);
        assert_eq!(parameters.for_grub(), "'a=b c' 'd=$e' '`f`' 'x;y&z'");
        assert_eq!(parameters.for_shell(), r"'a=b c' 'd=\$e' '\`f\`' 'x;y&z'");
    }

    #[test]
    fn a_kernel_that_is_started_directly_gets_the_same_words() {
        for line in [r#"a="b c" "" d"#, "quiet", ""] {
            let words = Parameters::parse(line);
            assert_eq!(Parameters::parse(&words.for_kernel()), words, "{line}");
        }
    }

    #[test]
    fn the_plans_root_wins() {
        let parameters = Parameters::parse("root=/dev/mapper/os-root quiet");
        assert_eq!(parameters.for_grub(), "quiet");
        let names = ["/dev/mapper/os-root".to_owned()];
        assert_eq!(parameters.other_root("/dev/mapper/os-root", &names), None);
        let warning = parameters
            .other_root("UUID=1", &["UUID=1".to_owned()])
            .unwrap();
        assert!(
            warning.contains("`/dev/mapper/os-root`, but it is `UUID=1`"),
            "{warning}"
        );
        assert_eq!(Parameters::parse("quiet").other_root("UUID=1", &[]), None);
    }

    #[test]
    fn the_last_serial_console_counts() {
        let serial = |text: &str| Parameters::parse(text).serial().map(|s| (s.unit, s.speed));
        assert_eq!(serial("console=tty0"), None);
        assert_eq!(
            serial("console=ttyS0,9600 console=tty0 console=ttyS1,115200n8"),
            Some((1, 115_200))
        );
        assert_eq!(serial("console=ttyS2"), Some((2, 9600)));
        assert_eq!(serial("console=ttySx"), None);
    }
}

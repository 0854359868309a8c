//! Whether a rule can stand in sudoers behind an account's name. One broken line there, and sudo reads nothing of the
//! file.
//!
//! Narrower than sudo's own grammar: one list of hosts, no comments, and `:`, `=` and `#` in arguments only behind a
//! backslash, as every release of sudo takes them.

/// What may stand before a command, each with a colon.
const TAGS: [&str; 16] = [
    "EXEC",
    "NOEXEC",
    "FOLLOW",
    "NOFOLLOW",
    "LOG_INPUT",
    "NOLOG_INPUT",
    "LOG_OUTPUT",
    "NOLOG_OUTPUT",
    "MAIL",
    "NOMAIL",
    "PASSWD",
    "NOPASSWD",
    "SETENV",
    "NOSETENV",
    "INTERCEPT",
    "NOINTERCEPT",
];
/// What may stand before a command with `=` and a value.
const OPTIONS: [&str; 5] = ["ROLE", "TYPE", "CWD", "CHROOT", "TIMEOUT"];
/// Words that begin a line of another kind, or stand for more than their letters.
const KEYWORDS: [&str; 13] = [
    "Defaults",
    "User_Alias",
    "Runas_Alias",
    "Host_Alias",
    "Cmnd_Alias",
    "Cmd_Alias",
    "sudoedit",
    "list",
    "PRIVS",
    "LIMITPRIVS",
    "NOTBEFORE",
    "NOTAFTER",
    "APPARMOR_PROFILE",
];

/// Whether sudoers would take the login name for an alias (`ALL` is one) or a keyword.
pub(super) fn is_taken(name: &str) -> bool {
    is_reserved(name) || is_alias(name)
}

fn is_reserved(word: &str) -> bool {
    KEYWORDS.contains(&word) || OPTIONS.contains(&word) || TAGS.contains(&word)
}

/// Whether sudo understands `rule`, which has no control characters: `HOSTS = (RUN AS) TAGS: COMMANDS`.
pub(super) fn is_rule(rule: &str) -> bool {
    let Some((hosts, commands)) = rule.split_once('=') else {
        return false;
    };
    let Some(commands) = split(commands) else {
        return false;
    };
    hosts.split(',').all(is_host) && commands.iter().all(|command| is_specification(command))
}

/// Cut at commas, but not at those in parentheses or behind a backslash. `None` where a parenthesis or a backslash is
/// left open.
fn split(text: &str) -> Option<Vec<String>> {
    let mut items = vec![String::new()];
    let (mut inside, mut escaped) = (false, false);
    for character in text.chars() {
        let cut = character == ',' && !inside && !escaped;
        if !escaped && matches!(character, '(' | ')') {
            inside = character == '(';
        }
        escaped = character == '\\' && !escaped;
        match items.last_mut() {
            Some(item) if !cut => item.push(character),
            _ => items.push(String::new()),
        }
    }
    (!inside && !escaped).then_some(items)
}

/// A name, or a network like `10.0.0.0/8`.
fn is_host(text: &str) -> bool {
    let name = text.trim().trim_start_matches('!').trim();
    let name = name.strip_prefix('+').unwrap_or(name);
    let (name, width) = name.split_once('/').unwrap_or((name, "0"));
    is_name(name) && !name.starts_with('_') && !name.contains('@') && width.parse::<u8>().is_ok()
}

fn is_name(text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@');
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    begins && text.chars().all(good) && !is_reserved(text)
}

/// A command with what stands before it.
fn is_specification(text: &str) -> bool {
    let mut rest = text.trim();
    if let Some(inner) = rest.strip_prefix('(') {
        let Some((run_as, after)) = inner.split_once(')') else {
            return false;
        };
        let (users, groups) = match run_as.split_once(':') {
            Some((_, groups)) if groups.trim().is_empty() => return false,
            Some((users, groups)) => (users, groups),
            None => (run_as, ""),
        };
        if !are_names(users) || !are_names(groups) {
            return false;
        }
        rest = after.trim_start();
    }
    while let Some((option, after)) = rest.split_once(' ') {
        let known = option
            .split_once('=')
            .filter(|(name, _)| OPTIONS.contains(name));
        let Some((_, value)) = known else {
            break;
        };
        if value.is_empty() || !value.chars().all(is_plain) {
            return false;
        }
        rest = after.trim_start();
    }
    while let Some((tag, after)) = rest.split_once(':') {
        if !TAGS.contains(&tag.trim_end()) {
            break;
        }
        rest = after.trim_start();
    }
    is_command(rest.trim_start_matches('!').trim())
}

/// None, or users, groups (`%name`) and numbers (`#1000`) between commas.
fn are_names(list: &str) -> bool {
    let is_good = |text: &str| {
        let text = text.trim();
        let text = text.strip_prefix('!').unwrap_or(text);
        let text = text.strip_prefix('%').unwrap_or(text);
        match text.strip_prefix('#') {
            Some(number) => number.parse::<u32>().is_ok(),
            None => is_name(text),
        }
    };
    list.trim().is_empty() || list.split(',').all(is_good)
}

fn is_command(text: &str) -> bool {
    let mut words = text.split_whitespace().peekable();
    let Some(mut command) = words.next() else {
        return false;
    };
    if is_alias(command) {
        return words.next().is_none() && !is_reserved(command);
    }
    if let Some((kind, digest)) = command
        .split_once(':')
        .filter(|_| !command.starts_with('/'))
    {
        let base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
        let kinds = ["sha224", "sha256", "sha384", "sha512"];
        if !kinds.contains(&kind) || digest.is_empty() || !digest.chars().all(base64) {
            return false;
        }
        let Some(next) = words.next() else {
            return false;
        };
        command = next;
    }
    // a folder stands for the commands in it and takes no arguments; the real `sudoedit` must not be named by its path
    let folder_with_arguments = command.ends_with('/') && words.peek().is_some();
    let is_other = matches!(command, "/" | "") || command.starts_with("//");
    let is_path = command.starts_with('/') && is_argument(command, ",:=#");
    if is_other || folder_with_arguments || command.ends_with("/sudoedit") {
        return false;
    }
    (is_path || command == "sudoedit")
        && words.all(|word| word == "\"\"" || is_argument(word, ",:=#*?[]!\\"))
}

/// Whether it has none of the characters that end a command, unless a backslash stands before them; `escaped` are
/// those that a backslash may stand before.
fn is_argument(word: &str, escaped: &str) -> bool {
    let mut after_backslash = false;
    for character in word.chars() {
        let good = if after_backslash {
            escaped.contains(character)
        } else {
            is_plain(character) || matches!(character, '\\' | '*' | '?' | '[' | ']')
        };
        if !good {
            return false;
        }
        after_backslash = character == '\\' && !after_backslash;
    }
    !after_backslash
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "/._-+@%~$".contains(c)
}

/// Aliases, `ALL` among them, are what starts with a capital and goes on with capitals, digits and `_`.
fn is_alias(word: &str) -> bool {
    let good = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    word.starts_with(|c: char| c.is_ascii_uppercase()) && word.chars().all(good)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use host::cancel::Cancel;
    use host::exec::{Cmd, Exec, Program, System};

    use super::*;

    const GOOD: [&str; 22] = [
        "ALL=(ALL) NOPASSWD: ALL",
        "ALL=(ALL:ALL) NOPASSWD: /bin/ls, /usr/bin/cat \\*",
        "ALL=(ALL)NOPASSWD:ALL",
        "ALL = (root) /bin/ls -l /tmp",
        "ALL=NOPASSWD:ALL",
        "ALL=() ALL",
        "ALL=(:wheel) ALL",
        "ALL=(%wheel, op, #1000) NOPASSWD:SETENV: /bin/ls",
        "ALL=(ALL) ALL, !/bin/su",
        "ALL=(op) /bin/ls, (root) /bin/cat",
        "ALL=(ALL) sudoedit /etc/fstab",
        "ALL=(ALL) sha224:0GomF8mNN3wlDt1HD9XldjJ3SNgpFdbjO1+NsQ== /bin/ls",
        "ALL=(ALL) SERVICES",
        "!web-1.example.net, ALL=(ALL) ALL",
        "10.0.0.0/8=(ALL) ALL",
        "+netgroup=(ALL) ALL",
        "ALL=(ALL) CWD=/tmp TIMEOUT=10 NOEXEC: /bin/ls",
        "ALL=(ALL) /bin/ls \"\"",
        "ALL=(ALL) /bin/l[sx] [a-z]*",
        "ALL=(ALL) /usr/bin/systemctl --type\\=service a\\:b c\\,d",
        "ALL=(ALL) NOPASSWD:NOEXEC:LOG_OUTPUT: ALL",
        "ALL=(ALL) !ALL",
    ];
    const BAD: [&str; 27] = [
        "",
        " ",
        "ALL",
        "=ALL",
        "ALL=",
        "ALL ALL",
        "ALL=(ALL)",
        "ALL=(ALL",
        "ALL=(ALL) ALL,",
        "ALL=(ALL) ALL ALL",
        "ALL=(ALL) NOPASSWD ALL",
        "ALL=(ALL) NOPASWD: ALL",
        "op ALL=(ALL) ALL",
        "Defaults:op !requiretty",
        "ALL=(ALL) ls",
        "ALL=/bin/ls -l, foo",
        "ALL=/bin/ls a:b",
        "ALL=(ALL) /bin/ls \\",
        "ALL=ALL;",
        "@include x=ALL",
        "%x=ALL",
        "ho\"st=ALL",
        "# ALL=(ALL) ALL",
        "ALL=(a b) ALL",
        "ALL=(ALL) /",
        "ALL=(ALL) /usr/bin/sudoedit",
        "ALL=(ALL) /bin/ -l",
    ];

    #[test]
    fn rules_are_told_from_what_is_none() {
        for rule in GOOD {
            assert!(is_rule(rule), "{rule}");
        }
        for rule in BAD {
            assert!(!is_rule(rule), "{rule}");
        }
    }

    /// Whether the real `visudo` takes the lines.
    fn visudo(lines: &str) -> bool {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), lines).unwrap();
        let cmd = Cmd::new(Program::new("sh", "dash"))
            .args(["-c", "exec /usr/sbin/visudo -q -c -f \"$0\""])
            .arg(file.path());
        System::new(Cancel::new()).run(&cmd).is_ok()
    }

    #[test]
    fn what_is_accepted_visudo_accepts_and_what_is_refused_it_refuses() {
        if !Path::new("/usr/sbin/visudo").exists() {
            host::fake::skipped("sudo is not installed");
            return;
        }
        let lines = GOOD.map(|rule| format!("op {rule}\n")).concat();
        assert!(visudo(&lines));
        for rule in BAD {
            assert!(!visudo(&format!("op {rule}\n")), "{rule}");
        }
    }

    #[test]
    fn rules_put_together_at_random_are_accepted_only_where_visudo_does() {
        if !Path::new("/usr/sbin/visudo").exists() {
            host::fake::skipped("sudo is not installed");
            return;
        }
        let pieces = [
            "ALL", "=", " ", "(", ")", ":", ",", "op", "%wheel", "#7", "NOPASSWD", "CWD",
            "/bin/ls", "-l", "!", "\\", "*", "[", "\"\"", "sudoedit", "A_1", "/", "~", "$", "@",
        ];
        // A small generator of its own: the same rules at every run.
        let mut state = 0x9e37_79b9_u32;
        let mut next = |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            usize::try_from((state >> 8) % below).unwrap()
        };
        let mut accepted = String::new();
        for _ in 0..200_000 {
            let start = ["ALL=", "ALL=(ALL) ", ""][next(3)];
            let count = 1 + next(6);
            let rule: String = (0..count).map(|_| pieces[next(25)]).collect();
            let rule = format!("{start}{rule}");
            if is_rule(&rule) {
                accepted = accepted + "op " + &rule + "\n";
            }
        }
        assert!(accepted.lines().count() > 100);
        assert!(visudo(&accepted), "{accepted}");
    }

    #[test]
    fn names_that_mean_more_than_one_account_are_known() {
        for name in ["ALL", "OP", "USER_1", "Defaults", "Cmnd_Alias"] {
            assert!(is_taken(name), "{name}");
        }
        for name in ["op", "Op", "a.b", "root"] {
            assert!(!is_taken(name), "{name}");
        }
    }
}

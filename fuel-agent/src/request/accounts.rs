//! `user_accounts`, and ssh keys wherever they stand.

use super::names;
use super::reader::{Diagnostics, JsonCursor, redacted};
use super::sudoers;
use crate::model::node::{Account, Secret};

const KEYS: [&str; 7] = [
    "name",
    "password",
    "homedir",
    "sudo",
    "ssh_keys",
    "shell",
    "hashed_password",
];

/// Reads `ks_meta.user_accounts`; older orchestrators do not send it.
pub(super) fn read(ks_meta: &JsonCursor<'_>, diagnostics: &mut Diagnostics) -> Vec<Account> {
    let Some(at) = ks_meta.get("user_accounts") else {
        diagnostics.warn(format!(
            "`{}` is missing: no accounts are made (orchestrators before Fuel 9.0 do not send it)",
            ks_meta.path_of("user_accounts")
        ));
        return Vec::new();
    };
    let items = at.items(diagnostics);
    items
        .iter()
        .filter_map(|item| account(item, diagnostics))
        .collect()
}

fn account(at: &JsonCursor<'_>, diagnostics: &mut Diagnostics) -> Option<Account> {
    for (key, value) in at.entries(diagnostics) {
        if !KEYS.contains(&key) {
            let hint = format!("leave it out; known are {}", KEYS.join(", "));
            diagnostics.add(
                value.path(),
                format!("unknown key `{}` in account", redacted(key)),
                hint,
            );
        }
    }
    let name = at.require("name", "the login name", diagnostics);
    let name = name.and_then(|name| login_name(&name, diagnostics));
    let homedir = at.require("homedir", "the home folder", diagnostics);
    let homedir = homedir.and_then(|folder| absolute_path(&folder, "/home/fuel", diagnostics));
    let password = at
        .require(
            "password",
            "the password, or null and `hashed_password`",
            diagnostics,
        )
        .map(|password| secret(Some(password), diagnostics));
    let hashed_password = hash(at.get("hashed_password"), diagnostics);
    let shell = match at.get("shell") {
        None => Some("/bin/bash"),
        Some(shell) => absolute_path(&shell, "/bin/bash", diagnostics),
    };
    let ssh_keys = at
        .get("ssh_keys")
        .filter(JsonCursor::truthy)
        .map(|list| list.items(diagnostics));
    Some(Account {
        name: name?.to_owned(),
        homedir: homedir?.to_owned(),
        password: password?,
        hashed_password,
        sudo: sudo(at, diagnostics),
        ssh_keys: keys(&ssh_keys.unwrap_or_default(), diagnostics),
        shell: shell?.to_owned(),
    })
}

/// What every `useradd`, cloud-init and sudo take for a name and nothing else: `[a-z_][a-z0-9_-]*$?`.
fn login_name<'a>(at: &JsonCursor<'a>, diagnostics: &mut Diagnostics) -> Option<&'a str> {
    let name = at.text(diagnostics)?;
    let first = |c: char| c.is_ascii_lowercase() || c == '_';
    let good = |c: char| first(c) || c.is_ascii_digit() || c == '-';
    let plain = name.strip_suffix('$').unwrap_or(name);
    if !plain.starts_with(first) || !plain.chars().all(good) || name.len() > 32 {
        let what = format!("`{}` is not a valid login name", redacted(name));
        let hint =
            "use a-z, 0-9, `_` and `-`, beginning with a letter or `_`, at most 32 characters";
        diagnostics.add(at.path(), what, hint);
        return None;
    }
    Some(name)
}

/// A path that can stand in passwd, and that no script has to quote.
fn absolute_path<'a>(
    at: &JsonCursor<'a>,
    example: &str,
    diagnostics: &mut Diagnostics,
) -> Option<&'a str> {
    let path = at.text(diagnostics)?;
    let good =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '.' | '+' | '@');
    let is_step = |part: &str| part == "." || part == "..";
    if !path.starts_with('/') || !path.chars().all(good) || path.split('/').any(is_step) {
        let what = format!(
            "`{}` is not a valid absolute path for an account",
            redacted(path)
        );
        let hint = format!("give one like `{example}`, of letters, digits and `/_-.+@`");
        diagnostics.add(at.path(), what, hint);
        return None;
    }
    Some(path)
}

/// A crypt(3) hash, which becomes a field of shadow. It is never shown.
fn hash(at: Option<JsonCursor<'_>>, diagnostics: &mut Diagnostics) -> Option<Secret> {
    let at = at.filter(|at| !at.value().is_null())?;
    let text = at.text(diagnostics)?;
    if text.is_empty() || !text.chars().all(|c| c.is_ascii_graphic() && c != ':') {
        let hint = "give what `mkpasswd --method=sha-512` prints";
        diagnostics.add(at.path(), "is not a password hash", hint);
        return None;
    }
    Some(Secret::new(text))
}

fn secret(at: Option<JsonCursor<'_>>, diagnostics: &mut Diagnostics) -> Option<Secret> {
    let at = at.filter(|at| !at.value().is_null())?;
    at.text(diagnostics).map(Secret::new)
}

/// Rules for sudoers. Empty ones, as a cleared field of a form leaves them, are dropped.
fn sudo(at: &JsonCursor<'_>, diagnostics: &mut Diagnostics) -> Vec<String> {
    let Some(list) = at.get("sudo").filter(JsonCursor::truthy) else {
        return Vec::new();
    };
    let mut rules = Vec::new();
    for item in list.items(diagnostics) {
        let Some(rule) = item.text(diagnostics).map(str::trim) else {
            continue;
        };
        if rule.is_empty() {
            diagnostics.warn(format!("`{}` is empty and is left out", item.path()));
        } else if names::has_control(rule) || !sudoers::is_rule(rule) {
            let hint = "give one rule like `ALL=(ALL) NOPASSWD: ALL`, without the account's name";
            diagnostics.add(item.path(), "is not a sudoers rule", hint);
        } else {
            rules.push(rule.to_owned());
        }
    }
    let name = at.get("name").and_then(|name| name.value().as_str());
    if let Some(name) = name.filter(|name| !rules.is_empty() && sudoers::is_taken(name)) {
        let what = format!("`{}` means something else in sudoers", redacted(name));
        diagnostics.add(
            at.path_of("name"),
            what,
            "use small letters, or give no `sudo`",
        );
    }
    rules
}

/// Keys in their order, without the literal quotes that Fuel puts around them; empty ones are dropped.
pub(super) fn keys(items: &[JsonCursor<'_>], diagnostics: &mut Diagnostics) -> Vec<String> {
    let mut keys = Vec::new();
    for item in items {
        let Some(key) = item.text(diagnostics).map(names::unquoted) else {
            continue;
        };
        if names::has_control(key) {
            diagnostics.add(
                item.path(),
                "has control characters in it",
                "give each key as one line and one item",
            );
        } else if !key.is_empty() {
            keys.push(key.to_owned());
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_login_name_is_a_name_to_every_program_and_nothing_else() {
        let is_one = |name: &str| {
            let (value, mut diagnostics) = (Value::from(name), Diagnostics::default());
            let read = login_name(&JsonCursor::document(&value), &mut diagnostics).is_some();
            assert_eq!(read, diagnostics.problems.is_empty());
            read
        };
        let longest = "a".repeat(32);
        for good in ["fueladmin", "_x", "a-b_3", "host$", &longest] {
            assert!(is_one(good), "{good}");
        }
        let long = "a".repeat(33);
        for bad in [
            "", "$", "0a", "-a", "a$b", "a$$", "%wheel", "#0", "ALL", "Op", "a.b", "a b", "é",
            "a'", "a!", "a\nb", &long,
        ] {
            assert!(!is_one(bad), "{bad}");
        }
    }
}

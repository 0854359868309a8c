//! `user_accounts`, and ssh keys wherever they stand.

use super::names;
use super::reader::{Diagnostics, JsonCursor, redacted};
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
            diagnostics.add(value.path(), "is no key of an account", hint);
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
    let hashed_password = secret(at.get("hashed_password"), diagnostics);
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

/// A name that can stand in passwd.
fn login_name<'a>(at: &JsonCursor<'a>, diagnostics: &mut Diagnostics) -> Option<&'a str> {
    let name = at.text(diagnostics)?;
    let bad = |c: char| c.is_control() || c.is_whitespace() || matches!(c, ':' | '/' | ',');
    if name.is_empty() || name.starts_with('-') || name.contains(bad) {
        let what = format!("`{}` is no login name", redacted(name));
        diagnostics.add(at.path(), what, "use letters, digits, `_` and `-`");
        return None;
    }
    Some(name)
}

/// A path that can stand in passwd.
fn absolute_path<'a>(
    at: &JsonCursor<'a>,
    example: &str,
    diagnostics: &mut Diagnostics,
) -> Option<&'a str> {
    let path = at.text(diagnostics)?;
    if !path.starts_with('/') || names::has_control(path) || path.contains(':') {
        let what = format!("`{}` is no absolute path", redacted(path));
        diagnostics.add(at.path(), what, format!("give one like `{example}`"));
        return None;
    }
    Some(path)
}

fn secret(at: Option<JsonCursor<'_>>, diagnostics: &mut Diagnostics) -> Option<Secret> {
    let at = at.filter(|at| !at.value().is_null())?;
    at.text(diagnostics).map(Secret::new)
}

fn sudo(at: &JsonCursor<'_>, diagnostics: &mut Diagnostics) -> Vec<String> {
    let Some(list) = at.get("sudo").filter(JsonCursor::truthy) else {
        return Vec::new();
    };
    let mut rules = Vec::new();
    for item in list.items(diagnostics) {
        match item.text(diagnostics) {
            Some(rule) if names::has_control(rule) => {
                diagnostics.add(
                    item.path(),
                    "has control characters in it",
                    "give one rule like `ALL=(ALL) NOPASSWD: ALL`",
                );
            }
            rule => rules.extend(rule.map(ToOwned::to_owned)),
        }
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

//! `user_accounts`, and ssh keys wherever they stand.

use super::names;
use super::reader::{At, Findings, shown};
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
pub(super) fn read(ks_meta: &At<'_>, findings: &mut Findings) -> Vec<Account> {
    let Some(at) = ks_meta.get("user_accounts") else {
        findings.warn(format!(
            "`{}` is missing: no accounts are made (orchestrators before Fuel 9.0 do not send it)",
            ks_meta.path_of("user_accounts")
        ));
        return Vec::new();
    };
    let items = at.items(findings);
    items
        .iter()
        .filter_map(|item| account(item, findings))
        .collect()
}

fn account(at: &At<'_>, findings: &mut Findings) -> Option<Account> {
    for (key, value) in at.entries(findings) {
        if !KEYS.contains(&key) {
            let hint = format!("leave it out; known are {}", KEYS.join(", "));
            findings.add(value.path(), "is no key of an account", hint);
        }
    }
    let name = at.require("name", "the login name", findings);
    let name = name.and_then(|name| login_name(&name, findings));
    let homedir = at.require("homedir", "the home folder", findings);
    let homedir = homedir.and_then(|folder| absolute_path(&folder, "/home/fuel", findings));
    let password = at
        .require(
            "password",
            "the password, or null and `hashed_password`",
            findings,
        )
        .map(|password| secret(Some(password), findings));
    let hashed_password = secret(at.get("hashed_password"), findings);
    let shell = match at.get("shell") {
        None => Some("/bin/bash"),
        Some(shell) => absolute_path(&shell, "/bin/bash", findings),
    };
    let ssh_keys = at
        .get("ssh_keys")
        .filter(At::truthy)
        .map(|list| list.items(findings));
    Some(Account {
        name: name?.to_owned(),
        homedir: homedir?.to_owned(),
        password: password?,
        hashed_password,
        sudo: sudo(at, findings),
        ssh_keys: keys(&ssh_keys.unwrap_or_default(), findings),
        shell: shell?.to_owned(),
    })
}

/// A name that can stand in passwd.
fn login_name<'a>(at: &At<'a>, findings: &mut Findings) -> Option<&'a str> {
    let name = at.text(findings)?;
    let bad = |c: char| c.is_control() || c.is_whitespace() || matches!(c, ':' | '/' | ',');
    if name.is_empty() || name.starts_with('-') || name.contains(bad) {
        let what = format!("`{}` is no login name", shown(name));
        findings.add(at.path(), what, "use letters, digits, `_` and `-`");
        return None;
    }
    Some(name)
}

/// A path that can stand in passwd.
fn absolute_path<'a>(at: &At<'a>, example: &str, findings: &mut Findings) -> Option<&'a str> {
    let path = at.text(findings)?;
    if !path.starts_with('/') || names::has_control(path) || path.contains(':') {
        let what = format!("`{}` is no absolute path", shown(path));
        findings.add(at.path(), what, format!("give one like `{example}`"));
        return None;
    }
    Some(path)
}

fn secret(at: Option<At<'_>>, findings: &mut Findings) -> Option<Secret> {
    let at = at.filter(|at| !at.value().is_null())?;
    at.text(findings).map(Secret::new)
}

fn sudo(at: &At<'_>, findings: &mut Findings) -> Vec<String> {
    let Some(list) = at.get("sudo").filter(At::truthy) else {
        return Vec::new();
    };
    let mut rules = Vec::new();
    for item in list.items(findings) {
        match item.text(findings) {
            Some(rule) if names::has_control(rule) => {
                findings.add(
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
pub(super) fn keys(items: &[At<'_>], findings: &mut Findings) -> Vec<String> {
    let mut keys = Vec::new();
    for item in items {
        let Some(key) = item.text(findings).map(names::unquoted) else {
            continue;
        };
        if names::has_control(key) {
            findings.add(
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

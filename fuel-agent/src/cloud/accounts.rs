//! Accounts: passwords as salted hashes only, keys, sudo rules.

use serde_json::{Map, Value, json};
use sha_crypt::{PasswordHasher, ShaCrypt};
use sha2::{Digest, Sha256};

use crate::model::node::Account;

/// How passwords are hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hashing<'a> {
    /// Hashed, with a salt derived from this text.
    Salted(&'a str),
    /// A placeholder of the same length, for computing sizes: hashing is slow.
    Counted,
}

/// Length of a hash: `$6$rounds=5000$`, 16 characters of salt, `$`, 86 of the hash.
const HASH_LENGTH: usize = 118;

/// cloud-init's `users`. An empty list differs from none: without a list cloud-init creates an account of its own.
pub(super) fn users(accounts: &[Account], hashing: Hashing<'_>) -> Vec<Value> {
    accounts
        .iter()
        .map(|account| user(account, hashing))
        .collect()
}

fn user(account: &Account, hashing: Hashing<'_>) -> Value {
    let mut user = Map::new();
    user.insert("name".to_owned(), json!(account.name));
    user.insert("homedir".to_owned(), json!(account.homedir));
    user.insert("shell".to_owned(), json!(account.shell));
    let hash = hash(account, hashing);
    user.insert("lock_passwd".to_owned(), json!(hash.is_none()));
    if let Some(hash) = hash {
        // not `passwd`: that is for accounts that cloud-init creates, and root exists already
        user.insert("hashed_passwd".to_owned(), json!(hash));
    }
    if !account.ssh_keys.is_empty() {
        user.insert("ssh_authorized_keys".to_owned(), json!(account.ssh_keys));
    }
    // one rule as a string: cloud-init takes a list too, but the schema of older releases does not
    match account.sudo.as_slice() {
        [] => {}
        [rule] => drop(user.insert("sudo".to_owned(), json!(rule))),
        rules => drop(user.insert("sudo".to_owned(), json!(rules))),
    }
    Value::Object(user)
}

/// SHA-512 crypt of the password, or the given hash. The salt differs for each installation and account.
fn hash(account: &Account, hashing: Hashing<'_>) -> Option<String> {
    if let Some(password) = &account.password {
        let salt = match hashing {
            Hashing::Salted(salt) => salt,
            Hashing::Counted => return Some("x".repeat(HASH_LENGTH)),
        };
        let digest = Sha256::digest(format!("{salt}/{}", account.name));
        let salt = digest.get(..12).unwrap_or_default();
        let hashed = ShaCrypt::SHA512.hash_password_with_salt(password.reveal().as_bytes(), salt);
        return hashed.ok().map(|hash| hash.to_string());
    }
    account
        .hashed_password
        .as_ref()
        .map(|hash| hash.reveal().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::node::Secret;
    use crate::testing::sample_plan;

    #[test]
    fn a_password_becomes_a_hash_that_crypt_knows() {
        let account = &sample_plan::node().accounts[0];
        let hash = hash(account, Hashing::Salted("8f0f6a3a")).unwrap();
        assert_eq!(hash.len(), HASH_LENGTH);
        // the same by `openssl passwd -6 -salt rounds=5000$SALT in-the-clear`
        insta::assert_snapshot!(hash, @"
        $6$rounds=5000$6d0P.lbo0nxGvZQu$ZlJe9NxGePHXxATCV1MWyH/PAJPMRODdaCVpRzl4MpgR6YBxCs9jh3aR4A2dFVxik3x3RYknPUn78yEQqFJBk1
        ");
        insta::assert_snapshot!(serde_json::to_string_pretty(&user(account, Hashing::Salted("8f0f6a3a"))).unwrap(), @r#"
        {
          "name": "fueladmin",
          "homedir": "/home/fueladmin",
          "shell": "/bin/bash",
          "lock_passwd": false,
          "hashed_passwd": "$6$rounds=5000$6d0P.lbo0nxGvZQu$ZlJe9NxGePHXxATCV1MWyH/PAJPMRODdaCVpRzl4MpgR6YBxCs9jh3aR4A2dFVxik3x3RYknPUn78yEQqFJBk1",
          "ssh_authorized_keys": [
            "ssh-rsa AAAAB3 admin@fuel"
          ],
          "sudo": "ALL=(ALL) NOPASSWD: ALL"
        }
        "#);
    }

    #[test]
    fn the_salt_is_another_for_each_account_and_installation() {
        let account = sample_plan::node().accounts[0].clone();
        let mut other = account.clone();
        other.name = "other".to_owned();
        let salted = |account, salt| hash(account, Hashing::Salted(salt));
        let hashes = [
            salted(&account, "1"),
            salted(&account, "2"),
            salted(&other, "1"),
        ];
        assert!(hashes[0] != hashes[1] && hashes[0] != hashes[2]);
    }

    #[test]
    fn a_ready_hash_is_taken_as_it_is_and_none_locks() {
        let mut account = sample_plan::node().accounts[0].clone();
        account.password = None;
        assert_eq!(
            user(&account, Hashing::Salted(""))["lock_passwd"],
            json!(true)
        );
        account.hashed_password = Some(Secret::new("$6$x$y"));
        assert_eq!(
            user(&account, Hashing::Salted(""))["hashed_passwd"],
            json!("$6$x$y")
        );
    }
}

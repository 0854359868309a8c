//! `keygen`, `sign` and `verify`: keys and signatures that minisign reads, and those that it makes.

use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minisign::{KeyPair, PublicKey, SecretKey, SecretKeyBox};
use os_image::manifest::Manifest;
use os_image::signature::{self, KeyId, TrustedKey};

use crate::cli::{Keygen, Sign, Verify};
use crate::error::refused;
use crate::output::Outputs;
use crate::signable::{self, Signable};
use crate::signed_manifest::{self, Signed, SignedManifest};

/// First line of a secret key, after `untrusted comment: `.
const SECRET_COMMENT: &str = "minisign secret key of image-builder";

/// Length of a secret key in bytes: algorithms, salt and limits of the key derivation, id, key, checksum.
const SECRET_LENGTH: usize = 158;

/// Makes a key pair; returns the public key and its path.
pub(crate) fn keygen(options: &Keygen) -> Result<(TrustedKey, PathBuf)> {
    let public_path = public_path(&options.key);
    let password = password(options.password_file.as_deref())?;
    let pair = match password {
        Some(password) => KeyPair::generate_encrypted_keypair(Some(password)),
        None => KeyPair::generate_unencrypted_keypair(),
    }
    .context("cannot make a key")?;
    let secret = pair
        .sk
        .to_box(Some(SECRET_COMMENT))
        .context("cannot write the key")?;
    let public = pair
        .pk
        .to_box()
        .context("cannot write the key")?
        .into_string();
    let key = TrustedKey::parse(&public)?;
    write_new(&options.key, &secret.into_string(), 0o600)?;
    if let Err(error) = write_new(&public_path, &public, 0o644) {
        // a secret key without its public key is useless
        drop(fs::remove_file(&options.key));
        return Err(error);
    }
    Ok((key, public_path))
}

fn public_path(key: &Path) -> PathBuf {
    let mut name = key.file_name().unwrap_or_default().to_owned();
    name.push(".pub");
    key.with_file_name(name)
}

/// Writes a new file. An existing one is an error: an overwritten key is lost.
fn write_new(path: &Path, text: &str, mode: u32) -> Result<()> {
    let what = || format!("cannot write {}", path.display());
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => refused(
                format!("{} already exists", path.display()),
                "give another file; an overwritten key would be lost",
            ),
            _ => error.into(),
        })
        .with_context(what)?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(what)
}

/// The password: the first line of the file.
fn password(path: Option<&Path>) -> Result<Option<String>> {
    let Some(path) = path else {
        return Ok(None);
    };
    let text = fs::read_to_string(path)
        .with_context(|| format!("cannot read the password in {}", path.display()))?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        return Err(refused(
            format!("{} has no password in its first line", path.display()),
            "write the password in the first line, or omit --password-file",
        ));
    }
    Ok(Some(line.to_owned()))
}

/// Reads a secret key and decrypts it.
fn secret_key(path: &Path, password_file: Option<&Path>) -> Result<SecretKey> {
    let what = || format!("cannot read the key in {}", path.display());
    let text = fs::read_to_string(path).with_context(what)?;
    let none = || {
        refused(
            format!("{} is not a secret key", path.display()),
            "give the secret key that `keygen` or minisign made, not the .pub file",
        )
    };
    let bytes = text
        .lines()
        .nth(1)
        .and_then(|line| STANDARD.decode(line.trim()).ok());
    let bytes = bytes
        .filter(|bytes| bytes.len() == SECRET_LENGTH)
        .ok_or_else(none)?;
    let password = password(password_file)?;
    // the key derivation function; zeros mean that the key is not encrypted
    match (bytes.get(2..4), password) {
        // minisign writes no checksum for these: a damaged key is found when its signature is verified
        (Some(&[0, 0]), _) => SecretKey::from_bytes(&bytes).with_context(what),
        (Some(b"Sc"), Some(password)) => {
            let parsed = SecretKeyBox::from_string(&text).with_context(what)?;
            parsed.into_secret_key(Some(password)).map_err(|_| {
                refused(
                    format!("the password is wrong for {}", path.display()),
                    "give the password of this key",
                )
            })
        }
        (Some(b"Sc"), None) => Err(refused(
            format!("{} is encrypted with a password", path.display()),
            "give the password with --password-file",
        )),
        _ => Err(none()),
    }
}

/// Signs what a file needs to be trusted ([`Signable`]); returns the key's id and the paths of the signatures.
pub(crate) fn sign(options: &Sign) -> Result<(KeyId, Vec<PathBuf>)> {
    let files = signable::of(&options.image)?;
    let comments: Vec<String> = files.iter().map(Signable::check).collect::<Result<_>>()?;
    let secret = secret_key(&options.key, options.password_file.as_deref())?;
    let public = PublicKey::from_secret_key(&secret).context("cannot use the key")?;
    let key = TrustedKey::parse(&public.to_base64())?;
    let folder = options.image.parent();
    let folder = folder.filter(|folder| !folder.as_os_str().is_empty());
    let mut outputs = Outputs::new(folder.unwrap_or(Path::new(".")))?;
    let mut paths = Vec::new();
    for (signable, comment) in files.iter().zip(&comments) {
        let what = || format!("cannot sign {}", signable.path().display());
        let file = File::open(signable.path()).with_context(what)?;
        // `sign` verifies its result with the public key
        let signature = minisign::sign(
            Some(&public),
            &secret,
            BufReader::new(file),
            Some(comment),
            None,
        )
        .with_context(what)?
        .into_string();
        let path = signed_manifest::signature_path(signable.path());
        let file_name = path.file_name().unwrap_or_default().to_string_lossy();
        outputs.write(&file_name, |out| out.write_all(signature.as_bytes()))?;
        paths.push(path);
    }
    outputs.place()?;
    Ok((key.id(), paths))
}

/// Verifies the signatures of what `sign` signs; returns a line about each file.
pub(crate) fn verify(options: &Verify) -> Result<Vec<String>> {
    let keys = signed_manifest::keys(&options.key)?;
    let files = signable::of(&options.image)?;
    let is_manifest = |file: &Signable| matches!(file, Signable::Manifest(_));
    if options.min_release > 0 && !files.iter().any(is_manifest) {
        return Err(refused(
            format!("{} has no release", options.image.display()),
            "omit `--min-release`: only packed images have releases",
        ));
    }
    let line = |file: &Signable| verify_one(file, &keys, options.min_release);
    files.iter().map(line).collect()
}

fn verify_one(file: &Signable, keys: &[TrustedKey], min_release: u64) -> Result<String> {
    let path = file.path();
    let Signable::Manifest(_) = file else {
        let what = || format!("cannot trust {}", path.display());
        let Some(signature) = signed_manifest::read_signature(path)? else {
            return Err(unsigned(path));
        };
        let bytes = File::open(path).with_context(what)?;
        let key = signature::verify(BufReader::new(bytes), &signature, keys).with_context(what)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        return Ok(format!("{name}, signed by key {key}"));
    };
    let image = SignedManifest::read(path, keys)?;
    let Manifest { name, release, .. } = &image.manifest;
    if *release < min_release {
        return Err(refused(
            format!("release {release} is older than {min_release}"),
            "use a newer release",
        ));
    }
    match image.signed {
        Signed::By(key) => Ok(format!("{name} release {release}, signed by key {key}")),
        Signed::No | Signed::Unchecked => Err(refused("no key was given", "give one with --key")),
    }
}

fn unsigned(path: &Path) -> anyhow::Error {
    refused(
        format!("{} is not signed", path.display()),
        "sign it with `image-builder sign`",
    )
}

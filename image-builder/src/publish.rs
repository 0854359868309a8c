//! `publish`: copies a packed image into a folder that a web server serves.
//!
//! ```text
//!   TO/index.json            names, their releases, and the latest release of each
//!   TO/NAME/RELEASE/         the files of that release: never changed again
//!   TO/NAME/latest           a link to the newest release
//! ```
//!
//! Readers see the old or the new state, nothing between: a release is copied to a hidden folder and then renamed, the
//! link and the index are replaced by a rename. The next run completes an interrupted one.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use host::cancel::Cancel;
use os_image::manifest::{Limits, Manifest, manifest_file_name};
use serde_json::{Map, Value, json};

use crate::cli::Publish;
use crate::error::{Interrupted, refused};
use crate::file_digest::{Digesting, WithMd5};
use crate::output::{Outputs, sync_folder};
use crate::signed_manifest::{self, SignedManifest};

/// The link to the newest release.
const LATEST: &str = "latest";
/// Prefix of the hidden folder of a release while it is being copied.
const PARTIAL: &str = ".partial.";
/// Bytes per read.
const PIECE: usize = 1 << 20;

/// Result of `publish`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Published {
    /// The folder of the release.
    pub(crate) folder: PathBuf,
    /// Whether it had been published before.
    pub(crate) before: bool,
}

/// Publishes a packed image.
pub(crate) fn publish(options: &Publish, cancel: &Cancel) -> Result<Published> {
    let keys = signed_manifest::keys(&options.key)?;
    let image = SignedManifest::read(&options.image, &keys)?;
    image.check_lengths()?;
    let name = &image.manifest.name;
    let home = options.to.join(name);
    fs::create_dir_all(&home).with_context(|| format!("cannot create {}", home.display()))?;
    // one run at a time; the kernel releases the lock when the process ends
    let lock = File::create(options.to.join(".lock")).context("cannot create the lock file")?;
    lock.lock().context("cannot take the lock")?;
    remove_partial(&home)?;
    let folder = home.join(image.manifest.release.to_string());
    let before = folder.exists();
    if before {
        check_same(&image, &folder)?;
    } else {
        check_newest(&image.manifest, &home)?;
        copy(&image, &home, &folder, cancel)?;
    }
    let newest = releases(&home)?.into_iter().max();
    link(&home, &newest.unwrap_or(image.manifest.release).to_string())?;
    index(&options.to)?;
    Ok(Published { folder, before })
}

/// Removes the hidden folder of a killed run. The lock is held, so that run has ended.
fn remove_partial(home: &Path) -> Result<()> {
    let what = || format!("cannot clean up {}", home.display());
    for entry in fs::read_dir(home).with_context(what)? {
        let entry = entry.with_context(what)?;
        if entry.file_name().to_string_lossy().starts_with(PARTIAL) {
            fs::remove_dir_all(entry.path()).with_context(what)?;
        }
    }
    Ok(())
}

/// The numbers of the releases in a folder, unsorted.
fn releases(home: &Path) -> Result<Vec<u64>> {
    let what = || format!("cannot list {}", home.display());
    let mut releases = Vec::new();
    for entry in fs::read_dir(home).with_context(what)? {
        let name = entry.with_context(what)?.file_name();
        releases.extend(name.to_str().and_then(|name| name.parse::<u64>().ok()));
    }
    Ok(releases)
}

/// Refuses a release that is older than the newest: nodes that have seen a newer one may refuse it.
fn check_newest(manifest: &Manifest, home: &Path) -> Result<()> {
    match releases(home)?.into_iter().max() {
        Some(newest) if newest > manifest.release => Err(refused(
            format!(
                "release {} of {} is older than the published release {newest}",
                manifest.release, manifest.name
            ),
            format!("pack it with --release {}", newest.saturating_add(1)),
        )),
        _ => Ok(()),
    }
}

/// Refuses a release number that was published with another manifest.
fn check_same(image: &SignedManifest, folder: &Path) -> Result<()> {
    let there = folder.join(image.path.file_name().unwrap_or_default());
    let read =
        |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    if there.exists() && read(&there)? == read(&image.path)? {
        return Ok(());
    }
    Err(refused(
        format!(
            "another image is published as release {} of {}",
            image.manifest.release, image.manifest.name
        ),
        "pack the image with a larger --release: a published release is never changed",
    ))
}

/// Copies a release to a hidden folder, checking every byte, and renames that.
fn copy(image: &SignedManifest, home: &Path, folder: &Path, cancel: &Cancel) -> Result<()> {
    let partial = tempfile::Builder::new()
        .prefix(PARTIAL)
        .tempdir_in(home)
        .with_context(|| format!("cannot make a folder in {}", home.display()))?;
    for listed in &image.manifest.images {
        let from = image.data_file(&listed.file);
        let (size, sha256) = copy_file(&from, &partial.path().join(&listed.file), cancel)?;
        if size != listed.packed_size || sha256 != listed.packed_sha256 {
            return Err(refused(
                format!("{} does not match its manifest", from.display()),
                "pack the image again; `image-builder inspect --check` shows the difference",
            ));
        }
    }
    let manifest_name = image.path.file_name().unwrap_or_default();
    let signature = signed_manifest::signature_path(&image.path);
    let mut small = vec![(image.path.clone(), partial.path().join(manifest_name))];
    if signature.exists() {
        let name = signature.file_name().unwrap_or_default();
        small.push((signature.clone(), partial.path().join(name)));
    }
    small.extend(other_files(image, partial.path()));
    for (from, to) in &small {
        copy_file(from, to, cancel)?;
    }
    fs::set_permissions(partial.path(), fs::Permissions::from_mode(0o755))
        .context("cannot make the folder readable")?;
    sync_folder(partial.path())?;
    fs::rename(partial.path(), folder)
        .with_context(|| format!("cannot write {}", folder.display()))?;
    // renamed: there is nothing left to remove
    let _ = partial.keep();
    sync_folder(home)
}

/// The gzip file, Fuel's YAML and the bill of materials of the first image, where they exist, with their targets.
fn other_files(image: &SignedManifest, goal: &Path) -> Vec<(PathBuf, PathBuf)> {
    let first = image.manifest.images.first();
    let stem = first
        .and_then(|image| image.file.split('.').next())
        .unwrap_or_default();
    let suffixes = ["img.gz", "yaml", "yaml.minisig", "cdx.json"];
    let names = suffixes.map(|suffix| format!("{stem}.{suffix}"));
    let paths = names
        .iter()
        .map(|name| (image.data_file(name), goal.join(name)));
    paths.filter(|(from, _)| from.is_file()).collect()
}

/// Copies and flushes a file; returns its size and sha256.
fn copy_file(from: &Path, to: &Path, cancel: &Cancel) -> Result<(u64, [u8; 32])> {
    let reading = || format!("cannot read {}", from.display());
    let writing = || format!("cannot write {}", to.display());
    let mut source = File::open(from).with_context(reading)?;
    let goal = File::create(to).with_context(writing)?;
    let mut goal = Digesting::new(goal, WithMd5::No);
    let mut buffer = vec![0; PIECE];
    loop {
        if cancel.is_cancelled() {
            return Err(Interrupted.into());
        }
        let n = match source.read(&mut buffer) {
            Ok(0) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read.with_context(reading)?,
        };
        goal.write_all(&buffer[..n]).with_context(writing)?;
    }
    let (file, digest) = goal.finish();
    file.sync_all().with_context(writing)?;
    Ok((digest.size, digest.sha256))
}

/// Points `latest` at a release, atomically.
fn link(home: &Path, release: &str) -> Result<()> {
    let link = home.join(LATEST);
    if fs::read_link(&link).is_ok_and(|now| now == Path::new(release)) {
        return Ok(());
    }
    let new = home.join(".latest.new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).context("cannot replace the link");
        }
        _ => {}
    }
    std::os::unix::fs::symlink(release, &new)
        .and_then(|()| fs::rename(&new, &link))
        .with_context(|| format!("cannot write {}", link.display()))?;
    sync_folder(home)
}

/// Rewrites `index.json` from the folders of `to`.
fn index(to: &Path) -> Result<()> {
    let what = || format!("cannot list {}", to.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(to).with_context(what)? {
        let entry = entry.with_context(what)?;
        let name = entry.file_name().into_string().unwrap_or_default();
        if !name.starts_with('.') && entry.path().is_dir() {
            names.push(name);
        }
    }
    names.sort();
    let mut images = Map::new();
    for name in names {
        let home = to.join(&name);
        let mut numbers = releases(&home)?;
        numbers.sort_unstable();
        let listed = numbers.iter().filter_map(|release| entry(&home, *release));
        let listed: Vec<Value> = listed.collect();
        if let Some(latest) = numbers.last().filter(|_| !listed.is_empty()) {
            images.insert(name, json!({"latest": latest, "releases": listed}));
        }
    }
    let text = serde_json::to_string_pretty(&json!({"version": 1, "images": images}))? + "\n";
    let mut outputs = Outputs::new(to)?;
    outputs.write("index.json", |out| out.write_all(text.as_bytes()))?;
    outputs.place()
}

/// The index entry of a release; `None` where its folder has no manifest.
fn entry(home: &Path, release: u64) -> Option<Value> {
    let folder = home.join(release.to_string());
    let manifest = fs::read_dir(&folder).ok()?.flatten().find_map(|entry| {
        let path = entry.path();
        let is_manifest = path.to_string_lossy().ends_with(".manifest.json");
        let file = File::open(&path).ok().filter(|_| is_manifest)?;
        Manifest::read(io::BufReader::new(file), &Limits::default()).ok()
    })?;
    let files = manifest.images.iter().map(|image| {
        json!({
            "file": image.file,
            "manifest": manifest_file_name(&image.file),
            "raw_size": image.raw_size,
            "packed_size": image.packed_size,
        })
    });
    let signed = manifest.images.first().is_some_and(|image| {
        let manifest = folder.join(manifest_file_name(&image.file));
        signed_manifest::signature_path(&manifest).exists()
    });
    Some(json!({
        "release": release,
        "os": manifest.os.name,
        "os_version": manifest.os.version,
        "architecture": manifest.architecture,
        "signed": signed,
        "images": files.collect::<Vec<_>>(),
    }))
}

//! Makes a kernel, a ramdisk and its manifest from package files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use apt_sources::apt::Apt;
use apt_sources::lock::{self, Lock};
use apt_sources::{Cache, Mirror, Proxies, Wanted};
use host::exec::Exec;

use crate::archive;
use crate::bom;
use crate::elf;
use crate::error::{self, Error};
use crate::manifest::{self, Artifact, Manifest};
use crate::modules::{self, Modules};
use crate::recipe::{self, RecipeEntry};
use crate::resolve::{self, ResolveInput};
use crate::tree::{EntryKind, Tree};
use crate::unpack::Unpacked;

/// Options of a build.
#[derive(Clone, Debug)]
pub struct BuildOptions {
    /// Path of the static agent.
    pub agent: PathBuf,
    /// Output folder.
    pub out: PathBuf,
    /// Package of the kernel, or one that depends on it.
    pub kernel_package: String,
    /// Packages with firmware.
    pub firmware: Vec<String>,
    /// Rules for kernel modules, applied after the built-in list.
    pub modules: Vec<String>,
    /// zstd's level, 1 to 19.
    pub level: i32,
    /// Path of the lock file.
    pub lock: PathBuf,
    /// Whether to use current versions instead of the lock's.
    pub renew_lock: bool,
    /// Cache folder for package files.
    pub cache: PathBuf,
    /// File of public keys that may log in.
    pub authorized_keys: Option<PathBuf>,
    /// File with the ssh server's private key; without one each boot makes its own.
    pub host_key: Option<PathBuf>,
    /// File of the agent's settings.
    pub conf: Option<PathBuf>,
    /// PEM file of the authorities that the agent trusts.
    pub ca: Option<PathBuf>,
    /// URLs of mirrors given by the user.
    pub mirrors: Vec<String>,
    /// Whether archives may be used whose signature apt was told not to check.
    pub allow_unsigned: bool,
    /// Code name of the Debian release.
    pub suite: String,
    /// Proxies from the environment.
    pub proxies: Proxies,
    /// The current time, or `SOURCE_DATE_EPOCH`, in seconds since 1970.
    pub now: u32,
    /// Whether `now` is `SOURCE_DATE_EPOCH`, which overrides the lock's time.
    pub now_is_given: bool,
}

/// Builds kernel, ramdisk and manifest. They are written to the output folder only when all of them are complete.
pub fn build(exec: &mut dyn Exec, options: &BuildOptions) -> Result<Manifest, Error> {
    let entries = recipe::parse(recipe::RECIPE)?;
    let agent = fs::read(&options.agent).map_err(|source| Error::NoAgent {
        path: options.agent.clone(),
        source,
    })?;
    elf::check_static(&options.agent, &agent)?;
    let in_use = Cache::open(&options.cache)?;
    let cache = in_use.folder();
    let mirrors = options.mirrors.iter();
    let mirrors: Vec<_> = mirrors.map(|uri| Mirror::of(uri, &options.suite)).collect();
    let input = ResolveInput {
        suite: &options.suite,
        kernel: &options.kernel_package,
        firmware: &options.firmware,
        entries: &entries,
        now: options.now,
    };
    let wanted = Wanted {
        suite: &options.suite,
        architecture: crate::ARCHITECTURE,
        mirrors: &mirrors,
        machine_security: false,
        firmware: !options.firmware.is_empty(),
        allow_unsigned: options.allow_unsigned,
    };
    let mut apt = Apt::new(exec, in_use.apt_state()?, wanted, options.proxies.clone());
    let lock = lock_for(&mut apt, options, input, cache)?;
    let mut unpacked = Unpacked::new(cache)?;
    apt.prefetch(&lock.packages, cache)?;
    for package in &lock.packages {
        let file = apt.fetch(package, cache)?;
        tracing::info!(package = package.name, version = package.version, "unpack");
        unpacked.add(apt.exec(), &package.name, &file)?;
    }
    let kernel = kernel_package(&unpacked, &options.kernel_package)?;
    tracing::info!(package = kernel, "index the kernel's modules");
    let stage = unpacked.folder().join(".stage");
    let root = unpacked.root(&kernel).unwrap_or(Path::new("/nonexistent"));
    let modules = modules::choose(apt.exec(), root, &kernel, &options.modules, &stage)?;
    let mut tree = Tree::new();
    take_entries(&mut tree, &entries, &unpacked)?;
    take_libraries(&mut tree, &entries, &unpacked)?;
    take_modules(&mut tree, &modules)?;
    take_firmware(&mut tree, &options.firmware, &modules, &unpacked)?;
    tree.insert("agent", "usr/bin/provision", 0o755, EntryKind::File(agent))?;
    let built = if options.now_is_given {
        options.now
    } else {
        lock.made
    };
    crate::base::take(&mut tree, options, built)?;
    finish(
        tree,
        options,
        &lock,
        &modules,
        &vmlinuz(root, &modules.release)?,
        built,
    )
}

/// The existing lock, if it matches the options, or a new one.
fn lock_for(
    apt: &mut Apt<'_>,
    options: &BuildOptions,
    input: ResolveInput<'_>,
    cache: &Path,
) -> Result<Lock, Error> {
    if !options.renew_lock
        && let Some(lock) = Lock::read(&options.lock)?
    {
        lock.check(&options.lock, &options.suite, &resolve::roots(input))?;
        return Ok(lock);
    }
    tracing::info!(suite = options.suite, "choose package versions");
    let lock = resolve::resolve(apt, input, cache, cache)?;
    lock.write(&options.lock)?;
    tracing::info!(packages = lock.packages.len(), lock = %options.lock.display(), "locked");
    Ok(lock)
}

/// Name of the package that contains the kernel.
fn kernel_package(unpacked: &Unpacked, asked: &str) -> Result<String, Error> {
    unpacked
        .names()
        .find(|name| {
            unpacked
                .root(name)
                .is_some_and(|root| root.join("boot").is_dir())
        })
        .map(str::to_owned)
        .ok_or_else(|| Error::NoKernel {
            package: asked.to_owned(),
            why: "no package of the lock has a folder `/boot`".to_owned(),
        })
}

/// Reads the kernel image.
fn vmlinuz(root: &Path, release: &str) -> Result<Vec<u8>, Error> {
    let path = root.join("boot").join(format!("vmlinuz-{release}"));
    fs::read(&path).map_err(error::io("read", &path))
}

/// Adds the recipe's files.
fn take_entries(
    tree: &mut Tree,
    entries: &[RecipeEntry],
    unpacked: &Unpacked,
) -> Result<(), Error> {
    for entry in entries {
        for (path, file) in unpacked.entry(&entry.package, &entry.path)? {
            let to = entry.destination.as_deref().unwrap_or(&path);
            tree.copy(&entry.part, to, &file)?;
        }
    }
    Ok(())
}

/// Adds the libraries and loaders that the programs need, under the names that they request.
fn take_libraries(
    tree: &mut Tree,
    entries: &[RecipeEntry],
    unpacked: &Unpacked,
) -> Result<(), Error> {
    let closure = resolve::libraries(entries, unpacked)?;
    if let Some(missing) = closure.missing.into_iter().next() {
        return Err(Error::NoLibrary {
            library: missing.soname,
            needed_by: missing.needed_by,
        });
    }
    for library in closure.libraries {
        let path = format!("usr/lib/x86_64-linux-gnu/{}", library.soname);
        tree.copy("library", &path, &library.file)?;
    }
    for loader in closure.loaders {
        let name = loader.rsplit('/').next().unwrap_or_default();
        if !tree.contains(&loader) {
            let target = format!("/usr/lib/x86_64-linux-gnu/{name}");
            tree.link("library", &loader, &target)?;
        }
    }
    Ok(())
}

/// Adds the chosen modules and their indexes, in parts by kind of driver.
fn take_modules(tree: &mut Tree, modules: &Modules) -> Result<(), Error> {
    let to = format!("usr/lib/modules/{}", modules.release);
    for path in &modules.paths {
        let part = match path.trim_start_matches("kernel/") {
            p if p.starts_with("drivers/net/") || p.starts_with("net/") => "modules-net",
            p if p.starts_with("drivers/scsi/") || p.starts_with("drivers/message/") => {
                "modules-scsi"
            }
            p if p.starts_with("fs/") => "modules-fs",
            _ => "modules-else",
        };
        tree.copy(part, &format!("{to}/{path}"), &modules.folder.join(path))?;
    }
    for index in modules::INDEXES {
        let from = modules.folder.join(index);
        if from.exists() {
            tree.copy("modules-else", &format!("{to}/{index}"), &from)?;
        }
    }
    Ok(())
}

/// Adds the firmware that the chosen modules may request; all of it if that is unknown, as with compressed modules.
fn take_firmware(
    tree: &mut Tree,
    packages: &[String],
    modules: &Modules,
    unpacked: &Unpacked,
) -> Result<(), Error> {
    for package in packages {
        let files: BTreeMap<_, _> = unpacked
            .entry(package, "/lib/firmware/")?
            .into_iter()
            .collect();
        let mut taken = 0_usize;
        for (path, file) in files {
            let name = path
                .trim_start_matches("usr/")
                .trim_start_matches("lib/firmware/");
            let plain = name.trim_end_matches(".xz").trim_end_matches(".zst");
            let is_needed = modules.firmware.is_empty()
                || modules
                    .firmware
                    .iter()
                    .any(|pattern| recipe::matches(pattern, plain));
            if is_needed && !tree.contains(&path) {
                tree.copy("firmware", &path, &file)?;
                taken = taken.saturating_add(1);
            }
        }
        if taken == 0 {
            return Err(Error::NoFile {
                package: package.clone(),
                file: "/lib/firmware/* that a driver in the ramdisk may request".to_owned(),
            });
        }
    }
    Ok(())
}

/// Adds the ramdisk's own description, packs it, and writes the output files.
fn finish(
    mut tree: Tree,
    options: &BuildOptions,
    lock: &Lock,
    modules: &Modules,
    vmlinuz: &[u8],
    built: u32,
) -> Result<Manifest, Error> {
    let agent = lock::sha256_of(&options.agent)?;
    let contents = manifest::contents(&tree, lock, &modules.release, built, agent);
    let text = to_json(&contents, &options.out)?;
    tree.text("base", manifest::INSIDE, 0o644, &text)?;
    let out = &options.out;
    fs::create_dir_all(out).map_err(error::io("create", out))?;
    tracing::info!("pack");
    let raw = archive::write_cpio(&tree, built, Vec::new()).map_err(error::io("pack into", out))?;
    let packed = archive::pack(&raw, options.level).map_err(error::io("pack into", out))?;
    let staged = tempfile::Builder::new()
        .prefix(".ramdisk-")
        .tempdir_in(out)
        .map_err(error::io("create a folder in", out))?;
    let manifest = Manifest {
        version: manifest::VERSION,
        vmlinuz: artifact("vmlinuz", vmlinuz),
        ramdisk: artifact("ramdisk.img", &packed),
        raw_bytes: u64::try_from(raw.len()).unwrap_or(u64::MAX),
        contents,
    };
    let text = to_json(&manifest, out)?;
    let bom = bom::bom(lock, &manifest, &options.agent)?.render();
    let files: [(&str, &[u8]); 4] = [
        ("vmlinuz", vmlinuz),
        ("ramdisk.img", &packed),
        ("ramdisk.manifest.json", text.as_bytes()),
        ("ramdisk.cdx.json", bom.as_bytes()),
    ];
    for (name, bytes) in files {
        let path = staged.path().join(name);
        fs::write(&path, bytes).map_err(error::io("write", &path))?;
    }
    for (name, _) in files {
        let (from, to) = (staged.path().join(name), out.join(name));
        fs::rename(&from, &to).map_err(error::io("write", &to))?;
    }
    Ok(manifest)
}

fn artifact(file: &str, bytes: &[u8]) -> Artifact {
    use sha2::{Digest, Sha256};
    Artifact {
        file: file.to_owned(),
        size_bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        sha256: lock::hex(&Sha256::digest(bytes)),
    }
}

fn to_json(value: &impl serde::Serialize, out: &Path) -> Result<String, Error> {
    serde_json::to_string_pretty(value)
        .map(|text| text + "\n")
        .map_err(|cause| error::io("describe", out)(std::io::Error::other(cause)))
}

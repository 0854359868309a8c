//! The bill of a Rust program, from what `cargo tree` and `Cargo.lock` say.
//!
//! Not from `cargo metadata`: it knows the features of the whole workspace only, and so lists crates that the program
//! alone is built without. `cargo tree -p` answers for one package.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};

use crate::{Bom, Component, Kind, purl};

/// One line of `cargo tree`.
struct Line<'t> {
    depth: usize,
    name: &'t str,
    version: &'t str,
    license: String,
    /// Whether it is of the workspace: it has no digest.
    is_own: bool,
}

impl<'t> Line<'t> {
    /// Reads `DEPTHNAME vVERSION[ (NOTE)]...<tab>LICENCE[ (*)]`.
    fn parse(text: &'t str) -> Option<Self> {
        let digits = text.find(|c: char| !c.is_ascii_digit())?;
        let (depth, rest) = text.split_at(digits);
        let (package, license) = rest.split_once('\t')?;
        let mut words = package.split(' ');
        let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
        let license = license.trim_end_matches("(*)").trim();
        Some(Self {
            depth: depth.parse().ok()?,
            name,
            version,
            // the older form of SPDX in manifests
            license: license.replace(" / ", " OR ").replace('/', " OR "),
            is_own: package.contains("(/"),
        })
    }

    fn key(&self) -> (&'t str, &'t str) {
        (self.name, self.version)
    }

    fn component(&self) -> Component {
        Component {
            purl: Some(purl::cargo(self.name, self.version)),
            license: Some(self.license.clone()).filter(|license| !license.is_empty()),
            ..Component::new(Kind::Library, self.name, self.version)
        }
    }
}

/// The lines of a tree.
fn lines(tree: &str) -> Result<Vec<Line<'_>>> {
    let lines = tree.lines().filter(|line| !line.is_empty());
    let lines: Result<Vec<_>> = lines
        .map(|line| Line::parse(line).with_context(|| format!("`{line}` is no line of cargo tree")))
        .collect();
    let lines = lines?;
    match lines.first() {
        Some(first) if first.depth == 0 => Ok(lines),
        _ => bail!("cargo tree lists no package"),
    }
}

/// The digests of packages in the text of `Cargo.lock`, by name and version.
fn digests(lock: &str) -> BTreeMap<(&str, &str), &str> {
    let field = |block: &'_ str, name: &str| -> Option<(usize, usize)> {
        let start = block.find(&format!("\n{name} = \""))? + name.len() + 5;
        let length = block.get(start..)?.find('"')?;
        Some((start, start + length))
    };
    let blocks = lock.split("[[package]]");
    blocks
        .filter_map(|block| {
            let get = |name| field(block, name).and_then(|(from, to)| block.get(from..to));
            Some(((get("name")?, get("version")?), get("checksum")?))
        })
        .collect()
}

/// The bill of the program whose package is the root of the trees. `linked` is the tree of what is in it, `all` has
/// what it is built with too, `lock` is the text of `Cargo.lock`, `sha256` that of the program's file.
pub fn bom(program: &str, linked: &str, all: &str, lock: &str, sha256: &str) -> Result<Bom> {
    let linked: BTreeSet<_> = lines(linked)?.iter().map(Line::key).collect();
    let digests = digests(lock);
    let lines = lines(all)?;
    let mut components = BTreeMap::new();
    let mut dependencies: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut above: Vec<String> = Vec::new();
    let mut subject = Component::new(Kind::Application, program, "");
    for line in &lines {
        let mut component = line.component();
        component.build_only = !linked.contains(&line.key());
        component.sha256 = digests.get(&line.key()).map(|&digest| digest.to_owned());
        if component.sha256.is_none() && !line.is_own {
            bail!("Cargo.lock has no `{}` {}", line.name, line.version);
        }
        if line.depth == 0 {
            line.version.clone_into(&mut subject.version);
            subject.license.clone_from(&component.license);
            subject.sha256 = Some(sha256.to_owned());
            component.purl = None;
            program.clone_into(&mut component.name);
        }
        let reference = component.reference();
        above.truncate(line.depth);
        if let Some(parent) = above.last() {
            let needs = dependencies.entry(parent.clone()).or_default();
            needs.insert(reference.clone());
        }
        dependencies.entry(reference.clone()).or_default();
        above.push(reference.clone());
        if line.depth > 0 {
            components.insert(reference, component);
        }
    }
    Ok(Bom {
        subject,
        components: components.into_values().collect(),
        dependencies,
        time: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape;

    const LINKED: &str = "0agent v0.1.0 (/x/agent)\tApache-2.0\n1host v0.1.0 (/x/host)\tApache-2.0\n\
         2libc v0.2.1\tMIT/Apache-2.0\n1zstd v1.0.0+z.2\tBSD-3-Clause\n2libc v0.2.1\tMIT/Apache-2.0\n";
    const ALL: &str = "0agent v0.1.0 (/x/agent)\tApache-2.0\n1host v0.1.0 (/x/host)\tApache-2.0\n\
         2libc v0.2.1\tMIT/Apache-2.0\n1zstd v1.0.0+z.2\tBSD-3-Clause\n2cc v3.0.0\tMIT\n2libc v0.2.1\tMIT/Apache-2.0\n\
         1serde_derive v1.0.0 (proc-macro)\tMIT (*)\n";

    fn lock() -> String {
        let package = |name: &str, version: &str, n: u8| {
            let digest = format!("{n:02x}").repeat(32);
            format!(
                "[[package]]\nname = \"{name}\"\nversion = \"{version}\"\nchecksum = \"{digest}\"\n\
                 dependencies = [\n \"x\",\n]\n\n"
            )
        };
        let own = "[[package]]\nname = \"host\"\nversion = \"0.1.0\"\n\n";
        ["version = 4\n\n", own].concat()
            + &package("libc", "0.2.1", 1)
            + &package("zstd", "1.0.0+z.2", 2)
            + &package("cc", "3.0.0", 3)
            + &package("serde_derive", "1.0.0", 4)
    }

    #[test]
    fn the_closure_of_a_program_is_listed_with_digests_licences_and_edges() {
        let bom = bom("provision", LINKED, ALL, &lock(), &"ab".repeat(32)).unwrap();
        let text = bom.render();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(shape::problems(&value), Vec::<String>::new());
        assert!(!text.contains("/x/"), "a path of this machine is in {text}");
        let named = |name: &str| {
            let found = bom
                .components
                .iter()
                .find(|component| component.name == name);
            found.unwrap()
        };
        assert_eq!(named("libc").license.as_deref(), Some("MIT OR Apache-2.0"));
        assert_eq!(named("libc").sha256, Some("01".repeat(32)));
        assert_eq!(named("host").sha256, None);
        for (name, build_only) in [("libc", false), ("cc", true), ("serde_derive", true)] {
            assert_eq!(named(name).build_only, build_only, "{name}");
        }
        let needs = &bom.dependencies["pkg:cargo/zstd@1.0.0%2Bz.2"];
        assert_eq!(needs.len(), 2);
        assert_eq!(bom.dependencies["provision@0.1.0"].len(), 3);
    }

    #[test]
    fn a_crate_without_digest_and_other_output_are_errors() {
        let sha256 = "ab".repeat(32);
        let error = bom("p", LINKED, ALL, "", &sha256).unwrap_err();
        assert_eq!(error.to_string(), "Cargo.lock has no `libc` 0.2.1");
        for odd in ["", "error: no such package\n", "1libc v1\tMIT\n"] {
            bom("p", odd, ALL, &lock(), &sha256).unwrap_err();
            bom("p", LINKED, odd, &lock(), &sha256).unwrap_err();
        }
    }
}

//! The bill of materials of a ramdisk: the agent and the Debian packages.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use apt_sources::lock::Lock;
use sbom::{Bom, Component, Kind};
use serde_json::Value;

use crate::error::{self, Error};
use crate::manifest::Manifest;

/// The bill of the ramdisk that `manifest` describes, which has the agent in the file `agent` and the packages of
/// `lock`.
pub(crate) fn bom(lock: &Lock, manifest: &Manifest, agent: &Path) -> Result<Bom, Error> {
    let packages = lock.packages.iter().map(|package| {
        Component::debian(
            &package.name,
            &package.version,
            &package.architecture,
            &lock.suite,
            &package.sha256,
        )
    });
    let program = program(agent, &manifest.contents.agent_sha256)?;
    let components: Vec<_> = packages.chain([program]).collect();
    let subject = Component {
        sha256: Some(manifest.ramdisk.sha256.clone()),
        properties: vec![("provision:suite".to_owned(), lock.suite.clone())],
        ..Component::new(Kind::OperatingSystem, "ramdisk", &manifest.contents.kernel)
    };
    let parts = components.iter().map(Component::reference).collect();
    Ok(Bom {
        dependencies: BTreeMap::from([(subject.reference(), parts)]),
        subject,
        components,
        time: Some(manifest.contents.built),
    })
}

/// The agent, with the crates that its own bill lists, where that lies beside it and is about this very file.
fn program(agent: &Path, sha256: &str) -> Result<Component, Error> {
    let name = agent.file_name().unwrap_or_default().to_string_lossy();
    let mut program = Component {
        sha256: Some(sha256.to_owned()),
        ..Component::new(Kind::Application, "provision", env!("CARGO_PKG_VERSION"))
    };
    let path = agent.with_file_name(format!("{name}.cdx.json"));
    let text = match fs::read_to_string(&path) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(program),
        text => text.map_err(error::io("read", &path))?,
    };
    let bill: Value = serde_json::from_str(&text)
        .map_err(|cause| error::io("parse", &path)(io::Error::other(cause)))?;
    let about = bill.pointer("/metadata/component/hashes/0/content");
    if about.and_then(Value::as_str) != Some(sha256) {
        tracing::warn!(file = %path.display(), "is about another agent: its crates are not listed");
        return Ok(program);
    }
    if let Some(Value::Array(crates)) = bill.get("components") {
        program.components.clone_from(crates);
    }
    Ok(program)
}

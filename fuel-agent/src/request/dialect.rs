//! Which dialect a document is written in: by `--data_driver`, else by its keys.

use serde_json::Value;

use super::reader::JsonCursor;
use crate::model::request::{Dialect, Problem};

/// Dialect to read, from `--data_driver`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Driver {
    /// Found out from the keys of the document.
    #[default]
    Auto,
    /// What Fuel's orchestrator sends.
    Nailgun,
    /// The same with an explicit layout.
    NailgunSimple,
    /// Disks and images only.
    Ironic,
    /// The agent's own; not yet read.
    Native,
}

/// Keys that only requests with cloud-init data have: at the top, and in `ks_meta`.
const TOP: [&str; 5] = [
    "hostname",
    "interfaces",
    "kernel_options",
    "name_servers",
    "name_servers_search",
];
const KS_META: [&str; 8] = [
    "authorized_keys",
    "auth_key",
    "master_ip",
    "gw",
    "repo_setup",
    "puppet_master",
    "mco_host",
    "mco_pskey",
];

/// The dialect, or why there is none.
pub(super) fn detect(document: &JsonCursor<'_>, driver: Driver) -> Result<Dialect, Problem> {
    let problem = |what: &str, hint: &str| Problem {
        path: "$".to_owned(),
        what: what.to_owned(),
        hint: hint.to_owned(),
    };
    let native = || {
        problem(
            "the `native` dialect (`\"version\": 1`) is not supported by this version",
            "send a `nailgun`, `nailgun_simple` or `ironic` document",
        )
    };
    if !document.value().is_object() {
        if document.value() == &Value::Bool(false) {
            return Err(problem(
                "is `False`, not an object",
                "Cobbler answers `False` if it does not know the system or profile: correct the address of the \
                 request, or add the system",
            ));
        }
        return Err(problem(
            "is not an object",
            "send the description of one node: an object with `ks_meta`",
        ));
    }
    match driver {
        Driver::Nailgun => return Ok(Dialect::Nailgun),
        Driver::NailgunSimple => return Ok(Dialect::NailgunSimple),
        Driver::Ironic => return Ok(Dialect::Ironic),
        Driver::Native => return Err(native()),
        Driver::Auto => {}
    }
    let top = |key: &str| document.get(key).is_some();
    let ks_meta = document.get("ks_meta");
    if top("partitioning") {
        return Ok(Dialect::NailgunSimple);
    }
    if TOP.into_iter().any(top)
        || ks_meta
            .as_ref()
            .is_some_and(|at| KS_META.iter().any(|key| at.get(key).is_some()))
    {
        return Ok(Dialect::Nailgun);
    }
    if ks_meta.is_some() {
        return Ok(Dialect::Ironic);
    }
    if top("version") {
        return Err(native());
    }
    if top("nodes") {
        return Err(problem(
            "is the orchestrator's envelope of several nodes",
            "send one element of `nodes`",
        ));
    }
    Err(problem(
        "is in no known dialect: there is neither `partitioning` (nailgun_simple), nor `hostname`, `interfaces` or \
         `kernel_options` (nailgun), nor `ks_meta` (ironic), nor `version` (native)",
        "send the description of one node, or name its dialect with `--data_driver`",
    ))
}

//! Arrays and volume groups by the metadata of their members. Where a tool dies on one device, that device is unknown:
//! the others are examined one by one.

use host::exec::{ExecError, Output};
use std::path::Path;

use super::answers::{Array, PhysicalVolume, parse_mdadm, parse_pvs};
use super::graph::Node;
use super::reader::{Query, Reader};
use crate::model::error::{Error, Kind};

/// What mdadm prints where a device has no superblock that it knows.
const NO_SUPERBLOCK: &str = "No md superblock detected";

/// Arrays that any of `suspects` is a member of, running or not. Each device is asked for its own superblock: lists of
/// several devices would have to be taken apart, and names in superblocks are an earlier owner's. `blind` is called for
/// each that cannot be examined, with the reason.
pub(super) fn arrays(
    reader: &mut Reader,
    suspects: &[&Node],
    mut blind: impl FnMut(&Node, &str),
) -> Result<Vec<Array>, Error> {
    let mut arrays: Vec<Array> = Vec::new();
    for node in suspects {
        let query = Query::ArrayOf(Path::new(&node.path));
        let found = match answer(reader.ask(query), "md arrays")? {
            Ok(output) => parse_mdadm(&output.stdout),
            Err(ExecError::Failed { stderr, .. }) if stderr.contains(NO_SUPERBLOCK) => None,
            Err(error) => {
                blind(node, &error.to_string());
                continue;
            }
        };
        let Some(found) = found else { continue };
        let member = node.path.clone();
        if let Some(known) = arrays.iter_mut().find(|known| known.uuid == found.uuid) {
            known.members.push(member);
        } else {
            let mut array = Array::of(found);
            array.members.push(member);
            arrays.push(array);
        }
    }
    Ok(arrays)
}

/// Physical volumes among `suspects` that belong to a group. `blind` is called for each that cannot be examined, with
/// the reason.
pub(super) fn volumes(
    reader: &mut Reader,
    suspects: &[&Node],
    mut blind: impl FnMut(&Node, &str),
) -> Result<Vec<PhysicalVolume>, Error> {
    const ODD: &str = "cannot understand what `lvm pvs` says about it";
    if suspects.is_empty() {
        return Ok(Vec::new());
    }
    let understood = |output: &Output| parse_pvs(&output.stdout).filter(|_| !output.truncated);
    let output = answer(reader.ask(Query::PhysicalVolumes), "volume groups")?;
    if let Some(volumes) = output.ok().as_ref().and_then(understood) {
        return Ok(volumes);
    }
    let mut volumes = Vec::new();
    for node in suspects {
        let result = reader.ask(Query::PhysicalVolume(Path::new(&node.path)));
        match answer(result, "volume groups")? {
            Ok(output) => match understood(&output) {
                Some(found) => volumes.extend(found),
                None => blind(node, ODD),
            },
            Err(error) => blind(node, &error.to_string()),
        }
    }
    Ok(volumes)
}

/// Output of a tool, or its error. Without the tool, or when the run is cancelled, there is nothing left to ask: to go
/// on would be to guess what is on which disk.
fn answer(
    result: Result<Output, ExecError>,
    what: &str,
) -> Result<Result<Output, ExecError>, Error> {
    let hint = match &result {
        Err(error @ ExecError::Missing { .. }) => error.hint(),
        Err(ExecError::Cancelled { .. }) => None,
        _ => return Ok(result),
    };
    let kind = if hint.is_some() {
        Kind::Tool
    } else {
        Kind::Interrupted
    };
    let what = format!("cannot find out which disks the {what} of this machine lie on");
    let error = match result {
        Err(error) => Error::new(kind, what).because(error),
        Ok(_) => Error::new(kind, what),
    };
    Err(match hint {
        Some(hint) => error.hint(hint),
        None => error,
    })
}

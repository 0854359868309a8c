//! Arrays and volume groups by the metadata of their members. Where a tool dies on one device, that device is unknown:
//! the others are examined one by one.

use host::exec::{ExecError, Output};
use std::path::Path;

use super::answers::{Array, PhysicalVolume, parse_mdadm, parse_pvs};
use super::graph::Node;
use super::reader::{Query, Reader};
use crate::model::error::{Error, Kind};

/// Arrays that any of `suspects` is a member of, running or not. `blind` is called for each that cannot be examined,
/// with the reason.
pub(super) fn arrays(
    reader: &mut Reader,
    suspects: &[&Node],
    mut blind: impl FnMut(&Node, &str),
) -> Result<Vec<Array>, Error> {
    if suspects.is_empty() {
        return Ok(Vec::new());
    }
    if let Some(output) = answer(reader.ask(Query::Arrays), "md arrays")?
        .ok()
        .filter(|output| !output.truncated)
    {
        return Ok(parse_mdadm(&output.stdout));
    }
    let mut arrays: Vec<Array> = Vec::new();
    for node in suspects {
        match answer(
            reader.ask(Query::ArrayOf(Path::new(&node.path))),
            "md arrays",
        )? {
            Ok(output) => {
                for array in parse_mdadm(&output.stdout) {
                    join(&mut arrays, array);
                }
            }
            Err(error) => blind(node, &error.to_string()),
        }
    }
    Ok(arrays)
}

/// Adds one member's record of its array to the others'.
fn join(arrays: &mut Vec<Array>, array: Array) {
    let same = |known: &&mut Array| known.uuid == array.uuid && known.contained == array.contained;
    match arrays.iter_mut().find(same) {
        Some(known) => {
            for member in array.members {
                if !known.members.contains(&member) {
                    known.members.push(member);
                }
            }
        }
        None => arrays.push(array),
    }
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

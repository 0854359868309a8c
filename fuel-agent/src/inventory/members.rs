//! What arrays and volume groups are made of, as their members say it. A tool that dies on one device costs what is
//! known of
//! that device: the others are asked about one by one.

use host::exec::{ExecError, Output};
use std::path::Path;

use super::answers::{Array, PhysicalVolume, parse_mdadm, parse_pvs};
use super::graph::Node;
use super::reader::{Query, Reader};
use crate::model::error::{Error, Kind};

/// Arrays that any of `suspects` is a member of, running or not. `blind` is told of each that cannot be examined, and
/// why.
pub(super) fn arrays(
    reader: &mut Reader,
    suspects: &[&Node],
    mut blind: impl FnMut(&Node, &str),
) -> Result<Vec<Array>, Error> {
    if suspects.is_empty() {
        return Ok(Vec::new());
    }
    if let Some(said) = answer(reader.ask(Query::Arrays), "md arrays")?
        .ok()
        .filter(|said| !said.truncated)
    {
        return Ok(parse_mdadm(&said.stdout));
    }
    let mut arrays: Vec<Array> = Vec::new();
    for node in suspects {
        match answer(
            reader.ask(Query::ArrayOf(Path::new(&node.path))),
            "md arrays",
        )? {
            Ok(said) => {
                for array in parse_mdadm(&said.stdout) {
                    join(&mut arrays, array);
                }
            }
            Err(error) => blind(node, &error.to_string()),
        }
    }
    Ok(arrays)
}

/// Adds what one member says of its array to what others said.
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

/// Physical volumes among `suspects` that belong to a group. `blind` is told of each that cannot be examined, and why.
pub(super) fn volumes(
    reader: &mut Reader,
    suspects: &[&Node],
    mut blind: impl FnMut(&Node, &str),
) -> Result<Vec<PhysicalVolume>, Error> {
    const ODD: &str = "cannot understand what `lvm pvs` says about it";
    if suspects.is_empty() {
        return Ok(Vec::new());
    }
    let understood = |said: &Output| parse_pvs(&said.stdout).filter(|_| !said.truncated);
    let said = answer(reader.ask(Query::PhysicalVolumes), "volume groups")?;
    if let Some(volumes) = said.ok().as_ref().and_then(understood) {
        return Ok(volumes);
    }
    let mut volumes = Vec::new();
    for node in suspects {
        let asked = reader.ask(Query::PhysicalVolume(Path::new(&node.path)));
        match answer(asked, "volume groups")? {
            Ok(said) => match understood(&said) {
                Some(found) => volumes.extend(found),
                None => blind(node, ODD),
            },
            Err(error) => blind(node, &error.to_string()),
        }
    }
    Ok(volumes)
}

/// An answer of a tool, or what kept it from answering. Without the tool, or when the run is stopped, there is nothing
/// left
/// to ask: to go on would be to guess what lies on which disk.
fn answer(
    asked: Result<Output, ExecError>,
    what: &str,
) -> Result<Result<Output, ExecError>, Error> {
    let hint = match &asked {
        Err(error @ ExecError::Missing { .. }) => error.hint(),
        Err(ExecError::Cancelled { .. }) => None,
        _ => return Ok(asked),
    };
    let kind = if hint.is_some() {
        Kind::Tool
    } else {
        Kind::Interrupted
    };
    let what = format!("cannot find out which disks the {what} of this machine lie on");
    let error = match asked {
        Err(error) => Error::new(kind, what).because(error),
        Ok(_) => Error::new(kind, what),
    };
    Err(match hint {
        Some(hint) => error.hint(hint),
        None => error,
    })
}

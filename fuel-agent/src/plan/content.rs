//! Which directories of an image move into filesystems of their own.

use crate::model::index::FilesystemIndex;
use crate::model::storage::Mount;

use crate::model::plan::Plan;
use crate::model::step::{Configure, Step};

/// The moves, parents before what is mounted below them.
///
/// What is to be found at a mount point comes from the nearest filesystem above it that has something from an image:
/// its own, or what moved into it a step before. Nothing moves into or out of what is kept.
pub(super) fn moves(plan: &Plan) -> Vec<Step> {
    let mut mounted: Vec<(&str, FilesystemIndex)> = plan
        .filesystems()
        .filter_map(|(index, filesystem)| match &filesystem.mount {
            Some(Mount::Path(path)) if !filesystem.keep_data => Some((path.as_str(), index)),
            _ => None,
        })
        .collect();
    mounted.sort_unstable();
    let mut filled: Vec<(&str, FilesystemIndex)> = Vec::new();
    let mut steps = Vec::new();
    for (path, index) in mounted {
        if plan[index].image.is_some() {
            filled.push((path, index));
            continue;
        }
        let above = filled
            .iter()
            .filter_map(|(parent, from)| Some((parent.len(), *from, below(path, parent)?)))
            .max_by_key(|(length, ..)| *length);
        if let Some((_, from, rest)) = above {
            steps.push(Step::Configure(Configure::MoveContent {
                from,
                to: index,
                path: rest.to_owned(),
            }));
            filled.push((path, index));
        }
    }
    steps
}

/// The rest of `path` under `parent`, without a slash in front; `None` where it is not under it.
fn below<'a>(path: &'a str, parent: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(parent.trim_end_matches('/'))?;
    rest.strip_prefix('/').filter(|rest| !rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_below_whole_names_only() {
        for (path, parent, rest) in [
            ("/var", "/", Some("var")),
            ("/var/log", "/var", Some("log")),
            ("/variable", "/var", None),
            ("/", "/", None),
            ("/var", "/var", None),
        ] {
            assert_eq!(below(path, parent), rest, "{path} {parent}");
        }
    }
}

//! Upstream's inputs with small edits: `mutations.json`.

use std::path::Path;

use serde_json::Value;

/// The input of a mutation: its base with all its edits.
pub fn input(folder: &Path, mutation: &Value) -> Value {
    let base = mutation["base"].as_str().expect("a base");
    let mut input = super::json(&folder.join(format!("{base}.json")));
    for op in mutation["ops"].as_array().expect("edits") {
        edit(&mut input, op);
    }
    input
}

/// Does one edit of a mutation: `set`, `del` or `append` at a path of keys and indexes.
fn edit(document: &mut Value, op: &Value) {
    let mut path: Vec<&Value> = op["path"].as_array().expect("a path").iter().collect();
    let last = match op["op"].as_str() {
        Some("append") => None,
        _ => path.pop(),
    };
    let mut place = document;
    for step in path {
        place = match (step.as_str(), step.as_u64()) {
            (Some(key), _) => &mut place[key],
            (_, Some(index)) => &mut place[usize::try_from(index).expect("an index")],
            _ => panic!("a step is a key or an index"),
        };
    }
    let value = op["value"].clone();
    match (
        op["op"].as_str(),
        last.and_then(Value::as_str),
        last.and_then(Value::as_u64),
    ) {
        (Some("append"), ..) => place.as_array_mut().expect("an array").push(value),
        (Some("set"), Some(key), _) => place[key] = value,
        (Some("set"), _, Some(index)) => place[usize::try_from(index).expect("an index")] = value,
        (Some("del"), Some(key), _) => {
            place.as_object_mut().expect("an object").shift_remove(key);
        }
        (Some("del"), _, Some(index)) => {
            place
                .as_array_mut()
                .expect("an array")
                .remove(usize::try_from(index).expect("an index"));
        }
        other => panic!("an edit is not {other:?}"),
    }
}

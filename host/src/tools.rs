//! Which tools are missing: asked before anything is touched.

use crate::exec::{Exec, Tool};

/// Those of `tools` that are not installed, each once, in the order asked.
pub fn missing(exec: &dyn Exec, tools: &[Tool]) -> Vec<Tool> {
    let mut absent: Vec<Tool> = Vec::new();
    for tool in tools {
        if !absent.contains(tool) && exec.find(*tool).is_none() {
            absent.push(*tool);
        }
    }
    absent
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Script;

    #[test]
    fn what_is_missing_is_named_once() {
        let exec = Script::new().without(Tool::Mdadm);
        let asked = [Tool::Mdadm, Tool::Lvm, Tool::Mdadm];
        assert_eq!(missing(&exec, &asked), [Tool::Mdadm]);
    }
}

//! What differs between two plans, line by line.

use crate::model::plan::Plan;

/// The lines of the text of two plans that are only in one of them: `-` in the first, `+` in the second; empty where
/// they are the same. Numbers of steps do not count: one step more would change all that follow.
pub fn plans(before: &Plan, after: &Plan) -> String {
    lines(&unnumbered(before), &unnumbered(after))
}

/// Differing lines of any two texts, marked `-` and `+`.
pub fn lines(before: &str, after: &str) -> String {
    let (a, b): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let common = common(&a, &b);
    let (mut i, mut j) = (0, 0);
    let mut text = String::new();
    while i < a.len() || j < b.len() {
        let same = i < a.len() && j < b.len() && a[i] == b[j];
        if same {
            i += 1;
            j += 1;
        } else if j == b.len() || (i < a.len() && common[i + 1][j] >= common[i][j + 1]) {
            push(&mut text, '-', a[i]);
            i += 1;
        } else {
            push(&mut text, '+', b[j]);
            j += 1;
        }
    }
    text
}

fn push(text: &mut String, sign: char, line: &str) {
    text.push(sign);
    text.push(' ');
    text.push_str(line);
    text.push('\n');
}

/// Length of the longest common subsequence of what follows each pair of positions.
fn common(a: &[&str], b: &[&str]) -> Vec<Vec<u32>> {
    let mut lengths = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            lengths[i][j] = if a[i] == b[j] {
                lengths[i + 1][j + 1] + 1
            } else {
                lengths[i + 1][j].max(lengths[i][j + 1])
            };
        }
    }
    lengths
}

fn unnumbered(plan: &Plan) -> String {
    let mut plan = plan.clone();
    for step in &mut plan.steps {
        step.number = 0;
    }
    plan.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::sample_request::{empty_disk, lvm_request, mib, node, plan_of};

    #[test]
    fn only_lines_that_differ_are_shown() {
        assert_eq!(lines("a\nb\nc\n", "a\nx\nc\nd\n"), "- b\n+ x\n+ d\n");
        assert_eq!(lines("", "a"), "+ a\n");
        assert_eq!(lines("a", ""), "- a\n");
        assert_eq!(lines("a\nb", "a\nb"), "");
    }

    #[test]
    fn a_plan_differs_from_another_in_what_was_changed() {
        let inventory = node(vec![empty_disk("/dev/sda", 20480)]);
        let before = lvm_request();
        let mut after = before.clone();
        after.storage.logical_volumes[1].size = mib(800);
        let (before, after) = (
            plan_of(&before, &inventory).unwrap(),
            plan_of(&after, &inventory).unwrap(),
        );
        assert_eq!(plans(&before, &before), "");
        insta::assert_snapshot!(plans(&before, &after), @r"
        -   /dev/mapper/os-swap           900 MiB                             swap
        +   /dev/mapper/os-swap           800 MiB                             swap
        -    0  make logical volume `os/swap` of 900 MiB                        within /dev/sda4
        +    0  make logical volume `os/swap` of 800 MiB                        within /dev/sda4
        -    0  make swap space on /dev/mapper/os-swap, 900 MiB                 within /dev/sda4
        +    0  make swap space on /dev/mapper/os-swap, 800 MiB                 within /dev/sda4
        ");
    }
}

//! What a setting is, and which one was meant by a name that is none.

use super::Settings;
use super::keys::KEYS;

/// Of several layers that say something, whose values count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layers {
    /// The strongest's.
    Strongest,
    /// All of them.
    United,
    /// The weakest's: the ramdisk's, where that says something.
    Weakest,
}

/// One setting.
#[derive(Debug)]
pub struct Key {
    /// Its name, as after `provision.`.
    pub name: &'static str,
    /// What its value looks like.
    pub value: &'static str,
    /// What a key without `=` means, where that is allowed.
    pub bare: Option<&'static str>,
    /// Whether it may be given more than once.
    pub many: bool,
    /// Whose values count.
    pub layers: Layers,
    /// What holds without it.
    pub default: &'static str,
    /// What it does, in a sentence or two.
    pub help: &'static str,
    /// Puts a value into place, or says what is wrong with it.
    pub set: fn(&mut Settings, &str) -> Result<(), String>,
}

impl Key {
    /// The key of that name, `_` for `-`.
    pub fn named(name: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.name == name)
    }

    /// The key that was probably meant.
    pub fn nearest(name: &str) -> Option<&'static Self> {
        KEYS.iter()
            .map(|key| (distance(key.name, name), key))
            .min_by_key(|(distance, _)| *distance)
            .filter(|(distance, _)| *distance <= 2)
            .map(|(_, key)| key)
    }
}

/// How many letters have to be added, taken away, changed or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = change.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_guessed() {
        for (typed, meant) in [("ulr", "url"), ("protct", "protect"), ("sucess", "success")] {
            assert_eq!(Key::nearest(typed).unwrap().name, meant);
        }
        assert!(Key::nearest("hostname").is_none());
    }
}

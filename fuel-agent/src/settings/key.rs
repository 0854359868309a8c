//! The definition of a setting, and suggestions for unknown names.

use super::Settings;
use super::keys;
use super::value::yes;

/// Which layer counts if several set a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layers {
    /// The strongest.
    Strongest,
    /// All of them.
    United,
    /// The weakest that sets it: the ramdisk's, if it does.
    Weakest,
    /// Any that sets this value, which is the stricter of two; else the strongest. A ramdisk's can only be made
    /// stricter.
    Strictest(&'static str),
    /// The one that comes last in this list of all values, whichever layer has it. A ramdisk's can only be made stricter.
    Ranked(&'static [&'static str]),
}

impl Layers {
    /// Whether `value` is the one that no other layer can change.
    pub(super) fn is_final(self, value: &str) -> bool {
        match self {
            Self::Strictest(strict @ ("yes" | "no")) => yes(value) == yes(strict),
            Self::Strictest(strict) => value == strict,
            Self::Strongest | Self::United | Self::Weakest | Self::Ranked(_) => false,
        }
    }

    /// How strict a value is; `None` where that is not how layers are compared, or for another text.
    pub(super) fn rank(self, value: &str) -> Option<usize> {
        match self {
            Self::Ranked(values) => values.iter().position(|it| *it == value),
            Self::Strongest | Self::United | Self::Weakest | Self::Strictest(_) => None,
        }
    }
}

/// Definition of a setting.
#[derive(Debug)]
pub struct Key {
    /// Name, without the prefix `provision.`.
    pub name: &'static str,
    /// Form of the value, for the manual.
    pub value: &'static str,
    /// Value of a key without `=`, if that is allowed.
    pub bare: Option<&'static str>,
    /// Whether it may be given more than once in a layer.
    pub many: bool,
    /// Which layer counts.
    pub layers: Layers,
    /// A switch that, where a layer sets it, keeps stronger layers from adding to this key.
    pub closed_by: Option<&'static str>,
    /// Default, as text.
    pub default: &'static str,
    /// Description, in one or two sentences.
    pub help: &'static str,
    /// Parses a value and stores it; the error says what is wrong with it.
    pub set: fn(&mut Settings, &str) -> Result<(), String>,
}

impl Key {
    /// Finds a key by name, with `_` for `-`.
    pub fn named(name: &str) -> Option<&'static Self> {
        keys::all().find(|key| key.name == name)
    }

    /// The most similar key, for a suggestion.
    pub fn nearest(name: &str) -> Option<&'static Self> {
        keys::all()
            .map(|key| (distance(key.name, name), key))
            .min_by_key(|(distance, _)| *distance)
            .filter(|(distance, _)| *distance <= 2)
            .map(|(_, key)| key)
    }
}

/// Edit distance with transpositions.
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

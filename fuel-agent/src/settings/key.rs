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
    /// The layer whose value comes last in this list of all values, mildest first: a ramdisk's can only be made stricter.
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
        let name: Vec<char> = name.chars().collect();
        let similar = keys::all().filter_map(|key| {
            let known: Vec<char> = key.name.chars().collect();
            Some((slips(&known, &name, 2)?, key))
        });
        let nearest = similar.min_by_key(|(slips, _)| *slips);
        nearest.map(|(_, key)| key)
    }
}

/// How many slips of the finger lie between two texts, if at most `most`: characters left out, added, mistaken or
/// transposed.
fn slips(a: &[char], b: &[char], most: usize) -> Option<usize> {
    match (a, b) {
        ([], []) => return Some(0),
        ([x, a @ ..], [y, b @ ..]) if x == y => return slips(a, b, most),
        _ => {}
    }
    let left = most.checked_sub(1)?;
    let transposed = match (a, b) {
        ([first, next, a @ ..], [start, then, b @ ..]) if first == then && next == start => {
            slips(a, b, left)
        }
        _ => None,
    };
    let (after_a, after_b) = (a.get(1..), b.get(1..));
    let ways = [
        after_a.and_then(|a| slips(a, b, left)),
        after_b.and_then(|b| slips(a, b, left)),
        after_a.zip(after_b).and_then(|(a, b)| slips(a, b, left)),
        transposed,
    ];
    ways.into_iter().flatten().min()?.checked_add(1)
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

    #[test]
    fn slips_are_counted_up_to_a_limit() {
        for (a, b, count) in [
            ("", "", Some(0)),
            ("ca", "ca", Some(0)),
            ("", "ab", Some(2)),
            ("abc", "", None),
            ("delta", "dleta", Some(1)),
            ("delta", "elat", Some(2)),
            ("grub", "gruub", Some(1)),
            ("trust", "tryst", Some(1)),
            ("trust", "burst", Some(2)),
            ("trust", "grab", None),
            ("mirrors", "mirror", Some(1)),
        ] {
            let chars = |text: &str| text.chars().collect::<Vec<char>>();
            assert_eq!(slips(&chars(a), &chars(b), 2), count, "{a} {b}");
            assert_eq!(slips(&chars(b), &chars(a), 2), count, "{b} {a}");
        }
    }
}

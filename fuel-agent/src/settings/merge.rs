//! Layers of entries to one set of settings: which layer counts for which key.

use super::key::Layers;
use super::{Entry, Key, Place, Settings, boot_mac};
use crate::model::error::{Error, Kind};

/// Merges layers, strongest first; returns the settings and warnings.
pub fn merge(layers: &[Vec<Entry>]) -> Result<(Settings, Vec<String>), Error> {
    let mut settings = Settings::default();
    let mut warnings = Vec::new();
    let mut set_keys: Vec<&'static str> = Vec::new();
    for (index, layer) in layers.iter().enumerate() {
        let mut here: Vec<&'static str> = Vec::new();
        for entry in layer {
            let Some(key) = Key::named(&entry.key) else {
                unknown(entry, &mut warnings)?;
                continue;
            };
            let weaker = layers.get(index.saturating_add(1)..).unwrap_or_default();
            match fate(key, entry, weaker, &set_keys) {
                Fate::Counts => {}
                Fate::Overridden => continue,
                Fate::Ignored(why) => {
                    let (name, place) = (key.name, &entry.place);
                    warnings.push(format!("`{name}` of {place} is ignored: {why}"));
                    continue;
                }
            }
            if here.contains(&key.name) && !key.many {
                warnings.push(format!(
                    "`{}` is set more than once by {}; the last one counts",
                    key.name, entry.place
                ));
            }
            here.push(key.name);
            set(key, entry, &mut settings)?;
        }
        set_keys.extend(here);
    }
    require_signatures_by_keys(layers, &mut settings, &mut warnings);
    if settings.http.only_given_authorities && settings.http.authorities.is_empty() {
        let what =
            "`ca_only` is set, but `ca` names no authority: no https server could be trusted";
        return Err(
            Error::new(Kind::Usage, what).hint("name the PEM file of your authority with `ca`")
        );
    }
    Ok((settings, warnings))
}

/// What becomes of an entry.
enum Fate {
    /// It is used.
    Counts,
    /// A stronger layer has set its key.
    Overridden,
    /// A weaker layer does not let it change the key, for this reason.
    Ignored(String),
}

fn fate(key: &Key, entry: &Entry, weaker: &[Vec<Entry>], set_keys: &[&str]) -> Fate {
    let closing = key.closed_by.and_then(Key::named);
    let closed = |by| weaker.iter().find_map(|layer| last_final(layer, by));
    if let Some(by) = closing.and_then(closed) {
        return Fate::Ignored(format!("{} says `{}`", by.place, by.key));
    }
    match key.layers {
        Layers::Strongest | Layers::Strictest(_) if set_keys.contains(&key.name) => {
            Fate::Overridden
        }
        Layers::Weakest if weaker.iter().any(|layer| names(layer, key)) => {
            Fate::Ignored("the ramdisk's value cannot be changed".to_owned())
        }
        Layers::Strictest(strict) if !key.layers.is_final(value_of(key, entry)) => {
            let stricter = weaker.iter().find_map(|layer| last_final(layer, key));
            stricter.map_or(Fate::Counts, |stricter| {
                Fate::Ignored(format!("{} says `{strict}`", stricter.place))
            })
        }
        Layers::Ranked(_) if set_keys.contains(&key.name) => Fate::Overridden,
        Layers::Ranked(_) => {
            let rank = |entry: &Entry| key.layers.rank(value_of(key, entry));
            let last = |layer: &'_ Vec<Entry>| layer.iter().rfind(|it| it.key == key.name).cloned();
            let mut others = weaker.iter().filter_map(last);
            let stricter = others.find(|other| rank(other) > rank(entry));
            stricter.map_or(Fate::Counts, |stricter| {
                let value = value_of(key, &stricter);
                Fate::Ignored(format!("{} says `{value}`", stricter.place))
            })
        }
        Layers::Strongest | Layers::United | Layers::Weakest | Layers::Strictest(_) => Fate::Counts,
    }
}

/// Trusted keys alone make signatures obligatory: a key that is only used where its owner's opponent likes it protects
/// nothing. `require_signature=no` says otherwise in the layer of the keys only; in a stronger one it is ignored.
fn require_signatures_by_keys(
    layers: &[Vec<Entry>],
    settings: &mut Settings,
    warnings: &mut Vec<String>,
) {
    let last = |layer: &'_ [Entry], key: &str| layer.iter().rfind(|it| it.key == key).cloned();
    let with_keys = |layer: &Vec<Entry>| last(layer, "trusted_key");
    let Some((at, keys)) = (layers.iter().enumerate())
        .filter_map(|(at, layer)| Some((at, with_keys(layer)?)))
        .next_back()
    else {
        return;
    };
    let of_keys = layers.get(at).and_then(|it| last(it, "require_signature"));
    if of_keys.is_some() || settings.packed.images.require_signature {
        return;
    }
    settings.packed.images.require_signature = true;
    let stronger = layers.iter().take(at);
    let ignored = stronger.filter_map(|layer| last(layer, "require_signature"));
    warnings.extend(ignored.map(|entry| {
        let place = entry.place;
        format!(
            "`require_signature` of {place} is ignored: {} has a `trusted_key`",
            keys.place
        )
    }));
}

/// The value that an entry gives a key, as text.
fn value_of<'e>(key: &Key, entry: &'e Entry) -> &'e str {
    entry.value.as_deref().or(key.bare).unwrap_or_default()
}

/// The entry that decides a key in a layer, if it gives the value that no other layer can change.
fn last_final<'e>(layer: &'e [Entry], key: &Key) -> Option<&'e Entry> {
    let last = layer.iter().rfind(|entry| entry.key == key.name)?;
    key.layers.is_final(value_of(key, last)).then_some(last)
}

/// Whether any of the entries sets a key.
fn names(layer: &[Entry], key: &Key) -> bool {
    layer.iter().any(|entry| entry.key == key.name)
}

/// Keys with the same prefix that the ramdisk's init reads: docs/ramdisk.md.
const RAMDISK_KEYS: [&str; 3] = ["bootif", "key", "shell"];

/// An unknown key. On the kernel's command line it is a warning, since others read it too and it may be for another
/// version of the agent; on our own command line and in our file it is an error.
fn unknown(entry: &Entry, warnings: &mut Vec<String>) -> Result<(), Error> {
    if entry.place == Place::Kernel && RAMDISK_KEYS.contains(&entry.key.as_str()) {
        let value = entry.value.as_deref().unwrap_or_default();
        if entry.key == "bootif" && boot_mac(value).is_none() {
            warnings.push(format!(
                "`provision.bootif` of {} is not a MAC address and is ignored; BOOTIF is used if it is set",
                entry.place
            ));
        }
        return Ok(());
    }
    let near = Key::nearest(&entry.key);
    let hint = near.map_or_else(
        || "`provision run --help` and docs/commands.md name all settings".to_owned(),
        |key| format!("did you mean `{}`?", key.name),
    );
    if entry.place == Place::Kernel {
        warnings.push(format!(
            "{} has `provision.{}`, which is not a setting; {hint}",
            entry.place, entry.key
        ));
        return Ok(());
    }
    let what = format!("`{}` is not a setting ({})", entry.key, entry.place);
    Err(Error::new(Kind::Usage, what).hint(hint))
}

fn set(key: &Key, entry: &Entry, settings: &mut Settings) -> Result<(), Error> {
    let value = match (&entry.value, key.bare) {
        (Some(value), _) => value.as_str(),
        (None, Some(meaning)) => meaning,
        (None, None) => {
            let what = format!("`{}` has no value ({})", key.name, entry.place);
            return Err(
                Error::new(Kind::Usage, what).hint(format!("write {}={}", key.name, key.value))
            );
        }
    };
    (key.set)(settings, value).map_err(|wrong| {
        Error::new(
            Kind::Usage,
            format!("cannot use the value of `{}` ({})", key.name, entry.place),
        )
        .because(wrong)
        .hint(format!("write {}={}", key.name, key.value))
    })
}

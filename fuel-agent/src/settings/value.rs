//! Parsers of setting values.

use std::time::Duration;

use os_image::signature::TrustedKey;

use super::Callback;
use crate::http::address::Address;
use crate::model::trust::MinRelease;
use crate::model::url::RedactedUrl;

#[expect(
    clippy::unnecessary_wraps,
    reason = "all readers of values have one shape"
)]
pub(super) fn put_url(callback: &mut Callback, value: &str) -> Result<(), String> {
    callback.url = address(value);
    Ok(())
}

pub(super) fn put_method(callback: &mut Callback, value: &str) -> Result<(), String> {
    if value.is_empty() || !value.chars().all(|c| c.is_ascii_uppercase()) {
        return Err(format!("`{value}` is not an HTTP method like `POST`"));
    }
    callback.method = Some(value.to_owned());
    Ok(())
}

pub(super) fn put_header(callback: &mut Callback, value: &str) -> Result<(), String> {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    match value.split_once(':') {
        Some((name, value)) if !name.is_empty() && name.chars().all(token) => {
            let header = (name.to_owned(), value.trim().to_owned());
            callback.headers.push(header);
            Ok(())
        }
        // not shown: it may hold a token
        _ => Err("it has no name before a `:`".to_owned()),
    }
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "all readers of values have one shape"
)]
pub(super) fn put_body(callback: &mut Callback, value: &str) -> Result<(), String> {
    callback.body = Some(value.to_owned());
    Ok(())
}

pub(super) fn put_expect_status(callback: &mut Callback, value: &str) -> Result<(), String> {
    let statuses: Result<Vec<u16>, String> = list(value)
        .iter()
        .map(|status| match status.parse() {
            Ok(number @ 100..=599) => Ok(number),
            _ => Err(format!("`{status}` is not an HTTP status")),
        })
        .collect();
    callback.expect_status = statuses?;
    Ok(())
}

pub(super) fn put_expect_body(callback: &mut Callback, value: &str) -> Result<(), String> {
    callback.expect_body = text(value)?;
    Ok(())
}

/// A text; an empty one restores the default.
#[expect(
    clippy::unnecessary_wraps,
    reason = "all readers of values have one shape"
)]
pub(super) fn text(value: &str) -> Result<Option<String>, String> {
    Ok((!value.is_empty()).then(|| value.to_owned()))
}

/// A URL, or a template of one; an empty one restores the default.
pub(super) fn address(value: &str) -> Option<RedactedUrl> {
    (!value.is_empty()).then(|| RedactedUrl::from(value))
}

/// An HTTP URL, or empty.
pub(super) fn web(value: &str) -> Result<Option<RedactedUrl>, String> {
    match url::Url::parse(value) {
        _ if value.is_empty() => Ok(None),
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(Some(value.into())),
        // not shown: it may hold a token
        _ => Err("it is not a URL like `http://host/path`".to_owned()),
    }
}

/// Trusted keys, at least one: an empty list would disable signatures by accident.
pub(super) fn put_keys(keys: &mut Vec<TrustedKey>, value: &str) -> Result<(), String> {
    let words = list(value);
    if words.is_empty() {
        return Err("it names no key".to_owned());
    }
    for word in words {
        let key = TrustedKey::parse(&word).map_err(|error| error.to_string())?;
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    Ok(())
}

/// Oldest releases, each of all images or of those of one name. The largest counts.
pub(super) fn put_min_release(min_release: &mut MinRelease, value: &str) -> Result<(), String> {
    let words = list(value);
    if words.is_empty() {
        return Err("it is empty".to_owned());
    }
    for word in words {
        let (name, number) = match word.split_once(':') {
            Some((name, number)) => (Some(name), number),
            None => (None, word.as_str()),
        };
        let least: u64 = number
            .parse()
            .map_err(|_| format!("`{number}` is not a number"))?;
        let known = match name {
            Some("") => return Err(format!("`{word}` has no name before its `:`")),
            Some(name) => min_release.by_name.entry(name.to_owned()).or_default(),
            None => &mut min_release.any,
        };
        *known = least.max(*known);
    }
    Ok(())
}

/// URLs of folders.
pub(super) fn put_mirrors(mirrors: &mut Vec<RedactedUrl>, value: &str) -> Result<(), String> {
    for word in list(value) {
        Address::parse(&word).map_err(|error| error.to_string())?;
        let mirror = RedactedUrl::from(word);
        if !mirrors.contains(&mirror) {
            mirrors.push(mirror);
        }
    }
    Ok(())
}

/// Words separated by commas.
pub(super) fn list(value: &str) -> Vec<String> {
    value
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The address of a network interface in the form of boot loaders, `01-52-54-00-12-34-56` with `01` for Ethernet, or
/// the plain address with `-` or `:`. Returns `52:54:00:12:34:56`.
pub(crate) fn boot_mac(value: &str) -> Option<String> {
    let parts: Vec<&str> = value.split(['-', ':']).collect();
    let address = match parts.as_slice() {
        [_, rest @ ..] if rest.len() == 6 => rest,
        all if all.len() == 6 => all,
        _ => return None,
    };
    let hex = |part: &&str| part.len() == 2 && part.chars().all(|c| c.is_ascii_hexdigit());
    let is_one = address.iter().all(hex);
    is_one.then(|| address.join(":").to_lowercase())
}

/// A boolean.
pub(super) fn yes(value: &str) -> Result<bool, String> {
    match value {
        "yes" | "true" | "1" | "on" => Ok(true),
        "no" | "false" | "0" | "off" => Ok(false),
        _ => Err(format!("`{value}` is neither yes nor no")),
    }
}

/// A duration: seconds, or with a unit: `90`, `90s`, `5m`, `2h`.
pub(super) fn time(value: &str) -> Result<Duration, String> {
    let wrong = || format!("`{value}` is not a time; write it like `90s`, `5m` or `2h`");
    let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let seconds = match &value[digits.len()..] {
        "" | "s" => Some(number),
        "m" | "min" => number.checked_mul(60),
        "h" => number.checked_mul(3600),
        _ => None,
    };
    // at most a year, which is far from where clocks overflow
    match seconds {
        Some(seconds) if seconds <= 31_536_000 => Ok(Duration::from_secs(seconds)),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_and_without_a_unit() {
        for (text, seconds) in [("0", 0), ("90", 90), ("90s", 90), ("5m", 300), ("2h", 7200)] {
            assert_eq!(time(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in [
            "",
            "m",
            "-1",
            "1d",
            "1.5s",
            "99999999999999999999",
            "9999999h",
        ] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}

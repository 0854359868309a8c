//! `kernel_params`: the kernel's command line, and what of it GRUB could not hand on as it was meant.

use super::names;
use super::reader::{Diagnostics, JsonCursor, redacted};

/// What may be asked for of the 2047 characters that x86 kernels read: the rest is for `root=` and the like.
const COMMAND_LINE: usize = 1900;

/// One leading space, then the request's text; null becomes `None`, as upstream writes it.
pub(super) fn read(pm_data: &JsonCursor<'_>, diagnostics: &mut Diagnostics) -> Option<String> {
    let at = pm_data.require(
        "kernel_params",
        "the kernel's command line, which may be empty",
        diagnostics,
    )?;
    if at.value().is_null() {
        diagnostics.warn(format!(
            "`{}` is null: the kernel's command line gets the word `None`, as upstream writes it",
            at.path()
        ));
        return Some(" None".to_owned());
    }
    let text = at.text(diagnostics)?;
    let line = text.trim_end_matches(['\r', '\n']);
    if let Some((what, hint)) = unfit(line) {
        diagnostics.add(at.path(), what, hint);
        return None;
    }
    if line.len() > COMMAND_LINE {
        diagnostics.warn(format!(
            "`{}` has {} characters; the kernel cuts its command line after 2047, and the boot loader adds to it",
            at.path(),
            line.len()
        ));
    }
    Some(format!(" {line}"))
}

/// Why the kernel would not get these parameters as they are written, and what to do.
fn unfit(line: &str) -> Option<(String, &'static str)> {
    if names::has_control(&line.replace('\t', " ")) {
        return Some(("has control characters in it".to_owned(), "give one line"));
    }
    if line.matches('"').count() % 2 == 1 {
        let what = "has a double quote without its partner".to_owned();
        return Some((what, "close the quote"));
    }
    if let Some(character) = line.chars().find(|c| matches!(c, '\'' | '\\')) {
        let what = format!(
            "has `{character}` in it, which GRUB hands on to the kernel with a backslash before it"
        );
        return Some((what, "write the parameter without it"));
    }
    let mut words = words(line).into_iter();
    words.find_map(|word| unfit_word(&word))
}

/// The words as the kernel splits them, their quotes with them.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for character in line.chars() {
        quoted ^= character == '"';
        if !quoted && matches!(character, ' ' | '\t') {
            words.push(String::new());
        } else if let Some(word) = words.last_mut() {
            word.push(character);
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn unfit_word(word: &str) -> Option<(String, &'static str)> {
    // The two forms whose quotes the kernel takes off: `"name=a b"` and `name="a b"`.
    let whole = |text: &str| Some(text.strip_prefix('"')?.strip_suffix('"')?.to_owned());
    let value = |text: &str| {
        let (name, value) = text.split_once('=')?;
        Some(format!("{name}={}", whole(value)?))
    };
    let bare = whole(word)
        .or_else(|| value(word))
        .unwrap_or_else(|| word.to_owned());
    if bare.contains('"') {
        let what = format!(
            "has quotes in the middle of `{}`, which GRUB cannot hand on",
            redacted(word)
        );
        let hint = "put the quotes around the whole value, like `dyndbg=\"file a.c +p\"`";
        return Some((what, hint));
    }
    // The kernel's `isspace` counts bytes, and 0xa0, Latin 1's no-break space, is one to it.
    if !bare.contains(' ') && bare.bytes().any(|byte| byte == 0xa0) {
        let what = format!(
            "has a character in `{}` at which the kernel splits the word in two (the byte 0xa0 of its UTF-8)",
            redacted(word)
        );
        return Some((what, "write it without accents"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grub_hands_on_unchanged_is_accepted() {
        for line in [
            "",
            "quiet console=ttyS0,115200n8 net.ifnames=0",
            "x=$(reboot);{}&|<>*?[]#%!~^@ `id`",
            r#"dyndbg="file x.c +p" "note=a b" a="" b="c""#,
            "q=\u{fc} r=\"\u{e0} la carte\"",
        ] {
            assert_eq!(unfit(line), None, "{line}");
        }
    }

    #[test]
    fn what_the_kernel_would_see_otherwise_is_refused() {
        for (line, says) in [
            (r"x=a\x20b", "`\\`"),
            ("x=it's", "`'`"),
            ("a=\"b", "without its partner"),
            (r#"a="b"c"#, "in the middle of"),
            (r#"a"b c"=d"#, "in the middle of"),
            (r#"a="b" "c"d" e""#, "in the middle of"),
            ("q=\u{e0}", "splits the word"),
            ("a\u{a0}b", "splits the word"),
            ("a\nb", "control characters"),
        ] {
            let (what, _) = unfit(line).unwrap_or_default();
            assert!(what.contains(says), "{line}: {what}");
        }
    }
}

//! One-line entries of apt (`sources.list`, `*.list`).

use crate::stanza::Stanza;

/// Reads a one-line entry (`deb [options] URI suite component...`) as the equivalent deb822 paragraph.
fn parse_line(line: &str) -> Option<Stanza> {
    let line = line.split('#').next().unwrap_or_default().trim();
    let rest = line.strip_prefix("deb")?;
    if !rest.starts_with([' ', '\t']) {
        return None;
    }
    let rest = rest.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(inner) => inner.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace();
    let (uri, suite) = (words.next()?, words.next()?);
    let components: Vec<_> = words.collect();
    let mut entry = Stanza::default();
    entry.set("Types", "deb".to_owned());
    entry.set("URIs", uri.to_owned());
    entry.set("Suites", suite.to_owned());
    entry.set("Components", components.join(" "));
    for option in options.split_whitespace() {
        let (name, value) = option.split_once('=')?;
        let field = match name {
            "arch" | "arch+" => "Architectures",
            "signed-by" => "Signed-By",
            "trusted" => "Trusted",
            "allow-insecure" => "Allow-Insecure",
            "allow-weak" => "Allow-Weak",
            "allow-downgrade-to-insecure" => "Allow-Downgrade-To-Insecure",
            "check-valid-until" => "Check-Valid-Until",
            "check-date" => "Check-Date",
            // Languages, targets, pdiffs: not needed to resolve binary packages.
            _ => continue,
        };
        entry.set(field, value.replace(',', " "));
    }
    Some(entry)
}

/// Reads a one-line file (`sources.list`, `*.list`).
pub(crate) fn parse_list(text: &str) -> Vec<Stanza> {
    text.lines().filter_map(parse_line).collect()
}

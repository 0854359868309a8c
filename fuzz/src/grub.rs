//! Kernel parameters as GRUB and shells read them: the words that come out are those that went in.

use fuel_agent::apply::bootconfig::fuzzing::quoted;

/// Up to the first line feed the system's title, then the parameters.
pub(crate) fn quoting(input: &[u8]) {
    let text = &*String::from_utf8_lossy(input);
    let (title, line) = text.split_once('\n').unwrap_or(("Linux", text));
    let title: String = title.chars().filter(|c| !c.is_control()).collect();
    let forms = quoted(&title, line);
    let words = as_kernel(line);
    let wanted: Vec<&String> = words
        .iter()
        .filter(|word| !word.starts_with("root="))
        .collect();
    let Some(read) = script(&forms.grub) else {
        panic!("GRUB does not take {:?}", forms.grub);
    };
    assert_eq!(read.iter().collect::<Vec<_>>(), wanted, "{:?}", forms.grub);
    assert_eq!(
        in_double_quotes(&forms.shell).as_ref(),
        Some(&forms.grub),
        "{:?}",
        forms.shell
    );
    let rest: Vec<String> = wanted.into_iter().cloned().collect();
    assert_eq!(as_kernel(&forms.kernel), rest, "{:?}", forms.kernel);
    // what is between the first menuentry and its brace is the title and two classes, whatever the title says
    let entry = forms
        .menu
        .lines()
        .find(|line| line.starts_with("menuentry "));
    let entry = entry
        .and_then(|line| line.strip_suffix(" {"))
        .and_then(script);
    let entry = entry.unwrap_or_default();
    let expected = ["menuentry", &title, "--class", "gnu-linux", "--class", "os"];
    assert_eq!(entry, expected, "{:?}", forms.menu);
}

/// Words at white space outside of double quotes, which are taken off.
fn as_kernel(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), None::<String>, false);
    for c in line.chars() {
        match c {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            ' ' | '\n' | '\t' if !quoted => words.extend(word.take()),
            '\n' | '\t' => word.get_or_insert_default().push(' '),
            c if c.is_control() => {}
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// Words of a line of GRUB's script; `None` where anything in it means more than itself.
fn script(line: &str) -> Option<Vec<String>> {
    let (mut words, mut word) = (Vec::new(), None::<String>);
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        match c {
            ' ' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match rest.next()? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(rest.next()?),
            '"' | '$' | '`' | ';' | '&' | '|' | '<' | '>' | '(' | ')' | '{' | '}' | '#' | '\n' => {
                return None;
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Some(words)
}

/// The value of `"text"` in a shell; `None` where it would end, or be expanded.
fn in_double_quotes(text: &str) -> Option<String> {
    let mut value = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => match rest.next()? {
                c @ ('"' | '\\' | '$' | '`') => value.push(c),
                c => {
                    value.push('\\');
                    value.push(c);
                }
            },
            '"' | '$' | '`' => return None,
            c => value.push(c),
        }
    }
    Some(value)
}

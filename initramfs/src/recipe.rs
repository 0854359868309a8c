//! The recipe: which files the ramdisk takes from which package. Text in `files/recipe`, read here.

use crate::error::Error;

/// The recipe that is built in.
pub const RECIPE: &str = include_str!("../files/recipe");

/// One line of the recipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipeEntry {
    /// What the file is for: the unit in which a ramdisk's size is told.
    pub part: String,
    /// The package that brings it.
    pub package: String,
    /// Where it is in the package: a path, a pattern in the last component, or a folder with `/` at the end.
    pub path: String,
    /// Where it goes, if elsewhere.
    pub destination: Option<String>,
}

/// Reads a recipe.
pub fn parse(text: &str) -> Result<Vec<RecipeEntry>, Error> {
    let mut entries = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let words: Vec<_> = line.split_whitespace().collect();
        let (part, package, path, destination) = match words[..] {
            [part, package, path] => (part, package, path, None),
            [part, package, path, "->", to] => (part, package, path, Some(to.to_owned())),
            _ => return Err(mistake(index, "want PART PACKAGE PATH [-> DESTINATION]")),
        };
        if !path.starts_with('/') {
            return Err(mistake(index, "the path must start with `/`"));
        }
        entries.push(RecipeEntry {
            part: part.to_owned(),
            package: package.to_owned(),
            path: path.to_owned(),
            destination,
        });
    }
    Ok(entries)
}

fn mistake(index: usize, why: &str) -> Error {
    Error::Recipe {
        file: "recipe",
        line: index.saturating_add(1),
        why: why.to_owned(),
    }
}

/// The packages that a recipe names, each once, in its order.
pub fn packages(entries: &[RecipeEntry]) -> Vec<String> {
    let mut packages: Vec<String> = Vec::new();
    for entry in entries {
        if !packages.contains(&entry.package) {
            packages.push(entry.package.clone());
        }
    }
    packages
}

/// Whether `text` is what `pattern` says, where `*` stands for any run of characters but `/`.
pub fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, rest)) => text.strip_prefix(head).is_some_and(|tail| {
            tail.char_indices()
                .map(|(at, _)| at)
                .chain([tail.len()])
                .take_while(|&at| !tail.get(..at).unwrap_or_default().contains('/'))
                .any(|at| matches(rest, tail.get(at..).unwrap_or_default()))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_recipe_is_well_formed() {
        let entries = parse(RECIPE).unwrap();
        assert!(packages(&entries).contains(&"busybox-static".to_owned()));
    }

    #[test]
    fn no_rule_that_assembles_or_activates_is_taken() {
        for entry in parse(RECIPE).unwrap() {
            for rule in [
                "64-md-raid-assembly",
                "69-",
                "64-btrfs",
                "80-net-setup-link",
            ] {
                assert!(!entry.path.contains(rule), "{} is taken", entry.path);
            }
        }
    }

    #[test]
    fn mistakes_name_their_line() {
        let error = parse("# x\n\npart package\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "recipe, line 3: want PART PACKAGE PATH [-> DESTINATION]"
        );
        assert!(parse("a b relative").is_err());
    }

    #[test]
    fn a_star_stays_in_its_folder() {
        let cases = [
            ("a/*.mod", "a/x.mod", true),
            ("a/*.mod", "a/b/x.mod", false),
            ("a/*", "a/", true),
            ("a*c*", "abcd", true),
            ("a*c", "abcd", false),
            ("*/vmd", "controller/vmd", true),
            ("exact", "exactly", false),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}

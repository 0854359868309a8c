//! The recipe: the files that the ramdisk takes from each package; parses the text in `files/recipe`.

use crate::error::Error;

/// The built-in recipe.
pub const RECIPE: &str = include_str!("../files/recipe");

/// One line of the recipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipeEntry {
    /// Part of the ramdisk that the file belongs to; `inspect` lists sizes by part.
    pub part: String,
    /// Package that contains the file.
    pub package: String,
    /// Path in the package: of a file, with a pattern as last component, or of a folder with `/` at its end.
    pub path: String,
    /// Path in the ramdisk, if it differs.
    pub destination: Option<String>,
}

/// Parses a recipe.
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
            _ => {
                return Err(mistake(
                    index,
                    "expected PART PACKAGE PATH [-> DESTINATION]",
                ));
            }
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

/// The packages of a recipe, each once, in order.
pub fn packages(entries: &[RecipeEntry]) -> Vec<String> {
    let mut packages: Vec<String> = Vec::new();
    for entry in entries {
        if !packages.contains(&entry.package) {
            packages.push(entry.package.clone());
        }
    }
    packages
}

/// Whether `text` matches `pattern`, in which `*` matches any number of characters except `/`.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
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
            "recipe, line 3: expected PART PACKAGE PATH [-> DESTINATION]"
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

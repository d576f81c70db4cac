//! Files stay small enough to read at one go. Functions are held by clippy (`too-many-lines-threshold`).

use std::path::Path;

use super::{files, text};

/// Production lines in a file: blank lines and comments count, inline tests do not.
const MAX_PRODUCTION: usize = 600;
const MAX_TEST: usize = 800;
/// Generated from CRDs of others; nobody reads them.
const GENERATED: &str = "crds/src/gateway_api/";

fn is_test(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name == "tests.rs" || path.components().any(|part| part.as_os_str() == "tests")
}

#[test]
fn files_are_small() {
    let mut large = Vec::new();
    for path in files() {
        if path.extension().is_none_or(|ending| ending != "rs") || path.starts_with(GENERATED) {
            continue;
        }
        let text = text(&path);
        let (limit, lines) = if is_test(&path) {
            (MAX_TEST, text.lines().count())
        } else {
            (MAX_PRODUCTION, text.lines().take_while(|line| *line != "#[cfg(test)]").count())
        };
        if lines > limit {
            large.push(format!("{}: {lines} lines, at most {limit}", path.display()));
        }
    }
    assert!(large.is_empty(), "split these:\n{}", large.join("\n"));
}

#[test]
fn modules_say_what_they_are_for() {
    let silent: Vec<_> = files()
        .into_iter()
        .filter(|path| path.extension().is_some_and(|ending| ending == "rs") && !path.starts_with(GENERATED))
        .filter(|path| !is_test(path) && !text(path).starts_with("//!"))
        .collect();
    assert!(silent.is_empty(), "these modules do not open with `//!`: {silent:?}");
}

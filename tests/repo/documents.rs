//! Documents point at things that exist, and code carries no marks of unfinished work.

use std::path::{Component, Path, PathBuf};

use super::{files, root, text};

#[test]
fn links_between_documents_lead_somewhere() {
    let mut broken = Vec::new();
    for path in files().into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "md")) {
        for target in links(&prose(&text(&path))) {
            if target.contains("://") || target.starts_with('#') || target.starts_with("mailto:") {
                continue;
            }
            let file = target.split('#').next().unwrap_or_default();
            let folder = path.parent().unwrap_or(Path::new(""));
            if !root().join(normal(&folder.join(file))).exists() {
                broken.push(format!("{}: {target}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "broken links:\n{}", broken.join("\n"));
}

/// A text without its code: a pattern may look like a link.
fn prose(text: &str) -> String {
    text.lines().map(|line| line.split('`').step_by(2).collect::<String>() + "\n").collect()
}

/// Targets of inline Markdown links.
fn links(text: &str) -> Vec<&str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .filter(|target| !target.is_empty())
        .collect()
}

fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(out.pop()),
            Component::CurDir => {}
            other => out.push(other),
        }
    }
    out
}

#[test]
fn nothing_is_marked_as_unfinished() {
    // Written in two parts, so that this file does not find itself.
    let marks = [
        ["TO", "DO"],
        ["FIX", "ME"],
        ["XX", "X:"],
        ["todo", "!("],
        ["unimplemented", "!("],
        ["#[igno", "re"],
    ];
    let mut found = Vec::new();
    for path in files() {
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        if !["rs", "ts", "tsx", "js", "go", "sh", "md"].contains(&ending) {
            continue;
        }
        for (number, line) in text(&path).lines().enumerate() {
            if marks.iter().any(|mark| line.contains(&mark.concat())) {
                found.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "finish or remove:\n{}", found.join("\n"));
}

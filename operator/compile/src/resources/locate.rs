//! Paths into an object, and where in the file they lead.

use std::fmt;

use super::tree::{Node, Place};
use super::validate::quoted;

/// A path from the top of an object to one of its values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Path(pub Vec<Step>);

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) if !is_plain(key) => write!(f, "[{}]", quoted(key))?,
                Step::Key(key) if position == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
            }
        }
        Ok(())
    }
}

/// Whether a key can stand in a path as it is.
fn is_plain(key: &str) -> bool {
    !key.is_empty() && key.len() < 64 && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_/".contains(&b))
}

impl Path {
    /// A path from its text, as rules in CEL report it: keys after dots, indices and quoted keys in brackets.
    pub(super) fn parse(text: &str) -> Self {
        let mut steps = Vec::new();
        for part in text.split('.').filter(|part| !part.is_empty()) {
            let (key, indices) = part.split_once('[').unwrap_or((part, ""));
            if !key.is_empty() {
                steps.push(Step::Key(key.to_owned()));
            }
            for index in indices.split('[').map(|index| index.trim_end_matches(']')) {
                match index.parse() {
                    Ok(number) => steps.push(Step::Index(number)),
                    Err(_) if index.is_empty() => {}
                    Err(_) => steps.push(Step::Key(index.trim_matches(['"', '\'']).to_owned())),
                }
            }
        }
        Self(steps)
    }
}

/// Where a path leads: to the key of an entry, or to an element; to the nearest thing above it when it is not
/// there.
pub(super) fn locate(root: &Node, path: &Path) -> Place {
    let mut node = root;
    let mut place = root.place;
    for step in &path.0 {
        let next = match step {
            Step::Key(key) => node.entry(key).map(|entry| (entry.place, &entry.value)),
            Step::Index(index) => node.elements().get(*index).map(|element| (element.place, element)),
        };
        let Some((found, inner)) = next else { break };
        // What a merge brought in has no place of its own.
        if found.line > 0 {
            place = found;
        }
        node = inner;
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_keys_and_elements() {
        let node = super::super::tree::parse("a:\n  b:\n  - x\n  - c: 1\n    d.e: 2\n").unwrap();
        let table = [
            ("a", (1, 1)),
            ("a.b", (2, 3)),
            ("a.b[0]", (3, 5)),
            ("a.b[1].c", (4, 5)),
            ("a.b[1][\"d.e\"]", (5, 5)),
            ("a.b[1].missing", (4, 5)),
            ("a.b[7]", (2, 3)),
            ("", (1, 1)),
        ];
        for (text, (line, column)) in table {
            let path = match text {
                "a.b[1][\"d.e\"]" => Path(vec![
                    Step::Key("a".into()),
                    Step::Key("b".into()),
                    Step::Index(1),
                    Step::Key("d.e".into()),
                ]),
                _ => Path::parse(text),
            };
            assert_eq!(path.to_string(), text);
            assert_eq!(locate(&node, &path), Place { line, column }, "{text:?}");
        }
    }
}

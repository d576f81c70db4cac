//! Paths of fields in a resource, for messages: `spec.rules[0].matches[1].path.value`.
//!
//! A path is a chain of borrowed parts on the stack; it becomes text only when there is something to say.

use std::fmt;

/// A place in a resource.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Field<'a> {
    /// `spec`, or another field at the top.
    Top(&'static str),
    /// A field of an object.
    Key(&'a Field<'a>, &'static str),
    /// An element of a list.
    Index(&'a Field<'a>, usize),
}

/// `spec` of a resource.
pub(crate) const SPEC: Field<'static> = Field::Top("spec");

impl Field<'_> {
    /// A field below this one.
    pub(crate) const fn key<'a>(&'a self, name: &'static str) -> Field<'a> {
        Field::Key(self, name)
    }

    /// An element of this list.
    pub(crate) const fn index(&self, index: usize) -> Field<'_> {
        Field::Index(self, index)
    }
}

impl fmt::Display for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Top(name) => f.write_str(name),
            Self::Key(parent, name) => write!(f, "{parent}.{name}"),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_like_the_yaml_it_points_into() {
        let rules = SPEC.key("rules");
        let rule = rules.index(0);
        let matches = rule.key("matches");
        assert_eq!(matches.index(1).key("path").to_string(), "spec.rules[0].matches[1].path");
    }
}

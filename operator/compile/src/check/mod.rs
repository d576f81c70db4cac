//! Raw text from a resource → checked values, as the snapshot promises them to the gateway.
//!
//! In: one string as the user typed it. Out: the value, normalised (lower case where case does not count), or
//! a [`Wrong`] that says what is the matter and what to write instead. The object and the field are added by
//! the caller, who knows them. Nothing here looks at other objects.

mod duration;
mod header;
mod name;
mod path;
mod pattern;

pub(crate) use duration::duration_ms;
pub(crate) use header::{header_name, header_value, method};
pub(crate) use name::{hostname, intersect, precise_hostname};
pub(crate) use path::{path, prefix, refused_part, vanished_part};
pub(crate) use pattern::{compiled, pattern};

/// What is wrong with a value, and the cure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Wrong(pub(crate) String);

/// At most this much of a wrong value is repeated in a message.
const SHOWN: usize = 80;

/// `value` for a message: quoted, control characters escaped, cut to a bearable length.
pub(crate) fn shown(value: &str) -> String {
    match value.char_indices().nth(SHOWN) {
        None => format!("{value:?}"),
        Some((end, _)) => format!("{:?}…", &value[..end]),
    }
}

#[cfg(test)]
mod tests;

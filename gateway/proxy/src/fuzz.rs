//! A door for fuzz targets to the parsers of a connection's bytes; built only for them (`--cfg fuzzing`).
//!
//! In: bytes and how they are cut. Out: what was made of them, to be compared between cuts.

use crate::listen::fuzzing;
use crate::wire::{ResponseHead, View};

/// What is made of one connection's bytes when they arrive `cut` at a time: each head's length and framing with the
/// length of its message, then the fault that ends the connection, if one does.
pub fn heads(bytes: &[u8], cut: usize) -> Vec<String> {
    fuzzing::heads(bytes, cut)
}

/// How many HTTP/2 streams they open.
pub fn streams(bytes: &[u8], cut: usize) -> u64 {
    fuzzing::streams(bytes, cut)
}

/// What is made of an upstream's answer whose bytes arrive `cut` at a time: its head with its fields, or why it has none.
pub fn answer(bytes: &[u8], cut: usize) -> Option<String> {
    let (mut seen, mut have, mut fields) = (0, 0, Vec::new());
    while have < bytes.len() {
        have = (have + cut).min(bytes.len());
        match ResponseHead::read(&bytes[..have], seen, &mut fields) {
            Ok(None) => seen = have,
            Ok(Some(head)) => {
                let fields: Vec<_> = View::new(bytes, &fields).iter().collect();
                return Some(format!("{head:?} {:?} {fields:?}", head.phrase.of(bytes)));
            }
            Err(malformed) => return Some(malformed.to_string()),
        }
    }
    None
}

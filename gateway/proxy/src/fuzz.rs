//! A door for fuzz targets to the parsers of a connection's bytes; built only for them (`--cfg fuzzing`).
//!
//! In: bytes and how they are cut. Out: what was made of them, to be compared between cuts.

use crate::listen::fuzzing;

/// What is made of one connection's bytes when they arrive `cut` at a time: each head's length and framing with the
/// length of its message, then the fault that ends the connection, if one does.
pub fn heads(bytes: &[u8], cut: usize) -> Vec<String> {
    fuzzing::heads(bytes, cut)
}

/// How many HTTP/2 streams they open.
pub fn streams(bytes: &[u8], cut: usize) -> u64 {
    fuzzing::streams(bytes, cut)
}

//! Bytes at the front of a connection: the strict check of heads, and where messages end.
#![no_main]

use gateway_proxy::fuzz::{heads, streams};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let (&cut, bytes) = bytes.split_first().unwrap_or((&1, &[]));
    let whole = heads(bytes, bytes.len().max(1));
    assert_eq!(heads(bytes, usize::from(cut).max(1)), whole, "how bytes arrive changes nothing");
    assert_eq!(streams(bytes, usize::from(cut).max(1)), streams(bytes, bytes.len().max(1)));
});

//! Bytes of an upstream: the head of its answer.
#![no_main]

use gateway_proxy::fuzz::answer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let (&cut, bytes) = bytes.split_first().unwrap_or((&1, &[]));
    let whole = answer(bytes, bytes.len().max(1));
    assert_eq!(answer(bytes, usize::from(cut).max(1)), whole, "how bytes arrive changes nothing");
});

//! What the engine's endpoint reads: query strings, statements, compressed blocks, result headers.
#![no_main]

use analytics_engine::fuzz::{ask, statement, unpack};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        ask(text);
        statement(text);
    }
    unpack(bytes);
});

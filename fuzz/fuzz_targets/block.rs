//! Native blocks: what is read can be written and read again.
#![no_main]

use analytics_record::native::{read_block, write_block};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(block) = read_block(bytes) {
        let again = read_block(&write_block(&block)).expect("a written block can be read");
        assert_eq!(again, block);
    }
});

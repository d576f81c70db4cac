//! Entries of the spool's rings, with and without a checksum that fits.
#![no_main]

use analytics_record::entry::{MAX_ENTRY_BYTES, decode, encode};
use libfuzzer_sys::fuzz_target;

const HEADER: usize = 8;

fuzz_target!(|bytes: &[u8]| {
    let _ = decode(bytes, 0);
    // The same with lengths and checksum put right, or hardly anything would get past them.
    let mut entry = vec![0; HEADER];
    entry.extend_from_slice(&bytes[..bytes.len().min(MAX_ENTRY_BYTES - HEADER)]);
    let payload = u16::try_from(entry.len() - HEADER).expect("an entry is short");
    entry.resize(entry.len().next_multiple_of(8), 0);
    entry[..2].copy_from_slice(&payload.to_le_bytes());
    entry[2..4].copy_from_slice(&1_u16.to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&0_u64.to_le_bytes()), &entry[..4]);
    let crc = crc32c::crc32c_append(crc, &entry[HEADER..]);
    entry[4..8].copy_from_slice(&crc.to_le_bytes());
    if let Ok((record, used)) = decode(&entry, 0) {
        assert!(used <= entry.len() && used.is_multiple_of(8));
        let mut out = [0; MAX_ENTRY_BYTES];
        let length = encode(&record, 0, &mut out);
        assert_eq!(
            decode(&out[..length], 0).map(|(record, _)| record),
            Ok(record),
            "what was read can be written"
        );
    }
});

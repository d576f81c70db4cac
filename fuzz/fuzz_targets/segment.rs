//! Segments as gateways send them: the header with a checksum that fits, a body of any bytes with a hash that fits.
#![no_main]

use analytics_record::segment::{HEADER_BYTES, Header, Segment};
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};

/// Offset of the content hash and of the checksum behind it.
const CONTENT: usize = HEADER_BYTES - 40;
const BODY_LENGTH: usize = CONTENT - 40;

fuzz_target!(|bytes: &[u8]| {
    let _ = Segment::parse(bytes);
    if bytes.len() < HEADER_BYTES {
        return;
    }
    let mut bytes = bytes.to_vec();
    bytes[..8].copy_from_slice(&seed()[..8]);
    let length = (bytes.len() - HEADER_BYTES) as u64;
    bytes[BODY_LENGTH..BODY_LENGTH + 8].copy_from_slice(&length.to_le_bytes());
    bytes[CONTENT..CONTENT + 32].fill(0);
    checksum(&mut bytes);
    let hash = Sha256::digest(&bytes);
    bytes[CONTENT..CONTENT + 32].copy_from_slice(&hash);
    checksum(&mut bytes);
    if let Ok(segment) = Segment::parse(&bytes) {
        assert_eq!(segment.header().encode(), bytes[..HEADER_BYTES], "a header that was read can be written");
        // A block that would be larger than the fuzzer's memory is bounded by the same check as any other.
        if segment.header().block_bytes < 1 << 20 {
            let _ = segment.block();
        }
    }
});

fn checksum(bytes: &mut [u8]) {
    let crc = u64::from(crc32c::crc32c(&bytes[..HEADER_BYTES - 8]));
    bytes[HEADER_BYTES - 8..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
}

/// Mark and version.
fn seed() -> [u8; HEADER_BYTES] {
    use analytics_record::segment::{Flavour, Hash, Source, Totals};
    let name = "01890000-0000-7000-8000-000000000000/1/0/1".parse().expect("a segment's name");
    Header {
        name,
        schema: 1,
        flavour: Flavour::Detail,
        source: Source::Ring { from: 0, to: 1 },
        totals: Totals::of_records(&[]),
        min_ts_us: 0,
        max_ts_us: 0,
        complete_through_us: 0,
        wall_anchor_us: 0,
        block_bytes: 0,
        body_bytes: 0,
        previous: Hash::ZERO,
        content: Hash::ZERO,
    }
    .encode()
}

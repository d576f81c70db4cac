//! ClickHouse's own compressed blocks (`compress=1`, `decompress=1`).
//!
//! A block: CityHash128 of what follows (16 bytes, ClickHouse's 1.0.2 flavour, halves swapped), method (1 byte), size of
//! header and data (u32), size when unpacked (u32), data. Methods: 0x82 LZ4, 0x02 stored. Source: ClickHouse's
//! documentation of the native format. Pure: bytes in, bytes out; hostile bytes give an error and bounded memory.

use bytes::{Buf, Bytes, BytesMut};

const CHECKSUM: usize = 16;
const HEADER: usize = 9;
const LZ4: u8 = 0x82;
const STORED: u8 = 0x02;
/// Largest block that is unpacked, in bytes, packed or not. Clients cut far smaller ones.
const MOST: usize = 64 << 20;
/// Largest block that is written, in bytes before packing.
const WRITTEN: usize = 1 << 20;

/// Why a block cannot be unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BlockError {
    #[error("a compressed block says {0} bytes, out of bounds")]
    Size(usize),
    #[error("compression method {0:#04x} is not known; use LZ4 or none")]
    Method(u8),
    #[error("a compressed block's checksum does not fit its bytes")]
    Checksum,
    #[error("a compressed block does not unpack to the size it says")]
    Data,
    #[error("the last compressed block is cut off")]
    Truncated,
}

/// Unpacks a stream of blocks that arrives cut anywhere.
#[derive(Debug, Default)]
pub(crate) struct Unpacker {
    pending: BytesMut,
}

impl Unpacker {
    /// Takes the next bytes of the stream.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// The next whole block's data, or `None` until more bytes come.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, BlockError> {
        let Some(header) = self.pending.get(CHECKSUM..CHECKSUM + HEADER) else { return Ok(None) };
        let method = header[0];
        let packed = u32::from_le_bytes([header[1], header[2], header[3], header[4]]) as usize;
        let unpacked = u32::from_le_bytes([header[5], header[6], header[7], header[8]]) as usize;
        if !(HEADER..=MOST).contains(&packed) {
            return Err(BlockError::Size(packed));
        }
        if unpacked > MOST {
            return Err(BlockError::Size(unpacked));
        }
        if self.pending.len() < CHECKSUM + packed {
            return Ok(None);
        }
        let mut block = self.pending.split_to(CHECKSUM + packed);
        let told = block.get_u128_le();
        if checksum(&block) != told {
            return Err(BlockError::Checksum);
        }
        let data = &block[HEADER..];
        match method {
            LZ4 => unpack_lz4(data, unpacked).map(Some),
            STORED if data.len() == unpacked => Ok(Some(block.freeze().slice(HEADER..))),
            STORED => Err(BlockError::Data),
            other => Err(BlockError::Method(other)),
        }
    }

    /// Checks that the stream ended with a whole block.
    pub(crate) fn finish(&self) -> Result<(), BlockError> {
        if self.pending.is_empty() { Ok(()) } else { Err(BlockError::Truncated) }
    }
}

fn unpack_lz4(data: &[u8], unpacked: usize) -> Result<Bytes, BlockError> {
    let mut output = vec![0; unpacked];
    match lz4_flex::block::decompress_into(data, &mut output) {
        Ok(length) if length == unpacked => Ok(output.into()),
        _ => Err(BlockError::Data),
    }
}

/// Packs data into LZ4 blocks.
pub(crate) fn pack(data: &[u8]) -> Bytes {
    let mut output = BytesMut::new();
    for piece in data.chunks(WRITTEN) {
        let compressed = lz4_flex::block::compress(piece);
        let packed = HEADER + compressed.len();
        let mut block = Vec::with_capacity(packed);
        block.push(LZ4);
        block.extend_from_slice(&(packed as u32).to_le_bytes());
        block.extend_from_slice(&(piece.len() as u32).to_le_bytes());
        block.extend_from_slice(&compressed);
        output.extend_from_slice(&checksum(&block).to_le_bytes());
        output.extend_from_slice(&block);
    }
    output.freeze()
}

/// A block with the checksum that fits, for fuzz targets.
#[cfg(fuzzing)]
pub(crate) fn seal(block: &[u8]) -> Vec<u8> {
    let packed = block.len() as u32;
    let mut out = block.to_vec();
    if out.len() >= HEADER {
        out[1..5].copy_from_slice(&packed.to_le_bytes());
    }
    [checksum(&out).to_le_bytes().to_vec(), out].concat()
}

fn checksum(bytes: &[u8]) -> u128 {
    cityhash_rs::cityhash_102_128(bytes).rotate_right(64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unpack(stream: &[u8], cut: usize) -> Result<Vec<u8>, BlockError> {
        let (mut unpacker, mut output) = (Unpacker::default(), Vec::new());
        for piece in stream.chunks(cut.max(1)) {
            unpacker.push(piece);
            while let Some(data) = unpacker.next()? {
                output.extend_from_slice(&data);
            }
        }
        unpacker.finish().map(|()| output)
    }

    #[test]
    fn a_known_block_unpacks() {
        // One block as written by the `clickhouse` crate's own test of its compression.
        let block = [
            245_u8, 5, 222, 235, 225, 158, 59, 108, 225, 31, 65, 215, 66, 66, 36, 92, 130, 34, 0, 0, 0, 23,
            0, 0, 0, 240, 8, 1, 0, 2, 255, 255, 255, 255, 0, 1, 1, 1, 115, 6, 83, 116, 114, 105, 110, 103, 3,
            97, 98, 99,
        ];
        assert_eq!(unpack(&block, 7).unwrap(), &block[27..]);
    }

    #[test]
    fn sizes_are_bounded_before_anything_is_allocated() {
        let mut block = pack(b"abc").to_vec();
        block[21..25].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(unpack(&block, 9), Err(BlockError::Size(u32::MAX as usize)));
        assert_eq!(unpack(&pack(b"abc")[..20], 9), Err(BlockError::Truncated));
    }

    proptest! {
        #[test]
        fn packing_round_trips(data in prop::collection::vec(any::<u8>(), 0..4096), cut in 1usize..100) {
            prop_assert_eq!(unpack(&pack(&data), cut).unwrap(), data);
        }

        #[test]
        fn a_changed_byte_is_noticed(data in prop::collection::vec(any::<u8>(), 1..512), at: prop::sample::Index, flip in 1u8..) {
            let mut block = pack(&data).to_vec();
            let at = at.index(block.len());
            block[at] ^= flip;
            prop_assert!(unpack(&block, 4096).is_err());
        }

        #[test]
        fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            let _ = unpack(&bytes, 64);
        }
    }
}

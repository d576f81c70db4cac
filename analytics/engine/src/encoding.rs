//! How an answer's bytes are packed for the client that asked.
//!
//! In: the engine's output, chunk by chunk. Out: the same, plain, as one LZ4 frame (`Accept-Encoding: lz4`, the
//! `clickhouse` crate) or as ClickHouse's compressed blocks (`compress=1`, clickhouse-go). Every chunk is flushed, so that a
//! reader sees rows, and an error's block, as soon as they exist. gzip and deflate are the HTTP server's business.

use std::io::Write;

use bytes::Bytes;
use lz4_flex::frame::{BlockSize, FrameEncoder, FrameInfo};

use crate::native_block;

/// What the client asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// As it is.
    Plain,
    /// One LZ4 frame; named by `Content-Encoding: lz4`.
    Lz4Frame,
    /// ClickHouse's own blocks, inside the body.
    Blocks,
}

/// Packs one answer.
pub(crate) enum Encoder {
    Plain,
    Lz4Frame(Box<FrameEncoder<Vec<u8>>>),
    Blocks,
}

impl Encoder {
    pub(crate) fn new(encoding: Encoding) -> Self {
        match encoding {
            Encoding::Plain => Self::Plain,
            Encoding::Blocks => Self::Blocks,
            Encoding::Lz4Frame => {
                let frame = FrameInfo::new().block_size(BlockSize::Max1MB);
                Self::Lz4Frame(Box::new(FrameEncoder::with_frame_info(frame, Vec::new())))
            }
        }
    }

    /// Packs the next chunk.
    pub(crate) fn chunk(&mut self, data: Bytes) -> Bytes {
        match self {
            Self::Plain => data,
            Self::Blocks => native_block::pack(&data),
            Self::Lz4Frame(frame) => {
                frame.write_all(&data).and_then(|()| frame.flush()).expect("writing to memory does not fail");
                std::mem::take(frame.get_mut()).into()
            }
        }
    }

    /// What ends the answer.
    pub(crate) fn end(self) -> Bytes {
        match self {
            Self::Plain | Self::Blocks => Bytes::new(),
            Self::Lz4Frame(frame) => frame.finish().expect("writing to memory does not fail").into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_frame_of_many_chunks_unpacks() {
        let mut encoder = Encoder::new(Encoding::Lz4Frame);
        let mut packed = Vec::new();
        for _ in 0..3 {
            packed.extend_from_slice(&encoder.chunk(Bytes::from(vec![b'x'; 3 << 20])));
        }
        packed.extend_from_slice(&encoder.end());
        let mut output = Vec::new();
        lz4_flex::frame::FrameDecoder::new(&packed[..]).read_to_end(&mut output).unwrap();
        assert!(output.len() == 9 << 20 && output.iter().all(|&byte| byte == b'x'));
    }

    #[test]
    fn an_empty_answer_is_a_whole_frame() {
        let packed = Encoder::new(Encoding::Lz4Frame).end();
        assert_eq!(lz4_flex::frame::FrameDecoder::new(&packed[..]).read_to_end(&mut Vec::new()).unwrap(), 0);
    }
}

//! How many streams a caller opened on an HTTP/2 connection, told from its bytes.
//!
//! The HTTP/2 library answers or resets some streams by itself (a header far too large, a pseudo-header missing) and
//! tells nobody. In: all bytes from the caller. Out: a count, which shows how many requests still need a record.
//! Looks at the nine bytes before each frame and nothing else (RFC 9113, 4.1); what is not a frame the library
//! refuses with the connection. Never buffers.

/// Bytes of the connection preface (RFC 9113, 3.4).
const PREFACE: usize = 24;
/// Bytes before each frame.
const HEADER: usize = 9;
/// Type of a frame that opens a stream (RFC 9113, 6.2).
const HEADERS: u8 = 1;

/// Counts streams.
#[derive(Debug)]
pub(super) struct StreamCounter {
    /// Bytes to pass over: the preface, then payloads.
    skip: usize,
    /// The beginning of a frame.
    header: [u8; HEADER],
    held: usize,
    last: u32,
}

impl Default for StreamCounter {
    fn default() -> Self {
        Self { skip: PREFACE, header: [0; HEADER], held: 0, last: 0 }
    }
}

impl StreamCounter {
    /// Streams that are opened in `bytes`, the next ones of the connection.
    pub(super) fn opened(&mut self, mut bytes: &[u8]) -> u64 {
        let mut opened = 0;
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let taken = (HEADER - self.held).min(bytes.len());
            self.header[self.held..self.held + taken].copy_from_slice(&bytes[..taken]);
            self.held += taken;
            bytes = &bytes[taken..];
            if self.held == HEADER {
                self.held = 0;
                opened += u64::from(self.frame());
            }
        }
        opened
    }

    /// Takes in a frame's header; whether it opens a stream. Streams of callers have odd, rising numbers; a second
    /// header on a stream is its trailers.
    fn frame(&mut self) -> bool {
        let [a, b, c, kind, _flags, stream @ ..] = self.header;
        self.skip = u32::from_be_bytes([0, a, b, c]) as usize;
        let stream = u32::from_be_bytes(stream) & (u32::MAX >> 1);
        let opens = kind == HEADERS && stream % 2 == 1 && stream > self.last;
        if opens {
            self.last = stream;
        }
        opens
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, stream: u32, payload: usize) -> Vec<u8> {
        let mut bytes = (payload as u32).to_be_bytes()[1..].to_vec();
        bytes.extend([kind, 0]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend(std::iter::repeat_n(1, payload));
        bytes
    }

    fn connection() -> Vec<u8> {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        let frames =
            [(4, 0, 18), (1, 1, 40), (0, 1, 5_000), (1, 1, 7), (1, 3, 0), (9, 3, 100), (6, 0, 8), (1, 9, 1)];
        for (kind, stream, payload) in frames {
            bytes.extend(frame(kind, stream, payload));
        }
        bytes
    }

    proptest! {
        #[test]
        fn streams_are_counted_however_bytes_arrive(cuts in prop::collection::vec(1..600_usize, 0..40)) {
            let (bytes, mut counter, mut at, mut opened) =
                (connection(), StreamCounter::default(), 0_usize, 0);
            for cut in cuts.into_iter().chain([usize::MAX]) {
                let end = at.saturating_add(cut).min(connection().len());
                opened += counter.opened(&bytes[at..end]);
                at = end;
            }
            prop_assert_eq!(opened, 3);
        }

        #[test]
        fn hostile_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
            prop_assert!(StreamCounter::default().opened(&bytes) <= bytes.len() as u64 / 9);
        }
    }
}

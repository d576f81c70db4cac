//! Where a request's message ends: a gate over the bytes of a connection.
//!
//! In: the framing that the head declared, then bytes. Out: how many of them belong to the message. With it
//! the parser behind never sees a byte of the next request, so that pipelined requests wait in our buffer and
//! the two parsers cannot disagree on where a body ends (request smuggling). Never buffers.

use super::head::{Framing, Head};

/// Longest chunk-size line, extensions included, and longest trailer section, in bytes.
const LONGEST_LINE: usize = 4 * 1024;
const LONGEST_TRAILERS: usize = 8 * 1024;

/// The chunked coding was violated (RFC 9112, 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed chunked body: {0}")]
pub(crate) struct Violation(&'static str);

/// Counts a message's bytes.
#[derive(Debug)]
pub(crate) enum Gate {
    /// Between messages: nothing may pass.
    Shut,
    /// A head and a body of known length.
    Counted(u64),
    /// What is left of the head, then chunks.
    Chunked { head: usize, chunks: Chunks },
    /// Everything passes.
    Open,
}

impl Gate {
    /// For the message that begins with `head`.
    pub(crate) fn for_message(head: &Head) -> Self {
        match head.framing {
            Framing::Length(length) => Self::Counted(length + head.len as u64),
            Framing::Chunked => Self::Chunked { head: head.len, chunks: Chunks::default() },
            Framing::Tunnel => Self::Open,
        }
    }

    /// How many bytes at the front of `bytes` belong to the message: 0 for a message that is complete. A
    /// violation is told when it stands at the front; what came before it passes.
    pub(crate) fn pass(&mut self, bytes: &[u8]) -> Result<usize, Violation> {
        match self {
            Self::Shut => Ok(0),
            Self::Open => Ok(bytes.len()),
            Self::Counted(left) => {
                let passed = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= passed as u64;
                Ok(passed)
            }
            Self::Chunked { head, chunks } => {
                let of_head = (*head).min(bytes.len());
                *head -= of_head;
                match chunks.pass(&bytes[of_head..]) {
                    Ok(passed) => Ok(of_head + passed),
                    Err(_) if of_head > 0 => Ok(of_head),
                    Err(violation) => Err(violation),
                }
            }
        }
    }

    /// Whether the message is complete.
    pub(crate) fn is_complete(&self) -> bool {
        match self {
            Self::Shut => true,
            Self::Open => false,
            Self::Counted(left) => *left == 0,
            Self::Chunked { head, chunks } => *head == 0 && chunks.is_complete(),
        }
    }
}

/// A reader of the chunked coding that only counts.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    state: State,
    /// Of the chunk that is being announced or read.
    size: u64,
    /// Bytes of the present line, or of all trailers.
    line: usize,
    /// Of the chunks so far, without their framing.
    pub(crate) data: u64,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Digits of the size; at least one is needed.
    #[default]
    Size,
    /// After a `;`.
    Extension,
    /// After the CR of a size line.
    SizeLf,
    Data,
    /// After the data of a chunk.
    DataCr,
    DataLf,
    /// At the beginning of a trailer line, or of the last empty line.
    TrailerStart,
    Trailer,
    TrailerLf,
    /// After the CR of the last empty line.
    LastLf,
    Done,
}

impl Chunks {
    /// Whether the last chunk and the trailers behind it were passed.
    pub(crate) fn is_complete(&self) -> bool {
        self.state == State::Done
    }

    /// How many bytes at the front of `bytes` belong to the body. A violation is told when it stands at the front.
    pub(crate) fn pass(&mut self, bytes: &[u8]) -> Result<usize, Violation> {
        let mut at = 0;
        while at < bytes.len() && self.state != State::Done {
            match self.run(&bytes[at..]) {
                Ok((framing, data)) => at += framing + data,
                // The same byte will fail the same way when it is the first.
                Err(_) if at > 0 => return Ok(at),
                Err(violation) => return Err(violation),
            }
        }
        Ok(at)
    }

    /// The first run of data: how many bytes of framing stand before it, and how many it has here. A violation is told when
    /// it stands at the front.
    pub(crate) fn run(&mut self, bytes: &[u8]) -> Result<(usize, usize), Violation> {
        let mut at = 0;
        while at < bytes.len() && !matches!(self.state, State::Data | State::Done) {
            match self.step(bytes[at]) {
                Ok(next) => self.state = next,
                Err(_) if at > 0 => return Ok((at, 0)),
                Err(violation) => return Err(violation),
            }
            at += 1;
        }
        if self.state != State::Data {
            return Ok((at, 0));
        }
        let data = usize::try_from(self.size).unwrap_or(usize::MAX).min(bytes.len() - at);
        self.size -= data as u64;
        self.data += data as u64;
        if self.size == 0 {
            self.state = State::DataCr;
        }
        Ok((at, data))
    }

    fn step(&mut self, byte: u8) -> Result<State, Violation> {
        match (self.state, byte) {
            (State::Size, b'\r') if self.line > 0 => Ok(State::SizeLf),
            (State::Size, b';') if self.line > 0 => Ok(State::Extension),
            (State::Size, byte) => self.digit(byte),
            (State::Extension, b'\r') => Ok(State::SizeLf),
            (State::Extension, byte) => self.text(byte, State::Extension, LONGEST_LINE),
            (State::SizeLf, b'\n') => {
                self.line = 0;
                Ok(if self.size == 0 { State::TrailerStart } else { State::Data })
            }
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::Size),
            (State::TrailerStart, b'\r') => Ok(State::LastLf),
            (State::TrailerStart, b' ' | b'\t') => Err(Violation("a trailer line is folded")),
            (State::Trailer, b'\r') => Ok(State::TrailerLf),
            (State::TrailerStart | State::Trailer, byte) => self.text(byte, State::Trailer, LONGEST_TRAILERS),
            (State::TrailerLf, b'\n') => Ok(State::TrailerStart),
            (State::LastLf, b'\n') => Ok(State::Done),
            _ => Err(Violation("a line or a chunk does not end where it should")),
        }
    }

    fn digit(&mut self, byte: u8) -> Result<State, Violation> {
        let digit = char::from(byte).to_digit(16).ok_or(Violation("a chunk size is not hexadecimal"))?;
        // 15 digits: the sum of two sizes still fits.
        if self.line >= 15 {
            return Err(Violation("a chunk size is too large"));
        }
        self.size = self.size << 4 | u64::from(digit);
        self.line += 1;
        Ok(State::Size)
    }

    fn text(&mut self, byte: u8, next: State, longest: usize) -> Result<State, Violation> {
        self.line += 1;
        if self.line > longest {
            return Err(Violation("an extension or the trailer section is too long"));
        }
        if byte == b'\t' || (byte >= b' ' && byte != 0x7f) {
            Ok(next)
        } else {
            Err(Violation("a control character stands in an extension or a trailer"))
        }
    }
}

#[cfg(test)]
mod tests;

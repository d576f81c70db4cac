//! Heads of upstreams' answers.
//!
//! In: the bytes at the front of an upstream connection. Out: the head and how its body is framed (RFC 9112, 6.3),
//! or that it cannot be understood. Takes what most clients take (spaces before a colon); refuses what two readers
//! could frame differently.

use std::mem::MaybeUninit;

use http::StatusCode;
use memchr::memmem;

use super::{Field, MOST_FIELDS, Span, View};

/// Largest head of an answer, bytes.
const LARGEST: usize = 1 << 20;

/// An answer that cannot be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed answer: {0}")]
pub(crate) struct Malformed(pub(crate) &'static str);

/// The head of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ResponseHead {
    /// Bytes up to and with the empty line.
    pub(crate) len: usize,
    /// Its status.
    pub(crate) status: StatusCode,
    /// As the upstream wrote it.
    pub(crate) phrase: Span,
    /// The upstream closes the connection behind the answer.
    pub(crate) closes: bool,
    /// `Transfer-Encoding: chunked`.
    pub(crate) chunked: bool,
    /// `Content-Length`, unless it is chunked.
    pub(crate) length: Option<u64>,
}

impl ResponseHead {
    /// Reads a head; `None`: more is needed. `seen` bytes were looked at before. The fields go to `fields`.
    pub(crate) fn read(
        bytes: &[u8],
        seen: usize,
        fields: &mut Vec<Field>,
    ) -> Result<Option<Self>, Malformed> {
        let from = seen.saturating_sub(3);
        // The first look tells at once what is no answer at all; each later one waits for an end.
        if seen > 0 && !ends_within(&bytes[from..]) {
            return if bytes.len() > LARGEST { Err(Malformed("the head is too large")) } else { Ok(None) };
        }
        let mut room = [MaybeUninit::uninit(); MOST_FIELDS];
        let mut response = httparse::Response::new(&mut []);
        let parsed = httparse::ParserConfig::default()
            .allow_spaces_after_header_name_in_responses(true)
            .parse_response_with_uninit_headers(&mut response, bytes, &mut room);
        let len = match parsed {
            Ok(httparse::Status::Complete(len)) => len,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(Malformed("the head is not one of HTTP/1")),
        };
        Field::collect(fields, bytes, response.headers);
        let old = response.version == Some(0);
        let status = response.code.and_then(|code| StatusCode::from_u16(code).ok());
        let mut head = Self {
            len,
            status: status.ok_or(Malformed("the status is none"))?,
            phrase: Span::within(bytes, response.reason.unwrap_or_default().as_bytes()),
            closes: old,
            chunked: false,
            length: None,
        };
        head.look(View::new(bytes, fields), old)?;
        Ok(Some(head))
    }

    /// Framing, and whether the connection stays open.
    fn look(&mut self, fields: View<'_>, old: bool) -> Result<(), Malformed> {
        for (name, value) in fields.iter() {
            match name.len() {
                10 if name.eq_ignore_ascii_case(b"connection") => self.closes |= names_close(value),
                14 if name.eq_ignore_ascii_case(b"content-length") => {
                    let length = parse_length(value)?;
                    if self.length.replace(length).is_some_and(|other| other != length) {
                        return Err(Malformed("two lengths"));
                    }
                }
                17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                    if old || self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                        return Err(Malformed("a transfer coding that was not asked for"));
                    }
                    self.chunked = true;
                }
                _ => {}
            }
        }
        if self.chunked {
            // RFC 9112, 6.3: the coding overrides the length, and such a connection is not used again.
            self.closes |= self.length.take().is_some();
        }
        Ok(())
    }
}

/// Whether an empty line stands in `bytes`.
fn ends_within(bytes: &[u8]) -> bool {
    memmem::find(bytes, b"\n\r\n").is_some() || memmem::find(bytes, b"\n\n").is_some()
}

/// Whether `close` is one of the options (RFC 9110, 7.6.1).
pub(crate) fn names_close(value: &[u8]) -> bool {
    value.split(|byte| *byte == b',').any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
}

fn parse_length(value: &[u8]) -> Result<u64, Malformed> {
    let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    digits.and_then(|text| text.parse().ok()).ok_or(Malformed("a length that is not a number"))
}

//! The strict check of an HTTP/1 request head, before any parser that is more forgiving sees it.
//!
//! In: the bytes at the front of a connection and the limits in force. Out: how long the head is and how its
//! body is framed, or the fault for which it is refused. Where RFC 9112 leaves a recipient a choice that two
//! parsers could make differently (both lengths, bare LF, folded lines, repeated Host), this one refuses:
//! a head that passes means the same to every hop behind us. Never reads a socket; allocates for the first head
//! of a connection only.

use std::mem::MaybeUninit;

use super::fault::Fault;
use crate::wire::{Field, MOST_FIELDS, Span};

/// Limits on a request head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeadLimits {
    /// Header fields.
    pub(crate) fields: usize,
    /// Bytes of names and values together.
    pub(crate) bytes: usize,
    /// Bytes of the request target.
    pub(crate) target: usize,
}

impl HeadLimits {
    /// Bytes after which a head without an end is refused: the parts' limits and room for separators.
    fn whole(&self) -> usize {
        self.bytes + self.target + 4 * self.fields.min(MOST_FIELDS) + 64
    }
}

/// How the body behind a head is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// `Content-Length` bytes; 0 without the field.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// A WebSocket handshake: what follows is for the other protocol if the upstream agrees.
    Tunnel,
}

/// A head that passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// Bytes up to and with the empty line.
    pub(crate) len: usize,
    /// What follows.
    pub(crate) framing: Framing,
}

/// What stands where in a head that passed.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    pub(crate) method: Span,
    pub(crate) target: Span,
    /// HTTP/1.0.
    pub(crate) old: bool,
    pub(crate) fields: Vec<Field>,
}

/// Finds the end of a head in bytes that arrive piece by piece, without looking at any byte twice.
#[derive(Debug, Default)]
pub(crate) struct HeadScanner {
    scanned: usize,
    line_start: usize,
    /// Of the last head that passed.
    pub(crate) parts: Parts,
}

impl HeadScanner {
    /// Begins another head.
    pub(crate) fn begin(&mut self) {
        (self.scanned, self.line_start) = (0, 0);
    }

    /// Looks at what is new in `bytes`, all that was read since the end of the last message. `None`: more is
    /// needed.
    pub(crate) fn scan(&mut self, bytes: &[u8], limits: &HeadLimits) -> Result<Option<Head>, Fault> {
        while let Some(offset) = memchr::memchr(b'\n', &bytes[self.scanned..]) {
            let at = self.scanned + offset;
            self.scanned = at + 1;
            if at == 0 || bytes[at - 1] != b'\r' {
                return Err(Fault::Malformed("a line ends without carriage return"));
            }
            let empty = at == self.line_start + 1;
            self.line_start = at + 1;
            if empty {
                return check(&bytes[..=at], limits, &mut self.parts).map(Some);
            }
        }
        self.scanned = bytes.len();
        if bytes.len() > limits.whole() {
            return Err(if self.line_start == 0 { Fault::TargetTooLong } else { Fault::HeaderTooLarge });
        }
        Ok(None)
    }
}

/// Checks a complete head, which ends with the empty line.
fn check(head: &[u8], limits: &HeadLimits, parts: &mut Parts) -> Result<Head, Fault> {
    let mut room = [MaybeUninit::uninit(); MOST_FIELDS];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(head, &mut room) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(Fault::Malformed("the head is not complete")),
        Err(error) => return Err(parse_fault(error)),
    }
    let target = request.path.unwrap_or_default();
    check_target(request.method.unwrap_or_default(), target, limits)?;
    if request.headers.len() > limits.fields {
        return Err(Fault::TooManyFields);
    }
    let size: usize = request.headers.iter().map(|field| field.name.len() + field.value.len()).sum();
    if size > limits.bytes {
        return Err(Fault::HeaderTooLarge);
    }
    let old = request.version == Some(0);
    check_host(request.headers, target, old)?;
    parts.method = Span::within(head, request.method.unwrap_or_default().as_bytes());
    parts.target = Span::within(head, target.as_bytes());
    parts.old = old;
    Field::collect(&mut parts.fields, head, request.headers);
    Ok(Head { len: head.len(), framing: framing(request.headers, old)? })
}

fn parse_fault(error: httparse::Error) -> Fault {
    match error {
        httparse::Error::TooManyHeaders => Fault::TooManyFields,
        httparse::Error::Version => Fault::Malformed("the version is not HTTP/1.0 or HTTP/1.1"),
        httparse::Error::HeaderName => Fault::Malformed("a field name is invalid, or a line is folded"),
        httparse::Error::HeaderValue => Fault::Malformed("a field value holds a control character"),
        _ => Fault::Malformed("the request line is invalid"),
    }
}

/// Visible ASCII in one of the forms of RFC 9112, 3.2, without a fragment; `CONNECT` is not offered.
fn check_target(method: &str, target: &str, limits: &HeadLimits) -> Result<(), Fault> {
    if target.len() > limits.target {
        return Err(Fault::TargetTooLong);
    }
    if method == "CONNECT" {
        return Err(Fault::ConnectMethod);
    }
    if target.bytes().any(|byte| !byte.is_ascii_graphic() || byte == b'#') {
        return Err(Fault::Malformed("the request target holds a character that must be percent-encoded"));
    }
    let known = target.starts_with('/')
        || (target == "*" && method == "OPTIONS")
        || absolute_authority(target).is_some_and(|authority| !authority.is_empty());
    if known { Ok(()) } else { Err(Fault::Malformed("the form of the request target is unknown")) }
}

/// The authority of a target in absolute form.
fn absolute_authority(target: &str) -> Option<&str> {
    let rest = strip_scheme(target, "http://").or_else(|| strip_scheme(target, "https://"))?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    Some(&rest[..end])
}

fn strip_scheme<'a>(target: &'a str, scheme: &str) -> Option<&'a str> {
    let front = target.get(..scheme.len())?;
    front.eq_ignore_ascii_case(scheme).then(|| &target[scheme.len()..])
}

/// Exactly one Host (none is allowed in HTTP/1.0), of valid characters, that agrees with an absolute target.
fn check_host(fields: &[httparse::Header<'_>], target: &str, old: bool) -> Result<(), Fault> {
    let mut hosts = fields.iter().filter(|field| field.name.eq_ignore_ascii_case("host"));
    let (first, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(Fault::Malformed("more than one Host field"));
    }
    let Some(host) = first.map(|field| field.value) else {
        return if old { Ok(()) } else { Err(Fault::Malformed("no Host field")) };
    };
    if !host.iter().all(|byte| is_host_byte(*byte)) {
        return Err(Fault::Malformed("the Host field is not a host"));
    }
    match absolute_authority(target) {
        Some(authority) if !authority.as_bytes().eq_ignore_ascii_case(host) => {
            Err(Fault::Malformed("the request target and the Host field name different hosts"))
        }
        _ => Ok(()),
    }
}

/// Characters of `uri-host [":" port]` (RFC 3986, 3.2.2), without user information.
fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:[]%".contains(&byte)
}

/// The framing by RFC 9112, 6.3, refusing what it only discourages.
fn framing(fields: &[httparse::Header<'_>], old: bool) -> Result<Framing, Fault> {
    let mut length = None;
    let mut coded = false;
    let mut websocket = false;
    for field in fields {
        if field.name.eq_ignore_ascii_case("content-length") {
            if length.replace(parse_length(field.value)?).is_some() {
                return Err(Fault::Malformed("more than one Content-Length field"));
            }
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
            if coded || !field.value.eq_ignore_ascii_case(b"chunked") {
                return Err(Fault::TransferCoding);
            }
            coded = true;
        } else if field.name.eq_ignore_ascii_case("upgrade") {
            websocket = field.value.eq_ignore_ascii_case(b"websocket");
        }
    }
    match (coded, length) {
        (true, Some(_)) => Err(Fault::Malformed("both Content-Length and Transfer-Encoding")),
        (true, None) if old => Err(Fault::Malformed("Transfer-Encoding in HTTP/1.0")),
        (true, None) => Ok(Framing::Chunked),
        (false, None | Some(0)) if websocket && !old => Ok(Framing::Tunnel),
        (false, length) => Ok(Framing::Length(length.unwrap_or(0))),
    }
}

/// Decimal digits only: `FromStr` would take a sign.
fn parse_length(value: &[u8]) -> Result<u64, Fault> {
    let digits =
        std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits
        .and_then(|text| text.parse().ok())
        .filter(|length| i64::try_from(*length).is_ok())
        .ok_or(Fault::Malformed("the Content-Length is not a number"))
}

/// What can be told of a request whose head was refused: for its record only, never for a decision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sketch {
    /// The first word, if it is a token.
    pub(crate) method: Option<String>,
    /// The second word without its query, shortened.
    pub(crate) path: Option<String>,
    /// Value of the first Host field.
    pub(crate) host: Option<String>,
}

impl Sketch {
    /// Reads what it can from the front of `bytes`.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        const LONGEST: usize = 256;
        let text = |bytes: &[u8]| -> Option<String> {
            let text = std::str::from_utf8(&bytes[..bytes.len().min(LONGEST)]).ok()?.trim();
            (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| text.to_owned())
        };
        let mut lines = bytes.split(|byte| *byte == b'\n');
        let first = lines.next().unwrap_or_default();
        let mut words = first.split(|byte| *byte == b' ');
        let method = words.next().and_then(text).filter(|word| word.len() <= 32);
        let path = words.next().and_then(|target| text(target.split(|byte| *byte == b'?').next()?));
        let host = lines
            .find(|line| line.len() > 5 && line[..5].eq_ignore_ascii_case(b"host:"))
            .and_then(|line| text(&line[5..]));
        Self { method, path, host }
    }
}

#[cfg(test)]
mod tests;

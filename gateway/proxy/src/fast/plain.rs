//! Which requests are plain enough: HTTP/1.1 in origin form, with a small body of known length or none, and nothing
//! that asks for more than an answer. Everything else has one engine that knows it all.

use crate::listen::{Framing, Head, Parts};
use crate::wire::{View, names_close};

/// Largest body that is kept until it is sent on, bytes. As much is kept elsewhere to be sent again.
pub(super) const LARGEST: u64 = 64 * 1024;

/// What a plain request wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plain {
    /// Bytes of its body.
    pub(super) body: usize,
    /// It says how long its body is.
    pub(super) sized: bool,
    /// The connection ends behind it.
    pub(super) close: bool,
    /// It is a HEAD request.
    pub(super) head_only: bool,
}

impl Plain {
    /// Looks at a request; nothing when it is not plain.
    pub(super) fn of(bytes: &[u8], head: &Head, parts: &Parts) -> Option<Self> {
        let Framing::Length(body @ 0..=LARGEST) = head.framing else { return None };
        if parts.old || !parts.target.of(bytes).starts_with(b"/") {
            return None;
        }
        let head_only = parts.method.of(bytes) == b"HEAD";
        let mut plain = Self { body: body as usize, sized: false, close: false, head_only };
        let mut cookies = 0;
        for (name, value) in View::new(bytes, &parts.fields).iter() {
            match name.len() {
                6 if name.eq_ignore_ascii_case(b"expect") => return None,
                6 if name.eq_ignore_ascii_case(b"cookie") => cookies += 1,
                7 if name.eq_ignore_ascii_case(b"upgrade") => return None,
                10 if name.eq_ignore_ascii_case(b"connection") => {
                    plain.close |= names_close(value);
                    if !value.eq_ignore_ascii_case(b"keep-alive") && !value.eq_ignore_ascii_case(b"close") {
                        return None;
                    }
                }
                14 if name.eq_ignore_ascii_case(b"content-length") => plain.sized = true,
                _ => {}
            }
        }
        // Several are joined for HTTP/1 upstreams.
        (cookies < 2).then_some(plain)
    }
}

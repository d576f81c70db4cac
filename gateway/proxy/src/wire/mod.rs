//! Heads of HTTP/1 messages as places in the buffer that they were read into.
//!
//! In: bytes that a parser has accepted. Out: names and values without a copy, edits to them, and the bytes of the
//! edited head. Knows nothing of requests or routes; never writes a byte that a field may not hold.

mod edits;
mod response;

use std::ops::Range;

use gateway_pipeline::Headers;
use http::HeaderName;

pub(crate) use edits::Edits;
pub(crate) use response::{Malformed, ResponseHead, names_close};

/// Fields that a head may have, in either direction.
pub(crate) const MOST_FIELDS: usize = 256;

/// A place in a buffer of less than 4 GiB.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Span {
    start: u32,
    end: u32,
}

/// A header field, without the white space around its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Field {
    name: Span,
    value: Span,
}

impl Span {
    /// Where `part` stands in `whole`, of which it is a part unless it is empty.
    pub(crate) fn within(whole: &[u8], part: &[u8]) -> Self {
        if part.is_empty() {
            return Self::default();
        }
        let start = part.as_ptr() as usize - whole.as_ptr() as usize;
        Self::from(start..start + part.len())
    }

    fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// The bytes at this place.
    pub(crate) fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start as usize..self.end as usize]
    }
}

impl From<Range<usize>> for Span {
    fn from(range: Range<usize>) -> Self {
        Self { start: range.start as u32, end: range.end as u32 }
    }
}

impl Field {
    /// The fields that a parser found in `whole`, instead of those in `fields`.
    pub(crate) fn collect(fields: &mut Vec<Self>, whole: &[u8], found: &[httparse::Header<'_>]) {
        fields.clear();
        fields.extend(found.iter().map(|field| Self {
            name: Span::within(whole, field.name.as_bytes()),
            value: Span::within(whole, field.value),
        }));
    }

    /// A field of which name and value stand at these places.
    pub(crate) fn new(name: Span, value: Span) -> Self {
        Self { name, value }
    }

    fn is(&self, bytes: &[u8], name: &str) -> bool {
        self.name.len() == name.len() && self.name.of(bytes).eq_ignore_ascii_case(name.as_bytes())
    }
}

/// The fields of a head with the buffer that they stand in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    bytes: &'a [u8],
    fields: &'a [Field],
}

impl<'a> View<'a> {
    /// `fields` as they stand in `bytes`.
    pub(crate) fn new(bytes: &'a [u8], fields: &'a [Field]) -> Self {
        Self { bytes, fields }
    }

    /// The bytes at a place in the same buffer.
    pub(crate) fn at(self, place: Span) -> &'a [u8] {
        place.of(self.bytes)
    }

    /// Name and value of each field, in order.
    pub(crate) fn iter(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.fields.iter().map(move |field| (field.name.of(self.bytes), field.value.of(self.bytes)))
    }

    /// The values of the fields of a name.
    pub(crate) fn all(self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.fields.iter().filter(move |f| f.is(self.bytes, name)).map(move |f| f.value.of(self.bytes))
    }
}

impl Headers for View<'_> {
    fn each<'s>(&'s self, name: &HeaderName, visit: &mut dyn FnMut(&'s [u8])) {
        self.all(name.as_str()).for_each(visit);
    }

    fn first<'s>(&'s self, name: &HeaderName) -> Option<&'s [u8]> {
        self.all(name.as_str()).next()
    }
}

#[cfg(test)]
mod tests;

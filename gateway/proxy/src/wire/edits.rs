//! Edits to the fields of a head: what is gone and what is new. Nothing that stays is touched.

use gateway_pipeline::HeaderSink;
use http::HeaderName;

use super::{Field, MOST_FIELDS, View};

/// Edits to one head; used again for the next, so that nothing is allocated.
#[derive(Debug, Default)]
pub(crate) struct Edits {
    /// One bit for each field of the head that is gone.
    gone: [u64; MOST_FIELDS / 64],
    /// Names and values of new fields.
    text: Vec<u8>,
    added: Vec<Field>,
}

/// Takes edits for the head that it shows.
pub(crate) struct Sink<'a> {
    view: View<'a>,
    edits: &'a mut Edits,
}

impl Edits {
    /// Forgets all edits, and takes those for `view`.
    pub(crate) fn begin<'a>(&'a mut self, view: View<'a>) -> Sink<'a> {
        self.gone = [0; MOST_FIELDS / 64];
        self.text.clear();
        self.added.clear();
        Sink { view, edits: self }
    }

    /// Writes the fields of `view` as edited, without the empty line.
    pub(crate) fn write(&self, view: View<'_>, out: &mut Vec<u8>) {
        for (at, (name, value)) in view.iter().enumerate() {
            if self.gone[at / 64] & 1 << (at % 64) == 0 {
                line(out, name, value);
            }
        }
        for field in &self.added {
            line(out, field.name.of(&self.text), field.value.of(&self.text));
        }
    }
}

fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

impl Sink<'_> {
    /// Removes the fields of a name in lower case.
    pub(crate) fn drop_all(&mut self, name: &str) {
        for (at, field) in self.view.fields.iter().enumerate() {
            if field.is(self.view.bytes, name) {
                self.edits.gone[at / 64] |= 1 << (at % 64);
            }
        }
        let text = &self.edits.text;
        self.edits.added.retain(|field| !field.is(text, name));
    }

    /// Removes the fields of a name after its first.
    pub(crate) fn keep_first(&mut self, name: &str) {
        let all = self.view.fields.iter().enumerate().filter(|(_, field)| field.is(self.view.bytes, name));
        for (at, _) in all.skip(1) {
            self.edits.gone[at / 64] |= 1 << (at % 64);
        }
    }

    /// Adds a field.
    pub(crate) fn add(&mut self, name: &str, value: &[u8]) {
        if !value.iter().all(|byte| is_legal(*byte)) {
            return;
        }
        let text = &mut self.edits.text;
        let start = text.len();
        text.extend_from_slice(name.as_bytes());
        let middle = text.len();
        text.extend_from_slice(value);
        let field = Field { name: (start..middle).into(), value: (middle..text.len()).into() };
        self.edits.added.push(field);
    }
}

/// What a field value may hold (RFC 9110, 5.5).
fn is_legal(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

impl HeaderSink for Sink<'_> {
    fn set(&mut self, name: &HeaderName, value: &[u8]) {
        if value.iter().all(|byte| is_legal(*byte)) {
            self.drop_all(name.as_str());
            self.add(name.as_str(), value);
        }
    }

    fn append(&mut self, name: &HeaderName, value: &[u8]) {
        self.add(name.as_str(), value);
    }

    fn remove(&mut self, name: &HeaderName) {
        self.drop_all(name.as_str());
    }
}

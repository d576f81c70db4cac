//! Edits to the fields of a head: what is gone and what is new. Nothing that stays is touched.

use std::ops::Range;

use gateway_pipeline::HeaderSink;
use http::HeaderName;

use super::{Field, MOST_FIELDS, Span, View};

/// Lengths of names that are told apart; longer ones are the last.
const LENGTHS: usize = 32;
/// Fields that have a bit by length.
const INDEXED: usize = 64;

/// Edits to one head; used again for the next, so that nothing is allocated.
#[derive(Debug, Default)]
pub(crate) struct Edits {
    /// One bit for each field of the head that is gone.
    gone: [u64; MOST_FIELDS / 64],
    /// By length of a name, one bit for each of the first 64 fields whose name is so long: most names are not there.
    by_length: [u64; LENGTHS],
    /// New fields as they are written, those that were withdrawn included.
    lines: Vec<u8>,
    added: Vec<Added>,
    /// One bit for each length of a name that was added.
    added_lengths: u32,
    withdrawn: bool,
}

/// A new field.
#[derive(Debug)]
struct Added {
    name: Span,
    /// Where its line ends.
    end: usize,
    withdrawn: bool,
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
        self.lines.clear();
        self.added.clear();
        self.added_lengths = 0;
        self.withdrawn = false;
        self.by_length = [0; LENGTHS];
        for (at, field) in view.fields.iter().take(INDEXED).enumerate() {
            self.by_length[length(field.name.len())] |= 1 << at;
        }
        Sink { view, edits: self }
    }

    /// Writes the fields of `view` as edited, without the empty line.
    pub(crate) fn write(&self, view: View<'_>, out: &mut Vec<u8>) {
        // Neighbours that stay are copied at once, as long as they stand there as they would be written.
        let mut run: Range<usize> = 0..0;
        for (at, field) in view.fields.iter().enumerate() {
            if self.gone[at / 64] & 1 << (at % 64) != 0 {
                continue;
            }
            match field.line(view.bytes) {
                Some(line) if line.start == run.end => run.end = line.end,
                Some(line) => out.extend_from_slice(&view.bytes[std::mem::replace(&mut run, line)]),
                None => {
                    out.extend_from_slice(&view.bytes[std::mem::take(&mut run)]);
                    write_line(out, field.name.of(view.bytes), field.value.of(view.bytes));
                }
            }
        }
        out.extend_from_slice(&view.bytes[run]);
        self.write_added(out);
    }

    /// Name and value of each field of `view` as edited.
    pub(crate) fn fields<'a>(&'a self, view: View<'a>) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let stays = move |at: usize| self.gone[at / 64] & 1 << (at % 64) == 0;
        let stay = view.iter().enumerate().filter(move |(at, _)| stays(*at)).map(|(_, field)| field);
        let added = self.added.iter().filter(|added| !added.withdrawn).map(|added| {
            let value = added.name.end as usize + 2..added.end - 2;
            (added.name.of(&self.lines), &self.lines[value])
        });
        stay.chain(added)
    }

    fn write_added(&self, out: &mut Vec<u8>) {
        if !self.withdrawn {
            return out.extend_from_slice(&self.lines);
        }
        let mut start = 0;
        for added in &self.added {
            if !added.withdrawn {
                out.extend_from_slice(&self.lines[start..added.end]);
            }
            start = added.end;
        }
    }
}

fn write_line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Where a name of this length is in the index.
fn length(len: usize) -> usize {
    len.min(LENGTHS - 1)
}

impl Field {
    /// Where its line stands, if it does so as it would be written.
    fn line(&self, bytes: &[u8]) -> Option<Range<usize>> {
        let (name, value) = (self.name, self.value);
        let between = bytes.get(name.end as usize..value.start as usize)?;
        let (start, end) = (name.start as usize, value.end as usize + 2);
        let behind = bytes.get(value.end as usize..end)?;
        (between == b": " && behind == b"\r\n").then_some(start..end)
    }
}

impl Sink<'_> {
    /// Removes the fields of a name in lower case.
    #[inline]
    pub(crate) fn drop_all(&mut self, name: &str) {
        // Mostly no name is as long.
        let len = length(name.len());
        let edits = &*self.edits;
        let indexed = edits.by_length[len] | u64::from(edits.added_lengths & 1 << len);
        if indexed != 0 || self.view.fields.len() > INDEXED {
            self.drop_found(name);
        }
    }

    fn drop_found(&mut self, name: &str) {
        let View { bytes, fields } = self.view;
        let edits = &mut *self.edits;
        let mut candidates = edits.by_length[length(name.len())];
        while candidates != 0 {
            let at = candidates.trailing_zeros() as usize;
            candidates &= candidates - 1;
            if fields[at].is(bytes, name) {
                edits.gone[0] |= 1 << at;
            }
        }
        for (at, field) in fields.iter().enumerate().skip(INDEXED) {
            if field.is(bytes, name) {
                edits.gone[at / 64] |= 1 << (at % 64);
            }
        }
        if edits.added_lengths & 1 << length(name.len()) == 0 {
            return;
        }
        for added in &mut edits.added {
            if added.name.len() == name.len() && added.name.of(&edits.lines) == name.as_bytes() {
                (added.withdrawn, edits.withdrawn) = (true, true);
            }
        }
    }

    /// Removes the fields of a name after its first.
    pub(crate) fn keep_first(&mut self, name: &str) {
        let all = self.view.fields.iter().enumerate().filter(|(_, field)| field.is(self.view.bytes, name));
        for (at, _) in all.skip(1) {
            self.edits.gone[at / 64] |= 1 << (at % 64);
        }
    }

    /// Adds a field of a name in lower case.
    pub(crate) fn add(&mut self, name: &str, value: &[u8]) {
        if is_legal(value) {
            self.push(name, value);
        }
    }

    fn push(&mut self, name: &str, value: &[u8]) {
        let lines = &mut self.edits.lines;
        let start = lines.len();
        write_line(lines, name.as_bytes(), value);
        let added = Added { name: (start..start + name.len()).into(), end: lines.len(), withdrawn: false };
        self.edits.added.push(added);
        self.edits.added_lengths |= 1 << length(name.len());
    }
}

/// Whether a field may have this value (RFC 9110, 5.5).
fn is_legal(value: &[u8]) -> bool {
    let illegal = |byte: u8| (byte < b' ' && byte != b'\t') || byte == 0x7f;
    // Counted to the end, which is faster than to stop at the first: bytes are looked at together.
    value.iter().map(|byte| u8::from(illegal(*byte))).fold(0, |any, one| any | one) == 0
}

impl HeaderSink for Sink<'_> {
    fn set(&mut self, name: &HeaderName, value: &[u8]) {
        if is_legal(value) {
            self.drop_all(name.as_str());
            self.push(name.as_str(), value);
        }
    }

    fn append(&mut self, name: &HeaderName, value: &[u8]) {
        self.add(name.as_str(), value);
    }

    fn remove(&mut self, name: &HeaderName) {
        self.drop_all(name.as_str());
    }
}

//! A record as bytes in the ring.
//!
//! Layout (little endian), padded with zeros to a multiple of 8:
//! payload length u16 · kind u16 (1) · CRC32C u32 · payload. The checksum covers the entry's absolute position in
//! the ring, so an entry left over from the ring's previous lap is never taken for a new one.
//! In: a record and a position, or bytes of unknown origin. Out: bytes, or a record. Never panics, never allocates.

use crate::record::Flags;
use crate::{
    Charge, Charges, MAX_CHARGES, MAX_HOST_BYTES, MAX_PATH_BYTES, Method, NameId, Protocol, Reason, Record,
    Text,
};

/// Bytes before the payload.
pub const HEADER_BYTES: usize = 8;
/// Bytes of a payload without charges, host and path.
const FIXED_BYTES: usize = 121;
/// The most bytes that one entry takes, padding included.
pub const MAX_ENTRY_BYTES: usize =
    (HEADER_BYTES + FIXED_BYTES + MAX_CHARGES * 16 + MAX_HOST_BYTES + MAX_PATH_BYTES).next_multiple_of(8);
/// The kind of entry written by this version.
const KIND_RECORD: u16 = 1;

/// Why bytes are not an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Fewer bytes than the entry needs.
    #[error("entry is cut short")]
    Short,
    /// The length is not possible.
    #[error("entry has an impossible length")]
    Length,
    /// The checksum differs: torn, damaged, or from another position.
    #[error("entry fails its checksum")]
    Checksum,
    /// Another version wrote it.
    #[error("entry is of an unknown kind")]
    Kind,
    /// A field holds a value outside its vocabulary.
    #[error("entry field {0} holds an impossible value")]
    Field(&'static str),
}

/// Writes `record` as an entry for the absolute ring position `position`; gives the bytes used, a multiple of 8.
pub fn encode(record: &Record, position: u64, out: &mut [u8; MAX_ENTRY_BYTES]) -> usize {
    let mut w = Writer { out, at: HEADER_BYTES };
    w.put(&record.ts_us.to_le_bytes());
    w.put(&record.request_id);
    w.put(&record.trace_id);
    for name in record.names() {
        w.put(&name.0.to_le_bytes());
    }
    w.put(&[record.method.code(), record.protocol.code()]);
    w.put(&record.status.to_le_bytes());
    w.put(&record.grpc_status.to_le_bytes());
    w.put(&[record.reason.code()]);
    w.put(&record.flags.0.to_le_bytes());
    w.put(&[record.attempts]);
    w.put(&record.duration_us.to_le_bytes());
    w.put(&record.upstream_us.to_le_bytes());
    w.put(&record.request_bytes.to_le_bytes());
    w.put(&record.response_bytes.to_le_bytes());
    w.put(&record.n.to_le_bytes());
    let (charges, host, path) = (record.charges.as_slice(), record.host.as_bytes(), record.path.as_bytes());
    w.put(&[charges.len() as u8, host.len() as u8, path.len() as u8]);
    for charge in charges {
        w.put(&charge.lease.to_le_bytes());
        w.put(&charge.units.to_le_bytes());
    }
    w.put(host);
    w.put(path);
    let end = w.at;
    let total = end.next_multiple_of(8);
    out[end..total].fill(0);
    out[..2].copy_from_slice(&((end - HEADER_BYTES) as u16).to_le_bytes());
    out[2..4].copy_from_slice(&KIND_RECORD.to_le_bytes());
    let crc = checksum(position, &out[..4], &out[HEADER_BYTES..total]);
    out[4..8].copy_from_slice(&crc.to_le_bytes());
    total
}

/// Bytes of an entry that may begin with these, a multiple of 8: a quick look that spares most positions of a search the
/// checksum.
pub fn len(header: [u8; HEADER_BYTES]) -> Option<usize> {
    let payload = usize::from(u16::from_le_bytes([header[0], header[1]]));
    let kind = u16::from_le_bytes([header[2], header[3]]);
    let possible = kind == KIND_RECORD && (FIXED_BYTES..=MAX_ENTRY_BYTES - HEADER_BYTES).contains(&payload);
    possible.then(|| (HEADER_BYTES + payload).next_multiple_of(8))
}

/// Reads the entry at the start of `bytes`, which lie at absolute ring position `position`; gives the record and
/// the bytes used, a multiple of 8.
pub fn decode(bytes: &[u8], position: u64) -> Result<(Record, usize), EntryError> {
    let header = bytes.get(..HEADER_BYTES).ok_or(EntryError::Short)?;
    let payload = usize::from(u16::from_le_bytes([header[0], header[1]]));
    if !(FIXED_BYTES..=MAX_ENTRY_BYTES - HEADER_BYTES).contains(&payload) {
        return Err(EntryError::Length);
    }
    let total = (HEADER_BYTES + payload).next_multiple_of(8);
    let padded = bytes.get(HEADER_BYTES..total).ok_or(EntryError::Short)?;
    let stored = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
    if stored != checksum(position, &header[..4], padded) {
        return Err(EntryError::Checksum);
    }
    if u16::from_le_bytes([header[2], header[3]]) != KIND_RECORD {
        return Err(EntryError::Kind);
    }
    let record = read_payload(&mut Reader { bytes: &padded[..payload] })?;
    Ok((record, total))
}

/// CRC32C (Castagnoli) over position, length and kind, and padded payload.
fn checksum(position: u64, head: &[u8], padded: &[u8]) -> u32 {
    let crc = crc32c::crc32c_append(crc32c::crc32c(&position.to_le_bytes()), head);
    crc32c::crc32c_append(crc, padded)
}

fn read_payload(r: &mut Reader<'_>) -> Result<Record, EntryError> {
    let mut record = Record::at(u64::from_le_bytes(r.take()?));
    record.request_id = r.take()?;
    record.trace_id = r.take()?;
    for name in [
        &mut record.gateway,
        &mut record.listener,
        &mut record.route,
        &mut record.rule,
        &mut record.product,
        &mut record.plan,
        &mut record.consumer,
        &mut record.subscription,
        &mut record.backend,
        &mut record.endpoint,
    ] {
        *name = NameId(u32::from_le_bytes(r.take()?));
    }
    let [method, protocol] = r.take()?;
    record.method = Method::from_code(method).ok_or(EntryError::Field("method"))?;
    record.protocol = Protocol::from_code(protocol).ok_or(EntryError::Field("protocol"))?;
    record.status = u16::from_le_bytes(r.take()?);
    record.grpc_status = i16::from_le_bytes(r.take()?);
    let [reason] = r.take()?;
    record.reason = Reason::from_code(reason).ok_or(EntryError::Field("reason"))?;
    record.flags = Flags(u16::from_le_bytes(r.take()?));
    [record.attempts] = r.take()?;
    record.duration_us = u32::from_le_bytes(r.take()?);
    record.upstream_us = u32::from_le_bytes(r.take()?);
    record.request_bytes = u64::from_le_bytes(r.take()?);
    record.response_bytes = u64::from_le_bytes(r.take()?);
    record.n = u32::from_le_bytes(r.take()?);
    let [charges, host, path] = r.take()?;
    record.charges = read_charges(r, charges)?;
    record.host = Text::from_bytes(r.slice(usize::from(host))?).ok_or(EntryError::Field("host"))?;
    record.path = Text::from_bytes(r.slice(usize::from(path))?).ok_or(EntryError::Field("path"))?;
    if r.bytes.is_empty() { Ok(record) } else { Err(EntryError::Length) }
}

fn read_charges(r: &mut Reader<'_>, count: u8) -> Result<Charges, EntryError> {
    let mut charges = Charges::NONE;
    for _ in 0..count {
        let charge = Charge { lease: u64::from_le_bytes(r.take()?), units: u64::from_le_bytes(r.take()?) };
        if !charges.push(charge) {
            return Err(EntryError::Field("charges"));
        }
    }
    Ok(charges)
}

struct Writer<'a> {
    out: &'a mut [u8; MAX_ENTRY_BYTES],
    at: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.out[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], EntryError> {
        let (head, rest) = self.bytes.split_first_chunk::<N>().ok_or(EntryError::Length)?;
        self.bytes = rest;
        Ok(*head)
    }

    fn slice(&mut self, len: usize) -> Result<&'a [u8], EntryError> {
        let (head, rest) = self.bytes.split_at_checked(len).ok_or(EntryError::Length)?;
        self.bytes = rest;
        Ok(head)
    }
}

#[cfg(test)]
pub(crate) mod tests;

//! Makes a segment from records.
//!
//! In: records, their name and origin, and a way to turn name ids into text. Out: header and bytes, the same for the
//! same input. Sorts by the table's key, so that the store has nothing left to sort.

use std::sync::Arc;

use hashbrown::HashMap;

use super::{
    Flavour, HEADER_BYTES, Hash, Header, MAX_BLOCK_BYTES, MAX_ROWS, MAX_SEGMENT_BYTES, SegmentError, Source,
    Totals, content_hash,
};
use crate::native::{self, Block, Column, Texts, Values};
use crate::table::COLUMNS;
use crate::{NameId, Record, SCHEMA, SegmentName, day_of};

/// Microseconds in an hour, the first part of the table's key.
const HOUR_US: u64 = 3_600_000_000;
/// Compression level: the fastest that still halves what LZ4 leaves.
const ZSTD_LEVEL: i32 = 1;

/// What a segment says of itself beyond its records.
#[derive(Debug, Clone, Copy)]
pub struct Seal {
    /// Its name.
    pub name: SegmentName,
    /// How much detail the records keep.
    pub flavour: Flavour,
    /// What they were read from.
    pub source: Source,
    /// See [`Header::complete_through_us`].
    pub complete_through_us: u64,
    /// See [`Header::wall_anchor_us`].
    pub wall_anchor_us: u64,
    /// The content hash of the stream's previous segment, zero for the first.
    pub previous: Hash,
}

/// A segment, ready to be written.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// Its header.
    pub header: Header,
    /// All of its bytes.
    pub bytes: Vec<u8>,
}

/// Seals `records`. `text` gives the text of a name id and must be total.
pub fn seal(
    seal: &Seal,
    records: &[Record],
    text: &dyn Fn(NameId) -> Arc<str>,
) -> Result<Sealed, SegmentError> {
    let (first, last) = time_range(records)?;
    let names = Names::collect(records, text);
    let order = names.sort(records);
    let block = native::write_block(&block(seal, records, &order, &names));
    if block.len() > MAX_BLOCK_BYTES {
        return Err(SegmentError::TooLarge(block.len()));
    }
    let body = zstd::bulk::compress(&block, ZSTD_LEVEL)
        .map_err(|error| SegmentError::Compression(error.to_string()))?;
    if body.len() > MAX_SEGMENT_BYTES - HEADER_BYTES {
        return Err(SegmentError::TooLarge(body.len()));
    }
    let mut header = Header {
        name: seal.name,
        schema: SCHEMA,
        flavour: seal.flavour,
        source: seal.source,
        totals: Totals::of_records(records),
        min_ts_us: first,
        max_ts_us: last,
        complete_through_us: seal.complete_through_us,
        wall_anchor_us: seal.wall_anchor_us,
        block_bytes: block.len() as u64,
        body_bytes: body.len() as u32,
        previous: seal.previous,
        content: Hash::ZERO,
    };
    header.content = content_hash(&header, &body);
    let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
    bytes.extend_from_slice(&header.encode());
    bytes.extend_from_slice(&body);
    Ok(Sealed { header, bytes })
}

fn time_range(records: &[Record]) -> Result<(u64, u64), SegmentError> {
    if records.len() > MAX_ROWS {
        return Err(SegmentError::TooManyRows(records.len()));
    }
    let first = records.iter().map(|r| r.ts_us).min().ok_or(SegmentError::Empty)?;
    let last = records.iter().map(|r| r.ts_us).max().ok_or(SegmentError::Empty)?;
    if i64::try_from(last).is_err() {
        return Err(SegmentError::Header("time"));
    }
    if day_of(first) == day_of(last) { Ok((first, last)) } else { Err(SegmentError::SpansDays) }
}

/// The texts of all names in a set of records, and their order.
struct Names {
    texts: HashMap<NameId, Arc<str>>,
    ranks: HashMap<NameId, u32>,
}

impl Names {
    fn collect(records: &[Record], text: &dyn Fn(NameId) -> Arc<str>) -> Self {
        let mut texts = HashMap::new();
        for id in records.iter().flat_map(Record::names) {
            texts.entry(id).or_insert_with(|| text(id));
        }
        let mut sorted: Vec<(&Arc<str>, NameId)> = texts.iter().map(|(id, text)| (text, *id)).collect();
        sorted.sort();
        let ranks = sorted.iter().enumerate().map(|(rank, (_, id))| (*id, rank as u32)).collect();
        Self { texts, ranks }
    }

    /// The records' indices in the order of the table's key; equal keys keep their order.
    fn sort(&self, records: &[Record]) -> Vec<u32> {
        let mut order: Vec<u32> = (0..records.len() as u32).collect();
        order.sort_by_cached_key(|index| {
            let record = &records[*index as usize];
            let hour = record.ts_us / HOUR_US;
            (hour, self.ranks[&record.consumer], self.ranks[&record.route], record.ts_us, *index)
        });
        order
    }

    fn column(&self, ids: impl Iterator<Item = NameId>) -> Values {
        let mut keys = Texts::default();
        let mut seen: HashMap<NameId, u32> = HashMap::new();
        let mut by_text: HashMap<&str, u32> = HashMap::new();
        let index = ids
            .map(|id| {
                *seen.entry(id).or_insert_with(|| {
                    let text: &str = &self.texts[&id];
                    *by_text.entry(text).or_insert_with(|| {
                        keys.push(text);
                        keys.len() as u32 - 1
                    })
                })
            })
            .collect();
        Values::Low(keys, index)
    }
}

/// A column of words from closed vocabularies.
fn words(words: impl Iterator<Item = &'static str>) -> Values {
    let mut keys = Texts::default();
    let mut seen: HashMap<&str, u32> = HashMap::new();
    let index = words
        .map(|word| {
            *seen.entry(word).or_insert_with(|| {
                keys.push(word);
                keys.len() as u32 - 1
            })
        })
        .collect();
    Values::Low(keys, index)
}

fn block(seal: &Seal, records: &[Record], order: &[u32], names: &Names) -> Block {
    let rows: Vec<&Record> = order.iter().map(|index| &records[*index as usize]).collect();
    let columns = COLUMNS
        .iter()
        .map(|def| Column {
            name: def.name.to_owned(),
            ty: def.ty,
            values: name_column(def.name, &rows, names)
                .or_else(|| fact_column(def.name, &rows))
                .unwrap_or_else(|| origin_column(def.name, seal, rows.len())),
        })
        .collect();
    Block { rows: rows.len(), columns }
}

fn name_column(name: &str, rows: &[&Record], names: &Names) -> Option<Values> {
    let place = crate::table::NAME_COLUMNS.iter().position(|column| *column == name)?;
    Some(names.column(rows.iter().map(|r| r.names()[place])))
}

fn fact_column(name: &str, rows: &[&Record]) -> Option<Values> {
    let rows = rows.iter();
    Some(match name {
        "ts" => Values::Time(rows.map(|r| r.ts_us as i64).collect()),
        "request_id" => Values::Uuid(rows.map(|r| r.request_id).collect()),
        "trace_id" => Values::Bytes16(rows.map(|r| r.trace_id).collect()),
        "method" => words(rows.map(|r| r.method.as_str())),
        "protocol" => words(rows.map(|r| r.protocol.as_str())),
        "status" => Values::U16(rows.map(|r| r.status).collect()),
        "grpc_status" => Values::I16(rows.map(|r| r.grpc_status).collect()),
        "reason" => words(rows.map(|r| r.reason.as_str())),
        "flags" => Values::U16(rows.map(|r| r.flags.0).collect()),
        "attempts" => Values::U8(rows.map(|r| r.attempts).collect()),
        "duration_us" => Values::U32(rows.map(|r| r.duration_us).collect()),
        "upstream_us" => Values::U32(rows.map(|r| r.upstream_us).collect()),
        "request_bytes" => Values::U64(rows.map(|r| r.request_bytes).collect()),
        "response_bytes" => Values::U64(rows.map(|r| r.response_bytes).collect()),
        "charge_lease" => arrays(rows.map(|r| r.charges.as_slice().iter().map(|c| c.lease))),
        "charge_units" => arrays(rows.map(|r| r.charges.as_slice().iter().map(|c| c.units))),
        "n" => Values::U32(rows.map(|r| r.n).collect()),
        "host" => texts(rows.map(|r| r.host.as_str())),
        "path" => texts(rows.map(|r| r.path.as_str())),
        _ => return None,
    })
}

/// The columns that name the segment and the row in it.
fn origin_column(name: &str, seal: &Seal, rows: usize) -> Values {
    let stream = seal.name.stream;
    match name {
        "segment_gateway" => Values::Uuid(vec![stream.gateway.0; rows]),
        "segment_epoch" => Values::U32(vec![stream.epoch; rows]),
        "segment_shard" => Values::U8(vec![stream.shard; rows]),
        "segment_seq" => Values::U32(vec![seal.name.seq; rows]),
        "segment_row" => Values::U32((0..rows as u32).collect()),
        other => unreachable!("column {other} of the table is not built"),
    }
}

fn texts<'a>(values: impl Iterator<Item = &'a str>) -> Values {
    let mut texts = Texts::default();
    values.for_each(|value| texts.push(value));
    Values::Text(texts)
}

fn arrays(rows: impl Iterator<Item = impl Iterator<Item = u64>>) -> Values {
    let (mut ends, mut values) = (Vec::new(), Vec::new());
    for row in rows {
        values.extend(row);
        ends.push(values.len() as u64);
    }
    Values::Array(ends, values)
}

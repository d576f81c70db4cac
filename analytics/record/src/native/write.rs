//! Writes a block in ClickHouse's Native format.
//!
//! In: a block whose columns all have `rows` values. Out: bytes. Cannot fail.

use super::{Block, LOW_ADDITIONAL_KEYS, LOW_UPDATE, LOW_VERSION, Texts, Values};

/// The block as bytes.
pub fn write_block(block: &Block) -> Vec<u8> {
    let mut out = Vec::with_capacity(block.rows * 256 + 4096);
    varint(&mut out, block.columns.len() as u64);
    varint(&mut out, block.rows as u64);
    for column in &block.columns {
        debug_assert_eq!(column.values.len(), block.rows, "column {}", column.name);
        text(&mut out, &column.name);
        text(&mut out, column.ty.clickhouse());
        values(&mut out, &column.values);
    }
    out
}

fn values(out: &mut Vec<u8>, values: &Values) {
    match values {
        Values::U8(v) => out.extend_from_slice(v),
        Values::U16(v) => v.iter().for_each(|x| out.extend_from_slice(&x.to_le_bytes())),
        Values::I16(v) => v.iter().for_each(|x| out.extend_from_slice(&x.to_le_bytes())),
        Values::U32(v) => v.iter().for_each(|x| out.extend_from_slice(&x.to_le_bytes())),
        Values::U64(v) => numbers(out, v),
        Values::Time(v) => v.iter().for_each(|x| out.extend_from_slice(&x.to_le_bytes())),
        Values::Uuid(v) => v.iter().for_each(|x| uuid(out, *x)),
        Values::Bytes16(v) => v.iter().for_each(|x| out.extend_from_slice(x)),
        Values::Text(texts) => texts.iter().for_each(|t| text(out, t)),
        Values::Low(keys, index) => low(out, keys, index),
        Values::Array(ends, v) => {
            numbers(out, ends);
            numbers(out, v);
        }
    }
}

fn numbers(out: &mut Vec<u8>, values: &[u64]) {
    for value in values {
        out.extend_from_slice(&value.to_le_bytes());
    }
}

/// ClickHouse holds a UUID as two 64-bit halves, the first printed half first, each little endian.
fn uuid(out: &mut Vec<u8>, mut bytes: [u8; 16]) {
    bytes[..8].reverse();
    bytes[8..].reverse();
    out.extend_from_slice(&bytes);
}

fn low(out: &mut Vec<u8>, keys: &Texts, index: &[u32]) {
    out.extend_from_slice(&LOW_VERSION.to_le_bytes());
    if index.is_empty() {
        return;
    }
    let width = low_width(keys.len());
    out.extend_from_slice(&(width | LOW_ADDITIONAL_KEYS | LOW_UPDATE).to_le_bytes());
    out.extend_from_slice(&(keys.len() as u64).to_le_bytes());
    keys.iter().for_each(|key| text(out, key));
    out.extend_from_slice(&(index.len() as u64).to_le_bytes());
    for i in index {
        match width {
            0 => out.push(*i as u8),
            1 => out.extend_from_slice(&(*i as u16).to_le_bytes()),
            _ => out.extend_from_slice(&i.to_le_bytes()),
        }
    }
}

/// The code of the narrowest index type that can name `keys` keys: 0 for one byte, 1 for two, 2 for four.
fn low_width(keys: usize) -> u64 {
    match keys {
        0..=0x100 => 0,
        0x101..=0x1_0000 => 1,
        _ => 2,
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

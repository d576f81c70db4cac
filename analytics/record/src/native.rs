//! ClickHouse's Native format, as far as a usage segment needs it.
//!
//! A block is: columns and rows as varints, then per column its name, its type and its data. This is the layout of
//! `FORMAT Native` over HTTP (client revision 0: no block info, no serialization kinds).
//! In: columns of equal length. Out: bytes, and back. The reader is for tests, audits and models: it is total and
//! bounded, and takes only what the writer makes.

mod read;
mod write;

pub use read::{NativeError, read_block};
pub use write::write_block;

use crate::table::ColumnType;

/// Texts of one column laid end to end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Texts {
    bytes: String,
    ends: Vec<usize>,
}

impl Texts {
    /// Adds a text.
    pub fn push(&mut self, text: &str) {
        self.bytes.push_str(text);
        self.ends.push(self.bytes.len());
    }

    /// The text of row `index`.
    pub fn get(&self, index: usize) -> Option<&str> {
        let end = *self.ends.get(index)?;
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        self.bytes.get(start..end)
    }

    /// How many texts there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The texts in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}

/// The values of one column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Values {
    /// `UInt8`
    U8(Vec<u8>),
    /// `UInt16`
    U16(Vec<u16>),
    /// `Int16`
    I16(Vec<i16>),
    /// `UInt32`
    U32(Vec<u32>),
    /// `UInt64`
    U64(Vec<u64>),
    /// `DateTime64(6, 'UTC')`: microseconds since 1970-01-01.
    Time(Vec<i64>),
    /// `UUID`, bytes in the order they are printed.
    Uuid(Vec<[u8; 16]>),
    /// `FixedString(16)`
    Bytes16(Vec<[u8; 16]>),
    /// `String`
    Text(Texts),
    /// `LowCardinality(String)`: distinct texts, and per row the index of its text.
    Low(Texts, Vec<u32>),
    /// `Array(UInt64)`: end offset per row, and all values.
    Array(Vec<u64>, Vec<u64>),
}

impl Values {
    /// How many rows.
    pub fn len(&self) -> usize {
        match self {
            Self::U8(v) => v.len(),
            Self::U16(v) => v.len(),
            Self::I16(v) => v.len(),
            Self::U32(v) | Self::Low(_, v) => v.len(),
            Self::U64(v) | Self::Array(v, _) => v.len(),
            Self::Time(v) => v.len(),
            Self::Uuid(v) | Self::Bytes16(v) => v.len(),
            Self::Text(v) => v.len(),
        }
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The row as an unsigned number, for columns that are one.
    pub fn number(&self, row: usize) -> Option<u64> {
        match self {
            Self::U8(v) => v.get(row).map(|x| u64::from(*x)),
            Self::U16(v) => v.get(row).map(|x| u64::from(*x)),
            Self::U32(v) => v.get(row).map(|x| u64::from(*x)),
            Self::U64(v) => v.get(row).copied(),
            Self::Time(v) => v.get(row).and_then(|x| u64::try_from(*x).ok()),
            _ => None,
        }
    }

    /// The row as text, for columns that are text.
    pub fn text(&self, row: usize) -> Option<&str> {
        match self {
            Self::Text(texts) => texts.get(row),
            Self::Low(texts, index) => index.get(row).and_then(|i| texts.get(*i as usize)),
            _ => None,
        }
    }

    /// The row as a list of numbers, for array columns.
    pub fn numbers(&self, row: usize) -> Option<&[u64]> {
        let Self::Array(ends, values) = self else { return None };
        let end = usize::try_from(*ends.get(row)?).ok()?;
        let start = if row == 0 { 0 } else { usize::try_from(ends[row - 1]).ok()? };
        values.get(start..end)
    }

    /// The row as 16 bytes, for UUIDs and fixed strings.
    pub fn bytes16(&self, row: usize) -> Option<&[u8; 16]> {
        match self {
            Self::Uuid(v) | Self::Bytes16(v) => v.get(row),
            _ => None,
        }
    }
}

/// A named, typed column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// The column's name.
    pub name: String,
    /// Its type.
    pub ty: ColumnType,
    /// Its values.
    pub values: Values,
}

/// A block: columns of equal length.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Block {
    /// How many rows each column has.
    pub rows: usize,
    /// The columns.
    pub columns: Vec<Column>,
}

impl Block {
    /// The values of the column with this name.
    pub fn column(&self, name: &str) -> Option<&Values> {
        self.columns.iter().find(|c| c.name == name).map(|c| &c.values)
    }
}

/// Version word that precedes a `LowCardinality` column: dictionary per block with additional keys.
const LOW_VERSION: u64 = 1;
/// Flag in the index word: the keys follow.
const LOW_ADDITIONAL_KEYS: u64 = 1 << 9;
/// Flag in the index word: the dictionary of earlier blocks is dropped.
const LOW_UPDATE: u64 = 1 << 10;

#[cfg(test)]
mod tests;

//! Reads a block in ClickHouse's Native format.
//!
//! In: bytes of unknown origin. Out: a block whose indices and offsets are all in range, or an error.
//! Memory is bounded by the input: nothing is reserved before its bytes are seen.

use super::{Block, Column, LOW_ADDITIONAL_KEYS, LOW_UPDATE, LOW_VERSION, Texts, Values};
use crate::table::ColumnType;

/// Most columns of a block.
const MAX_COLUMNS: u64 = 256;
/// Most bytes of a column's name or type.
const MAX_NAME_BYTES: u64 = 256;

/// Why bytes are not a block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NativeError {
    /// Fewer bytes than announced.
    #[error("native block is cut short at byte {0}")]
    Short(usize),
    /// A number is out of range.
    #[error("native block holds an impossible {0}")]
    Bad(&'static str),
    /// A type that segments do not use.
    #[error("native block has a column of unknown type {0:?}")]
    Type(String),
    /// Bytes after the block.
    #[error("native block is followed by {0} more bytes")]
    Trailing(usize),
}

/// Reads exactly one block.
pub fn read_block(bytes: &[u8]) -> Result<Block, NativeError> {
    let mut r = Reader { bytes, at: 0 };
    let columns = r.varint()?;
    let rows = usize::try_from(r.varint()?).map_err(|_| NativeError::Bad("row count"))?;
    // Every column takes at least one byte per row, so a larger count cannot be true; rows of nothing are none.
    if columns > MAX_COLUMNS || rows > bytes.len() || (columns == 0 && rows > 0) {
        return Err(NativeError::Bad("size"));
    }
    let mut block = Block { rows, columns: Vec::new() };
    for _ in 0..columns {
        let name = r.text(MAX_NAME_BYTES)?.to_owned();
        let word = r.text(MAX_NAME_BYTES)?;
        let ty = ColumnType::from_clickhouse(word).ok_or_else(|| NativeError::Type(word.to_owned()))?;
        let values = r.values(ty, rows)?;
        block.columns.push(Column { name, ty, values });
    }
    match bytes.len() - r.at {
        0 => Ok(block),
        rest => Err(NativeError::Trailing(rest)),
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn slice(&mut self, len: usize) -> Result<&'a [u8], NativeError> {
        let end = self.at.checked_add(len).ok_or(NativeError::Bad("length"))?;
        let slice = self.bytes.get(self.at..end).ok_or(NativeError::Short(self.at))?;
        self.at = end;
        Ok(slice)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], NativeError> {
        let mut out = [0; N];
        out.copy_from_slice(self.slice(N)?);
        Ok(out)
    }

    fn varint(&mut self) -> Result<u64, NativeError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            let part = u64::from(byte & 0x7f);
            value |=
                part.checked_shl(shift).filter(|v| v >> shift == part).ok_or(NativeError::Bad("varint"))?;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(NativeError::Bad("varint"))
    }

    fn text(&mut self, max: u64) -> Result<&'a str, NativeError> {
        let len = self.varint()?;
        if len > max {
            return Err(NativeError::Bad("text length"));
        }
        let bytes = self.slice(len as usize)?;
        std::str::from_utf8(bytes).map_err(|_| NativeError::Bad("text"))
    }

    fn texts(&mut self, count: usize) -> Result<Texts, NativeError> {
        let mut texts = Texts::default();
        for _ in 0..count {
            texts.push(self.text(self.bytes.len() as u64)?);
        }
        Ok(texts)
    }

    /// `count` values of `N` bytes.
    fn fixed<const N: usize, T>(
        &mut self,
        count: usize,
        from: impl Fn([u8; N]) -> T,
    ) -> Result<Vec<T>, NativeError> {
        let len = count.checked_mul(N).ok_or(NativeError::Bad("length"))?;
        let slice = self.slice(len)?;
        let mut out = Vec::with_capacity(count);
        for chunk in slice.chunks_exact(N) {
            let mut bytes = [0; N];
            bytes.copy_from_slice(chunk);
            out.push(from(bytes));
        }
        Ok(out)
    }

    fn values(&mut self, ty: ColumnType, rows: usize) -> Result<Values, NativeError> {
        Ok(match ty {
            ColumnType::U8 => Values::U8(self.slice(rows)?.to_vec()),
            ColumnType::U16 => Values::U16(self.fixed(rows, u16::from_le_bytes)?),
            ColumnType::I16 => Values::I16(self.fixed(rows, i16::from_le_bytes)?),
            ColumnType::U32 => Values::U32(self.fixed(rows, u32::from_le_bytes)?),
            ColumnType::U64 => Values::U64(self.fixed(rows, u64::from_le_bytes)?),
            ColumnType::TimeUs => Values::Time(self.fixed(rows, i64::from_le_bytes)?),
            ColumnType::Bytes16 => Values::Bytes16(self.fixed(rows, |b| b)?),
            ColumnType::Uuid => Values::Uuid(self.fixed(rows, |mut b: [u8; 16]| {
                b[..8].reverse();
                b[8..].reverse();
                b
            })?),
            ColumnType::Text => Values::Text(self.texts(rows)?),
            ColumnType::LowText => self.low(rows)?,
            ColumnType::ArrayU64 => self.array_column(rows)?,
        })
    }

    fn array_column(&mut self, rows: usize) -> Result<Values, NativeError> {
        let ends = self.fixed(rows, u64::from_le_bytes)?;
        if !ends.is_sorted() {
            return Err(NativeError::Bad("array offset"));
        }
        let total = usize::try_from(ends.last().copied().unwrap_or(0))
            .map_err(|_| NativeError::Bad("array length"))?;
        Ok(Values::Array(ends, self.fixed(total, u64::from_le_bytes)?))
    }

    fn low(&mut self, rows: usize) -> Result<Values, NativeError> {
        if u64::from_le_bytes(self.array()?) != LOW_VERSION {
            return Err(NativeError::Bad("dictionary version"));
        }
        if rows == 0 {
            return Ok(Values::Low(Texts::default(), Vec::new()));
        }
        let word = u64::from_le_bytes(self.array()?);
        let width = word & 0xff;
        if word & !0xff != LOW_ADDITIONAL_KEYS | LOW_UPDATE {
            return Err(NativeError::Bad("dictionary flags"));
        }
        let keys = u64::from_le_bytes(self.array()?);
        if keys > (self.bytes.len() - self.at) as u64 {
            return Err(NativeError::Bad("dictionary size"));
        }
        let texts = self.texts(keys as usize)?;
        if u64::from_le_bytes(self.array()?) != rows as u64 {
            return Err(NativeError::Bad("dictionary rows"));
        }
        let index = match width {
            0 => self.fixed(rows, |[b]: [u8; 1]| u32::from(b))?,
            1 => self.fixed(rows, |b| u32::from(u16::from_le_bytes(b)))?,
            2 => self.fixed(rows, u32::from_le_bytes)?,
            _ => return Err(NativeError::Bad("dictionary index")),
        };
        if index.iter().any(|i| *i as usize >= texts.len()) {
            return Err(NativeError::Bad("dictionary index"));
        }
        Ok(Values::Low(texts, index))
    }
}

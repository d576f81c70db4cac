//! The name log: text ↔ [`NameId`], append-only, one per epoch.
//!
//! In: names of configured things. Out: ids that are on file before anyone can use them, so that a ring replayed
//! after a crash can always be read. Bounded: names beyond the limits become `__other__`.
//! Entry: length u16 · CRC32C u32 · bytes; the id is the entry's ordinal.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use analytics_record::NameId;

use crate::vfs::{Appender, Vfs};

/// Longest name, in bytes; longer ones are cut at a character.
const MAX_NAME_BYTES: usize = 256;
/// Most names of one epoch.
const MAX_NAMES: usize = 1 << 20;
/// Most bytes read from a name log.
const MAX_LOG_BYTES: usize = MAX_NAMES * (MAX_NAME_BYTES + 6);
/// The text of [`NameId::OTHER`].
const OTHER: &str = "__other__";
/// The text of an id that the log does not know: its entry was lost with the power.
const UNKNOWN: &str = "__unknown__";

#[derive(Debug, Default)]
struct Table {
    texts: Vec<Arc<str>>,
    ids: HashMap<Arc<str>, NameId>,
}

impl Table {
    /// The two names that every log begins with, without being written.
    fn new() -> Self {
        let mut table = Self::default();
        table.push("");
        table.push(OTHER);
        table
    }

    fn push(&mut self, text: &str) -> NameId {
        let id = NameId(self.texts.len() as u32);
        let text: Arc<str> = text.into();
        self.texts.push(Arc::clone(&text));
        self.ids.insert(text, id);
        id
    }
}

/// The names of one epoch.
#[derive(Debug)]
pub struct Names {
    table: RwLock<Table>,
    /// None for an epoch that has ended.
    log: Option<Mutex<Box<dyn Appender>>>,
    refused: AtomicU64,
}

impl Names {
    pub(crate) fn create(vfs: &dyn Vfs, path: &Path) -> std::io::Result<Self> {
        let log = Some(Mutex::new(vfs.appender(path)?));
        Ok(Self { table: RwLock::new(Table::new()), log, refused: AtomicU64::new(0) })
    }

    /// Reads the log of an epoch that has ended, up to the first damaged entry.
    pub(crate) fn load(vfs: &dyn Vfs, path: &Path) -> std::io::Result<Self> {
        let bytes = vfs.read(path, MAX_LOG_BYTES)?;
        let mut table = Table::new();
        let mut rest = bytes.as_slice();
        while let Some((text, after)) = decode(rest) {
            table.push(text);
            rest = after;
        }
        Ok(Self { table: RwLock::new(table), log: None, refused: AtomicU64::new(0) })
    }

    /// No names: every id is `__unknown__`.
    pub(crate) fn empty() -> Self {
        Self { table: RwLock::new(Table::new()), log: None, refused: AtomicU64::new(0) }
    }

    /// The id of `text`; writes it to the log first when it is new. Call it when configuration changes, not per
    /// request. Gives [`NameId::OTHER`] when the log is full or cannot be written, and counts that.
    pub fn intern(&self, text: &str) -> NameId {
        let text = cut(text);
        if let Some(id) = self.table.read().unwrap_or_else(PoisonError::into_inner).ids.get(text) {
            return *id;
        }
        self.add(text).unwrap_or_else(|| {
            self.refused.fetch_add(1, Ordering::Relaxed);
            NameId::OTHER
        })
    }

    /// How often a name became `__other__`.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// The text of an id; total.
    pub(crate) fn text(&self, id: NameId) -> Arc<str> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.texts.get(id.0 as usize).map_or_else(|| UNKNOWN.into(), Arc::clone)
    }

    fn add(&self, text: &str) -> Option<NameId> {
        // The log's lock is taken first and held, so that ids follow the order of the entries.
        let mut log = self.log.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(id) = table.ids.get(text) {
                return Some(*id);
            }
            if table.texts.len() >= MAX_NAMES {
                return None;
            }
        }
        log.append(&encode(text)).ok()?;
        Some(self.table.write().unwrap_or_else(PoisonError::into_inner).push(text))
    }
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_NAME_BYTES)]
}

fn encode(text: &str) -> Vec<u8> {
    let mut entry = Vec::with_capacity(text.len() + 6);
    entry.extend_from_slice(&(text.len() as u16).to_le_bytes());
    entry.extend_from_slice(&crc32c::crc32c(text.as_bytes()).to_le_bytes());
    entry.extend_from_slice(text.as_bytes());
    entry
}

/// The first entry of `bytes` and what follows it; none when it is cut short or damaged.
fn decode(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<2>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let (text, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*len)))?;
    if crc32c::crc32c(text) != u32::from_le_bytes(*crc) || text.len() > MAX_NAME_BYTES {
        return None;
    }
    Some((std::str::from_utf8(text).ok()?, rest))
}

#[cfg(test)]
mod tests;

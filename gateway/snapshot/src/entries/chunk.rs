//! Neighbouring entries that maps share.

use std::sync::{Arc, OnceLock};

use super::Shared;
use crate::Key;

/// Entries that a chunk holds at most.
pub(super) const MOST: usize = 64;

pub(super) type Pair<V> = (Key, Shared<V>);

/// At least one entry, in the order of their keys.
pub(super) struct Chunk<V> {
    pairs: Vec<Pair<V>>,
    sum: OnceLock<u64>,
}

impl<V> Clone for Chunk<V> {
    fn clone(&self) -> Self {
        // To be changed: what it was worth is of no use.
        Self { pairs: self.pairs.clone(), sum: OnceLock::new() }
    }
}

impl<V> Chunk<V> {
    pub(super) fn new(pairs: Vec<Pair<V>>) -> Arc<Self> {
        Arc::new(Self { pairs, sum: OnceLock::new() })
    }

    pub(super) fn first(&self) -> &str {
        &self.pairs[0].0
    }

    pub(super) fn pairs(&self) -> &[Pair<V>] {
        &self.pairs
    }

    pub(super) fn pairs_mut(&mut self) -> &mut Vec<Pair<V>> {
        self.sum = OnceLock::new();
        &mut self.pairs
    }

    /// Puts an entry at its place; the second half, when they have become too many.
    pub(super) fn insert(&mut self, at: usize, pair: Pair<V>) -> Option<Arc<Self>> {
        let pairs = self.pairs_mut();
        pairs.insert(at, pair);
        (pairs.len() > MOST).then(|| Self::new(pairs.split_off(MOST / 2)))
    }

    /// The sum of what `one` makes of each entry, worked out once.
    pub(super) fn sum(&self, one: impl Fn(&Pair<V>) -> u64) -> u64 {
        *self.sum.get_or_init(|| self.pairs.iter().fold(0, |sum, pair| sum.wrapping_add(one(pair))))
    }
}

/// Sorted entries as chunks.
pub(super) fn full<V>(pairs: Vec<Pair<V>>) -> Vec<Arc<Chunk<V>>> {
    let mut chunks = Vec::with_capacity(pairs.len().div_ceil(MOST));
    let mut pairs = pairs.into_iter();
    while !pairs.as_slice().is_empty() {
        chunks.push(Chunk::new(pairs.by_ref().take(MOST).collect()));
    }
    chunks
}

/// A place in a map that is read in order.
pub(super) struct Cursor<'a, V> {
    chunks: &'a [Arc<Chunk<V>>],
    at: usize,
}

impl<'a, V> Cursor<'a, V> {
    pub(super) fn new(chunks: &'a [Arc<Chunk<V>>]) -> Self {
        Self { chunks, at: 0 }
    }

    pub(super) fn peek(&self) -> Option<&'a Pair<V>> {
        Some(&self.chunks.first()?.pairs[self.at])
    }

    /// Goes past the chunks that both have, where both are at the start of one.
    pub(super) fn skip_shared(&mut self, other: &mut Self) {
        while let (0, 0, [here, rest @ ..], [there, others @ ..]) =
            (self.at, other.at, self.chunks, other.chunks)
            && Arc::ptr_eq(here, there)
        {
            (self.chunks, other.chunks) = (rest, others);
        }
    }
}

impl<'a, V> Iterator for Cursor<'a, V> {
    type Item = &'a Pair<V>;

    fn next(&mut self) -> Option<&'a Pair<V>> {
        let pair = self.peek()?;
        self.at += 1;
        if self.at == self.chunks[0].pairs.len() {
            (self.chunks, self.at) = (&self.chunks[1..], 0);
        }
        Some(pair)
    }
}

//! The entries of one kind: a sorted map that is copied, compared and hashed in time that depends on what changed.
//!
//! A map is a list of chunks, each shared by all maps that hold the same entries there; writing copies one chunk and the
//! list. The hash of an entry and of a chunk is worked out once. Maps that come from one another are told apart without
//! looking into the chunks that they share.

use std::cmp::Ordering;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::slice;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::Key;

mod chunk;

use chunk::{Chunk, Cursor, Pair, full};

/// A value with its hash, shared. Dereferences to the value; a mutable reference copies a shared one.
pub struct Shared<V>(Arc<Hashed<V>>);

/// Entries by key.
pub struct Entries<V>(Arc<Vec<Arc<Chunk<V>>>>);

type Pairs<'a, V> = std::iter::FlatMap<
    slice::Iter<'a, Arc<Chunk<V>>>,
    slice::Iter<'a, Pair<V>>,
    fn(&'a Arc<Chunk<V>>) -> slice::Iter<'a, Pair<V>>,
>;

/// Entries in the order of their keys.
pub struct Iter<'a, V>(Pairs<'a, V>);

impl<V> fmt::Debug for Iter<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter").finish_non_exhaustive()
    }
}

impl<'a, V> Iterator for Iter<'a, V> {
    type Item = (&'a Key, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(key, value)| (key, &**value))
    }
}

struct Hashed<V> {
    value: V,
    hash: OnceLock<u64>,
}

impl<V: Clone> Clone for Hashed<V> {
    fn clone(&self) -> Self {
        Self { value: self.value.clone(), hash: self.hash.clone() }
    }
}

impl<V> Clone for Shared<V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<V> Clone for Entries<V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<V> From<V> for Shared<V> {
    fn from(value: V) -> Self {
        Self(Arc::new(Hashed { value, hash: OnceLock::new() }))
    }
}

impl<V> Deref for Shared<V> {
    type Target = V;

    fn deref(&self) -> &V {
        &self.0.value
    }
}

impl<V: Clone> DerefMut for Shared<V> {
    fn deref_mut(&mut self) -> &mut V {
        let hashed = Arc::make_mut(&mut self.0);
        hashed.hash = OnceLock::new();
        &mut hashed.value
    }
}

impl<V: PartialEq> PartialEq for Shared<V> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.value == other.0.value
    }
}

impl<V: fmt::Debug> fmt::Debug for Shared<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.value.fmt(f)
    }
}

impl<V: Serialize> Shared<V> {
    /// 64 bits of XXH3 over the value's JSON, worked out once.
    pub fn hash(&self) -> u64 {
        *self.0.hash.get_or_init(|| {
            xxh3_64(&serde_json::to_vec(&self.0.value).expect("what is in a snapshot has string keys only"))
        })
    }
}

impl<V> Entries<V> {
    /// How many.
    pub fn len(&self) -> usize {
        self.0.iter().map(|chunk| chunk.pairs().len()).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn pairs(&self) -> Pairs<'_, V> {
        self.0.iter().flat_map(|chunk| chunk.pairs().iter())
    }

    /// Chunk and place in it of a key, or of where it would be.
    fn place(&self, key: &str) -> Result<(usize, usize), (usize, usize)> {
        let chunk = self.0.partition_point(|chunk| chunk.first() <= key).saturating_sub(1);
        let Some(pairs) = self.0.get(chunk).map(|chunk| chunk.pairs()) else { return Err((0, 0)) };
        match pairs.binary_search_by(|(known, _)| known.as_str().cmp(key)) {
            Ok(at) => Ok((chunk, at)),
            Err(at) => Err((chunk, at)),
        }
    }

    /// The entry of this key, with what it shares.
    pub fn get_shared(&self, key: &str) -> Option<&Shared<V>> {
        let (chunk, at) = self.place(key).ok()?;
        Some(&self.0[chunk].pairs()[at].1)
    }

    /// The entry of this key.
    pub fn get(&self, key: &str) -> Option<&V> {
        self.get_shared(key).map(Deref::deref)
    }

    /// Whether there is an entry of this key.
    pub fn contains_key(&self, key: &str) -> bool {
        self.place(key).is_ok()
    }

    /// In order.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.pairs().map(|(key, _)| key)
    }

    /// In the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.pairs().map(|(_, value)| &**value)
    }

    /// In the order of their keys, with what they share.
    pub fn iter_shared(&self) -> impl Iterator<Item = (&Key, &Shared<V>)> {
        self.pairs().map(|(key, value)| (key, value))
    }

    /// In the order of their keys.
    pub fn iter(&self) -> Iter<'_, V> {
        Iter(self.pairs())
    }

    /// Whether both are the same in memory: then nothing differs.
    pub fn is_shared(&self, with: &Self) -> bool {
        Arc::ptr_eq(&self.0, &with.0)
    }

    /// Puts an entry in the place of the one with this key, if there is one.
    pub fn insert(&mut self, key: Key, value: impl Into<Shared<V>>) {
        let place = self.place(&key);
        let chunks = Arc::make_mut(&mut self.0);
        match place {
            Ok((chunk, at)) => Arc::make_mut(&mut chunks[chunk]).pairs_mut()[at].1 = value.into(),
            Err(_) if chunks.is_empty() => chunks.push(Chunk::new(vec![(key, value.into())])),
            Err((chunk, at)) => {
                let half = Arc::make_mut(&mut chunks[chunk]).insert(at, (key, value.into()));
                if let Some(half) = half {
                    chunks.insert(chunk + 1, half);
                }
            }
        }
    }

    /// Takes the entry of this key out.
    pub fn remove(&mut self, key: &str) {
        let Ok((chunk, at)) = self.place(key) else { return };
        let chunks = Arc::make_mut(&mut self.0);
        let pairs = Arc::make_mut(&mut chunks[chunk]).pairs_mut();
        pairs.remove(at);
        if pairs.is_empty() {
            chunks.remove(chunk);
        }
    }

    /// Those that are to be kept; when that is all, nothing is copied.
    #[must_use]
    pub fn only(&self, keep: impl Fn(&Key, &V) -> bool) -> Self {
        if self.iter().all(|(key, value)| keep(key, value)) {
            return self.clone();
        }
        let kept = self.iter_shared().filter(|(key, value)| keep(key, value));
        kept.map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// Calls `visit` for each key that the two do not have in common with one shared value, in order: with what stands here
    /// and what stands in `to`.
    pub fn compare<'a>(
        &'a self,
        to: &'a Self,
        mut visit: impl FnMut(&'a Key, Option<&'a Shared<V>>, Option<&'a Shared<V>>),
    ) {
        if Arc::ptr_eq(&self.0, &to.0) {
            return;
        }
        let (mut here, mut there) = (Cursor::new(&self.0), Cursor::new(&to.0));
        loop {
            here.skip_shared(&mut there);
            let order = match (here.peek(), there.peek()) {
                (None, None) => return,
                (Some((left, _)), Some((right, _))) => left.cmp(right),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
            };
            let was = if order.is_le() { here.next() } else { None };
            let is = if order.is_ge() { there.next() } else { None };
            let shared = was.zip(is).is_some_and(|((_, was), (_, is))| Arc::ptr_eq(&was.0, &is.0));
            if let Some((key, _)) = was.or(is).filter(|_| !shared) {
                visit(key, was.map(|(_, was)| was), is.map(|(_, is)| is));
            }
        }
    }

    /// What differs in `to`: entries to put and keys to drop.
    pub(crate) fn difference(&self, to: &Self) -> (Self, Vec<Key>)
    where
        V: PartialEq,
    {
        let (mut put, mut drop) = (Vec::new(), Vec::new());
        self.compare(to, |key, was, is| match (was, is) {
            (was, Some(is)) if was != Some(is) => put.push((key.clone(), is.clone())),
            (Some(_), None) => drop.push(key.clone()),
            _ => {}
        });
        (put.into_iter().collect(), drop)
    }
}

impl<V: PartialEq> Entries<V> {
    /// Shares with `from` what is equal: it need not be hashed again, and is quickly found to be the same.
    pub fn adopt(&mut self, from: &Self) {
        if from.is_empty() {
            return;
        }
        let (put, drop) = from.difference(self);
        *self = from.clone();
        for key in drop {
            self.remove(&key);
        }
        self.extend(put);
    }
}

impl<V: Clone> Entries<V> {
    /// The entry of this key, to be changed.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut V> {
        let (chunk, at) = self.place(key).ok()?;
        let chunk = Arc::make_mut(&mut Arc::make_mut(&mut self.0)[chunk]);
        Some(&mut chunk.pairs_mut()[at].1)
    }

    /// In the order of their keys, to be changed.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        let chunks = Arc::make_mut(&mut self.0).iter_mut();
        let pairs = chunks.flat_map(|chunk| Arc::make_mut(chunk).pairs_mut());
        pairs.map(|(_, value)| &mut **value)
    }
}

impl<V: Serialize> Entries<V> {
    /// Names the content: the sum of 64 bits of XXH3 over each key and the hash of its entry. No defence against forgery.
    pub fn hash(&self) -> u64 {
        let one = |(key, value): &Pair<V>| xxh3_64_with_seed(key.as_bytes(), value.hash());
        self.0.iter().fold(0, |sum, chunk| sum.wrapping_add(chunk.sum(one)))
    }
}

impl<V> Default for Entries<V> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<V: PartialEq> PartialEq for Entries<V> {
    fn eq(&self, other: &Self) -> bool {
        let mut equal = true;
        self.compare(other, |_, was, is| equal &= was == is);
        equal
    }
}

impl<V: fmt::Debug> fmt::Debug for Entries<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

impl<V, S: Into<Shared<V>>> FromIterator<(Key, S)> for Entries<V> {
    /// Of several with one key, the last stays.
    fn from_iter<I: IntoIterator<Item = (Key, S)>>(entries: I) -> Self {
        let mut pairs: Vec<Pair<V>> = entries.into_iter().map(|(key, value)| (key, value.into())).collect();
        if !pairs.is_sorted_by(|left, right| left.0 < right.0) {
            pairs.sort_by(|left, right| left.0.cmp(&right.0));
            pairs.dedup_by(|later, first| {
                let same = later.0 == first.0;
                if same {
                    std::mem::swap(later, first);
                }
                same
            });
        }
        Self(Arc::new(full(pairs)))
    }
}

impl<V, S: Into<Shared<V>>> Extend<(Key, S)> for Entries<V> {
    fn extend<I: IntoIterator<Item = (Key, S)>>(&mut self, entries: I) {
        entries.into_iter().for_each(|(key, value)| self.insert(key, value));
    }
}

impl<'a, V> IntoIterator for &'a Entries<V> {
    type Item = (&'a Key, &'a V);
    type IntoIter = Iter<'a, V>;

    fn into_iter(self) -> Iter<'a, V> {
        self.iter()
    }
}

impl<V> IntoIterator for Entries<V> {
    type Item = (Key, Shared<V>);
    type IntoIter = std::vec::IntoIter<(Key, Shared<V>)>;

    fn into_iter(self) -> Self::IntoIter {
        self.pairs().cloned().collect::<Vec<_>>().into_iter()
    }
}

impl<V: Serialize> Serialize for Entries<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self)
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Entries<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let map = std::collections::BTreeMap::<Key, V>::deserialize(deserializer)?;
        Ok(map.into_iter().collect())
    }
}

#[cfg(test)]
mod tests;

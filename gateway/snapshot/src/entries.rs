//! The entries of one kind: a map that is copied, compared and hashed in time that depends on what changed.
//!
//! Entries are shared between the snapshots that hold them, and whole maps too; writing copies what is shared. The hash of
//! an entry and of a map is worked out once.

use std::collections::btree_map::{self, BTreeMap};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::Key;

/// A value with its hash, shared. Dereferences to the value; a mutable reference copies a shared one.
pub struct Shared<V>(Arc<Hashed<V>>);

/// Entries by key.
pub struct Entries<V>(Shared<BTreeMap<Key, Shared<V>>>);

/// Entries in the order of their keys.
pub type Iter<'a, V> =
    std::iter::Map<btree_map::Iter<'a, Key, Shared<V>>, fn((&'a Key, &'a Shared<V>)) -> (&'a Key, &'a V)>;

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
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The entry of this key.
    pub fn get(&self, key: &str) -> Option<&V> {
        self.0.get(key).map(Deref::deref)
    }

    /// Whether there is an entry of this key.
    pub fn contains_key(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// In order.
    pub fn keys(&self) -> btree_map::Keys<'_, Key, Shared<V>> {
        self.0.keys()
    }

    /// In the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.0.values().map(Deref::deref)
    }

    /// In the order of their keys, with what they share.
    pub fn iter_shared(&self) -> btree_map::Iter<'_, Key, Shared<V>> {
        self.0.iter()
    }

    /// In the order of their keys.
    pub fn iter(&self) -> Iter<'_, V> {
        self.0.iter().map(|(key, value)| (key, &**value))
    }

    /// Puts an entry in the place of the one with this key, if there is one.
    pub fn insert(&mut self, key: Key, value: impl Into<Shared<V>>) {
        self.0.insert(key, value.into());
    }

    /// Takes the entry of this key out.
    pub fn remove(&mut self, key: &str) {
        self.0.remove(key);
    }

    /// Those that are to be kept; when that is all, nothing is copied.
    #[must_use]
    pub fn only(&self, keep: impl Fn(&Key, &V) -> bool) -> Self {
        self.only_shared(|key, value| keep(key, value).then(|| value.clone()))
    }

    /// What `change` makes of each, and without those of which it makes nothing; when all stay what they are, nothing is
    /// copied.
    #[must_use]
    pub(crate) fn only_shared(&self, change: impl Fn(&Key, &Shared<V>) -> Option<Shared<V>>) -> Self {
        let same = |(key, value): (&Key, &Shared<V>)| {
            change(key, value).is_some_and(|changed| Arc::ptr_eq(&changed.0, &value.0))
        };
        if self.0.iter().all(same) {
            return self.clone();
        }
        self.0.iter().filter_map(|(key, value)| Some((key.clone(), change(key, value)?))).collect()
    }

    /// What differs in `to`: entries to put and keys to drop.
    pub(crate) fn difference(&self, to: &Self) -> (Self, Vec<Key>)
    where
        V: PartialEq,
    {
        if Arc::ptr_eq(&self.0.0, &to.0.0) {
            return (Self::default(), Vec::new());
        }
        let mut known = self.0.iter().peekable();
        let (mut put, mut drop) = (Vec::new(), Vec::new());
        for (key, value) in &*to.0 {
            while let Some((gone, _)) = known.next_if(|(known, _)| *known < key) {
                drop.push(gone.clone());
            }
            let before = known.next_if(|(known, _)| *known == key);
            if before.is_none_or(|(_, before)| before != value) {
                put.push((key.clone(), value.clone()));
            }
        }
        drop.extend(known.map(|(gone, _)| gone.clone()));
        (put.into_iter().collect(), drop)
    }
}

impl<V: PartialEq> Entries<V> {
    /// Shares with `from` what is equal: it need not be hashed again, and is quickly found to be the same.
    pub(crate) fn adopt(&mut self, from: &Self) {
        if *self == *from {
            *self = from.clone();
            return;
        }
        let mut known = from.0.iter().peekable();
        for (key, value) in self.0.iter_mut() {
            while known.next_if(|(known, _)| *known < key).is_some() {}
            if let Some((_, before)) = known.next_if(|(known, before)| *known == key && *before == value) {
                *value = before.clone();
            }
        }
    }
}

impl<V: Clone> Entries<V> {
    /// The entry of this key, to be changed.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut V> {
        self.0.get_mut(key).map(DerefMut::deref_mut)
    }

    /// In the order of their keys, to be changed.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.0.values_mut().map(DerefMut::deref_mut)
    }
}

impl<V: Serialize> Entries<V> {
    /// Names the content: 64 bits of XXH3 over keys and hashes of entries. No defence against forgery.
    pub fn hash(&self) -> u64 {
        *self.0.0.hash.get_or_init(|| {
            let mut hash = Xxh3::new();
            for (key, value) in &*self.0 {
                // No key has this byte in it.
                hash.update(key.as_bytes());
                hash.update(&[0xff]);
                hash.update(&value.hash().to_le_bytes());
            }
            hash.digest()
        })
    }
}

impl<V> Default for Entries<V> {
    fn default() -> Self {
        Self(BTreeMap::new().into())
    }
}

impl<V: PartialEq> PartialEq for Entries<V> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<V: fmt::Debug> fmt::Debug for Entries<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<V, S: Into<Shared<V>>> FromIterator<(Key, S)> for Entries<V> {
    fn from_iter<I: IntoIterator<Item = (Key, S)>>(entries: I) -> Self {
        let map: BTreeMap<Key, Shared<V>> =
            entries.into_iter().map(|(key, value)| (key, value.into())).collect();
        Self(map.into())
    }
}

impl<V, S: Into<Shared<V>>> Extend<(Key, S)> for Entries<V> {
    fn extend<I: IntoIterator<Item = (Key, S)>>(&mut self, entries: I) {
        self.0.extend(entries.into_iter().map(|(key, value)| (key, value.into())));
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
    type IntoIter = btree_map::IntoIter<Key, Shared<V>>;

    fn into_iter(self) -> Self::IntoIter {
        (*self.0).clone().into_iter()
    }
}

impl<V: Serialize> Serialize for Entries<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self)
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Entries<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let map = BTreeMap::<Key, V>::deserialize(deserializer)?;
        Ok(map.into_iter().collect())
    }
}

#[cfg(test)]
mod tests;

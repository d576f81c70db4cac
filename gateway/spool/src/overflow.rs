//! Counters for requests whose record found no room in the ring: detail is lost, counts are not.
//!
//! Two files per shard take turns, each a table of slots for one generation. A slot holds two copies of its key and
//! sums; a change goes to the copy not in use, then one word makes it the one in use: a process killed in between
//! leaves the old sums. The sealer turns the resting generation into an aggregate segment.
//! In: records. Out: keys and sums. No allocation, no system call in [`Active::add`].

use std::sync::atomic::Ordering;

use analytics_record::aggregate::{Key, Sums};
use analytics_record::{NameId, Record};

use crate::ring::checksum;
use crate::vfs::Region;

/// Words before the slots; the first two hold the generation and its checksum.
const HEADER_WORDS: usize = 8;
/// Words of one copy of key and sums, its checksum last.
const COPY_WORDS: usize = 19;
/// Words of a slot: which copy is in use, and both copies.
const SLOT_WORDS: usize = 1 + 2 * COPY_WORDS;
/// Slots, at the end of the table, for what finds no slot of its own: one per status class.
const SHARED_SLOTS: usize = 6;
/// Slots looked at before a key is taken to have none.
const MAX_PROBES: usize = 32;
/// Minutes are merged into hours when more than this share of the slots is in use.
const COARSE_ABOVE: usize = 2;

/// Bytes of the file for a table of `slots` slots.
pub(crate) fn file_bytes(slots: usize) -> usize {
    (HEADER_WORDS + (slots + SHARED_SLOTS) * SLOT_WORDS) * 8
}

/// A slot's content: what is counted, and how much.
pub(crate) type Counted = (Key, Sums);

/// The generation that takes counts, with a working copy in plain memory.
#[derive(Debug)]
pub(crate) struct Active {
    generation: u64,
    region: Region,
    slots: Vec<Counted>,
    used: usize,
}

impl Active {
    /// Starts `generation` over `region`; what an earlier generation left there is void by its number.
    pub(crate) fn start(region: Region, generation: u64) -> Self {
        let words = region.words();
        let slots = words.len().saturating_sub(HEADER_WORDS) / SLOT_WORDS;
        words[1].store(checksum(&[generation]), Ordering::Release);
        words[0].store(generation, Ordering::Release);
        Self { generation, region, slots: vec![Counted::default(); slots], used: 0 }
    }

    /// Whether nothing was counted.
    pub(crate) fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Counts a record.
    pub(crate) fn add(&mut self, record: &Record) {
        let mut key = Key::of(record);
        if self.used * COARSE_ABOVE > self.slots.len() {
            key.minute -= key.minute % 60;
        }
        if let Some(index) = self.find(&key) {
            return self.count(index, &key, record);
        }
        let class = usize::from(record.status / 100).min(SHARED_SLOTS - 1);
        let shared = shared_key(&key, class as u16 * 100);
        let mut merged = *record;
        merged.charges = analytics_record::Charges::NONE;
        let charged =
            merged.charges.push(analytics_record::Charge { lease: 0, units: record.charges.units() });
        debug_assert!(charged, "an empty list has room for one charge");
        self.count(self.slots.len() - SHARED_SLOTS + class, &shared, &merged);
    }

    /// The slot of `key`, or a free one for it.
    fn find(&self, key: &Key) -> Option<usize> {
        let own = self.slots.len().checked_sub(SHARED_SLOTS).filter(|own| *own > 0)?;
        let start = hash(key) as usize % own;
        (0..MAX_PROBES.min(own)).map(|probe| (start + probe) % own).find(|index| {
            let (held, sums) = &self.slots[*index];
            sums.n == 0 || held == key
        })
    }

    fn count(&mut self, index: usize, key: &Key, record: &Record) {
        let (held, sums) = &mut self.slots[index];
        if sums.n == 0 {
            self.used += 1;
            *held = *key;
        }
        sums.add(record);
        let words = encode(held, sums, self.generation, index);
        let slot = &self.region.words()[HEADER_WORDS + index * SLOT_WORDS..][..SLOT_WORDS];
        let in_use = slot[0].load(Ordering::Relaxed);
        let next = usize::from(in_use == selector(self.generation, 0));
        for (word, value) in slot[1 + next * COPY_WORDS..].iter().zip(words) {
            word.store(value, Ordering::Relaxed);
        }
        slot[0].store(selector(self.generation, next), Ordering::Release);
    }
}

/// The key of a shared slot: the counts stay exact, whose they are is given up.
fn shared_key(key: &Key, status: u16) -> Key {
    Key {
        minute: key.minute,
        gateway: key.gateway,
        route: NameId::OTHER,
        product: NameId::OTHER,
        plan: NameId::OTHER,
        consumer: NameId::OTHER,
        subscription: NameId::OTHER,
        status,
        reason: key.reason,
        charges: 1,
        leases: [0; 4],
    }
}

/// The generation that a file holds, if it holds one.
pub(crate) fn generation_of(region: &Region) -> Option<u64> {
    let words = region.words();
    let generation = words.first()?.load(Ordering::Acquire);
    (words.get(1)?.load(Ordering::Acquire) == checksum(&[generation])).then_some(generation)
}

/// The counts of `generation` in a file, and how many slots were found damaged.
pub(crate) fn read(region: &Region, generation: u64) -> (Vec<Counted>, u64) {
    let words = region.words();
    let (mut counted, mut damaged) = (Vec::new(), 0);
    for (index, slot) in words[HEADER_WORDS.min(words.len())..].chunks_exact(SLOT_WORDS).enumerate() {
        let in_use = slot[0].load(Ordering::Acquire);
        let Some(copy) = (0..2).find(|copy| in_use == selector(generation, *copy)) else { continue };
        let mut values = [0; COPY_WORDS];
        for (value, word) in values.iter_mut().zip(&slot[1 + copy * COPY_WORDS..]) {
            *value = word.load(Ordering::Relaxed);
        }
        match decode(&values, generation, index) {
            Some(content) => counted.push(content),
            None => damaged += 1,
        }
    }
    (counted, damaged)
}

/// The word that says which copy is in use, void for any other generation.
fn selector(generation: u64, copy: usize) -> u64 {
    generation << 1 | copy as u64
}

/// A key as words, the same for equal keys only.
fn key_words(key: &Key) -> [u64; 8] {
    let pair = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
    let codes = u32::from(key.status) << 16 | u32::from(key.reason) << 8 | u32::from(key.charges);
    let [first, second, third, fourth] = key.leases;
    [
        pair(key.minute, key.gateway.0),
        pair(key.route.0, key.product.0),
        pair(key.plan.0, key.consumer.0),
        pair(key.subscription.0, codes),
        first,
        second,
        third,
        fourth,
    ]
}

fn encode(key: &Key, sums: &Sums, generation: u64, index: usize) -> [u64; COPY_WORDS] {
    let mut words = [0; COPY_WORDS];
    words[..8].copy_from_slice(&key_words(key));
    words[8] = sums.first_ts_us;
    words[9] = sums.n;
    words[10] = sums.request_bytes;
    words[11] = sums.response_bytes;
    words[12] = sums.duration_us;
    words[13] = sums.upstream_us;
    words[14..18].copy_from_slice(&sums.units);
    words[18] = slot_checksum(&words, generation, index);
    words
}

fn decode(words: &[u64; COPY_WORDS], generation: u64, index: usize) -> Option<Counted> {
    if words[18] != slot_checksum(words, generation, index) {
        return None;
    }
    let high = |word: u64| (word >> 32) as u32;
    let low = |word: u64| word as u32;
    let codes = low(words[3]);
    let key = Key {
        minute: high(words[0]),
        gateway: NameId(low(words[0])),
        route: NameId(high(words[1])),
        product: NameId(low(words[1])),
        plan: NameId(high(words[2])),
        consumer: NameId(low(words[2])),
        subscription: NameId(high(words[3])),
        status: (codes >> 16) as u16,
        reason: (codes >> 8) as u8,
        charges: codes as u8,
        leases: words[4..8].try_into().expect("four words"),
    };
    let sums = Sums {
        first_ts_us: words[8],
        n: words[9],
        request_bytes: words[10],
        response_bytes: words[11],
        duration_us: words[12],
        upstream_us: words[13],
        units: words[14..18].try_into().expect("four words"),
    };
    Some((key, sums))
}

fn slot_checksum(words: &[u64; COPY_WORDS], generation: u64, index: usize) -> u64 {
    checksum(&words[..18]) ^ checksum(&[generation, index as u64]) << 1
}

/// A quick hash for the table's own use; its quality only decides how long probes are.
fn hash(key: &Key) -> u64 {
    let mix = |hash: u64, word: u64| (hash.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    key_words(key).into_iter().fold(0, mix) >> 17
}

#[cfg(test)]
mod tests;

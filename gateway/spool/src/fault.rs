//! A file system in memory that behaves as badly as a real one may: for tests only.
//!
//! In: a seed, and orders to crash, lose power, run out of space. Out: the same behaviour for the same seed. It keeps
//! what is live apart from what is durable, so that a power loss drops, tears or keeps each unsynced write and rename
//! on its own. A crash at the n-th operation makes that and all later ones fail until [`FaultFs::restart`].

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::vfs::{Appender, Lock, Memory, Region, Vfs};

/// Words of a page: a power loss keeps or drops whole pages of a mapped file.
const PAGE_WORDS: usize = 512;

/// The file system; clones share it.
#[derive(Debug, Clone)]
pub struct FaultFs(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    random: u64,
    /// Names as the process sees them, and as a power loss would leave them.
    live: BTreeMap<String, u64>,
    durable: BTreeMap<String, u64>,
    nodes: BTreeMap<u64, Node>,
    next_node: u64,
    locks: BTreeSet<PathBuf>,
    /// Bumped by a restart, so that handles of an earlier life do nothing.
    life: u64,
    space: Option<u64>,
    operations_left: Option<u64>,
    crashed: bool,
    lies: bool,
}

#[derive(Debug, Default, Clone)]
struct Node {
    live: Vec<u8>,
    durable: Vec<u8>,
    map: Option<Arc<Mapped>>,
}

impl Node {
    fn bytes(&self) -> u64 {
        self.map.as_ref().map_or(self.live.len(), |map| map.words.len() * 8) as u64
    }
}

#[derive(Debug)]
struct Mapped {
    words: Box<[AtomicU64]>,
    durable: Mutex<Vec<u64>>,
    fs: Arc<Mutex<State>>,
}

impl Memory for Mapped {
    fn words(&self) -> &[AtomicU64] {
        &self.words
    }

    fn sync(&self, range: Range<usize>) -> io::Result<()> {
        {
            let mut state = lock(&self.fs);
            state.operation()?;
            if state.lies {
                return Ok(());
            }
        }
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        for index in range {
            durable[index] = self.words[index].load(Ordering::Acquire);
        }
        Ok(())
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn mapped(values: &[u64], fs: &Arc<Mutex<State>>) -> Arc<Mapped> {
    Arc::new(Mapped {
        words: values.iter().map(|value| AtomicU64::new(*value)).collect(),
        durable: Mutex::new(values.to_vec()),
        fs: Arc::clone(fs),
    })
}

impl State {
    /// The next number of the seeded sequence (SplitMix64).
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.random ^ self.random >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.random() % limit.max(1) as u64) as usize
    }

    fn coin(&mut self) -> bool {
        self.random() & 1 == 0
    }

    /// Counts an operation that changes something; fails when the process is dead.
    fn operation(&mut self) -> io::Result<()> {
        if let Some(left) = &mut self.operations_left {
            if *left == 0 {
                self.crashed = true;
            } else {
                *left -= 1;
            }
        }
        self.alive()
    }

    fn alive(&self) -> io::Result<()> {
        if self.crashed { Err(io::Error::other("the process has crashed")) } else { Ok(()) }
    }

    fn used(&self) -> u64 {
        self.live.values().filter_map(|node| self.nodes.get(node)).map(Node::bytes).sum()
    }

    fn room(&self, more: u64) -> io::Result<()> {
        match self.space {
            Some(space) if self.used() + more > space => Err(ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }

    fn node(&mut self, path: &Path) -> io::Result<&mut Node> {
        let id = self.live.get(&key(path)).ok_or(ErrorKind::NotFound)?;
        self.nodes.get_mut(id).ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn create(&mut self, path: &Path, node: Node) {
        self.next_node += 1;
        self.nodes.insert(self.next_node, node);
        self.live.insert(key(path), self.next_node);
    }

    /// What a power loss leaves of unsynced names: each change is kept or lost on its own.
    fn lose_names(&mut self) {
        let paths: BTreeSet<String> = self.live.keys().chain(self.durable.keys()).cloned().collect();
        for path in paths {
            let (live, durable) = (self.live.get(&path).copied(), self.durable.get(&path).copied());
            let kept = if live == durable || self.coin() { live } else { durable };
            match kept {
                Some(node) => self.live.insert(path, node),
                None => self.live.remove(&path),
            };
        }
        self.durable = self.live.clone();
    }

    /// What a power loss leaves of unsynced bytes: a part of them.
    fn lose_bytes(&mut self, fs: &Arc<Mutex<State>>) {
        let ids: Vec<u64> = self.nodes.keys().copied().collect();
        for id in ids {
            let Some(mut node) = self.nodes.remove(&id) else { continue };
            if let Some(map) = node.map.take() {
                node.map = Some(self.lose_pages(&map, fs));
            } else if node.live != node.durable {
                let kept = self.below(node.live.len() + 1);
                let mut torn = node.live[..kept].to_vec();
                if node.live.starts_with(&node.durable) && torn.len() < node.durable.len() {
                    torn.clone_from(&node.durable);
                }
                node.live.clone_from(&torn);
                node.durable = torn;
            }
            self.nodes.insert(id, node);
        }
    }

    fn lose_pages(&mut self, map: &Mapped, fs: &Arc<Mutex<State>>) -> Arc<Mapped> {
        let durable = map.durable.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut values = durable;
        for (page, words) in map.words.chunks(PAGE_WORDS).enumerate() {
            if self.coin() {
                for (offset, word) in words.iter().enumerate() {
                    values[page * PAGE_WORDS + offset] = word.load(Ordering::Acquire);
                }
            }
        }
        mapped(&values, fs)
    }
}

impl FaultFs {
    /// An empty file system; the same seed behaves the same.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State { random: seed, ..State::default() })))
    }

    /// The process dies at the `n`-th operation from now that changes something.
    pub fn crash_after(&self, n: u64) {
        self.state().operations_left = Some(n);
    }

    /// Whether the process has died.
    pub fn crashed(&self) -> bool {
        self.state().crashed
    }

    /// A new process: what the old one wrote is there, its locks are free, its handles are dead.
    pub fn restart(&self) {
        let mut state = self.state();
        state.life += 1;
        state.crashed = false;
        state.operations_left = None;
        state.locks.clear();
        // Memory that the dead process still points to must not change any more.
        let ids: Vec<u64> = state.nodes.keys().copied().collect();
        for id in ids {
            if let Some(node) = state.nodes.get_mut(&id)
                && let Some(map) = node.map.take()
            {
                let fresh = mapped(&values_of(&map), &self.0);
                let durable = map.durable.lock().unwrap_or_else(PoisonError::into_inner).clone();
                *fresh.durable.lock().unwrap_or_else(PoisonError::into_inner) = durable;
                node.map = Some(fresh);
            }
        }
    }

    /// The power fails and comes back: unsynced bytes and names are lost, torn or kept; then as [`FaultFs::restart`].
    pub fn power_loss(&self) {
        let mut state = self.state();
        state.lose_names();
        state.lose_bytes(&self.0);
        drop(state);
        self.restart();
    }

    /// How many bytes fit; `None` for no limit.
    pub fn set_space(&self, bytes: Option<u64>) {
        self.state().space = bytes;
    }

    /// Whether the disk claims to have synced mapped memory and has not.
    pub fn lie_about_sync(&self, lies: bool) {
        self.state().lies = lies;
    }

    /// Bytes in use.
    pub fn used(&self) -> u64 {
        self.state().used()
    }

    /// Changes one byte of a file: damage that no protocol made.
    pub fn damage(&self, path: &Path, offset: usize) -> io::Result<()> {
        let mut state = self.state();
        let node = state.node(path)?;
        if let Some(map) = &node.map {
            let word = &map.words[offset / 8 % map.words.len()];
            word.fetch_xor(0xff << (offset % 8 * 8), Ordering::AcqRel);
        } else {
            let at = offset % node.live.len().max(1);
            *node.live.get_mut(at).ok_or(ErrorKind::UnexpectedEof)? ^= 0xff;
            node.durable.clone_from(&node.live);
        }
        Ok(())
    }

    /// Every file, in order.
    pub fn files(&self) -> Vec<PathBuf> {
        self.state().live.keys().map(PathBuf::from).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }
}

fn key(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The names below a directory.
fn below<'a>(names: &'a BTreeMap<String, u64>, dir: &'a str) -> impl Iterator<Item = (&'a String, &'a u64)> {
    names.range(dir.to_owned()..).take_while(move |(name, _)| name.starts_with(dir))
}

fn values_of(map: &Mapped) -> Vec<u64> {
    map.words.iter().map(|word| word.load(Ordering::Acquire)).collect()
}

impl Vfs for FaultFs {
    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        self.state().alive()
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        state.alive()?;
        let dir = key(dir) + "/";
        let first = |name: &String| name[dir.len()..].split('/').next().unwrap_or_default().to_owned();
        let names: BTreeSet<String> = below(&state.live, &dir).map(|(name, _)| first(name)).collect();
        Ok(names.into_iter().collect())
    }

    fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        let mut state = self.state();
        state.alive()?;
        let bytes = state.node(path)?.live.clone();
        if bytes.len() > limit { Err(ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
    }

    fn read_head(&self, path: &Path, bytes: usize) -> io::Result<Vec<u8>> {
        let mut head = self.read(path, usize::MAX)?;
        head.truncate(bytes);
        Ok(head)
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        let mut state = self.state();
        state.alive()?;
        Ok(state.node(path)?.bytes())
    }

    fn write_synced(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        if state.operation().is_err() {
            // The process died while writing: some of the bytes are there, none is synced.
            if !state.live.contains_key(&key(path)) {
                let kept = state.below(bytes.len() + 1);
                let live = bytes[..kept].to_vec();
                state.create(path, Node { live, ..Node::default() });
                state.operations_left = None;
            }
            return state.alive();
        }
        state.live.remove(&key(path));
        state.room(bytes.len() as u64)?;
        state.create(path, Node { live: bytes.to_vec(), durable: bytes.to_vec(), map: None });
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.operation()?;
        let node = state.live.remove(&key(from)).ok_or(ErrorKind::NotFound)?;
        state.live.insert(key(to), node);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.operation()?;
        let dir = key(dir) + "/";
        let within = |name: &String| !name[dir.len()..].contains('/');
        let live: Vec<(String, u64)> = below(&state.live, &dir)
            .filter(|(name, _)| within(name))
            .map(|(name, node)| (name.clone(), *node))
            .collect();
        let gone: Vec<String> =
            below(&state.durable, &dir).map(|(name, _)| name).filter(|name| within(name)).cloned().collect();
        for name in gone {
            state.durable.remove(&name);
        }
        state.durable.extend(live);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.operation()?;
        state.live.remove(&key(path));
        Ok(())
    }

    fn remove_dir(&self, _dir: &Path) -> io::Result<()> {
        self.state().operation()
    }

    fn appender(&self, path: &Path) -> io::Result<Box<dyn Appender>> {
        let mut state = self.state();
        state.operation()?;
        if !state.live.contains_key(&key(path)) {
            state.create(path, Node::default());
        }
        Ok(Box::new(Log { fs: self.clone(), path: path.to_owned(), life: state.life }))
    }

    fn map_new(&self, path: &Path, bytes: usize) -> io::Result<Region> {
        let mut state = self.state();
        state.operation()?;
        state.room(bytes as u64)?;
        let map = mapped(&vec![0; bytes / 8], &self.0);
        state.create(path, Node { map: Some(Arc::clone(&map)), ..Node::default() });
        Ok(map)
    }

    fn map(&self, path: &Path, limit: usize) -> io::Result<Region> {
        let mut state = self.state();
        state.alive()?;
        match &state.node(path)?.map {
            Some(map) if map.words.len() * 8 <= limit => Ok(Arc::clone(map) as Region),
            _ => Err(ErrorKind::InvalidData.into()),
        }
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let mut state = self.state();
        state.alive()?;
        if !state.locks.insert(path.to_owned()) {
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(Held { fs: self.clone(), path: path.to_owned(), life: state.life }))
    }
}

#[derive(Debug)]
struct Log {
    fs: FaultFs,
    path: PathBuf,
    life: u64,
}

impl Appender for Log {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.fs.state();
        state.operation()?;
        if state.life != self.life {
            return Err(ErrorKind::NotConnected.into());
        }
        state.room(bytes.len() as u64)?;
        state.node(&self.path)?.live.extend_from_slice(bytes);
        Ok(())
    }
}

#[derive(Debug)]
struct Held {
    fs: FaultFs,
    path: PathBuf,
    life: u64,
}

impl Lock for Held {}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.fs.state();
        if state.life == self.life {
            state.locks.remove(&self.path);
        }
    }
}

//! The few things the spool asks of a file system, behind a trait so that a fault layer can take its place.
//!
//! In: paths inside the spool. Out: bytes, and memory that outlives the process ([`Region`]).
//! Every method says what is durable when it returns; nothing else may be assumed.

mod disk;

pub use disk::Disk;

use std::fmt::Debug;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Memory that survives the process (not a power loss): a mapped file, reached only word by word, so that two
/// threads that meet in it read an old or a new word, never undefined bytes.
pub trait Memory: Send + Sync + Debug {
    /// The words.
    fn words(&self) -> &[AtomicU64];

    /// Makes the words in `range` survive a power loss.
    fn sync(&self, range: Range<usize>) -> io::Result<()>;
}

/// A shared handle to [`Memory`].
pub type Region = Arc<dyn Memory>;

/// A file that only grows.
pub trait Appender: Send + Sync + Debug {
    /// Adds `bytes`; they survive the process when this returns. After an error the file reads as before, or the
    /// next call restores it first.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// Held as long as the spool is in use; released by dropping it, or by the end of the process.
pub trait Lock: Send + Sync + Debug {}

/// The file system.
pub trait Vfs: Send + Sync + Debug {
    /// Creates a directory and its parents; they survive a power loss when this returns.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// The names in a directory, in any order.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// The whole file, or an error of kind `FileTooLarge` when it has more than `limit` bytes.
    fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>>;
    /// The first `bytes` bytes of the file, or fewer when it is shorter.
    fn read_head(&self, path: &Path, bytes: usize) -> io::Result<Vec<u8>>;
    /// The length of the file.
    fn len(&self, path: &Path) -> io::Result<u64>;
    /// Writes a file anew; its bytes, not its name, survive a power loss when this returns.
    fn write_synced(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Renames a file, replacing the target; survives a power loss after [`Vfs::sync_dir`].
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes creations, renames and removals in a directory survive a power loss.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Removes a file; one that is already gone is no error.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty directory; one that is already gone is no error.
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;
    /// Opens a file for appending, creating it.
    fn appender(&self, path: &Path) -> io::Result<Box<dyn Appender>>;
    /// Maps a file of exactly `bytes` bytes, creating it with all its blocks reserved, filled with zeros.
    fn map_new(&self, path: &Path, bytes: usize) -> io::Result<Region>;
    /// Maps an existing file whole, or an error when it is longer than `limit` or no whole number of words.
    fn map(&self, path: &Path, limit: usize) -> io::Result<Region>;
    /// Takes the lock file at `path`, or an error of kind `WouldBlock` when another process holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>>;
}

/// What the spool runs on: a file system, and a monotonic clock in microseconds of any origin.
#[derive(Clone)]
pub struct Machine {
    /// The file system.
    pub vfs: Arc<dyn Vfs>,
    /// The monotonic clock.
    pub mono_us: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl Machine {
    /// The machine this process runs on.
    pub fn local() -> Self {
        let start = std::time::Instant::now();
        Self { vfs: Arc::new(Disk), mono_us: Arc::new(move || start.elapsed().as_micros() as u64) }
    }
}

impl Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.vfs.fmt(f)
    }
}

/// Writes a file so that after a crash or power loss either the old or the new content is there, whole.
pub(crate) fn replace_file(vfs: &dyn Vfs, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    vfs.write_synced(&temporary, bytes)?;
    vfs.rename(&temporary, path)?;
    vfs.sync_dir(path.parent().unwrap_or(Path::new(".")))
}

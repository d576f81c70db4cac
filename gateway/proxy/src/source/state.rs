//! The state directory: the last good snapshot, so that a gateway starts and serves when nobody gives it one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The state directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("state directory {path}: {problem}; it must exist on a disk with room and be writable")]
pub struct StateError {
    path: PathBuf,
    problem: io::Error,
}

/// The state directory.
#[derive(Debug, Clone)]
pub(crate) struct StateDir(PathBuf);

impl StateDir {
    /// Opens it, and makes it if needed.
    pub(crate) fn open(path: &Path) -> Result<Self, StateError> {
        fs::create_dir_all(path).map_err(|problem| StateError { path: path.to_owned(), problem })?;
        Ok(Self(path.to_owned()))
    }

    /// The last good snapshot, if one was kept and can be read.
    pub(crate) fn last_good(&self) -> Option<Vec<u8>> {
        fs::read(self.snapshot()).ok()
    }

    /// Keeps the last good snapshot.
    pub(crate) fn keep(&self, snapshot: &[u8]) -> Result<(), StateError> {
        let path = self.snapshot();
        replace(&path, snapshot).map_err(|problem| StateError { path, problem })
    }

    fn snapshot(&self) -> PathBuf {
        self.0.join("last-good-snapshot.json")
    }
}

/// Writes a file so that a reader, or a start after a crash, sees the old content or the new, never a part.
/// Readable by the owner only: snapshots hold private keys.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}

//! The data folder's lock: one engine process per folder.
//!
//! In: the folder and a deadline. Out: a guard; the kernel releases the lock when the process ends, however it ends. The
//! engine has a lock of its own but answers a taken one with a bare failure, so this one is taken first.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const FILE: &str = "engine.lock";
const POLL: Duration = Duration::from_millis(25);

/// The folder could not be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    #[error("data folder {path} is in use by process {holder}: stop that process or name another folder")]
    Held { path: PathBuf, holder: String },
    #[error("data folder {path} cannot be used: {source}; check that it exists and is writable")]
    Io { path: PathBuf, source: io::Error },
}

/// Holds the data folder until dropped.
#[derive(Debug)]
pub(crate) struct DataLock(File);

/// Unlocked, not only closed: a process that was being started at this moment has a copy of the descriptor until its
/// `exec`, and a copy keeps the lock.
impl Drop for DataLock {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

impl DataLock {
    /// Takes the folder's lock, waiting up to `patience` for its holder to end. Creates the folder when missing. Blocks.
    pub(crate) fn take(folder: &Path, patience: Duration) -> Result<Self, LockError> {
        let io = |source| LockError::Io { path: folder.into(), source };
        fs::create_dir_all(folder).map_err(io)?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(folder.join(FILE))
            .map_err(io)?;
        let deadline = Instant::now() + patience;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(POLL),
                Err(TryLockError::WouldBlock) => {
                    return Err(LockError::Held { path: folder.into(), holder: holder(&mut file) });
                }
                Err(TryLockError::Error(source)) => return Err(io(source)),
            }
        }
        file.set_len(0).and_then(|()| file.rewind()).map_err(io)?;
        write!(file, "{}", std::process::id()).map_err(io)?;
        Ok(Self(file))
    }
}

fn holder(file: &mut File) -> String {
    let mut pid = String::new();
    match file.take(20).read_to_string(&mut pid) {
        Ok(_) if !pid.is_empty() => pid,
        _ => "(unknown)".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_refused_by_name_and_admitted_after_release() {
        let folder = tempfile::tempdir().unwrap();
        let first = DataLock::take(folder.path(), Duration::ZERO).unwrap();
        let error = DataLock::take(folder.path(), Duration::from_millis(60)).unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(first);
        DataLock::take(folder.path(), Duration::ZERO).unwrap();
    }
}

//! The real file system.
//!
//! Files are mapped only after all their blocks are reserved, so that a full disk can never raise SIGBUS.
//! The one unsafe line of the crate is here, with the reason why it holds.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use memmap2::MmapRaw;

use super::{Appender, Lock, Memory, Region, Vfs};

/// The file system of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl Vfs for Disk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)?;
        match dir.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => self.sync_dir(parent),
            _ => Ok(()),
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            // Names that are not UTF-8 are not ours.
            names.extend(entry?.file_name().into_string().ok());
        }
        Ok(names)
    }

    fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(limit as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > limit { Err(ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
    }

    fn read_head(&self, path: &Path, bytes: usize) -> io::Result<Vec<u8>> {
        let mut head = Vec::new();
        File::open(path)?.take(bytes as u64).read_to_end(&mut head)?;
        Ok(head)
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        Ok(fs::metadata(path)?.len())
    }

    fn write_synced(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_data()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        gone_is_fine(fs::remove_file(path))
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        gone_is_fine(fs::remove_dir(dir))
    }

    fn appender(&self, path: &Path) -> io::Result<Box<dyn Appender>> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let len = file.metadata()?.len();
        Ok(Box::new(Log { file, len }))
    }

    fn map_new(&self, path: &Path, bytes: usize) -> io::Result<Region> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes as u64)?;
        file.sync_all()?;
        map_file(&file)
    }

    fn map(&self, path: &Path, limit: usize) -> io::Result<Region> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let len = file.metadata()?.len();
        if len > limit as u64 || len == 0 || len % 8 != 0 {
            return Err(ErrorKind::InvalidData.into());
        }
        // A file that was cut and grown again has holes; filling them here keeps writes from raising SIGBUS.
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, len)?;
        map_file(&file)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let file = OpenOptions::new().create(true).write(true).truncate(false).open(path)?;
        file.try_lock()?;
        Ok(Box::new(Held(file)))
    }
}

fn gone_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn map_file(file: &File) -> io::Result<Region> {
    Ok(Arc::new(Mapped(MmapRaw::map_raw(file)?)))
}

#[derive(Debug)]
struct Mapped(MmapRaw);

impl Memory for Mapped {
    #[allow(unsafe_code)]
    fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is page aligned, lives as long as `self`, spans `len` bytes whose blocks are reserved,
        // is writable, and every u64 is a valid AtomicU64. Within the process it is reached only through these
        // atomics; the spool's lock file keeps other processes out, and they could change values, not break types.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len() / 8) }
    }

    fn sync(&self, range: Range<usize>) -> io::Result<()> {
        self.0.flush_range(range.start * 8, range.len() * 8)
    }
}

#[derive(Debug)]
struct Log {
    file: File,
    len: u64,
}

impl Appender for Log {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        // What an earlier failure left behind goes first, or it would hide everything after it.
        if self.file.metadata()?.len() != self.len {
            self.file.set_len(self.len)?;
        }
        self.file.write_all(bytes)?;
        self.len += bytes.len() as u64;
        Ok(())
    }
}

/// The open file holds the advisory lock. Unlocked, not only closed, when dropped: a process that is being started has a
/// copy of the descriptor until its `exec`, and a copy keeps the lock.
#[derive(Debug)]
struct Held(File);

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

impl Lock for Held {}

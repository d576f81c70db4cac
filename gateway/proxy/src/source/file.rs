//! Snapshots from a file that somebody replaces.
//!
//! Watches the file's directory (a replaced file is another inode) and looks every second as well, for file
//! systems that do not tell. The answer stands beside it, as `<file>.ack.json`.

use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use super::state::replace;
use super::{Answer, Candidate, Source};

/// Between two looks without a sign of change.
const LOOK: Duration = Duration::from_secs(1);

/// A file as a source.
pub(crate) struct FileSource {
    path: PathBuf,
    signs: mpsc::Receiver<()>,
    /// Tells us of changes while it lives; none where the system cannot.
    _watcher: Option<RecommendedWatcher>,
    seen: Option<Seen>,
    /// Hash of the content that was given last: it may be large.
    given: Option<u64>,
    hasher: RandomState,
    complained: bool,
}

/// What tells one content of the file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    modified: Option<SystemTime>,
    len: u64,
    inode: u64,
}

impl FileSource {
    /// Watches `path`, which need not exist yet.
    pub(crate) fn new(path: &Path) -> Self {
        let (sender, signs) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| !event.kind.is_access()) {
                // A full channel already holds a sign.
                let _ = sender.try_send(());
            }
        });
        let watcher = watcher.ok().and_then(|mut watcher| {
            let parent =
                path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            watcher.watch(parent, RecursiveMode::NonRecursive).ok().map(|()| watcher)
        });
        Self {
            path: path.to_owned(),
            signs,
            _watcher: watcher,
            seen: None,
            given: None,
            hasher: RandomState::new(),
            complained: false,
        }
    }

    /// The content, if it is another than the one given last.
    async fn look(&mut self) -> Option<Vec<u8>> {
        use std::os::unix::fs::MetadataExt;
        let metadata = tokio::fs::metadata(&self.path).await;
        let seen = metadata.as_ref().ok().map(|metadata| Seen {
            modified: metadata.modified().ok(),
            len: metadata.len(),
            inode: metadata.ino(),
        });
        if seen.is_some() && seen == self.seen {
            return None;
        }
        match tokio::fs::read(&self.path).await {
            Ok(content) => {
                self.complained = false;
                self.seen = seen;
                let hash = Some(self.hasher.hash_one(&content));
                (std::mem::replace(&mut self.given, hash) != hash).then_some(content)
            }
            Err(error) => {
                if !std::mem::replace(&mut self.complained, true) {
                    tracing::warn!(path = %self.path.display(), %error, "waiting for a snapshot");
                }
                None
            }
        }
    }
}

#[async_trait]
impl Source for FileSource {
    async fn next(&mut self) -> Candidate {
        loop {
            if let Some(content) = self.look().await {
                return Candidate::Json(content);
            }
            let _ = tokio::time::timeout(LOOK, self.signs.recv()).await;
        }
    }

    async fn answer(&mut self, answer: &Answer) {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(".ack.json");
        let path = self.path.with_file_name(name);
        let json = serde_json::to_vec(answer).expect("an answer is plain data");
        if let Err(error) = replace(&path, &json) {
            tracing::warn!(path = %path.display(), %error, "the answer to a snapshot cannot be written");
        }
    }
}

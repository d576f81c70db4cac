//! Changes of a folder, gathered: an editor writes a file in several steps, a `git checkout` writes many.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use notify::{RecursiveMode, Watcher};
use tokio::sync::mpsc;

/// Quiet time after a change before the folder is read: short, since every change waits for it.
const SETTLE: Duration = Duration::from_millis(15);
/// Read it anyway after this much unrest.
const AT_MOST: Duration = Duration::from_millis(250);

/// A watched folder.
#[derive(Debug)]
pub(crate) struct FolderWatch {
    changes: mpsc::Receiver<()>,
    /// Watching ends when it is dropped.
    _watcher: notify::RecommendedWatcher,
}

impl FolderWatch {
    pub(crate) fn new(folder: &Path) -> anyhow::Result<Self> {
        let (sender, changes) = mpsc::channel(1);
        let changed = move |event: notify::Result<notify::Event>| {
            let read_only = event.as_ref().is_ok_and(|event| event.kind.is_access());
            if !read_only {
                // A full channel already says that something changed.
                let _ = sender.try_send(());
            }
        };
        // Links to folders are not read either; one to `/` would have the whole disk watched.
        let config = notify::Config::default().with_follow_symlinks(false);
        let mut watcher = notify::RecommendedWatcher::new(changed, config)?;
        watcher
            .watch(folder, RecursiveMode::Recursive)
            .with_context(|| format!("cannot watch {}", folder.display()))?;
        Ok(Self { changes, _watcher: watcher })
    }

    /// Waits until the folder has changed and has settled.
    pub(crate) async fn changed(&mut self) {
        if self.changes.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
        let _ = tokio::time::timeout(AT_MOST, async {
            while tokio::time::timeout(SETTLE, self.changes.recv()).await.is_ok() {}
        })
        .await;
    }
}

//! The catalog file, watched.
//!
//! In: a path. Out: the newest catalog that could be read. A file that is absent, half written or of another format
//! changes nothing but the log: the last good catalog stays in force. Changes are noticed by the system's file events and,
//! where these fail, by looking twice a second.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use gateway_snapshot::{Catalog, FORMAT};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::authority::AuthorityHandle;

/// Time between looks.
const LOOK: Duration = Duration::from_millis(500);
/// Largest file.
const MAX_BYTES: u64 = 256 << 20;

/// What tells one content of the file from the next without reading it.
type Mark = (Option<SystemTime>, u64);

/// Starts the task; without a path the catalog stays empty.
pub(crate) fn start(
    path: Option<PathBuf>,
    authority: AuthorityHandle,
    shutdown: CancellationToken,
) -> (watch::Receiver<Arc<Catalog>>, tokio::task::JoinHandle<()>) {
    let (say, catalog) = watch::channel(Arc::<Catalog>::default());
    let task = tokio::spawn(async move {
        let Some(path) = path else { return shutdown.cancelled().await };
        tokio::select! { () = follow(&path, &say, &authority) => {}, () = shutdown.cancelled() => {} }
    });
    (catalog, task)
}

async fn follow(path: &Path, say: &watch::Sender<Arc<Catalog>>, authority: &AuthorityHandle) {
    let wake = Arc::new(Notify::new());
    let _watcher = watcher(path, wake.clone());
    let (mut seen, mut said, mut owed) = (None::<Mark>, String::new(), None::<Arc<Catalog>>);
    loop {
        let mark = mark(path).await;
        if mark != seen || owed.is_some() {
            match read(path).await {
                Ok(catalog) => {
                    seen = mark;
                    said.clear();
                    let catalog = Arc::new(catalog);
                    // The limits come first: what the API shows is then what is guarded.
                    owed = authority.catalog(catalog.clone()).err().map(|_| catalog.clone());
                    if say.borrow().version != catalog.version || say.borrow().format == 0 {
                        tracing::info!(
                            version = catalog.version,
                            limits = catalog.limits.len(),
                            "catalog in force"
                        );
                    }
                    say.send_replace(catalog);
                }
                Err(error) => {
                    if said != error {
                        tracing::warn!(path = %path.display(), error, "catalog is not read; the last good one stays in force");
                        said = error;
                    }
                }
            }
        }
        tokio::select! { () = wake.notified() => {}, () = tokio::time::sleep(LOOK) => {} }
    }
}

/// Watches the folder: files that are replaced by renaming keep their name and change their identity.
fn watcher(path: &Path, wake: Arc<Notify>) -> Option<RecommendedWatcher> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut watcher = notify::recommended_watcher(move |_event| wake.notify_one()).ok()?;
    watcher.watch(folder, RecursiveMode::NonRecursive).ok()?;
    Some(watcher)
}

async fn mark(path: &Path) -> Option<Mark> {
    let about = tokio::fs::metadata(path).await.ok()?;
    Some((about.modified().ok(), about.len()))
}

async fn read(path: &Path) -> Result<Catalog, String> {
    let about = tokio::fs::metadata(path).await.map_err(|error| error.to_string())?;
    if about.len() > MAX_BYTES {
        return Err(format!("{} bytes are more than {MAX_BYTES}", about.len()));
    }
    let bytes = tokio::fs::read(path).await.map_err(|error| error.to_string())?;
    let catalog: Catalog = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    if catalog.format == FORMAT {
        Ok(catalog)
    } else {
        Err(format!("format {} is not {FORMAT}: run the same release everywhere", catalog.format))
    }
}

//! The catalog: a file that is watched, or what an operator says.
//!
//! In: a source. Out: the newest catalog that could be read. A file that is absent, half written or of another format
//! changes nothing but the log: the last good catalog stays in force. Changes are noticed by the system's file events and,
//! where these fail, by looking twice a second.

mod operator;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use gateway_snapshot::{Catalog, FORMAT};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::authority::AuthorityHandle;
pub use operator::Operator;

/// Time between looks.
const LOOK: Duration = Duration::from_millis(500);
/// Largest file.
const MAX_BYTES: u64 = 256 << 20;

/// What tells one content of the file from the next without reading it.
type Mark = (Option<SystemTime>, u64);

/// Where the catalog comes from.
#[derive(Debug, Clone)]
pub enum CatalogSource {
    /// A file: JSON of `gateway_snapshot::Catalog`.
    File(PathBuf),
    /// An operator, in a cluster.
    Operator(Operator),
}

/// Starts the task; without a source the catalog stays empty.
pub(crate) fn start(
    source: Option<CatalogSource>,
    authority: AuthorityHandle,
    shutdown: CancellationToken,
) -> (watch::Receiver<Arc<Catalog>>, tokio::task::JoinHandle<()>) {
    let (say, catalog) = watch::channel(Arc::<Catalog>::default());
    let task = tokio::spawn(async move {
        let following = async {
            match source {
                None => std::future::pending().await,
                Some(CatalogSource::File(path)) => follow(&path, &say, &authority).await,
                Some(CatalogSource::Operator(operator)) => operator.follow(&say, &authority).await,
            }
        };
        tokio::select! { () = following => {}, () = shutdown.cancelled() => {} }
    });
    (catalog, task)
}

/// Puts a catalog in force, when the authority has room for it.
async fn put(catalog: Arc<Catalog>, say: &watch::Sender<Arc<Catalog>>, authority: &AuthorityHandle) {
    while !offer(&catalog, say, authority) {
        tokio::time::sleep(LOOK).await;
    }
}

/// Puts a catalog in force, or says that the authority is to be asked again.
fn offer(catalog: &Arc<Catalog>, say: &watch::Sender<Arc<Catalog>>, authority: &AuthorityHandle) -> bool {
    // The limits come first: what the API shows is then what is guarded.
    let taken = authority.catalog(Arc::clone(catalog)).is_ok();
    if say.borrow().version != catalog.version || say.borrow().format == 0 {
        tracing::info!(version = catalog.version, limits = catalog.limits.len(), "catalog in force");
    }
    say.send_replace(Arc::clone(catalog));
    taken
}

async fn follow(path: &Path, say: &watch::Sender<Arc<Catalog>>, authority: &AuthorityHandle) {
    let wake = Arc::new(Notify::new());
    let _watcher = watcher(path, wake.clone());
    let (mut seen, mut said, mut owed) = (None::<Mark>, String::new(), false);
    loop {
        let mark = mark(path).await;
        if mark != seen || owed {
            match read(path).await {
                Ok(catalog) => {
                    seen = mark;
                    said.clear();
                    owed = !offer(&Arc::new(catalog), say, authority);
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
    parse(&bytes)
}

fn parse(json: &[u8]) -> Result<Catalog, String> {
    let catalog: Catalog = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    if catalog.format == FORMAT {
        Ok(catalog)
    } else {
        Err(format!("format {} is not {FORMAT}: run the same release everywhere", catalog.format))
    }
}

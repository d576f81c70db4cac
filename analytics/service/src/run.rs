//! Starts the parts, in an order in which each finds what it needs, and stops them.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::alerts::{self, Outbox};
use crate::clock::Clock;
use crate::fleet::Fleet;
use crate::http::{Parts, router};
use crate::ledger::{Ledger, LedgerError};
use crate::options::{Options, OptionsError};
use crate::store::Store;
use crate::{authority, catalog, dock, ready, rollup};

/// Why the service does not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An option is wrong.
    #[error("option: {0}")]
    Options(#[from] OptionsError),
    /// The durable store cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// An HTTP client cannot be made.
    #[error("HTTP client: {0}")]
    Client(#[from] reqwest::Error),
    /// The port cannot be had.
    #[error("cannot listen on {address}: {error}; choose another port or stop what uses it")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        error: std::io::Error,
    },
    /// The server ended.
    #[error("HTTP server: {0}")]
    Serve(std::io::Error),
    /// The store could not be brought to the newest schema.
    #[error("{0}")]
    Migrate(String),
}

/// Runs the service until `shutdown`; calls `ready` with the bound address once it takes requests.
///
/// The store may be away: requests that need it are then answered with 503, and everything is made up for later.
pub async fn run(options: Options, shutdown: CancellationToken, ready: impl FnOnce(SocketAddr)) -> Result<(), Error> {
    options.check()?;
    let clock = Clock::start();
    let ledger = Ledger::open(&options.data_dir)?;
    let outbox = Outbox::restore(ledger.alerts()?);
    let fleet = Fleet::restore(ledger.clone())?;
    let store = Store::new(&options)?;
    let address = options.listen;
    let listener = tokio::net::TcpListener::bind(address).await.map_err(|error| Error::Listen { address, error })?;
    let address = listener.local_addr().map_err(Error::Serve)?;
    // Whatever ends this function ends the tasks, too.
    let stop = shutdown.child_token();
    let _guard = stop.clone().drop_guard();

    let (notices, noticed) = tokio::sync::mpsc::unbounded_channel();
    let dock = dock::start(store.clone(), ledger.clone(), options.retention_days, clock, stop.clone(), notices)?;
    let (authority, thread) = authority::start(clock, ledger.clone(), outbox.clone())?;
    let (catalog, _) = catalog::start(options.catalog_path.clone(), authority.clone(), stop.clone());
    let (readiness, _) = ready::start(options.clone(), store.clone(), dock.clone(), stop.clone());
    let (rollup, _) = rollup::start(store.clone(), readiness.clone(), noticed, stop.clone());
    authority::settle::start(authority.clone(), dock.clone(), fleet.clone(), store.clone(), stop.clone());
    alerts::start(clock, ledger, outbox.clone(), catalog.clone(), stop.clone())?;

    let (token, live, segments) = Parts::http_parts(&options.token);
    let authority_handle = authority.clone();
    let app = Arc::new(Parts {
        clock,
        token,
        store,
        dock,
        fleet,
        authority,
        outbox,
        catalog,
        ready: readiness,
        rollup,
        live,
        segments,
    });
    tracing::info!(%address, "analytics takes requests");
    ready(address);
    let served = axum::serve(listener, router(app)).with_graceful_shutdown(shutdown.clone().cancelled_owned()).await;
    authority_handle.stop();
    if tokio::task::spawn_blocking(move || thread.join()).await.is_err() {
        tracing::warn!("the quota authority's thread was not joined");
    }
    served.map_err(Error::Serve)
}

/// Brings the store to the newest schema and returns how many migrations that took.
pub async fn migrate(options: &Options) -> Result<usize, Error> {
    options.check()?;
    let store = Store::new(options)?;
    crate::migrate::apply(&store).await.map_err(|error| Error::Migrate(error.to_string()))
}

//! Starts the parts, in an order in which each finds what it needs, and stops them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::alerts::{self, Outbox};
use crate::authority::learn::Learner;
use crate::clock::Clock;
use crate::fleet::Fleet;
use crate::http::{App, Parts, gateway_router, operator_router, router};
use crate::ledger::{Ledger, LedgerError};
use crate::mutual::{IdentityError, MutualListener};
use crate::options::{Options, OptionsError};
use crate::ready::Readiness;
use crate::store::Store;
use crate::{authority, catalog, dock, ready, rollup};

/// How long the start waits for the store at most.
const PREPARE: Duration = Duration::from_millis(1_500);
/// How long requests under way may take to end at shutdown.
const GRACE: Duration = Duration::from_secs(5);

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
    /// The certificates for gateways.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The server ended.
    #[error("HTTP server: {0}")]
    Serve(std::io::Error),
    /// The store could not be brought to the newest schema.
    #[error("{0}")]
    Migrate(String),
}

/// Runs the service until `shutdown`; calls `ready` with the bound address once it takes requests
/// and the store has been there, or after a moment without it.
///
/// The store may be away: requests that need it are then answered with 503, and everything is made up for later.
pub async fn run(
    options: Options,
    shutdown: CancellationToken,
    ready: impl FnOnce(SocketAddr),
) -> Result<(), Error> {
    options.check()?;
    let clock = Clock::start();
    let ledger = Ledger::open(&options.data_dir)?;
    let outbox = Outbox::restore(ledger.alerts()?);
    let fleet = Fleet::restore(ledger.clone())?;
    let store = Store::new(&options)?;
    let (listener, gateways) = listeners(&options).await?;
    let address = listener.local_addr().map_err(Error::Serve)?;
    // Whatever ends this function ends the tasks, too.
    let stop = shutdown.child_token();
    let _guard = stop.clone().drop_guard();

    let (notices, noticed) = tokio::sync::mpsc::unbounded_channel();
    let (dock, docking) =
        dock::start(store.clone(), ledger.clone(), options.retention_days, clock, stop.clone(), notices)?;
    let authority::Started { handle: authority, thread } =
        authority::start(clock, ledger.clone(), outbox.clone(), options.lease_ttl)?;
    let (catalog, reading) = catalog::start(options.catalog.clone(), authority.clone(), stop.clone());
    let (readiness, preparing) = ready::start(options.clone(), store.clone(), dock.clone(), stop.clone());
    let (rollup, rolling) =
        rollup::start(store.clone(), options.retention_days, readiness.clone(), noticed, stop.clone());
    let settling =
        authority::settle::start(authority.clone(), dock.clone(), fleet.clone(), store.clone(), stop.clone());
    let delivering = alerts::start(clock, ledger, outbox.clone(), catalog.clone(), stop.clone())?;
    let mut tasks = vec![docking, reading, preparing, rolling, settling, delivering];
    if authority.is_learning() {
        let learner = Learner {
            authority: authority.clone(),
            clock,
            store: store.clone(),
            dock: dock.clone(),
            catalog: catalog.clone(),
            ready: readiness.clone(),
            lease_ttl: options.lease_ttl,
            has_catalog: options.catalog.is_some(),
        };
        tasks.push(learner.start(stop.clone()));
    }

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
        retention_days: options.retention_days,
    });
    let announce = async {
        prepared(&app).await;
        tracing::info!(%address, "analytics takes requests");
        ready(address);
    };
    let (served, ()) = tokio::join!(serve_all(listener, gateways, &app, &shutdown), announce);
    drop(app);
    stop.cancel();
    authority_handle.stop();
    // The durable store is closed when the last of them has ended: another process may then open it.
    futures::future::join_all(tasks).await;
    if tokio::task::spawn_blocking(move || thread.join()).await.is_err() {
        tracing::warn!("the quota authority's thread was not joined");
    }
    served.map_err(Error::Serve)
}

/// The port of the API, and that of gateways which show certificates.
async fn listeners(options: &Options) -> Result<(TcpListener, Option<[MutualListener; 2]>), Error> {
    let listener = bind(options.listen).await?;
    let gateways = match &options.gateways {
        Some((address, identity)) => Some(MutualListener::start(bind(*address).await?, identity)?),
        None => None,
    };
    Ok((listener, gateways))
}

/// Serves both ports until `shutdown`.
async fn serve_all(
    listener: TcpListener,
    gateways: Option<[MutualListener; 2]>,
    app: &App,
    shutdown: &CancellationToken,
) -> std::io::Result<()> {
    let mutual = async {
        match gateways {
            Some([fleets, operators]) => {
                let (fleets, operators) = tokio::join!(
                    serve(fleets, gateway_router(app.clone()), shutdown),
                    serve(operators, operator_router(app.clone()), shutdown)
                );
                fleets.and(operators)
            }
            None => Ok(()),
        }
    };
    let (served, mutually) = tokio::join!(serve(listener, router(app.clone()), shutdown), mutual);
    served.and(mutually)
}

async fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|error| Error::Listen { address, error })
}

/// Waits a moment for the store and for quotas, so that the first requests after a start do not find them missing.
async fn prepared(app: &App) {
    let work = async {
        let mut ready = app.ready.clone();
        // The sender lives as long as the service.
        let _ = ready.wait_for(|state| *state == Readiness::Ready).await;
        while app.authority.is_learning() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    if tokio::time::timeout(PREPARE, work).await.is_err() {
        tracing::warn!("started without the store; gateways keep their records until it is there");
    }
}

/// Serves until `shutdown`, then lets requests under way finish for a while.
async fn serve<L>(listener: L, router: Router, shutdown: &CancellationToken) -> std::io::Result<()>
where
    L: axum::serve::Listener,
    L::Addr: std::fmt::Debug,
{
    let late = async {
        shutdown.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        served = axum::serve(listener, router).with_graceful_shutdown(shutdown.clone().cancelled_owned()) => served,
        () = late => Ok(()),
    }
}

/// Brings the store to the newest schema and returns how many migrations that took.
pub async fn migrate(options: &Options) -> Result<usize, Error> {
    options.check()?;
    let store = Store::new(options)?;
    crate::migrate::apply(&store).await.map_err(|error| Error::Migrate(error.to_string()))
}

//! The process: started part by part, and drained in the order in which nothing is lost.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway_snapshot::{FORMAT, Snapshot};
use gateway_spool::{OpenError, Sealer, Spool};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::admin::{self, Admin};
use crate::announce;
use crate::clock::{Clock, wall_us};
use crate::config::Config;
use crate::handler::Gateway;
use crate::in_flight::InFlight;
use crate::keep::{Newest, keep};
use crate::lease::Leases;
use crate::listen::{Crew, Ports, Server, provider};
use crate::options::{Options, Snapshots};
use crate::reload::Reload;
use crate::service::{ClientError, Service};
use crate::shared::{Parts, Shared};
use crate::ship::{SealAge, Sealing, Shipper, seal};
use crate::source::{FileSource, Source, StateDir, StateError, StreamSource};
use crate::status::{Board, Status};
use crate::telemetry::{AccessLog, Spans};
use crate::upstream::{Interner, Room};

/// Between two looks at upstream connections that wait.
const SWEEP: Duration = Duration::from_secs(10);
/// How often a spool that is in use is looked at again.
const SPOOL_POLL: Duration = Duration::from_millis(50);
/// How long the admin endpoint's last answers may take.
const LAST_ANSWERS: Duration = Duration::from_secs(1);
/// How long cut connections have for their records.
const LAST_RECORDS: Duration = Duration::from_secs(2);

/// Why a gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// The spool in it.
    #[error(transparent)]
    Spool(#[from] OpenError),
    /// The admin endpoint.
    #[error("admin endpoint: cannot bind {address}: {problem}; choose another address or port")]
    Admin {
        /// Where it should have been.
        address: SocketAddr,
        /// What the system says.
        problem: std::io::Error,
    },
    /// A thread of ours.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// The client for the analytics service.
    #[error("cannot set up the client for the analytics service: {0}")]
    Client(#[from] ClientError),
}

/// A gateway that runs.
pub struct Process {
    shared: Arc<Shared>,
    admin: Arc<Admin>,
    admin_address: SocketAddr,
    drain_delay: Duration,
    down: watch::Sender<bool>,
    kill: CancellationToken,
    tracker: TaskTracker,
    reload: Part,
    keeper: Part,
    leases: Part,
    shipper: Part,
    announcer: Part,
    sweeper: Part,
    sealing: Sealing,
    stop_sealing: CancellationToken,
    endpoint: Part,
    /// The last to go.
    _crew: Crew,
}

/// A task and the way to end it, which is also taken when nobody holds it any more.
struct Part {
    task: JoinHandle<()>,
    stop: DropGuard,
}

impl Part {
    fn spawn<F: Future<Output = ()> + Send + 'static>(work: impl FnOnce(CancellationToken) -> F) -> Self {
        let stop = CancellationToken::new();
        Self { task: tokio::spawn(work(stop.clone())), stop: stop.drop_guard() }
    }

    /// The same on a thread of its own. What is asked for in memory there comes back to it, and serves it the next time:
    /// on one worker after another, each would keep as much.
    fn spawn_alone<F: Future<Output = ()> + Send + 'static>(
        work: impl FnOnce(CancellationToken) -> F,
    ) -> Self {
        let stop = CancellationToken::new();
        let (work, runtime) = (work(stop.clone()), Handle::current());
        Self { task: tokio::task::spawn_blocking(move || runtime.block_on(work)), stop: stop.drop_guard() }
    }

    async fn end(self) {
        drop(self.stop);
        let _ = self.task.await;
    }
}

impl std::fmt::Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Process").field("admin", &self.admin_address).finish_non_exhaustive()
    }
}

impl Process {
    /// Starts a gateway. What it does beside requests runs on the present tokio runtime, which must not be one of
    /// `current_thread`. It serves the last good snapshot, if there is one, before this returns.
    pub async fn start(options: Options) -> Result<Self, Error> {
        provider();
        let state = StateDir::open(&options.state_dir)?;
        let (spool, sealer) = take_spool(&options).await?;
        let (otlp, endpoint) = watch::channel(None);
        let shared = Arc::new(shared(&options, &spool, endpoint)?);
        let leases = Arc::clone(&shared.leases);
        let (stop_sealing, stop_admin) = (CancellationToken::new(), CancellationToken::new());
        let (seal_age, board, newest) =
            (Arc::<SealAge>::default(), Arc::<Board>::default(), Arc::<Newest>::default());
        let sealing = seal(sealer, Arc::clone(&seal_age), stop_sealing.clone()).map_err(Error::Thread)?;
        let service = options.analytics.as_ref().map(Service::new).transpose()?;
        let (down, shutdown) = watch::channel(false);
        let (crew, workers) = Crew::start(options.threads).map_err(Error::Thread)?;
        let server = Arc::new(Server {
            application: Gateway::new(Arc::clone(&shared), options.upstream_connections, workers.count()),
            shutdown,
            kill: CancellationToken::new(),
            tracker: TaskTracker::new(),
            workers,
        });
        let admin = Arc::new(Admin {
            shared: Arc::clone(&shared),
            board: Arc::clone(&board),
            workers: server.workers.clone(),
            token: options.admin_token.clone(),
        });
        let (kill, tracker) = (server.kill.clone(), server.tracker.clone());
        let (admin_address, admin_task) = admin::serve(options.admin, Arc::clone(&admin), stop_admin.clone())
            .await
            .map_err(|problem| Error::Admin { address: options.admin, problem })?;
        let mut reload = Reload {
            shared: Arc::clone(&shared),
            ports: Ports::new(server, options.address, options.forwarded),
            port_map: options.port_map,
            newest: Arc::clone(&newest),
            board,
            otlp,
            served: None,
            unbound: Vec::new(),
        };
        state.last_good().into_iter().for_each(|snapshot| reload.start_from(snapshot));
        let source = source(options.snapshots, &shared.in_flight);
        Ok(Self {
            shared: Arc::clone(&shared),
            admin: Arc::clone(&admin),
            admin_address,
            drain_delay: options.drain_delay,
            down,
            kill,
            tracker,
            reload: Part::spawn_alone(|stop| reload.run(source, stop)),
            keeper: Part::spawn_alone(|stop| keep(newest, state, options.give_back, stop)),
            leases: lease_part(leases, service.clone(), Arc::clone(&shared.in_flight)),
            announcer: announcer_part(Arc::clone(&admin), service.clone()),
            sweeper: sweeper_part(Arc::clone(&shared)),
            shipper: shipper_part(spool, service, seal_age, options.handover),
            sealing,
            stop_sealing,
            endpoint: Part { task: admin_task, stop: stop_admin.drop_guard() },
            _crew: crew,
        })
    }

    /// Address of the admin endpoint.
    pub fn admin(&self) -> SocketAddr {
        self.admin_address
    }

    /// The state of the process.
    pub fn status(&self) -> Status {
        self.admin.status()
    }

    /// Serves until `shutdown`, then drains: no longer ready; no new connections; running requests to their
    /// end, within the snapshot's drain time; leases returned; usage sealed and shipped.
    pub async fn run(self, shutdown: CancellationToken) {
        shutdown.cancelled().await;
        tracing::info!("draining");
        self.shared.drain();
        tokio::time::sleep(self.drain_delay).await;
        self.reload.end().await;
        self.keeper.end().await;
        let _ = self.down.send(true);
        self.tracker.close();
        let patience = Duration::from_millis(self.shared.config.load().settings.drain_timeout_ms);
        if tokio::time::timeout(patience, self.tracker.wait()).await.is_err() {
            tracing::warn!(
                running = self.shared.in_flight.count(),
                "the drain time is over: cutting what still runs"
            );
            self.kill.cancel();
            let _ = tokio::time::timeout(LAST_RECORDS, self.tracker.wait()).await;
        }
        self.leases.end().await;
        self.stop_sealing.cancel();
        self.sealing.closed().await;
        self.shipper.end().await;
        self.announcer.end().await;
        self.sweeper.end().await;
        let _ = tokio::time::timeout(LAST_ANSWERS, self.endpoint.end()).await;
        tracing::info!("drained");
    }
}

/// Runs a gateway until `shutdown`, and drains it.
pub async fn run(options: Options, shutdown: CancellationToken) -> Result<(), Error> {
    Process::start(options).await?.run(shutdown).await;
    Ok(())
}

/// Opens the spool. A process that still drains it, because whatever ran it was killed, is waited for.
async fn take_spool(options: &Options) -> Result<(Spool, Sealer), OpenError> {
    let deadline = Instant::now() + options.spool_wait;
    loop {
        match open_spool(options) {
            Err(OpenError::InUse(_)) if Instant::now() < deadline => tokio::time::sleep(SPOOL_POLL).await,
            done => return done,
        }
    }
}

fn open_spool(options: &Options) -> Result<(Spool, Sealer), OpenError> {
    let spool_options = gateway_spool::Options {
        shards: u8::try_from(options.threads.clamp(1, 32)).unwrap_or(1),
        budget_bytes: options.spool_bytes,
        ring_bytes: options.spool_ring_bytes,
        ..gateway_spool::Options::default()
    };
    let (spool, sealer) = Spool::open(&options.state_dir.join("spool"), spool_options, wall_us())?;
    for note in spool.notes() {
        tracing::warn!(note, "found in the spool");
    }
    Ok((spool, sealer))
}

fn shared(
    options: &Options,
    spool: &Spool,
    endpoint: watch::Receiver<Option<String>>,
) -> Result<Shared, Error> {
    let clock = Clock::new(spool.clone());
    let parts = Parts {
        spool: spool.clone(),
        clock: clock.clone(),
        leases: Arc::new(Leases::new(spool, clock, options.analytics.is_some())),
        in_flight: Arc::default(),
        room: Room::new(options.upstream_connections),
        spans: Spans::start(endpoint),
        access_log: AccessLog::start().map_err(Error::Thread)?,
    };
    Ok(Shared::new(empty_config(), parts))
}

fn source(snapshots: Snapshots, in_flight: &Arc<InFlight>) -> Box<dyn Source> {
    match snapshots {
        Snapshots::File(path) => Box::new(FileSource::new(&path)),
        Snapshots::Operator(operator) => Box::new(StreamSource::new(operator, Arc::clone(in_flight))),
    }
}

/// Serves nothing until the first snapshot comes.
fn empty_config() -> Config {
    let empty = Snapshot { format: FORMAT, ..Snapshot::default() };
    let intern: Interner = Arc::new(|_: &str| analytics_record::NameId::NONE);
    let prepared = Config::prepare(&empty, None, &std::collections::BTreeMap::new(), &intern);
    prepared.unwrap_or_else(|errors| unreachable!("an empty snapshot is sound: {errors:?}")).0
}

fn lease_part(leases: Arc<Leases>, service: Option<Service>, in_flight: Arc<InFlight>) -> Part {
    Part::spawn(|stop| async move {
        match service {
            Some(service) => leases.run(service, in_flight, stop).await,
            None => stop.cancelled().await,
        }
    })
}

/// Closes upstream connections that nobody used for a while.
fn sweeper_part(shared: Arc<Shared>) -> Part {
    Part::spawn(|stop| async move {
        while tokio::time::timeout(SWEEP, stop.cancelled()).await.is_err() {
            shared.config.load().upstreams.sweep();
        }
    })
}

fn announcer_part(admin: Arc<Admin>, service: Option<Service>) -> Part {
    Part::spawn(|stop| async move {
        match service {
            Some(service) => announce::run(admin, service, stop).await,
            None => stop.cancelled().await,
        }
    })
}

fn shipper_part(spool: Spool, service: Option<Service>, seal_age: Arc<SealAge>, handover: Duration) -> Part {
    Part::spawn(|stop| async move {
        match service {
            Some(service) => Shipper::new(spool, service, seal_age).run(stop, handover).await,
            None => stop.cancelled().await,
        }
    })
}

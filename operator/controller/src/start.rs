//! What an operator consists of, and how its parts hang together: watches, streams, the loop, the election.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use operator_compile::resources::{ObjectName, Resources};
use operator_compile::{Compiled, Compiler};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Certificate, Identity, Server as TonicServer, ServerTlsConfig};

use crate::analytics;
use crate::children::{self, Children};
use crate::external::{self, External};
use crate::identity::{Ca, SECRET};
use crate::leader::Leader;
use crate::operator::{FIRST_PAUSE, Operator};
use crate::publisher::Publisher;
use crate::serve::Server;
use crate::statuses::Statuses;
use crate::usage::Usage;
use crate::watch::{Watched, start};
use crate::world::World;
use crate::{Error, OURS, Options};

/// News that wait while a round runs.
const NEWS: usize = 4096;
/// A silent gateway is asked this often, and given up after as long again.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Runs an operator until `stop`, or until it has to be started again with another CA or certificate. Calls `ready` with the
/// address of the streams once everything has been listed.
pub async fn run(
    options: Options,
    stop: CancellationToken,
    ready: impl FnOnce(SocketAddr),
) -> Result<(), Error> {
    let config = kube::Config::infer().await.map_err(|error| Error::Config(Box::new(error)))?;
    let client = Client::try_from(config)
        .map_err(|error| Error::Api { what: "client".to_owned(), error: Box::new(error) })?;
    let now = Timestamp::now();
    let ca = Ca::open(&client, &options.namespace, now).await?;
    let publisher = Arc::<Publisher>::default();
    let listener =
        TcpListener::bind(options.listen).await.map_err(|error| Error::Listen(options.listen, error))?;
    let address = listener.local_addr().map_err(|error| Error::Listen(options.listen, error))?;
    let serving = serve(listener, tls(&ca, now)?, Arc::clone(&publisher), stop.clone());
    let (sender, news) = mpsc::channel(NEWS);
    let certificates = options.runtime.certificates;
    let watched = watched(&options.watched_namespaces(), certificates);
    for watched in &watched {
        start(&client, watched, sender.clone());
    }
    let replica = options.replica.unwrap_or_else(|| format!("operator-{:016x}", rand::random::<u64>()));
    let mut leader = Leader::new(client.clone(), &options.namespace, replica.clone());
    let usage = follow_usage(&ca, now, options.runtime.analytics.as_deref(), leader.leads())?;
    let analytics = options.runtime.analytics.as_deref().map(host).transpose()?;
    let (scaled_by_requests, wanted) = watch::channel(false);
    let external_metrics = match options.external_metrics {
        Some(address) => serve_external(
            &client,
            &options.namespace,
            (&ca, now),
            Arc::clone(&publisher),
            (address, wanted),
        )?,
        None => watch::channel(false).1,
    };
    let operator = Operator {
        scaled_by_requests,
        external_metrics,
        analytics: analytics.map(|host| (options.namespace.clone(), host)),
        compile: operator_compile::Options {
            controller_name: options.controller_name.clone(),
            runtime: Some(options.runtime),
            now: None,
        },
        ca_name: ObjectName::new(&options.namespace, SECRET),
        ca,
        children: Children::new(client.clone(), certificates),
        client: client.clone(),
        statuses: Statuses::new(client, &options.controller_name, &replica),
        publisher,
        world: World::waiting_for(watched.iter().map(|watched| (watched.kind, watched.scope.clone()))),
        compiled: Compiled::default(),
        compiler: Compiler::default(),
        untold: None,
        pause: FIRST_PAUSE,
        stale: true,
        leads: leader.leads(),
        usage,
    };
    let ended = tokio::select! {
        served = serving => served,
        () = operator.run(news, || ready(address)) => Ok(()),
        () = leader.run() => Ok(()),
        () = stop.cancelled() => Ok(()),
    };
    leader.release().await;
    ended
}

/// Every kind that the compiler reads, and the children, in these namespaces; in all when there are none.
fn watched(namespaces: &[String], certificates: bool) -> Vec<Watched> {
    let read = Resources::apis().into_iter().map(|(kind, resource)| Watched {
        kind,
        resource,
        labels: None,
        // Releases of Helm are large and nothing to us.
        fields: (kind == "Secret").then_some("type!=helm.sh/release.v1"),
        scope: None,
    });
    let mut all: Vec<Watched> = read.collect();
    for (kind, resource) in children::apis(certificates) {
        if all.iter().all(|watched| watched.kind != kind) {
            all.push(Watched { kind, resource, labels: Some(OURS), fields: None, scope: None });
        }
    }
    all.into_iter().flat_map(|watched| watched.within(namespaces)).collect()
}

/// Gateways and analytics show certificates of our CA, and so do we.
fn tls(ca: &Ca, now: Timestamp) -> Result<ServerTlsConfig, Error> {
    let identity = ca.operator(now).map_err(Error::identity)?;
    Ok(ServerTlsConfig::new()
        .identity(Identity::from_pem(identity.chain, identity.key))
        .client_ca_root(Certificate::from_pem(&ca.trusted)))
}

async fn serve(
    listener: TcpListener,
    tls: ServerTlsConfig,
    publisher: Arc<Publisher>,
    stop: CancellationToken,
) -> Result<(), Error> {
    let mut server = TonicServer::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE))
        .tls_config(tls)
        .map_err(Error::Serve)?;
    server
        .add_service(Server::service(publisher))
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop.cancelled_owned())
        .await
        .map_err(Error::Serve)
}

/// Asks analytics in the background how quotas stand, as long as we lead. Without analytics nothing is ever known.
fn follow_usage(
    ca: &Ca,
    now: Timestamp,
    url: Option<&str>,
    leads: watch::Receiver<bool>,
) -> Result<watch::Receiver<Option<Usage>>, Error> {
    let usage = watch::Sender::new(None);
    let heard = usage.subscribe();
    if let Some(url) = url {
        let identity = ca.operator(now).map_err(Error::identity)?;
        let http = analytics::client(&identity, &ca.trusted);
        let http = http.map_err(|error| Error::Client(error.to_string()))?;
        tokio::spawn(analytics::run(http, url.to_owned(), leads, usage));
    }
    Ok(heard)
}

/// Serves external metrics in the background, from when they are `wanted`; whether they are ours to serve.
fn serve_external(
    client: &Client,
    namespace: &str,
    (ca, now): (&Ca, Timestamp),
    publisher: Arc<Publisher>,
    (address, wanted): (SocketAddr, watch::Receiver<bool>),
) -> Result<watch::Receiver<bool>, Error> {
    let host = format!("{}.{namespace}.svc", external::claim::SERVICE);
    let external = External {
        client: client.clone(),
        address,
        namespace: namespace.to_owned(),
        trusted: ca.trusted.clone(),
        identity: ca.external(&host, now).map_err(Error::identity)?,
        publisher,
    };
    let (is_ours, ours) = watch::channel(false);
    tokio::spawn(external.run(wanted, is_ours));
    Ok(ours)
}

/// The host of a URL.
fn host(url: &str) -> Result<String, Error> {
    let uri: Option<http::Uri> = url.parse().ok();
    let host = uri.as_ref().and_then(|uri| uri.host()).map(str::to_owned);
    host.ok_or_else(|| Error::Url(url.to_owned()))
}

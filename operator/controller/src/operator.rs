//! The loop: wait for news, compile, publish, apply children, write statuses.
//!
//! One round takes in all news that there is. A round without news costs nothing; what failed is tried again with growing
//! pauses. Restart or absence of the operator changes nothing that is served. Of several operators all compile and feed
//! gateways, and the one that leads writes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crds::gateway_fleet::Autoscaling;
use crds::k8s_openapi::api::core::v1::Secret;
use gateway_snapshot::{Catalog, lint};
use jiff::Timestamp;
use kube::Client;
use operator_compile::resources::{ObjectName, Resources};
use operator_compile::{Compiled, Compiler, Fleet, ObjectRef, Status};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Certificate, Identity, Server as TonicServer, ServerTlsConfig};

use crate::analytics;
use crate::children::{self, Children};
use crate::external::{self, External};
use crate::features;
use crate::identity::{Ca, SECRET};
use crate::leader::Leader;
use crate::publisher::Publisher;
use crate::serve::Server;
use crate::serving::{Ready, Verdict, answered, verdict};
use crate::statuses::{Statuses, Wanted, gateway_fields, gateway_of_set};
use crate::usage::Usage;
use crate::watch::{Change, Watched, start};
use crate::world::{Id, World};
use crate::{Error, OURS, Options};

/// News that wait while a round runs.
const NEWS: usize = 4096;
/// A round at least this often: certificates near their end.
const LOOK: Duration = Duration::from_mins(10);
/// A silent gateway is asked this often, and given up after as long again.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Runs an operator until `stop`, or until it has to be started again with another CA or certificate. Calls `ready` with the address of the streams once everything has been listed.
pub async fn run(
    options: Options,
    stop: CancellationToken,
    ready: impl FnOnce(std::net::SocketAddr),
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
    let (wanted, is_wanted) = watch::channel(false);
    let (is_ours, ours) = watch::channel(false);
    if let Some(address) = options.external_metrics {
        let host = format!("{}.{}.svc", external::claim::SERVICE, options.namespace);
        let external = External {
            client: client.clone(),
            address,
            namespace: options.namespace.clone(),
            trusted: ca.trusted.clone(),
            identity: ca.external(&host, now).map_err(Error::identity)?,
            publisher: Arc::clone(&publisher),
        };
        tokio::spawn(external.run(is_wanted, is_ours));
    }
    let operator = Operator {
        scaled_by_requests: wanted,
        external_metrics: ours,
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

/// The host of a URL.
fn host(url: &str) -> Result<String, Error> {
    let uri: Option<http::Uri> = url.parse().ok();
    let host = uri.as_ref().and_then(|uri| uri.host()).map(str::to_owned);
    host.ok_or_else(|| Error::Url(url.to_owned()))
}

struct Operator {
    /// Namespace of analytics, and the host by which gateways reach it.
    analytics: Option<(String, String)>,
    compile: operator_compile::Options,
    /// Whether some fleet asks to be scaled by its requests.
    scaled_by_requests: watch::Sender<bool>,
    /// Whether external metrics are ours to serve.
    external_metrics: watch::Receiver<bool>,
    client: Client,
    ca: Ca,
    /// The Secret of the CA.
    ca_name: ObjectName,
    children: Children,
    statuses: Statuses,
    publisher: Arc<Publisher>,
    world: World,
    compiled: Compiled,
    compiler: Compiler,
    /// Before what failed is tried again.
    pause: Duration,
    /// What all statuses are to be has to be worked out again.
    stale: bool,
    /// Whether children and statuses are ours to write.
    leads: watch::Receiver<bool>,
    /// How quotas stand, as far as is known.
    usage: watch::Receiver<Option<Usage>>,
}

impl Operator {
    async fn run(mut self, mut news: mpsc::Receiver<Change>, ready: impl FnOnce()) {
        let mut ready = Some(ready);
        let mut wait = LOOK;
        let publisher = Arc::clone(&self.publisher);
        let (mut leads, mut usage) = (self.leads.clone(), self.usage.clone());
        let mut external = self.external_metrics.clone();
        loop {
            tokio::select! {
                change = news.recv() => match change {
                    Some(change) => self.world.apply(change),
                    None => return,
                },
                () = publisher.heard.notified() => {}
                Ok(()) = leads.changed() => self.stale = true,
                Ok(()) = usage.changed() => self.stale = true,
                Ok(()) = external.changed() => {
                    let ours = *external.borrow_and_update();
                    self.compile.runtime.iter_mut().for_each(|runtime| runtime.external_metrics = ours);
                    self.world.changed = true;
                }
                Some(done) = self.statuses.done() => {
                    self.statuses.note(done);
                    if *self.leads.borrow() {
                        self.statuses.write(&mut self.world, &rfc3339(Timestamp::now()));
                    }
                    if !self.statuses.well() {
                        wait = self.pause;
                    }
                    continue;
                }
                () = tokio::time::sleep(wait) => self.stale = true,
            }
            while let Ok(change) = news.try_recv() {
                self.world.apply(change);
            }
            if !self.world.is_complete() {
                tracing::debug!(missing = ?self.world.missing().collect::<Vec<_>>(), "waiting for lists");
                continue;
            }
            if !self.keep_ca(Timestamp::now()).await {
                return tracing::info!(
                    "the CA has changed, or it is time for another certificate: starting again"
                );
            }
            wait = self.round().await;
            if let Some(ready) = ready.take() {
                ready();
            }
        }
    }

    /// Whether we can go on with the CA that we started with. Takes care that it goes on for others.
    async fn keep_ca(&self, now: Timestamp) -> bool {
        let Some(secret) = self.world.resources.secrets.get(&self.ca_name) else { return false };
        if !self.ca.is_in(secret) || now >= self.ca.renew_at {
            return false;
        }
        if *self.leads.borrow()
            && let Some(live) = self.world.live("Secret", &self.ca_name)
        {
            let mut secret = Secret::clone(secret);
            secret.metadata.resource_version = Some(live.resource_version.clone());
            if let Err(error) = Ca::rotate(&self.client, &secret, now).await {
                tracing::warn!(%error, "the CA is not renewed; trying again");
            }
        }
        true
    }

    /// Makes the cluster and the gateways what they are to be; how long to wait for news before the next round.
    async fn round(&mut self) -> Duration {
        let begun = Instant::now();
        if std::mem::take(&mut self.world.changed) {
            let mut published = Duration::ZERO;
            let publish = |fleets: &[Fleet], catalog: &Catalog| {
                publish(&self.publisher, &self.world, fleets, catalog);
                published = begun.elapsed();
            };
            let compile = || self.compiler.compile(&self.world.resources, &self.compile, publish);
            self.compiled = tokio::task::block_in_place(compile);
            self.forget();
            let mut fleets = self.world.resources.gateway_fleets.values();
            let by_requests =
                fleets.any(|fleet| fleet.spec.autoscaling.as_ref().is_some_and(Autoscaling::by_requests));
            self.scaled_by_requests
                .send_if_modified(|known| std::mem::replace(known, by_requests) != by_requests);
            self.stale = true;
            tracing::debug!(?published, compiled = ?begun.elapsed(), "compiled");
        }
        if !*self.leads.borrow() {
            return LOOK;
        }
        let well = self.statuses.well() && self.children.trouble.is_empty();
        self.pause = if well { FIRST_PAUSE } else { (self.pause * 2).min(LONGEST_PAUSE) };
        let now = Timestamp::now();
        if let Some((namespace, host)) = &self.analytics {
            self.children.analytics(&self.world, namespace, host, &self.ca, now).await;
        }
        self.children.reconcile(&mut self.world, &self.compiled, &self.ca, now).await;
        // What gateways answer concerns no other kinds.
        let partly = !std::mem::take(&mut self.stale);
        let wanted = self.wanted(now, |kind| !partly || matches!(kind, "Gateway" | "ListenerSet"));
        self.statuses.want(wanted, partly);
        self.statuses.write(&mut self.world, &rfc3339(now));
        tracing::debug!(took = ?begun.elapsed(), partly, well, "a round");
        if self.children.trouble.is_empty() { LOOK } else { self.pause }
    }

    /// Fleets whose Gateway is gone or another's now.
    fn forget(&self) {
        let gateways = &self.world.resources.gateways;
        let ours = |name: &ObjectName| {
            self.compiled.statuses.contains_key(&ObjectRef { kind: "Gateway", name: name.clone() })
        };
        self.publisher.retain(|fleet| {
            let (namespace, name) = fleet.split_once('/').unwrap_or_default();
            let name = ObjectName::new(namespace, name);
            gateways.contains_key(&name) && ours(&name)
        });
    }

    /// The status of every object of these kinds that is ours, as it is to be now.
    fn wanted(&self, now: Timestamp, of: impl Fn(&str) -> bool) -> BTreeMap<Id, Wanted> {
        let ready = Ready::new(&self.world);
        let verdicts: BTreeMap<&ObjectName, Verdict> = self
            .compiled
            .fleets
            .iter()
            .map(|fleet| {
                let serving = self.publisher.serving(&fleet.gateway.to_string());
                let trouble = self.children.trouble.get(&fleet.gateway).map(String::as_str);
                (&fleet.gateway, verdict(&self.world, fleet, &ready, &serving, (trouble, now)))
            })
            .collect();
        let statuses = self.compiled.statuses.iter().filter(|(object, _)| of(object.kind));
        statuses
            .map(|(object, status)| ((object.kind, object.name.clone()), self.one(object, status, &verdicts)))
            .collect()
    }

    fn one(
        &self,
        object: &ObjectRef,
        status: &Arc<Status>,
        verdicts: &BTreeMap<&ObjectName, Verdict>,
    ) -> Wanted {
        let gateway = match object.kind {
            "Gateway" => Some(object.name.clone()),
            "ListenerSet" => gateway_of_set(&self.world.resources, &object.name),
            _ => None,
        };
        let mut wanted = Wanted { status: Arc::clone(status), ..Wanted::default() };
        if let Some(verdict) = gateway.as_ref().and_then(|gateway| verdicts.get(gateway)) {
            let live = self.world.live(object.kind, &object.name).map_or(&Value::Null, |live| &live.status);
            let of_set = (object.kind == "ListenerSet").then(|| format!("/{}", object.name));
            let owner = format!("{}{}", gateway.clone().unwrap_or_default(), of_set.unwrap_or_default());
            wanted.status = answered(status, &owner, verdict, live).into();
            wanted.notices = verdict.alarms(status, &owner, live);
            if object.kind == "Gateway" {
                wanted.fields = gateway_fields(verdict.addresses.clone());
            }
        }
        if let (Some(usage), "Consumer" | "Subscription") = (&*self.usage.borrow(), object.kind) {
            let live = self.world.live(object.kind, &object.name).map_or(&Value::Null, |live| &live.status);
            Arc::make_mut(&mut wanted.status).conditions.extend(usage.conditions(object.kind, &object.name));
            wanted.fields.insert("usage".to_owned(), usage.field(object.kind, &object.name, live));
            wanted.notices = usage.crossings(object.kind, &object.name, live);
        }
        if object.kind == "GatewayClass" {
            wanted.fields = features::fields();
        }
        wanted
    }
}

fn rfc3339(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Gives gateways and analytics what they are to serve and to know.
fn publish(publisher: &Publisher, world: &World, fleets: &[Fleet], catalog: &Catalog) {
    for fleet in fleets {
        let name = fleet.gateway.to_string();
        let same =
            publisher.follow(&name).borrow().as_ref().is_some_and(|s| s.version == fleet.snapshot.version);
        let findings = if same { Vec::new() } else { lint(&fleet.snapshot) };
        if let Some(finding) = findings.first() {
            tracing::error!(fleet = %fleet.gateway, %finding, "not published: this is a defect of the compiler");
            continue;
        }
        let live = world.live("Gateway", &fleet.gateway);
        let generation = live.and_then(|live| live.generation).unwrap_or_default();
        publisher.publish(&name, &fleet.snapshot, generation);
    }
    publisher.catalog.send_if_modified(|known| {
        let new = known.version != catalog.version;
        if new {
            *known = Arc::new(catalog.clone());
        }
        new
    });
}

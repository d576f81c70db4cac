//! The loop: wait for news, compile, publish, apply children, write statuses.
//!
//! One round takes in all news that there is. A round without news costs nothing; what failed is tried again with growing
//! pauses. Restart or absence of the operator changes nothing that is served. Of several operators all compile and feed
//! gateways, and the one that leads writes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crds::gateway_fleet::Autoscaling;
use crds::k8s_openapi::api::core::v1::Secret;
use gateway_snapshot::{Catalog, lint, lint_after};
use jiff::Timestamp;
use kube::Client;
use operator_compile::resources::ObjectName;
use operator_compile::{Compiled, Compiler, Fleet, ObjectRef, Status};
use serde_json::Value;
use tokio::sync::{mpsc, watch};

use crate::children::Children;
use crate::features;
use crate::identity::Ca;
use crate::publisher::Publisher;
use crate::serving::{Ready, Verdict, answered, generation, verdict};
use crate::statuses::{Statuses, Wanted, gateway_fields, gateway_of_set};
use crate::usage::Usage;
use crate::watch::Change;
use crate::world::{Id, World};

/// A round at least this often: certificates near their end.
const LOOK: Duration = Duration::from_mins(10);
/// Without a change for so long, children and statuses follow.
const QUIET: Duration = Duration::from_millis(25);
/// They follow after so long in any case.
const UNTOLD: Duration = Duration::from_millis(500);
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The loop and what it works with.
pub(crate) struct Operator {
    /// Namespace of analytics, and the host by which gateways reach it.
    pub(crate) analytics: Option<(String, String)>,
    pub(crate) compile: operator_compile::Options,
    /// Whether some fleet asks to be scaled by its requests.
    pub(crate) scaled_by_requests: watch::Sender<bool>,
    /// Whether external metrics are ours to serve.
    pub(crate) external_metrics: watch::Receiver<bool>,
    pub(crate) client: Client,
    pub(crate) ca: Ca,
    /// The Secret of the CA.
    pub(crate) ca_name: ObjectName,
    pub(crate) children: Children,
    pub(crate) statuses: Statuses,
    pub(crate) publisher: Arc<Publisher>,
    pub(crate) world: World,
    pub(crate) compiled: Compiled,
    pub(crate) compiler: Compiler,
    /// Since when children and statuses are behind what is served.
    pub(crate) untold: Option<Instant>,
    /// Before what failed is tried again.
    pub(crate) pause: Duration,
    /// What all statuses are to be has to be worked out again.
    pub(crate) stale: bool,
    /// Whether children and statuses are ours to write.
    pub(crate) leads: watch::Receiver<bool>,
    /// How quotas stand, as far as is known.
    pub(crate) usage: watch::Receiver<Option<Usage>>,
}

impl Operator {
    /// Until nobody watches any more, or the CA or our certificate of it is another's. Calls `ready` after the first round.
    pub(crate) async fn run(mut self, mut news: mpsc::Receiver<Change>, ready: impl FnOnce()) {
        let mut ready = Some(ready);
        let mut wait = LOOK;
        let publisher = Arc::clone(&self.publisher);
        let (mut leads, mut usage) = (self.leads.clone(), self.usage.clone());
        let mut external = self.external_metrics.clone();
        loop {
            let mut quiet = false;
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
                () = tokio::time::sleep(wait) => (quiet, self.stale) = (true, true),
            }
            while let Ok(change) = news.try_recv() {
                self.world.apply(change);
            }
            if !self.world.is_complete() {
                tracing::debug!(missing = ?self.world.missing().collect::<Vec<_>>(), "waiting for lists");
                continue;
            }
            if std::mem::take(&mut self.world.changed) {
                self.serve();
                self.untold.get_or_insert_with(Instant::now);
            }
            // While changes come one after the other, telling about each would keep the next from being served.
            if self.untold.is_some_and(|since| !quiet && since.elapsed() < UNTOLD) {
                wait = QUIET;
                continue;
            }
            // A changed Secret is a change like others, and time passes: answers of gateways say nothing of the CA.
            if (self.stale || self.untold.is_some()) && !self.keep_ca(Timestamp::now()).await {
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

    /// Gives gateways and analytics what there is now.
    fn serve(&mut self) {
        let begun = Instant::now();
        let compile = || self.compiler.serve(&self.world.resources, &self.compile);
        let (fleets, catalog) = tokio::task::block_in_place(compile);
        let compiled = begun.elapsed();
        publish(&self.publisher, &self.world, &fleets, catalog);
        for fleet in &fleets {
            let version = &fleet.snapshot.version;
            tracing::debug!(fleet = fleet.key, version, ?compiled, took = ?begun.elapsed(), "published");
        }
    }

    /// Makes children and statuses what they are to be; how long to wait for news before the next round.
    async fn round(&mut self) -> Duration {
        let begun = Instant::now();
        if self.untold.take().is_some() {
            let compile = || self.compiler.compile(&self.world.resources, &self.compile);
            self.compiled = tokio::task::block_in_place(compile);
            self.forget();
            let mut fleets = self.world.resources.gateway_fleets.values();
            let by_requests =
                fleets.any(|fleet| fleet.spec.autoscaling.as_ref().is_some_and(Autoscaling::by_requests));
            self.scaled_by_requests
                .send_if_modified(|known| std::mem::replace(known, by_requests) != by_requests);
            self.stale = true;
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

    /// Fleets that are no more; but a mistake in a Gateway takes nothing from what its fleet serves.
    fn forget(&self) {
        let keys: BTreeSet<&str> = self.compiled.fleets.iter().map(|fleet| &*fleet.key).collect();
        let kept = |key: &str| self.compiled.kept.iter().any(|owner| Fleet::may_be_of(key, owner));
        self.publisher.retain(|fleet| keys.contains(fleet) || kept(fleet));
    }

    /// The status of every object of these kinds that is ours, as it is to be now.
    fn wanted(&self, now: Timestamp, of: impl Fn(&str) -> bool) -> BTreeMap<Id, Wanted> {
        let ready = Ready::new(&self.world);
        let mut verdicts: BTreeMap<&ObjectName, Verdict> = BTreeMap::new();
        for fleet in &self.compiled.fleets {
            let serving = self.publisher.serving(&fleet.key);
            let trouble = self.children.trouble.get(&fleet.key).map(String::as_str);
            let verdict = |gateway| verdict(&self.world, (fleet, gateway), &ready, &serving, (trouble, now));
            verdicts.extend(fleet.gateways.iter().map(|gateway| (gateway, verdict(gateway))));
        }
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
fn publish(publisher: &Publisher, world: &World, fleets: &[Fleet], catalog: Arc<Catalog>) {
    for fleet in fleets {
        let findings = match &*publisher.follow(&fleet.key).borrow() {
            Some(before) if before.version == fleet.snapshot.version => Vec::new(),
            Some(before) => lint_after(before, &fleet.snapshot),
            None => lint(&fleet.snapshot),
        };
        if let Some(finding) = findings.first() {
            tracing::error!(fleet = fleet.key, %finding, "not published: this is a defect of the compiler");
            continue;
        }
        let generations = fleet.gateways.iter().map(|gateway| (gateway.clone(), generation(world, gateway)));
        publisher.publish(&fleet.key, &fleet.snapshot, generations.collect());
    }
    publisher.catalog.send_if_modified(|known| {
        let new = known.version != catalog.version;
        if new {
            *known = catalog;
        }
        new
    });
}

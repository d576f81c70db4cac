//! Children of fleets: applied when they differ from what was applied last, or when somebody else changed them; deleted
//! when their fleet needs them no more.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use crds::k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use crds::k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use crds::k8s_openapi::api::core::v1::{Secret, Service, ServiceAccount};
use crds::k8s_openapi::api::networking::v1::NetworkPolicy;
use crds::k8s_openapi::api::policy::v1::PodDisruptionBudget;
use futures::StreamExt;
use jiff::Timestamp;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams};
use operator_compile::resources::ObjectName;
use operator_compile::{Child, Compiled, Fleet, ObjectRef};
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

use crate::identity::{Ca, Identity};
use crate::world::{Id, World};

/// Field manager of everything that we write.
pub(crate) const MANAGER: &str = "turnpike";
/// Fleets that are worked on at once.
const AT_ONCE: usize = 8;
/// What stands for analytics among the keys of fleets.
const ANALYTICS: &str = "analytics";
/// Says when the certificate in a Secret is to be issued anew.
const RENEW_AT: &str = "turnpike.dev/renew-at";

/// The kinds of children, and how an API server calls them; Certificates of cert-manager if we make them.
pub(crate) fn apis(certificates: bool) -> Vec<(&'static str, ApiResource)> {
    let mut all = vec![
        ("ServiceAccount", ApiResource::erase::<ServiceAccount>(&())),
        ("Deployment", ApiResource::erase::<Deployment>(&())),
        ("StatefulSet", ApiResource::erase::<StatefulSet>(&())),
        ("PodDisruptionBudget", ApiResource::erase::<PodDisruptionBudget>(&())),
        ("NetworkPolicy", ApiResource::erase::<NetworkPolicy>(&())),
        ("HorizontalPodAutoscaler", ApiResource::erase::<HorizontalPodAutoscaler>(&())),
        ("Service", ApiResource::erase::<Service>(&())),
        ("Secret", ApiResource::erase::<Secret>(&())),
    ];
    if certificates {
        let kind = GroupVersionKind::gvk("cert-manager.io", "v1", "Certificate");
        all.push(("Certificate", ApiResource::from_gvk(&kind)));
    }
    all
}

/// What was applied last, and what could not be.
pub(crate) struct Children {
    client: kube::Client,
    apis: BTreeMap<&'static str, ApiResource>,
    applied: BTreeMap<Id, Applied>,
    /// Why children could not be applied, by the key of their fleet; with a name behind it where that is of no concern to the
    /// fleet itself.
    pub(crate) trouble: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Applied {
    /// Of what was applied.
    hash: u64,
    /// What the API server made of it.
    generation: Option<i64>,
}

impl Children {
    /// Nothing applied so far.
    pub(crate) fn new(client: kube::Client, certificates: bool) -> Self {
        Self {
            client,
            apis: apis(certificates).into_iter().collect(),
            applied: BTreeMap::new(),
            trouble: BTreeMap::new(),
        }
    }

    /// Gives analytics, which gateways reach as `host`, an identity in `namespace`.
    pub(crate) async fn analytics(
        &mut self,
        world: &World,
        namespace: &str,
        host: &str,
        ca: &Ca,
        now: Timestamp,
    ) {
        let Some(child) = analytics_identity(world, namespace, host, ca, now) else {
            self.trouble.remove(ANALYTICS);
            return;
        };
        if self.is_on_its_way(world, &id(&child)) {
            return;
        }
        let (applied, trouble) = self.apply_all(ANALYTICS, vec![child]).await;
        self.applied.extend(applied);
        self.trouble.extend(trouble);
    }

    /// Applies and deletes what has to be.
    pub(crate) async fn reconcile(
        &mut self,
        world: &mut World,
        compiled: &Compiled,
        ca: &Ca,
        now: Timestamp,
    ) {
        let disturbed = std::mem::take(&mut world.disturbed);
        for id in disturbed {
            let live = world.live(id.0, &id.1);
            let as_applied = self
                .applied
                .get(&id)
                .is_some_and(|applied| live.is_some_and(|live| live.generation == applied.generation));
            if !as_applied {
                self.applied.remove(&id);
            }
        }
        let mut due: Vec<(&Fleet, Vec<Child>)> = Vec::new();
        for fleet in &compiled.fleets {
            let identity = fleet_identity(world, fleet, ca, now);
            let identity = identity.filter(|child| !self.is_on_its_way(world, &id(child)));
            let children = identity.into_iter().chain(fleet.children.iter().cloned());
            let changed: Vec<Child> = children.filter(|child| self.differs(child)).collect();
            if !changed.is_empty() || self.trouble.contains_key(&fleet.key) {
                due.push((fleet, changed));
            }
        }
        let this = &*self;
        let work = |(fleet, children)| async move {
            let fleet: &Fleet = fleet;
            this.apply_all(&fleet.key, children).await
        };
        let results: Vec<_> = futures::stream::iter(due).map(work).buffer_unordered(AT_ONCE).collect().await;
        // What was in trouble was due.
        self.trouble.retain(|key, _| key == ANALYTICS);
        for (applied, trouble) in results {
            self.applied.extend(applied);
            self.trouble.extend(trouble);
        }
        self.delete(world, compiled).await;
    }

    /// A Secret that was applied a moment ago and of which we have not heard yet.
    fn is_on_its_way(&self, world: &World, id: &Id) -> bool {
        self.applied.contains_key(id) && !world.resources.secrets.contains_key(&id.1)
    }

    fn differs(&self, child: &Child) -> bool {
        self.applied.get(&id(child)).is_none_or(|applied| applied.hash != hash(&child.object))
    }

    /// Applies one after the other, in order, until one fails; what was applied, and the trouble by whose it is. What belongs
    /// to a ListenerSet is no trouble of the fleet: its author may be another than the Gateway's.
    async fn apply_all(
        &self,
        fleet: &str,
        children: Vec<Child>,
    ) -> (Vec<(Id, Applied)>, Vec<(String, String)>) {
        let (mut done, mut trouble) = (Vec::new(), Vec::new());
        for child in children {
            let id = id(&child);
            let params = PatchParams::apply(MANAGER).force();
            match self.api(&id).patch(&id.1.name, &params, &Patch::Apply(&child.object)).await {
                Ok(object) => {
                    done.push((
                        id,
                        Applied { hash: hash(&child.object), generation: object.metadata.generation },
                    ));
                }
                Err(error) => {
                    tracing::warn!(fleet, kind = child.kind, %error, "a child cannot be applied; trying again");
                    let text = format!("{} {} cannot be applied: {error}", child.kind, id.1);
                    if child.object["metadata"]["ownerReferences"][0]["kind"] == "ListenerSet" {
                        trouble.push((format!("{fleet} {}", id.1), text));
                        continue;
                    }
                    trouble.push((fleet.to_owned(), text));
                    return (done, trouble);
                }
            }
        }
        (done, trouble)
    }

    fn api(&self, (kind, name): &Id) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &name.namespace, &self.apis[kind])
    }

    /// Deletes children that no fleet has a use for, unless it is a mistake that keeps it from having one. What belongs to an
    /// object that is deleted, the cluster deletes.
    async fn delete(&mut self, world: &World, compiled: &Compiled) {
        let wanted: BTreeSet<Id> = compiled
            .fleets
            .iter()
            .flat_map(|fleet| {
                let secret = ("Secret", ObjectName::new(&fleet.namespace, secret_name(fleet)));
                fleet.children.iter().map(id).chain([secret])
            })
            .collect();
        let gateways = world.resources.gateways.iter().map(|(name, it)| ("Gateway", name, &it.metadata));
        let fleets = world.resources.gateway_fleets.iter();
        let fleets = fleets.map(|(name, it)| ("GatewayFleet", name, &it.metadata));
        let sets = world.resources.listener_sets.iter();
        let sets = sets.map(|(name, it)| ("ListenerSet", name, &it.metadata));
        let decided = gateways
            .chain(fleets)
            .chain(sets)
            .filter(|(kind, name, _)| !compiled.kept.contains(&ObjectRef { kind, name: (*name).clone() }));
        let decided: BTreeSet<&str> =
            decided.filter_map(|(_, _, metadata)| metadata.uid.as_deref()).collect();
        let mut useless: Vec<Id> = Vec::new();
        for kind in self.apis.keys() {
            for (name, live) in world.all(kind) {
                let decided = live.owner.as_deref().is_some_and(|uid| decided.contains(uid));
                if decided && !wanted.contains(&(kind, name.clone())) {
                    useless.push((kind, name.clone()));
                }
            }
        }
        for id in useless {
            self.applied.remove(&id);
            match self.api(&id).delete(&id.1.name, &DeleteParams::background()).await {
                Ok(_) => tracing::info!(kind = id.0, name = %id.1, "deleted: no fleet needs it"),
                Err(error) => tracing::warn!(kind = id.0, name = %id.1, %error, "cannot be deleted"),
            }
        }
    }
}

fn id(child: &Child) -> Id {
    let text = |field: &str| child.object["metadata"][field].as_str().unwrap_or_default();
    (child.kind, ObjectName::new(text("namespace"), text("name")))
}

fn hash(object: &Value) -> u64 {
    xxh3_64(object.to_string().as_bytes())
}

fn secret_name(fleet: &Fleet) -> String {
    format!("{}-identity", fleet.name)
}

/// The Secret by which a fleet's processes are known, when the one that there is will not do.
fn fleet_identity(world: &World, fleet: &Fleet, ca: &Ca, now: Timestamp) -> Option<Child> {
    let mut metadata = fleet.children.first()?.object["metadata"].clone();
    metadata["name"] = secret_name(fleet).into();
    identity(world, metadata, ca, now, || ca.fleet(&fleet.key, now))
}

/// The same for analytics, which gateways reach as `host`.
fn analytics_identity(world: &World, namespace: &str, host: &str, ca: &Ca, now: Timestamp) -> Option<Child> {
    let labels =
        json!({"app.kubernetes.io/managed-by": MANAGER, "app.kubernetes.io/name": "turnpike-analytics"});
    let metadata = json!({"name": "turnpike-analytics-identity", "namespace": namespace, "labels": labels});
    identity(world, metadata, ca, now, || ca.analytics(host, now))
}

fn identity(
    world: &World,
    mut metadata: Value,
    ca: &Ca,
    now: Timestamp,
    issue: impl FnOnce() -> Result<(Identity, Timestamp), rcgen::Error>,
) -> Option<Child> {
    let text = |field: &str| metadata[field].as_str().unwrap_or_default();
    let name = ObjectName::new(text("namespace"), text("name"));
    if world.resources.secrets.get(&name).is_some_and(|secret| holds(secret, ca, now)) {
        return None;
    }
    let (identity, renew_at) = match issue() {
        Ok(issued) => issued,
        Err(error) => {
            tracing::error!(%name, %error, "no certificate can be issued");
            return None;
        }
    };
    metadata["annotations"] = json!({RENEW_AT: renew_at.to_string()});
    let encoded = |text: &str| BASE64_STANDARD.encode(text);
    let object = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "type": "Opaque",
        "data": {
            "tls.crt": encoded(&identity.chain),
            "tls.key": encoded(&identity.key),
            "ca.crt": encoded(&ca.trusted),
            "token": encoded(&hex::encode(rand::random::<[u8; 32]>())),
        },
    });
    Some(Child { kind: "Secret", object })
}

/// Whether a Secret holds an identity of this CA for some time to come.
fn holds(secret: &Secret, ca: &Ca, now: Timestamp) -> bool {
    let text =
        |key: &str| secret.data.as_ref().and_then(|data| data.get(key)).map(|bytes| bytes.0.as_slice());
    let annotations = secret.metadata.annotations.as_ref();
    let renew_at = annotations.and_then(|all| all.get(RENEW_AT)?.parse::<Timestamp>().ok());
    let whole = ["tls.crt", "tls.key", "token"].iter().all(|key| text(key).is_some());
    whole && text("ca.crt") == Some(ca.trusted.as_bytes()) && renew_at.is_some_and(|at| at > now)
}

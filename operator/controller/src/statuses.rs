//! Writing statuses: only those that differ, only our part of them, and never over a change that we have not seen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use operator_compile::Status;
use operator_compile::resources::{ObjectName, Resources};
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;

use crate::children::MANAGER;
use crate::events::{Events, Notice};
use crate::merge::{Writer, merged};
use crate::world::{Id, World};

/// Writes under way at once.
const AT_ONCE: usize = 16;

/// Who writes statuses, and what is wanted. Writes go on while others wait for nothing: what gateways are to serve does not
/// wait for the statuses of thousands of routes.
pub(crate) struct Statuses {
    api: Arc<StatusApi>,
    controller: String,
    wanted: BTreeMap<Id, Wanted>,
    /// To be looked at.
    due: BTreeSet<Id>,
    /// To be tried again, after a pause.
    failed: BTreeSet<Id>,
    writing: JoinSet<Done>,
    /// Of those that are being written.
    under_way: BTreeSet<Id>,
}

/// What an object's status is to be.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Wanted {
    pub(crate) status: Arc<Status>,
    /// Further fields, as they are to be.
    pub(crate) fields: Map<String, Value>,
    /// Told in Events once it is written.
    pub(crate) notices: Vec<Notice>,
}

/// What came of a write.
#[derive(Debug)]
pub(crate) struct Done {
    id: Id,
    /// There is nothing left to do: written, or the next event of the object will tell.
    well: bool,
}

impl Statuses {
    /// Nothing written so far.
    pub(crate) fn new(client: kube::Client, controller: &str, replica: &str) -> Self {
        let events = Events::new(client.clone(), controller, replica);
        Self {
            api: Arc::new(StatusApi { client, apis: Resources::apis().into_iter().collect(), events }),
            controller: controller.to_owned(),
            wanted: BTreeMap::new(),
            due: BTreeSet::new(),
            failed: BTreeSet::new(),
            writing: JoinSet::new(),
            under_way: BTreeSet::new(),
        }
    }

    /// Whether the API server takes what it is given.
    pub(crate) fn well(&self) -> bool {
        self.failed.is_empty()
    }

    /// From now on these are wanted, instead of all or (`partly`) besides the others.
    pub(crate) fn want(&mut self, wanted: BTreeMap<Id, Wanted>, partly: bool) {
        let differs = |(id, wanted): &(&Id, &Wanted)| self.wanted.get(*id) != Some(*wanted);
        self.due.extend(wanted.iter().filter(differs).map(|(id, _)| id.clone()));
        if partly {
            self.wanted.extend(wanted);
        } else {
            self.due.extend(self.wanted.keys().filter(|id| !wanted.contains_key(*id)).cloned());
            self.wanted = wanted;
        }
        self.due.append(&mut self.failed);
    }

    /// Begins to write what differs, as much as may be under way. `now` in RFC 3339.
    pub(crate) fn write(&mut self, world: &mut World, now: &str) {
        self.due.append(&mut world.touched);
        let mut later = BTreeSet::new();
        while self.under_way.len() < AT_ONCE
            && let Some(id) = self.due.pop_first()
        {
            if self.under_way.contains(&id) {
                later.insert(id);
                continue;
            }
            let Some(patch) = self.patch(world, &id, now) else { continue };
            self.under_way.insert(id.clone());
            let notices = self.wanted.get(&id).map(|wanted| wanted.notices.clone()).unwrap_or_default();
            let uid = world.live(id.0, &id.1).map(|live| live.uid.clone()).unwrap_or_default();
            let api = Arc::clone(&self.api);
            self.writing.spawn(async move { api.write(id, &patch, &uid, &notices).await });
        }
        self.due.append(&mut later);
    }

    /// The next write that ends; none when none is under way.
    pub(crate) async fn done(&mut self) -> Option<Done> {
        self.writing.join_next().await?.ok()
    }

    /// Takes note of it.
    pub(crate) fn note(&mut self, Done { id, well }: Done) {
        self.under_way.remove(&id);
        if !well {
            self.failed.insert(id);
        } else if let Some(wanted) = self.wanted.get_mut(&id) {
            wanted.notices.clear();
        }
    }

    /// The merge patch that an object needs, if it needs one.
    fn patch(&self, world: &World, (kind, name): &Id, now: &str) -> Option<Value> {
        let live = world.live(kind, name)?;
        let none = Wanted::default();
        let wanted = self.wanted.get(&(*kind, name.clone())).unwrap_or(&none);
        let writer = Writer { controller: &self.controller, now };
        let mut status = merged(writer, &wanted.status, &live.status);
        status.extend(wanted.fields.clone());
        let differs = |(field, value): (&String, &Value)| live.status[field] != *value;
        status
            .iter()
            .any(differs)
            .then(|| json!({"metadata": {"resourceVersion": live.resource_version}, "status": status}))
    }
}

/// Where statuses are written.
struct StatusApi {
    client: kube::Client,
    apis: BTreeMap<&'static str, ApiResource>,
    events: Events,
}

impl StatusApi {
    async fn write(&self, id: Id, patch: &Value, uid: &str, notices: &[Notice]) -> Done {
        let Some(resource) = self.apis.get(id.0) else { return Done { id, well: true } };
        let well = self.send(resource, &id, patch).await;
        if well {
            self.events.warn(resource, &id.1, uid, notices).await;
        }
        Done { id, well }
    }

    async fn send(&self, resource: &ApiResource, (kind, name): &Id, patch: &Value) -> bool {
        let api: Api<DynamicObject> = if name.namespace.is_empty() {
            Api::all_with(self.client.clone(), resource)
        } else {
            Api::namespaced_with(self.client.clone(), &name.namespace, resource)
        };
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        match api.patch_status(&name.name, &params, &Patch::Merge(patch)).await {
            Ok(_) => true,
            // Somebody else wrote or deleted it in the meantime, and we are about to hear of it.
            Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => true,
            Err(error) => {
                tracing::warn!(kind, %name, %error, "a status cannot be written; trying again");
                false
            }
        }
    }
}

/// What a Gateway's status has besides conditions and listeners.
pub(crate) fn gateway_fields(addresses: Vec<Value>) -> Map<String, Value> {
    Map::from_iter([(
        "addresses".to_owned(),
        if addresses.is_empty() { Value::Null } else { addresses.into() },
    )])
}

/// The Gateway that a ListenerSet belongs to.
pub(crate) fn gateway_of_set(resources: &Resources, set: &ObjectName) -> Option<ObjectName> {
    let parent = &resources.listener_sets.get(set)?.spec.parent_ref;
    Some(ObjectName::new(parent.namespace.as_deref().unwrap_or(&set.namespace), &parent.name))
}

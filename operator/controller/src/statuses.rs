//! Writing statuses: only those that differ, only our part of them, and never over a change that we have not seen.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use operator_compile::Status;
use operator_compile::resources::{ObjectName, Resources};
use serde_json::{Map, Value, json};

use crate::children::MANAGER;
use crate::events::{Events, Notice};
use crate::merge::{Writer, merged};
use crate::world::{Id, World};

/// Writes under way at once.
const AT_ONCE: usize = 16;
/// Writes of one call: what gateways are to serve must not wait for the statuses of thousands of routes.
const AT_A_TIME: usize = 128;

/// Who writes statuses, and what was wanted last.
pub(crate) struct Statuses {
    client: kube::Client,
    controller: String,
    apis: BTreeMap<&'static str, ApiResource>,
    wanted: BTreeMap<Id, Wanted>,
    /// To be tried again, behind others.
    failed: BTreeSet<Id>,
    events: Events,
}

/// What an object's status is to be.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Wanted {
    pub(crate) status: Status,
    /// Further fields, as they are to be.
    pub(crate) fields: Map<String, Value>,
    /// Told in Events once it is written.
    pub(crate) notices: Vec<Notice>,
}

/// What came of a round of writes.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) count: usize,
    /// To be tried again after a pause: the API server did not take them.
    pub(crate) failed: usize,
    /// For the next call.
    pub(crate) left: usize,
}

impl Statuses {
    /// Nothing written so far.
    pub(crate) fn new(client: kube::Client, controller: &str, replica: &str) -> Self {
        let apis = Resources::apis().into_iter().collect();
        let events = Events::new(client.clone(), controller, replica);
        Self {
            client,
            controller: controller.to_owned(),
            apis,
            wanted: BTreeMap::new(),
            failed: BTreeSet::new(),
            events,
        }
    }

    /// Writes what differs, as much as one call may.
    pub(crate) async fn write(
        &mut self,
        world: &mut World,
        wanted: BTreeMap<Id, Wanted>,
        now: &str,
    ) -> Written {
        let mut due: BTreeSet<Id> = std::mem::take(&mut world.touched);
        due.extend(
            wanted
                .iter()
                .filter(|(id, status)| self.wanted.get(*id) != Some(*status))
                .map(|(id, _)| id.clone()),
        );
        due.extend(self.wanted.keys().filter(|id| !wanted.contains_key(*id)).cloned());
        self.wanted = wanted;
        let mut patches: Vec<(Id, Value)> = Vec::new();
        let mut again = std::mem::take(&mut self.failed);
        while patches.len() < AT_A_TIME
            && let Some(id) = due.pop_first().or_else(|| again.pop_first())
        {
            patches.extend(self.patch(world, &id, now).map(|patch| (id, patch)));
        }
        let (count, left) = (patches.len(), due.len());
        let this = &*self;
        let write = |(id, patch): (Id, Value)| async move { (this.send(&id, &patch).await, id) };
        let results: Vec<_> =
            futures::stream::iter(patches).map(write).buffer_unordered(AT_ONCE).collect().await;
        for (_, id) in results.iter().filter(|(done, _)| *done) {
            self.tell(world, id).await;
        }
        again.extend(results.into_iter().filter(|(done, _)| !done).map(|(_, id)| id));
        self.failed = again;
        world.touched.extend(due);
        Written { count, failed: self.failed.len(), left }
    }

    async fn tell(&self, world: &World, id: &Id) {
        let notices = self.wanted.get(id).map_or(&[][..], |wanted| &wanted.notices);
        if let (Some(live), Some(api), false) =
            (world.live(id.0, &id.1), self.apis.get(id.0), notices.is_empty())
        {
            self.events.warn(api, &id.1, &live.uid, notices).await;
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

    /// Whether there is nothing left to do: written, or the next event of the object will tell.
    async fn send(&self, (kind, name): &Id, patch: &Value) -> bool {
        let Some(resource) = self.apis.get(kind) else { return true };
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

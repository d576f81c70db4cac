//! What the cluster holds, as far as it has been told.
//!
//! In: changes. Out: [`Resources`] for the compiler, and beside them what it must not see: statuses, resource versions,
//! and the children that there are.

use std::collections::{BTreeMap, BTreeSet};

use operator_compile::resources::{ObjectName, Resources};
use serde_json::Value;

use crate::watch::{Change, Scope};

/// Kind and name of an object.
pub(crate) type Id = (&'static str, ObjectName);

/// The cluster.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) resources: Resources,
    live: BTreeMap<Id, Live>,
    /// Kinds that have not been listed yet, and where.
    unlisted: BTreeSet<(&'static str, Scope)>,
    /// What the compiler reads has changed.
    pub(crate) changed: bool,
    /// Objects whose status may differ from what it should be.
    pub(crate) touched: BTreeSet<Id>,
    /// Children that were changed or deleted, by us or others.
    pub(crate) disturbed: BTreeSet<Id>,
}

/// An object as the API server has it, without what the compiler reads.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Live {
    pub(crate) resource_version: String,
    pub(crate) generation: Option<i64>,
    pub(crate) uid: String,
    /// `uid` of the Gateway, ListenerSet or GatewayFleet that it belongs to: children of ours only.
    pub(crate) owner: Option<String>,
    pub(crate) status: Value,
}

impl World {
    /// A world that waits for these lists.
    pub(crate) fn waiting_for(lists: impl IntoIterator<Item = (&'static str, Scope)>) -> Self {
        Self { unlisted: lists.into_iter().collect(), ..Self::default() }
    }

    /// Whether every kind has been listed: before that, what is missing may only not have been told.
    pub(crate) fn is_complete(&self) -> bool {
        self.unlisted.is_empty()
    }

    /// Lists still waited for.
    pub(crate) fn missing(&self) -> impl Iterator<Item = &(&'static str, Scope)> {
        self.unlisted.iter()
    }

    /// The object's status and versions, if it is there.
    pub(crate) fn live(&self, kind: &'static str, name: &ObjectName) -> Option<&Live> {
        self.live.get(&(kind, name.clone()))
    }

    /// Everything of a kind.
    pub(crate) fn all(&self, kind: &'static str) -> impl Iterator<Item = (&ObjectName, &Live)> {
        let first = (kind, ObjectName::default());
        self.live
            .range(first..)
            .take_while(move |((of, _), _)| *of == kind)
            .map(|((_, name), live)| (name, live))
    }

    pub(crate) fn apply(&mut self, change: Change) {
        match change {
            Change::Put(kind, name, object) => self.put(kind, &name, object),
            Change::Gone(kind, name) => self.remove(kind, &name),
            Change::Absent(kind, scope) => self.list(kind, scope, Vec::new()),
            Change::Listed(kind, scope, objects) => self.list(kind, scope, objects),
        }
    }

    fn list(&mut self, kind: &'static str, scope: Scope, objects: Vec<(ObjectName, Value)>) {
        let within = |name: &ObjectName| scope.as_ref().is_none_or(|namespace| name.namespace == *namespace);
        self.changed = true;
        let there: BTreeSet<ObjectName> = objects.iter().map(|(name, _)| name.clone()).collect();
        let known = self.all(kind).map(|(name, _)| name).filter(|name| within(name));
        let gone: Vec<ObjectName> = known.filter(|name| !there.contains(name)).cloned().collect();
        self.unlisted.remove(&(kind, scope));
        for name in gone {
            self.remove(kind, &name);
        }
        for (name, object) in objects {
            self.put(kind, &name, object);
        }
    }

    fn put(&mut self, kind: &'static str, name: &ObjectName, mut object: Value) {
        let id = (kind, name.clone());
        let metadata = object["metadata"].as_object_mut();
        let version = metadata.and_then(|metadata| metadata.remove("resourceVersion"));
        let live = Live {
            resource_version: version.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned(),
            generation: object["metadata"]["generation"].as_i64(),
            uid: object["metadata"]["uid"].as_str().unwrap_or_default().to_owned(),
            owner: owner(&object),
            status: object.as_object_mut().and_then(|object| object.remove("status")).unwrap_or(Value::Null),
        };
        let before = self.live.insert(id.clone(), live.clone());
        if before.as_ref().is_none_or(|before| before.status != live.status) {
            self.touched.insert(id.clone());
        }
        if before.is_none_or(|before| before.generation != live.generation) {
            self.disturbed.insert(id);
        }
        match self.resources.put(kind, name, object) {
            Ok(changed) => self.changed |= changed,
            Err(error) => {
                tracing::warn!(kind, %name, %error, "an object does not fit its type and is left out");
                self.changed |= self.resources.remove(kind, name);
            }
        }
    }

    fn remove(&mut self, kind: &'static str, name: &ObjectName) {
        let id = (kind, name.clone());
        self.live.remove(&id);
        self.touched.remove(&id);
        self.disturbed.insert(id);
        self.changed |= self.resources.remove(kind, name);
    }
}

/// Of objects that we made: others may belong to Gateways, too.
fn owner(object: &Value) -> Option<String> {
    if object["metadata"]["labels"]["app.kubernetes.io/managed-by"] != "turnpike" {
        return None;
    }
    let owners = object["metadata"]["ownerReferences"].as_array()?;
    let of_ours = |owner: &&Value| {
        owner["kind"].as_str().is_some_and(|kind| ["Gateway", "GatewayFleet", "ListenerSet"].contains(&kind))
    };
    let owner = owners.iter().filter(of_ours).find(|owner| owner["controller"] == true)?;
    Some(owner["uid"].as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_of_one_namespace_is_silent_about_others() {
        let kind = "Service";
        let service = |namespace: &str| (ObjectName::new(namespace, "s"), json!({"metadata": {"uid": "1"}}));
        let scope = |namespace: &str| Some(namespace.to_owned());
        let mut world = World::waiting_for([(kind, scope("a")), (kind, scope("b"))]);
        world.apply(Change::Listed(kind, scope("a"), vec![service("a")]));
        assert!(!world.is_complete());
        world.apply(Change::Listed(kind, scope("b"), vec![service("b")]));
        assert!(world.is_complete());
        assert_eq!(world.all(kind).count(), 2);
        world.apply(Change::Listed(kind, scope("a"), Vec::new()));
        assert_eq!(world.all(kind).map(|(name, _)| name.namespace.as_str()).collect::<Vec<_>>(), ["b"]);
        world.apply(Change::Listed(kind, None, Vec::new()));
        assert_eq!(world.all(kind).count(), 0);
    }
}

//! Watches: one for each kind, from its first list on for as long as the operator lives.
//!
//! In: an API server. Out: [`Change`]s. What an API server cannot do for a while is tried again with growing pauses; a kind
//! that it does not know is absent until it does.

use std::pin::pin;

use futures::StreamExt;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, Resource};
use operator_compile::resources::ObjectName;
use serde_json::Value;
use tokio::sync::mpsc;

/// Objects are described by JSON, so that one that does not fit its type keeps no other from us.
#[derive(Debug)]
pub(crate) enum Change {
    /// All objects of a kind within a scope; others of it are gone.
    Listed(&'static str, Scope, Vec<(ObjectName, Value)>),
    /// An object is new or changed.
    Put(&'static str, ObjectName, Value),
    /// An object is gone.
    Gone(&'static str, ObjectName),
    /// The API server does not know the kind.
    Absent(&'static str, Scope),
}

/// A namespace, or none: the whole cluster.
pub(crate) type Scope = Option<String>;

/// Kinds that belong to no namespace.
const OF_THE_CLUSTER: [&str; 2] = ["GatewayClass", "Namespace"];

/// What to watch.
#[derive(Debug, Clone)]
pub(crate) struct Watched {
    /// For [`Change`]s.
    pub(crate) kind: &'static str,
    pub(crate) resource: ApiResource,
    /// Only these.
    pub(crate) labels: Option<&'static str>,
    pub(crate) fields: Option<&'static str>,
    /// Only there.
    pub(crate) scope: Scope,
}

impl Watched {
    /// One for each of the namespaces; none of them means all.
    pub(crate) fn within(self, namespaces: &[String]) -> Vec<Self> {
        if namespaces.is_empty() || OF_THE_CLUSTER.contains(&self.kind) {
            return vec![self];
        }
        namespaces.iter().map(|namespace| Self { scope: Some(namespace.clone()), ..self.clone() }).collect()
    }
}

/// Watches in the background until nobody listens.
pub(crate) fn start(client: &Client, watched: &Watched, changes: mpsc::Sender<Change>) {
    let api: Api<DynamicObject> = match &watched.scope {
        None => Api::all_with(client.clone(), &watched.resource),
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &watched.resource),
    };
    let config = watcher::Config {
        label_selector: watched.labels.map(str::to_owned),
        field_selector: watched.fields.map(str::to_owned),
        ..watcher::Config::default()
    };
    let (kind, scope) = (watched.kind, watched.scope.clone());
    tokio::spawn(async move {
        let mut events = pin!(watcher(api, config).default_backoff());
        let mut listed = Vec::new();
        let mut failing = false;
        while let Some(event) = events.next().await {
            let change = match event {
                Ok(event) => {
                    // It begins by saying that it begins.
                    failing &= matches!(event, Event::Init);
                    change(kind, &scope, event, &mut listed)
                }
                Err(error) => failed(kind, &scope, &error, &mut failing),
            };
            if let Some(change) = change
                && changes.send(change).await.is_err()
            {
                return;
            }
        }
    });
}

fn change(
    kind: &'static str,
    scope: &Scope,
    event: Event<DynamicObject>,
    listed: &mut Vec<(ObjectName, Value)>,
) -> Option<Change> {
    match event {
        Event::Init => {
            listed.clear();
            None
        }
        Event::InitApply(object) => {
            listed.push((name(&object), json(object)));
            None
        }
        Event::InitDone => Some(Change::Listed(kind, scope.clone(), std::mem::take(listed))),
        Event::Apply(object) => Some(Change::Put(kind, name(&object), json(object))),
        Event::Delete(object) => Some(Change::Gone(kind, name(&object))),
    }
}

fn failed(kind: &'static str, scope: &Scope, error: &watcher::Error, failing: &mut bool) -> Option<Change> {
    let first = !std::mem::replace(failing, true);
    if let watcher::Error::InitialListFailed(kube::Error::Api(status)) = error
        && status.code == 404
    {
        if first {
            tracing::info!(kind, "the API server does not know this kind; it is left out until it does");
        }
        return first.then(|| Change::Absent(kind, scope.clone()));
    }
    if first {
        tracing::warn!(kind, %error, "cannot watch; trying again");
    }
    None
}

/// Namespace and name.
pub(crate) fn name(object: &DynamicObject) -> ObjectName {
    let metadata = object.meta();
    ObjectName::new(
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.name.as_deref().unwrap_or_default(),
    )
}

/// Without what nobody here reads.
pub(crate) fn json(mut object: DynamicObject) -> Value {
    object.metadata.managed_fields = None;
    serde_json::to_value(object).expect("an object of an API server is JSON")
}

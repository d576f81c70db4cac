//! What a compiler remembers from one compilation to the next, so that its work depends on what changed.
//!
//! A route is compiled again when it has changed, or anything of the kinds that compiling a route looks at. Entries that
//! come out as they were are those of the last snapshot, with their hashes. Whether something was remembered shows in no
//! result.

use std::sync::Arc;

use gateway_snapshot::{Key, Route, Shared, Snapshot};
use xxhash_rust::xxh3::Xxh3;

use crate::listener::{Certificates, Gateways};
use crate::options::Options;
use crate::policy::{Contents, PolicyIndex};
use crate::resources::{ObjectName, Objects};
use crate::route::{self, CompiledRoute, RouteView, Uses};
use crate::world::World;

/// Kinds that compiling a route never looks at, but for the route itself.
const NOTHING_TO_ROUTES: [&str; 7] =
    ["HTTPRoute", "GRPCRoute", "EndpointSlice", "Consumer", "Subscription", "Plan", "AlertPolicy"];

/// Empty at first.
#[derive(Debug, Default)]
pub(crate) struct Memo {
    /// What the routes were compiled with.
    context: Option<(u128, Options)>,
    /// By name.
    http_routes: Vec<Remembered>,
    grpc_routes: Vec<Remembered>,
    pub(crate) certificates: Certificates,
    /// As it came out last.
    pub(crate) snapshot: Snapshot,
}

#[derive(Debug)]
struct Remembered {
    name: ObjectName,
    revision: u64,
    kept: Kept,
}

/// What a route is in the snapshot, and what its policies do there.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    pub(crate) entries: Vec<(Key, Shared<Route>)>,
    pub(crate) uses: Uses,
}

/// A route, and what it is in the snapshot.
pub(crate) type Kept = (Arc<CompiledRoute>, Arc<Shown>);

impl Memo {
    /// All routes: HTTPRoutes, then GRPCRoutes, each by name.
    pub(crate) fn routes(
        &mut self,
        world: &World<'_>,
        gateways: &Gateways,
        policies: &PolicyIndex,
        contents: &Contents,
    ) -> Vec<Kept> {
        let context = Some((context(world), Options { now: None, ..world.options.clone() }));
        if self.context != context {
            (self.http_routes, self.grpc_routes) = Default::default();
            self.context = context;
        }
        let compile = |view: RouteView<'_>| -> Kept {
            let route = route::compile(world, gateways, &view);
            let mut uses = Uses::new();
            let entries = route::entries(&route, gateways, policies, contents, &mut uses);
            let entries = entries.into_iter().map(|(key, entry)| (key, entry.into())).collect();
            (Arc::new(route), Arc::new(Shown { entries, uses }))
        };
        let resources = world.resources;
        renew(&mut self.http_routes, &resources.http_routes, |route| compile(RouteView::from(route)));
        renew(&mut self.grpc_routes, &resources.grpc_routes, |route| compile(RouteView::from(route)));
        self.http_routes.iter().chain(&self.grpc_routes).map(|known| known.kept.clone()).collect()
    }
}

/// Makes `known` what there is now; what has not changed is not compiled again.
fn renew<T>(known: &mut Vec<Remembered>, objects: &Objects<T>, compile: impl Fn(&T) -> Kept) {
    let mut before = std::mem::take(known).into_iter().peekable();
    for (name, object) in objects {
        let revision = object.revision();
        while before.next_if(|known| known.name < *name).is_some() {}
        let same = before.next_if(|known| known.name == *name && known.revision == revision);
        known.push(same.unwrap_or_else(|| Remembered {
            name: name.clone(),
            revision,
            kept: compile(object),
        }));
    }
}

/// Names the content of everything that routes are compiled with.
fn context(world: &World<'_>) -> u128 {
    let mut hash = Xxh3::new();
    for (name, revision) in world.resources.revisions(&NOTHING_TO_ROUTES) {
        for part in [&name.namespace, &name.name] {
            hash.update(part.as_bytes());
            hash.update(&[0xff]);
        }
        hash.update(&revision.to_le_bytes());
    }
    hash.digest128()
}

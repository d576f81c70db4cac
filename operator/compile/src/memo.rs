//! What a compiler remembers from one compilation to the next, so that its work depends on what changed.
//!
//! A route is compiled again when it has changed, or anything of the kinds that compiling a route looks at. Entries that
//! come out as they were are those of the last snapshot, with their hashes. Whether something was remembered shows in no
//! result.

use std::collections::BTreeMap;
use std::sync::Arc;

use gateway_snapshot::{Key, Route, Shared, Snapshot};
use xxhash_rust::xxh3::Xxh3;

use crate::listener::{Certificates, Gateways};
use crate::options::Options;
use crate::policy::{Contents, PolicyIndex};
use crate::resources::ObjectName;
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
    routes: BTreeMap<(&'static str, ObjectName), Remembered>,
    pub(crate) certificates: Certificates,
    /// As it came out last.
    pub(crate) snapshot: Snapshot,
}

#[derive(Debug)]
struct Remembered {
    revision: u64,
    route: Arc<CompiledRoute>,
    shown: Arc<Shown>,
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
            self.routes.clear();
            self.context = context;
        }
        let compile = |view: RouteView<'_>| -> Kept {
            let route = route::compile(world, gateways, &view);
            let mut uses = Uses::new();
            let entries = route::entries(&route, gateways, policies, contents, &mut uses);
            let entries = entries.into_iter().map(|(key, entry)| (key, entry.into())).collect();
            (Arc::new(route), Arc::new(Shown { entries, uses }))
        };
        let mut before = std::mem::take(&mut self.routes);
        let mut keep = |kind: &'static str, name: &ObjectName, revision: u64, view: &dyn Fn() -> Kept| {
            let id = (kind, name.clone());
            let same = before.remove(&id).filter(|known| known.revision == revision);
            let (route, shown) = same.map_or_else(view, |known| (known.route, known.shown));
            let kept = (Arc::clone(&route), Arc::clone(&shown));
            self.routes.insert(id, Remembered { revision, route, shown });
            kept
        };
        let resources = world.resources;
        let mut all = Vec::with_capacity(resources.http_routes.len() + resources.grpc_routes.len());
        for (name, route) in &resources.http_routes {
            all.push(keep("HTTPRoute", name, route.revision(), &|| compile(RouteView::from(&**route))));
        }
        for (name, route) in &resources.grpc_routes {
            all.push(keep("GRPCRoute", name, route.revision(), &|| compile(RouteView::from(&**route))));
        }
        all
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

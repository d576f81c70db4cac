//! What a compiler remembers from one compilation to the next, so that its work depends on what changed.
//!
//! A route is compiled again when it has changed, or anything of the kinds that compiling a route looks at; what it is in
//! the snapshot takes the place of what it was, and what the snapshot refers to is counted along. Everything else is kept
//! until something of its kinds changes. Whether something was remembered shows in no result.

use std::collections::BTreeMap;
use std::sync::Arc;

use gateway_snapshot::{Backend, Counts, Entries, Key, Part, Route, Shared, Snapshot, Used};

use crate::backend::{self, Target};
use crate::basis::Basis;
use crate::expressions;
use crate::fleets::{self, Fleet};
use crate::listener::Gateways;
use crate::options::Options;
use crate::policy::{Contents, PolicyIndex};
use crate::resources::{ObjectName, Objects};
use crate::route::{self, CompiledRoute, RouteView, Uses};
use crate::telemetry::{Telemetry, telemetry};
use crate::version;
use crate::world::World;

/// Kinds that compiling a route never looks at, but for the route itself.
const NOTHING_TO_ROUTES: [&str; 7] =
    ["HTTPRoute", "GRPCRoute", "EndpointSlice", "Consumer", "Subscription", "Plan", "AlertPolicy"];

/// Kinds that endpoints come from, and no others.
const ENDPOINTS: &str = "EndpointSlice";

/// Empty at first.
#[derive(Debug, Default)]
pub(crate) struct Memo {
    pub(crate) basis: Basis,
    pub(crate) policies: PolicyIndex,
    pub(crate) telemetry: Telemetry,
    pub(crate) routes: Routes,
    /// As it came out last.
    pub(crate) snapshot: Snapshot,
    /// What its routes refer to.
    used: Used,
    /// Digest of what endpoints were read from.
    endpoints: u128,
    /// By key of the fleet.
    parts: BTreeMap<String, Part>,
}

/// All routes.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    /// What they were compiled with.
    context: Option<(u128, Options)>,
    /// By name.
    http: Vec<Remembered>,
    grpc: Vec<Remembered>,
    /// Some are left out, see [`expressions`].
    bounded: bool,
    expressions: Counts,
    /// Backends that entries lead to, by key, and of how many routes.
    targets: BTreeMap<Key, Target>,
    targeted: Counts,
}

#[derive(Debug)]
struct Remembered {
    name: ObjectName,
    revision: u64,
    kept: Kept,
    /// Instead, because its expressions do not fit.
    refused: Option<Kept>,
}

/// What a route is in the snapshot, and what its policies do there.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    pub(crate) entries: Vec<(Key, Shared<Route>)>,
    pub(crate) uses: Uses,
}

/// A route, and what it is in the snapshot.
pub(crate) type Kept = (Arc<CompiledRoute>, Arc<Shown>);

/// What a route was and what it is.
pub(crate) type Change = (Option<Kept>, Option<Kept>);

impl Memo {
    /// Takes in what has changed; the fleets as they are now.
    pub(crate) fn renew(&mut self, world: &World<'_>) -> Vec<Fleet> {
        let other_basis = self.basis.renew(world);
        let Basis { gateways, contents, .. } = &self.basis;
        self.policies = PolicyIndex::new(world.resources, contents);
        self.telemetry = telemetry(world, gateways);
        let mut snapshot = Snapshot {
            settings: fleets::settings_of_all(world, gateways, &self.telemetry),
            ..self.basis.snapshot.clone()
        };
        let before = &self.snapshot;
        let rules = (gateways, &self.policies, contents);
        let other_targets;
        (snapshot.routes, other_targets) = self.routes.renew(world, rules, other_basis, &before.routes);
        let others = self.used.follow(&before.routes, &snapshot.routes);
        let endpoints = world.digest(|kind| kind == ENDPOINTS);
        let same_endpoints = endpoints == std::mem::replace(&mut self.endpoints, endpoints);
        let same = same_endpoints && !other_basis && !other_targets;
        snapshot.backends = if same { before.backends.clone() } else { self.routes.backends(world) };
        if other_basis || others {
            refer(&mut snapshot, &self.used, &self.basis);
        } else {
            snapshot.auth_policies = before.auth_policies.clone();
            snapshot.rate_limit_policies = before.rate_limit_policies.clone();
            snapshot.quota_policies = before.quota_policies.clone();
            snapshot.products = before.products.clone();
        }
        snapshot.adopt(before);
        version::stamp(&mut snapshot);
        self.snapshot = snapshot;
        fleets::fleets(world, &self.basis, &self.telemetry, &self.snapshot, &mut self.parts)
    }
}

/// Adds the policies and products that routes refer to.
fn refer(snapshot: &mut Snapshot, used: &Used, basis: &Basis) {
    let contents = &basis.contents;
    snapshot.auth_policies = pick(used.auth_policies.keys(), |key| Some(contents.auth.get(key)?.0.clone()));
    snapshot.rate_limit_policies =
        pick(used.rate_limit_policies.keys(), |key| contents.rate_limits.get(key)?.as_ref().ok().cloned());
    snapshot.quota_policies =
        pick(used.quota_policies.keys(), |key| contents.quotas.get(key)?.as_ref().ok().cloned());
    snapshot.products = pick(used.products.keys(), |key| Some(basis.products.get(key)?.product.clone()));
}

fn pick<'k, V>(keys: impl Iterator<Item = &'k Key>, value: impl Fn(&Key) -> Option<V>) -> Entries<V> {
    keys.filter_map(|key| Some((key.clone(), value(key)?))).collect()
}

impl Routes {
    /// HTTPRoutes, then GRPCRoutes, each by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Kept> {
        self.http.iter().chain(&self.grpc).map(Remembered::now)
    }

    /// Takes in what has changed. All entries, as `before` where they are equal; and whether they lead to other backends.
    fn renew(
        &mut self,
        world: &World<'_>,
        (gateways, policies, contents): (&Gateways, &PolicyIndex, &Contents),
        other_basis: bool,
        before: &Entries<Route>,
    ) -> (Entries<Route>, bool) {
        if other_basis {
            let context =
                Some((world.digest(|kind| !NOTHING_TO_ROUTES.contains(&kind)), world.options.timeless()));
            if self.context != context {
                *self = Self { context, ..Self::default() };
            }
        }
        let compile = |view: RouteView<'_>| -> Kept {
            let route = route::compile(world, gateways, &view);
            let mut uses = Uses::new();
            let entries = route::entries(&route, gateways, policies, contents, &mut uses);
            let entries = entries.into_iter().map(|(key, entry)| (key, entry.into())).collect();
            (Arc::new(route), Arc::new(Shown { entries, uses }))
        };
        let anew = self.http.is_empty() && self.grpc.is_empty();
        let mut changes = Vec::new();
        let (http, grpc) = (&world.resources.http_routes, &world.resources.grpc_routes);
        renew(&mut self.http, http, |route| compile(RouteView::from(route)), &mut changes);
        renew(&mut self.grpc, grpc, |route| compile(RouteView::from(route)), &mut changes);
        expressions::follow(&mut self.expressions, &changes);
        let bounded = std::mem::replace(&mut self.bounded, !expressions::all_fit(&self.expressions));
        if self.bounded || bounded {
            self.bound();
        }
        if self.bounded || bounded || anew {
            (self.targets, self.targeted) = Default::default();
            let all: Vec<Change> = self.iter().map(|kept| (None, Some(kept.clone()))).collect();
            let (mut entries, _) = self.follow(&Entries::default(), &all);
            entries.adopt(before);
            return (entries, true);
        }
        self.follow(before, &changes)
    }

    /// Leaves out the routes whose expressions do not fit, and no others.
    fn bound(&mut self) {
        let mut all: Vec<&mut Remembered> = self.http.iter_mut().chain(&mut self.grpc).collect();
        let routes: Vec<&CompiledRoute> = all.iter().map(|known| &*known.kept.0).collect();
        let refused = expressions::bound(&routes);
        for (known, refused) in all.iter_mut().zip(refused) {
            known.refused = refused.map(|route| (Arc::new(route), Arc::default()));
        }
    }

    /// The entries after `changes`, and whether they lead to other backends.
    fn follow(&mut self, before: &Entries<Route>, changes: &[Change]) -> (Entries<Route>, bool) {
        let (mut entries, mut others) = (before.clone(), false);
        for (was, is) in changes {
            for (key, _) in was.iter().flat_map(|(_, shown)| &shown.entries) {
                entries.remove(key);
            }
            for (key, entry) in is.iter().flat_map(|(_, shown)| &shown.entries) {
                let known = before.get_shared(key).filter(|known| *known == entry);
                entries.insert(key.clone(), known.unwrap_or(entry).clone());
            }
            for (key, target) in targets(is.as_ref()) {
                if self.targeted.add(key) {
                    self.targets.insert(key.clone(), target.clone());
                    others = true;
                }
            }
            for (key, _) in targets(was.as_ref()) {
                if self.targeted.take(key) {
                    self.targets.remove(key);
                    others = true;
                }
            }
        }
        (entries, others)
    }

    fn backends(&self, world: &World<'_>) -> Entries<Backend> {
        let build = |(key, target): (&Key, &Target)| Some((key.clone(), backend::build(world, target)?));
        self.targets.iter().filter_map(build).collect()
    }
}

impl Remembered {
    fn now(&self) -> &Kept {
        self.refused.as_ref().unwrap_or(&self.kept)
    }
}

/// Backends that the entries of a route lead to.
fn targets(kept: Option<&Kept>) -> impl Iterator<Item = (&Key, &Target)> {
    let shown = kept.filter(|(_, shown)| !shown.entries.is_empty());
    shown.into_iter().flat_map(|(route, _)| &route.found.targets)
}

/// Makes `known` what there is now; what has not changed is not compiled again. Adds to `changes` what has.
fn renew<T>(
    known: &mut Vec<Remembered>,
    objects: &Objects<T>,
    compile: impl Fn(&T) -> Kept,
    changes: &mut Vec<Change>,
) {
    let mut before = std::mem::replace(known, Vec::with_capacity(objects.len())).into_iter().peekable();
    for (name, object) in objects {
        let revision = object.revision();
        // Most have it, and to compare it is faster than to compare names.
        if let Some(same) = before.next_if(|known| known.revision == revision) {
            debug_assert_eq!(same.name, *name, "no two objects have one revision");
            known.push(same);
            continue;
        }
        while let Some(gone) = before.next_if(|known| known.name < *name) {
            changes.push((Some(gone.kept), None));
        }
        if let Some(same) = before.next_if(|known| known.revision == revision) {
            known.push(same);
            continue;
        }
        let was = before.next_if(|known| known.name == *name).map(|known| known.kept);
        let kept = compile(object);
        changes.push((was, Some(kept.clone())));
        known.push(Remembered { name: name.clone(), revision, kept, refused: None });
    }
    changes.extend(before.map(|gone| (Some(gone.kept), None)));
}

//! Resources → what gateways serve, what analytics counts, and what to tell the people who wrote them.
//!
//! [`compile`] is one total, pure, deterministic function. It never fails: a user's mistake becomes a condition on
//! the object that caused it, with the field and the cure, and the rest compiles as if the object were absent (an
//! AuthPolicy or ApiProduct with a mistake stays in force in its strictest form, so that nothing opens by accident).
//! It reads no file, clock or cluster; [`resources::read`] makes resources from text.
//!
//! Steps: classes and listeners → policies and their targets → consumers, plans, products, subscriptions → routes,
//! each by itself → entries with policies → backends that something refers to → statuses → version.

mod alert;
mod assemble;
mod backend;
mod basis;
mod ca_bundle;
mod certificate;
mod charges;
mod check;
mod children;
mod diagnostic;
mod expressions;
mod field;
mod fleet;
mod fleets;
mod listener;
mod memo;
mod object;
mod options;
mod order;
mod policy;
mod problem;
mod reference;
pub mod resources;
mod route;
mod status;
mod statuses;
mod subscription;
mod telemetry;
mod unused;
mod version;
mod warnings;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use children::{ADMIN_PORT, Child, FLEET_LABEL, REQUESTS_IN_FLIGHT, REQUESTS_PER_SECOND};
pub use diagnostic::render;
pub use fleets::Fleet;
use gateway_snapshot::{Catalog, Snapshot};
pub use object::ObjectRef;
pub use options::{CONTROLLER_NAME, Options, Runtime};
pub use resources::{Diagnostic, Resources, Severity};
pub use status::{Condition, ListenerStatus, ParentRef, ParentStatus, Status, Truth};

/// What comes out of a compilation.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Compiled {
    /// For gateways. [`gateway_snapshot::lint`] finds nothing in it.
    pub snapshot: Snapshot,
    /// The same cut for the processes of each Gateway, or of merged ones, the oldest Gateway first; none where all share
    /// one process.
    pub fleets: Vec<Fleet>,
    /// Gateways, ListenerSets and GatewayFleets that have no fleet here, or not all that they had, because a mistake keeps a
    /// Gateway or ListenerSet from being accepted: what runs for them is to stay.
    pub kept: BTreeSet<ObjectRef>,
    /// For analytics; with a version of its own.
    pub catalog: Arc<Catalog>,
    /// For the authors of the resources: one for each object that is ours.
    pub statuses: BTreeMap<ObjectRef, Arc<Status>>,
    /// Bad news from the statuses and warnings besides, with file and line, in the order of the objects.
    pub diagnostics: Vec<Diagnostic>,
}

/// Compiles everything.
pub fn compile(resources: &Resources, options: &Options) -> Compiled {
    Compiler::default().compile(resources, options)
}

/// Compiles again and again, in time that depends on what changed. The outcome is that of [`compile`].
#[derive(Debug, Default)]
pub struct Compiler {
    memo: memo::Memo,
}

impl Compiler {
    /// Compiles everything.
    pub fn compile(&mut self, resources: &Resources, options: &Options) -> Compiled {
        let world = world::World::new(resources, options);
        let fleets = self.memo.renew(&world);
        assemble::report(&world, &self.memo, fleets)
    }

    /// Compiles what gateways and analytics need, and leaves the statuses for [`Self::compile`].
    pub fn serve(&mut self, resources: &Resources, options: &Options) -> (Vec<Fleet>, Arc<Catalog>) {
        let fleets = self.memo.renew(&world::World::new(resources, options));
        (fleets, Arc::clone(&self.memo.basis.catalog))
    }
}

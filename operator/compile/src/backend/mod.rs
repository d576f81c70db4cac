//! Backends: what a reference leads to, and which endpoints that has.
//!
//! In: a `backendRef` and who wrote it. Out: a [`Target`] that can be built, or the problem with the reference.
//! Endpoints come from EndpointSlices, never from cluster addresses or DNS, so headless and selector-less Services
//! work like all others.

mod external;
mod service;
pub(crate) mod tls;

use crds::conditions::Reason;
use crds::gateway_api;
use gateway_snapshot::{Backend, Key};

use crate::field::Field;
use crate::problem::Problem;
use crate::reference::End;
use crate::resources::ObjectName;
use crate::world::World;
use crds::gateway_api::BackendObjectReference;

pub(crate) use external::check as check_external;

/// Something that requests can be sent to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    /// A port of a Service.
    Service {
        namespace: String,
        name: String,
        port: u16,
        /// A GRPCRoute needs HTTP/2 also where the port does not say so.
        http2: bool,
    },
    /// An XBackend.
    External { namespace: String, name: String, http2: bool },
}

impl Target {
    /// Kind and name of the object.
    pub(crate) fn object(&self) -> (&'static str, ObjectName) {
        match self {
            Self::Service { namespace, name, .. } => ("Service", ObjectName::new(namespace, name)),
            Self::External { namespace, name, .. } => ("XBackend", ObjectName::new(namespace, name)),
        }
    }

    /// Key in the snapshot: `namespace/name:port` or `namespace/name`; `/h2` behind it for the HTTP/2 form of a
    /// backend that does not say what it speaks.
    pub(crate) fn key(&self) -> Key {
        let suffix = |http2: &bool| if *http2 { "/h2" } else { "" };
        match self {
            Self::Service { namespace, name, port, http2 } => {
                format!("{namespace}/{name}:{port}{}", suffix(http2))
            }
            Self::External { namespace, name, http2 } => format!("{namespace}/{name}{}", suffix(http2)),
        }
    }
}

/// A target that exists, and why requests for it must fail all the same.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) target: Target,
    pub(crate) refused: Option<Refusal>,
}

/// Why a backend cannot be used.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The mistake is that of the backend or its BackendTLSPolicy, which say so in their own status.
    Elsewhere(String),
    /// The referring route has to say so, too.
    Here(Problem),
}

/// What `reference` of a resource `from` leads to. `http2`: the referring route carries gRPC.
pub(crate) fn resolve(
    world: &World<'_>,
    from: End<'_>,
    reference: &BackendObjectReference,
    http2: bool,
    field: &Field<'_>,
) -> Result<Resolved, Problem> {
    let group = reference.group.as_deref().unwrap_or_default();
    let kind = reference.kind.as_deref().unwrap_or("Service");
    let to = End { group, kind, namespace: reference.namespace.as_deref().unwrap_or(from.namespace) };
    if !matches!((group, kind), ("", "Service") | (gateway_api::EXPERIMENTAL_GROUP, "XBackend")) {
        let message =
            format!("kind {kind} of group {group:?} cannot take requests; use a Service or an XBackend");
        return Err(Problem::at(Reason::InvalidKind, &field.key("kind"), message));
    }
    world
        .grants
        .check(from, to, &reference.name)
        .map_err(|message| Problem::at(Reason::RefNotPermitted, field, message))?;
    if kind == "XBackend" {
        external::resolve(world, to.namespace, reference, http2, field)
    } else {
        service::resolve(world, to.namespace, reference, http2, field)
    }
}

/// The backend with its endpoints. `target` came from [`resolve`] on the same world.
pub(crate) fn build(world: &World<'_>, target: &Target) -> Option<Backend> {
    match target {
        Target::Service { namespace, name, port, http2 } => {
            service::build(world, namespace, name, *port, *http2)
        }
        Target::External { namespace, name, http2 } => external::build(world, namespace, name, *http2),
    }
}

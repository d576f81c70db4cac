//! Certificates of callers (GEP-91): what a Gateway's `spec.tls.frontend` demands on a port.

use crds::conditions::Reason;
use crds::gateway_api::{self, FrontendTlsValidation, FrontendValidationMode, Gateway};
use gateway_snapshot::{CallerCertificateMode, CallerCertificates};

use super::CompiledListener;
use crate::ca_bundle;
use crate::field::{Field, SPEC};
use crate::problem::Problem;
use crate::reference::End;
use crate::resources::ObjectName;
use crate::world::World;

/// Whether the Gateway takes callers that show nothing, or anything, on one of its ports.
pub(super) fn is_insecure(gateway: &Gateway) -> bool {
    let Some(frontend) = gateway.spec.tls.as_ref().and_then(|tls| tls.frontend.as_ref()) else {
        return false;
    };
    let all = frontend.per_port.iter().map(|entry| &entry.tls).chain([&frontend.default]);
    all.filter_map(|tls| tls.validation.as_ref())
        .any(|validation| mode(validation) == CallerCertificateMode::Any)
}

/// Notes the demand on the listener's port, and what is wrong with it. A demand that cannot be checked refuses the
/// listener: nobody is let in without one.
pub(super) fn apply(world: &World<'_>, listener: &mut CompiledListener, gateway: &Gateway) {
    let Some(frontend) = gateway.spec.tls.as_ref().and_then(|tls| tls.frontend.as_ref()) else { return };
    let field = SPEC.key("tls");
    let field = field.key("frontend");
    let (default, ports) = (field.key("default"), field.key("perPort"));
    let own = frontend.per_port.iter().position(|entry| entry.port == i32::from(listener.port));
    match own.map(|at| (at, &frontend.per_port[at].tls)) {
        Some((at, tls)) => demand(world, listener, tls.validation.as_ref(), &ports.index(at).key("tls")),
        None => demand(world, listener, frontend.default.validation.as_ref(), &default),
    }
}

fn demand(
    world: &World<'_>,
    listener: &mut CompiledListener,
    validation: Option<&FrontendTlsValidation>,
    field: &Field<'_>,
) {
    let Some(validation) = validation else { return };
    let field = field.key("validation");
    let refs = field.key("caCertificateRefs");
    let namespace = &listener.gateway.namespace;
    let bundles = validation.ca_certificate_refs.iter().enumerate();
    let bundles = bundles.map(|(index, reference)| bundle(world, namespace, reference, &refs.index(index)));
    let (ca, unresolved) = ca_bundle::join(bundles);
    listener.unresolved.extend(unresolved);
    if ca.is_empty() {
        let message = "leads to no CA certificate, so no caller could be verified; see ResolvedRefs";
        listener.refused.get_or_insert(Problem::at(Reason::NoValidCACertificate, &refs, message));
    } else {
        listener.callers = Some(CallerCertificates { ca, mode: mode(validation) });
    }
}

fn mode(validation: &FrontendTlsValidation) -> CallerCertificateMode {
    match validation.mode.unwrap_or_default() {
        FrontendValidationMode::AllowValidOnly => CallerCertificateMode::Valid,
        FrontendValidationMode::AllowInsecureFallback => CallerCertificateMode::Any,
    }
}

fn bundle(
    world: &World<'_>,
    namespace: &str,
    reference: &gateway_api::ParametersReference,
    field: &Field<'_>,
) -> Result<String, Problem> {
    let kind = (reference.group.as_str(), reference.kind.as_str());
    let from = End { group: gateway_api::GROUP, kind: "Gateway", namespace };
    let to =
        End { group: kind.0, kind: kind.1, namespace: reference.namespace.as_deref().unwrap_or(namespace) };
    let name = ObjectName::new(to.namespace, &reference.name);
    world
        .grants
        .check(from, to, &reference.name)
        .map_err(|message| Problem::at(Reason::RefNotPermitted, field, message))?;
    ca_bundle::read(world.resources, kind, &name, field).map_err(|problem| match problem.reason {
        Reason::InvalidKind => Problem { reason: Reason::InvalidCACertificateKind, ..problem },
        _ => problem,
    })
}

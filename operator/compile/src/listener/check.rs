//! One listener by itself: protocol, port, hostname, TLS, allowed routes.

use crds::conditions::Reason;
use crds::gateway_api::{self, Gateway, Listener, ListenerTlsConfig, TlsMode};
use gateway_snapshot::ListenerProtocol;

use super::{AllowedNamespaces, Certificates, CompiledListener, ROUTE_KINDS, frontend};
use crate::check::{self, shown};
use crate::children::ADMIN_PORT;
use crate::field::Field;
use crate::problem::{InField, Problem};
use crate::resources::ObjectName;
use crate::world::World;

/// Who writes the listener: a Gateway, or a ListenerSet that is attached to it.
#[derive(Clone, Copy)]
pub(super) struct Owner<'a> {
    pub(super) gateway: &'a Gateway,
    pub(super) gateway_name: &'a ObjectName,
    pub(super) set: Option<&'a ObjectName>,
    /// What the Gateway shows to backends: key of a certificate that is good.
    pub(super) client_certificate: Option<&'a str>,
}

/// The listener with all that is wrong with it.
pub(super) fn listener(
    world: &World<'_>,
    certificates: &mut Certificates,
    owner: &Owner<'_>,
    raw: &Listener,
    field: &Field<'_>,
) -> CompiledListener {
    let mut listener = CompiledListener {
        gateway: owner.gateway_name.clone(),
        set: owner.set.cloned(),
        name: raw.name.clone(),
        port: 0,
        protocol: None,
        hostname: None,
        certificates: vec![],
        callers: None,
        client_certificate: owner.client_certificate.map(str::to_owned),
        kinds: vec![],
        namespaces: AllowedNamespaces::of_routes(
            raw.allowed_routes.as_ref().and_then(|allowed| allowed.namespaces.as_ref()),
        ),
        refused: None,
        conflict: None,
        unresolved: vec![],
    };
    if let Err(problem) = fill(world, &mut listener, raw, field) {
        listener.refused = Some(problem);
    }
    if listener.protocol.is_some() {
        kinds(&mut listener, raw, field);
    }
    if listener.protocol == Some(ListenerProtocol::Https) && listener.refused.is_none() {
        tls(world, certificates, &mut listener, raw.tls.as_ref(), &field.key("tls"));
        frontend::apply(world, &mut listener, owner.gateway);
    }
    listener
}

fn fill(
    world: &World<'_>,
    listener: &mut CompiledListener,
    raw: &Listener,
    field: &Field<'_>,
) -> Result<(), Problem> {
    listener.port = u16::try_from(raw.port).map_err(|_| {
        Problem::value(&field.key("port"), format!("{} is not a port; use 1 to 65535", raw.port))
    })?;
    if world.options.runtime.is_some() && listener.port >= ADMIN_PORT {
        let message = format!("{} is used within the Pod; use a port below {ADMIN_PORT}", raw.port);
        return Err(Problem::at(Reason::PortUnavailable, &field.key("port"), message));
    }
    let protocol = match raw.protocol.as_str() {
        "HTTP" => ListenerProtocol::Http,
        "HTTPS" => ListenerProtocol::Https,
        other => {
            let message = format!("{} is not supported; use HTTP or HTTPS", shown(other));
            return Err(Problem::at(Reason::UnsupportedProtocol, &field.key("protocol"), message));
        }
    };
    listener.protocol = Some(protocol);
    let name = raw.hostname.as_deref().filter(|name| !name.is_empty());
    listener.hostname = name.map(|name| check::hostname(name).at(&field.key("hostname"))).transpose()?;
    if raw.filters.as_ref().is_some_and(|filters| !filters.requests.is_empty()) {
        return Err(Problem::value(
            &field.key("filters"),
            "are not supported on listeners; attach an AuthPolicy",
        ));
    }
    let mode = raw.tls.as_ref().map(|tls| tls.mode.unwrap_or(TlsMode::Terminate));
    match (protocol, mode) {
        (ListenerProtocol::Http, None) | (ListenerProtocol::Https, Some(TlsMode::Terminate)) => Ok(()),
        (ListenerProtocol::Http, Some(_)) => {
            Err(Problem::value(&field.key("tls"), "is not for protocol HTTP; use HTTPS"))
        }
        (ListenerProtocol::Https, None) => {
            Err(Problem::value(&field.key("tls"), "is needed for protocol HTTPS; set certificateRefs"))
        }
        (ListenerProtocol::Https, Some(TlsMode::Passthrough)) => Err(Problem::value(
            &field.key("tls"),
            "mode Passthrough is not for protocol HTTPS; use Terminate",
        )),
    }
}

fn kinds(listener: &mut CompiledListener, raw: &Listener, field: &Field<'_>) {
    let allowed = raw.allowed_routes.as_ref().map_or(&[][..], |allowed| &allowed.kinds);
    if allowed.is_empty() {
        listener.kinds = ROUTE_KINDS.to_vec();
        return;
    }
    let field = field.key("allowedRoutes");
    let list = field.key("kinds");
    for (index, wanted) in allowed.iter().enumerate() {
        let group = wanted.group.as_deref().unwrap_or(gateway_api::GROUP);
        let known = ROUTE_KINDS.into_iter().find(|kind| group == gateway_api::GROUP && *kind == wanted.kind);
        match known {
            Some(kind) if listener.kinds.contains(&kind) => {}
            Some(kind) => listener.kinds.push(kind),
            None => {
                let message = format!(
                    "kind {} of group {group:?} cannot attach to a listener of protocol {}; use HTTPRoute or GRPCRoute",
                    wanted.kind, raw.protocol
                );
                listener.unresolved.push(Problem::at(Reason::InvalidRouteKinds, &list.index(index), message));
            }
        }
    }
}

fn tls(
    world: &World<'_>,
    certificates: &mut Certificates,
    listener: &mut CompiledListener,
    raw: Option<&ListenerTlsConfig>,
    field: &Field<'_>,
) {
    let list = field.key("certificateRefs");
    let references = raw.map_or(&[][..], |tls| &tls.certificate_refs);
    if references.is_empty() {
        let message = "is empty; name a Secret of type kubernetes.io/tls";
        listener.unresolved.push(Problem::at(Reason::InvalidCertificateRef, &list, message));
    }
    let kind = if listener.set.is_some() { "ListenerSet" } else { "Gateway" };
    let namespace = listener.namespace().to_owned();
    for (index, reference) in references.iter().enumerate() {
        match certificates.resolve(world, (kind, &namespace), reference, &list.index(index)) {
            Ok(key) if listener.certificates.contains(&key) => {}
            Ok(key) => listener.certificates.push(key),
            Err(problem) => listener.unresolved.push(problem),
        }
    }
}

//! XBackends: hosts outside the cluster, or beside a gateway on one machine.

use crds::conditions::Reason;
use gateway_snapshot::{Backend, BackendProtocol, BackendTls, Endpoint};

use super::{Refusal, Resolved, Target, tls};
use crate::check;
use crate::field::{Field, SPEC};
use crate::problem::{InField, Problem, joined};
use crate::resources::ObjectName;
use crate::world::World;
use crds::gateway_api::{BackendObjectReference, XBackend, XBackendProtocol, XBackendTlsMode, XBackendType};

/// The XBackend that `reference` names.
pub(super) fn resolve(
    world: &World<'_>,
    namespace: &str,
    reference: &BackendObjectReference,
    http2: bool,
    field: &Field<'_>,
) -> Result<Resolved, Problem> {
    let name = &reference.name;
    let Some(backend) = world.resources.backends.get(&ObjectName::new(namespace, name)) else {
        let message = format!("XBackend {namespace}/{name} does not exist; create it or correct the name");
        return Err(Problem::at(Reason::BackendNotFound, field, message));
    };
    if let Some(port) = reference.port.filter(|port| Some(*port) != backend.spec.port.number) {
        let message = format!("port {port} is not the port of XBackend {namespace}/{name}; leave it out");
        return Err(Problem::at(Reason::BackendNotFound, &field.key("port"), message));
    }
    let refused = check(world, backend).err().map(|problem| {
        let message = format!("XBackend {namespace}/{name} is not valid: {}", problem.message);
        match problem.reason {
            Reason::UnsupportedProtocol => Refusal::Here(Problem::at(problem.reason, field, message)),
            _ => Refusal::Elsewhere(message),
        }
    });
    Ok(Resolved {
        target: Target::External {
            namespace: namespace.to_owned(),
            name: name.clone(),
            http2: http2 && backend.spec.protocol.is_none(),
        },
        refused,
    })
}

/// The backend that [`resolve`] found.
pub(super) fn build(world: &World<'_>, namespace: &str, name: &str, http2: bool) -> Option<Backend> {
    let mut backend = check(world, world.resources.backends.get(&ObjectName::new(namespace, name))?).ok()?;
    if http2 {
        backend.protocol = if backend.tls.is_some() { BackendProtocol::H2 } else { BackendProtocol::H2c };
    }
    Some(backend)
}

/// What an XBackend says, or the first thing that is wrong with it.
pub(crate) fn check(world: &World<'_>, backend: &XBackend) -> Result<Backend, Problem> {
    let spec = &backend.spec;
    if spec.r#type == XBackendType::EndpointSelector {
        let message = "EndpointSelector is not supported; use ExternalHostname, or a Service with a selector";
        return Err(Problem::value(&SPEC.key("type"), message));
    }
    if spec.session_persistence.is_some() {
        let message = "is not supported; take it out";
        return Err(Problem::value(&SPEC.key("sessionPersistence"), message));
    }
    let field = SPEC.key("port");
    let port = match spec.port.number.map(u16::try_from) {
        Some(Ok(port)) if port > 0 => port,
        _ => return Err(Problem::value(&field.key("number"), "must be a port from 1 to 65535")),
    };
    let field = SPEC.key("externalHostname");
    let Some(external) = &spec.external_hostname else {
        return Err(Problem::value(&field, "is needed, because type is ExternalHostname"));
    };
    let host = match external.hostname.parse::<std::net::IpAddr>() {
        Ok(address) => address.to_string(),
        Err(_) => check::precise_hostname(&external.hostname).at(&field.key("hostname"))?,
    };
    let tls = client_tls(world, backend)?;
    let protocol = protocol(spec.protocol, tls.is_some())?;
    Ok(Backend { endpoints: vec![Endpoint { host, port }], protocol, tls })
}

fn protocol(protocol: Option<XBackendProtocol>, tls: bool) -> Result<BackendProtocol, Problem> {
    let field = SPEC.key("protocol");
    let wrong = |message: &str| Err(Problem::at(Reason::UnsupportedProtocol, &field, message));
    match (protocol, tls) {
        (None | Some(XBackendProtocol::Http | XBackendProtocol::Http11 | XBackendProtocol::Mcp), _)
        | (Some(XBackendProtocol::Wss), true) => Ok(BackendProtocol::Http1),
        (Some(XBackendProtocol::H2c | XBackendProtocol::Grpc), false) => Ok(BackendProtocol::H2c),
        (Some(XBackendProtocol::Http2 | XBackendProtocol::Grpc), true) => Ok(BackendProtocol::H2),
        (Some(XBackendProtocol::H2c), true) => {
            wrong("H2C is HTTP/2 without TLS; use HTTP2, or tls.mode None")
        }
        (Some(XBackendProtocol::Http2), false) => wrong("HTTP2 needs TLS; set tls, or use H2C"),
        (Some(XBackendProtocol::Wss), false) => wrong("WSS needs TLS; set tls, or use HTTP"),
        (Some(XBackendProtocol::Tcp), _) => {
            wrong("TCP is not supported; use HTTP, HTTP2, H2C, GRPC, MCP or WSS")
        }
    }
}

fn client_tls(world: &World<'_>, backend: &XBackend) -> Result<Option<BackendTls>, Problem> {
    let Some(tls) = &backend.spec.tls else { return Ok(None) };
    let field = SPEC.key("tls");
    match tls.mode {
        XBackendTlsMode::None => Ok(None),
        XBackendTlsMode::ClientAndServer => {
            let message = "ClientAndServer is not supported; use ServerOnly";
            Err(Problem::value(&field.key("mode"), message))
        }
        XBackendTlsMode::ServerOnly => {
            let field = field.key("validation");
            let Some(validation) = &tls.validation else {
                return Err(Problem::value(&field, "is needed to know which certificate to expect"));
            };
            let namespace = backend.metadata.namespace.as_deref().unwrap_or_default();
            let checked = tls::validation(world.resources, namespace, validation, &field)?;
            match (checked.tls, checked.unresolved.first()) {
                (Some(tls), _) => Ok(Some(tls)),
                (None, first) => {
                    let reason = first.map_or(Reason::NoValidCACertificate, |problem| problem.reason);
                    Err(Problem { reason, message: joined(&checked.unresolved) })
                }
            }
        }
    }
}

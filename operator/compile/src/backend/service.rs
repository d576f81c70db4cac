//! Services: ports, protocols, endpoints.

use crds::conditions::Reason;
use crds::k8s_openapi::api::core::v1::{Service, ServicePort};
use crds::k8s_openapi::api::discovery::v1::{Endpoint as SliceEndpoint, EndpointSlice};
use gateway_snapshot::{Backend, BackendProtocol, Endpoint};

use super::{Refusal, Resolved, Target};
use crate::field::Field;
use crate::problem::Problem;
use crate::resources::ObjectName;
use crate::world::World;
use crds::gateway_api::BackendObjectReference;

/// The port that `reference` names, checked.
pub(super) fn resolve(
    world: &World<'_>,
    namespace: &str,
    reference: &BackendObjectReference,
    http2: bool,
    field: &Field<'_>,
) -> Result<Resolved, Problem> {
    let name = &reference.name;
    let not_found = |message: String| Problem::at(Reason::BackendNotFound, field, message);
    let service = world.resources.services.get(&ObjectName::new(namespace, name)).ok_or_else(|| {
        not_found(format!("Service {namespace}/{name} does not exist; create it or correct the name"))
    })?;
    if service.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("ExternalName") {
        let message = format!(
            "Service {namespace}/{name} is of type ExternalName, which is not followed; use an XBackend of type ExternalHostname"
        );
        return Err(Problem::at(Reason::InvalidKind, field, message));
    }
    let number = reference.port.ok_or_else(|| {
        not_found(format!("needs a port of Service {namespace}/{name}: {}", ports_of(service)))
    })?;
    let Some((port, number)) = find_port(service, number) else {
        let message =
            format!("Service {namespace}/{name} has no TCP port {number}; it has {}", ports_of(service));
        return Err(not_found(message));
    };
    let tls = world.backend_tls.of(namespace, name, port.name.as_deref());
    let refused = match protocol(port, tls.is_some(), http2) {
        Ok(_) => tls.and_then(|tls| tls.as_ref().err()).cloned().map(Refusal::Elsewhere),
        Err(message) => {
            let message = format!("Service {namespace}/{name} port {number}: {message}");
            Some(Refusal::Here(Problem::at(Reason::UnsupportedProtocol, field, message)))
        }
    };
    let target = Target::Service {
        namespace: namespace.to_owned(),
        name: name.clone(),
        port: number,
        http2: http2 && port.app_protocol.is_none(),
    };
    Ok(Resolved { target, refused })
}

fn find_port(service: &Service, number: i32) -> Option<(&ServicePort, u16)> {
    let ports = service.spec.as_ref()?.ports.as_ref()?;
    let port = ports.iter().find(|port| port.port == number && is_tcp(port.protocol.as_deref()))?;
    Some((port, u16::try_from(number).ok().filter(|number| *number > 0)?))
}

fn ports_of(service: &Service) -> String {
    let ports: Vec<String> = service
        .spec
        .iter()
        .flat_map(|spec| spec.ports.iter().flatten())
        .filter(|port| is_tcp(port.protocol.as_deref()))
        .map(|port| port.port.to_string())
        .collect();
    if ports.is_empty() { "none".to_owned() } else { ports.join(", ") }
}

fn is_tcp(protocol: Option<&str>) -> bool {
    protocol.is_none_or(|protocol| protocol == "TCP")
}

/// What the port speaks (KEP-3726, and names of services in any case, RFC 6335).
fn protocol(port: &ServicePort, tls: bool, http2: bool) -> Result<BackendProtocol, String> {
    let multiplexed = if tls { BackendProtocol::H2 } else { BackendProtocol::H2c };
    match port.app_protocol.as_deref().map(str::to_ascii_lowercase).as_deref() {
        None if http2 => Ok(multiplexed),
        Some("https") if http2 && tls => Ok(multiplexed),
        Some("kubernetes.io/h2c" | "grpc") => Ok(multiplexed),
        Some(secure @ ("https" | "kubernetes.io/wss")) if !tls => Err(format!(
            "appProtocol {secure} needs a BackendTLSPolicy that says which certificate to expect"
        )),
        None | Some("http" | "https" | "kubernetes.io/ws" | "kubernetes.io/wss") => {
            Ok(BackendProtocol::Http1)
        }
        Some(other) => Err(format!(
            "appProtocol {other:?} is not supported; use http, https, grpc, kubernetes.io/h2c, kubernetes.io/ws or kubernetes.io/wss"
        )),
    }
}

/// The backend of a port that [`resolve`] found.
pub(super) fn build(
    world: &World<'_>,
    namespace: &str,
    name: &str,
    port: u16,
    http2: bool,
) -> Option<Backend> {
    let service = world.resources.services.get(&ObjectName::new(namespace, name))?;
    let (port, _) = find_port(service, i32::from(port))?;
    let tls = world.backend_tls.of(namespace, name, port.name.as_deref());
    let tls = tls.and_then(|tls| tls.as_ref().ok()).cloned();
    Some(Backend {
        endpoints: endpoints(world.slices_of(namespace, name), port.name.as_deref().unwrap_or_default()),
        protocol: protocol(port, tls.is_some(), http2).ok()?,
        tls,
    })
}

/// Ready endpoints of the port; when there is none, those that still serve while they terminate (KEP-1669).
fn endpoints(slices: &[&EndpointSlice], port: &str) -> Vec<Endpoint> {
    let pick = |wanted: fn(&SliceEndpoint) -> bool| {
        let mut picked: Vec<Endpoint> =
            slices.iter().flat_map(|slice| of_slice(slice, port, wanted)).collect();
        picked.sort_unstable();
        picked.dedup();
        picked
    };
    let ready = pick(is_ready);
    if ready.is_empty() { pick(is_serving) } else { ready }
}

fn of_slice(slice: &EndpointSlice, port: &str, wanted: fn(&SliceEndpoint) -> bool) -> Vec<Endpoint> {
    let number = slice
        .ports
        .iter()
        .flatten()
        .find(|candidate| {
            candidate.name.as_deref().unwrap_or_default() == port && is_tcp(candidate.protocol.as_deref())
        })
        .and_then(|port| u16::try_from(port.port?).ok())
        .filter(|number| *number > 0);
    let Some(number) = number.filter(|_| matches!(slice.address_type.as_str(), "IPv4" | "IPv6")) else {
        return Vec::new();
    };
    slice
        .endpoints
        .iter()
        .flatten()
        .filter(|endpoint| wanted(endpoint))
        // All addresses of one endpoint are the same pod; consumers use the first (EndpointSlice.endpoints).
        .filter_map(|endpoint| endpoint.addresses.first())
        .filter_map(|address| address.parse::<std::net::IpAddr>().ok())
        .map(|address| Endpoint { host: address.to_string(), port: number })
        .collect()
}

fn is_ready(endpoint: &SliceEndpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
}

fn is_serving(endpoint: &SliceEndpoint) -> bool {
    let Some(conditions) = &endpoint.conditions else { return true };
    conditions.serving.or(conditions.ready).unwrap_or(true)
}

//! GatewayClasses, Gateways, ListenerSets → listeners.
//!
//! In: the world. Out: every listener of a Gateway that is ours, checked by itself ([`check`]), against the others
//! ([`conflict`]), with the certificates that it serves ([`certificates`]) and what it lets attach ([`allowed`]); and the
//! addresses that Gateways ask for ([`address`]).

mod address;
mod allowed;
mod certificates;
mod check;
mod class;
mod conflict;
mod frontend;
mod gateway;
mod statuses;

use gateway_snapshot::{CallerCertificates, Hostname, Key, Listener, ListenerProtocol, ListenerTls};

use crate::problem::Problem;
use crate::resources::ObjectName;

pub(crate) use allowed::{AllowedNamespaces, admits};
pub(crate) use certificates::Certificates;
pub(crate) use class::{Classes, classes};
pub(crate) use gateway::{CompiledGateway, Gateways, fleet_named, gateways};
pub(crate) use statuses::{listener_set_status, status};

/// Kinds that an HTTP or HTTPS listener takes.
pub(crate) const ROUTE_KINDS: [&str; 2] = ["HTTPRoute", "GRPCRoute"];

/// A listener, whether or not it can be served.
#[derive(Debug)]
pub(crate) struct CompiledListener {
    /// Its Gateway, also when a ListenerSet holds it.
    pub(crate) gateway: ObjectName,
    /// The ListenerSet that holds it.
    pub(crate) set: Option<ObjectName>,
    pub(crate) name: String,
    pub(crate) port: u16,
    pub(crate) protocol: Option<ListenerProtocol>,
    pub(crate) hostname: Option<Hostname>,
    pub(crate) certificates: Vec<Key>,
    /// Certificates of callers; equal on all listeners of one Gateway's port.
    pub(crate) callers: Option<CallerCertificates>,
    /// What its Gateway shows to backends.
    pub(crate) client_certificate: Option<Key>,
    /// Kinds of routes that it takes.
    pub(crate) kinds: Vec<&'static str>,
    pub(crate) namespaces: AllowedNamespaces,
    /// Why it cannot be accepted.
    pub(crate) refused: Option<Problem>,
    /// Another listener claims the same.
    pub(crate) conflict: Option<Problem>,
    /// References that lead nowhere.
    pub(crate) unresolved: Vec<Problem>,
}

impl CompiledListener {
    /// Key in the snapshot: `namespace/gateway/listener`, or with the set's namespace and name before the
    /// listener's.
    pub(crate) fn key(&self) -> Key {
        match &self.set {
            None => format!("{}/{}", self.gateway, self.name),
            Some(set) => format!("{}/{set}/{}", self.gateway, self.name),
        }
    }

    /// Namespace of the object that it is written in.
    pub(crate) fn namespace(&self) -> &str {
        self.set.as_ref().map_or(&self.gateway.namespace, |set| &set.namespace)
    }

    /// Whether requests can reach it.
    pub(crate) fn is_servable(&self) -> bool {
        self.refused.is_none()
            && self.conflict.is_none()
            && match self.protocol {
                Some(ListenerProtocol::Http) => true,
                Some(ListenerProtocol::Https) => !self.certificates.is_empty(),
                None => false,
            }
    }

    /// Whether everything about it is well.
    pub(crate) fn is_valid(&self) -> bool {
        self.is_servable() && self.unresolved.is_empty()
    }

    /// Its entry in the snapshot, when it can be served.
    pub(crate) fn entry(&self) -> Option<Listener> {
        let protocol = self.protocol.filter(|_| self.is_servable())?;
        Some(Listener {
            gateway: self.gateway.to_string(),
            name: self.name.clone(),
            port: self.port,
            protocol,
            hostname: self.hostname.clone(),
            tls: (protocol == ListenerProtocol::Https).then(|| ListenerTls {
                certificates: self.certificates.clone(),
                callers: self.callers.clone(),
            }),
            client_certificate: self.client_certificate.clone(),
        })
    }
}

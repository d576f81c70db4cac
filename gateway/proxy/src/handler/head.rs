//! Between the two forms in which heads come, and the pipeline's view of them.

use gateway_pipeline::{HeaderSink, Headers, RequestHead, TlsHead};
use http::header::UPGRADE;
use http::{HeaderName, HeaderValue, Version};
use pingora_http::{RequestHeader, ResponseHeader};

use super::context::Facts;
use crate::wire::View;

/// A request's head as it was received.
pub(crate) enum Received<'a> {
    /// Parsed by pingora.
    Parsed(&'a RequestHeader),
    /// As it stands in the connection's buffer: HTTP/1.1, and no tunnel.
    Plain {
        /// A token.
        method: &'a str,
        /// Origin form.
        target: &'a [u8],
        /// All of them.
        fields: View<'a>,
    },
}

impl Received<'_> {
    /// All fields.
    pub(crate) fn headers(&self) -> &dyn Headers {
        match self {
            Self::Parsed(request) => &request.headers,
            Self::Plain { fields, .. } => fields,
        }
    }

    /// Whether this is a WebSocket handshake. Other protocols are not offered: their `Upgrade` is dropped on the way up,
    /// and such a request has its limits in time and its mirrors like any other.
    pub(crate) fn asks_for_tunnel(&self) -> bool {
        let Self::Parsed(request) = self else { return false };
        let mut protocols = request.headers.get_all(UPGRADE).iter();
        let first = protocols.next().is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
        first && protocols.next().is_none() && request.version == Version::HTTP_11
    }

    /// The pipeline's view; borrows everything.
    pub(crate) fn head<'s>(&'s self, facts: &'s Facts) -> RequestHead<'s> {
        let (method, target, authority, version) = match self {
            Self::Parsed(request) => {
                let authority = request.uri.authority().map(|authority| authority.as_str().as_bytes());
                (request.method.as_str(), request.raw_path(), authority, request.version)
            }
            Self::Plain { method, target, .. } => (*method, *target, None, Version::HTTP_11),
        };
        let connection = &facts.connection;
        RequestHead {
            method,
            target,
            authority,
            version,
            headers: self.headers(),
            // An IPv4 address that came over an IPv6 socket is an IPv4 address.
            peer: connection.peer.ip().to_canonical(),
            listener_port: connection.port.number(),
            local_port: connection.local.port(),
            tls: connection.tls.as_ref().map(|tls| TlsHead { server_name: tls.server_name.as_deref() }),
            request_id: facts.request_id,
            random: facts.random,
        }
    }
}

/// Edits to a request for the upstream.
pub(crate) struct RequestEdits<'a>(pub(crate) &'a mut RequestHeader);

impl HeaderSink for RequestEdits<'_> {
    fn set(&mut self, name: &HeaderName, value: &[u8]) {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            // Only a wrong value could fail, and it is right.
            let _ = self.0.insert_header(name.clone(), value);
        }
    }

    fn append(&mut self, name: &HeaderName, value: &[u8]) {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            let _ = self.0.append_header(name.clone(), value);
        }
    }

    fn remove(&mut self, name: &HeaderName) {
        self.0.remove_header(name);
    }
}

/// Edits to a response for downstream.
pub(crate) struct ResponseEdits<'a>(pub(crate) &'a mut ResponseHeader);

impl HeaderSink for ResponseEdits<'_> {
    fn set(&mut self, name: &HeaderName, value: &[u8]) {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            let _ = self.0.insert_header(name.clone(), value);
        }
    }

    fn append(&mut self, name: &HeaderName, value: &[u8]) {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            let _ = self.0.append_header(name.clone(), value);
        }
    }

    fn remove(&mut self, name: &HeaderName) {
        self.0.remove_header(name);
    }
}

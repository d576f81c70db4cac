//! Between pingora's headers and the pipeline's view of them.

use gateway_pipeline::{HeaderSink, RequestHead, TlsHead};
use http::{HeaderName, HeaderValue};
use pingora_http::{RequestHeader, ResponseHeader};

use super::context::Facts;

/// The pipeline's view of a request; borrows everything.
pub(crate) fn request_head<'a>(request: &'a RequestHeader, facts: &'a Facts) -> RequestHead<'a> {
    let connection = &facts.connection;
    RequestHead {
        method: request.method.as_str(),
        target: request.raw_path(),
        authority: request.uri.authority().map(|authority| authority.as_str().as_bytes()),
        version: request.version,
        headers: &request.headers,
        // An IPv4 address that came over an IPv6 socket is an IPv4 address.
        peer: connection.peer.ip().to_canonical(),
        listener_port: connection.port.number(),
        local_port: connection.local.port(),
        tls: connection.tls.as_ref().map(|tls| TlsHead { server_name: tls.server_name.as_deref() }),
        request_id: facts.request_id,
        random: facts.random,
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

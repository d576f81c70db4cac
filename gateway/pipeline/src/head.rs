//! What the shell lends for one request, and how header fields are read and edited.
//!
//! In: borrowed bytes of a parsed request head, one reading of the clocks, fresh random bits.
//! Nothing here is copied or decoded; [`crate::address`] makes sense of the target and the host.
//! The traits let both engines (a header map, slices of a read buffer) use one pipeline.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue};

/// One reading of both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Monotonic clock, nanoseconds since any fixed point of the process.
    pub mono_ns: u64,
    /// Wall clock, microseconds since 1970.
    pub unix_us: i64,
}

impl Now {
    /// Whole seconds since 1970.
    pub const fn unix_s(self) -> i64 {
        self.unix_us.div_euclid(1_000_000)
    }
}

/// TLS of the downstream connection.
#[derive(Debug, Clone, Copy)]
pub struct TlsHead<'a> {
    /// Server name of the ClientHello, if it sent one.
    pub server_name: Option<&'a str>,
}

/// A request head.
#[derive(Clone, Copy)]
pub struct RequestHead<'a> {
    /// As received.
    pub method: &'a str,
    /// The request target as received: origin-, absolute- or asterisk-form (RFC 9112, 3.2); HTTP/2: `:path`.
    pub target: &'a [u8],
    /// HTTP/2 `:authority`; nothing for HTTP/1.
    pub authority: Option<&'a [u8]>,
    /// Of the downstream connection.
    pub version: http::Version,
    /// All fields, `Host` included.
    pub headers: &'a dyn Headers,
    /// Other end of the TCP connection.
    pub peer: IpAddr,
    /// Port of the listener as written in the snapshot, which may be 0.
    pub listener_port: u16,
    /// Port that is really bound.
    pub local_port: u16,
    /// Present on HTTPS listeners.
    pub tls: Option<TlsHead<'a>>,
    /// A fresh UUIDv7; a trusted proxy's `X-Request-Id` replaces it.
    pub request_id: u128,
    /// Fresh random bits, for weights and shares.
    pub random: u64,
}

impl std::fmt::Debug for RequestHead<'_> {
    // Header fields may hold credentials.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestHead")
            .field("method", &self.method)
            .field("peer", &self.peer)
            .field("listener_port", &self.listener_port)
            .finish_non_exhaustive()
    }
}

/// Read access to header fields.
pub trait Headers {
    /// Calls `visit` for each field of this name, in the order received.
    fn each<'s>(&'s self, name: &HeaderName, visit: &mut dyn FnMut(&'s [u8]));

    /// The first field of this name.
    fn first<'s>(&'s self, name: &HeaderName) -> Option<&'s [u8]> {
        let mut found = None;
        self.each(name, &mut |value| {
            found.get_or_insert(value);
        });
        found
    }

    /// Whether there is a field of this name.
    fn has(&self, name: &HeaderName) -> bool {
        self.first(name).is_some()
    }
}

impl Headers for HeaderMap {
    fn each<'s>(&'s self, name: &HeaderName, visit: &mut dyn FnMut(&'s [u8])) {
        for value in self.get_all(name) {
            visit(value.as_bytes());
        }
    }

    fn first<'s>(&'s self, name: &HeaderName) -> Option<&'s [u8]> {
        self.get(name).map(HeaderValue::as_bytes)
    }
}

/// Write access to header fields. Values are always valid field values.
pub trait HeaderSink {
    /// Replaces all fields of this name by one.
    fn set(&mut self, name: &HeaderName, value: &[u8]);
    /// Adds a field.
    fn append(&mut self, name: &HeaderName, value: &[u8]);
    /// Removes all fields of this name.
    fn remove(&mut self, name: &HeaderName);
}

impl HeaderSink for HeaderMap {
    fn set(&mut self, name: &HeaderName, value: &[u8]) {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            self.insert(name, value);
        }
    }

    fn append(&mut self, name: &HeaderName, value: &[u8]) {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            HeaderMap::append(self, name, value);
        }
    }

    fn remove(&mut self, name: &HeaderName) {
        HeaderMap::remove(self, name);
    }
}

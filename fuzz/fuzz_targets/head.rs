//! Any request head over a snapshot that has something of everything: an answer, and one record.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, LazyLock};

use arbitrary::Arbitrary;
use fuzz::{exchange, prepare, snapshot};
use gateway_pipeline::{Prepared, RequestHead, TlsHead};
use http::{HeaderMap, HeaderName, HeaderValue, Version};
use libfuzzer_sys::fuzz_target;

static PREPARED: LazyLock<Arc<Prepared>> =
    LazyLock::new(|| prepare(&snapshot()).expect("the examples are right"));

const NAMES: [&str; 16] = [
    "host",
    "x-api-key",
    "authorization",
    "cookie",
    "origin",
    "access-control-request-method",
    "access-control-request-headers",
    "content-length",
    "content-type",
    "upgrade",
    "connection",
    "x-forwarded-for",
    "x-request-id",
    "traceparent",
    "forwarded",
    "x-version",
];

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    method: &'a str,
    target: &'a [u8],
    authority: Option<&'a [u8]>,
    fields: Vec<(u8, &'a [u8])>,
    server_name: Option<Option<&'a str>>,
    h2: bool,
    v6: bool,
    port: u8,
    random: u64,
}

fuzz_target!(|input: Input<'_>| {
    let mut headers = HeaderMap::new();
    for (name, value) in input.fields.iter().take(64) {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(HeaderName::from_static(NAMES[usize::from(*name) % NAMES.len()]), value);
        }
    }
    let port = [8080, 8443, 80, 443][usize::from(input.port) % 4];
    let head = RequestHead {
        method: input.method,
        target: input.target,
        authority: input.authority,
        version: if input.h2 { Version::HTTP_2 } else { Version::HTTP_11 },
        headers: &headers,
        peer: if input.v6 { IpAddr::V6(Ipv6Addr::LOCALHOST) } else { IpAddr::V4(Ipv4Addr::LOCALHOST) },
        listener_port: port,
        local_port: port,
        tls: input.server_name.map(|server_name| TlsHead { server_name }),
        request_id: 7,
        random: input.random,
    };
    exchange(&PREPARED, &head, &headers);
});

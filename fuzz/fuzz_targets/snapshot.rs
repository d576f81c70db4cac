//! A snapshot file of unknown origin: refused, or able to serve.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use fuzz::{exchange, prepare};
use gateway_pipeline::RequestHead;
use gateway_snapshot::Snapshot;
use http::{HeaderMap, HeaderValue, Version, header};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(snapshot) = serde_json::from_slice::<Snapshot>(bytes) else { return };
    let Ok(prepared) = prepare(&snapshot) else { return };
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, HeaderValue::from_static("shop.example.com"));
    headers.insert("x-api-key", HeaderValue::from_static("tk_demo_alice_3f9c1d2ab47e4c0f8e61"));
    for listener in snapshot.listeners.values().take(4) {
        let head = RequestHead {
            method: "GET",
            target: b"/orders/7?a=b",
            authority: None,
            version: Version::HTTP_11,
            headers: &headers,
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
            listener_port: listener.port,
            local_port: listener.port,
            tls: None,
            request_id: 7,
            random: 7,
        };
        exchange(&prepared, &head, &headers);
    }
});

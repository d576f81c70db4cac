use std::net::Ipv4Addr;

use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;

use super::*;

fn head<'a>(version: Version, target: &'a [u8], headers: &'a HeaderMap) -> RequestHead<'a> {
    RequestHead {
        method: "GET",
        target,
        authority: None,
        version,
        headers,
        peer: Ipv4Addr::LOCALHOST.into(),
        listener_port: 80,
        local_port: 80,
        tls: None,
        request_id: 0,
        random: 0,
    }
}

fn hosts(values: &[&[u8]]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(header::HOST, HeaderValue::from_bytes(value).unwrap());
    }
    headers
}

fn shown(version: Version, target: &[u8], hosts_given: &[&[u8]]) -> String {
    let headers = hosts(hosts_given);
    match address(&head(version, target, &headers)) {
        Ok(found) => format!(
            "{} {} {} {}",
            found.host.as_ref().map_or("-", Host::as_str),
            found.path,
            found.query.unwrap_or("-"),
            found.rewritten
        ),
        Err(fault) => format!("{fault:?}"),
    }
}

#[test]
fn hosts_are_normalised() {
    for (host, expected) in [
        (&b"example.com"[..], "example.com / - false"),
        (b"EXAMPLE.com:8080", "example.com / - false"),
        (b"example.com.", "example.com / - false"),
        (b"example.com.:80", "example.com / - false"),
        (b"[::1]:80", "[::1] / - false"),
        (b"[::1]", "[::1] / - false"),
        (b"my_host", "my_host / - false"),
        (b"example.com:", "example.com / - false"),
        (b"", "HostInvalid"),
        (b".", "HostInvalid"),
        (b"a..b", "HostInvalid"),
        (b".a", "HostInvalid"),
        (b"user@example.com", "HostInvalid"),
        (b"example.com:80:80", "HostInvalid"),
        (b"example.com:99999", "HostInvalid"),
        (b"example.com:+80", "HostInvalid"),
        (b"[::1", "HostInvalid"),
        (b"a b", "HostInvalid"),
        (b"a,b", "HostInvalid"),
        (b"\xff", "HostInvalid"),
    ] {
        assert_eq!(shown(Version::HTTP_11, b"/", &[host]), expected, "{host:?}");
    }
}

#[test]
fn one_host_per_request() {
    let one: &[&[u8]] = &[b"a"];
    assert_eq!(shown(Version::HTTP_11, b"/", &[b"a", b"a"]), "HostTwice");
    assert_eq!(shown(Version::HTTP_11, b"/", &[]), "HostMissing");
    assert_eq!(shown(Version::HTTP_10, b"/", &[]), "- / - false");
    assert_eq!(shown(Version::HTTP_11, b"http://b:81/x?y", one), "b /x y true");
    assert_eq!(shown(Version::HTTP_11, b"HTTPS://b", one), "b / - true");
    assert_eq!(shown(Version::HTTP_11, b"http://b?q", one), "b / q true");
    assert_eq!(shown(Version::HTTP_11, b"http://b/", &[]), "HostMissing");
    assert_eq!(shown(Version::HTTP_11, b"ftp://b/", one), "Target");
    assert_eq!(shown(Version::HTTP_11, b"", one), "Target");
    assert_eq!(shown(Version::HTTP_11, b"a/b", one), "Target");
    assert_eq!(shown(Version::HTTP_11, b"*", one), "a * - false");
    assert_eq!(shown(Version::HTTP_11, b"/a//b?x=1?2", one), "a /a/b x=1?2 true");
    assert_eq!(shown(Version::HTTP_11, b"/?a b", one), "Query");
    assert_eq!(shown(Version::HTTP_11, b"/?a#b", one), "Query");
}

#[test]
fn pseudo_header_and_host_agree() {
    let headers = hosts(&[b"A.example"]);
    let mut request = head(Version::HTTP_2, b"/", &headers);
    request.authority = Some(b"a.example");
    assert_eq!(address(&request).unwrap().host.unwrap().as_str(), "a.example");
    request.authority = Some(b"b.example");
    assert_eq!(address(&request).err(), Some(AddressFault::HostTwice));
    request.method = "CONNECT";
    assert_eq!(address(&request).err(), Some(AddressFault::Connect));
}

proptest! {
    #[test]
    fn hostile_bytes_never_panic(
        target in prop::collection::vec(any::<u8>(), 0..60),
        authority in prop::option::of(prop::collection::vec(any::<u8>(), 0..60)),
    ) {
        let headers = hosts(&[b"a"]);
        let mut request = head(Version::HTTP_2, &target, &headers);
        request.authority = authority.as_deref();
        let _ = address(&request);
        request.headers = &headers;
        request.authority = None;
        if let Ok(found) = address(&request) {
            prop_assert!(found.path == "*" || found.path.starts_with('/'));
        }
    }
}

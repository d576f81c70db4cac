//! One case per refusal of RFC 9112, and agreement between whole and piecewise scanning.

use proptest::prelude::*;

use super::*;

const LIMITS: HeadLimits = HeadLimits { fields: 8, bytes: 256, target: 64 };

fn scan(bytes: &[u8]) -> Result<Option<Head>, Fault> {
    HeadScanner::default().scan(bytes, &LIMITS)
}

fn framing_of(fields: &str) -> Result<Framing, Fault> {
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    scan(head.as_bytes()).map(|head| head.expect("the head is complete").framing)
}

#[test]
fn a_plain_request_passes_up_to_its_empty_line() {
    let bytes = b"GET /a?b=c HTTP/1.1\r\nHost: shop.example:8080\r\n\r\nGET /next";
    assert_eq!(scan(bytes), Ok(Some(Head { len: bytes.len() - 9, framing: Framing::Length(0) })));
}

#[test]
fn bodies_are_framed_one_way_only() {
    assert_eq!(framing_of("Content-Length: 12\r\n"), Ok(Framing::Length(12)));
    assert_eq!(framing_of("Transfer-Encoding: Chunked\r\n"), Ok(Framing::Chunked));
    assert_eq!(framing_of("Upgrade: websocket\r\nConnection: Upgrade\r\n"), Ok(Framing::Tunnel));
    assert_eq!(framing_of("Upgrade: h2c\r\nContent-Length: 3\r\n"), Ok(Framing::Length(3)));
    assert_eq!(framing_of("Upgrade: websocket\r\nContent-Length: 3\r\n"), Ok(Framing::Length(3)));
}

#[test]
fn ambiguous_framing_is_refused() {
    for fields in [
        "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 1\r\nContent-Length: 2\r\n",
        "Content-Length: 1\r\nContent-Length: 1\r\n",
        "Content-Length: 1, 1\r\n",
        "Content-Length: +1\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x1\r\n",
        "Content-Length:\r\n",
        "Content-Length: 99999999999999999999999\r\n",
        "Host: b\r\n",
    ] {
        assert!(matches!(framing_of(fields), Err(Fault::Malformed(_))), "{fields:?}");
    }
    for fields in [
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    ] {
        assert_eq!(framing_of(fields), Err(Fault::TransferCoding), "{fields:?}");
    }
}

#[test]
fn malformed_heads_are_refused() {
    for head in [
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX\x00: b\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: user@a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /#x HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET a HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        assert!(
            matches!(scan(head.as_bytes()), Err(Fault::Malformed(_))),
            "{head:?}: {:?}",
            scan(head.as_bytes())
        );
    }
    assert_eq!(scan(b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"), Err(Fault::ConnectMethod));
}

#[test]
fn unusual_but_clear_heads_pass() {
    for head in [
        "GET http://A.example/x HTTP/1.1\r\nHost: a.example\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: [::1]:80\r\nX:  \t spaced \t\r\n\r\n",
    ] {
        assert!(matches!(scan(head.as_bytes()), Ok(Some(_))), "{head:?}: {:?}", scan(head.as_bytes()));
    }
}

#[test]
fn each_limit_has_its_own_fault() {
    let target = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(64));
    assert_eq!(scan(target.as_bytes()), Err(Fault::TargetTooLong));
    let value = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(256));
    assert_eq!(scan(value.as_bytes()), Err(Fault::HeaderTooLarge));
    let fields = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(8));
    assert_eq!(scan(fields.as_bytes()), Err(Fault::TooManyFields));
    assert_eq!(scan(&[b'G'; 2_000]), Err(Fault::TargetTooLong));
    let endless = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(2_000));
    assert_eq!(scan(endless.as_bytes()), Err(Fault::HeaderTooLarge));
}

#[test]
fn a_sketch_tells_what_can_be_told() {
    let sketch = Sketch::of(b"GET /a?key=secret HTTP/1.1\nhOsT: shop \r\n\n");
    assert_eq!(
        sketch,
        Sketch { method: Some("GET".into()), path: Some("/a".into()), host: Some("shop".into()) }
    );
    assert_eq!(Sketch::of(b"\x16\x03\x01\x00"), Sketch::default());
}

proptest! {
    #[test]
    fn pieces_and_whole_agree(bytes in proptest::collection::vec(prop_oneof![
        Just(b"\r\n".to_vec()), Just(b"\n".to_vec()), Just(b"GET / HTTP/1.1\r\n".to_vec()), Just(b"Host: a\r\n".to_vec()),
        Just(b"Content-Length: 5\r\n".to_vec()), proptest::collection::vec(any::<u8>(), 0..8),
    ], 0..8).prop_map(|parts| parts.concat())) {
        let whole = scan(&bytes);
        let mut scanner = HeadScanner::default();
        let mut pieces = Ok(None);
        for end in 0..=bytes.len() {
            pieces = scanner.scan(&bytes[..end], &LIMITS);
            if !matches!(pieces, Ok(None)) {
                break;
            }
        }
        prop_assert_eq!(whole, pieces);
    }

    #[test]
    fn sketches_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = Sketch::of(&bytes);
    }
}

//! Who is behind the connection: client address and request id, as a trusted proxy tells them.
//!
//! In: the peer, the trusted networks, `X-Forwarded-For` and `X-Request-Id`. Out: the client address (the
//! rightmost that no trusted proxy added) and the request id. Fields of peers that are not trusted are lies
//! until proven otherwise and never reach the upstream.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::{HeaderName, header};
use ipnet::IpNet;
use uuid::Uuid;

use crate::address;
use crate::exchange::REQUEST_ID;
use crate::head::{HeaderSink, RequestHead};

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// Fields that also speak about the client; removed when an untrusted peer sends them.
const OTHERS: [HeaderName; 4] = [
    header::FORWARDED,
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-prefix"),
    HeaderName::from_static("x-real-ip"),
];
/// Hops of `X-Forwarded-For` that are looked at.
const MAX_HOPS: usize = 32;

/// The client address, and whether the peer is a trusted proxy.
pub(crate) fn client(head: &RequestHead<'_>, trusted: &[IpNet]) -> (IpAddr, bool) {
    let peer = head.peer.to_canonical();
    if trusted.is_empty() || !is_trusted(peer, trusted) {
        return (peer, false);
    }
    let mut hops: [Option<IpAddr>; MAX_HOPS] = [None; MAX_HOPS];
    let mut count = 0;
    head.headers.each(&FOR, &mut |field| {
        for hop in field.split(|byte| *byte == b',') {
            // A ring: only the last hops matter.
            hops[count % MAX_HOPS] = parse_hop(hop.trim_ascii());
            count += 1;
        }
    });
    let mut client = peer;
    for back in 1..=count.min(MAX_HOPS) {
        let Some(hop) = hops[(count - back) % MAX_HOPS] else { break };
        client = hop;
        if !is_trusted(hop, trusted) {
            break;
        }
    }
    (client, true)
}

fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|net| net.contains(&address))
}

/// An address, with or without port and brackets.
fn parse_hop(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?;
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().ok();
    address.or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip())).map(|ip| ip.to_canonical())
}

/// A trusted proxy's id, if it is a UUID; else the fresh one.
pub(crate) fn request_id(head: &RequestHead<'_>, trusted: bool) -> u128 {
    if !trusted {
        return head.request_id;
    }
    let told = head.headers.first(&REQUEST_ID).and_then(|value| Uuid::try_parse_ascii(value).ok());
    told.map_or(head.request_id, |id| id.as_u128())
}

/// Writes the forwarded fields and the request id for the upstream.
pub(crate) fn edit(head: &RequestHead<'_>, trusted: bool, id: u128, sink: &mut dyn HeaderSink) {
    let mut buffer = [0_u8; 64];
    let address = match head.peer.to_canonical() {
        IpAddr::V4(address) => dotted(&mut buffer, address),
        IpAddr::V6(address) => written(&mut buffer, format_args!("{address}")),
    };
    if trusted {
        append_hop(head, address, sink);
    } else {
        sink.set(&FOR, address);
        for name in &OTHERS {
            sink.remove(name);
        }
    }
    if !trusted || !head.headers.has(&PROTO) {
        sink.set(&PROTO, if head.tls.is_some() { b"https" } else { b"http" });
    }
    if let Ok(Some(authority)) = address::authority_of(head)
        && (!trusted || !head.headers.has(&HOST))
    {
        sink.set(&HOST, authority);
    }
    sink.set(
        &REQUEST_ID,
        Uuid::from_u128(id).hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes(),
    );
}

/// One field with all hops: some upstreams read only the first field of a name.
fn append_hop(head: &RequestHead<'_>, address: &[u8], sink: &mut dyn HeaderSink) {
    let mut hops = Vec::new();
    head.headers.each(&FOR, &mut |field| {
        hops.extend_from_slice(field);
        hops.extend_from_slice(b", ");
    });
    hops.extend_from_slice(address);
    sink.set(&FOR, &hops);
}

/// An address as most callers have it.
fn dotted(buffer: &mut [u8; 64], address: Ipv4Addr) -> &[u8] {
    let [first, second, third, fourth] = address.octets();
    let [mut a, mut b, mut c, mut d] = [itoa::Buffer::new(); 4];
    let parts = [a.format(first), ".", b.format(second), ".", c.format(third), ".", d.format(fourth)];
    joined(buffer, &parts)
}

/// Texts one behind the other. A buffer that is too small cuts them; callers bring one that fits.
pub(crate) fn joined<'b>(buffer: &'b mut [u8], parts: &[&str]) -> &'b [u8] {
    let mut end = 0;
    for part in parts {
        let part = &part.as_bytes()[..part.len().min(buffer.len() - end)];
        buffer[end..end + part.len()].copy_from_slice(part);
        end += part.len();
    }
    &buffer[..end]
}

/// Formats in place.
fn written<'b>(buffer: &'b mut [u8], text: std::fmt::Arguments<'_>) -> &'b [u8] {
    let len = {
        let mut rest = &mut *buffer;
        let all = rest.len();
        // A buffer that is too small cuts the text; callers bring one that fits.
        let _ = rest.write_fmt(text);
        all - rest.len()
    };
    &buffer[..len]
}

//! Where a request is addressed: host, port, path and query.
//!
//! In: a request head. Out: the normalised host, the canonical path and the raw query, or why the request is
//! malformed (RFC 9112 3.2, RFC 9113 8.3.1). Hosts are lower case, without port and trailing dot.
//! Two different answers to "which host?" in one request are refused, never resolved.

use std::borrow::Cow;

use http::{Version, header};
use smallvec::SmallVec;

use crate::head::RequestHead;
use crate::path::{self, PathFault};

/// Why a request head cannot be understood; every one is answered with 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressFault {
    /// Host is mandatory in HTTP/1.1.
    #[error("host is missing")]
    HostMissing,
    /// More than one Host field, or Host and `:authority` that differ.
    #[error("host is given more than once")]
    HostTwice,
    /// Not a host and an optional port.
    #[error("host is not valid")]
    HostInvalid,
    /// Not origin-, absolute- or asterisk-form.
    #[error("request target is not valid")]
    Target,
    /// A gateway is no tunnel.
    #[error("method CONNECT is not served")]
    Connect,
    /// The query holds bytes that must be percent-encoded.
    #[error("query has a character that must be percent-encoded")]
    Query,
    /// The path is refused.
    #[error("{0}")]
    Path(#[from] PathFault),
}

/// A host of at most 255 bytes, normalised; kept in place unless it is long.
#[derive(Clone)]
pub(crate) struct Host(SmallVec<[u8; 64]>);

impl Host {
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("only ASCII is stored")
    }

    /// Lower case, one trailing dot taken off.
    pub(crate) fn new(name: &[u8]) -> Option<Self> {
        let name = name.strip_suffix(b".").unwrap_or(name);
        if name.is_empty() || name.len() > 255 || !is_host(name) {
            return None;
        }
        let mut bytes = SmallVec::from_slice(name);
        bytes.make_ascii_lowercase();
        Some(Self(bytes))
    }
}

/// A registered name of letters, digits, `-`, `_` and single dots, or an address in brackets.
fn is_host(name: &[u8]) -> bool {
    if let Some(address) = name.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")) {
        return std::str::from_utf8(address).is_ok_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok());
    }
    let legal = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    name.iter().all(legal) && name[0] != b'.' && !name.windows(2).any(|two| two == b"..")
}

/// Where a request is addressed.
pub(crate) struct Address<'a> {
    /// Nothing for HTTP/1.0 without Host.
    pub(crate) host: Option<Host>,
    /// Canonical.
    pub(crate) path: Cow<'a, str>,
    /// As received, without its question mark.
    pub(crate) query: Option<&'a str>,
    /// The target must not go upstream as received: absolute-form, or the path was not canonical.
    pub(crate) rewritten: bool,
}

/// Splits and checks the target and the host.
pub(crate) fn address<'a>(head: &RequestHead<'a>) -> Result<Address<'a>, AddressFault> {
    if head.method == "CONNECT" {
        return Err(AddressFault::Connect);
    }
    let target = split(head.target)?;
    let named = authority(head, target.authority)?;
    let host = named.map(parse_authority).transpose()?;
    if target.path == b"*" {
        return Ok(Address { host, path: Cow::Borrowed("*"), query: None, rewritten: false });
    }
    let path = path::canonical(target.path)?;
    let query = target.query.map(check_query).transpose()?;
    let rewritten = target.authority.is_some() || matches!(path, Cow::Owned(_));
    Ok(Address { host, path, query, rewritten })
}

/// The authority of the request as received, which goes upstream as Host.
pub(crate) fn authority_of<'a>(head: &RequestHead<'a>) -> Result<Option<&'a [u8]>, AddressFault> {
    authority(head, split(head.target)?.authority)
}

struct Target<'a> {
    authority: Option<&'a [u8]>,
    path: &'a [u8],
    query: Option<&'a [u8]>,
}

fn split(target: &[u8]) -> Result<Target<'_>, AddressFault> {
    if target == b"*" {
        return Ok(Target { authority: None, path: target, query: None });
    }
    let (authority, rest) = match target.first() {
        Some(b'/') => (None, target),
        _ => absolute(target).ok_or(AddressFault::Target)?,
    };
    let (path, query) = match rest.iter().position(|byte| *byte == b'?') {
        Some(at) => (&rest[..at], Some(&rest[at + 1..])),
        None => (rest, None),
    };
    // `http://host?x` has an empty path, which means `/` (RFC 9110, 4.2.3).
    let path = if path.is_empty() { b"/" } else { path };
    Ok(Target { authority, path, query })
}

/// `http://authority/rest`; the scheme decides nothing, the connection does.
fn absolute(target: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let colon = target.iter().position(|byte| *byte == b':')?;
    let scheme = &target[..colon];
    if !scheme.eq_ignore_ascii_case(b"http") && !scheme.eq_ignore_ascii_case(b"https") {
        return None;
    }
    let rest = target[colon..].strip_prefix(b"://")?;
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    Some((Some(&rest[..end]), &rest[end..]))
}

/// The one authority of the request.
fn authority<'a>(
    head: &RequestHead<'a>,
    absolute: Option<&'a [u8]>,
) -> Result<Option<&'a [u8]>, AddressFault> {
    let mut host = None;
    let mut twice = false;
    head.headers.each(&header::HOST, &mut |value| {
        twice |= host.is_some();
        host = Some(value);
    });
    if twice {
        return Err(AddressFault::HostTwice);
    }
    if let Some(pseudo) = head.authority {
        let same = host.is_none_or(|host: &[u8]| host.eq_ignore_ascii_case(pseudo));
        return if same { Ok(Some(pseudo)) } else { Err(AddressFault::HostTwice) };
    }
    match (absolute, host) {
        // The target wins over Host, which must be there all the same (RFC 9112, 3.2 and 3.2.2).
        (Some(_) | None, None) if head.version == Version::HTTP_11 => Err(AddressFault::HostMissing),
        (Some(absolute), _) => Ok(Some(absolute)),
        (None, None) if head.version == Version::HTTP_2 => Err(AddressFault::HostMissing),
        (None, host) => Ok(host),
    }
}

fn parse_authority(authority: &[u8]) -> Result<Host, AddressFault> {
    let text = std::str::from_utf8(authority).map_err(|_| AddressFault::HostInvalid)?;
    let name = match text.rfind(':') {
        // A colon inside brackets belongs to the address.
        Some(colon) if !text[colon..].contains(']') => {
            let port = &text[colon + 1..];
            let valid =
                port.is_empty() || port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok();
            if !valid {
                return Err(AddressFault::HostInvalid);
            }
            &text[..colon]
        }
        _ => text,
    };
    Host::new(name.as_bytes()).ok_or(AddressFault::HostInvalid)
}

fn check_query(query: &[u8]) -> Result<&str, AddressFault> {
    if query.iter().any(|byte| !matches!(byte, 0x21..=0x7E) || *byte == b'#') {
        return Err(AddressFault::Query);
    }
    std::str::from_utf8(query).map_err(|_| AddressFault::Query)
}

#[cfg(test)]
mod tests;

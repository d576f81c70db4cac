//! Host names: checking them, and the intersection of a listener's with a route's.

use gateway_snapshot::Hostname;

use super::{Wrong, shown};

/// Longest DNS name in text form.
const MAX: usize = 253;
/// Longest label (RFC 1035, 2.3.4).
const MAX_LABEL: usize = 63;

/// A DNS name, or `*.` and a DNS name.
pub(crate) fn hostname(text: &str) -> Result<Hostname, Wrong> {
    let bare = text.strip_prefix("*.").unwrap_or(text);
    if dns_name(bare) { Ok(text.to_owned()) } else { Err(wrong(text, "or `*.example.com`")) }
}

/// A DNS name without wildcard.
pub(crate) fn precise_hostname(text: &str) -> Result<Hostname, Wrong> {
    if dns_name(text) { Ok(text.to_owned()) } else { Err(wrong(text, "without wildcard")) }
}

fn wrong(text: &str, form: &str) -> Wrong {
    let cure = if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        "write it in lower case"
    } else if text.parse::<std::net::IpAddr>().is_ok() {
        "an IP address cannot stand here"
    } else if text.contains(':') {
        "leave the port out"
    } else {
        "use labels of letters, digits and `-`"
    };
    Wrong(format!("{} is not a host name such as `shop.example.com` {form}; {cure}", shown(text)))
}

fn dns_name(text: &str) -> bool {
    text.len() <= MAX && text.split('.').all(label) && text.parse::<std::net::IpAddr>().is_err()
}

fn label(label: &str) -> bool {
    (1..=MAX_LABEL).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// The more precise of two names when one takes in the other: `*.example.com` takes in `a.example.com` and
/// `b.a.example.com` (one or more labels), not `example.com`.
pub(crate) fn intersect<'a>(left: &'a str, right: &'a str) -> Option<&'a str> {
    if takes_in(left, right) {
        Some(right)
    } else if takes_in(right, left) {
        Some(left)
    } else {
        None
    }
}

fn takes_in(wide: &str, narrow: &str) -> bool {
    wide == narrow
        || wide.strip_prefix('*').is_some_and(|suffix| {
            let narrow = narrow.strip_prefix('*').unwrap_or(narrow);
            narrow.len() > suffix.len() && narrow.ends_with(suffix)
        })
}

//! Paths in matches and edits.

use super::{Wrong, shown};

/// Longest path in a match (Gateway API's own limit).
const MAX: usize = 1024;
/// Parts that can never match, because requests with them are normalised or refused before.
const NEVER: [&str; 6] = ["//", "/./", "/../", "%2f", "%2F", "#"];

/// A path as it may stand in a request: `/`, `/orders/1`.
pub(crate) fn path(text: &str) -> Result<String, Wrong> {
    if !text.starts_with('/') {
        return Err(Wrong(format!("{} does not begin with `/`", shown(text))));
    }
    if text.len() > MAX {
        return Err(Wrong(format!("is {} bytes long; a path has at most {MAX}", text.len())));
    }
    if let Some(part) = NEVER.into_iter().find(|part| text.contains(part)) {
        return Err(Wrong(format!("{} contains `{part}`, which no request path has", shown(text))));
    }
    if text.ends_with("/.") || text.ends_with("/..") {
        return Err(Wrong(format!("{} ends in a dot segment, which no request path has", shown(text))));
    }
    if !characters(text.as_bytes()) {
        return Err(Wrong(format!(
            "{} has characters that a path cannot have; write them percent-encoded, such as `%20`",
            shown(text)
        )));
    }
    Ok(text.to_owned())
}

/// A path prefix in the form of the snapshot: without trailing slash, but for `/`.
pub(crate) fn prefix(text: &str) -> Result<String, Wrong> {
    let mut checked = path(text)?;
    if checked.len() > 1 && checked.ends_with('/') {
        checked.pop();
    }
    Ok(checked)
}

/// What of a checked path keeps every request with it out: the gateway refuses such requests before it looks for
/// their route.
pub(crate) fn refused_part(path: &str) -> Option<&'static str> {
    let decoded = decoded(path.as_bytes());
    let dots = |element: &[u8]| {
        // Path parameters are cut off by some upstreams before they resolve dot segments.
        let name = element.split(|byte| *byte == b';').next().unwrap_or_default();
        matches!(name, b"." | b"..")
    };
    if decoded.split(|byte| *byte == b'/').any(dots) {
        Some("a dot segment")
    } else if decoded.contains(&b'\\') {
        Some("a backslash")
    } else if decoded.iter().any(u8::is_ascii_control) {
        Some("a control character")
    } else {
        None
    }
}

/// A percent-encoded character in a regular expression that stands in no path after the gateway has normalised it
/// (unreserved characters decoded, hexadecimal digits raised) or refused it.
pub(crate) fn vanished_part(pattern: &str) -> Option<&str> {
    if pattern.contains("(?i") {
        return None;
    }
    let escapes = pattern.match_indices('%').filter_map(|(at, _)| pattern.get(at..at + 3));
    escapes.into_iter().find(|escape| {
        let digits = &escape[1..];
        let byte =
            digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u8::from_str_radix(digits, 16));
        byte.and_then(Result::ok).is_some_and(|byte| {
            let unreserved = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            unreserved
                || byte == b'\\'
                || byte.is_ascii_control()
                || digits.bytes().any(|digit| digit.is_ascii_lowercase())
        })
    })
}

fn decoded(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let [first, tail @ ..] = rest {
        rest = match (first, tail) {
            (b'%', [high, low, tail @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let value = |digit: u8| char::from(digit).to_digit(16).unwrap_or_default() as u8;
                out.push(value(*high) << 4 | value(*low));
                tail
            }
            _ => {
                out.push(*first);
                tail
            }
        };
    }
    out
}

// pchar and `/` of RFC 3986, 3.3.
fn characters(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        rest = match first {
            b'%' => match tail {
                [high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => tail,
                _ => return false,
            },
            byte if byte.is_ascii_alphanumeric() || b"-/._~!$&'()*+,;=:@".contains(byte) => tail,
            _ => return false,
        };
    }
    true
}

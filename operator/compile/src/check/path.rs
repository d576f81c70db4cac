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

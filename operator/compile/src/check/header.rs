//! Names and values of header fields (RFC 9110, 5.1 and 5.5), and methods.

use http::{HeaderName, HeaderValue, Method};

use super::{Wrong, shown};

/// Longest value that a header filter may write (Gateway API's own limit).
const MAX_VALUE: usize = 4096;
/// Longest name that a header filter or match may have (Gateway API's own limit).
const MAX_NAME: usize = 256;

/// A field name in lower case.
pub(crate) fn header_name(text: &str) -> Result<String, Wrong> {
    HeaderName::from_bytes(text.as_bytes())
        .ok()
        .filter(|name| name.as_str().len() <= MAX_NAME)
        .map(|name| name.as_str().to_owned())
        .ok_or_else(|| {
            Wrong(format!(
                "{} is not a header name; use up to {MAX_NAME} letters, digits and any of !#$%&'*+-.^_`|~",
                shown(text)
            ))
        })
}

/// A field value without control characters.
pub(crate) fn header_value(text: &str) -> Result<String, Wrong> {
    match HeaderValue::from_str(text) {
        Ok(_) if text.len() <= MAX_VALUE => Ok(text.to_owned()),
        Ok(_) => Err(Wrong(format!("is {} bytes long; a header value has at most {MAX_VALUE}", text.len()))),
        Err(_) => Err(Wrong(format!("{} is not a header value; take out control characters", shown(text)))),
    }
}

/// A method, as it is (methods are case sensitive).
pub(crate) fn method(text: &str) -> Result<String, Wrong> {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    match Method::from_bytes(text.as_bytes()) {
        Ok(_) if KNOWN.contains(&text) => Ok(text.to_owned()),
        _ => Err(Wrong(format!("{} is not one of {}", shown(text), KNOWN.join(", ")))),
    }
}

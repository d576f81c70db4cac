//! Who may send statements, and of what sort.
//!
//! In: request headers and the password from the query. Out: a role or a refusal. Secrets are compared by their SHA-256, so
//! that the time taken says nothing about them. Requests with an `Origin` come from web pages and are refused always: a
//! loopback port is within reach of every page the user opens.

use axum::http::{HeaderMap, header};
use sha2::{Digest, Sha256};

use crate::failure::{Failure, code};

/// What a caller may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Every admitted statement.
    Writer,
    /// Reading statements.
    Reader,
}

/// The secrets, hashed.
pub(crate) struct Keys {
    writer: Option<[u8; 32]>,
    reader: Option<[u8; 32]>,
}

impl Keys {
    pub(crate) fn new(token: Option<&str>, read_token: Option<&str>) -> Self {
        Self { writer: token.map(hash), reader: read_token.map(hash) }
    }

    /// The caller's role. `password` is the one from the query string.
    pub(crate) fn role(&self, headers: &HeaderMap, password: Option<&str>) -> Result<Role, Failure> {
        if headers.contains_key(header::ORIGIN) {
            return Err(Failure::new(
                code::ACCESS_DENIED,
                "requests from web pages are not admitted. (ACCESS_DENIED)",
            ));
        }
        let Some(writer) = self.writer else { return Ok(Role::Writer) };
        let Some(secret) = presented(headers, password) else {
            return Err(Failure::new(
                code::REQUIRED_PASSWORD,
                "a token is required: send it as `Authorization: Bearer`, as a password or as X-ClickHouse-Key. (REQUIRED_PASSWORD)",
            ));
        };
        let secret = hash(&secret);
        if secret == writer {
            Ok(Role::Writer)
        } else if self.reader == Some(secret) {
            Ok(Role::Reader)
        } else {
            Err(Failure::new(
                code::AUTHENTICATION_FAILED,
                "the token is not the right one. (AUTHENTICATION_FAILED)",
            ))
        }
    }
}

fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret).into()
}

fn presented(headers: &HeaderMap, password: Option<&str>) -> Option<String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(key) = text("x-clickhouse-key") {
        return Some(key.to_owned());
    }
    if let Some((scheme, value)) = text("authorization").and_then(|value| value.split_once(' ')) {
        if scheme.eq_ignore_ascii_case("bearer") {
            return Some(value.trim().to_owned());
        }
        if scheme.eq_ignore_ascii_case("basic") {
            return basic_password(value.trim());
        }
    }
    password.map(str::to_owned)
}

/// The password of basic credentials (RFC 7617).
fn basic_password(value: &str) -> Option<String> {
    use base64::Engine as _;
    let plain = base64::engine::general_purpose::STANDARD.decode(value).ok()?;
    let plain = String::from_utf8(plain).ok()?;
    plain.split_once(':').map(|(_, password)| password.to_owned()).filter(|password| !password.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())])
    }

    #[test]
    fn every_way_to_present_a_token_works() {
        let keys = Keys::new(Some("w"), Some("r"));
        for headers in [
            with("authorization", "Bearer w"),
            with("authorization", "basic ZGVmYXVsdDp3"),
            with("x-clickhouse-key", "w"),
        ] {
            assert_eq!(keys.role(&headers, None), Ok(Role::Writer));
        }
        assert_eq!(keys.role(&HeaderMap::new(), Some("r")), Ok(Role::Reader));
        assert_eq!(keys.role(&HeaderMap::new(), None).unwrap_err().code(), code::REQUIRED_PASSWORD);
        assert_eq!(
            keys.role(&with("authorization", "Bearer x"), None).unwrap_err().code(),
            code::AUTHENTICATION_FAILED
        );
        assert_eq!(
            keys.role(&with("authorization", "Basic !"), None).unwrap_err().code(),
            code::REQUIRED_PASSWORD
        );
    }

    #[test]
    fn web_pages_are_refused_even_without_tokens() {
        let keys = Keys::new(None, None);
        assert_eq!(keys.role(&HeaderMap::new(), None), Ok(Role::Writer));
        assert_eq!(keys.role(&with("origin", "null"), None).unwrap_err().code(), code::ACCESS_DENIED);
    }
}

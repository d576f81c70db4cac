//! Cross-origin resource sharing (GEP-1767, WHATWG Fetch 3.2).
//!
//! In: the filter, compiled, and a request. Out: whether the origin is allowed, and the response fields for a
//! preflight or an actual request. Never refuses an actual request: a browser does, when the fields are missing.

use gateway_snapshot::Cors as Filter;
use http::{HeaderName, header};

use crate::head::{HeaderSink, RequestHead};

pub(crate) struct Cors {
    origins: Vec<Origin>,
    credentials: bool,
    methods: List,
    headers: List,
    expose: Option<String>,
    max_age: String,
}

/// A list of names; with `*` the request's own wish is granted.
struct List {
    wildcard: bool,
    joined: String,
}

enum Origin {
    Any,
    Exact(String),
    /// `scheme://` and what follows `*`, dot included; any number of labels stands for the star.
    Wildcard(String, String),
}

/// What a preflight asks for.
#[derive(Clone, Copy)]
pub(crate) struct Preflight<'a> {
    pub(crate) origin: &'a [u8],
    pub(crate) method: &'a str,
    headers: Option<&'a [u8]>,
}

/// A CORS preflight, if the request is one.
pub(crate) fn preflight<'a>(head: &RequestHead<'a>) -> Option<Preflight<'a>> {
    if head.method != "OPTIONS" {
        return None;
    }
    let origin = head.headers.first(&header::ORIGIN)?;
    let method = head.headers.first(&header::ACCESS_CONTROL_REQUEST_METHOD)?;
    let headers = head.headers.first(&header::ACCESS_CONTROL_REQUEST_HEADERS);
    Some(Preflight { origin, method: std::str::from_utf8(method).ok()?, headers })
}

impl Cors {
    pub(crate) fn new(filter: &Filter) -> Self {
        let origins = filter.allow_origins.iter().map(|origin| Origin::new(origin)).collect();
        let exposed: Vec<&str> = filter.expose_headers.iter().map(String::as_str).collect();
        Self {
            origins,
            credentials: filter.allow_credentials,
            methods: List::new(&filter.allow_methods),
            headers: List::new(&filter.allow_headers),
            expose: (!exposed.is_empty()).then(|| exposed.join(", ")),
            max_age: filter.max_age.to_string(),
        }
    }

    pub(crate) fn allows(&self, origin: &[u8]) -> bool {
        std::str::from_utf8(origin)
            .is_ok_and(|origin| self.origins.iter().any(|allowed| allowed.takes(origin)))
    }

    /// The fields of a preflight's answer; none when the origin is not allowed.
    pub(crate) fn answer(&self, asked: &Preflight<'_>, sink: &mut dyn HeaderSink) {
        vary(sink);
        if !self.allows(asked.origin) {
            return;
        }
        self.allow(asked.origin, sink);
        self.methods.grant(&header::ACCESS_CONTROL_ALLOW_METHODS, Some(asked.method.as_bytes()), sink);
        self.headers.grant(&header::ACCESS_CONTROL_ALLOW_HEADERS, asked.headers, sink);
        sink.set(&header::ACCESS_CONTROL_MAX_AGE, self.max_age.as_bytes());
    }

    /// The fields of the answer to an actual request; `origin` if it is allowed. The policy is the gateway's:
    /// what the upstream says about origins does not count.
    pub(crate) fn share(&self, origin: Option<&[u8]>, sink: &mut dyn HeaderSink) {
        sink.remove(&header::ACCESS_CONTROL_ALLOW_ORIGIN);
        sink.remove(&header::ACCESS_CONTROL_ALLOW_CREDENTIALS);
        sink.remove(&header::ACCESS_CONTROL_EXPOSE_HEADERS);
        vary(sink);
        if let Some(origin) = origin {
            self.allow(origin, sink);
        }
    }

    /// The origin is echoed, never `*`: one rule for requests with and without credentials.
    fn allow(&self, origin: &[u8], sink: &mut dyn HeaderSink) {
        sink.set(&header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if self.credentials {
            sink.set(&header::ACCESS_CONTROL_ALLOW_CREDENTIALS, b"true");
        }
        if let Some(expose) = &self.expose {
            sink.set(&header::ACCESS_CONTROL_EXPOSE_HEADERS, expose.as_bytes());
        }
    }
}

/// Caches must not give one origin's answer to another.
fn vary(sink: &mut dyn HeaderSink) {
    sink.append(&header::VARY, b"Origin");
}

impl List {
    fn new(names: &[String]) -> Self {
        Self { wildcard: names.iter().any(|name| name == "*"), joined: names.join(", ") }
    }

    fn grant(&self, field: &HeaderName, wish: Option<&[u8]>, sink: &mut dyn HeaderSink) {
        match (self.wildcard, wish) {
            (true, Some(wish)) => sink.set(field, wish),
            (true, None) => {}
            (false, _) if self.joined.is_empty() => {}
            (false, _) => sink.set(field, self.joined.as_bytes()),
        }
    }
}

impl Origin {
    fn new(origin: &str) -> Self {
        if origin == "*" {
            return Self::Any;
        }
        let origin = origin.to_ascii_lowercase();
        match origin.split_once("://*") {
            Some((scheme, rest)) => Self::Wildcard(format!("{scheme}://"), rest.to_owned()),
            None => Self::Exact(origin),
        }
    }

    fn takes(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => exact.eq_ignore_ascii_case(origin),
            Self::Wildcard(scheme, suffix) => {
                let Some((start, rest)) = origin.split_at_checked(scheme.len()) else { return false };
                let Some(cut) = rest.len().checked_sub(suffix.len()) else { return false };
                let Some((labels, end)) = rest.split_at_checked(cut) else { return false };
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
                start.eq_ignore_ascii_case(scheme)
                    && end.eq_ignore_ascii_case(suffix)
                    && !labels.is_empty()
                    && labels.bytes().all(plain)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins() {
        for (allowed, origin, expected) in [
            ("*", "null", true),
            ("https://www.foo.com", "https://www.foo.com", true),
            ("https://www.foo.com", "https://WWW.foo.com", true),
            ("https://www.foo.com", "http://www.foo.com", false),
            ("https://www.foo.com", "https://www.foo.com:8443", false),
            ("https://*.bar.com", "https://www.bar.com", true),
            ("https://*.bar.com", "https://a.b.bar.com", true),
            ("https://*.bar.com", "https://bar.com", false),
            ("https://*.bar.com", "https://.bar.com", false),
            ("https://*.bar.com", "https://evil.com/.bar.com", false),
            ("https://*.bar.com", "https://xbar.com", false),
            ("https://*.bar.com:8443", "https://a.bar.com:8443", true),
            ("https://*", "https://any.thing", true),
            ("https://*", "https://é", false),
        ] {
            assert_eq!(Origin::new(allowed).takes(origin), expected, "{allowed} {origin}");
        }
    }
}

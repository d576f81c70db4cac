//! Finding an API key in a request, and hiding it from the upstream.
//!
//! In: the places of an AuthPolicy, in order, and a request. Out: the key, or in which way there is none.
//! The first place that holds a key counts, whether or not the key is good. Fails closed: an empty key, one
//! that is too long and a place filled twice are wrong credentials, and so is a field with another scheme when
//! no other place holds a key.

use std::borrow::Cow;

use gateway_snapshot::ApiKeySource;
use http::{HeaderName, header};
use sha2::{Digest, Sha256};

use crate::head::{HeaderSink, RequestHead};
use crate::query;

/// Longer keys are refused before they are hashed.
pub(crate) const MAX_KEY_BYTES: usize = 512;

/// SHA-256 of a key.
pub(crate) type KeyHash = [u8; 32];

/// A place to look, compiled.
pub(crate) enum Source {
    Header(HeaderName, Option<Box<str>>),
    Query(Box<str>),
    Cookie(Box<str>),
}

/// What a request presents.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Presented<'a> {
    Nothing,
    Key(Cow<'a, [u8]>),
    /// Why it cannot be a key.
    Unusable(&'static str),
}

impl Source {
    pub(crate) fn new(source: &ApiKeySource) -> Result<Self, String> {
        Ok(match source {
            ApiKeySource::Header { name, scheme } => {
                Self::Header(crate::edits::name(name)?, scheme.as_deref().map(Box::from))
            }
            ApiKeySource::Query { name } => Self::Query(name.as_str().into()),
            ApiKeySource::Cookie { name } => Self::Cookie(name.as_str().into()),
        })
    }

    /// A challenge for `WWW-Authenticate` (RFC 9110, 11.6.1).
    pub(crate) fn challenge(&self) -> String {
        match self {
            Self::Header(_, Some(scheme)) => format!("{scheme} realm=\"api\""),
            Self::Header(name, None) => format!("ApiKey realm=\"api\", in=\"header\", name=\"{name}\""),
            Self::Query(name) => format!("ApiKey realm=\"api\", in=\"query\", name=\"{name}\""),
            Self::Cookie(name) => format!("ApiKey realm=\"api\", in=\"cookie\", name=\"{name}\""),
        }
    }
}

/// Looks at the places in order.
pub(crate) fn present<'a>(
    sources: &[Source],
    head: &RequestHead<'a>,
    query: Option<&'a str>,
) -> Presented<'a> {
    let mut other_scheme = false;
    for source in sources {
        let found = match source {
            Source::Header(name, scheme) => in_header(head, name, scheme.as_deref(), &mut other_scheme),
            Source::Query(name) => in_query(query, name),
            Source::Cookie(name) => in_cookies(head, name),
        };
        match found {
            Presented::Nothing => {}
            Presented::Key(key) if key.is_empty() => return Presented::Unusable("the key is empty"),
            Presented::Key(key) if key.len() > MAX_KEY_BYTES => {
                return Presented::Unusable("the key is too long");
            }
            found => return found,
        }
    }
    if other_scheme {
        Presented::Unusable("the authentication scheme is not accepted here")
    } else {
        Presented::Nothing
    }
}

/// The name under which a key is known.
pub(crate) fn hash(key: &[u8]) -> KeyHash {
    Sha256::digest(key).into()
}

const TWICE: Presented<'static> = Presented::Unusable("the key is given more than once");

fn in_header<'a>(
    head: &RequestHead<'a>,
    name: &HeaderName,
    scheme: Option<&str>,
    other_scheme: &mut bool,
) -> Presented<'a> {
    let (mut found, mut count) = (None, 0);
    head.headers.each(name, &mut |value| {
        let value = value.trim_ascii();
        match scheme.map_or(Some(value), |scheme| after_scheme(value, scheme)) {
            Some(key) => {
                found = Some(key);
                count += 1;
            }
            None => *other_scheme = true,
        }
    });
    match (found, count) {
        (Some(key), 1) => Presented::Key(Cow::Borrowed(key)),
        (Some(_), _) => TWICE,
        (None, _) => Presented::Nothing,
    }
}

/// What follows the scheme; a scheme alone is an empty key.
fn after_scheme<'a>(value: &'a [u8], scheme: &str) -> Option<&'a [u8]> {
    let (start, rest) = value.split_at_checked(scheme.len())?;
    let separated = rest.is_empty() || rest[0] == b' ';
    (start.eq_ignore_ascii_case(scheme.as_bytes()) && separated).then(|| rest.trim_ascii())
}

fn in_query<'a>(query: Option<&'a str>, name: &str) -> Presented<'a> {
    let Some(query) = query else { return Presented::Nothing };
    match (query::first(query, name), query::count(query, name)) {
        (None, _) => Presented::Nothing,
        (Some(value), 1) => Presented::Key(match query::decoded(value) {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        }),
        (Some(_), _) => TWICE,
    }
}

fn in_cookies<'a>(head: &RequestHead<'a>, name: &str) -> Presented<'a> {
    let (mut found, mut count) = (None, 0);
    head.headers.each(&header::COOKIE, &mut |field| {
        for pair in field.split(|byte| *byte == b';') {
            if let Some(value) = cookie_value(pair, name) {
                found = Some(value);
                count += 1;
            }
        }
    });
    match (found, count) {
        (Some(value), 1) => Presented::Key(Cow::Borrowed(value)),
        (Some(_), _) => TWICE,
        (None, _) => Presented::Nothing,
    }
}

fn cookie_value<'a>(pair: &'a [u8], name: &str) -> Option<&'a [u8]> {
    pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"=")
}

/// Takes keys out of header fields and cookies, wherever the policy looks for them; the query is
/// [`hidden_query`]'s part. A field with another scheme is not a key and stays.
pub(crate) fn hide(sources: &[Source], head: &RequestHead<'_>, sink: &mut dyn HeaderSink) {
    for source in sources {
        match source {
            Source::Header(name, None) => sink.remove(name),
            Source::Header(name, Some(scheme)) => {
                let mut is_key = false;
                head.headers
                    .each(name, &mut |value| is_key |= after_scheme(value.trim_ascii(), scheme).is_some());
                if is_key {
                    sink.remove(name);
                }
            }
            Source::Query(_) | Source::Cookie(_) => {}
        }
    }
    hide_cookies(sources, head, sink);
}

/// All at once: editing the field for one name after the other would bring the first back.
fn hide_cookies(sources: &[Source], head: &RequestHead<'_>, sink: &mut dyn HeaderSink) {
    let is_key = |pair: &[u8]| {
        let named =
            |source: &Source| matches!(source, Source::Cookie(name) if cookie_value(pair, name).is_some());
        sources.iter().any(named)
    };
    let (mut kept, mut hidden) = (Vec::new(), false);
    if !sources.iter().any(|source| matches!(source, Source::Cookie(_))) {
        return;
    }
    head.headers.each(&header::COOKIE, &mut |field| {
        for pair in field.split(|byte| *byte == b';') {
            if is_key(pair) {
                hidden = true;
                continue;
            }
            if !kept.is_empty() {
                kept.extend_from_slice(b"; ");
            }
            kept.extend_from_slice(pair.trim_ascii());
        }
    });
    match (hidden, kept.is_empty()) {
        (false, _) => {}
        (true, true) => sink.remove(&header::COOKIE),
        (true, false) => sink.set(&header::COOKIE, &kept),
    }
}

/// The query without keys; `None` when it holds none.
pub(crate) fn hidden_query(sources: &[Source], query: Option<&str>) -> Option<String> {
    let query = query?;
    let names = sources.iter().filter_map(|source| match source {
        Source::Query(name) => Some(&**name),
        _ => None,
    });
    let found = names.clone().any(|name| query::count(query, name) > 0);
    found.then(|| query::without(query, &names))
}

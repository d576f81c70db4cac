//! The conditions of a match besides host and path: method, header fields, query parameters.
//!
//! In: compiled conditions and a request. Out: whether they hold, or the first that does not, in the same
//! words for routing and for `explain`.

use std::fmt;
use std::sync::Arc;

use gateway_snapshot::{Match, StringMatch};
use http::HeaderName;
use regex::Regex;

use crate::head::RequestHead;
use crate::prepare::Patterns;
use crate::query;

/// Compiled conditions of one match.
#[derive(Default)]
pub(crate) struct Conditions {
    method: Option<Box<str>>,
    headers: Box<[(HeaderName, Text)]>,
    query: Box<[(Box<str>, Text)]>,
    /// The rule answers CORS preflights, which come as OPTIONS on behalf of another method.
    preflights: bool,
}

enum Text {
    Exact(Box<str>),
    Regex(Arc<Regex>),
}

/// What conditions are tested against.
pub(crate) struct Facts<'a> {
    pub(crate) head: &'a RequestHead<'a>,
    pub(crate) query: Option<&'a str>,
    /// The method that a CORS preflight asks for.
    pub(crate) preflight: Option<&'a str>,
}

/// The first condition that does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unmet<'a> {
    Method(&'a str),
    Header(&'a HeaderName),
    Query(&'a str),
}

impl Conditions {
    /// Compiles all conditions but the path; nothing when there are none.
    pub(crate) fn new(
        found: &Match,
        preflights: bool,
        patterns: &mut Patterns,
    ) -> Result<Option<Box<Self>>, String> {
        if found.method.is_none() && found.headers.is_empty() && found.query.is_empty() {
            return Ok(None);
        }
        let mut headers = Vec::with_capacity(found.headers.len());
        for header in &found.headers {
            let name = crate::edits::name(&header.name)?;
            headers.push((name, text(&header.value, patterns)?));
        }
        let mut query = Vec::with_capacity(found.query.len());
        for parameter in &found.query {
            query.push((parameter.name.as_str().into(), text(&parameter.value, patterns)?));
        }
        let method = found.method.as_deref().map(Box::from);
        let (headers, query) = (headers.into_boxed_slice(), query.into_boxed_slice());
        Ok(Some(Box::new(Self { method, headers, query, preflights })))
    }

    /// The first condition that does not hold; `None` when all do.
    pub(crate) fn unmet(&self, facts: &Facts<'_>) -> Option<Unmet<'_>> {
        if let Some(method) = &self.method
            && **method != *facts.head.method
            && !(self.preflights && facts.preflight == Some(method))
        {
            return Some(Unmet::Method(method));
        }
        for (name, text) in &self.headers {
            if !header_holds(name, text, facts.head) {
                return Some(Unmet::Header(name));
            }
        }
        for (name, text) in &self.query {
            let value = facts.query.and_then(|query| query::first(query, name));
            if !value.is_some_and(|value| text.holds_decoded(value)) {
                return Some(Unmet::Query(name));
            }
        }
        None
    }
}

impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(method) = &self.method {
            write!(f, ", method {method}")?;
        }
        for (name, text) in &self.headers {
            write!(f, ", header {name} {text}")?;
        }
        for (name, text) in &self.query {
            write!(f, ", query {name} {text}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(value) => write!(f, "= {value}"),
            Self::Regex(regex) => write!(f, "~ {}", regex.as_str()),
        }
    }
}

fn text(condition: &StringMatch, patterns: &mut Patterns) -> Result<Text, String> {
    Ok(match condition {
        StringMatch::Exact(value) => Text::Exact(value.as_str().into()),
        StringMatch::Regex(pattern) => Text::Regex(patterns.regex(pattern)?),
    })
}

impl Text {
    fn holds(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(expected) => expected.as_bytes() == value,
            Self::Regex(regex) => std::str::from_utf8(value).is_ok_and(|value| regex.is_match(value)),
        }
    }

    fn holds_decoded(&self, encoded: &str) -> bool {
        match self {
            Self::Exact(expected) => query::is(encoded, expected),
            Self::Regex(regex) => regex.is_match(&query::decoded(encoded)),
        }
    }
}

/// Several fields of one name are one list (RFC 9110, 5.3).
fn header_holds(name: &HeaderName, text: &Text, head: &RequestHead<'_>) -> bool {
    let mut first: Option<&[u8]> = None;
    let mut joined: Vec<u8> = Vec::new();
    head.headers.each(name, &mut |value| match first {
        None => first = Some(value),
        Some(before) => {
            if joined.is_empty() {
                joined.extend_from_slice(before);
            }
            joined.push(b',');
            joined.extend_from_slice(value);
        }
    });
    match first {
        None => false,
        Some(value) if joined.is_empty() => text.holds(value),
        Some(_) => text.holds(&joined),
    }
}

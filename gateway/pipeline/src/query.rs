//! Query strings: reading parameters and taking some out.
//!
//! In: the query without its question mark, as received. Names and values are decoded as forms are
//! (`application/x-www-form-urlencoded`: percent-encoding, and `+` for a space); broken percent-encoding
//! stands for itself. The query that goes upstream keeps its spelling.

use std::borrow::Cow;

/// The first parameter of this decoded name, still encoded.
pub(crate) fn first<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    pairs(query).find(|(key, _)| is(key, name)).map(|(_, value)| value)
}

/// How many parameters have this decoded name.
pub(crate) fn count(query: &str, name: &str) -> usize {
    pairs(query).filter(|(key, _)| is(key, name)).count()
}

/// The query without the parameters of these decoded names.
pub(crate) fn without<'n>(query: &str, names: &(impl Iterator<Item = &'n str> + Clone)) -> String {
    let mut kept = String::with_capacity(query.len());
    for part in query.split('&') {
        let key = part.split_once('=').map_or(part, |(key, _)| key);
        if names.clone().any(|name| is(key, name)) {
            continue;
        }
        if !kept.is_empty() {
            kept.push('&');
        }
        kept.push_str(part);
    }
    kept
}

/// The decoded value; borrowed when nothing is encoded. Bytes that are not UTF-8 are replaced.
pub(crate) fn decoded(value: &str) -> Cow<'_, str> {
    if !value.bytes().any(|byte| byte == b'%' || byte == b'+') {
        return Cow::Borrowed(value);
    }
    let bytes: Vec<u8> = Decode(value.as_bytes()).collect();
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether `encoded` decodes to `plain`.
pub(crate) fn is(encoded: &str, plain: &str) -> bool {
    Decode(encoded.as_bytes()).eq(plain.bytes())
}

fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').map(|part| part.split_once('=').unwrap_or((part, "")))
}

struct Decode<'a>(&'a [u8]);

impl Iterator for Decode<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        let digit = |at: usize| rest.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        let (byte, rest) = match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => ((high * 16 + low) as u8, &rest[2..]),
            (b'+', ..) => (b' ', rest),
            _ => (*first, rest),
        };
        self.0 = rest;
        Some(byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_occurrence_decoded() {
        assert_eq!(first("a=1&a=2", "a"), Some("1"));
        assert_eq!(first("%61=1", "a"), Some("1"));
        assert_eq!(first("b&a", "a"), Some(""));
        assert_eq!(first("", "a"), None);
        assert_eq!(count("a&a=&b=a", "a"), 2);
        assert_eq!(decoded("x+y%26%zz%e"), "x y&%zz%e");
        assert!(is("%C3%A9", "é") && !is("%c3", "é"));
    }

    #[test]
    fn taking_out() {
        assert_eq!(without("a=1&key=x&b=2&k%65y=y", &["key"].into_iter()), "a=1&b=2");
        assert_eq!(without("key=x", &["key"].into_iter()), "");
    }
}

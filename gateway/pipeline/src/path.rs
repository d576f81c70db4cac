//! One spelling for every path, so that what is matched is what the upstream sees.
//!
//! In: the path of a request target, or a path of the configuration. Out: its canonical form, or why it is
//! refused. The policy:
//! - percent-encoded unreserved characters are decoded and hex digits raised (RFC 3986, 6.2.2): `/%61dmin` is
//!   `/admin`; repeated slashes are one slash; characters that must be encoded are encoded;
//! - `%2F` and every other encoded reserved character stay as they are: `/a%2Fb` is one element;
//! - refused, never guessed: dot segments in any spelling (`/../`, `%2e%2e`, `..;x`, behind `%2F`),
//!   backslashes and control characters in any spelling, bytes above 0x7E, broken percent-encoding.
//!
//! The canonical path is used for matching and goes upstream, so an upstream that normalises further finds
//! nothing left to normalise.

use std::borrow::Cow;

/// Why a path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PathFault {
    /// Origin-form begins with a slash.
    #[error("path does not begin with a slash")]
    NoSlash,
    /// `.` or `..` as an element.
    #[error("path has a dot segment")]
    DotSegment,
    /// Backslash, plain or encoded.
    #[error("path has a backslash")]
    Backslash,
    /// Control character, plain or encoded, or a space.
    #[error("path has a control character or a space")]
    Control,
    /// Bytes above 0x7E that are not percent-encoded, or a fragment.
    #[error("path has a character that must be percent-encoded")]
    Raw,
    /// `%` without two hex digits.
    #[error("path has broken percent-encoding")]
    Percent,
}

/// What a byte of a path means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Unreserved: may be decoded.
    Unreserved,
    /// Other characters that a path may hold as they are.
    Plain,
    /// Must be written percent-encoded.
    Encode,
    Slash,
    Percent,
    Backslash,
    Control,
    Raw,
}

const CLASSES: [Class; 256] = {
    let mut table = [Class::Raw; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = match byte as u8 {
            b'/' => Class::Slash,
            b'%' => Class::Percent,
            b'\\' => Class::Backslash,
            0..=0x20 | 0x7F => Class::Control,
            b'#' | b'?' => Class::Raw,
            b'-' | b'.' | b'_' | b'~' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => Class::Unreserved,
            b'!' | b'$' | b'&'..=b',' | b';' | b'=' | b':' | b'@' => Class::Plain,
            _ => Class::Encode,
        };
        byte += 1;
    }
    table
};

/// How far the present element could still be `.` or `..`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dots {
    None,
    Count(u8),
}

/// The canonical form; borrowed when `path` already has it.
pub(crate) fn canonical(path: &[u8]) -> Result<Cow<'_, str>, PathFault> {
    if path.first() != Some(&b'/') {
        return Err(PathFault::NoSlash);
    }
    if scan(path)? {
        let text = std::str::from_utf8(path).expect("scan refuses bytes above 0x7E");
        return Ok(Cow::Borrowed(text));
    }
    Ok(Cow::Owned(rewrite(path)))
}

/// Checks every byte; true when the path is canonical already.
fn scan(path: &[u8]) -> Result<bool, PathFault> {
    let mut canonical = true;
    let mut dots = Dots::None;
    let mut before = 0;
    let mut at = 0;
    while at < path.len() {
        let (byte, width) = match CLASSES[usize::from(path[at])] {
            Class::Percent => {
                let byte = decode(path, at)?;
                let class = CLASSES[usize::from(byte)];
                canonical &= class != Class::Unreserved && !has_lower_hex(&path[at + 1..at + 3]);
                (byte, 3)
            }
            Class::Raw => return Err(PathFault::Raw),
            Class::Encode => {
                canonical = false;
                (path[at], 1)
            }
            Class::Slash => {
                canonical &= before != b'/';
                (path[at], 1)
            }
            _ => (path[at], 1),
        };
        match CLASSES[usize::from(byte)] {
            Class::Backslash => return Err(PathFault::Backslash),
            Class::Control if width == 3 && byte == b' ' => {}
            Class::Control => return Err(PathFault::Control),
            _ => {}
        }
        dots = step(dots, byte)?;
        before = if width == 1 { byte } else { 0 };
        at += width;
    }
    step(dots, b'/')?;
    Ok(canonical)
}

/// Follows one decoded byte. An encoded slash ends an element here, because some upstreams decode it, and a
/// semicolon because some cut path parameters off before they resolve dot segments.
fn step(dots: Dots, byte: u8) -> Result<Dots, PathFault> {
    match (byte, dots) {
        (b'/' | b';', Dots::Count(1 | 2)) => Err(PathFault::DotSegment),
        (b'/', _) => Ok(Dots::Count(0)),
        (b'.', Dots::Count(count)) if count < 2 => Ok(Dots::Count(count + 1)),
        _ => Ok(Dots::None),
    }
}

fn rewrite(path: &[u8]) -> String {
    let mut out = String::with_capacity(path.len() + 8);
    let mut at = 0;
    while at < path.len() {
        let (byte, width) = match path[at] {
            b'%' => (decode(path, at).expect("scan checked it"), 3),
            byte => (byte, 1),
        };
        at += width;
        match CLASSES[usize::from(byte)] {
            Class::Unreserved => out.push(char::from(byte)),
            Class::Slash if width == 1 => {
                if !out.ends_with('/') {
                    out.push('/');
                }
            }
            Class::Plain if width == 1 => out.push(char::from(byte)),
            _ => push_encoded(&mut out, byte),
        }
    }
    out
}

/// `%XX` with upper-case digits.
fn push_encoded(out: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(DIGITS[usize::from(byte & 15)]));
}

fn has_lower_hex(digits: &[u8]) -> bool {
    digits.iter().any(u8::is_ascii_lowercase)
}

fn decode(path: &[u8], at: usize) -> Result<u8, PathFault> {
    let digit = |offset: usize| path.get(at + offset).and_then(|byte| char::from(*byte).to_digit(16));
    match (digit(1), digit(2)) {
        (Some(high), Some(low)) => Ok((high * 16 + low) as u8),
        _ => Err(PathFault::Percent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(path: &str) -> String {
        match canonical(path.as_bytes()) {
            Ok(path) => path.into_owned(),
            Err(fault) => format!("{fault:?}"),
        }
    }

    #[test]
    fn one_spelling() {
        for (path, expected) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/b/", "/a/b/"),
            ("//a///b//", "/a/b/"),
            ("/%61dmin", "/admin"),
            ("/a%2fb", "/a%2Fb"),
            ("/a%2Fb", "/a%2Fb"),
            ("/a%20b", "/a%20b"),
            ("/%c3%a9", "/%C3%A9"),
            ("/a%3Bb;c", "/a%3Bb;c"),
            ("/a|b\"", "/a%7Cb%22"),
            ("/%252e%252e/", "/%252e%252e/"),
            ("/...", "/..."),
            ("/.well-known/x", "/.well-known/x"),
            ("/a..b/c.", "/a..b/c."),
            ("/a/%7e", "/a/~"),
        ] {
            assert_eq!(text(path), expected, "{path}");
        }
        assert!(matches!(canonical(b"/a%2Fb"), Ok(Cow::Borrowed(_))));
    }

    #[test]
    fn what_is_refused() {
        for (path, fault) in [
            ("", "NoSlash"),
            ("a", "NoSlash"),
            ("/..", "DotSegment"),
            ("/.", "DotSegment"),
            ("/a/../b", "DotSegment"),
            ("/a/./b", "DotSegment"),
            ("/%2e%2e/b", "DotSegment"),
            ("/.%2E/b", "DotSegment"),
            ("/a/..;x=1/b", "DotSegment"),
            ("/a%2f..%2fb", "DotSegment"),
            ("/a%2F%2e", "DotSegment"),
            ("/a\\b", "Backslash"),
            ("/a%5cb", "Backslash"),
            ("/a%00", "Control"),
            ("/a\u{0}", "Control"),
            ("/a%0d%0aX:1", "Control"),
            ("/a b", "Control"),
            ("/é", "Raw"),
            ("/a#b", "Raw"),
            ("/%", "Percent"),
            ("/%2", "Percent"),
            ("/%zz", "Percent"),
        ] {
            assert_eq!(text(path), fault, "{path:?}");
        }
    }

    proptest! {
        #[test]
        fn canonical_is_idempotent_and_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(once) = canonical(&bytes) {
                let twice = canonical(once.as_bytes()).expect("canonical paths pass");
                prop_assert_eq!(once.as_ref(), twice.as_ref());
                prop_assert!(matches!(twice, Cow::Borrowed(_)));
                prop_assert!(!once.contains("//") && once.starts_with('/'));
            }
        }

        #[test]
        fn spellings_of_one_path_agree(path in "(/[a-z.~;]{1,4}){1,4}") {
            let encoded: String = path.bytes().map(|b| match b {
                b'a'..=b'm' | b'.' => format!("%{b:02x}"),
                _ => char::from(b).to_string(),
            }).collect();
            prop_assert_eq!(canonical(path.as_bytes()).ok(), canonical(encoded.as_bytes()).ok());
        }
    }
}

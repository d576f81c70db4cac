//! Accepted and refused values, one table per check.

use proptest::prelude::*;

use super::*;

#[test]
fn durations() {
    for (text, ms) in [("0s", 0), ("1ms", 1), ("500ms", 500), ("1m30s", 90_000), ("1h1m1s1ms", 3_661_001)] {
        assert_eq!(duration_ms(text, 10_000_000), Ok(ms), "{text}");
    }
    for text in ["", "9h", "1", "s", "1.5s", "-1s", "123456s", "1s1s1s1s1s", "1d", "1 s", "1S", "١s"] {
        assert!(duration_ms(text, 10_000_000).is_err(), "{text}");
    }
}

#[test]
fn hostnames() {
    for text in ["a", "shop.example.com", "*.example.com", "xn--bcher-kva.example"] {
        assert_eq!(hostname(text).as_deref(), Ok(text));
    }
    for text in [
        "",
        "*",
        "*.",
        "a..b",
        ".a",
        "a.",
        "-a.b",
        "a-.b",
        "a_b",
        "Shop.example",
        "10.0.0.1",
        "a:80",
        "*a.b",
        "a.*.b",
    ] {
        assert!(hostname(text).is_err(), "{text}");
    }
    assert!(precise_hostname("*.a.b").is_err());
    assert!(hostname(&"a".repeat(64)).is_err());
    assert!(hostname("Shop.example").unwrap_err().0.contains("lower case"));
}

#[test]
fn intersections() {
    for (left, right, meet) in [
        ("a.b", "a.b", Some("a.b")),
        ("*.b", "a.b", Some("a.b")),
        ("*.b", "x.a.b", Some("x.a.b")),
        ("*.b", "*.a.b", Some("*.a.b")),
        ("*.b", "b", None),
        ("*.b", "ab", None),
        ("*.b", "*.b", Some("*.b")),
        ("a.b", "c.b", None),
        ("*.a.b", "*.c.b", None),
    ] {
        assert_eq!(intersect(left, right), meet, "{left} {right}");
        assert_eq!(intersect(right, left), meet, "{right} {left}");
    }
}

#[test]
fn paths() {
    for text in ["/", "/a/b", "/a%20b", "/a;v=1,2", "/a/"] {
        assert_eq!(path(text).as_deref(), Ok(text));
    }
    for text in ["", "a", "//", "/a//b", "/a/../b", "/a/..", "/%2f", "/a#b", "/a b", "/a%2", "/é", "/a?b"] {
        assert!(path(text).is_err(), "{text}");
    }
    assert_eq!(prefix("/a/").as_deref(), Ok("/a"));
    assert_eq!(prefix("/").as_deref(), Ok("/"));
}

#[test]
fn paths_that_no_request_has() {
    for (path, part) in [
        ("/a/%2e%2E/b", "a dot segment"),
        ("/a/.%2e", "a dot segment"),
        ("/..;x/a", "a dot segment"),
        ("/%2e%3Bx", "a dot segment"),
        ("/a%5Cb", "a backslash"),
        ("/a%00", "a control character"),
        ("/a%7f", "a control character"),
    ] {
        assert_eq!(refused_part(path), Some(part), "{path}");
        assert!(self::path(path).is_ok(), "{path}");
    }
    for path in ["/", "/a%20b", "/...", "/a..", "/%2e%2e%2e", "/a;..", "/%C3%A9", "/a%2"] {
        assert_eq!(refused_part(path), None, "{path}");
    }
    for (pattern, part) in [("/a%2eb", "%2e"), ("/%c3.*", "%c3"), ("/(x|%5C)", "%5C"), ("/%00", "%00")] {
        assert_eq!(vanished_part(pattern), Some(part), "{pattern}");
    }
    for pattern in ["/a%20[0-9]+", "/%C3%A9", "(?i)/%c3", "/100%", "/%é", "/%zz"] {
        assert_eq!(vanished_part(pattern), None, "{pattern}");
    }
}

#[test]
fn headers_and_methods() {
    assert_eq!(header_name("X-Key").as_deref(), Ok("x-key"));
    assert!(header_name("X Key").is_err());
    assert!(header_name("").is_err());
    assert!(header_value("a\r\nb").is_err());
    assert!(header_value("ä").is_ok());
    assert!(header_value(&"a".repeat(4097)).is_err());
    assert_eq!(method("GET").as_deref(), Ok("GET"));
    assert!(method("get").is_err());
}

#[test]
fn patterns() {
    assert!(pattern("/v[0-9]+/.*").is_ok());
    for text in ["(", "(?=a)", r"(a)\1", r"(\w{1000}){1000}", &"a".repeat(2000)] {
        assert!(pattern(text).is_err(), "{text}");
    }
    assert!(pattern(r"(\w{1000}){1000}").unwrap_err().0.contains("compiled"));
    // A group that is closed too early must not escape the anchors.
    assert!(pattern("a)|(b").is_err());
}

#[test]
fn long_values_are_cut_in_messages() {
    let Wrong(message) = hostname(&"É".repeat(5000)).unwrap_err();
    assert!(message.chars().count() < 300, "{message}");
}

proptest! {
    #[test]
    fn an_intersection_is_the_narrower_side(left in "(\\*\\.)?([ab]\\.){0,2}[ab]", right in "(\\*\\.)?([ab]\\.){0,2}[ab]") {
        let meet = intersect(&left, &right);
        prop_assert_eq!(meet, intersect(&right, &left));
        if let Some(meet) = meet {
            prop_assert!(meet == left || meet == right);
            prop_assert_eq!(intersect(meet, &left), Some(meet));
            prop_assert_eq!(intersect(meet, &right), Some(meet));
        }
    }

    #[test]
    fn checks_never_panic(text in "\\PC*") {
        let _ = (hostname(&text), path(&text), prefix(&text), duration_ms(&text, 1000), header_name(&text));
        let _ = (refused_part(&text), vanished_part(&text));
        let _ = (header_value(&text), method(&text), pattern(&text), precise_hostname(&text));
    }
}

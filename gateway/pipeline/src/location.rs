//! Redirect locations and rewritten targets.
//!
//! In: the filter, the canonical path and query of the request, and what the match took of the path. Out:
//! text. The query is always kept. Port rules as in HTTPRequestRedirectFilter of Gateway API.

use gateway_snapshot::{PathRewrite, Redirect};

/// What a redirect takes from the request when the filter does not say.
pub(crate) struct Original<'a> {
    pub(crate) https: bool,
    /// Normalised; brackets around IPv6 addresses.
    pub(crate) host: Option<&'a str>,
    /// Port that the request came in by.
    pub(crate) port: u16,
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
    /// What the match took of the path; nothing for a regular expression.
    pub(crate) taken: Option<&'a str>,
}

/// The value of `Location`. Without any host (HTTP/1.0) it is relative.
pub(crate) fn redirect(redirect: &Redirect, original: &Original<'_>) -> String {
    let path = match &redirect.path {
        Some(rewrite) => rewritten(rewrite, original.path, original.taken),
        None => original.path.to_owned(),
    };
    let target = with_query(path, original.query);
    let Some(host) = redirect.hostname.as_deref().or(original.host) else { return target };
    let scheme = redirect.scheme.as_deref().unwrap_or(if original.https { "https" } else { "http" });
    let well_known = if scheme == "https" { 443 } else { 80 };
    // A scheme without a port means that scheme's own port; otherwise the listener's stays.
    let default = if redirect.scheme.is_some() { well_known } else { original.port };
    let port = redirect.port.unwrap_or(default);
    if port == well_known {
        format!("{scheme}://{host}{target}")
    } else {
        format!("{scheme}://{host}:{port}{target}")
    }
}

/// The path after a rewrite; always begins with a slash.
pub(crate) fn rewritten(rewrite: &PathRewrite, path: &str, taken: Option<&str>) -> String {
    match rewrite {
        PathRewrite::Full(full) if full.starts_with('/') => full.clone(),
        PathRewrite::Full(full) => format!("/{full}"),
        // What a regular expression took is not a prefix: nothing to replace.
        PathRewrite::Prefix(replacement) => match taken {
            None => path.to_owned(),
            Some(taken) => replaced(replacement, &path[taken.len()..], taken.is_empty()),
        },
    }
}

/// Puts `rest` behind the replacement with exactly one slash between them.
fn replaced(replacement: &str, rest: &str, root: bool) -> String {
    // The prefix `/` takes the slash itself when nothing follows it.
    let rest = if root && rest == "/" { "" } else { rest };
    let joined = match rest {
        "" => replacement.to_owned(),
        rest => format!("{}{rest}", replacement.trim_end_matches('/')),
    };
    if joined.starts_with('/') { joined } else { format!("/{joined}") }
}

/// `path?query`.
pub(crate) fn with_query(mut path: String, query: Option<&str>) -> String {
    if let Some(query) = query {
        path.push('?');
        path.push_str(query);
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_replacements_of_the_specification() {
        // Path, prefix, replacement, result: the table of HTTPPathModifier and its edges.
        for (path, prefix, replacement, expected) in [
            ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
            ("/foo", "/foo", "/xyz", "/xyz"),
            ("/foo/", "/foo", "/xyz", "/xyz/"),
            ("/foo", "/foo", "/xyz/", "/xyz/"),
            ("/foo/bar", "/foo", "", "/bar"),
            ("/foo/", "/foo", "", "/"),
            ("/foo", "/foo", "", "/"),
            ("/foo/", "/foo", "/", "/"),
            ("/foo", "/foo", "/", "/"),
            ("/foo/bar", "/foo", "/", "/bar"),
            ("/foo", "", "/xyz", "/xyz/foo"),
            ("/", "", "/xyz", "/xyz"),
            ("/", "", "/", "/"),
            ("/foo", "", "", "/foo"),
        ] {
            let rewrite = PathRewrite::Prefix(replacement.to_owned());
            assert_eq!(rewritten(&rewrite, path, Some(prefix)), expected, "{path} {prefix} {replacement}");
        }
        assert_eq!(rewritten(&PathRewrite::Prefix("/x".to_owned()), "/a/1", None), "/a/1");
        assert_eq!(rewritten(&PathRewrite::Full("/x".to_owned()), "/a/1", None), "/x");
        assert_eq!(rewritten(&PathRewrite::Full(String::new()), "/a/1", None), "/");
    }

    fn to(scheme: Option<&str>, hostname: Option<&str>, port: Option<u16>) -> Redirect {
        let text = |part: Option<&str>| part.map(str::to_owned);
        Redirect { scheme: text(scheme), hostname: text(hostname), port, path: None, status: 302 }
    }

    #[test]
    fn ports_follow_the_scheme_or_the_listener() {
        for (scheme, hostname, port, listener, https, expected) in [
            (None, Some("example.org"), None, 80, false, "http://example.org/a?q"),
            (None, None, None, 8080, false, "http://example.com:8080/a?q"),
            (None, None, Some(8083), 80, false, "http://example.com:8083/a?q"),
            (None, None, Some(80), 8080, false, "http://example.com/a?q"),
            (Some("https"), None, None, 8080, false, "https://example.com/a?q"),
            (Some("https"), None, Some(443), 80, false, "https://example.com/a?q"),
            (Some("https"), None, Some(8443), 80, false, "https://example.com:8443/a?q"),
            (Some("http"), None, None, 443, true, "http://example.com/a?q"),
            (None, None, None, 443, true, "https://example.com/a?q"),
            (None, None, Some(80), 443, true, "https://example.com:80/a?q"),
            (None, None, None, 80, true, "https://example.com:80/a?q"),
        ] {
            let original = Original {
                https,
                host: Some("example.com"),
                port: listener,
                path: "/a",
                query: Some("q"),
                taken: None,
            };
            assert_eq!(redirect(&to(scheme, hostname, port), &original), expected);
        }
    }

    #[test]
    fn relative_without_any_host() {
        let original = Original { https: false, host: None, port: 80, path: "/a", query: None, taken: None };
        assert_eq!(redirect(&to(Some("https"), None, None), &original), "/a");
    }
}

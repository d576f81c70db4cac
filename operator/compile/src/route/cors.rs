//! The CORS filter (GEP-1767).

use gateway_snapshot::Cors;

use crate::check::{self, shown};
use crate::field::Field;
use crate::problem::{InField, Problem};
use crds::gateway_api::HttpCorsFilter;

/// Seconds that a preflight answer lives when the filter does not say.
const DEFAULT_MAX_AGE: u32 = 5;
/// Entries of one list (Gateway API's own limit).
const MAX_ENTRIES: usize = 64;

/// A checked filter.
pub(crate) fn cors(part: &HttpCorsFilter, field: &Field<'_>) -> Result<Cors, Problem> {
    let max_age = match part.max_age {
        None => DEFAULT_MAX_AGE,
        Some(age) => u32::try_from(age).ok().filter(|age| *age > 0).ok_or_else(|| {
            Problem::value(&field.key("maxAge"), format!("{age} is not a number of seconds above 0"))
        })?,
    };
    Ok(Cors {
        allow_origins: list(&part.allow_origins, &field.key("allowOrigins"), origin)?,
        allow_credentials: part.allow_credentials.unwrap_or(false),
        allow_methods: list(&part.allow_methods, &field.key("allowMethods"), method)?,
        allow_headers: list(&part.allow_headers, &field.key("allowHeaders"), header)?,
        expose_headers: list(&part.expose_headers, &field.key("exposeHeaders"), header)?,
        max_age,
    })
}

fn list(
    raw: &[String],
    field: &Field<'_>,
    check: fn(&str, &Field<'_>) -> Result<String, Problem>,
) -> Result<Vec<String>, Problem> {
    if raw.len() > MAX_ENTRIES {
        return Err(Problem::value(
            field,
            format!("has {} entries; at most {MAX_ENTRIES} are allowed", raw.len()),
        ));
    }
    if raw.len() > 1 && raw.iter().any(|entry| entry == "*") {
        return Err(Problem::value(field, "has `*` beside other entries; `*` stands alone"));
    }
    raw.iter().enumerate().map(|(index, entry)| check(entry, &field.index(index))).collect()
}

fn method(text: &str, field: &Field<'_>) -> Result<String, Problem> {
    if text == "*" { Ok(text.to_owned()) } else { check::method(text).at(field) }
}

fn header(text: &str, field: &Field<'_>) -> Result<String, Problem> {
    if text == "*" { Ok(text.to_owned()) } else { check::header_name(text).at(field) }
}

fn origin(text: &str, field: &Field<'_>) -> Result<String, Problem> {
    if text == "*" || is_origin(text) {
        return Ok(text.to_owned());
    }
    let message = format!("{} is not an origin; write `*` or `https://shop.example.com[:port]`", shown(text));
    Err(Problem::value(field, message))
}

/// `scheme://host[:port]`, where the host may begin with `*.` or be an address, and nothing follows.
fn is_origin(text: &str) -> bool {
    let Some((scheme, authority)) = text.split_once("://") else { return false };
    let scheme_ok = scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte));
    let (host, port_ok) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse::<u16>().is_ok()),
        _ => (authority, true),
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    scheme_ok
        && port_ok
        && (host == "*" || check::hostname(host).is_ok() || bare.parse::<std::net::IpAddr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::is_origin;

    #[test]
    fn origins() {
        for text in [
            "https://a.b",
            "http://a.b:8080",
            "https://*.a.b",
            "http://10.0.0.1:1",
            "http://[::1]:80",
            "capacitor://localhost",
        ] {
            assert!(is_origin(text), "{text}");
        }
        for text in
            ["", "a.b", "https://", "https://a.b/", "https://a.b:x", "https://a b", "://a", "HTTPS://a.b"]
        {
            assert!(!is_origin(text), "{text}");
        }
    }
}

//! Matches of a rule → the snapshot's matches, for both kinds of route.

use gateway_snapshot::{HeaderMatch, Match, PathMatch, QueryMatch, StringMatch};

use crate::check;
use crate::field::Field;
use crate::problem::{InField, Problem};
use crate::route::view::MatchesView;
use crds::gateway_api::{GrpcRouteMatch, HttpMethod, HttpRouteMatch, MatchType, PathMatchType, ValueMatch};

/// Matches of one rule, and header or query conditions of one match (Gateway API's own limits).
const MAX_MATCHES: usize = 64;
const MAX_CONDITIONS: usize = 16;

/// All matches of a rule; the default is every request.
pub(crate) fn matches(view: &MatchesView<'_>, field: &Field<'_>) -> Result<Vec<Match>, Problem> {
    let count = match view {
        MatchesView::Http(list) => list.len(),
        MatchesView::Grpc(list) => list.len(),
    };
    if count > MAX_MATCHES {
        return Err(Problem::value(field, format!("has {count} matches; a rule has at most {MAX_MATCHES}")));
    }
    if count == 0 {
        return Ok(vec![every_request()]);
    }
    match view {
        MatchesView::Http(list) => {
            list.iter().enumerate().map(|(index, raw)| http(raw, &field.index(index))).collect()
        }
        MatchesView::Grpc(list) => {
            list.iter().enumerate().map(|(index, raw)| grpc(raw, &field.index(index))).collect()
        }
    }
}

fn every_request() -> Match {
    Match { path: PathMatch::Prefix("/".into()), headers: vec![], query: vec![], method: None }
}

fn http(raw: &HttpRouteMatch, field: &Field<'_>) -> Result<Match, Problem> {
    Ok(Match {
        path: http_path(raw, &field.key("path"))?,
        headers: headers(&raw.headers, &field.key("headers"))?,
        query: query(&raw.query_params, &field.key("queryParams"))?,
        method: raw.method.map(method_name),
    })
}

fn http_path(raw: &HttpRouteMatch, field: &Field<'_>) -> Result<PathMatch, Problem> {
    let path = raw.path.as_ref();
    let value = path.and_then(|path| path.value.as_deref()).unwrap_or("/");
    let field = &field.key("value");
    match path.and_then(|path| path.r#type).unwrap_or(PathMatchType::PathPrefix) {
        PathMatchType::Exact => check::path(value).at(field).map(PathMatch::Exact),
        PathMatchType::PathPrefix => check::prefix(value).at(field).map(PathMatch::Prefix),
        PathMatchType::RegularExpression => check::pattern(value).at(field).map(PathMatch::Regex),
    }
}

fn method_name(method: HttpMethod) -> String {
    match method {
        HttpMethod::Get => "GET",
        HttpMethod::Head => "HEAD",
        HttpMethod::Post => "POST",
        HttpMethod::Put => "PUT",
        HttpMethod::Delete => "DELETE",
        HttpMethod::Connect => "CONNECT",
        HttpMethod::Options => "OPTIONS",
        HttpMethod::Trace => "TRACE",
        HttpMethod::Patch => "PATCH",
    }
    .to_owned()
}

/// Only the first of several conditions on one name counts (HTTPHeaderMatch.name).
fn headers(raw: &[ValueMatch], field: &Field<'_>) -> Result<Vec<HeaderMatch>, Problem> {
    bounded(raw, field)?;
    let mut out: Vec<HeaderMatch> = Vec::with_capacity(raw.len());
    for (index, condition) in raw.iter().enumerate() {
        let field = &field.index(index);
        let name = check::header_name(&condition.name).at(&field.key("name"))?;
        let value = string_match(condition, &field.key("value"))?;
        if out.iter().all(|earlier| earlier.name != name) {
            out.push(HeaderMatch { name, value });
        }
    }
    Ok(out)
}

fn query(raw: &[ValueMatch], field: &Field<'_>) -> Result<Vec<QueryMatch>, Problem> {
    bounded(raw, field)?;
    let mut out: Vec<QueryMatch> = Vec::with_capacity(raw.len());
    for (index, condition) in raw.iter().enumerate() {
        let field = &field.index(index);
        if condition.name.is_empty() {
            return Err(Problem::value(&field.key("name"), "is empty; name the query parameter"));
        }
        let value = string_match(condition, &field.key("value"))?;
        if out.iter().all(|earlier| earlier.name != condition.name) {
            out.push(QueryMatch { name: condition.name.clone(), value });
        }
    }
    Ok(out)
}

fn bounded(raw: &[ValueMatch], field: &Field<'_>) -> Result<(), Problem> {
    if raw.len() > MAX_CONDITIONS {
        let message = format!("has {} conditions; at most {MAX_CONDITIONS} are allowed", raw.len());
        return Err(Problem::value(field, message));
    }
    Ok(())
}

fn string_match(condition: &ValueMatch, field: &Field<'_>) -> Result<StringMatch, Problem> {
    match condition.r#type.unwrap_or(MatchType::Exact) {
        MatchType::Exact => check::header_value(&condition.value).at(field).map(StringMatch::Exact),
        MatchType::RegularExpression => check::pattern(&condition.value).at(field).map(StringMatch::Regex),
    }
}

fn grpc(raw: &GrpcRouteMatch, field: &Field<'_>) -> Result<Match, Problem> {
    Ok(Match {
        path: grpc_path(raw, &field.key("method"))?,
        headers: headers(&raw.headers, &field.key("headers"))?,
        query: vec![],
        method: None,
    })
}

/// A gRPC call is a request for `/service/method` (gRPC over HTTP/2).
fn grpc_path(raw: &GrpcRouteMatch, field: &Field<'_>) -> Result<PathMatch, Problem> {
    let Some(call) = &raw.method else { return Ok(PathMatch::Prefix("/".into())) };
    let part = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
    let (service, method) = (part(&call.service), part(&call.method));
    if service.is_none() && method.is_none() {
        return Err(Problem::value(field, "names neither service nor method; set one of them"));
    }
    match call.r#type.unwrap_or(MatchType::Exact) {
        MatchType::Exact => exact_call(service.as_deref(), method.as_deref(), field),
        MatchType::RegularExpression => {
            let checked = |part: &Option<String>, name| match part {
                Some(text) => check::pattern(text).at(&field.key(name)),
                None => Ok("[^/]+".to_owned()),
            };
            let (service, method) = (checked(&service, "service")?, checked(&method, "method")?);
            check::compiled(&format!("/(?:{service})/(?:{method})")).at(field).map(PathMatch::Regex)
        }
    }
}

fn exact_call(service: Option<&str>, method: Option<&str>, field: &Field<'_>) -> Result<PathMatch, Problem> {
    for (part, name) in [(service, "service"), (method, "method")] {
        if part.is_some_and(|part| !is_grpc_name(part)) {
            return Err(Problem::value(&field.key(name), "is not a name of letters, digits, `_` and `.`"));
        }
    }
    Ok(match (service, method) {
        (Some(service), Some(method)) => PathMatch::Exact(format!("/{service}/{method}")),
        (Some(service), None) => PathMatch::Prefix(format!("/{service}")),
        (None, Some(method)) => {
            let pattern = format!("/[^/]+/{}", regex::escape(method));
            PathMatch::Regex(check::compiled(&pattern).at(&field.key("method"))?)
        }
        (None, None) => PathMatch::Prefix("/".into()),
    })
}

fn is_grpc_name(text: &str) -> bool {
    text.len() <= 1024 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

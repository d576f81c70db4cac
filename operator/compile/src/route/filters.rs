//! Filters of a rule or of one of its backends → the snapshot's filters.
//!
//! A wrong value makes the whole rule invalid. A reference that leads nowhere does not: a mirror without target is
//! left out, and an extension without target makes the rule answer 500, because a filter must never be skipped
//! silently (HTTPRouteFilter.extensionRef).

use std::collections::BTreeSet;

use crds::conditions::Reason;
use gateway_snapshot::{BackendRef, Filter, HeaderEdit, Mirror, PathRewrite, Redirect, Rewrite};

use crate::check;
use crate::field::Field;
use crate::problem::{InField, Problem};
use crate::route::cors::cors;
use crate::route::extension::extension;
use crate::route::rule::RuleContext;
use crate::route::view::FilterView;
use crds::gateway_api::{
    HttpHeader, HttpHeaderFilter, HttpPathModifier, HttpPathModifierType, HttpRequestMirrorFilter,
    HttpRequestRedirectFilter, HttpUrlRewriteFilter, RedirectScheme,
};

/// Gateway API's own limit.
const MAX_FILTERS: usize = 16;
/// Fields that say how a message is framed or where a connection ends: the gateway's own business.
const FRAMING: [&str; 8] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Where a list of filters stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// On a rule.
    Rule,
    /// On one backend of a rule.
    Backend,
}

/// All filters of one list.
pub(crate) fn filters(
    views: &[FilterView<'_>],
    place: Place,
    context: &mut RuleContext<'_, '_>,
    field: &Field<'_>,
) -> Result<Vec<Filter>, Problem> {
    if views.len() > MAX_FILTERS {
        return Err(Problem::value(
            field,
            format!("has {} filters; at most {MAX_FILTERS} are allowed", views.len()),
        ));
    }
    compatible(views, field)?;
    let mut out = Vec::with_capacity(views.len());
    for (index, view) in views.iter().enumerate() {
        out.extend(filter(view, place, context, &field.index(index))?);
    }
    Ok(out)
}

/// Redirect and rewrite exclude each other, and only mirrors and extensions may be repeated.
fn compatible(views: &[FilterView<'_>], field: &Field<'_>) -> Result<(), Problem> {
    let mut seen = BTreeSet::new();
    for name in views.iter().filter_map(single) {
        if !seen.insert(name) {
            let message = format!("has {name} twice; put everything into one");
            return Err(Problem::at(Reason::IncompatibleFilters, field, message));
        }
    }
    if seen.contains("RequestRedirect") && seen.contains("URLRewrite") {
        let message = "has both RequestRedirect and URLRewrite; a redirected request goes to no backend, so take one out";
        return Err(Problem::at(Reason::IncompatibleFilters, field, message));
    }
    Ok(())
}

/// Name of a filter that may stand only once in a list.
fn single(view: &FilterView<'_>) -> Option<&'static str> {
    match view {
        FilterView::RequestHeaders(_) => Some("RequestHeaderModifier"),
        FilterView::ResponseHeaders(_) => Some("ResponseHeaderModifier"),
        FilterView::Redirect(_) => Some("RequestRedirect"),
        FilterView::Rewrite(_) => Some("URLRewrite"),
        FilterView::Cors(_) => Some("CORS"),
        FilterView::ExternalAuth => Some("ExternalAuth"),
        FilterView::Mirror(_) | FilterView::Extension(_) => None,
    }
}

fn filter(
    view: &FilterView<'_>,
    place: Place,
    context: &mut RuleContext<'_, '_>,
    field: &Field<'_>,
) -> Result<Option<Filter>, Problem> {
    let missing = |name: &str| {
        Problem::value(field, format!("is of type {name}, but the part of that name is missing"))
    };
    if place == Place::Backend && !allowed_on_backend(view) {
        let message = "cannot stand on a backend; only RequestHeaderModifier, ResponseHeaderModifier and URLRewrite can";
        return Err(Problem::value(&field.key("type"), message));
    }
    Ok(match view {
        FilterView::RequestHeaders(part) => {
            let part = part.ok_or_else(|| missing("RequestHeaderModifier"))?;
            Some(Filter::RequestHeaders(header_edit(part, &field.key("requestHeaderModifier"))?))
        }
        FilterView::ResponseHeaders(part) => {
            let part = part.ok_or_else(|| missing("ResponseHeaderModifier"))?;
            Some(Filter::ResponseHeaders(header_edit(part, &field.key("responseHeaderModifier"))?))
        }
        FilterView::Redirect(part) => {
            let part = part.ok_or_else(|| missing("RequestRedirect"))?;
            Some(Filter::Redirect(redirect(part, context, &field.key("requestRedirect"))?))
        }
        FilterView::Rewrite(part) => {
            let part = part.ok_or_else(|| missing("URLRewrite"))?;
            Some(Filter::Rewrite(rewrite(part, context, &field.key("urlRewrite"))?))
        }
        FilterView::Mirror(part) => {
            mirror(part.ok_or_else(|| missing("RequestMirror"))?, context, &field.key("requestMirror"))?
        }
        FilterView::Cors(part) => {
            Some(Filter::Cors(cors(part.ok_or_else(|| missing("CORS"))?, &field.key("cors"))?))
        }
        FilterView::ExternalAuth => {
            return Err(Problem::value(
                &field.key("type"),
                "ExternalAuth is not supported; use an AuthPolicy",
            ));
        }
        FilterView::Extension(part) => {
            extension(part.ok_or_else(|| missing("ExtensionRef"))?, context, &field.key("extensionRef"))
        }
    })
}

fn allowed_on_backend(view: &FilterView<'_>) -> bool {
    matches!(view, FilterView::RequestHeaders(_) | FilterView::ResponseHeaders(_) | FilterView::Rewrite(_))
}

fn header_edit(part: &HttpHeaderFilter, field: &Field<'_>) -> Result<HeaderEdit, Problem> {
    let remove = field.key("remove");
    Ok(HeaderEdit {
        set: header_values(&part.set, &field.key("set"))?,
        add: header_values(&part.add, &field.key("add"))?,
        remove: part
            .remove
            .iter()
            .enumerate()
            .map(|(index, name)| editable(name, &remove.index(index)))
            .collect::<Result<_, _>>()?,
    })
}

/// Only the first of several entries for one name counts (HTTPHeaderFilter).
fn header_values(raw: &[HttpHeader], field: &Field<'_>) -> Result<Vec<(String, String)>, Problem> {
    let mut out: Vec<(String, String)> = Vec::with_capacity(raw.len());
    for (index, header) in raw.iter().enumerate() {
        let field = &field.index(index);
        let name = editable(&header.name, &field.key("name"))?;
        let value = check::header_value(&header.value).at(&field.key("value"))?;
        if out.iter().all(|(earlier, _)| *earlier != name) {
            out.push((name, value));
        }
    }
    Ok(out)
}

fn editable(name: &str, field: &Field<'_>) -> Result<String, Problem> {
    let name = check::header_name(name).at(field)?;
    if FRAMING.contains(&name.as_str()) {
        return Err(Problem::value(field, format!("{name} is managed by the gateway and cannot be edited")));
    }
    Ok(name)
}

fn redirect(
    part: &HttpRequestRedirectFilter,
    context: &RuleContext<'_, '_>,
    field: &Field<'_>,
) -> Result<Redirect, Problem> {
    let status = part.status_code.unwrap_or(302);
    let Some(status) = [301, 302, 303, 307, 308].into_iter().find(|known| i64::from(*known) == status) else {
        let message = format!("{status} is not a redirect; use 301, 302, 303, 307 or 308");
        return Err(Problem::value(&field.key("statusCode"), message));
    };
    Ok(Redirect {
        scheme: part.scheme.map(|scheme| match scheme {
            RedirectScheme::Http => "http".to_owned(),
            RedirectScheme::Https => "https".to_owned(),
        }),
        hostname: precise(part.hostname.as_deref(), &field.key("hostname"))?,
        port: part.port.map(|port| port_number(port, &field.key("port"))).transpose()?,
        path: new_path(part.path.as_ref(), context, &field.key("path"))?,
        status,
    })
}

fn rewrite(
    part: &HttpUrlRewriteFilter,
    context: &RuleContext<'_, '_>,
    field: &Field<'_>,
) -> Result<Rewrite, Problem> {
    Ok(Rewrite {
        hostname: precise(part.hostname.as_deref(), &field.key("hostname"))?,
        path: new_path(part.path.as_ref(), context, &field.key("path"))?,
    })
}

fn precise(name: Option<&str>, field: &Field<'_>) -> Result<Option<String>, Problem> {
    name.map(|name| check::precise_hostname(name).at(field)).transpose()
}

/// A TCP port from a field that the schema makes an `int32`.
fn port_number(port: i32, field: &Field<'_>) -> Result<u16, Problem> {
    match u16::try_from(port) {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(Problem::value(field, format!("{port} is not a port; use 1 to 65535"))),
    }
}

fn new_path(
    path: Option<&HttpPathModifier>,
    context: &RuleContext<'_, '_>,
    field: &Field<'_>,
) -> Result<Option<PathRewrite>, Problem> {
    let Some(path) = path else { return Ok(None) };
    let missing =
        |name: &'static str| Problem::value(field, format!("needs {name}, because its type says so"));
    match path.r#type {
        HttpPathModifierType::ReplaceFullPath => {
            let value = path.replace_full_path.as_deref().ok_or_else(|| missing("replaceFullPath"))?;
            let field = field.key("replaceFullPath");
            target_path(value, &field).map(|path| Some(PathRewrite::Full(path)))
        }
        HttpPathModifierType::ReplacePrefixMatch => {
            let value = path.replace_prefix_match.as_deref().ok_or_else(|| missing("replacePrefixMatch"))?;
            let field = field.key("replacePrefixMatch");
            if !context.single_prefix {
                let message = "needs exactly one match in its rule, of type PathPrefix, to know which prefix to replace";
                return Err(Problem::value(&field, message));
            }
            if value.is_empty() {
                return Ok(Some(PathRewrite::Prefix(String::new())));
            }
            target_path(value, &field).map(|path| Some(PathRewrite::Prefix(path)))
        }
    }
}

/// A path that may be sent on: not one that the gateway itself would refuse.
fn target_path(value: &str, field: &Field<'_>) -> Result<String, Problem> {
    let path = check::path(value).at(field)?;
    match check::refused_part(&path) {
        None => Ok(path),
        Some(part) => Err(Problem::value(field, format!("{} has {part}; take it out", check::shown(value)))),
    }
}

fn mirror(
    part: &HttpRequestMirrorFilter,
    context: &mut RuleContext<'_, '_>,
    field: &Field<'_>,
) -> Result<Option<Filter>, Problem> {
    let (numerator, denominator) = share(part, field)?;
    Ok(context
        .backend(&part.backend_ref, &field.key("backendRef"))
        .ok()
        .map(|key| Filter::Mirror(Mirror { backend: BackendRef::To(key), numerator, denominator })))
}

fn share(part: &HttpRequestMirrorFilter, field: &Field<'_>) -> Result<(u32, u32), Problem> {
    match (part.percent, &part.fraction) {
        (Some(_), Some(_)) => Err(Problem::value(field, "has both percent and fraction; take one out")),
        (Some(percent), None) => match u32::try_from(percent) {
            Ok(percent) if percent <= 100 => Ok((percent, 100)),
            _ => Err(Problem::value(&field.key("percent"), format!("{percent} is not between 0 and 100"))),
        },
        (None, Some(fraction)) => {
            let denominator = fraction.denominator.unwrap_or(100);
            match (u32::try_from(fraction.numerator), u32::try_from(denominator)) {
                (Ok(numerator), Ok(denominator)) if denominator > 0 && numerator <= denominator => {
                    Ok((numerator, denominator))
                }
                _ => {
                    let message = format!("{}/{denominator} is not between 0 and 1", fraction.numerator);
                    Err(Problem::value(&field.key("fraction"), message))
                }
            }
        }
        (None, None) => Ok((100, 100)),
    }
}

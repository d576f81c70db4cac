//! HTTPRoute and GRPCRoute seen as one kind, so that everything after this is written once.
//!
//! A view borrows the resource and normalises its shape; it checks nothing.

use crds::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use gateway_snapshot::RouteKind;

use crds::gateway_api::{
    BackendObjectReference, GrpcRoute, GrpcRouteFilter, GrpcRouteFilterType, GrpcRouteMatch, HttpCorsFilter,
    HttpHeaderFilter, HttpRequestMirrorFilter, HttpRequestRedirectFilter, HttpRoute, HttpRouteFilter,
    HttpRouteFilterType, HttpRouteMatch, HttpRouteRetry, HttpRouteTimeouts, HttpUrlRewriteFilter,
    LocalObjectReference, ParentReference,
};

/// One route.
pub(crate) struct RouteView<'a> {
    pub(crate) kind: RouteKind,
    pub(crate) meta: &'a ObjectMeta,
    pub(crate) parents: &'a [ParentReference],
    pub(crate) hostnames: &'a [String],
    pub(crate) rules: Vec<RuleView<'a>>,
}

/// One of its rules.
pub(crate) struct RuleView<'a> {
    pub(crate) name: Option<&'a str>,
    pub(crate) matches: MatchesView<'a>,
    pub(crate) filters: Vec<FilterView<'a>>,
    pub(crate) backends: Vec<BackendView<'a>>,
    pub(crate) timeouts: Option<&'a HttpRouteTimeouts>,
    pub(crate) retry: Option<&'a HttpRouteRetry>,
    pub(crate) session_persistence: bool,
}

/// The matches of a rule, which are where the two kinds really differ.
pub(crate) enum MatchesView<'a> {
    Http(&'a [HttpRouteMatch]),
    Grpc(&'a [GrpcRouteMatch]),
}

/// A filter; its part is absent when the type names one part and another is filled in.
pub(crate) enum FilterView<'a> {
    RequestHeaders(Option<&'a HttpHeaderFilter>),
    ResponseHeaders(Option<&'a HttpHeaderFilter>),
    Mirror(Option<&'a HttpRequestMirrorFilter>),
    Redirect(Option<&'a HttpRequestRedirectFilter>),
    Rewrite(Option<&'a HttpUrlRewriteFilter>),
    Cors(Option<&'a HttpCorsFilter>),
    ExternalAuth,
    Extension(Option<&'a LocalObjectReference>),
}

/// One backend of a rule.
pub(crate) struct BackendView<'a> {
    pub(crate) reference: BackendObjectReference,
    pub(crate) weight: Option<i32>,
    pub(crate) filters: Vec<FilterView<'a>>,
}

impl<'a> From<&'a HttpRoute> for RouteView<'a> {
    fn from(route: &'a HttpRoute) -> Self {
        let rules = route.spec.rules.iter().map(|rule| RuleView {
            name: rule.name.as_deref(),
            matches: MatchesView::Http(&rule.matches),
            filters: rule.filters.iter().map(FilterView::from).collect(),
            backends: rule
                .backend_refs
                .iter()
                .map(|backend| BackendView {
                    reference: BackendObjectReference {
                        group: backend.group.clone(),
                        kind: backend.kind.clone(),
                        name: backend.name.clone(),
                        namespace: backend.namespace.clone(),
                        port: backend.port,
                    },
                    weight: backend.weight,
                    filters: backend.filters.iter().map(FilterView::from).collect(),
                })
                .collect(),
            timeouts: rule.timeouts.as_ref(),
            retry: rule.retry.as_ref(),
            session_persistence: rule.session_persistence.is_some(),
        });
        Self {
            kind: RouteKind::Http,
            meta: &route.metadata,
            parents: &route.spec.parent_refs,
            hostnames: &route.spec.hostnames,
            rules: rules.collect(),
        }
    }
}

impl<'a> From<&'a GrpcRoute> for RouteView<'a> {
    fn from(route: &'a GrpcRoute) -> Self {
        let rules = route.spec.rules.iter().map(|rule| RuleView {
            name: rule.name.as_deref(),
            matches: MatchesView::Grpc(&rule.matches),
            filters: rule.filters.iter().map(FilterView::from).collect(),
            backends: rule
                .backend_refs
                .iter()
                .map(|backend| BackendView {
                    reference: BackendObjectReference {
                        group: backend.group.clone(),
                        kind: backend.kind.clone(),
                        name: backend.name.clone(),
                        namespace: backend.namespace.clone(),
                        port: backend.port,
                    },
                    weight: backend.weight,
                    filters: backend.filters.iter().map(FilterView::from).collect(),
                })
                .collect(),
            timeouts: None,
            retry: None,
            session_persistence: rule.session_persistence.is_some(),
        });
        Self {
            kind: RouteKind::Grpc,
            meta: &route.metadata,
            parents: &route.spec.parent_refs,
            hostnames: &route.spec.hostnames,
            rules: rules.collect(),
        }
    }
}

impl<'a> From<&'a HttpRouteFilter> for FilterView<'a> {
    fn from(filter: &'a HttpRouteFilter) -> Self {
        match filter.r#type {
            HttpRouteFilterType::RequestHeaderModifier => {
                Self::RequestHeaders(filter.request_header_modifier.as_ref())
            }
            HttpRouteFilterType::ResponseHeaderModifier => {
                Self::ResponseHeaders(filter.response_header_modifier.as_ref())
            }
            HttpRouteFilterType::RequestMirror => Self::Mirror(filter.request_mirror.as_ref()),
            HttpRouteFilterType::RequestRedirect => Self::Redirect(filter.request_redirect.as_ref()),
            HttpRouteFilterType::UrlRewrite => Self::Rewrite(filter.url_rewrite.as_ref()),
            HttpRouteFilterType::Cors => Self::Cors(filter.cors.as_ref()),
            HttpRouteFilterType::ExternalAuth => Self::ExternalAuth,
            HttpRouteFilterType::ExtensionRef => Self::Extension(filter.extension_ref.as_ref()),
        }
    }
}

impl<'a> From<&'a GrpcRouteFilter> for FilterView<'a> {
    fn from(filter: &'a GrpcRouteFilter) -> Self {
        match filter.r#type {
            GrpcRouteFilterType::RequestHeaderModifier => {
                Self::RequestHeaders(filter.request_header_modifier.as_ref())
            }
            GrpcRouteFilterType::ResponseHeaderModifier => {
                Self::ResponseHeaders(filter.response_header_modifier.as_ref())
            }
            GrpcRouteFilterType::RequestMirror => Self::Mirror(filter.request_mirror.as_ref()),
            GrpcRouteFilterType::ExtensionRef => Self::Extension(filter.extension_ref.as_ref()),
        }
    }
}

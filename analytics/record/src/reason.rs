//! Why a request ended as it did: the one closed vocabulary of response, record, metric and log.
//!
//! In: a decision of the gateway. Out: its word, a title for problem+json (RFC 9457), and the HTTP status
//! that it implies where that is fixed. A word is never renamed and never means two things.

use crate::codes::vocabulary;

vocabulary! {
    /// Why the request ended as it did.
    Reason, "reason" {
        /// An upstream answered; its answer was forwarded, whatever its status.
        Ok = 0 "ok",
        /// No route matches host, path, method, headers and query.
        NoRoute = 1 "no_route",
        /// The connection's certificate does not cover the requested host (misdirected request, RFC 9110 15.5.20).
        NoListenerHost = 2 "no_listener_host",
        /// Credentials are required and none were sent.
        AuthMissing = 3 "auth_missing",
        /// Credentials were sent and are not known.
        AuthInvalid = 4 "auth_invalid",
        /// Credentials are known and past their end.
        AuthExpired = 5 "auth_expired",
        /// The consumer is known and may not do this.
        Forbidden = 6 "forbidden",
        /// The consumer has no subscription to the product of this route.
        SubscriptionMissing = 7 "subscription_missing",
        /// The subscription is past its end.
        SubscriptionExpired = 8 "subscription_expired",
        /// The subscription waits for approval.
        SubscriptionPending = 9 "subscription_pending",
        /// A rate limit has no token left.
        RateLimited = 10 "rate_limited",
        /// A quota has no unit left in its window.
        QuotaExceeded = 11 "quota_exceeded",
        /// A hard quota could not be decided: no lease, and the authority does not answer.
        QuotaUnavailable = 12 "quota_unavailable",
        /// The request body is larger than allowed.
        BodyTooLarge = 13 "body_too_large",
        /// The request header section is larger than allowed (RFC 6585).
        HeadersTooLarge = 14 "headers_too_large",
        /// The request target is longer than allowed.
        UriTooLong = 15 "uri_too_long",
        /// The request does not follow the protocol.
        MalformedRequest = 16 "malformed_request",
        /// The listener has no room for another connection or stream.
        TooManyConnections = 17 "too_many_connections",
        /// The route's request timeout passed (Gateway API `timeouts.request`).
        RequestTimeout = 18 "request_timeout",
        /// The route's backend timeout passed (Gateway API `timeouts.backendRequest`).
        BackendTimeout = 19 "backend_timeout",
        /// No connection to the upstream could be made.
        UpstreamConnect = 20 "upstream_connect",
        /// The upstream closed the connection before its answer was complete.
        UpstreamReset = 21 "upstream_reset",
        /// The upstream's answer does not follow the protocol.
        UpstreamMalformed = 22 "upstream_malformed",
        /// The TLS handshake with the upstream failed.
        UpstreamTls = 23 "upstream_tls",
        /// The rule has no backend, or only backends of weight 0 (Gateway API: 500).
        NoBackend = 24 "no_backend",
        /// The backend has no ready endpoint.
        NoEndpoints = 25 "no_endpoints",
        /// The rule refers to something that does not resolve (Gateway API: 500).
        InvalidRoute = 26 "invalid_route",
        /// The downstream went away before the answer was complete.
        DownstreamClosed = 27 "downstream_closed",
        /// The gateway answered with a redirect.
        Redirected = 28 "redirected",
        /// The gateway answered with a mocked response.
        Mocked = 29 "mocked",
        /// The gateway answered a CORS preflight.
        CorsPreflight = 30 "cors_preflight",
        /// The gateway is shutting down.
        Draining = 31 "draining",
        /// The product is retired.
        ProductRetired = 32 "product_retired",
        /// A fault of the gateway itself.
        Internal = 33 "internal",
    }
}

impl Reason {
    /// The HTTP status that this reason implies, where it is fixed. `None` when the status comes from
    /// elsewhere: an upstream, a redirect, a mock or a CORS policy. 499 is never sent: it only marks a
    /// downstream that went away before any status was chosen.
    pub const fn status(self) -> Option<u16> {
        Some(match self {
            Self::Ok | Self::Redirected | Self::Mocked | Self::CorsPreflight => return None,
            Self::MalformedRequest => 400,
            Self::AuthMissing | Self::AuthInvalid | Self::AuthExpired => 401,
            Self::Forbidden
            | Self::SubscriptionMissing
            | Self::SubscriptionExpired
            | Self::SubscriptionPending => 403,
            Self::NoRoute => 404,
            Self::ProductRetired => 410,
            Self::BodyTooLarge => 413,
            Self::UriTooLong => 414,
            Self::NoListenerHost => 421,
            Self::RateLimited | Self::QuotaExceeded => 429,
            Self::HeadersTooLarge => 431,
            Self::DownstreamClosed => 499,
            Self::NoBackend | Self::InvalidRoute | Self::Internal => 500,
            Self::UpstreamConnect | Self::UpstreamReset | Self::UpstreamMalformed | Self::UpstreamTls => 502,
            Self::QuotaUnavailable | Self::TooManyConnections | Self::NoEndpoints | Self::Draining => 503,
            Self::RequestTimeout | Self::BackendTimeout => 504,
        })
    }

    /// A short title for people, the `title` member of problem+json (RFC 9457).
    pub const fn title(self) -> &'static str {
        match self {
            Self::Ok => "Answered by the upstream",
            Self::NoRoute => "No route matches this request",
            Self::NoListenerHost => "This connection does not serve the requested host",
            Self::AuthMissing => "Credentials are missing",
            Self::AuthInvalid => "Credentials are not valid",
            Self::AuthExpired => "Credentials have expired",
            Self::Forbidden => "Not allowed",
            Self::SubscriptionMissing => "No subscription to this product",
            Self::SubscriptionExpired => "The subscription has expired",
            Self::SubscriptionPending => "The subscription waits for approval",
            Self::RateLimited => "Rate limit reached",
            Self::QuotaExceeded => "Quota used up",
            Self::QuotaUnavailable => "The quota cannot be checked right now",
            Self::BodyTooLarge => "The request body is too large",
            Self::HeadersTooLarge => "The request headers are too large",
            Self::UriTooLong => "The request target is too long",
            Self::MalformedRequest => "The request is malformed",
            Self::TooManyConnections => "Too many connections",
            Self::RequestTimeout => "The request took too long",
            Self::BackendTimeout => "The backend took too long",
            Self::UpstreamConnect => "The backend cannot be reached",
            Self::UpstreamReset => "The backend closed the connection",
            Self::UpstreamMalformed => "The backend's answer is malformed",
            Self::UpstreamTls => "The TLS handshake with the backend failed",
            Self::NoBackend => "The route has no backend",
            Self::NoEndpoints => "The backend has no ready endpoint",
            Self::InvalidRoute => "The route is not valid",
            Self::DownstreamClosed => "The client closed the connection",
            Self::Redirected => "Redirected",
            Self::Mocked => "Mocked response",
            Self::CorsPreflight => "CORS preflight",
            Self::Draining => "The gateway is shutting down",
            Self::ProductRetired => "The product is retired",
            Self::Internal => "Internal error",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_table_is_closed_and_consistent() {
        let mut words = HashSet::new();
        for (index, reason) in Reason::ALL.iter().copied().enumerate() {
            assert_eq!(usize::from(reason.code()), index, "codes have no gap");
            assert_eq!(Reason::from_code(reason.code()), Some(reason));
            assert_eq!(reason.as_str().parse(), Ok(reason));
            assert!(words.insert(reason.as_str()), "{reason} is named twice");
            assert!(reason.as_str().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{reason}");
            assert!(!reason.title().is_empty() && reason.title().len() < 60, "{reason}");
            assert!(reason.status().is_none_or(|s| (400..600).contains(&s)), "{reason}");
        }
        assert_eq!(Reason::ALL.len(), 34);
        assert_eq!(Reason::from_code(34), None);
        assert!("OK".parse::<Reason>().is_err());
    }

    #[test]
    fn statuses_that_specifications_fix() {
        let table = [
            ("no_route", 404),
            ("no_listener_host", 421),
            ("rate_limited", 429),
            ("quota_exceeded", 429),
            ("headers_too_large", 431),
            ("invalid_route", 500),
            ("no_backend", 500),
            ("no_endpoints", 503),
            ("request_timeout", 504),
            ("backend_timeout", 504),
        ];
        for (word, status) in table {
            assert_eq!(word.parse::<Reason>().unwrap().status(), Some(status), "{word}");
        }
        assert_eq!(Reason::Ok.status(), None);
    }
}

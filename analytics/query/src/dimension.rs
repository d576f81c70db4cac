//! What usage is told apart by, and what it is counted in.
//!
//! In: names from parameters. Out: SQL expressions over the columns of `analytics_record`.
//! Counts are always `sum(n)`: a record may stand for many requests.

use std::str::FromStr;

use analytics_record::Reason;

/// A name that is not a dimension.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("dimension `{0}` is unknown; use one of {names}", names = names())]
pub struct UnknownDimension(pub String);

/// What usage is told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dimension {
    /// Who called, `namespace/name`; empty: nobody known.
    Consumer,
    /// On which terms.
    Plan,
    /// The product called.
    Product,
    /// Consumer × product × plan.
    Subscription,
    /// The route that matched; empty: none.
    Route,
    /// The rule within the route.
    Rule,
    /// The Gateway resource.
    Gateway,
    /// The listener within the Gateway.
    Listener,
    /// The backend chosen last.
    Backend,
    /// The status sent.
    Status,
    /// `2xx`, `3xx`, …
    StatusClass,
    /// Why it ended so, in the closed vocabulary.
    Reason,
    /// The request method.
    Method,
    /// What the downstream spoke.
    Protocol,
    /// The requested host.
    Host,
}

impl Dimension {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 15] = [
        Self::Consumer,
        Self::Plan,
        Self::Product,
        Self::Subscription,
        Self::Route,
        Self::Rule,
        Self::Gateway,
        Self::Listener,
        Self::Backend,
        Self::Status,
        Self::StatusClass,
        Self::Reason,
        Self::Method,
        Self::Protocol,
        Self::Host,
    ];

    /// The name, as in parameters and as the column of a report.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Consumer => "consumer",
            Self::Plan => "plan",
            Self::Product => "product",
            Self::Subscription => "subscription",
            Self::Route => "route",
            Self::Rule => "rule",
            Self::Gateway => "gateway",
            Self::Listener => "listener",
            Self::Backend => "backend",
            Self::Status => "status",
            Self::StatusClass => "status_class",
            Self::Reason => "reason",
            Self::Method => "method",
            Self::Protocol => "protocol",
            Self::Host => "host",
        }
    }

    /// SQL for the value as reports show it.
    pub(crate) const fn sql(self) -> &'static str {
        match self {
            Self::StatusClass => "concat(toString(intDiv(status, 100)), 'xx')",
            other => other.name(),
        }
    }

    /// SQL for the value as text, for comparing with a filter.
    pub(crate) const fn sql_text(self) -> &'static str {
        match self {
            Self::Status => "toString(status)",
            other => other.sql(),
        }
    }
}

impl FromStr for Dimension {
    type Err = UnknownDimension;

    fn from_str(name: &str) -> Result<Self, UnknownDimension> {
        Self::ALL
            .into_iter()
            .find(|dimension| dimension.name() == name)
            .ok_or_else(|| UnknownDimension(name.chars().take(40).collect()))
    }
}

fn names() -> String {
    Dimension::ALL.map(Dimension::name).join(", ")
}

/// Whether a request with this reason was refused: the gateway itself decided not to serve it.
pub fn is_refusal(reason: Reason) -> bool {
    use Reason as R;
    match reason {
        R::NoRoute
        | R::NoListenerHost
        | R::AuthMissing
        | R::AuthInvalid
        | R::AuthExpired
        | R::Forbidden
        | R::SubscriptionMissing
        | R::SubscriptionExpired
        | R::SubscriptionPending
        | R::RateLimited
        | R::QuotaExceeded
        | R::QuotaUnavailable
        | R::BodyTooLarge
        | R::HeadersTooLarge
        | R::UriTooLong
        | R::MalformedRequest
        | R::TooManyConnections
        | R::Draining
        | R::ProductRetired => true,
        R::Ok
        | R::RequestTimeout
        | R::BackendTimeout
        | R::UpstreamConnect
        | R::UpstreamReset
        | R::UpstreamMalformed
        | R::UpstreamTls
        | R::NoBackend
        | R::NoEndpoints
        | R::InvalidRoute
        | R::DownstreamClosed
        | R::Redirected
        | R::Mocked
        | R::CorsPreflight
        | R::Internal => false,
    }
}

/// SQL that is true for refused requests.
pub(crate) fn sql_refused() -> String {
    let words: Vec<_> = Reason::ALL
        .iter()
        .filter(|reason| is_refusal(**reason))
        .map(|reason| format!("'{reason}'"))
        .collect();
    format!("reason IN ({})", words.join(", "))
}

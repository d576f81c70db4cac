//! Policies: attachment after GEP-713, and what each kind says.
//!
//! A policy names targets in its own namespace: a Gateway, one of its listeners, a route or one of its named rules.
//! For a rule, the most specific target counts (rule, route, listener, Gateway). Of two policies of one kind for
//! one target, the older is in force. ApiProducts attach in the same way.

mod auth;
mod contents;
mod index;
mod limits;
mod rate;
mod target;

pub(crate) use contents::Contents;
pub(crate) use index::{PolicyIndex, TargetOutcome};
pub(crate) use limits::{MAX_CHARGED, limits};
pub(crate) use rate::{period_ms, rate};
pub(crate) use target::{Scope, Target};

/// Kinds that attach to routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum PolicyKind {
    /// AuthPolicy.
    Auth,
    /// RateLimitPolicy.
    RateLimit,
    /// QuotaPolicy.
    Quota,
    /// ApiProduct.
    Product,
}

impl PolicyKind {
    /// Every kind.
    pub(crate) const ALL: [Self; 4] = [Self::Auth, Self::RateLimit, Self::Quota, Self::Product];

    /// Name of the resource kind.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Auth => "AuthPolicy",
            Self::RateLimit => "RateLimitPolicy",
            Self::Quota => "QuotaPolicy",
            Self::Product => "ApiProduct",
        }
    }
}

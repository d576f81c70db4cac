//! Decisions over a snapshot: which route, who calls, what is allowed and charged, where to, how edited.
//!
//! In: a [`Prepared`] snapshot and, per request, a borrowed [`RequestHead`], readings of the clocks and random
//! bits. Out: an [`Exchange`] that says what to do next ([`Step`]) and ends as exactly one usage record,
//! whatever happened to the request. [`explain`] tells the same decisions to people.
//!
//! Pure: no I/O, no clock, no randomness of its own; hostile bytes never panic. What needs the outside (a
//! quota lease) is a value that the shell acts on before it resumes the exchange.

mod address;
mod admission;
mod answers;
mod callers;
mod condition;
mod cors;
mod credential;
mod edits;
mod exchange;
mod explain;
mod filters;
mod forwarded;
mod head;
mod hosts;
mod location;
mod path;
mod paths;
mod policies;
mod prepare;
mod query;
mod refusal;
mod routing;
mod rule;
mod steps;
mod terms;

pub use admission::LeaseNeed;
pub use exchange::{Exchange, Flow, Lease, Outcome, Plan, Step};
pub use explain::{ExplainError, ExplainRequest, Explanation, MAX_OTHERS, Other, explain};
pub use head::{HeaderSink, Headers, Now, RequestHead, TlsHead};
pub use prepare::{Backend, BackendId, Prepared};
pub use refusal::LocalResponse;
pub use rule::Timeouts;

//! What the process tells of itself: metrics, spans, the access log. None of it may slow or fail a request:
//! everything that leaves the process goes through a bounded queue, and what finds no room is counted.

mod access_log;
mod metrics;
mod spans;
mod trace;

pub(crate) use access_log::{AccessLog, Line};
pub(crate) use metrics::{Metrics, Readings};
pub(crate) use spans::{Span, Spans};
pub(crate) use trace::Trace;

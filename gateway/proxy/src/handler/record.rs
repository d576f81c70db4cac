//! The end of a request: one record, and what telemetry tells of it.

use std::time::{Duration, SystemTime};

use analytics_record::Record;
use gateway_pipeline::{Exchange, Outcome};

use super::context::{Context, Facts};
use crate::telemetry::{Line, Span};
use crate::thread;

/// What is known of a request's end.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Ending {
    /// Status sent downstream; 0: none was.
    pub(crate) status: u16,
    /// Of the upstream.
    pub(crate) grpc_status: Option<i16>,
    /// Body bytes of an answer of ours.
    pub(crate) local_bytes: u64,
    /// An answer of ours took the place of the upstream's.
    pub(crate) refused: bool,
    /// The upstream's stream ended with the head.
    pub(crate) head_only: bool,
    /// Body bytes that the upstream's answer has, as far as its head tells.
    pub(crate) expected: Option<u64>,
    /// Body bytes of the upstream's answer that are on their way.
    pub(crate) passed: u64,
    /// The caller left before the answer was complete, or the answer broke off.
    pub(crate) aborted: bool,
}

/// Writes the record of a request, once: before the last byte of the answer leaves, so that a caller which has
/// the whole answer has its record, too, even if the process is killed in the next moment.
pub(crate) fn write(ctx: &mut Context) {
    let (Some(facts), Some(exchange)) = (ctx.facts.take(), &ctx.exchange) else { return };
    let (told, outcome, now) = (Told::of(exchange, ctx, &facts), outcome(ctx, &facts), ctx.now());
    let Some(exchange) = &mut ctx.exchange else { return };
    let record = exchange.finish(&outcome, ctx.shared.clock.at(now));
    ctx.exchange = None;
    let shared = &ctx.shared;
    thread::own(shared.spool.shards()).append(&record);
    facts.connection.count_record();
    let took = now.saturating_duration_since(ctx.start);
    let port = facts.connection.port.number();
    shared.metrics.request(port, record.protocol, record.status, record.reason, took);
    if let Some(told) = told {
        told.tell(ctx, &facts, &record, took);
    }
}

fn outcome(ctx: &Context, facts: &Facts) -> Outcome {
    let (attempts, ending) = (&ctx.attempts, &ctx.ending);
    Outcome {
        status: ending.status,
        grpc_status: ending.grpc_status.unwrap_or(-1),
        endpoint: attempts.endpoint.as_ref().map(|endpoint| endpoint.name).unwrap_or_default(),
        attempts: attempts.made,
        upstream_us: attempts
            .answered_in
            .map_or(0, |time| u32::try_from(time.as_micros()).unwrap_or(u32::MAX)),
        local_bytes: ending.local_bytes,
        aborted: ending.aborted,
        trace_id: if facts.trace.sampled { facts.trace.id.to_be_bytes() } else { [0; 16] },
    }
}

/// What spans and the access log need of an exchange; taken only when one of them wants it.
struct Told {
    request_id: String,
    route: String,
    client: String,
}

impl Told {
    fn of(exchange: &Exchange, ctx: &Context, facts: &Facts) -> Option<Self> {
        (facts.trace.sampled || ctx.config.settings.access_log).then(|| Self {
            request_id: exchange.request_id().to_string(),
            route: exchange.route().unwrap_or_default().to_owned(),
            client: exchange.client().to_string(),
        })
    }

    fn tell(self, ctx: &Context, facts: &Facts, record: &Record, took: Duration) {
        let metrics = &ctx.shared.metrics;
        if ctx.config.settings.access_log && !ctx.shared.access_log.line(self.line(facts, record)) {
            metrics.log_lines_dropped.inc();
        }
        let wanted = facts.trace.sampled && ctx.config.settings.otlp_endpoint.is_some();
        if wanted && !ctx.shared.spans.send(self.span(ctx, facts, record, took)) {
            metrics.spans_dropped.inc();
        }
    }

    fn line(&self, facts: &Facts, record: &Record) -> Line {
        Line {
            ts_us: record.ts_us,
            request_id: self.request_id.clone(),
            port: facts.connection.port.number(),
            client: self.client.clone(),
            method: record.method.as_str(),
            host: record.host.as_str().to_owned(),
            path: record.path.as_str().to_owned(),
            route: self.route.clone(),
            protocol: record.protocol.as_str(),
            status: record.status,
            reason: record.reason.as_str(),
            duration_us: record.duration_us,
            upstream_us: record.upstream_us,
            attempts: record.attempts,
            request_bytes: record.request_bytes,
            response_bytes: record.response_bytes,
        }
    }

    fn span(self, ctx: &Context, facts: &Facts, record: &Record, took: Duration) -> Span {
        let start = ctx.shared.clock.at(ctx.start);
        Span {
            trace: facts.trace,
            start: SystemTime::UNIX_EPOCH + Duration::from_micros(start.unix_us.unsigned_abs()),
            took,
            method: record.method.as_str(),
            route: self.route,
            host: record.host.as_str().to_owned(),
            path: record.path.as_str().to_owned(),
            tls: facts.connection.tls.is_some(),
            status: record.status,
            reason: record.reason.as_str(),
            request_id: self.request_id,
        }
    }
}

//! Spans to an OTLP receiver, by the OpenTelemetry SDK's types and exporter, away from the request path.
//!
//! In: one fact sheet per sampled request that ended. Out: batches over HTTP. A receiver that is away costs
//! spans, never a request.

use std::time::{Duration, SystemTime};

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{SpanExporter as Otlp, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter, SpanLinks};
use tokio::sync::{mpsc, watch};

use super::Trace;

/// Spans that wait.
const QUEUE: usize = 2048;
const BATCH: usize = 256;
/// A batch is sent when it is full, or this old.
const AGE: Duration = Duration::from_secs(1);

/// What is told of a request.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    /// Place in the trace.
    pub(crate) trace: Trace,
    /// When its head was read.
    pub(crate) start: SystemTime,
    /// How long it ran.
    pub(crate) took: Duration,
    /// Of the vocabulary.
    pub(crate) method: &'static str,
    /// `namespace/name` of the route; empty when none matched.
    pub(crate) route: String,
    /// Without port.
    pub(crate) host: String,
    /// Without query.
    pub(crate) path: String,
    /// Whether the caller came by TLS.
    pub(crate) tls: bool,
    /// HTTP status.
    pub(crate) status: u16,
    /// Of the vocabulary.
    pub(crate) reason: &'static str,
    /// As in `X-Request-Id`.
    pub(crate) request_id: String,
}

/// The way to the exporter.
#[derive(Debug, Clone)]
pub(crate) struct Spans(mpsc::Sender<Span>);

impl Spans {
    /// Starts the exporter, which follows `endpoint` (none: spans are thrown away).
    pub(crate) fn start(endpoint: watch::Receiver<Option<String>>) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(export(receiver, endpoint));
        Self(sender)
    }

    /// Gives a span to the exporter; false when there is no room.
    pub(crate) fn send(&self, span: Span) -> bool {
        self.0.try_send(span).is_ok()
    }
}

async fn export(mut spans: mpsc::Receiver<Span>, mut endpoint: watch::Receiver<Option<String>>) {
    let mut exporter = build(endpoint.borrow_and_update().as_deref());
    let mut batch = Vec::with_capacity(BATCH);
    let mut failing = false;
    while spans.recv_many(&mut batch, 1).await > 0 {
        let filling = async { while batch.len() < BATCH && spans.recv_many(&mut batch, BATCH).await > 0 {} };
        let _ = tokio::time::timeout(AGE, filling).await;
        if endpoint.has_changed().unwrap_or(false) {
            exporter = build(endpoint.borrow_and_update().as_deref());
        }
        let full: Vec<_> = batch.drain(..).map(span_data).collect();
        let Some(exporter) = &exporter else { continue };
        let result = exporter.export(full).await;
        // Said once when it changes, not for each batch.
        if let Err(error) = &result
            && !failing
        {
            tracing::warn!(%error, "spans cannot be delivered");
        }
        failing = result.is_err();
    }
}

fn build(endpoint: Option<&str>) -> Option<Otlp> {
    let endpoint = format!("{}/v1/traces", endpoint?.trim_end_matches('/'));
    let built =
        Otlp::builder().with_http().with_endpoint(endpoint).with_timeout(Duration::from_secs(5)).build();
    match built {
        Ok(mut exporter) => {
            let resource = Resource::builder().with_service_name("turnpike-gateway").build();
            exporter.set_resource(&resource);
            Some(exporter)
        }
        Err(error) => {
            tracing::warn!(%error, "the OTLP endpoint cannot be used");
            None
        }
    }
}

/// By the stable HTTP conventions of OpenTelemetry for servers.
fn span_data(span: Span) -> SpanData {
    let mut attributes = vec![
        KeyValue::new("http.request.method", span.method),
        KeyValue::new("url.scheme", if span.tls { "https" } else { "http" }),
        KeyValue::new("url.path", span.path),
        KeyValue::new("server.address", span.host),
        KeyValue::new("http.response.status_code", i64::from(span.status)),
        KeyValue::new("turnpike.reason", span.reason),
        KeyValue::new("turnpike.request_id", span.request_id),
    ];
    let name = if span.route.is_empty() {
        span.method.to_owned()
    } else {
        attributes.push(KeyValue::new("http.route", span.route.clone()));
        format!("{} {}", span.method, span.route)
    };
    let failed = span.status >= 500;
    if failed {
        attributes.push(KeyValue::new("error.type", span.reason));
    }
    SpanData {
        span_context: SpanContext::new(
            TraceId::from(span.trace.id),
            SpanId::from(span.trace.span),
            TraceFlags::SAMPLED,
            false,
            TraceState::NONE,
        ),
        parent_span_id: SpanId::from(span.trace.parent),
        parent_span_is_remote: span.trace.parent != 0,
        span_kind: SpanKind::Server,
        name: name.into(),
        start_time: span.start,
        end_time: span.start + span.took,
        attributes,
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: if failed { Status::error(span.reason) } else { Status::Unset },
        instrumentation_scope: InstrumentationScope::builder("turnpike").build(),
    }
}

//! One request through pingora-proxy: a thin conversion between its phases and the pipeline.
//!
//! In: sessions whose heads were checked by [`crate::listen`]. Out: an answer and one record for each. Every
//! decision is the pipeline's; what pingora would answer by itself is answered here instead, so that a refusal
//! has its word everywhere.

// pingora passes its errors in boxes.
#![allow(clippy::unnecessary_box_returns)]

pub(crate) mod answer;
mod application;
pub(crate) mod attempt;
pub(crate) mod context;
pub(crate) mod decision;
pub(crate) mod head;
pub(crate) mod metering;
mod mirror;
pub(crate) mod record;
pub(crate) mod refusal;

use std::sync::Arc;
use std::time::Duration;

use analytics_record::Reason;
use async_trait::async_trait;
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, Method, Version};
use pingora_core::modules::http::HttpModules;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::{Error, ErrorSource, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};

pub(crate) use application::Gateway;
use context::{Begun, Context};
use decision::{decide, edit_request, facts, plan};
use head::{Received, ResponseEdits};
use metering::{count_download, count_upload};
use refusal::{refuse, respond};

use crate::listen::Connection;
use crate::shared::Shared;

static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// Fields of one connection only, which pingora leaves in responses.
const HOP_BY_HOP: [&str; 2] = ["keep-alive", "proxy-connection"];

/// The implementation of pingora's phases.
pub(crate) struct Handler {
    shared: Arc<Shared>,
}

impl Handler {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

#[async_trait]
impl ProxyHttp for Handler {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        Context::new(&self.shared)
    }

    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, ctx: &mut Context) -> Result<bool> {
        let idle = ctx.config.limits.idle;
        session.set_read_timeout(Some(idle));
        session.set_write_timeout(Some(idle));
        session.set_total_drain_timeout(Some(Duration::from_secs(5)));
        let connection = Connection::of(session.digest())
            .ok_or_else(|| Error::explain(ErrorType::InternalError, "a session without a connection"))?;
        let answer = if let Some(begun) = Begun::on(connection) {
            *ctx = begun.ctx;
            begun.answer
        } else {
            let received = Received::Parsed(session.req_header());
            ctx.facts = Some(facts(&received, connection, ctx));
            decide(&received, ctx).await
        };
        let Some(response) = answer else {
            plan(ctx);
            return Ok(false);
        };
        respond(session, ctx, response).await?;
        Ok(true)
    }

    async fn upstream_peer(&self, _session: &mut Session, ctx: &mut Context) -> Result<Box<HttpPeer>> {
        attempt::next(ctx).await
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut Context,
        error: Box<Error>,
    ) -> Box<Error> {
        attempt::not_connected(ctx, error)
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        ctx: &mut Context,
        client_reused: bool,
    ) -> Box<Error> {
        attempt::broken(session, ctx, error, client_reused)
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream: &mut RequestHeader,
        ctx: &mut Context,
    ) -> Result<()> {
        edit_request(session.req_header(), upstream, ctx)?;
        ctx.copies.head(upstream);
        if ctx.copies.wanted() && session.is_body_empty() {
            ctx.copies.send(&self.shared);
        }
        Ok(())
    }

    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Context,
    ) -> Result<()> {
        if let Some(piece) = body {
            let fresh = ctx.upload.fresh(piece.len() as u64);
            if fresh > 0 {
                count_upload(ctx, fresh).await?;
                ctx.copies.body(&piece[piece.len() - fresh as usize..]);
            }
        }
        if end_of_stream {
            ctx.copies.send(&self.shared);
        }
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Context,
    ) -> Result<()> {
        if misleads(response, ctx.facts.as_ref().is_some_and(|facts| facts.upgrade)) {
            return Err(attempt::fail(ctx, Reason::UpstreamMalformed));
        }
        let informational = response.status.is_informational() && response.status.as_u16() != 101;
        if !informational && attempt::answered(ctx, response.status.as_u16(), attempt::repeatable(session)) {
            return Err(Error::explain(ErrorType::InternalError, "the answer is to be asked for again"));
        }
        Ok(())
    }

    async fn adjust_upstream_modules(
        &self,
        _session: &mut Session,
        response: &ResponseHeader,
        end_of_stream: bool,
        ctx: &mut Context,
    ) -> Result<()> {
        // The only phase that tells; it comes before `response_filter`, and only for HTTP/2. On HTTP/1 the head
        // itself tells whether a body follows.
        ctx.ending.head_only = end_of_stream && !response.status.is_informational();
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Context,
    ) -> Result<()> {
        if response.status.is_informational() && response.status.as_u16() != 101 {
            return Ok(());
        }
        for name in HOP_BY_HOP {
            response.remove_header(name);
        }
        if response.headers.get_all(CONTENT_LENGTH).iter().count() > 1 {
            // They are the same: pingora has compared them.
            let length = response.headers.get(CONTENT_LENGTH).cloned();
            length.map(|length| response.insert_header(CONTENT_LENGTH, length)).transpose()?;
        }
        if let Some(exchange) = &mut ctx.exchange {
            exchange.edit_response(&mut ResponseEdits(response), self.shared.clock.now());
        }
        if self.shared.is_draining() {
            session.set_keepalive(None);
        }
        ctx.ending.status = response.status.as_u16();
        ctx.ending.grpc_status = grpc_status(&response.headers);
        ctx.ending.expected = expected_body(session.req_header(), response);
        if ctx.ending.head_only || ctx.ending.expected == Some(0) {
            record::write(ctx);
        }
        Ok(())
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Context,
    ) -> Result<Option<Duration>> {
        let bytes = body.as_ref().map_or(0, Bytes::len) as u64;
        if bytes > 0 {
            count_download(ctx, bytes)?;
            ctx.ending.passed += bytes;
        }
        if end_of_stream || ctx.ending.expected.is_some_and(|expected| ctx.ending.passed >= expected) {
            record::write(ctx);
        }
        Ok(None)
    }

    fn upstream_response_trailer_filter(
        &self,
        _session: &mut Session,
        trailers: &mut HeaderMap,
        ctx: &mut Context,
    ) -> Result<()> {
        ctx.ending.grpc_status = grpc_status(trailers).or(ctx.ending.grpc_status);
        Ok(())
    }

    async fn response_trailer_filter(
        &self,
        _session: &mut Session,
        _trailers: &mut HeaderMap,
        ctx: &mut Context,
    ) -> Result<Option<Bytes>> {
        record::write(ctx);
        Ok(None)
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, ctx: &mut Context) -> FailToProxy {
        let code = refuse(session, error, ctx).await;
        FailToProxy { error_code: code, can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Context) {
        if let Some(error) = error {
            let begun = session.response_written().is_some_and(|written| !written.status.is_informational());
            let left = *error.esource() == ErrorSource::Downstream;
            ctx.ending.aborted = (begun && !ctx.ending.refused) || left;
            tracing::debug!(%error, "a request did not end well");
        }
        let tunnel = ctx.facts.as_ref().is_some_and(|facts| facts.upgrade);
        if error.is_none() && ctx.exchange.is_some() && !tunnel {
            self.shared.metrics.late_records.inc();
        }
        record::write(ctx);
    }

    fn suppress_error_log(&self, _session: &Session, _ctx: &Context, _error: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _ctx: &Context,
        _error: &Error,
        _context: ProxyWarnLogContext,
    ) -> bool {
        true
    }
}

/// Whether a caller may take what follows this head for something else than we do: a change of protocol that it did not
/// ask for (RFC 9110, 15.2.2), or a length that is not one number (RFC 9112, 6.3).
fn misleads(response: &ResponseHeader, tunnel: bool) -> bool {
    let mut lengths = response.headers.get_all(CONTENT_LENGTH).iter();
    response.status.as_u16() == 101 && !tunnel
        || lengths.any(|length| !length.as_bytes().iter().all(u8::is_ascii_digit))
}

/// Bytes of the body that follows a head, if it tells (RFC 9112, 6.3).
fn expected_body(request: &RequestHeader, response: &ResponseHeader) -> Option<u64> {
    if request.method == Method::HEAD || matches!(response.status.as_u16(), 204 | 304) {
        return Some(0);
    }
    if request.version == Version::HTTP_2 && response.headers.contains_key(&GRPC_STATUS) {
        // A gRPC status in the head: there are no messages ("Trailers-Only").
        return Some(0);
    }
    response.headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn grpc_status(fields: &HeaderMap) -> Option<i16> {
    fields.get(&GRPC_STATUS)?.to_str().ok()?.parse().ok()
}

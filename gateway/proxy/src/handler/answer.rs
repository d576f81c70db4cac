//! Answers of our own, in the two forms in which they leave: through a session, and as raw bytes.

use gateway_pipeline::LocalResponse;
use http::Method;
use http::header::{CONNECTION, CONTENT_LENGTH};
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::date::get_cached_date;
use pingora_error::Result;
use pingora_http::ResponseHeader;

/// Bytes of the body that [`send`] sends.
pub(crate) fn body_bytes(session: &ServerSession, response: &LocalResponse) -> usize {
    body_of(response, session.req_header().method == Method::HEAD).len()
}

/// What is sent of the body (RFC 9110, 6.4.1).
pub(crate) fn body_of(response: &LocalResponse, to_head: bool) -> &[u8] {
    let none = to_head || matches!(response.status.as_u16(), 204 | 304) || response.status.is_informational();
    if none { &[] } else { &response.body }
}

/// Sends `response` on a session.
pub(crate) async fn send(session: &mut ServerSession, response: LocalResponse) -> Result<()> {
    let body = body_bytes(session, &response) > 0;
    let mut header = ResponseHeader::build(response.status, Some(response.headers.len() + 2))?;
    for (name, value) in &response.headers {
        header.append_header(name.clone(), value.clone())?;
    }
    if response.status.as_u16() != 204 && !header.headers.contains_key(CONTENT_LENGTH) {
        header.insert_header(CONTENT_LENGTH, response.body.len())?;
    }
    let header = Box::new(header);
    match &mut *session {
        // A stream without a body ends with its header: gRPC takes a status from there only then.
        ServerSession::H2(stream) if !body => stream.write_response_header(header, true)?,
        other => other.write_response_header(header).await?,
    }
    if body {
        session.write_response_body(response.body, true).await?;
    }
    session.finish_body().await
}

/// `response` as HTTP/1.1 bytes; `to_head`: to a HEAD request. Unless `keep`, the connection closes behind it.
pub(crate) fn raw(response: &LocalResponse, to_head: bool, keep: bool) -> Vec<u8> {
    let status = response.status;
    let phrase = status.canonical_reason().unwrap_or_default();
    let mut bytes = format!("HTTP/1.1 {} {phrase}\r\n", status.as_u16()).into_bytes();
    let mut line = |name: &str, value: &[u8]| {
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            bytes.extend_from_slice(part);
        }
    };
    for (name, value) in response.headers.iter().filter(|(name, _)| **name != CONNECTION) {
        line(name.as_str(), value.as_bytes());
    }
    if status.as_u16() != 204 && !response.headers.contains_key(CONTENT_LENGTH) {
        line("content-length", response.body.len().to_string().as_bytes());
    }
    line("date", get_cached_date().as_bytes());
    line("connection", if keep { b"keep-alive" } else { b"close" });
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body_of(response, to_head));
    bytes
}

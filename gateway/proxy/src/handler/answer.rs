//! Answers of our own, in the two forms in which they leave: through a session, and as raw bytes.

use gateway_pipeline::LocalResponse;
use http::Method;
use http::header::{CONNECTION, CONTENT_LENGTH};
use pingora_core::protocols::http::ServerSession;
use pingora_error::Result;
use pingora_http::ResponseHeader;

/// Bytes of the body that [`send`] sends.
pub(crate) fn body_bytes(session: &ServerSession, response: &LocalResponse) -> usize {
    let head_only = session.req_header().method == Method::HEAD
        || matches!(response.status.as_u16(), 204 | 304)
        || response.status.is_informational();
    if head_only { 0 } else { response.body.len() }
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

/// `response` as HTTP/1.1 bytes, after which the connection closes.
pub(crate) fn raw(response: &LocalResponse) -> Vec<u8> {
    let status = response.status;
    let phrase = status.canonical_reason().unwrap_or("Unknown");
    let mut bytes = format!("HTTP/1.1 {} {phrase}\r\n", status.as_u16()).into_bytes();
    let fields = response.headers.iter().filter(|(name, _)| !matches!(**name, CONNECTION | CONTENT_LENGTH));
    for (name, value) in fields {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(
        format!("connection: close\r\ncontent-length: {}\r\n\r\n", response.body.len()).as_bytes(),
    );
    bytes.extend_from_slice(&response.body);
    bytes
}

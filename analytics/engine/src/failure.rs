//! Why a request did not succeed, in ClickHouse's words.
//!
//! In: the engine's message or our own refusal. Out: an HTTP answer with the status and headers that ClickHouse's clients
//! read, or the block that ends a stream which had already begun. The error code is ClickHouse's own number.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// ClickHouse's error numbers that this endpoint gives by itself.
pub(crate) mod code {
    pub(crate) const BAD_ARGUMENTS: u32 = 36;
    pub(crate) const NOT_IMPLEMENTED: u32 = 48;
    pub(crate) const LOGICAL_ERROR: u32 = 49;
    pub(crate) const SYNTAX_ERROR: u32 = 62;
    pub(crate) const TIMEOUT_EXCEEDED: u32 = 159;
    pub(crate) const READONLY: u32 = 164;
    pub(crate) const REQUIRED_PASSWORD: u32 = 194;
    pub(crate) const TOO_MANY_SIMULTANEOUS_QUERIES: u32 = 202;
    pub(crate) const CANNOT_DECOMPRESS: u32 = 271;
    pub(crate) const TOO_MANY_BYTES: u32 = 307;
    pub(crate) const QUERY_WAS_CANCELLED: u32 = 394;
    pub(crate) const ACCESS_DENIED: u32 = 497;
    pub(crate) const AUTHENTICATION_FAILED: u32 = 516;
    pub(crate) const UNKNOWN: u32 = 1002;
}

/// One failure: ClickHouse's code and the whole message, `Code: N. DB::Exception: …`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    code: u32,
    message: String,
}

impl Failure {
    /// A refusal of our own.
    pub(crate) fn new(code: u32, text: impl std::fmt::Display) -> Self {
        Self { code, message: format!("Code: {code}. DB::Exception: {text}") }
    }

    /// What the engine said; its code is read from the message's start.
    pub(crate) fn from_engine(message: &str) -> Self {
        let code = message
            .split_once("Code: ")
            .and_then(|(_, rest)| rest.split_once('.'))
            .and_then(|(digits, _)| digits.parse().ok());
        match code {
            Some(code) => Self { code, message: message.trim_end().to_owned() },
            None => Self::new(code::UNKNOWN, message.trim_end()),
        }
    }

    #[cfg(test)]
    pub(crate) fn code(&self) -> u32 {
        self.code
    }

    /// The block that ends a broken stream, as ClickHouse 25.11 and later write it. `tag` is the one from the answer's
    /// `X-ClickHouse-Exception-Tag`, so that no data can imitate the block.
    pub(crate) fn as_block(&self, tag: &str) -> Vec<u8> {
        let text = format!("{}\n", self.message);
        format!("\r\n__exception__\r\n{tag}\r\n{text}{} {tag}\r\n__exception__\r\n", text.len()).into_bytes()
    }

    fn status(&self) -> StatusCode {
        match self.code {
            code::REQUIRED_PASSWORD => StatusCode::UNAUTHORIZED,
            code::AUTHENTICATION_FAILED | code::ACCESS_DENIED | code::READONLY => StatusCode::FORBIDDEN,
            // Unknown function, identifier, type, storage, table, aggregate, format, database, setting.
            46 | 47 | 50 | 56 | 60 | 63 | 73 | 81 | 115 => StatusCode::NOT_FOUND,
            // Text, quoted string, assertion, date, boolean and number parsing; argument counts and types; syntax; data.
            6
            | 26
            | 27
            | 38
            | 41
            | 42
            | 43
            | 53
            | 57
            | 72
            | 82
            | 117
            | 452
            | 457
            | code::BAD_ARGUMENTS
            | code::SYNTAX_ERROR
            | code::CANNOT_DECOMPRESS => StatusCode::BAD_REQUEST,
            code::TOO_MANY_BYTES => StatusCode::PAYLOAD_TOO_LARGE,
            code::TIMEOUT_EXCEEDED => StatusCode::REQUEST_TIMEOUT,
            code::TOO_MANY_SIMULTANEOUS_QUERIES => StatusCode::SERVICE_UNAVAILABLE,
            code::NOT_IMPLEMENTED => StatusCode::NOT_IMPLEMENTED,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = self.status();
        let mut response = (status, format!("{}\n", self.message)).into_response();
        let headers = response.headers_mut();
        headers.insert("x-clickhouse-exception-code", HeaderValue::from(self.code));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"ClickHouse\""));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_code_is_read_from_its_message() {
        let failure =
            Failure::from_engine("Code: 60. DB::Exception: Table x.t does not exist. (UNKNOWN_TABLE)\n");
        assert_eq!((failure.code(), failure.status()), (60, StatusCode::NOT_FOUND));
        assert_eq!(Failure::from_engine("out of luck").code(), code::UNKNOWN);
        assert_eq!(Failure::from_engine("Code: x. y").code(), code::UNKNOWN);
    }

    #[test]
    fn the_block_carries_its_tag_and_length() {
        let block = String::from_utf8(Failure::new(1, "a").as_block("tag")).unwrap();
        let text = "Code: 1. DB::Exception: a\n";
        assert_eq!(
            block,
            format!("\r\n__exception__\r\ntag\r\n{text}{} tag\r\n__exception__\r\n", text.len())
        );
    }
}

//! Why a request was refused before it could be understood, or a connection before it could be used.
//!
//! One closed list; the application maps each to a status and to the word of the shared vocabulary.

/// The fault of a request head, or of a body's framing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// Against the grammar of RFC 9112, or open to two readings; what exactly is for people.
    #[error("malformed request: {0}")]
    Malformed(&'static str),
    /// The request target is longer than the limit.
    #[error("the request target is too long")]
    TargetTooLong,
    /// Names and values together are longer than the limit.
    #[error("the request header is too large")]
    HeaderTooLarge,
    /// More fields than the limit.
    #[error("the request header has too many fields")]
    TooManyFields,
    /// A transfer coding other than `chunked`.
    #[error("the transfer coding is not supported")]
    TransferCoding,
    /// `CONNECT`: this is no forward proxy.
    #[error("the method CONNECT is not offered")]
    ConnectMethod,
    /// The head did not arrive in time.
    #[error("the request header did not arrive in time")]
    HeadTimeout,
    /// More connections are open than the limit.
    #[error("too many connections are open")]
    TooManyConnections,
}

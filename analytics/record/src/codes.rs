//! Closed vocabularies that travel as one byte in the ring and as a word everywhere else.
//!
//! In: words from HTTP. Out: small enums. A word outside a vocabulary never becomes a new value:
//! it is `_OTHER` (methods, as in the OpenTelemetry HTTP conventions) or an error.

use std::str::FromStr;

/// A word that is not in the vocabulary it was looked up in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {vocabulary} {word:?}")]
pub struct UnknownWord {
    /// The vocabulary: `method`, `protocol` or `reason`.
    pub vocabulary: &'static str,
    /// The word, cut to 40 characters.
    pub word: String,
}

/// Declares a closed enum with a one-byte code and one word per value.
macro_rules! vocabulary {
    ($(#[$doc:meta])* $name:ident, $what:literal { $($(#[doc = $vdoc:literal])* $variant:ident = $code:literal $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum $name { $($(#[doc = $vdoc])* $variant = $code,)+ }

        impl $name {
            /// Every value, in the order of the codes.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];

            /// The word, as in records, metrics, logs and answers.
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word,)+ }
            }

            /// What it means, in a sentence; empty where the word says it.
            pub const fn meaning(self) -> &'static str {
                match self { $($name::$variant => concat!($($vdoc),*).trim_ascii(),)+ }
            }

            /// The code used in ring entries; stable, never reused.
            pub const fn code(self) -> u8 {
                self as u8
            }

            /// The value with this code, if there is one.
            pub const fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some($name::$variant),)+ _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::UnknownWord;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                match word {
                    $($word => Ok($name::$variant),)+
                    _ => Err($crate::UnknownWord { vocabulary: $what, word: word.chars().take(40).collect() }),
                }
            }
        }
    };
}
pub(crate) use vocabulary;

vocabulary! {
    /// Request method (RFC 9110 section 9, RFC 5789). Anything else is `_OTHER`.
    Method, "method" {
        Other = 0 "_OTHER",
        Get = 1 "GET",
        Head = 2 "HEAD",
        Post = 3 "POST",
        Put = 4 "PUT",
        Delete = 5 "DELETE",
        Connect = 6 "CONNECT",
        Options = 7 "OPTIONS",
        Trace = 8 "TRACE",
        Patch = 9 "PATCH",
    }
}

impl Method {
    /// The method for a token from the request line; unknown tokens are `_OTHER`.
    pub fn from_token(token: &str) -> Self {
        Self::from_str(token).unwrap_or(Self::Other)
    }
}

vocabulary! {
    /// What the downstream spoke. `grpc` and `websocket` win over the HTTP version that carried them.
    Protocol, "protocol" {
        /// HTTP/1.0 or HTTP/1.1.
        H1 = 1 "h1",
        /// HTTP/2 over TLS.
        H2 = 2 "h2",
        /// HTTP/2 in clear text with prior knowledge.
        H2c = 3 "h2c",
        /// gRPC over HTTP/2.
        Grpc = 4 "grpc",
        /// WebSocket (RFC 6455, RFC 8441).
        Websocket = 5 "websocket",
    }
}

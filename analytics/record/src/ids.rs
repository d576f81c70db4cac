//! The names that make metering exact: gateway, stream and segment.
//!
//! A stream is one shard of one life (epoch) of one gateway; its segments are numbered from 0 without a gap.
//! A segment's name is the identity of its bytes: the same name never stands for two contents.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Text that is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not a UUID.
    #[error("gateway id {0:?} is not a UUID")]
    Gateway(String),
    /// Not `gateway/epoch/shard/seq`.
    #[error("segment name {0:?} is not of the form gateway/epoch/shard/seq")]
    Segment(String),
}

/// The identity of one spool volume: a UUIDv7 made when the volume is first used.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GatewayId(pub [u8; 16]);

impl fmt::Display for GatewayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid::from_bytes(self.0).fmt(f)
    }
}

impl fmt::Debug for GatewayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for GatewayId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let hyphenated = text.len() == 36;
        let uuid = Uuid::try_parse(text).ok().filter(|_| hyphenated);
        uuid.map(|u| Self(u.into_bytes())).ok_or_else(|| IdError::Gateway(text.chars().take(60).collect()))
    }
}

impl TryFrom<String> for GatewayId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<GatewayId> for String {
    fn from(id: GatewayId) -> Self {
        id.to_string()
    }
}

/// One shard of one life of one gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Stream {
    /// The spool volume.
    pub gateway: GatewayId,
    /// One more at every start of the process, durable before first use.
    pub epoch: u32,
    /// The ring inside the process.
    pub shard: u8,
}

impl Stream {
    /// The name of this stream's segment number `seq`.
    pub const fn segment(self, seq: u32) -> SegmentName {
        SegmentName { stream: self, seq }
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.gateway, self.epoch, self.shard)
    }
}

/// The name of a sealed segment, printed and parsed as `gateway/epoch/shard/seq`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SegmentName {
    /// The stream.
    pub stream: Stream,
    /// Contiguous from 0 within the stream.
    pub seq: u32,
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.stream, self.seq)
    }
}

impl FromStr for SegmentName {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let bad = || IdError::Segment(text.chars().take(80).collect());
        let mut parts = text.split('/');
        let mut next = || parts.next().ok_or_else(bad);
        let gateway = next()?.parse()?;
        let epoch = next()?.parse().map_err(|_| bad())?;
        let shard = next()?.parse().map_err(|_| bad())?;
        let seq = next()?.parse().map_err(|_| bad())?;
        let name = Self { stream: Stream { gateway, epoch, shard }, seq };
        // One spelling per name: `+1` or `01` would otherwise be a second path to the same segment.
        if name.to_string() == text { Ok(name) } else { Err(bad()) }
    }
}

impl TryFrom<String> for SegmentName {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<SegmentName> for String {
    fn from(name: SegmentName) -> Self {
        name.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "018f4d2a-0000-7000-8000-00000000002a/7/3/4294967295";

    #[test]
    fn one_spelling_per_name() {
        let name: SegmentName = NAME.parse().unwrap();
        assert_eq!(name.to_string(), NAME);
        assert_eq!((name.stream.epoch, name.stream.shard, name.seq), (7, 3, u32::MAX));
        for bad in [
            "",
            "a/b",
            "018f4d2a-0000-7000-8000-00000000002a/7/3",
            "018f4d2a-0000-7000-8000-00000000002a/7/3/1/1",
            "018f4d2a-0000-7000-8000-00000000002a/07/3/1",
            "018f4d2a-0000-7000-8000-00000000002a/7/+3/1",
            "018F4D2A-0000-7000-8000-00000000002A/7/3/1",
            "018f4d2a00007000800000000000002a/7/3/1",
            "018f4d2a-0000-7000-8000-00000000002a/7/256/1",
        ] {
            assert!(bad.parse::<SegmentName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn travels_as_text_in_json() {
        let name: SegmentName = NAME.parse().unwrap();
        let json = serde_json::to_string(&name).unwrap();
        assert_eq!(json, format!("{NAME:?}"));
        assert_eq!(serde_json::from_str::<SegmentName>(&json).unwrap(), name);
    }
}

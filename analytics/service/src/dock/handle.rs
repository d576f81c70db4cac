//! How the rest of the service talks to the dock.

use analytics_ingest::StreamStatus;
use analytics_record::segment::Header;
use analytics_record::wire::{Heartbeat, HeartbeatAnswer, SegmentState};
use analytics_record::{GatewayId, Stream};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::Message;

/// How the dock stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct DockStatus {
    /// Every record up to here is in the store; unknown until every gateway has spoken.
    pub complete_through_us: Option<u64>,
    /// Segments taken in and not yet audited.
    pub held: u64,
    /// Their bytes in memory.
    pub held_bytes: u64,
    /// Segments audited since start.
    pub audited: u64,
    /// Names seen with two contents, or found in part.
    pub conflicts: u64,
    /// Streams known.
    pub streams: u64,
    /// Alarms raised since start.
    pub alarms: u64,
    /// Inserts beyond the first of their segment.
    pub retries: u64,
    /// Segments that came after completeness was declared for their time.
    pub late: u64,
    /// Segments older than the store keeps rows.
    pub expired: u64,
}

/// The dock has ended: the process is going down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the service is shutting down")]
pub(crate) struct Gone;

/// A handle; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Dock {
    boot: String,
    messages: mpsc::Sender<Message>,
}

impl Dock {
    pub(super) fn new(boot: String, messages: mpsc::Sender<Message>) -> Self {
        Self { boot, messages }
    }

    /// Names this life of the service.
    pub(crate) fn boot(&self) -> &str {
        &self.boot
    }

    /// Hands over a segment whose bytes were checked against `header`.
    pub(crate) async fn put(&self, header: Header, bytes: Bytes) -> Result<SegmentState, Gone> {
        self.ask(|reply| Message::Put { header: Box::new(header), bytes, reply }).await
    }

    /// Takes in a gateway's facts.
    pub(crate) async fn heartbeat(&self, heartbeat: Heartbeat) -> Result<HeartbeatAnswer, Gone> {
        self.ask(|reply| Message::Heartbeat { heartbeat: Box::new(heartbeat), reply }).await
    }

    /// How things stand.
    pub(crate) async fn status(&self) -> Result<DockStatus, Gone> {
        self.ask(|reply| Message::Status { reply }).await
    }

    /// How streams stand; unknown ones are left out.
    pub(crate) async fn streams(&self, streams: Vec<Stream>) -> Result<Vec<StreamStatus>, Gone> {
        self.ask(|reply| Message::Streams { streams, reply }).await
    }

    /// Takes a gateway whose spool is gone for good out of what "complete" means; how many streams that were.
    pub(crate) async fn give_up(&self, gateway: GatewayId) -> Result<usize, Gone> {
        self.ask(|reply| Message::GiveUp { gateway, reply }).await
    }

    /// Declares that no insert of an earlier life can still run.
    pub(crate) async fn fence(&self) -> Result<(), Gone> {
        self.messages.send(Message::Fence).await.map_err(|_| Gone)
    }

    async fn ask<T>(&self, message: impl FnOnce(oneshot::Sender<T>) -> Message) -> Result<T, Gone> {
        let (reply, answer) = oneshot::channel();
        self.messages.send(message(reply)).await.map_err(|_| Gone)?;
        answer.await.map_err(|_| Gone)
    }
}

//! How the rest of the service talks to the quota authority.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};

use gateway_quota::{AccountView, Mono, OrphanStream, Settlement, message};
use gateway_snapshot::Catalog;
use tokio::sync::oneshot;

use super::Message;
use super::learn::Used;

/// Why the authority does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AuthorityError {
    /// Too many messages wait.
    #[error("the quota authority is busy; ask again")]
    Busy,
    /// The change could not be made durable.
    #[error("the quota authority cannot write; nothing was granted")]
    NotDurable,
    /// The process is going down.
    #[error("the quota authority is stopping")]
    Stopped,
}

/// An account with the use of late.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Account {
    /// How it stands.
    pub view: AccountView,
    /// Units used lately, and in how many seconds.
    pub recent: (u64, f64),
}

/// A handle; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct AuthorityHandle {
    messages: SyncSender<Message>,
    learning: Arc<AtomicBool>,
}

impl AuthorityHandle {
    pub(super) fn new(messages: SyncSender<Message>, learning: bool) -> Self {
        Self { messages, learning: Arc::new(AtomicBool::new(learning)) }
    }

    /// Whether nothing is granted yet, because it is not known what was used before.
    pub(crate) fn is_learning(&self) -> bool {
        self.learning.load(Ordering::Relaxed)
    }

    /// Handles a batch that was checked; the reply is durable.
    pub(crate) async fn batch(&self, batch: message::Batch) -> Result<message::Reply, AuthorityError> {
        self.ask(|reply| Message::Batch { batch: Box::new(batch), reply }).await?
    }

    /// How all accounts stand.
    pub(crate) async fn accounts(&self) -> Result<Vec<Account>, AuthorityError> {
        self.ask(|reply| Message::Accounts { reply }).await
    }

    /// The present moment on the authority's clock, and the lives of gateways that left leases behind.
    pub(crate) async fn orphans(&self) -> Result<(Mono, Vec<OrphanStream>), AuthorityError> {
        self.ask(|reply| Message::Orphans { reply }).await
    }

    /// Settles what a gateway's life left behind; durable when it returns.
    pub(crate) async fn settle(&self, facts: Settlement) -> Result<(), AuthorityError> {
        self.ask(|reply| Message::Settle { facts: Box::new(facts), reply }).await?
    }

    /// Takes over what records show, and lets grants begin; durable when it returns.
    pub(crate) async fn learned(&self, used: Vec<Used>) -> Result<(), AuthorityError> {
        self.ask(|reply| Message::Learned { used, reply }).await??;
        self.learning.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Guards the limits of a new catalog.
    pub(crate) fn catalog(&self, catalog: Arc<Catalog>) -> Result<(), AuthorityError> {
        self.send(Message::Catalog(catalog))
    }

    /// Ends the thread after what waits.
    pub(crate) fn stop(&self) {
        // A full queue ends it as well: the last sender is dropped with this handle.
        let _ = self.messages.send(Message::Stop);
    }

    async fn ask<T>(&self, message: impl FnOnce(oneshot::Sender<T>) -> Message) -> Result<T, AuthorityError> {
        let (reply, answer) = oneshot::channel();
        self.send(message(reply))?;
        answer.await.map_err(|_| AuthorityError::Stopped)
    }

    fn send(&self, message: Message) -> Result<(), AuthorityError> {
        self.messages.try_send(message).map_err(|error| match error {
            TrySendError::Full(_) => AuthorityError::Busy,
            TrySendError::Disconnected(_) => AuthorityError::Stopped,
        })
    }
}

//! Buffers for one exchange, used again by the next one on the same thread.

use std::cell::RefCell;
use std::mem;
use std::ops::{Deref, DerefMut};

use bytes::BytesMut;

use crate::wire::{Edits, Field};

/// Buffers that wait on a thread.
const KEPT: usize = 64;
/// Room for one read of an answer; most fit.
pub(super) const READ: usize = 16 * 1024;
/// Buffers that grew beyond this are not kept.
const LARGEST: usize = 128 * 1024;

thread_local! {
    static WAITING: RefCell<Vec<Buffers>> = const { RefCell::new(Vec::new()) };
}

/// What an exchange writes into.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    /// A head on its way out, in either direction.
    pub(super) out: Vec<u8>,
    /// Read from the upstream.
    pub(super) answer: BytesMut,
    /// Fields of the upstream's head.
    pub(super) fields: Vec<Field>,
    /// Edits to a head, in either direction.
    pub(super) edits: Edits,
}

/// Buffers in use.
pub(super) struct Scratch(Buffers);

impl Scratch {
    /// Empty buffers.
    pub(super) fn take() -> Self {
        let mut buffers = WAITING.with_borrow_mut(Vec::pop).unwrap_or_default();
        buffers.out.clear();
        buffers.answer.clear();
        Self(buffers)
    }
}

impl Deref for Scratch {
    type Target = Buffers;

    fn deref(&self) -> &Buffers {
        &self.0
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut Buffers {
        &mut self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let buffers = mem::take(&mut self.0);
        if buffers.out.capacity().max(buffers.answer.capacity()) > LARGEST {
            return;
        }
        // A thread that ends has no buffers any more.
        let _ = WAITING.try_with(|waiting| {
            if let Ok(mut waiting) = waiting.try_borrow_mut()
                && waiting.len() < KEPT
            {
                waiting.push(buffers);
            }
        });
    }
}

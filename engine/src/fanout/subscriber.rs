//! Somebody who follows a chat on a connection: their cursor, which their own task and a shard of the tails move on, each
//! by what it has written.

use std::{
    hint,
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError},
};

use bytes::Bytes;
use domain::{Seq, UserId};
use tokio::sync::Notify;

use super::Batch;

/// Frames that were not taken, since others wait before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// The writing half of a connection.
pub trait FrameSink: Send + Sync {
    /// Takes whole frames, and sends of them what goes out at once.
    ///
    /// # Errors
    /// [`Full`] where others wait; nothing was taken then.
    fn try_send(&self, frames: &Bytes) -> Result<(), Full>;

    /// Brings into the processor's cache what [`FrameSink::try_send`] will need.
    fn prefetch(&self);
}

/// A cursor into a chat, and where to write what follows it.
pub struct Subscriber {
    user: UserId,
    sink: Arc<dyn FrameSink>,
    /// Rings when there is something that their own task has to see to.
    wake: Arc<Notify>,
    /// Nothing before they have heard where they begin, and once they follow no more.
    cursor: Mutex<Option<Seq>>,
}

impl Subscriber {
    /// Somebody who has not begun yet.
    pub fn new(user: UserId, sink: Arc<dyn FrameSink>, wake: Arc<Notify>) -> Arc<Self> {
        Arc::new(Self { user, sink, wake, cursor: Mutex::default() })
    }

    /// Who.
    pub fn user(&self) -> UserId {
        self.user
    }

    /// Their own task is to look.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Looks at what [`Subscriber::offer`] will need, and does nothing with it: it is near the processor by then. Where many are
    /// looked at before any is written to, their memory comes at once; else each is waited for by itself.
    pub fn touch(&self) {
        hint::black_box(self.cursor.is_poisoned());
        self.sink.prefetch();
    }

    /// Writes to them of a batch what they do not have, if that follows what they have and goes out at once. Otherwise their
    /// own task is told.
    pub fn offer(&self, batch: &Batch) {
        let mut cursor = match self.cursor.try_lock() {
            Ok(cursor) => cursor,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // their task is at it, and may have looked already
            Err(TryLockError::WouldBlock) => return self.wake(),
        };
        let Some(before) = *cursor else { return };
        if before >= batch.last() {
            return;
        }
        match batch.after(before).map(|frames| self.sink.try_send(&frames)) {
            Some(Ok(())) => *cursor = Some(batch.last()),
            Some(Err(Full)) | None => self.wake(),
        }
    }

    /// The cursor, to be moved on by their own task while nobody else does.
    pub fn cursor(&self) -> MutexGuard<'_, Option<Seq>> {
        self.cursor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

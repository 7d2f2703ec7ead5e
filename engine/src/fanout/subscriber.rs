//! A subscriber: a connection that watches a chat. Its cursor is advanced by its own task and by a shard of the
//! fan-out, each by the events it has written.

use std::{
    hint,
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError},
};

use bytes::Bytes;
use domain::{Seq, UserId};
use tokio::sync::Notify;

use super::EventBatch;

/// The error of [`FrameSink::try_send`]: the frames were not taken, since others are waiting to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// The writing half of a connection.
pub trait FrameSink: Send + Sync {
    /// Takes whole frames, and sends as much of them as can be sent without waiting.
    ///
    /// # Errors
    /// [`Full`] if earlier frames are still waiting. Nothing is taken then.
    fn try_send(&self, frames: &Bytes) -> Result<(), Full>;

    /// Loads into the processor's cache what [`FrameSink::try_send`] will need.
    fn prefetch(&self);
}

/// A cursor into a chat, and the connection to which the events after it are written.
pub struct Subscriber {
    user: UserId,
    sink: Arc<dyn FrameSink>,
    /// Wakes the subscriber's own task when it has to catch up by itself.
    wake: Arc<Notify>,
    /// The sequence number of the last event that was sent. `None` until the client has been told where it begins, and
    /// after it has stopped watching.
    cursor: Mutex<Option<Seq>>,
}

impl Subscriber {
    /// Creates a subscriber whose cursor is `None`.
    pub fn new(user: UserId, sink: Arc<dyn FrameSink>, wake: Arc<Notify>) -> Arc<Self> {
        Arc::new(Self { user, sink, wake, cursor: Mutex::default() })
    }

    /// Returns the user of this connection.
    pub fn user(&self) -> UserId {
        self.user
    }

    /// Wakes the subscriber's own task.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Loads into the processor's cache what [`Subscriber::offer`] will need. If several subscribers are prefetched
    /// before any of them is written to, their memory is fetched in parallel instead of one after the other.
    pub fn touch(&self) {
        hint::black_box(self.cursor.is_poisoned());
        self.sink.prefetch();
    }

    /// Writes the events of a batch that are after the cursor, and advances it. Wakes the subscriber's own task instead
    /// if the batch does not continue at the cursor, if the connection is full, or if the cursor is locked. Does
    /// nothing if the cursor is `None` or there is nothing new. Returns the number of events that were written.
    pub fn offer(&self, batch: &EventBatch) -> usize {
        let mut cursor = match self.cursor.try_lock() {
            Ok(cursor) => cursor,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Its own task holds the cursor, and may have checked for new events already.
            Err(TryLockError::WouldBlock) => {
                self.wake();
                return 0;
            }
        };
        let Some(before) = *cursor else { return 0 };
        if before >= batch.last() {
            return 0;
        }
        match batch.after(before).map(|frames| self.sink.try_send(&frames)) {
            Some(Ok(())) => {
                *cursor = Some(batch.last());
                batch.count_after(before)
            }
            Some(Err(Full)) | None => {
                self.wake();
                0
            }
        }
    }

    /// Locks the cursor, for the subscriber's own task to advance it while no shard does.
    pub fn cursor(&self) -> MutexGuard<'_, Option<Seq>> {
        self.cursor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

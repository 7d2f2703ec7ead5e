//! Somebody who follows a chat on a connection: their cursor, which their own task and a shard of the tails move on, each
//! by what it has written.

use std::{
    hint,
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError},
};

use domain::{Seq, UserId};

use super::outlet::{Outlet, Stuck};
use crate::tail::{Batch, Bell};

/// A cursor into a chat, and where to write what follows it.
pub struct Follower {
    user: UserId,
    outlet: Arc<Outlet>,
    /// Rings when there is something that their own task has to see to.
    bell: Bell,
    /// Nothing before they have heard where they begin, and once they follow no more.
    cursor: Mutex<Option<Seq>>,
}

impl Follower {
    /// Somebody who has not begun yet.
    pub fn new(user: UserId, outlet: Arc<Outlet>, bell: Bell) -> Arc<Self> {
        Arc::new(Self { user, outlet, bell, cursor: Mutex::default() })
    }

    /// Who.
    pub fn user(&self) -> UserId {
        self.user
    }

    /// Where what follows is written.
    pub fn outlet(&self) -> &Arc<Outlet> {
        &self.outlet
    }

    /// Their own task is to look.
    pub fn ring(&self) {
        self.bell.notify_one();
    }

    /// Looks at what [`Follower::offer`] will need, and does nothing with it: it is near the processor by then. Where many are
    /// looked at before any is written to, their memory comes at once; else each is waited for by itself.
    pub fn touch(&self) {
        hint::black_box(self.cursor.is_poisoned());
        self.outlet.touch();
    }

    /// Writes to them of a batch what they do not have, if that follows what they have and goes out at once. Otherwise their
    /// own task is told.
    pub fn offer(&self, batch: &Batch) {
        let mut cursor = match self.cursor.try_lock() {
            Ok(cursor) => cursor,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // their task is at it, and may have looked already
            Err(TryLockError::WouldBlock) => return self.ring(),
        };
        let Some(before) = *cursor else { return };
        if before >= batch.last() {
            return;
        }
        match batch.after(before).map(|frames| self.outlet.give(&frames)) {
            Some(Ok(())) => *cursor = Some(batch.last()),
            Some(Err(Stuck)) | None => self.ring(),
        }
    }

    /// The cursor, to be moved on by their own task while nobody else does.
    pub fn cursor(&self) -> MutexGuard<'_, Option<Seq>> {
        self.cursor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

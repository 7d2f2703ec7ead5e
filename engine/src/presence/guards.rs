//! The guards that keep a user online, and a member in a chat, until they are dropped.

use std::sync::Arc;

use bytes::Bytes;
use domain::{ChatId, UserId};
use tokio::time::Instant;

use super::{HolderId, Presence, PresenceEvent, RosterUpdate};

/// A guard that keeps a user online. Dropping it closes the connection, however it ended.
pub struct OnlineGuard {
    pub(super) presence: Arc<Presence>,
    pub(super) user: UserId,
    pub(super) holder: HolderId,
}

/// A guard that keeps a user in a chat. Dropping it leaves the chat, however the connection ended.
pub struct MemberGuard {
    pub(super) presence: Arc<Presence>,
    pub(super) chat: ChatId,
    pub(super) user: UserId,
    pub(super) holder: HolderId,
}

impl MemberGuard {
    /// Notes that the user is typing. A signal less than a second after the last one, from any of their guards, has no
    /// effect.
    pub fn typing(&self) {
        self.presence.take(PresenceEvent::Typing { chat: self.chat, user: self.user }, None, None);
    }

    /// Returns whether the guard is still valid: removing the user from the chat invalidates it.
    pub fn is_kept(&self) -> bool {
        let state = self.presence.lock();
        state.rooms.get(&self.chat).is_some_and(|room| room.is_holder(self.user, self.holder))
    }

    /// Returns what has changed in the room since a version, encoded by `encode`, and the version this leads to. With
    /// `None` as the known version, the whole roster is encoded. Returns `None` if there is nothing new.
    pub fn news(
        &self,
        known: Option<u64>,
        encode: impl FnOnce(RosterUpdate) -> Option<Bytes>,
    ) -> Option<(u64, Bytes)> {
        self.presence.lock().rooms.get_mut(&self.chat)?.tell(known, Instant::now(), encode)
    }
}

impl Drop for MemberGuard {
    fn drop(&mut self) {
        let Self { holder, chat, user, .. } = *self;
        self.presence.take(PresenceEvent::Left { holder, chat, user }, None, None);
    }
}

impl Drop for OnlineGuard {
    fn drop(&mut self) {
        let Self { holder, user, .. } = *self;
        self.presence.take(PresenceEvent::Closed { holder, user }, None, None);
    }
}
